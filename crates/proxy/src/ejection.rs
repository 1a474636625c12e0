//! Which targets outlier detection ejects, and when they are back.

use std::sync::atomic::Ordering::Relaxed;

use lath_clock::Clock;
use lath_feed::Ejection;
use lath_model::Timestamp;
use lath_model::balancing::{OutlierDetection, SuccessRate};

use crate::breaker::Policy;
use crate::outlier::{Outcome, Why};
use crate::slot::{GroupSlot, Members, TargetSlot};
use crate::ticks::{millis, ticks};

/// One instant, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Ejections end by these: the wall clock may be set.
    ticks: u64,
    /// What records of ejections carry.
    wall: Timestamp,
}

impl Now {
    pub(crate) fn of(clock: &Clock) -> Self {
        Self {
            ticks: ticks(),
            wall: clock.now(),
        }
    }
}

/// A request came to this at a target of a group with a policy.
pub(crate) fn note(
    group: &GroupSlot,
    members: &Members,
    policy: &Policy,
    target: &TargetSlot,
    outcome: Outcome,
    clock: &Clock,
) {
    let Some(detection) = &policy.outliers else {
        return;
    };
    // What began before it was left out, or goes to it because there is no other, counts for nothing.
    if target.outlier.is_ejected(ticks) {
        return;
    }
    if let Some((why, row)) = target.outlier.count(detection, outcome) {
        let what = match why {
            Why::ConsecutiveGatewayFailure => "with 502, 503 or 504, or not at all,",
            Why::Consecutive5xx | Why::SuccessRate => "with 5xx, or not at all,",
        };
        let reason = format!("It answered {what} {row} times one after another");
        eject(
            group,
            members,
            detection,
            target,
            why,
            reason,
            Now::of(clock),
        );
    }
}

/// Leaves a target out, if not too many are.
fn eject(
    group: &GroupSlot,
    members: &Members,
    detection: &OutlierDetection,
    target: &TargetSlot,
    why: Why,
    reason: String,
    now: Now,
) {
    let _one_at_once = group.outliers.compared();
    eject_locked(group, members, detection, target, why, reason, now);
}

fn eject_locked(
    group: &GroupSlot,
    members: &Members,
    detection: &OutlierDetection,
    target: &TargetSlot,
    why: Why,
    reason: String,
    now: Now,
) {
    let known = members.known.values();
    let out = known
        .filter(|it| it.outlier.is_ejected(|| now.ticks))
        .count()
        .saturating_mul(100);
    let all = members.known.len() - members.draining.len();
    let percent = usize::from(detection.max_ejection_percent);
    let may = percent > 0 && (out == 0 || out + 100 <= percent.saturating_mul(all));
    if target.outlier.is_ejected(|| now.ticks) || !may {
        return;
    }
    let mut record = target.outlier.record();
    record.times = record.times.saturating_add(1);
    let time = detection
        .base_ejection_time
        .saturating_mul(record.times)
        .min(detection.max_ejection_time);
    let until = now.ticks.saturating_add(millis(time));
    let since = now.wall;
    let span = i64::try_from(millis(time)).unwrap_or(i64::MAX);
    tracing::warn!(
        target_group.id = %group.id, target.addr = %target.address, duration_s = time.as_secs_f64(), reason,
        "outlier detection leaves a target out"
    );
    record.ejection = Some(Ejection {
        reason,
        since,
        until: Timestamp::from_millis(since.as_millis().saturating_add(span)),
        times: record.times,
    });
    target.outlier.begin_anew();
    target.outlier.until.store(until, Relaxed);
    group.outliers.count(why);
}

/// Looks at a group's targets: which of them are back, and, after an interval, which are far worse than the others.
pub(crate) fn examine(group: &GroupSlot, members: &Members, policy: &Policy, now: Now) {
    let Some(detection) = &policy.outliers else {
        return;
    };
    let mut compared = group.outliers.compared();
    for target in members.known.values() {
        let mut record = target.outlier.record();
        if record.ejection.is_some() && !target.outlier.is_ejected(|| now.ticks) {
            record.ejection = None;
            target.outlier.until.store(0, Relaxed);
            target.outlier.begin_anew();
            tracing::info!(
                target_group.id = %group.id, target.addr = %target.address,
                "a target that outlier detection left out is back"
            );
        }
    }
    let is_over = now.ticks.saturating_sub(*compared) >= millis(detection.interval);
    if *compared == 0 || is_over {
        *compared = now.ticks.max(1);
    }
    if !is_over {
        return;
    }
    if let Some(rate) = &detection.success_rate {
        compare(group, members, detection, rate, now);
    }
    for target in members.known.values() {
        target.outlier.answers.store(0, Relaxed);
        target.outlier.good.store(0, Relaxed);
        let mut record = target.outlier.record();
        if record.ejection.is_none() {
            record.times = record.times.saturating_sub(1);
        }
    }
}

/// Ejects targets whose success rate is far below the mean.
fn compare(
    group: &GroupSlot,
    members: &Members,
    detection: &OutlierDetection,
    rate: &SuccessRate,
    now: Now,
) {
    let rates = members.known.values().filter_map(|target| {
        let answers = target.outlier.answers.load(Relaxed);
        let counts = answers >= u64::from(rate.request_volume) && answers > 0;
        let good = target.outlier.good.load(Relaxed);
        (counts && !target.outlier.is_ejected(|| now.ticks))
            .then(|| (target, good as f64 / answers as f64))
    });
    let rates: Vec<_> = rates.collect();
    if rates.len() < rate.minimum_hosts as usize {
        return;
    }
    let Some(least) = threshold(rates.iter().map(|(_, rate)| *rate), rate.stdev_factor) else {
        return;
    };
    for (target, own) in rates.iter().filter(|(_, own)| *own < least) {
        let (own, least) = (own * 100.0, least * 100.0);
        let reason =
            format!("{own:.1}% of its answers were good; the others' make {least:.1}% the least");
        eject_locked(
            group,
            members,
            detection,
            target,
            Why::SuccessRate,
            reason,
            now,
        );
    }
}

/// The mean less so many thousandths of the standard deviation.
fn threshold(rates: impl Iterator<Item = f64> + Clone, factor: u32) -> Option<f64> {
    let count = rates.clone().count() as f64;
    let mean = rates.clone().sum::<f64>() / count;
    let variance = rates.map(|it| (it - mean).powi(2)).sum::<f64>() / count;
    let least = mean - variance.sqrt() * f64::from(factor) / 1000.0;
    (least > 0.0).then_some(least)
}
