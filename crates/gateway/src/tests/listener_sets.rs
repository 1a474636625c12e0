//! ListenerSets, whose listeners join those of a Gateway.

use super::bench::Bench;
use super::entrance::{extended, judged, own_world, secret};
use super::*;
use crate::attach::{parents, uncertain};
use crate::entrance;
use crate::kinds::{Gateway, ListenerSet};

/// A set of default/gw that was made in this second.
fn set(world: &mut World, name: &str, second: u8, listeners: Value) {
    let (namespace, short) = name.split_once('/').unwrap();
    let set: ListenerSet = serde_json::from_value(json!({
        "metadata": {"name": short, "namespace": namespace, "generation": 3,
            "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
        "spec": {"parentRef": {"name": "gw", "namespace": "default"}, "listeners": listeners},
    }))
    .unwrap();
    world
        .listener_sets
        .insert(Name::new(namespace, short), Arc::new(set));
}

/// A Gateway with an HTTP listener that takes the ListenerSets of these namespaces.
fn allowing(from: &Value) -> World {
    let mut world = own_world(http());
    let spec = json!({"gatewayClassName": "lattice", "allowedListeners": {"namespaces": from},
        "listeners": [{"name": "http", "protocol": "HTTP", "port": 80, "hostname": "gw.example"}]});
    let gateway: Arc<Gateway> = object("default/gw", &spec);
    world.gateways.insert(Name::new("default", "gw"), gateway);
    world
}

fn listener(name: &str, hostname: &str) -> Value {
    json!({"name": name, "protocol": "HTTP", "port": 80, "hostname": hostname})
}

fn keys(world: &World) -> Vec<String> {
    judged(world)
        .0
        .iter()
        .map(crate::listeners::Section::key)
        .collect()
}

#[test]
fn a_gateway_takes_the_sets_that_it_allows() {
    for (from, want) in [
        (json!(null), &["http"][..]),
        (json!({}), &["http"]),
        (json!({"from": "None"}), &["http"]),
        (json!({"from": "Same"}), &["http", "default/one/a"]),
        (
            json!({"from": "All"}),
            &["http", "other/two/a", "default/one/a"],
        ),
        (
            json!({"from": "Selector", "selector": {"matchLabels": {"team": "x"}}}),
            &["http", "other/two/a"],
        ),
    ] {
        let mut world = allowing(&from);
        set(
            &mut world,
            "default/one",
            2,
            json!([listener("a", "a.example")]),
        );
        set(
            &mut world,
            "other/two",
            1,
            json!([listener("a", "b.example")]),
        );
        let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        world
            .namespaces
            .insert(Name::new("", "other"), Arc::new(labels));
        assert_eq!(keys(&world), want, "{from}");
    }
}

#[test]
fn the_gateways_listeners_come_first_then_those_of_older_sets() {
    let mut world = allowing(&json!({"from": "Same"}));
    let twice = json!([listener("a", "x.example"), listener("b", "gw.example")]);
    set(&mut world, "default/young", 2, twice);
    set(
        &mut world,
        "default/old",
        1,
        json!([listener("a", "X.example"),
        {"name": "tcp", "protocol": "TCP", "port": 80}, {"name": "free", "protocol": "UDP", "port": 81}]),
    );
    let (sections, judged) = judged(&world);
    let said: Vec<_> = sections
        .iter()
        .zip(&judged)
        .map(|(it, judged)| (it.key(), judged.accepted.reason))
        .collect();
    let want = [
        ("http", "Accepted"),
        ("default/old/a", "Accepted"),
        ("default/old/tcp", "ProtocolConflict"),
        ("default/old/free", "UnsupportedProtocol"),
        ("default/young/a", "HostnameConflict"),
        ("default/young/b", "HostnameConflict"),
    ];
    assert_eq!(said, want.map(|(key, reason)| (key.to_owned(), reason)));
    // What is in conflict itself takes nothing from others.
    assert!(
        judged[4].accepted.message.contains("an older ListenerSet"),
        "{:?}",
        judged[4]
    );
    let name = Name::new("default", "gw");
    let gateway = &world.gateways[&name];
    let made = entrance::entrance(
        &extended(),
        (&name, gateway),
        (&sections, &judged),
        &BTreeMap::new(),
        None,
    );
    let text: Value = serde_json::from_str(&made.doors[0].text).unwrap();
    let entry = |name: &str, hostname: &str| json!({"name": name, "hostname": hostname});
    let want =
        json!({"listeners": [entry("http", "gw.example"), entry("default/old/a", "x.example")]});
    assert_eq!(text, want);
}

#[test]
fn a_port_has_room_for_so_many_listeners() {
    let mut world = allowing(&json!({"from": "All"}));
    let many: Vec<_> = (0..64)
        .map(|it| listener(&format!("l{it}"), &format!("h{it}.example")))
        .collect();
    set(&mut world, "default/many", 1, json!(many));
    let long = "l".repeat(250);
    set(
        &mut world,
        "other/long",
        2,
        json!([{"name": long, "protocol": "HTTP", "port": 81}]),
    );
    let (sections, judged) = judged(&world);
    let refused = judged
        .iter()
        .filter(|it| it.accepted.reason == "TooManyListeners");
    assert_eq!(refused.count(), 1);
    assert_eq!(judged[64].accepted.reason, "TooManyListeners");
    let key = sections[65].key();
    assert!(key.starts_with("other/") && key.len() <= 253, "{key}");
    let name = Name::new("default", "gw");
    let gateway = &world.gateways[&name];
    let made = entrance::entrance(
        &extended(),
        (&name, gateway),
        (&sections, &judged),
        &BTreeMap::new(),
        None,
    );
    for door in &made.doors {
        assert!(crate::long_tags::fits(
            &door.text,
            crate::long_tags::MANY_PARTS
        ));
    }
}

#[test]
fn a_sets_secrets_want_grants_for_sets() {
    let mut world = allowing(&json!({"from": "All"}));
    let tls = json!({"certificateRefs": [{"name": "cert", "namespace": "certs"}]});
    set(
        &mut world,
        "other/set",
        1,
        json!([
        {"name": "a", "protocol": "HTTPS", "port": 443, "tls": tls},
        {"name": "b", "protocol": "HTTPS", "port": 444, "tls": {"options": {key("certificate-arn"): "arn:any"}}}]),
    );
    secret(&mut world, "certs/cert", None);
    let mut grant = |kind: &str| {
        let from =
            json!([{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": "other"}]);
        let grant = json!({"from": from, "to": [{"group": "", "kind": "Secret"}]});
        let at = Name::new("certs", kind);
        world
            .grants
            .insert(at, object(&format!("certs/{kind}"), &grant));
        let (_, judged) = judged(&world);
        (judged[1].resolved.reason, judged[2].resolved.reason)
    };
    assert_eq!(grant("Gateway"), ("RefNotPermitted", "RefNotPermitted"));
    assert_eq!(grant("ListenerSet"), ("ResolvedRefs", "RefNotPermitted"));
    let name = Name::new("default", "gw");
    let named = world.secrets_of(&name, &world.gateways[&name]);
    assert!(named.contains(&Name::new("certs", "cert")));
    let touched = world.touched_by_secret(&Name::new("certs", "cert"));
    assert_eq!(touched, [Key::Gateway(name)]);
}

#[test]
fn a_route_is_attached_by_what_it_names() {
    let mut world = allowing(&json!({"from": "All"}));
    set(
        &mut world,
        "other/set",
        1,
        json!([listener("a", "a.example"),
        {"name": "open", "protocol": "HTTP", "port": 80, "hostname": "b.example",
            "allowedRoutes": {"namespaces": {"from": "All"}}}]),
    );
    let of_set = |more: Value| {
        let mut it = json!({"group": "gateway.networking.k8s.io", "kind": "ListenerSet",
            "name": "set", "namespace": "other"});
        it.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        it
    };
    let parent_refs = json!([{"name": "gw"}, of_set(json!({})), {"name": "gw", "sectionName": "open"},
        of_set(json!({"sectionName": "a"})), of_set(json!({"name": "none"}))]);
    let route: Arc<Route> = object("default/r", &json!({"parentRefs": parent_refs}));
    let name = Name::new("default", "r");
    let parents = parents(&world, &extended(), RouteKind::Http, &name, &route);
    let said: Vec<_> = parents
        .iter()
        .map(|it| {
            let keys = it.listeners.iter().map(crate::listeners::Section::key);
            (it.accepted.reason, keys.collect::<Vec<_>>())
        })
        .collect();
    let want = [
        ("Accepted", vec!["http".to_owned()]),
        ("Accepted", vec!["other/set/open".to_owned()]),
        // A Gateway's listeners are its own.
        ("NoMatchingParent", vec![]),
        // Namespaces are allowed beside the set's.
        ("NotAllowedByListeners", vec![]),
    ];
    assert_eq!(said, want);
    let gateway = Name::new("default", "gw");
    world
        .routes
        .entry(RouteKind::Http)
        .or_default()
        .insert(name.clone(), route);
    let set = Name::new("other", "set");
    let gone = world.listener_sets.remove(&set).unwrap();
    let touched = world.touched_by_listener_set(&set, &gone);
    assert!(
        touched.contains(&Key::Gateway(gateway))
            && touched.contains(&Key::Route(RouteKind::Http, name))
    );
}

#[test]
fn a_set_that_is_not_read_is_not_gone() {
    let mut world = allowing(&json!({"from": "All"}));
    world
        .read
        .extend(["gateways".into(), "gatewayclasses".into()]);
    let parent = json!({"kind": "ListenerSet", "name": "set"});
    let status = json!({"parents": [{"parentRef": parent, "controllerName": crate::settings::OWN_CONTROLLER}]});
    let route: Route =
        serde_json::from_value(json!({"metadata": {"name": "r", "namespace": "default"},
        "spec": {"parentRefs": [parent]}, "status": status}))
        .unwrap();
    let name = Name::new("default", "r");
    assert!(uncertain(&world, &extended(), &name, &route).is_some());
    world.read.insert("listenersets".into());
    assert_eq!(uncertain(&world, &extended(), &name, &route), None);
    world
        .unreadable
        .insert(("listenersets".into(), Name::new("default", "set")));
    assert!(uncertain(&world, &extended(), &name, &route).is_some());
}

#[tokio::test]
async fn sets_are_told_what_became_of_them() {
    let mut settings = extended();
    settings.default_service_network = Some("gw".into());
    let bench = Bench::new(own_world(http()), settings).await;
    let allowed = json!({"namespaces": {"from": "Same"}});
    let gateway = json!({"gatewayClassName": "lattice", "allowedListeners": allowed,
        "listeners": [listener("http", "gw.example")]});
    bench.put("gateways", "gw", &gateway);
    let parent = json!({"name": "gw", "namespace": "default"});
    let put = |name: &str, listeners: Value| {
        bench.put(
            "listenersets",
            name,
            &json!({"parentRef": parent, "listeners": listeners}),
        );
    };
    put(
        "good",
        json!([listener("a", "a.example"), listener("b", "gw.example")]),
    );
    put("bad", json!([listener("b", "gw.example")]));
    put("other/far", json!([listener("a", "c.example")]));
    let route = json!({"parentRefs": [{"kind": "ListenerSet", "name": "good"}],
        "rules": [{"backendRefs": [backend("one", 1)]}]});
    bench.put("httproutes", "web", &route);
    let key = Key::Gateway(Name::new("default", "gw"));
    bench
        .settle(&[key.clone(), super::bench::route("web")])
        .await;
    let said = |name: &str| {
        ["Accepted", "Programmed"].map(|kind| bench.said("listenersets", name, kind).0)
    };
    assert_eq!(said("good"), ["ListenersNotValid", "Programmed"]);
    assert_eq!(said("bad"), ["ListenersNotValid", "ListenersNotValid"]);
    assert_eq!(said("other/far"), ["NotAllowed", "NotAllowed"]);
    let good = bench.object("listenersets", "good").unwrap();
    let listeners = &good["status"]["listeners"];
    assert_eq!(listeners[0]["attachedRoutes"], 1, "{listeners}");
    let programmed = |at: usize| {
        let all = listeners[at]["conditions"].as_array().unwrap().iter();
        let mut found = all.filter(|it| it["type"] == "Programmed");
        found.next().unwrap()["reason"].clone()
    };
    assert_eq!(
        [programmed(0), programmed(1)],
        ["Programmed", "HostnameConflict"]
    );
    let gateway = bench.object("gateways", "gw").unwrap();
    assert_eq!(gateway["status"]["attachedListenerSets"], 1);
    // The Gateway goes.
    bench.delete("gateways", "gw");
    bench.settle(&[key]).await;
    assert_eq!(said("good"), ["ParentNotAccepted", "ParentNotAccepted"]);
}
