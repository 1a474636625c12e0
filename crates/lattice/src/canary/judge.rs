//! What becomes of a canary, out of the time and what its group answered.

use std::time::Duration;

use lath_model::Timestamp;

use super::watch::Seen;
use super::{Analysis, Canary, Phase};

/// From when on answers count for a decision now: those of the step, and not older than the analysis looks.
pub(super) fn looks_from(canary: &Canary, now: Timestamp) -> Timestamp {
    let interval = canary
        .plan
        .analysis
        .map_or(Duration::ZERO, |it| it.interval);
    let back = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
    let earliest = Timestamp::from_millis(now.as_millis().saturating_sub(back));
    earliest.max(canary.since)
}

/// The phase that follows now; `None`: it stays. `seen` is what the new group answered since [`looks_from`].
pub(super) fn next(canary: &Canary, seen: &Seen, now: Timestamp) -> Option<Phase> {
    let Phase::Step(at) = canary.phase else {
        return None;
    };
    let step = canary.plan.steps.get(at)?;
    if let Some(analysis) = &canary.plan.analysis {
        let is_enough = seen.answers >= f64::from(analysis.minimum_requests);
        if is_enough && let Some(reason) = breach(analysis, seen) {
            return Some(Phase::RolledBack(reason));
        }
        // A group that gets nothing answers nothing.
        if !is_enough && step.weight > 0 {
            return None;
        }
    }
    if now.since(canary.since) < step.pause {
        return None;
    }
    Some(match at + 1 < canary.plan.steps.len() {
        true => Phase::Step(at + 1),
        false => Phase::Succeeded,
    })
}

fn breach(analysis: &Analysis, seen: &Seen) -> Option<String> {
    let share = seen.errors / seen.answers.max(1.0) * 100.0;
    if let Some(most) = analysis.errors.map(|it| f64::from(it) / 100.0)
        && share > most
    {
        return Some(format!(
            "{share:.2}% of {} answers were 5xx, and no more than {most}% may be",
            seen.answers
        ));
    }
    let latency = analysis.latency?;
    let most = latency.most.as_secs_f64() * 1000.0;
    let found = seen.percentile(latency.percentile)?;
    (found > most).then(|| {
        format!(
            "{}% of {} answers took up to {found:.1} ms, and no more than {most} ms are allowed",
            latency.percentile, seen.answers
        )
    })
}
