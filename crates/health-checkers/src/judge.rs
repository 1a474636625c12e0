//! Computes a verdict from the observers' votes. Pure: no clock, no socket.

use std::collections::HashMap;

use lath_feed::{Judge, Route53HealthCheck};
use lath_model::id::HealthCheckId;

/// The nesting of calculated checks that is followed. AWS allows no nesting.
const DEPTH: usize = 8;

/// A verdict on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The new verdict.
    pub healthy: bool,
    /// Whether a majority of all observers has voted.
    pub quorum: bool,
    /// Whether a majority of all observers agrees on `healthy`.
    pub decided: bool,
}

/// The verdict after `previous`, given the votes of the reachable observers.
///
/// The verdict changes only when more than half of *all* `observers`, reachable or not, vote for the opposite. So one
/// observer that is blind, cut off or mistaken changes nothing, and neither do two halves that are cut off from each
/// other.
///
/// ```
/// use lath_health_checkers::judge;
///
/// assert!(judge(true, [false], 3).healthy, "one of three is no majority");
/// assert!(!judge(true, [false, false], 3).healthy);
/// ```
pub fn judge(previous: bool, said: impl IntoIterator<Item = bool>, observers: usize) -> Judgement {
    let (mut healthy, mut unhealthy) = (0, 0);
    for opinion in said {
        *(if opinion {
            &mut healthy
        } else {
            &mut unhealthy
        }) += 1;
    }
    let is_majority = |count: usize| count > observers / 2;
    let (up, down) = (is_majority(healthy), is_majority(unhealthy));
    Judgement {
        healthy: if up == down { previous } else { up },
        quorum: is_majority(healthy + unhealthy),
        decided: up != down,
    }
}

/// A check's final status, with calculation, `disabled` and `inverted` as in AWS. Endpoints without a verdict are
/// healthy, and so are checks in a loop.
pub fn combine(
    check: &HealthCheckId,
    checks: &lath_feed::Items<HealthCheckId, Route53HealthCheck>,
    endpoints: &HashMap<HealthCheckId, bool>,
) -> bool {
    status(check, checks, endpoints, DEPTH)
}

fn status(
    id: &HealthCheckId,
    checks: &lath_feed::Items<HealthCheckId, Route53HealthCheck>,
    endpoints: &HashMap<HealthCheckId, bool>,
    depth: usize,
) -> bool {
    let Some(check) = checks.get(id) else {
        return true;
    };
    let healthy = match &check.judge {
        _ if check.disabled => true,
        Judge::Endpoint(_) => endpoints.get(id).copied().unwrap_or(true),
        Judge::Calculated { .. } if depth == 0 => true,
        Judge::Calculated {
            threshold,
            children,
        } => {
            let known = children.iter().filter(|child| checks.contains_key(*child));
            let up = known
                .filter(|child| status(child, checks, endpoints, depth - 1))
                .count();
            u32::try_from(up).unwrap_or(u32::MAX) >= *threshold
        }
    };
    healthy != check.inverted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::own_reports::CheckMap;
    use proptest::prelude::*;

    /// `+` says healthy, `-` unhealthy, others nothing.
    fn said(text: &str) -> Vec<bool> {
        let opinion = |letter| match letter {
            '+' => Some(true),
            '-' => Some(false),
            _ => None,
        };
        text.chars().filter_map(opinion).collect()
    }

    #[test]
    fn a_majority_of_all_observers_changes_a_verdict() {
        for (name, previous, observers, heard, healthy, quorum) in [
            ("all agree it is up", true, 3, "+++", true, true),
            ("one is blind", true, 3, "++-", true, true),
            ("two say it is down", true, 3, "+--", false, true),
            ("all say it is down", true, 3, "---", false, true),
            ("cut off: down by itself", true, 3, "-", true, false),
            ("cut off: up by itself", false, 3, "+", false, false),
            ("cut off from everyone, blind", true, 3, "", true, false),
            ("two left, split", true, 3, "+-", true, true),
            ("two left, split, was down", false, 3, "+-", false, true),
            ("two left, agree", true, 3, "--", false, true),
            ("one is up again", false, 3, "+--", false, true),
            ("two are up again", false, 3, "++-", true, true),
            ("alone is its own majority", true, 1, "-", false, true),
            ("alone, nothing yet", true, 1, "", true, false),
            ("two of two must agree", true, 2, "+-", true, true),
            ("two of two agree", true, 2, "--", false, true),
            ("one of two", true, 2, "-", true, false),
            ("two of four are no majority", true, 4, "--", true, false),
            ("three of four", true, 4, "---", false, true),
            ("three of five, two silent", true, 5, "---", false, true),
            ("two of five, three silent", true, 5, "--", true, false),
        ] {
            let found = judge(previous, said(heard), observers);
            assert_eq!((found.healthy, found.quorum), (healthy, quorum), "{name}");
        }
    }

    #[test]
    fn each_observer_in_turn_changes_nothing_alone_when_it_is_cut_off() {
        for previous in [true, false] {
            for cut_off in 0..3 {
                // The observer that is cut off sees the opposite, but has only its own vote.
                let alone = judge(previous, [!previous], 3);
                assert_eq!(
                    (alone.healthy, alone.quorum),
                    (previous, false),
                    "{cut_off}"
                );
                // The other two vote on their own.
                for (a, b) in [(true, true), (true, false), (false, false)] {
                    let others = judge(previous, [a, b], 3);
                    let want = if a == b { a } else { previous };
                    assert_eq!((others.healthy, others.quorum), (want, true), "{cut_off}");
                }
            }
        }
    }

    #[test]
    fn a_verdict_follows_a_history_without_flapping() {
        for (name, history, want) in [
            ("one flaps", &["+++", "-++", "+++", "-++"][..], "hhhh"),
            ("two in turn", &["-++", "+-+", "-++"], "hhh"),
            ("down and up", &["+--", "---", "-+-", "-++"], "uuuh"),
            ("cut off while down", &["+--", "+", "+", "+--"], "uuuu"),
            ("split after down", &["+--", "+-", "++"], "uuh"),
        ] {
            let mut healthy = true;
            let found: String = history
                .iter()
                .map(|heard| {
                    healthy = judge(healthy, said(heard), 3).healthy;
                    if healthy { 'h' } else { 'u' }
                })
                .collect();
            assert_eq!(found, want, "{name}");
        }
    }

    fn id(number: u32) -> HealthCheckId {
        format!("00000000-0000-4000-8000-{number:012}")
            .parse()
            .unwrap()
    }

    fn calculated(threshold: u32, children: &[u32]) -> Judge {
        Judge::Calculated {
            threshold,
            children: children.iter().map(|child| id(*child)).collect(),
        }
    }

    fn endpoint() -> Judge {
        Judge::Endpoint(lath_feed::EndpointCheck {
            protocol: lath_feed::CheckProtocol::Tcp,
            address: None,
            name: None,
            port: 1,
            path: "/".into(),
            search: None,
            sni: false,
            interval: std::time::Duration::from_secs(30),
            threshold: 3,
        })
    }

    #[test]
    fn checks_are_calculated_inverted_and_disabled() {
        // 1 is up, 2 is down, 3 is down but disabled, 4 is up but inverted.
        let endpoints =
            HashMap::from([(id(1), true), (id(2), false), (id(3), false), (id(4), true)]);
        let check = |number, judge, inverted, disabled| {
            let id = id(number);
            let check = Route53HealthCheck {
                id: id.clone(),
                version: 1,
                judge,
                inverted,
                disabled,
            };
            (id, Arc::new(check))
        };
        for (name, judge, inverted, disabled, want) in [
            (
                "two of three, one disabled",
                calculated(2, &[1, 2, 3]),
                false,
                false,
                true,
            ),
            (
                "three of three",
                calculated(3, &[1, 2, 3]),
                false,
                false,
                false,
            ),
            ("none needed", calculated(0, &[2]), false, false, true),
            (
                "more than there are",
                calculated(5, &[1]),
                false,
                false,
                false,
            ),
            (
                "an inverted child",
                calculated(1, &[4]),
                false,
                false,
                false,
            ),
            ("inverted", calculated(1, &[1]), true, false, false),
            ("disabled", calculated(1, &[2]), false, true, true),
            (
                "disabled and inverted",
                calculated(1, &[1]),
                true,
                true,
                false,
            ),
            ("itself", calculated(1, &[9]), false, false, true),
            (
                "a child that is gone",
                calculated(1, &[8]),
                false,
                false,
                false,
            ),
            ("nothing known", endpoint(), false, false, true),
            ("nothing known, inverted", endpoint(), true, false, false),
        ] {
            let checks = CheckMap::from([
                check(1, endpoint(), false, false),
                check(2, endpoint(), false, false),
                check(3, endpoint(), false, true),
                check(4, endpoint(), true, false),
                check(9, judge, inverted, disabled),
            ]);
            assert_eq!(combine(&id(9), &checks, &endpoints), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_minority_never_changes_anything(
            previous: bool,
            observers in 1usize..12,
            heard in prop::collection::vec(any::<bool>(), 0..12),
        ) {
            let heard: Vec<bool> = heard.into_iter().take(observers).collect();
            let against = heard.iter().filter(|opinion| **opinion != previous).count();
            let found = judge(previous, heard, observers);
            prop_assert_eq!(found.healthy != previous, against * 2 > observers);
        }
    }
}
