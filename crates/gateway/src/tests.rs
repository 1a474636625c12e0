//! Kubernetes' objects in, what should be in VPC Lattice out.

mod auth;
mod backend_tls;
pub(crate) mod bench;
mod clients;
mod discovery;
mod entrance;
pub(crate) mod fake;
mod group_policies;
mod lattice;
mod listener_sets;
mod mcs;
mod objects;
mod ownership;
mod picture;
mod rollout;
mod traffic;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::desired::{Action, GroupRef, Path, Protocol, key};
use crate::gateway::{Found, Network, statuses};
use crate::kinds::{Route, RouteKind};
use crate::listeners;
use crate::plan::{self, Imports, Plan};
use crate::settings::{AWS_CONTROLLER, Settings};
use crate::world::{Key, Name, Service, ServicePort, Slice, World};

fn settings() -> Settings {
    Settings {
        controller_names: vec![AWS_CONTROLLER.into()],
        cluster_name: "prod".into(),
        vpc_id: "vpc-1".into(),
        account_id: "123456789012".into(),
        region: "us-east-1".into(),
        endpoint_url: None,
        default_service_network: None,
        service_network_override: false,
        extended: false,
        gateway_addresses: false,
        leader_elect: false,
        lease_namespace: "default".into(),
        workers: 1,
        metrics_address: None,
        webhook_address: None,
        webhook_configuration: String::new(),
        discover_selector: Vec::new(),
        discover_networks: Vec::new(),
        discover_zones: Vec::new(),
        takeover_from: vec!["1/blue/vpc-9".into()],
        cluster_set: None,
        cluster_set_regions: Vec::new(),
        context: None,
        clock: lath_clock::Clock::system(),
    }
}

fn object<T: DeserializeOwned>(name: &str, spec: &Value) -> Arc<T> {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let meta = json!({"name": name, "namespace": namespace, "generation": 7});
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap())
}

fn service(world: &mut World, namespace: &str, name: &str, addresses: &[&str]) {
    let port = ServicePort {
        name: "web".into(),
        port: 80,
        app_protocol: None,
    };
    let service = Service {
        ports: vec![port],
        ..Service::default()
    };
    let at = Name::new(namespace, name);
    world.services.insert(at, Arc::new(service));
    let slice = Slice {
        service: name.into(),
        ports: vec![("web".into(), 8080), ("metrics".into(), 9090)],
        ready: addresses.iter().map(|&it| it.to_owned()).collect(),
        ..Slice::default()
    };
    world
        .slices
        .insert(Name::new(namespace, &format!("{name}-1")), Arc::new(slice));
}

/// A class, a Gateway `default/gw` with these listeners, Services `one` and `two`.
fn world(listeners: Value) -> World {
    let mut world = World::default();
    let class = json!({"controllerName": AWS_CONTROLLER});
    world
        .classes
        .insert(Name::new("", "lattice"), object("lattice", &class));
    let gateway = json!({"gatewayClassName": "lattice", "listeners": listeners});
    world
        .gateways
        .insert(Name::new("default", "gw"), object("default/gw", &gateway));
    service(&mut world, "default", "one", &["10.0.0.1", "10.0.0.2"]);
    service(&mut world, "default", "two", &["10.0.0.3"]);
    world
}

fn http() -> Value {
    json!([{"name": "http", "protocol": "HTTP", "port": 80}])
}

fn plan(world: &mut World, kind: RouteKind, spec: &Value) -> Plan {
    let mut spec = spec.clone();
    spec["parentRefs"] = json!([{"name": "gw"}]);
    let name = Name::new("default", "r");
    let route: Arc<Route> = object("default/r", &spec);
    world
        .routes
        .entry(kind)
        .or_default()
        .insert(name.clone(), Arc::clone(&route));
    plan::route(world, &settings(), &Imports::new(), (kind, &name, &route))
}

fn backend(name: &str, weight: i32) -> Value {
    json!({"name": name, "port": 80, "weight": weight})
}

fn forward(plan: &Plan, action: &Action) -> Vec<(String, i32)> {
    let Action::Forward(groups) = action else {
        panic!("{action:?}")
    };
    let all = &plan.service.as_ref().unwrap().groups;
    let mut named: Vec<_> = groups
        .iter()
        .map(|(group, weight)| {
            let GroupRef::Own(name) = group else {
                panic!("{group:?}")
            };
            let group = all.iter().find(|it| it.name == *name).unwrap();
            (group.tags[&key("ServiceName")].clone(), *weight)
        })
        .collect();
    named.sort();
    named
}

#[test]
fn a_route_is_a_service_with_a_listener_and_the_pods_that_are_ready() {
    let mut world = world(http());
    let spec = json!({"hostnames": ["app.example.com"], "rules": [{"backendRefs": [backend("one", 90), backend("two", 10)]}]});
    let plan = plan(&mut world, RouteKind::Http, &spec);
    assert!(plan.parents[0].accepted.good && plan.resolved.good && plan.left_out.is_none());
    let service = plan.service.as_ref().unwrap();
    assert_eq!(service.names, ["r-default"]);
    assert_eq!(service.custom_domain.as_deref(), Some("app.example.com"));
    assert_eq!(service.networks.iter().collect::<Vec<_>>(), ["gw"]);
    assert_eq!(service.tags[&key("ManagedBy")], "123456789012/prod/vpc-1");
    assert_eq!(service.tags[&key("RouteType")], "http");
    let listener = &service.listeners[0];
    assert_eq!((listener.port, listener.protocol), (80, Protocol::Http));
    assert_eq!(
        (listener.name.as_str(), &listener.default),
        ("r-default-80-http", &Action::Fixed(404))
    );
    let [rule] = &listener.rules[..] else {
        panic!("{:?}", listener.rules)
    };
    assert_eq!(rule.condition.path, Path::Prefix("/".into()));
    assert_eq!(
        forward(&plan, &rule.action),
        [("one".to_owned(), 90), ("two".to_owned(), 10)]
    );
    let one = service
        .groups
        .iter()
        .find(|it| it.tags[&key("ServiceName")] == "one")
        .unwrap();
    let targets: Vec<_> = one.targets.iter().cloned().collect();
    assert_eq!(
        targets,
        [("10.0.0.1".to_owned(), 8080), ("10.0.0.2".to_owned(), 8080)]
    );
    assert_eq!(
        (one.protocol.as_str(), one.version.as_str(), one.port),
        ("HTTP", "HTTP1", 80)
    );
    assert!(one.name.starts_with("k8s-default-one-"), "{}", one.name);
    assert_eq!(one.tags[&key("SourceTypeKey")], "HTTPRoute");
}

#[test]
fn rules_are_in_the_order_of_the_gateway_api_and_prefixes_end_with_a_segment() {
    let mut world = world(http());
    let rule = |matches: Value, status: &str| json!({"matches": matches, "backendRefs": [backend(status, 1)]});
    let spec = json!({"rules": [
        rule(json!([{"path": {"type": "PathPrefix", "value": "/"}}]), "one"),
        rule(json!([{"path": {"type": "PathPrefix", "value": "/v1/"}}, {"path": {"type": "Exact", "value": "/z"}}]), "one"),
        rule(json!([{"path": {"type": "PathPrefix", "value": "/v1"}, "method": "GET"}]), "two"),
        rule(json!([{"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "X-A", "value": "b"}]}]), "two"),
        rule(json!([{"path": {"type": "PathPrefix", "value": "/v1"}}]), "two"),
    ]});
    let plan = plan(&mut world, RouteKind::Http, &spec);
    let rules = &plan.service.as_ref().unwrap().listeners[0].rules;
    let shown: Vec<_> = rules
        .iter()
        .map(|rule| {
            let it = &rule.condition;
            let path = match &it.path {
                Path::Exact(path) => format!("={path}"),
                Path::Prefix(path) => format!("{path}*"),
            };
            let method = it.method.as_deref().unwrap_or("-");
            format!(
                "{method} {path} {} {}",
                it.headers.len(),
                forward(&plan, &rule.action)[0].0
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "- =/z 0 one",
            "GET =/v1 0 two",
            "GET /v1/* 0 two",
            // The first of two with one condition.
            "- =/v1 0 one",
            "- /v1/* 0 one",
            "- /* 1 two",
            "- /* 0 one",
        ]
    );
}

#[test]
fn what_lattice_lacks_is_reported_and_the_rest_is_served() {
    let good = json!({"backendRefs": [backend("one", 1)]});
    let path = json!([{"path": {"type": "PathPrefix", "value": "/a/b"}}]);
    // What is matched can be said: then it is answered with an error, and is not another rule's.
    let said = [
        (
            json!({"filters": [{"type": "RequestRedirect"}]}),
            "filter RequestRedirect",
        ),
        (json!({"timeouts": {"request": "1s"}}), "timeouts"),
        (
            json!({"backendRefs": [{"name": "one", "port": 80, "filters": [{"type": "RequestMirror"}]}]}),
            "filter RequestMirror",
        ),
    ];
    let unsaid = [
        (
            json!([{"queryParams": [{"name": "a", "value": "b"}]}]),
            "query parameters",
        ),
        (
            json!([{"path": {"type": "RegularExpression", "value": "."}}]),
            "regular expressions",
        ),
    ];
    let said = said.map(|(mut rule, what)| {
        rule["matches"] = path.clone();
        (rule, what, 3)
    });
    let unsaid = unsaid.map(|(matches, what)| (json!({"matches": matches}), what, 1));
    for (bad, what, rules) in said.into_iter().chain(unsaid) {
        let mut world = world(http());
        let some = plan(&mut world, RouteKind::Http, &json!({"rules": [bad, good]}));
        assert!(some.parents[0].accepted.good);
        let left_out = some.left_out.unwrap();
        assert!(
            left_out.starts_with("Dropped Rule 0") && left_out.contains(what),
            "{left_out}"
        );
        let made = &some.service.unwrap().listeners[0].rules;
        assert_eq!(made.len(), rules);
        let errors = made.iter().filter(|it| it.action == Action::Fixed(500));
        assert_eq!(errors.count(), rules - 1);
        assert_ne!(made[rules - 1].action, Action::Fixed(500));
        let none = plan(&mut world, RouteKind::Http, &json!({"rules": [bad]}));
        assert_eq!(none.parents[0].accepted.reason, "UnsupportedValue");
        assert!(none.service.is_none());
    }
}

#[test]
fn backends_that_are_none_are_reported_and_get_no_share() {
    let mut world = world(http());
    service(&mut world, "other", "far", &["10.0.0.9"]);
    for (bad, reason) in [
        (json!({"name": "absent", "port": 80}), "BackendNotFound"),
        (json!({"name": "one", "port": 81}), "BackendNotFound"),
        (
            json!({"name": "far", "namespace": "other", "port": 80}),
            "RefNotPermitted",
        ),
        (json!({"name": "b", "kind": "Bucket"}), "InvalidKind"),
    ] {
        let rules = json!({"rules": [{"backendRefs": [bad.clone(), backend("one", 1)]}]});
        let some = plan(&mut world, RouteKind::Http, &rules);
        assert_eq!(some.resolved.reason, reason);
        let rule = &some.service.as_ref().unwrap().listeners[0].rules[0];
        assert_eq!(forward(&some, &rule.action).len(), 1);
        let none = plan(
            &mut world,
            RouteKind::Http,
            &json!({"rules": [{"backendRefs": [bad]}]}),
        );
        assert_eq!(
            none.service.unwrap().listeners[0].rules[0].action,
            Action::Fixed(500)
        );
    }
    let grant = json!({
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
        "to": [{"group": "", "kind": "Service"}],
    });
    world
        .grants
        .insert(Name::new("other", "g"), object("other/g", &grant));
    let far =
        json!({"rules": [{"backendRefs": [{"name": "far", "namespace": "other", "port": 80}]}]});
    assert!(plan(&mut world, RouteKind::Http, &far).resolved.good);
}

#[test]
fn weights_fit_into_lattices_and_none_at_all_is_an_error() {
    let mut world = world(http());
    let rules = |a, b| json!({"rules": [{"backendRefs": [backend("one", a), backend("two", b)]}]});
    for ((a, b), want) in [
        ((1_000_000, 1), (999, 1)),
        ((0, 5), (0, 5)),
        ((2000, 1000), (999, 499)),
    ] {
        let plan = plan(&mut world, RouteKind::Http, &rules(a, b));
        let action = &plan.service.as_ref().unwrap().listeners[0].rules[0].action;
        let found = forward(&plan, action);
        assert_eq!(
            found,
            [("one".to_owned(), want.0), ("two".to_owned(), want.1)]
        );
    }
    let plan = plan(&mut world, RouteKind::Http, &rules(0, 0));
    assert_eq!(
        plan.service.unwrap().listeners[0].rules[0].action,
        Action::Fixed(500)
    );
}

#[test]
fn listeners_take_the_routes_that_they_allow() {
    let listeners = json!([
        {"name": "http", "protocol": "HTTP", "port": 80},
        {"name": "https", "protocol": "HTTPS", "port": 443,
         "tls": {"mode": "Terminate", "options": {"application-networking.k8s.aws/certificate-arn": "arn:c"}}},
        {"name": "pass", "protocol": "TLS", "port": 8443, "tls": {"mode": "Passthrough"}},
        {"name": "named", "protocol": "HTTP", "port": 81, "hostname": "*.example.com"},
        {"name": "far", "protocol": "HTTP", "port": 82,
         "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "x"}}}}},
    ]);
    let mut world = world(listeners);
    let rules = json!({"hostnames": ["a.b.org"], "rules": [{"backendRefs": [backend("one", 1)]}]});
    let ports = |plan: &Plan| {
        let listeners = plan.service.iter().flat_map(|it| &it.listeners);
        listeners.map(|it| it.port).collect::<Vec<_>>()
    };
    let found = plan(&mut world, RouteKind::Http, &rules);
    assert_eq!(ports(&found), [80, 443]);
    assert_eq!(found.service.unwrap().certificate.as_deref(), Some("arn:c"));
    let nameless = json!({"rules": [{"backendRefs": [backend("one", 1)]}]});
    let found = plan(&mut world, RouteKind::Http, &nameless);
    assert_eq!(found.service.unwrap().certificate, None);
    world.namespaces.insert(
        Name::new("", "default"),
        Arc::new(BTreeMap::from([("team".into(), "x".into())])),
    );
    assert_eq!(
        ports(&plan(&mut world, RouteKind::Http, &rules)),
        [80, 82, 443]
    );
    let grpc = plan(&mut world, RouteKind::Grpc, &rules);
    assert_eq!(ports(&grpc), [443]);
    assert_eq!(grpc.service.as_ref().unwrap().groups[0].version, "GRPC");
    let tls = plan(&mut world, RouteKind::Tls, &rules);
    assert_eq!(ports(&tls), [8443]);
    let service = tls.service.as_ref().unwrap();
    assert_eq!(
        forward(&tls, &service.listeners[0].default),
        [("one".to_owned(), 1)]
    );
    assert_eq!(service.groups[0].protocol, "TCP");
}

#[test]
fn a_route_that_no_listener_takes_says_why() {
    let named =
        json!([{"name": "named", "protocol": "HTTP", "port": 80, "hostname": "a.example.com"}]);
    let mut world = world(named);
    let rules =
        json!({"hostnames": ["b.example.com"], "rules": [{"backendRefs": [backend("one", 1)]}]});
    let reason = |plan: &Plan| plan.parents[0].accepted.reason;
    let none = plan(&mut world, RouteKind::Http, &rules);
    assert_eq!(
        (reason(&none), none.service.is_none()),
        ("NoMatchingListenerHostname", true)
    );
    let grpc = plan(&mut world, RouteKind::Grpc, &rules);
    assert_eq!(reason(&grpc), "NotAllowedByListeners");
}

#[test]
fn a_gateway_counts_its_routes_and_says_where_they_are() {
    let mut world = world(json!([
        {"name": "http", "protocol": "HTTP", "port": 80},
        {"name": "udp", "protocol": "UDP", "port": 53},
    ]));
    plan(
        &mut world,
        RouteKind::Http,
        &json!({"rules": [{"backendRefs": [backend("one", 1)]}]}),
    );
    let name = Name::new("default", "r");
    let routes = world.routes.get_mut(&RouteKind::Http).unwrap();
    let mut route = Route::clone(&routes[&name]);
    let annotation = (key("lattice-assigned-domain-name"), "r.on.aws".to_owned());
    route.metadata.annotations = Some(BTreeMap::from([annotation]));
    routes.insert(name, Arc::new(route));
    let name = Name::new("default", "gw");
    let gateway = Arc::clone(&world.gateways[&name]);
    let sections = listeners::sections(&world, (&name, &gateway), false);
    let found = Found {
        network: Network::There("arn:sn".into()),
        judged: listeners::judge(&world, (&name, &gateway), &sections, false),
        sections,
        entered: None,
        now: settings().now(),
    };
    let (status, _) = statuses(&world, &name, &gateway, &found);
    assert_eq!(status.addresses[0].value, "r.on.aws");
    let said = |kind: &str| {
        let condition = status.conditions.iter().find(|it| it.kind == kind).unwrap();
        (
            condition.status.as_str(),
            condition.reason.as_str(),
            condition.observed_generation,
        )
    };
    assert_eq!(said("Accepted"), ("True", "ListenersNotValid", 7));
    assert_eq!(said("Programmed"), ("True", "Programmed", 7));
    assert_eq!(status.listeners[0].attached_routes, 1);
    assert_eq!(
        status.listeners[1].conditions[0].reason,
        "UnsupportedProtocol"
    );
}

#[test]
fn an_import_is_the_group_of_an_export() {
    let mut world = world(http());
    let mut import: crate::kinds::ServiceImport =
        (*object::<crate::kinds::ServiceImport>("default/far", &json!({}))).clone();
    import.metadata.annotations = Some(BTreeMap::from([(
        key("aws-eks-cluster-name"),
        "east".to_owned(),
    )]));
    world
        .imports
        .insert(Name::new("default", "far"), Arc::new(import));
    let group = "application-networking.k8s.aws";
    let spec = json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [
        {"name": "far", "kind": "ServiceImport", "group": group}, backend("one", 1)]}]});
    let route: Arc<Route> = object("default/r", &spec);
    let name = Name::new("default", "r");
    let wanted = plan::imports(&world, &name, &route);
    let plan::Import::Tagged { tags, vpc: None } = &wanted[&Name::new("default", "far")] else {
        panic!()
    };
    assert_eq!(tags[&key("ClusterName")], "east");
    let mut imports = Imports::new();
    let without = plan::route(
        &world,
        &settings(),
        &imports,
        (RouteKind::Http, &name, &route),
    );
    assert_eq!(without.resolved.reason, "BackendNotFound");
    imports.insert(Name::new("default", "far"), "tg-1".into());
    let with = plan::route(
        &world,
        &settings(),
        &imports,
        (RouteKind::Http, &name, &route),
    );
    let Action::Forward(groups) = &with.service.unwrap().listeners[0].rules[0].action else {
        panic!()
    };
    assert!(groups.contains_key(&GroupRef::Existing("tg-1".into())) && groups.len() == 2);
}

#[test]
fn a_change_is_work_for_what_it_touches_alone() {
    let mut world = world(http());
    plan(
        &mut world,
        RouteKind::Http,
        &json!({"rules": [{"backendRefs": [backend("one", 1)]}]}),
    );
    let route = Key::Route(RouteKind::Http, Name::new("default", "r"));
    let touched = |service: &str| {
        world.touched_by_backend(
            crate::world::BackendKind::Service,
            &Name::new("default", service),
        )
    };
    assert_eq!(touched("one"), [route]);
    assert_eq!(touched("two"), []);
}
