use super::judge::{looks_from, next};
use super::watch::Seen;
use super::written::Written;
use super::*;

const SECOND: i64 = 1000;

fn plan(text: &str) -> Plan {
    let written = Written::read(text).unwrap();
    written
        .plan("tg-0123456789abcdef0".parse().unwrap())
        .unwrap()
}

fn canary(text: &str) -> Canary {
    Canary {
        plan: plan(text),
        stable: "tg-0123456789abcdef1".parse().unwrap(),
        phase: Phase::Step(0),
        since: Timestamp::from_millis(1_000_000),
    }
}

fn seen(answers: f64, errors: f64) -> Seen {
    Seen {
        answers,
        errors,
        ..Seen::default()
    }
}

const PLAN: &str = r#"{"targetGroupIdentifier":"tg-1","steps":[{"weight":5,"pause":"10s"},{"weight":50,"pause":"20s"},{"weight":100}],
    "analysis":{"errorPercent":1.5,"minimumRequests":10,"interval":"5s"}}"#;

#[test]
fn a_canary_goes_on_with_time_and_good_answers() {
    let mut canary = canary(PLAN);
    let begin = canary.since;
    let at = |seconds: i64| Timestamp::from_millis(begin.as_millis() + seconds * SECOND);
    let good = seen(100.0, 1.0);
    assert_eq!(next(&canary, &good, at(9)), None, "it is too early");
    assert_eq!(
        next(&canary, &seen(9.0, 0.0), at(60)),
        None,
        "there are too few answers"
    );
    assert_eq!(next(&canary, &good, at(10)), Some(Phase::Step(1)));
    assert_eq!(looks_from(&canary, at(3)), begin, "not before the step");
    assert_eq!(looks_from(&canary, at(9)), at(4));
    canary.phase = Phase::Step(2);
    assert_eq!(next(&canary, &good, at(0)), Some(Phase::Succeeded));
    canary.phase = Phase::Succeeded;
    assert_eq!(next(&canary, &seen(100.0, 100.0), at(60)), None);
    let weights = |canary: &Canary| match canary.action() {
        Some(Action::Forward(groups)) => groups.iter().map(|it| it.weight).collect(),
        _ => Vec::new(),
    };
    assert_eq!(weights(&canary), [0, 100]);
    canary.phase = Phase::Step(0);
    assert_eq!(weights(&canary), [95, 5]);
    canary.phase = Phase::RolledBack(String::new());
    assert_eq!(weights(&canary), [100, 0]);
}

#[test]
fn a_canary_goes_back_at_bad_answers_at_once() {
    let canary = canary(PLAN);
    let now = canary.since;
    assert_eq!(
        next(&canary, &seen(9.0, 9.0), now),
        None,
        "there are too few to judge"
    );
    let Some(Phase::RolledBack(reason)) = next(&canary, &seen(100.0, 2.0), now) else {
        panic!("it goes on");
    };
    assert_eq!(
        reason,
        "2.00% of 100 answers were 5xx, and no more than 1.5% may be"
    );
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (text, want) in [
        ("{\"steps\":[]}", "missing field `targetGroupIdentifier`"),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[]}",
            "steps: give 1 to 20",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":101}]}",
            "steps.0.weight: give 0 to 100",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5},{\"weight\":5}]}",
            "steps.1.weight: give more",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5,\"pause\":\"200h\"}]}",
            "steps.0.pause",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5}],\"analysis\":{}}",
            "analysis: give errorPercent or latency",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5}],\"analysis\":{\"errorPercent\":-1}}",
            "analysis.errorPercent",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5}],\"analysis\":{\"errorPercent\":1,\"latencyPercentile\":9}}",
            "analysis.latencyPercentile: give latency",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5}],\"analysis\":{\"errorPercent\":1,\"minimumRequests\":0}}",
            "analysis.minimumRequests",
        ),
        (
            "{\"targetGroupIdentifier\":\"a\",\"steps\":[{\"weight\":5}],\"step\":1}",
            "unknown field `step`",
        ),
    ] {
        let group = "tg-0123456789abcdef0".parse().unwrap();
        let read = Written::read(text);
        let got = match read {
            Err(error) => error,
            Ok(written) => written.plan(group).expect_err(text).to_string(),
        };
        assert!(got.contains(want), "{text}: {got}");
    }
}
