//! Computes figures from the samples of a drill. Pure.

use serde::{Deserialize, Serialize};

use crate::load::Sample;
use crate::objective::Objectives;

/// The observations of one repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The time of the fault ([`crate::monotonic_ns`]).
    pub fault_ns: u64,
    /// The time when the system reported the fault; `None` if it never did.
    pub detected_ns: Option<u64>,
    /// The time when the fault ended.
    pub lifted_ns: u64,
    /// Every request in scheduled order, from before the fault until after it ended.
    pub samples: Vec<Sample>,
}

/// The criteria for bad samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criteria {
    /// A success that takes longer is late.
    pub late_ns: u64,
    /// For DNS targets: during the fault an answer that is the same as before it counts as bad.
    pub answer_must_change: bool,
}

/// The figures of one repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repetition {
    /// From the fault until the system reported it, in nanoseconds.
    pub detection_ns: Option<u64>,
    /// From the fault until the first request after the last bad one that began during the fault, in
    /// nanoseconds; 0 when none was bad; `None` when requests were bad until the fault ended.
    pub recovery_ns: Option<u64>,
    /// Requests that began during the fault.
    pub during: u64,
    /// Requests that failed, from the fault on.
    pub failed: u64,
    /// Requests that succeeded late, from the fault on.
    pub late: u64,
    /// Bad requests that began after the fault ended: the cost of the return to normal.
    pub bad_after: u64,
}

/// A figure over all repetitions, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The maximum.
    pub max: u64,
}

/// Whether the objectives were met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// Whether all objectives were met.
    pub passed: bool,
    /// Each objective that was missed, in words.
    pub missed: Vec<String>,
}

impl Criteria {
    /// Classifies a bad sample; `None` for a good one.
    fn fault_of(&self, sample: &Sample, before: Option<&str>) -> Option<Bad> {
        if sample.error.is_some() {
            return Some(Bad::Failed);
        }
        if self.answer_must_change && sample.answer.as_deref() == before {
            return Some(Bad::Failed);
        }
        (sample.took_ns > self.late_ns).then_some(Bad::Late)
    }
}

impl Criteria {
    /// `good`, `late` or `bad`: the style of a sample on the page.
    pub(crate) fn class(&self, seen: &Observation, sample: &Sample) -> &'static str {
        let stands = (seen.fault_ns..seen.lifted_ns).contains(&sample.at_ns);
        let judge = Self {
            answer_must_change: self.answer_must_change && stands,
            ..*self
        };
        match judge.fault_of(sample, answer_before(seen)) {
            None => "good",
            Some(Bad::Late) => "late",
            Some(Bad::Failed) => "bad",
        }
    }
}

/// The last answer before the fault.
fn answer_before(seen: &Observation) -> Option<&str> {
    let ended = |s: &&Sample| s.at_ns + s.took_ns <= seen.fault_ns && s.error.is_none();
    seen.samples.iter().rfind(ended)?.answer.as_deref()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Failed,
    Late,
}

/// The figures of one repetition.
pub fn figures(seen: &Observation, judge: &Criteria) -> Repetition {
    let before = answer_before(seen);
    let bad = |s: &&Sample| judge.fault_of(s, before);
    let during: Vec<&Sample> = seen
        .samples
        .iter()
        .filter(|s| (seen.fault_ns..seen.lifted_ns).contains(&s.at_ns))
        .collect();
    // After the fault the old answer is correct again.
    let back = Criteria {
        answer_must_change: false,
        ..*judge
    };
    let after: Vec<Bad> = seen
        .samples
        .iter()
        .filter(|s| s.at_ns >= seen.lifted_ns)
        .filter_map(|s| back.fault_of(s, None))
        .collect();
    // Requests in flight when the fault began count too.
    let caught = seen
        .samples
        .iter()
        .filter(|s| s.at_ns < seen.fault_ns && s.at_ns + s.took_ns > seen.fault_ns);
    let caught: Vec<Bad> = caught.filter_map(|s| back.fault_of(s, None)).collect();
    let within: Vec<Bad> = during.iter().filter_map(bad).collect();
    let count = |kind: Bad| -> u64 {
        let all = within.iter().chain(&after).chain(&caught);
        all.filter(|bad| **bad == kind).count() as u64
    };
    let last_bad = during.iter().rposition(|s| bad(s).is_some());
    let recovery_ns = match last_bad {
        None => Some(0),
        Some(at) => during
            .get(at + 1)
            .map(|s| s.at_ns.saturating_sub(seen.fault_ns)),
    };
    Repetition {
        detection_ns: seen.detected_ns.map(|at| at.saturating_sub(seen.fault_ns)),
        recovery_ns,
        during: during.len() as u64,
        failed: count(Bad::Failed),
        late: count(Bad::Late),
        bad_after: after.len() as u64,
    }
}

/// The spread of a figure over the repetitions that have it; `None` when none has.
pub fn spread(values: impl IntoIterator<Item = u64>) -> Option<Spread> {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let at = |share: f64| {
        let rank = (share * values.len() as f64).ceil() as usize;
        values.get(rank.clamp(1, values.len().max(1)) - 1).copied()
    };
    Some(Spread {
        p50: at(0.50)?,
        p99: at(0.99)?,
        max: *values.last()?,
    })
}

/// Compares the worst repetition with the objectives. A repetition that never recovered misses every recovery
/// objective; one that was never detected misses every detection objective.
pub fn assess(repetitions: &[Repetition], objectives: &Objectives) -> Assessment {
    let mut missed = Vec::new();
    let mut time =
        |name: &str, bound: Option<std::time::Duration>, of: fn(&Repetition) -> Option<u64>| {
            let Some(bound) = bound else { return };
            let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
            let never = repetitions.iter().filter(|r| of(r).is_none()).count();
            let worst = repetitions.iter().filter_map(of).max().unwrap_or(0);
            if never > 0 {
                missed.push(format!(
                    "{name}: not at all in {never} of {}",
                    repetitions.len()
                ));
            } else if worst > nanos {
                let (worst, bound) = (worst as f64 / 1e6, nanos as f64 / 1e6);
                missed.push(format!(
                    "{name}: {worst:.0} ms at worst, wanted {bound:.0} ms"
                ));
            }
        };
    time("detection", objectives.detection, |r| r.detection_ns);
    time("recovery", objectives.recovery, |r| r.recovery_ns);
    let mut number = |name: &str, bound: Option<u64>, of: fn(&Repetition) -> u64| {
        let worst = repetitions.iter().map(of).max().unwrap_or(0);
        if let Some(bound) = bound.filter(|bound| worst > *bound) {
            missed.push(format!(
                "{name}: {worst} requests at worst, wanted at most {bound}"
            ));
        }
    };
    number("failed", objectives.failed, |r| r.failed);
    number("late", objectives.late, |r| r.late);
    if repetitions.is_empty() {
        missed.push("no repetition was completed".into());
    }
    Assessment {
        passed: missed.is_empty(),
        missed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    /// Requests every 10 ms from 0 on. The text gives the outcomes: `.` good, `x` failed, `l` late, and a digit
    /// is a good one with that answer.
    fn seen(text: &str) -> Observation {
        let sample = |(turn, outcome): (usize, char)| Sample {
            at_ns: turn as u64 * 10 * MS,
            took_ns: if outcome == 'l' { 900 * MS } else { MS },
            error: (outcome == 'x').then(|| "no".into()),
            answer: (outcome != 'x').then(|| outcome.to_string()),
        };
        Observation {
            fault_ns: 50 * MS,
            detected_ns: Some(70 * MS),
            lifted_ns: 150 * MS,
            samples: text.chars().enumerate().map(sample).collect(),
        }
    }

    #[test]
    fn recovery_is_after_the_last_bad_request() {
        let judge = Criteria {
            late_ns: 500 * MS,
            answer_must_change: false,
        };
        for (name, given, recovery, failed, late, after) in [
            ("nothing happened", "....................", Some(0), 0, 0, 0),
            ("two failed", ".....xx.............", Some(20), 2, 0, 0),
            (
                "good ones between do not count",
                ".....x..x...........",
                Some(40),
                2,
                0,
                0,
            ),
            ("late is bad too", ".......l............", Some(30), 0, 1, 0),
            (
                "until the fault was lifted",
                ".....xxxxxxxxxx.....",
                None,
                10,
                0,
                0,
            ),
            (
                "the way back costs",
                "................x...",
                Some(0),
                1,
                0,
                1,
            ),
            ("caught under way", "....l...............", Some(0), 0, 1, 0),
        ] {
            let got = figures(&seen(given), &judge);
            let want = recovery.map(|ms: u64| ms * MS);
            assert_eq!(got.recovery_ns, want, "{name}");
            assert_eq!(
                (got.failed, got.late, got.bad_after),
                (failed, late, after),
                "{name}"
            );
            assert_eq!(got.during, 10, "{name}");
            assert_eq!(got.detection_ns, Some(20 * MS), "{name}");
        }
    }

    #[test]
    fn a_name_recovers_when_its_answer_changes() {
        let judge = Criteria {
            late_ns: 500 * MS,
            answer_must_change: true,
        };
        let got = figures(&seen("11111111222222211111"), &judge);
        assert_eq!(got.recovery_ns, Some(30 * MS));
        assert_eq!((got.failed, got.bad_after), (3, 0));
    }

    #[test]
    fn spreads_are_of_what_there_is() {
        assert_eq!(spread([]), None);
        let want = Spread {
            p50: 7,
            p99: 7,
            max: 7,
        };
        assert_eq!(spread([7]), Some(want));
        let got = spread(1..=100).unwrap();
        assert_eq!((got.p50, got.p99, got.max), (50, 99, 100));
    }

    #[test]
    fn verdicts_name_what_was_missed() {
        let judge = Criteria {
            late_ns: 500 * MS,
            answer_must_change: false,
        };
        let good = figures(&seen(".....xx............."), &judge);
        let never = figures(&seen(".....xxxxxxxxxx....."), &judge);
        let bound = |recovery: u64, failed| Objectives {
            recovery: Some(Duration::from_millis(recovery)),
            failed: Some(failed),
            ..Objectives::default()
        };
        assert!(assess(std::slice::from_ref(&good), &bound(20, 2)).passed);
        let missed = assess(std::slice::from_ref(&good), &bound(19, 1)).missed;
        assert_eq!(missed.len(), 2, "{missed:?}");
        assert!(!assess(&[good, never], &bound(1000, 100)).passed);
        assert!(!assess(&[], &Objectives::default()).passed);
    }
}
