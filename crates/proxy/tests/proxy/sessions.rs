//! Session persistence and rate limits of rules.

use std::net::SocketAddr;
use std::time::Duration;

use lath_feed::{AccessLogDestination, TargetHealth};
use lath_model::id::AccessLogSubscriptionId;
use lath_model::lattice::*;
use lath_model::traffic::*;
use lath_proxy::ProxyConfig;

use crate::lab::world::HOST;
use crate::lab::*;

fn sessions() -> SessionPersistence {
    SessionPersistence {
        kind: SessionKind::Cookie,
        name: Some("sid".into()),
        absolute_timeout: None,
        idle_timeout: None,
        permanent: false,
        target_group: true,
        key: SessionKey("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into()),
    }
}

fn obey(world: &mut World, policy: TrafficPolicy) {
    let listener = world.listener();
    let rule = listener.default_rule.clone();
    listener.traffic.insert(rule, policy);
}

fn sticky(world: &mut World, session: SessionPersistence) {
    let policy = TrafficPolicy {
        session: Some(session),
        ..TrafficPolicy::default()
    };
    obey(world, policy);
}

async fn three() -> [Target; 3] {
    [
        Target::named("one").await,
        Target::named("two").await,
        Target::named("three").await,
    ]
}

/// The cookie that an answer sets, as a request has it.
fn cookie(answer: &Answer) -> Option<String> {
    let cookie = answer.header("set-cookie")?;
    Some(cookie.split(';').next().unwrap().to_owned())
}

async fn with(at: SocketAddr, cookie: &str) -> Answer {
    request(at, HOST, "GET", "/", &format!("Cookie: a=b; {cookie}\r\n")).await
}

#[tokio::test]
async fn a_cookie_keeps_its_client_at_a_target() {
    let targets = three().await;
    let at = targets.each_ref().map(|it| it.at);
    let (mut world, _) = World::forwarding(&at);
    sticky(&mut world, sessions());
    let lab = Lab::start(config(), &world).await;
    let first = get(world.at, HOST, "/").await;
    let kept = cookie(&first).expect("a cookie");
    let line = first.header("set-cookie").unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
    assert!(!line.contains("127.0.0.1"));
    for _ in 0..9 {
        let got = with(world.at, &kept).await;
        assert_eq!(got.body, first.body);
        assert_eq!(cookie(&got), None, "it is not told again");
    }
    // Others are spread, and what was made up is no session.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..9 {
        let got = with(world.at, "sid=AAAA").await;
        assert!(cookie(&got).is_some());
        seen.insert(got.body);
    }
    assert_eq!(seen.len(), 3);
    // Another proxy with the same rule knows it: sessions are in no process.
    drop(lab);
    let (address, port) = place();
    world.at = SocketAddr::new(address.into(), port);
    world.service().address = address;
    world.listener().port = port;
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(with(world.at, &kept).await.body, first.body);
}

#[tokio::test]
async fn only_those_move_whose_target_is_gone() {
    let targets = three().await;
    let at = targets.each_ref().map(|it| it.at);
    let (mut world, group) = World::forwarding(&at);
    sticky(&mut world, sessions());
    let lab = Lab::start(config(), &world).await;
    let mut clients = Vec::new();
    while clients.len() < 3 {
        let got = get(world.at, HOST, "/").await;
        if clients.iter().all(|(body, _)| *body != got.body) {
            let kept = cookie(&got).unwrap();
            clients.push((got.body, kept));
        }
    }
    // One more comes, and one goes.
    let fourth = Target::named("four").await;
    world.register(&group, fourth.at);
    world.drain(&group, targets[0].at);
    lab.apply(&mut world).await;
    for (body, kept) in &clients {
        let got = with(world.at, kept).await;
        assert_eq!(got.body == *body, body != "one", "{body}");
        assert_eq!(cookie(&got).is_some(), body == "one");
        if let Some(next) = cookie(&got) {
            assert_eq!(with(world.at, &next).await.body, got.body);
        }
    }
    // One that is unhealthy is left, too.
    world.target_group(&group).health_check = Some(crate::lab::world::health_check());
    for target in &targets {
        world.set_health(&group, target.at, TargetHealth::Healthy);
    }
    world.set_health(&group, targets[1].at, TargetHealth::Unhealthy);
    lab.apply(&mut world).await;
    let (_, two) = clients.iter().find(|(body, _)| body == "two").unwrap();
    let got = with(world.at, two).await;
    assert!(got.body != "two" && cookie(&got).is_some(), "{got:?}");
}

#[tokio::test]
async fn a_session_holds_to_its_group_whatever_the_weights_say() {
    for (holds, want) in [(true, "new"), (false, "old")] {
        let (old, new) = (Target::named("old").await, Target::named("new").await);
        let mut world = World::new();
        let groups = [world.group(&[old.at]), world.group(&[new.at])];
        let weighted = |weights: [u32; 2]| {
            let groups = groups.iter().zip(weights);
            let groups = groups.map(|(group, weight)| WeightedTargetGroup {
                target_group: group.clone(),
                weight,
            });
            Action::Forward(groups.collect())
        };
        world.default_action(weighted([0, 100]));
        let session = SessionPersistence {
            target_group: holds,
            ..sessions()
        };
        sticky(&mut world, session);
        let config = ProxyConfig {
            failover: true,
            ..config()
        };
        let lab = Lab::start(config, &world).await;
        let first = get(world.at, HOST, "/").await;
        assert_eq!(first.body, "new");
        world.default_action(weighted([100, 0]));
        lab.apply(&mut world).await;
        let kept = cookie(&first).unwrap();
        assert_eq!(with(world.at, &kept).await.body, want);
        assert_eq!(get(world.at, HOST, "/").await.body, "old");
    }
}

#[tokio::test]
async fn a_header_does_the_same() {
    let targets = three().await;
    let at = targets.each_ref().map(|it| it.at);
    let (mut world, _) = World::forwarding(&at);
    let session = SessionPersistence {
        kind: SessionKind::Header,
        name: Some("X-Session".into()),
        ..sessions()
    };
    sticky(&mut world, session);
    let _lab = Lab::start(config(), &world).await;
    let first = get(world.at, HOST, "/").await;
    let kept = first.header("x-session").expect("a session").to_owned();
    for _ in 0..6 {
        let got = request(
            world.at,
            HOST,
            "GET",
            "/",
            &format!("X-Session: {kept}\r\n"),
        )
        .await;
        assert_eq!(
            (got.body.as_str(), got.header("x-session")),
            (first.body.as_str(), None)
        );
    }
}

fn limit(requests: u32, key: RateKey) -> RateLimit {
    RateLimit {
        name: None,
        requests,
        per: Duration::from_secs(3600),
        burst: requests,
        key,
        scope: RateScope::Local,
    }
}

fn limited(world: &mut World, limits: Vec<RateLimit>) {
    let policy = TrafficPolicy {
        limits,
        ..TrafficPolicy::default()
    };
    obey(world, policy);
}

#[tokio::test]
async fn requests_beyond_a_rate_are_refused_and_explained() {
    let target = Target::named("ok").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    world.service().access_logs.push(AccessLogDestination {
        id: AccessLogSubscriptionId::random(),
        destination_arn: "arn:aws:logs:us-east-1:111122223333:log-group:a".into(),
    });
    limited(&mut world, vec![limit(3, RateKey::All)]);
    let lab = Lab::start(config(), &world).await;
    for left in ["2", "1", "0"] {
        let got = get(world.at, HOST, "/").await;
        assert_eq!(got.status, 200);
        assert_eq!(got.header("x-ratelimit-remaining"), Some(left));
        assert_eq!(got.header("x-ratelimit-limit"), Some("3"));
    }
    let refused = get(world.at, HOST, "/").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&wait), "{wait}");
    assert_eq!(
        refused.header("x-amzn-errortype"),
        Some("ThrottlingException")
    );
    // Another change of the service does not fill the bucket.
    world.service().name = "renamed".into();
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 429);
    let text = lab.handle.prometheus();
    let count = text
        .lines()
        .find(|it| it.starts_with("lath_service_rate_limited_total{"));
    assert!(count.is_some_and(|it| it.ends_with(" 2")), "{count:?}");
    assert_eq!(target.count(), 3);
    {
        let logs = lab.sink.logs.lock().unwrap();
        let refused = logs
            .iter()
            .filter(|it| it.failure_reason == Some("RateLimitExceeded"));
        assert_eq!(refused.count(), 2);
    }
    // Another limit is a new one.
    limited(&mut world, vec![limit(1, RateKey::All)]);
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 200);
}

#[tokio::test]
async fn keys_have_limits_of_their_own() {
    let target = Target::named("ok").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    limited(&mut world, vec![limit(1, RateKey::Header("x-user".into()))]);
    let lab = Lab::start(config(), &world).await;
    let ask = async |user: &str| {
        let header = format!("X-User: {user}\r\n");
        request(world.at, HOST, "GET", "/", &header).await.status
    };
    assert_eq!(
        (ask("a").await, ask("b").await, ask("a").await),
        (200, 200, 429)
    );
    assert_eq!(get(world.at, HOST, "/").await.status, 200);
    assert_eq!(
        get(world.at, HOST, "/").await.status,
        429,
        "all without it have one"
    );
    let mut world = world;
    limited(&mut world, vec![limit(1, RateKey::SourceAddress)]);
    lab.apply(&mut world).await;
    let mut first = Client::from("127.0.0.2", world.at).await;
    let mut other = Client::from("127.0.0.3", world.at).await;
    let mut statuses = Vec::new();
    for client in [&mut first, &mut other] {
        for _ in 0..2 {
            statuses.push(client.get(HOST, "/").await.unwrap().status);
        }
    }
    assert_eq!(statuses, [200, 429, 200, 429]);
}

#[tokio::test]
async fn what_one_limit_refuses_takes_nothing_from_others() {
    let target = Target::named("ok").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let by_user = limit(1, RateKey::Header("x-user".into()));
    limited(&mut world, vec![limit(3, RateKey::All), by_user]);
    let _lab = Lab::start(config(), &world).await;
    let mut statuses = Vec::new();
    for user in ["a", "a", "a", "a", "b", "c", "d"] {
        let header = format!("X-User: {user}\r\n");
        let got = request(world.at, HOST, "GET", "/", &header).await;
        statuses.push(got.status);
    }
    assert_eq!(statuses, [200, 429, 429, 429, 200, 200, 429]);
}

#[tokio::test]
async fn rules_share_a_limit_by_its_name_and_answers_of_the_rule_count() {
    let target = Target::named("ok").await;
    let (mut world, group) = World::forwarding(&[target.at]);
    let shared = RateLimit {
        name: Some("all".into()),
        ..limit(2, RateKey::All)
    };
    limited(&mut world, vec![shared.clone()]);
    let rule = world.rule(
        Match {
            path: Some(PathMatch {
                kind: PathKind::Prefix,
                value: "/fixed".into(),
                case_sensitive: true,
            }),
            ..Match::default()
        },
        Action::FixedResponse(404),
    );
    let policy = TrafficPolicy {
        limits: vec![shared],
        ..TrafficPolicy::default()
    };
    world.listener().traffic.insert(rule, policy);
    let _lab = Lab::start(config(), &world).await;
    let _ = group;
    let mut statuses = Vec::new();
    for path in ["/", "/fixed", "/", "/fixed"] {
        statuses.push(get(world.at, HOST, path).await.status);
    }
    assert_eq!(statuses, [200, 404, 429, 429]);
}
