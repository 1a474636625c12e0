//! Listeners as entrances to other services.

use std::net::IpAddr;
use std::sync::Arc;

use crate::lab::{Lab, Target, World, config, eventually, get, place};
use lath_feed::*;
use lath_model::id::*;
use lath_model::lattice::*;
use lath_model::matching::{MoreMatch, PathCondition};

/// A gateway at the address of the world's service, and a route with a rule for `/a` at an address of its own. They have a
/// port in common.
fn gateway(target: &Target) -> (World, ServiceId) {
    let mut world = World::new();
    let group = world.group(&[target.at]);
    let listener = world.listener().id.clone();
    world.listener().gateway = Some(Gateway {
        listeners: vec![GatewayListener {
            name: "web".to_owned(),
            hostname: Some("*.example.test".to_owned()),
            certificates: Vec::new(),
        }],
    });
    let gateway = world.snapshot.services[&world.service].as_ref().clone();
    let (address, _) = place();
    let id = ServiceId::random();
    let own = Listener {
        id: ListenerId::random(),
        gateway: None,
        matched: vec![MatchedRule {
            rule: Rule {
                id: RuleId::random(),
                priority: 1,
                conditions: Match::default(),
                action: Action::Forward(vec![WeightedTargetGroup {
                    target_group: group,
                    weight: 1,
                }]),
            },
            more: MoreMatch {
                path: Some(PathCondition::Prefix("/a".to_owned())),
                ..MoreMatch::default()
            },
        }],
        ..gateway.listeners[&listener].clone()
    };
    let route = Service {
        arn: format!("arn:aws:vpc-lattice:us-east-1:111122223333:service/{id}"),
        custom_domain_name: Some("route.example.com".to_owned()),
        domain_name: "route.lattice.test".to_owned(),
        address,
        listeners: [(own.id.clone(), own)].into(),
        routes: vec![GatewayRoute {
            listener,
            name: "web".to_owned(),
            hosts: vec!["a.example.test".to_owned()],
            order: String::new(),
        }],
        access_logs: vec![AccessLogDestination {
            id: AccessLogSubscriptionId::random(),
            destination_arn: "arn:route".to_owned(),
        }],
        id: id.clone(),
        ..gateway
    };
    world.snapshot.services.insert(id.clone(), Arc::new(route));
    world.service_network().services.insert(id.clone());
    (world, id)
}

#[tokio::test]
async fn a_request_is_the_routes_from_there_on() {
    let target = Target::named("route").await;
    let (mut world, id) = gateway(&target);
    let lab = Lab::start(config(), &world).await;
    for (host, path, want) in [
        ("a.example.test", "/a/b", 200),
        ("A.Example.Test", "/a", 200),
        ("a.example.test", "/ab", 404),
        ("b.example.test", "/a", 404),
        ("a.other.test", "/a", 404),
        // What names a service at another address is nothing here.
        ("route.example.com", "/a", 404),
    ] {
        assert_eq!(
            get(world.at, host, path).await.status,
            want,
            "{host} {path}"
        );
    }
    let route = world.snapshot.services[&id].clone();
    let own = std::net::SocketAddr::new(IpAddr::V4(route.address), world.at.port());
    assert_eq!(get(own, "route.example.com", "/a").await.status, 200);
    assert_eq!(get(own, "a.example.test", "/a").await.status, 404);
    eventually("three records", || lab.sink.logs.lock().unwrap().len() == 3).await;
    let logs = lab.sink.logs.lock().unwrap().clone();
    let is_its = |it: &lath_feed::telemetry::AccessLog| it.service_arn.as_ref() == Some(&route.arn);
    assert!(logs.iter().all(is_its));
    assert_eq!(logs[0].listener.as_ref(), route.listeners.keys().next());

    // Its auth policy counts, and the gateway's does not.
    let closed = Auth::AwsIam { policy: None };
    world.service().auth = closed.clone();
    lab.tell(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 200);
    assert_eq!(get(world.at, "b.example.test", "/a").await.status, 403);
    world.service().auth = Auth::None;
    let changed = world.snapshot.services.get_mut(&id).unwrap();
    Arc::make_mut(changed).auth = closed;
    lab.tell(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 403);
    assert_eq!(get(world.at, "b.example.test", "/a").await.status, 404);

    // A service outside the network is not reached through a gateway in it.
    let changed = world.snapshot.services.get_mut(&id).unwrap();
    Arc::make_mut(changed).auth = Auth::None;
    lab.tell(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 200);
    world.service_network().services.remove(&id);
    lab.tell(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 404);
}

#[tokio::test]
async fn services_that_share_the_address_keep_what_names_them() {
    let target = Target::named("route").await;
    let (mut world, id) = gateway(&target);
    let at = world.snapshot.services[&world.service].address;
    let shared = world.snapshot.services.get_mut(&id).unwrap();
    Arc::make_mut(shared).address = at;
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, "route.example.com", "/a").await.status, 200);
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 200);
    assert_eq!(get(world.at, "a.other.test", "/a").await.status, 404);
}
