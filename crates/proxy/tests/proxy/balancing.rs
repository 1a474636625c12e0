//! Circuit breakers and outlier detection of target groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use lath_feed::AccessLogDestination;
use lath_model::balancing::*;
use lath_model::id::{AccessLogSubscriptionId, TargetGroupId};
use lath_model::lattice::{Action, WeightedTargetGroup};
use lath_model::traffic::{Mirror, Retry, Timeouts, TrafficPolicy};
use lath_proxy::ProxyConfig;
use tokio::sync::Notify;

use crate::lab::target::Deed;
use crate::lab::world::HOST;
use crate::lab::*;

const SECOND: Duration = Duration::from_secs(1);

fn outliers() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: Some(3),
        consecutive_gateway_failure: None,
        success_rate: None,
        interval: SECOND,
        base_ejection_time: 30 * SECOND,
        max_ejection_time: 300 * SECOND,
        max_ejection_percent: 50,
    }
}

fn limits(world: &mut World, group: &TargetGroupId, breakers: CircuitBreakers) {
    world.target_group(group).balancing = Some(LoadBalancing {
        circuit_breakers: breakers,
        outlier_detection: None,
    });
}

fn detect(world: &mut World, group: &TargetGroupId, detection: OutlierDetection) {
    world.target_group(group).balancing = Some(LoadBalancing {
        circuit_breakers: CircuitBreakers::default(),
        outlier_detection: Some(detection),
    });
}

fn status(code: u16) -> Deed {
    Deed::Answer(format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n").into())
}

/// Answers 500 while the test wants it.
async fn moody(name: &'static str) -> (Target, Arc<AtomicBool>) {
    let bad = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&bad);
    let target = Target::start(move |_| match mood.load(Relaxed) {
        true => status(500),
        false => ok(name),
    });
    (target.await, bad)
}

async fn bodies(world: &World, count: usize) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let got = get(world.at, HOST, "/").await;
        all.push((got.status, got.body));
    }
    all
}

#[tokio::test]
async fn a_target_that_answers_badly_is_left_out_and_comes_back() {
    let (bad, mood) = moody("bad").await;
    let good = Target::named("good").await;
    let (mut world, group) = World::forwarding(&[bad.at, good.at]);
    let detection = OutlierDetection {
        base_ejection_time: SECOND,
        ..outliers()
    };
    detect(&mut world, &group, detection);
    let lab = Lab::start(config(), &world).await;
    let seen = bodies(&world, 40).await;
    let failures = seen.iter().filter(|(status, _)| *status == 500).count();
    assert!((3..=6).contains(&failures), "{seen:?}");
    let mut observed = lab.handle.observed();
    let key = crate::lab::world::key(bad.at);
    let ejected = observed.wait_for(|it| it.ejected.contains_key(&group));
    let why = ejected.await.unwrap().ejected[&group][&key].clone();
    assert!(why.reason.contains("3 times one after another"), "{why:?}");
    assert_eq!(why.times, 1);
    assert!(why.until > why.since);
    let text = lab.handle.prometheus();
    let labels = format!("target_group=\"{group}\"");
    let total = format!("lath_target_group_ejections_total{{{labels},reason=\"consecutive5xx\"}} ");
    assert!(text.contains(&total), "{text}");
    mood.store(false, Relaxed);
    let before = bad.count();
    loop {
        bodies(&world, 4).await;
        if bad.count() > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        bodies(&world, 10)
            .await
            .iter()
            .all(|(status, _)| *status == 200)
    );
    let back = observed.wait_for(|it| it.ejected.is_empty());
    back.await.unwrap();
}

#[tokio::test]
async fn failures_to_answer_count_and_good_answers_end_a_row() {
    let turn = AtomicUsize::new(0);
    // Never more than two in a row.
    let mixed = Target::start(move |_| match turn.fetch_add(1, Relaxed) % 3 {
        2 => ok("mixed"),
        _ => status(503),
    });
    let mixed = mixed.await;
    let closing = Target::start(|_| Deed::Close).await;
    let good = Target::named("good").await;
    let (mut world, group) = World::forwarding(&[mixed.at, closing.at, good.at]);
    let detection = OutlierDetection {
        consecutive_5xx: None,
        consecutive_gateway_failure: Some(3),
        ..outliers()
    };
    detect(&mut world, &group, detection);
    let lab = Lab::start(config(), &world).await;
    bodies(&world, 60).await;
    let mut observed = lab.handle.observed();
    let ejected = observed.wait_for(|it| it.ejected.contains_key(&group));
    let ejected = ejected.await.unwrap().ejected[&group].clone();
    let keys: Vec<_> = ejected.keys().cloned().collect();
    assert_eq!(keys, [crate::lab::world::key(closing.at)]);
}

#[tokio::test]
async fn not_too_many_are_left_out_and_the_last_one_gets_requests_all_the_same() {
    let (one, _one) = moody("one").await;
    let (two, _two) = moody("two").await;
    let (mut world, group) = World::forwarding(&[one.at, two.at]);
    detect(&mut world, &group, outliers());
    let lab = Lab::start(config(), &world).await;
    bodies(&world, 40).await;
    let mut observed = lab.handle.observed();
    let ejected = observed.wait_for(|it| it.ejected.contains_key(&group));
    assert_eq!(ejected.await.unwrap().ejected[&group].len(), 1);
    let all = OutlierDetection {
        max_ejection_percent: 100,
        ..outliers()
    };
    detect(&mut world, &group, all);
    lab.apply(&mut world).await;
    let got = bodies(&world, 20).await;
    assert!(got.iter().all(|(status, _)| *status == 500), "{got:?}");
    let all = observed.wait_for(|it| it.ejected.get(&group).is_some_and(|it| it.len() == 2));
    all.await.unwrap();
    // Without the policy, nothing is left out.
    world.target_group(&group).balancing = None;
    lab.apply(&mut world).await;
    assert!(lab.handle.observed().borrow().ejected.is_empty());
}

#[tokio::test]
async fn a_target_far_below_the_others_is_left_out() {
    let mut targets = vec![Target::start(|_| status(500)).await];
    for _ in 0..4 {
        targets.push(Target::named("good").await);
    }
    let at: Vec<_> = targets.iter().map(|it| it.at).collect();
    let (mut world, group) = World::forwarding(&at);
    let detection = OutlierDetection {
        consecutive_5xx: None,
        success_rate: Some(SuccessRate {
            minimum_hosts: 5,
            request_volume: 5,
            stdev_factor: 1900,
        }),
        ..outliers()
    };
    detect(&mut world, &group, detection);
    let lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    while lab.handle.observed().borrow().ejected.is_empty() {
        client.get(HOST, "/").await.expect("an answer");
    }
    let observed = lab.handle.observed();
    let ejected = observed.borrow().ejected[&group].clone();
    let (key, why) = ejected.first_key_value().unwrap();
    assert_eq!(*key, crate::lab::world::key(targets[0].at));
    assert!(
        why.reason.starts_with("0.0% of its answers were good"),
        "{why:?}"
    );
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_explained() {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let target = Target::start(move |_| Deed::When(Arc::clone(&gate), answer.to_vec())).await;
    let (mut world, group) = World::forwarding(&[target.at]);
    world.service().access_logs.push(AccessLogDestination {
        id: AccessLogSubscriptionId::random(),
        destination_arn: "arn:aws:logs:us-east-1:111122223333:log-group:a".into(),
    });
    let breakers = CircuitBreakers {
        max_requests: Some(2),
        ..CircuitBreakers::default()
    };
    limits(&mut world, &group, breakers);
    let lab = Lab::start(config(), &world).await;
    let at = world.at;
    let held: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { get(at, HOST, "/").await }))
        .collect();
    eventually("both at the target", || target.count() == 2).await;
    let refused = get(at, HOST, "/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.header("x-amzn-errortype"),
        Some("ServiceUnavailableException")
    );
    assert!(refused.body.contains("maxRequests"), "{}", refused.body);
    go.notify_waiters();
    for one in held {
        assert_eq!(one.await.unwrap().status, 200);
    }
    let text = lab.handle.prometheus();
    let labels = format!("target_group=\"{group}\",limit=\"maxRequests\"");
    assert!(
        text.contains(&format!(
            "lath_target_group_circuit_breaker_overflows_total{{{labels}}} 1\n"
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "lath_target_group_circuit_breaker_level{{{labels}}} 0\n"
        )),
        "{text}"
    );
    let logs = lab.sink.logs.lock().unwrap();
    let reasons: Vec<_> = logs.iter().map(|it| it.failure_reason).collect();
    assert_eq!(
        reasons
            .iter()
            .filter(|it| **it == Some("CircuitBreakerOverflow"))
            .count(),
        1,
        "{reasons:?}"
    );
}

#[tokio::test]
async fn connections_have_a_limit_under_which_requests_of_all_threads_go_on() {
    let target = Target::start(|_| ok("ok")).await;
    let other = Target::start(|_| ok("ok")).await;
    let (mut world, group) = World::forwarding(&[target.at, other.at]);
    let breakers = CircuitBreakers {
        max_connections: Some(1),
        ..CircuitBreakers::default()
    };
    limits(&mut world, &group, breakers);
    let config = ProxyConfig {
        threads: 3,
        ..config()
    };
    let lab = Lab::start(config, &world).await;
    let at = world.at;
    let clients: Vec<_> = (0..12)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(at).await;
                for _ in 0..5 {
                    let got = client.get(HOST, "/").await.expect("an answer");
                    assert_eq!((got.status, got.body.as_str()), (200, "ok"));
                }
            })
        })
        .collect();
    let labels = format!("target_group=\"{group}\",limit=\"maxConnections\"");
    let level = format!("lath_target_group_circuit_breaker_level{{{labels}}} ");
    for client in clients {
        let text = lab.handle.prometheus();
        let now = text
            .lines()
            .find_map(|line| line.strip_prefix(&level))
            .unwrap();
        assert!(matches!(now, "0" | "1"), "{now}");
        tokio::time::timeout(PATIENCE, client)
            .await
            .expect("in time")
            .unwrap();
    }
    assert_eq!(target.count() + other.count(), 60);
}

#[tokio::test]
async fn few_wait_for_a_connection() {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let target = Target::start(move |_| Deed::When(Arc::clone(&gate), answer.to_vec())).await;
    let (mut world, group) = World::forwarding(&[target.at]);
    let breakers = CircuitBreakers {
        max_connections: Some(1),
        max_pending_requests: Some(1),
        ..CircuitBreakers::default()
    };
    limits(&mut world, &group, breakers);
    let lab = Lab::start(config(), &world).await;
    let at = world.at;
    let first = tokio::spawn(async move { get(at, HOST, "/").await });
    eventually("one at the target", || target.count() == 1).await;
    let second = tokio::spawn(async move { get(at, HOST, "/").await });
    let labels = format!("target_group=\"{group}\",limit=\"maxPendingRequests\"");
    let waits = format!("lath_target_group_circuit_breaker_level{{{labels}}} 1\n");
    eventually("one waits", || lab.handle.prometheus().contains(&waits)).await;
    let third = get(at, HOST, "/").await;
    assert_eq!(third.status, 503);
    assert!(third.body.contains("maxPendingRequests"), "{}", third.body);
    go.notify_waiters();
    assert_eq!(first.await.unwrap().status, 200);
    eventually("the other at the target", || target.count() == 2).await;
    go.notify_waiters();
    assert_eq!(second.await.unwrap().status, 200);
}

fn policy(world: &mut World, policy: TrafficPolicy) {
    let listener = world.listener();
    let rule = listener.default_rule.clone();
    listener.traffic.insert(rule, policy);
}

fn ends_soon() -> TrafficPolicy {
    TrafficPolicy {
        timeouts: Timeouts {
            request: None,
            backend_request: Some(Duration::from_millis(200)),
        },
        ..TrafficPolicy::default()
    }
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_speaks_against_no_target() {
    let silent = Target::start(|_| Deed::Silence).await;
    let (mut world, group) = World::forwarding(&[silent.at]);
    let detection = OutlierDetection {
        consecutive_5xx: Some(1),
        ..outliers()
    };
    detect(&mut world, &group, detection);
    policy(&mut world, ends_soon());
    let lab = Lab::start(config(), &world).await;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n");
    for part in ["", "half"] {
        let text = format!("{head}{part}");
        assert_eq!(send_raw(world.at, text.as_bytes()).await.status, 504);
    }
    assert!(lab.handle.observed().borrow().ejected.is_empty());
    // The target is silent itself.
    assert_eq!(get(world.at, HOST, "/").await.status, 504);
    let mut observed = lab.handle.observed();
    let ejected = observed.wait_for(|it| it.ejected.contains_key(&group));
    ejected.await.unwrap();
}

#[tokio::test]
async fn limits_speak_against_no_target() {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let busy = Target::start(move |_| Deed::When(Arc::clone(&gate), answer.to_vec())).await;
    let real = Target::named("real").await;
    let (mut world, group) = World::forwarding(&[real.at]);
    let copied = world.group(&[busy.at]);
    world.target_group(&copied).balancing = Some(LoadBalancing {
        circuit_breakers: CircuitBreakers {
            max_connections: Some(1),
            max_pending_requests: Some(1),
            ..CircuitBreakers::default()
        },
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: Some(1),
            ..outliers()
        }),
    });
    let mirror = Mirror {
        target_group: copied.clone(),
        percent: 100,
    };
    let copies = TrafficPolicy {
        mirrors: vec![mirror],
        ..TrafficPolicy::default()
    };
    policy(&mut world, copies);
    let lab = Lab::start(config(), &world).await;
    for _ in 0..8 {
        assert_eq!(get(world.at, HOST, "/").await.body, "real");
    }
    let labels = format!("target_group=\"{copied}\",limit=\"maxPendingRequests\"");
    let name = "lath_target_group_circuit_breaker_overflows_total";
    let six = format!("{name}{{{labels}}} 6\n");
    eventually("copies beyond the limit", || {
        lab.handle.prometheus().contains(&six)
    })
    .await;
    assert_eq!(busy.count(), 1);
    // Nor does a request that waited for a connection until its time was over.
    policy(&mut world, ends_soon());
    let listener = world.listener();
    listener.default_action = Action::Forward(vec![WeightedTargetGroup {
        target_group: copied.clone(),
        weight: 1,
    }]);
    lab.apply(&mut world).await;
    let _ = group;
    let late = get(world.at, HOST, "/").await.status;
    assert!(matches!(late, 503 | 504), "{late}");
    assert!(lab.handle.observed().borrow().ejected.is_empty());
    go.notify_waiters();
}

#[tokio::test]
async fn a_group_may_have_no_retries() {
    let target = Target::start(|_| status(503)).await;
    let (mut world, group) = World::forwarding(&[target.at]);
    let listener = world.listener();
    let rule = listener.default_rule.clone();
    let policy = TrafficPolicy {
        retry: Some(Retry {
            attempts: 2,
            codes: vec![503],
            backoff: Duration::from_millis(1),
            budget_percent: 20,
        }),
        ..TrafficPolicy::default()
    };
    listener.traffic.insert(rule, policy);
    let lab = Lab::start(config(), &world).await;
    get(world.at, HOST, "/").await;
    assert_eq!(target.count(), 3);
    let breakers = CircuitBreakers {
        max_retries: Some(0),
        ..CircuitBreakers::default()
    };
    limits(&mut world, &group, breakers);
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 503);
    assert_eq!(target.count(), 4);
}
