//! Telemetry on its way to control: kept while control is away, within bounds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::Event;
use crate::telemetry::{AccessLog, LogLines, MetricSample, Sink};

/// Events kept while control is away; beyond it the oldest are dropped and counted.
const KEPT: usize = 100_000;
/// Events in one frame.
const BATCH: usize = 2_000;

/// A sink whose content is sent to control.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Sent, but not taken yet.
    on_their_way: usize,
    dropped: u64,
}

impl Outbox {
    /// Events dropped since the start because control was away for too long.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event) {
        let mut queue = self.lock();
        if queue.events.len() >= KEPT {
            queue.events.pop_front();
            queue.dropped += 1;
        }
        queue.events.push_back(event);
        drop(queue);
        self.filled.notify_one();
    }

    /// The oldest events, once there are any.
    pub(crate) async fn next(&self) -> Batch<'_> {
        loop {
            let filled = self.filled.notified();
            if let Some(events) = self.take() {
                return Batch {
                    outbox: self,
                    events,
                };
            }
            filled.await;
        }
    }

    fn take(&self) -> Option<Vec<Event>> {
        let mut queue = self.lock();
        let count = queue.events.len().min(BATCH);
        queue.on_their_way = count;
        (count > 0).then(|| queue.events.drain(..count).collect())
    }

    /// Returns when control has everything.
    pub async fn emptied(&self) {
        let is_empty = || {
            let queue = self.lock();
            queue.events.is_empty() && queue.on_their_way == 0
        };
        while !is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Puts back what was not taken; newer events may have taken its place.
    fn put_back(&self, events: Vec<Event>) {
        let mut queue = self.lock();
        queue.on_their_way = 0;
        for event in events.into_iter().rev() {
            if queue.events.len() >= KEPT {
                queue.dropped += 1;
            } else {
                queue.events.push_front(event);
            }
        }
    }
}

impl Sink for Outbox {
    fn access_log(&self, record: AccessLog) {
        self.push(Event::AccessLog(Box::new(record)));
    }

    fn log_lines(&self, lines: LogLines) {
        self.push(Event::LogLines(Box::new(lines)));
    }

    fn metric(&self, sample: MetricSample) {
        self.push(Event::Metric(Box::new(sample)));
    }
}

/// Events on their way: they go back unless they were taken, whatever way sending them ended.
pub(crate) struct Batch<'a> {
    outbox: &'a Outbox,
    pub(crate) events: Vec<Event>,
}

impl Batch<'_> {
    pub(crate) fn taken(mut self) {
        self.events.clear();
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.outbox.put_back(std::mem::take(&mut self.events));
    }
}
