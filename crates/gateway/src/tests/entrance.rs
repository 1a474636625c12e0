//! Gateways with an address.

use super::*;
use crate::entrance::{self, Entered};
use crate::listeners::{Certificate, Judged, Section, judge, sections};
use crate::secrets::Secret;
use crate::settings::OWN_CONTROLLER;

pub(super) fn extended() -> Settings {
    Settings {
        controller_names: vec![OWN_CONTROLLER.into()],
        extended: true,
        gateway_addresses: true,
        ..settings()
    }
}

pub(super) fn own_world(listeners: Value) -> World {
    let mut world = world(listeners);
    let class = json!({"controllerName": OWN_CONTROLLER});
    world
        .classes
        .insert(Name::new("", "lattice"), object("lattice", &class));
    world
}

fn made(world: &mut World, kind: RouteKind, spec: &Value) -> Plan {
    let mut spec = spec.clone();
    spec["parentRefs"] = json!([{"name": "gw"}]);
    let name = Name::new("default", "r");
    let route: Arc<Route> = object("default/r", &spec);
    let routes = world.routes.entry(kind).or_default();
    routes.insert(name.clone(), Arc::clone(&route));
    plan::route(world, &extended(), &Imports::new(), (kind, &name, &route))
}

pub(super) fn judged(world: &World) -> (Vec<Section>, Vec<Judged>) {
    let name = Name::new("default", "gw");
    let sections = sections(world, (&name, &world.gateways[&name]), true);
    let judged = judge(world, (&name, &world.gateways[&name]), &sections, true);
    (sections, judged)
}

pub(super) fn secret(world: &mut World, name: &str, fault: Option<&'static str>) {
    let secret = Secret {
        certificate: String::new(),
        chain: None,
        key: String::new(),
        hash: "1".into(),
        fault,
        authorities: None,
    };
    let (namespace, name) = name.split_once('/').unwrap();
    let at = Name::new(namespace, name);
    world.secrets.insert(at, Arc::new(secret));
}

#[test]
fn a_match_is_one_rule() {
    let headers: Vec<_> = (0..6)
        .map(|it| json!({"name": format!("x-{it}"), "value": "1"}))
        .collect();
    for (given, want) in [
        (json!({"path": {"type": "Exact", "value": "/a"}}), None),
        (json!({}), None),
        (
            json!({"path": {"type": "PathPrefix", "value": "/a/"}}),
            Some(json!({"path": {"type": "PathPrefix", "value": "/a"}})),
        ),
        (
            json!({"path": {"type": "RegularExpression", "value": "/v[0-9]"}}),
            Some(json!({"path": {"type": "RegularExpression", "value": "/v[0-9]"}})),
        ),
        (
            json!({"queryParams": [{"name": "Q", "value": "1"}, {"name": "Q", "value": "2"}],
                "headers": [{"name": "X-A", "type": "RegularExpression", "value": "a+"}]}),
            Some(
                json!({"headers": [{"name": "x-a", "type": "RegularExpression", "value": "a+"}],
                "queryParameters": [{"name": "Q", "type": "Exact", "value": "1"}]}),
            ),
        ),
        (
            json!({"headers": headers}),
            Some(
                json!({"headers": (0..6).map(|it| json!({"name": format!("x-{it}"),
                "type": "Exact", "value": "1"})).collect::<Vec<_>>()}),
            ),
        ),
    ] {
        let rules = json!([{"matches": [given], "backendRefs": [backend("one", 1)]}]);
        let plan = made(
            &mut own_world(http()),
            RouteKind::Http,
            &json!({"rules": rules}),
        );
        let rules = &plan.service.as_ref().unwrap().listeners[0].rules;
        assert_eq!(rules.len(), 1, "{given}");
        let more = rules[0].condition.more.as_ref();
        let more: Option<Value> = more.map(|it| serde_json::from_str(it).unwrap());
        assert_eq!(more, want, "{given}");
        assert_eq!(plan.left_out, None);
    }
}

#[test]
fn exact_paths_come_before_expressions_and_those_before_prefixes() {
    let path = |kind: &str, value: &str| json!({"path": {"type": kind, "value": value}});
    let with = |method: &str, mut it: Value| {
        it["method"] = json!(method);
        it
    };
    let matches = [
        path("PathPrefix", "/"),
        path("PathPrefix", "/aa"),
        path("RegularExpression", "/a.*"),
        with("GET", path("PathPrefix", "/aa")),
        path("Exact", "/a"),
    ];
    let rules: Vec<_> = matches
        .iter()
        .map(|it| json!({"matches": [it], "backendRefs": [backend("one", 1)]}))
        .collect();
    let plan = made(
        &mut own_world(http()),
        RouteKind::Http,
        &json!({"rules": rules}),
    );
    let rules = &plan.service.as_ref().unwrap().listeners[0].rules;
    let said: Vec<_> = rules
        .iter()
        .map(|it| {
            let more = it.condition.more.clone().unwrap_or_default();
            let kinds = ["RegularExpression", "PathPrefix"];
            let kind = kinds.into_iter().find(|kind| more.contains(kind));
            (kind, it.condition.method.is_some())
        })
        .collect();
    assert_eq!(
        said,
        [
            (None, false),
            (Some("RegularExpression"), false),
            (Some("PathPrefix"), true),
            (Some("PathPrefix"), false),
            (None, false)
        ]
    );
}

#[test]
fn a_backend_that_is_not_there_has_its_share() {
    let rules = json!([{"backendRefs": [backend("one", 3), backend("none", 1)]}]);
    let plan = made(
        &mut own_world(http()),
        RouteKind::Http,
        &json!({"rules": rules}),
    );
    assert_eq!(plan.resolved.reason, "BackendNotFound");
    let rule = &plan.service.as_ref().unwrap().listeners[0].rules[0];
    assert_eq!(forward(&plan, &rule.action), [("one".to_owned(), 3)]);
    let policy: Value = serde_json::from_str(&rule.policy().unwrap()).unwrap();
    assert_eq!(policy, json!({"failure": {"weight": 1, "statusCode": 500}}));
}

#[test]
fn filters_of_one_backend_are_its_groups() {
    let mut filtered = backend("one", 1);
    filtered["filters"] = json!([{"type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-a", "value": "1"}]}}]);
    let rules = json!([{"backendRefs": [filtered, backend("two", 1)], "filters": [{"type": "CORS",
        "cors": {"allowOrigins": ["https://a.example"], "maxAge": 5}}]}]);
    let plan = made(
        &mut own_world(http()),
        RouteKind::Http,
        &json!({"rules": rules}),
    );
    let rule = &plan.service.as_ref().unwrap().listeners[0].rules[0];
    let policy: Value = serde_json::from_str(&rule.policy().unwrap()).unwrap();
    let group = &policy["targetGroups"][0];
    assert_eq!(group["requestHeaders"], json!({"set": {"x-a": "1"}}));
    let name = group["targetGroupIdentifier"].as_str().unwrap();
    assert!(name.starts_with("k8s-default-one-"), "{name}");
    let cors = json!({"allowOrigins": ["https://a.example"], "maxAge": 5});
    assert_eq!(policy["cors"], cors);
}

#[test]
fn a_route_is_behind_its_gateways_listeners_with_all_its_hostnames() {
    let mut world = own_world(json!([
        {"name": "all", "protocol": "HTTP", "port": 80},
        {"name": "some", "protocol": "HTTP", "port": 80, "hostname": "*.a.example"},
        {"name": "other", "protocol": "HTTP", "port": 81, "hostname": "b.example"},
    ]));
    let hostnames = json!(["x.a.example", "*.example"]);
    let rules = json!([{"backendRefs": [backend("one", 1)]}]);
    let plan = made(
        &mut world,
        RouteKind::Http,
        &json!({"hostnames": hostnames, "rules": rules}),
    );
    let service = plan.service.as_ref().unwrap();
    assert_eq!((&service.custom_domain, &plan.left_out), (&None, &None));
    let gateway = Name::new("default", "gw");
    assert_eq!(plan.place.text(&BTreeMap::new()), Err(gateway.clone()));
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    let doors = [
        (
            (80, Protocol::Http),
            ("arn:80".to_owned(), names(&["all", "some"])),
        ),
        (
            (81, Protocol::Http),
            ("arn:81".to_owned(), names(&["other"])),
        ),
    ];
    let entered = Entered {
        doors: doors.into(),
        ..Entered::default()
    };
    let text = plan
        .place
        .text(&BTreeMap::from([(gateway, entered)]))
        .unwrap()
        .0;
    let text: Value = serde_json::from_str(&text).unwrap();
    let order = "/default/r";
    assert_eq!(
        text,
        json!([
            {"listener": "arn:80", "name": "all", "hosts": ["*.example", "x.a.example"], "order": order},
            {"listener": "arn:80", "name": "some", "hosts": ["*.a.example", "x.a.example"], "order": order},
            {"listener": "arn:81", "name": "other", "hosts": ["b.example"], "order": order},
        ])
    );
}

#[test]
fn a_gateway_is_a_service_with_a_listener_for_each_port_and_protocol() {
    let tls = |name: &str| json!({"certificateRefs": [{"name": name}]});
    let mut world = own_world(json!([
        {"name": "web", "protocol": "HTTP", "port": 80},
        {"name": "tls", "protocol": "HTTPS", "port": 443, "tls": tls("good")},
        {"name": "host", "protocol": "HTTPS", "port": 443, "hostname": "A.example", "tls": tls("good")},
        {"name": "twin", "protocol": "HTTPS", "port": 443, "hostname": "a.example", "tls": tls("good")},
        {"name": "clash", "protocol": "HTTP", "port": 443},
        {"name": "bad", "protocol": "HTTPS", "port": 444, "tls": tls("bad")},
        {"name": "gone", "protocol": "HTTPS", "port": 445, "tls": tls("gone")},
        {"name": "ends", "protocol": "TLS", "port": 446, "tls": {"mode": "Terminate"}},
    ]));
    secret(&mut world, "default/good", None);
    secret(&mut world, "default/bad", Some("no certificate"));
    let (sections, judged) = judged(&world);
    let said: Vec<_> = judged
        .iter()
        .map(|it| {
            (
                it.accepted.reason,
                it.resolved.reason,
                it.overlapping.is_some(),
            )
        })
        .collect();
    let (good, found) = ("Accepted", "ResolvedRefs");
    assert_eq!(
        said,
        [
            (good, found, false),
            (good, found, true),
            (good, found, true),
            ("HostnameConflict", found, true),
            ("ProtocolConflict", found, false),
            (good, "InvalidCertificateRef", false),
            (good, "InvalidCertificateRef", false),
            ("UnsupportedValue", found, false),
        ]
    );
    let name = Name::new("default", "gw");
    let good = Name::new("default", "good");
    assert_eq!(judged[1].certificates, [Certificate::Secret(good.clone())]);
    let arns = BTreeMap::from([(good, "arn:good".to_owned())]);
    let gateway = &world.gateways[&name];
    let made = entrance::entrance(
        &extended(),
        (&name, gateway),
        (&sections, &judged),
        &arns,
        None,
    );
    let texts: Vec<Value> = made
        .doors
        .iter()
        .map(|it| serde_json::from_str(&it.text).unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            json!({"listeners": [{"name": "web"}]}),
            json!({"listeners": [{"name": "tls", "certificateArns": ["arn:good"]},
                {"name": "host", "hostname": "a.example", "certificateArns": ["arn:good"]}]}),
        ]
    );
    assert!(
        made.name.starts_with("gw-gw-default-") && made.name.len() <= 40,
        "{}",
        made.name
    );
}

#[test]
fn a_secret_of_another_namespace_wants_a_grant() {
    let mut world = own_world(json!([{"name": "tls", "protocol": "HTTPS", "port": 443,
        "tls": {"certificateRefs": [{"name": "cert", "namespace": "other"}]}}]));
    secret(&mut world, "other/cert", None);
    assert_eq!(judged(&world).1[0].resolved.reason, "RefNotPermitted");
    let from =
        json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default"}]);
    let grant = json!({"from": from, "to": [{"group": "", "kind": "Secret", "name": "cert"}]});
    world
        .grants
        .insert(Name::new("other", "grant"), object("other/grant", &grant));
    assert_eq!(judged(&world).1[0].resolved.reason, "ResolvedRefs");
}

#[test]
fn tcp_has_a_port_alone() {
    let mut world = own_world(json!([
        {"name": "raw", "protocol": "TCP", "port": 5432, "hostname": "ignored.example.com"},
        {"name": "same", "protocol": "TCP", "port": 5432, "hostname": "other.example.com"},
        {"name": "web", "protocol": "HTTP", "port": 80},
    ]));
    let (sections, of) = judged(&world);
    let conflicts: Vec<_> = of
        .iter()
        .map(|it| (it.accepted.good, it.conflicted.as_ref().unwrap().reason))
        .collect();
    assert_eq!(
        conflicts,
        [
            (true, "NoConflicts"),
            (false, "HostnameConflict"),
            (true, "NoConflicts")
        ]
    );
    let name = Name::new("default", "gw");
    let gateway = Arc::clone(&world.gateways[&name]);
    let found = entrance::entrance(
        &extended(),
        (&name, &gateway),
        (&sections, &of),
        &BTreeMap::new(),
        None,
    );
    let texts: Vec<_> = found
        .doors
        .iter()
        .map(|it| (it.port, it.protocol.as_str(), it.text.as_str()))
        .collect();
    assert_eq!(
        texts,
        [
            (
                5432,
                "TLS_PASSTHROUGH",
                r#"{"listeners":[{"name":"raw"}],"protocol":"TCP"}"#
            ),
            (80, "HTTP", r#"{"listeners":[{"name":"web"}]}"#),
        ]
    );
    let rules = json!({"rules": [{"backendRefs": [
        {"name": "one", "port": 80, "weight": 3}, {"name": "two", "port": 80, "weight": 1},
    ]}]});
    let plan = made(&mut world, RouteKind::Tcp, &rules);
    let service = plan.service.as_ref().unwrap();
    assert_eq!(service.listeners.len(), 1);
    assert_eq!(service.listeners[0].port, 5432);
    assert!(service.groups.iter().all(|it| it.protocol == "TCP"));
    assert_eq!(
        forward(&plan, &service.listeners[0].default),
        [("one".to_owned(), 3), ("two".to_owned(), 1)]
    );
    // What is not there has its share: a group without targets closes connections.
    for (backends, nothing, others) in [
        (
            json!([{"name": "one", "port": 80, "weight": 3}, {"name": "gone", "port": 80, "weight": 1}]),
            1,
            1,
        ),
        (json!([{"name": "gone", "port": 80, "weight": 2}]), 2, 0),
        (json!([{"name": "one", "port": 80, "weight": 0}]), 1, 1),
        (json!([]), 1, 0),
    ] {
        let rules = json!({"rules": [{"backendRefs": backends}]});
        let plan = made(&mut world, RouteKind::Tcp, &rules);
        let service = plan.service.as_ref().unwrap();
        let Action::Forward(groups) = &service.listeners[0].default else {
            panic!("{backends}");
        };
        let empty = service
            .groups
            .iter()
            .find(|it| it.targets.is_empty() && it.port == 1);
        let empty = GroupRef::Own(empty.unwrap().name.clone());
        assert_eq!(groups.get(&empty), Some(&nothing), "{backends}");
        assert_eq!(service.groups.len(), 1 + others, "{backends}");
    }
    // Backends that are there come first.
    let many: Vec<_> = (1..=11).map(|it| json!({"name": if it == 11 { "gone".to_owned() } else { format!("many-{it}") }, "port": 80})).collect();
    for it in 1..=10 {
        super::service(&mut world, "default", &format!("many-{it}"), &["10.0.0.9"]);
    }
    let rules = json!({"rules": [{"backendRefs": many}]});
    let plan = made(&mut world, RouteKind::Tcp, &rules);
    let service = plan.service.as_ref().unwrap();
    let Action::Forward(groups) = &service.listeners[0].default else {
        panic!();
    };
    assert_eq!(groups.len(), 10);
    // Lattice has no TCP listeners.
    let strict = plan::route(
        &world,
        &settings(),
        &Imports::new(),
        (
            RouteKind::Tcp,
            &Name::new("default", "r"),
            &Arc::clone(&world.routes[&RouteKind::Tcp][&Name::new("default", "r")]),
        ),
    );
    assert_eq!(strict.service.map(|it| it.listeners.len()), None);
    let whole = crate::listeners::judge(&world, (&name, &gateway), &sections, false);
    assert_eq!(whole[0].accepted.reason, "UnsupportedProtocol");
}
