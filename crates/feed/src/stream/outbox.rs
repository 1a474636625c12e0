//! Telemetry on its way to control: kept while control is away, within bounds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::Event;
use crate::telemetry::{AccessLog, LogLines, MetricSample, Sink};

/// Events kept while control is away, and their bytes; beyond either the oldest are dropped and counted.
const KEPT: usize = 100_000;
const KEPT_BYTES: usize = 64 << 20;
/// Events in one frame, and their bytes unless a single one has more: frames have a longest length, and what cannot be sent
/// keeps all behind it from being sent.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 4 << 20;

/// A sink whose content is sent to control.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    /// Sent, but not taken yet.
    on_their_way: usize,
    dropped: u64,
}

impl Queue {
    /// Whether there is room for so many more bytes of one event.
    fn has_room(&self, bytes: usize) -> bool {
        self.events.len() < KEPT && self.bytes + bytes <= KEPT_BYTES
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.weight();
            self.dropped += 1;
        }
    }
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
        let bytes = event.weight();
        let mut queue = self.lock();
        if bytes > KEPT_BYTES {
            queue.dropped += 1;
            return;
        }
        while !queue.has_room(bytes) {
            queue.drop_oldest();
        }
        queue.bytes += bytes;
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
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(event) = queue.events.front() {
            bytes += event.weight();
            if !batch.is_empty() && (bytes > BATCH_BYTES || batch.len() >= BATCH) {
                break;
            }
            queue.bytes -= event.weight();
            batch.extend(queue.events.pop_front());
        }
        queue.on_their_way = batch.len();
        (!batch.is_empty()).then_some(batch)
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
            let bytes = event.weight();
            if queue.has_room(bytes) {
                queue.bytes += bytes;
                queue.events.push_front(event);
            } else {
                queue.dropped += 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::frame;

    fn lines(stream: &str, bytes: usize) -> LogLines {
        LogLines {
            group: "/aws/eks/blue/cluster".into(),
            stream: stream.into(),
            at: lath_model::Timestamp::default(),
            lines: vec!["x".repeat(bytes)],
        }
    }

    #[test]
    fn events_are_kept_and_sent_by_their_bytes_too() {
        let outbox = Outbox::default();
        for number in 0..100 {
            outbox.log_lines(lines(&number.to_string(), 1 << 20));
        }
        // The oldest had to go.
        let left = 100 - outbox.dropped();
        assert!((60..=64).contains(&left), "{left}");
        // What has no room by itself displaces nothing else.
        outbox.log_lines(lines("too large", KEPT_BYTES + 1));
        assert_eq!(100 - outbox.dropped() + 1, left);
        let mut sent = 0;
        while let Some(batch) = outbox.take() {
            let frame = frame::encode(&batch).unwrap();
            assert!(frame.len() < 2 * BATCH_BYTES, "{}", frame.len());
            sent += batch.len() as u64;
        }
        assert_eq!(sent, left);
        for stream in ["small", "large", "last"] {
            let bytes = if stream == "large" {
                2 * BATCH_BYTES
            } else {
                1
            };
            outbox.log_lines(lines(stream, bytes));
        }
        let mut batches = Vec::new();
        while let Some(batch) = outbox.take() {
            let names = batch.iter().map(|event| match event {
                Event::LogLines(lines) => lines.stream.clone(),
                other => panic!("{other:?}"),
            });
            batches.push(names.collect::<Vec<_>>());
        }
        assert_eq!(batches, [["small"], ["large"], ["last"]]);
        assert_eq!(outbox.lock().bytes, 0);
    }
}
