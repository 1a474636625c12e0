//! What the nodes report of groups that canaries are about.
//!
//! Only of these anything is kept, for as long as a canary looks back, and in memory: a control plane that starts anew
//! waits until it has seen enough again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use lath_model::Timestamp;

/// What nodes report of groups, as far as canaries want it. It takes a copy of the metrics that go to the archive.
#[derive(Debug)]
pub struct CanaryWatch {
    clock: Clock,
    groups: Mutex<BTreeMap<String, Watched>>,
}

#[derive(Debug, Default)]
struct Watched {
    /// By the second of their arrival, ascending.
    seconds: VecDeque<Second>,
    keeps: Duration,
}

#[derive(Debug, Default, Clone)]
struct Second {
    at: i64,
    answers: f64,
    errors: f64,
    /// Milliseconds, and how often.
    times: Vec<(f64, f64)>,
}

/// What a group answered in a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) answers: f64,
    pub(super) errors: f64,
    pub(super) times: Vec<(f64, f64)>,
}

impl CanaryWatch {
    /// One that watches nothing yet. What arrives has its time by this clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            groups: Mutex::default(),
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these groups are watched, and no others; each with how far back it is looked.
    pub(super) fn watch(&self, wanted: &BTreeMap<String, Duration>) {
        let mut groups = self.groups();
        groups.retain(|group, _| wanted.contains_key(group));
        for (group, keeps) in wanted {
            groups.entry(group.clone()).or_default().keeps = *keeps;
        }
    }

    /// What a group answered since a time.
    pub(super) fn seen(&self, group: &str, since: Timestamp) -> Seen {
        let groups = self.groups();
        let since = since.as_millis().div_euclid(1000);
        let seconds = groups.get(group).map(|it| &it.seconds);
        let mut seen = Seen::default();
        // What arrives in the second in which the time begins may be of before it.
        for second in seconds.into_iter().flatten().filter(|it| it.at > since) {
            seen.answers += second.answers;
            seen.errors += second.errors;
            seen.times.extend_from_slice(&second.times);
        }
        seen
    }

    fn note(&self, sample: &MetricSample, now: Timestamp) {
        let [(dimension, group)] = sample.dimensions.as_slice() else {
            return;
        };
        if dimension != "TargetGroup" {
            return;
        }
        let class = sample.name.strip_prefix("HTTPCode_");
        if class.is_none() && sample.name != "RequestTime" {
            return;
        }
        let mut groups = self.groups();
        let Some(watched) = groups.get_mut(group) else {
            return;
        };
        let second = watched.second(now);
        match class {
            None => second.times.extend_from_slice(&sample.values),
            Some(class) => {
                second.answers += sample.sum;
                if class.starts_with("5XX") {
                    second.errors += sample.sum;
                }
            }
        }
    }
}

impl Watched {
    fn second(&mut self, now: Timestamp) -> &mut Second {
        let at = now.as_millis().div_euclid(1000);
        let keeps = i64::try_from(self.keeps.as_secs()).unwrap_or(i64::MAX);
        while self
            .seconds
            .front()
            .is_some_and(|it| it.at < at.saturating_sub(keeps))
        {
            self.seconds.pop_front();
        }
        // A clock that went back adds to the newest second.
        if self.seconds.back().is_none_or(|it| it.at < at) {
            self.seconds.push_back(Second {
                at,
                ..Second::default()
            });
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }
}

impl Seen {
    /// So many percent of answers took no longer than that many milliseconds.
    pub(super) fn percentile(&self, percent: u8) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all: f64 = times.iter().map(|(_, count)| count).sum();
        let mut left = all * f64::from(percent) / 100.0;
        let found = times.iter().find(|(_, count)| {
            left -= count;
            left <= 1e-9
        });
        found.or_else(|| times.last()).map(|(value, _)| *value)
    }
}

impl Sink for CanaryWatch {
    fn access_log(&self, _: AccessLog) {}

    fn log_lines(&self, _: LogLines) {}

    fn metric(&self, sample: MetricSample) {
        self.note(&sample, self.clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, values: Vec<(f64, f64)>) -> MetricSample {
        let count = values.iter().map(|(_, count)| count).sum();
        let sum = values.iter().map(|(value, count)| value * count).sum();
        MetricSample {
            namespace: "AWS/VpcLattice".into(),
            name: name.into(),
            dimensions: vec![("TargetGroup".into(), "tg-1".into())],
            unit: "Count",
            at: Timestamp::from_millis(0),
            count,
            sum,
            min: 0.0,
            max: 0.0,
            values,
        }
    }

    #[test]
    fn only_what_is_watched_is_kept_and_only_as_long_as_it_is_looked_at() {
        let watch = CanaryWatch::new(Clock::system());
        let at = |second: i64| Timestamp::from_millis(second * 1000);
        let answers = |count: f64| sample("HTTPCode_2XX_Count", vec![(count, 1.0)]);
        let errors = |count: f64| sample("HTTPCode_5XX_Count", vec![(count, 1.0)]);
        watch.note(&answers(7.0), at(1));
        assert_eq!(watch.seen("tg-1", at(0)), Seen::default());
        let wanted = BTreeMap::from([("tg-1".to_owned(), Duration::from_secs(10))]);
        watch.watch(&wanted);
        watch.note(&answers(7.0), at(2));
        watch.note(&errors(3.0), at(3));
        watch.note(
            &sample("RequestTime", vec![(5.0, 9.0), (100.0, 1.0)]),
            at(3),
        );
        watch.note(&sample("TotalRequestCount", vec![(99.0, 1.0)]), at(3));
        let seen = watch.seen("tg-1", at(1));
        assert_eq!((seen.answers, seen.errors), (10.0, 3.0));
        assert_eq!(
            (seen.percentile(90), seen.percentile(91)),
            (Some(5.0), Some(100.0))
        );
        assert_eq!(watch.seen("tg-1", at(2)).answers, 3.0);
        watch.note(&answers(1.0), at(13));
        assert_eq!(watch.seen("tg-1", at(0)).answers, 4.0);
        watch.watch(&BTreeMap::new());
        assert_eq!(watch.seen("tg-1", at(0)), Seen::default());
    }
}
