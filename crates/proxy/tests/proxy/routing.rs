//! Which service, rule, group and target a request meets.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::lab::world::HOST;
use crate::lab::*;
use lath_feed::{Auth, TargetHealth};
use lath_model::id::{ServiceId, TargetGroupId};
use lath_model::lattice::*;

fn prefix(path: &str) -> Match {
    let path = PathMatch {
        kind: PathKind::Prefix,
        value: path.into(),
        case_sensitive: false,
    };
    Match {
        path: Some(path),
        ..Match::default()
    }
}

fn share(group: &TargetGroupId, weight: u32) -> WeightedTargetGroup {
    WeightedTargetGroup {
        target_group: group.clone(),
        weight,
    }
}

/// A port with no listener.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn the_host_names_the_service_and_its_address_does_not() {
    let target = Target::named("shop").await;
    let (world, _) = World::forwarding(&[target.at]);
    let generated = world.snapshot.services[&world.service].domain_name.clone();
    let lab = Lab::start(config(), &world).await;
    let port = world.at.port();
    for (host, want) in [
        (HOST.to_owned(), 200),
        (HOST.to_uppercase(), 200),
        (format!("{HOST}:{port}"), 200),
        (format!("{HOST}."), 200),
        (generated, 200),
        (world.at.to_string(), 404),
        ("other.example.com".to_owned(), 404),
        ("x".repeat(300), 404),
    ] {
        assert_eq!(get(world.at, &host, "/").await.status, want, "{host}");
    }
    let absolute =
        format!("GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    assert_eq!(send_raw(world.at, absolute.as_bytes()).await.status, 200);
    assert_eq!(target.last().path(), "/a");
    drop(lab);
}

#[tokio::test]
async fn a_service_outside_the_clients_network_is_not_found() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let mut other = world.snapshot.services[&world.service].as_ref().clone();
    other.id = ServiceId::random();
    other.custom_domain_name = Some("hidden.example.com".to_owned());
    world
        .snapshot
        .services
        .insert(other.id.clone(), Arc::new(other));
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, "hidden.example.com", "/").await.status, 404);
    assert_eq!(get(world.at, HOST, "/").await.body, "shop");
}

#[tokio::test]
async fn rules_decide_by_method_path_and_headers() {
    let mut world = World::new();
    let mut names = Vec::new();
    for (name, conditions) in [
        (
            "post",
            Match {
                method: Some("POST".into()),
                ..Match::default()
            },
        ),
        ("api", prefix("/api")),
        (
            "canary",
            Match {
                headers: vec![HeaderMatch {
                    name: "X-Version".into(),
                    kind: HeaderKind::Contains,
                    value: "beta".into(),
                    case_sensitive: false,
                }],
                ..Match::default()
            },
        ),
    ] {
        let target = Target::named(name).await;
        let group = world.group(&[target.at]);
        world.rule(conditions, Action::Forward(vec![share(&group, 1)]));
        names.push(target);
    }
    world.rule(prefix("/gone"), Action::FixedResponse(500));
    let _lab = Lab::start(config(), &world).await;
    for (method, path, headers, want) in [
        ("POST", "/api", "", (200, "post")),
        ("GET", "/API/x?y", "", (200, "api")),
        ("GET", "/", "x-version: v2-BETA\r\n", (200, "canary")),
        ("GET", "/gone", "", (500, "")),
        ("GET", "/?/api", "", (404, "")),
    ] {
        let answer = request(world.at, HOST, method, path, headers).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            want,
            "{method} {path} {headers}"
        );
        assert!(answer.header("x-amzn-requestid").is_some(), "{path}");
    }
}

#[tokio::test]
async fn weights_give_an_exact_smooth_sequence() {
    let (a, b, c) = (
        Target::named("a").await,
        Target::named("b").await,
        Target::named("c").await,
    );
    let mut world = World::new();
    let groups = [&a, &b, &c].map(|target| world.group(&[target.at]));
    let shares = vec![
        share(&groups[0], 5),
        share(&groups[1], 1),
        share(&groups[2], 0),
    ];
    world.default_action(Action::Forward(shares));
    let _lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    let mut sequence = String::new();
    for _ in 0..12 {
        sequence += &client.get(HOST, "/").await.unwrap().body;
    }
    assert_eq!(sequence, "aaabaaaaabaa");
    assert_eq!(c.count(), 0);
}

#[tokio::test]
async fn weights_of_zero_and_groups_without_targets_answer_503() {
    let mut world = World::new();
    let empty = world.group(&[]);
    let lab = Lab::start(config(), &world).await;
    for weight in [0, 1] {
        world.default_action(Action::Forward(vec![share(&empty, weight)]));
        lab.apply(&mut world).await;
        assert_eq!(
            get(world.at, HOST, "/").await.status,
            503,
            "weight {weight}"
        );
    }
}

#[tokio::test]
async fn targets_take_turns_and_keep_their_connections() {
    let targets = [Target::named("a").await, Target::named("b").await];
    let (world, _) = World::forwarding(&targets.each_ref().map(|target| target.at));
    let _lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    for _ in 0..20 {
        client.get(HOST, "/").await.unwrap();
    }
    for target in &targets {
        assert_eq!(target.count(), 10);
        assert_eq!(
            target
                .connections
                .load(std::sync::atomic::Ordering::Relaxed),
            1
        );
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_connected_is_passed_over() {
    let target = Target::named("up").await;
    let (mut world, group) = World::forwarding(&[target.at, nobody()]);
    let lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    for _ in 0..6 {
        assert_eq!(client.get(HOST, "/").await.unwrap().body, "up");
    }
    world.target_group(&group).targets.clear();
    world.register(&group, nobody());
    lab.apply(&mut world).await;
    assert_eq!(client.get(HOST, "/").await.unwrap().status, 500);
}

#[tokio::test]
async fn only_healthy_targets_are_used_unless_none_is() {
    use TargetHealth::*;
    let targets = [
        Target::named("a").await,
        Target::named("b").await,
        Target::named("c").await,
    ];
    let (mut world, group) = World::forwarding(&targets.each_ref().map(|target| target.at));
    let check = world::health_check();
    world.target_group(&group).health_check = Some(check);
    for (target, health) in targets.iter().zip([Healthy, Unhealthy, Initial]) {
        world.set_health(&group, target.at, health);
    }
    let lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    let mut ask = async |times| {
        let mut names = String::new();
        for _ in 0..times {
            names += &client.get(HOST, "/").await.unwrap().body;
        }
        let mut names: Vec<char> = names.chars().collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().collect::<String>()
    };
    assert_eq!(ask(6).await, "a");
    world.set_health(&group, targets[0].at, Unhealthy);
    lab.apply(&mut world).await;
    assert_eq!(ask(9).await, "abc", "fails open");
    world.set_health(&group, targets[1].at, Healthy);
    lab.apply(&mut world).await;
    assert_eq!(ask(6).await, "b");
}

#[tokio::test]
async fn iam_auth_without_a_policy_denies_network_first() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let deny = Auth::AwsIam { policy: None };
    world.service().auth = deny.clone();
    let lab = Lab::start(config(), &world).await;
    let arn = world.snapshot.services[&world.service].arn.clone();
    let answer = get(world.at, HOST, "/cart?x=1").await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.body,
        format!(
            "AccessDeniedException: User: anonymous is not authorized to perform: \
             vpc-lattice-svcs:Invoke on resource: {arn}/cart because no service-based policy allows \
             the vpc-lattice-svcs:Invoke action"
        )
    );
    world.service_network().auth = deny;
    lab.apply(&mut world).await;
    assert!(
        get(world.at, HOST, "/")
            .await
            .body
            .contains("no network-based policy")
    );
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn a_target_that_cannot_be_connected_is_left_out_where_that_is_asked_for() {
    let target = Target::named("up").await;
    let (world, group) = World::forwarding(&[target.at, nobody()]);
    let ejection = std::time::Duration::from_secs(3600);
    let lab = Lab::start(
        lath_proxy::ProxyConfig {
            ejection,
            ..config()
        },
        &world,
    )
    .await;
    let mut client = Client::connect(world.at).await;
    for _ in 0..10 {
        assert_eq!(client.get(HOST, "/").await.unwrap().body, "up");
    }
    let errors =
        format!("lath_target_group_connection_errors_total{{target_group=\"{group}\"}} 1\n");
    assert!(
        lab.handle.prometheus().contains(&errors),
        "{}",
        lab.handle.prometheus()
    );
}
