//! What AWS's controller reads beside routes and policies: ServiceNetworks, names, priorities, services that are taken over,
//! DNSEndpoints, and imports that it has left behind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::bench::{Bench, route};
use super::lattice::ACCOUNT;
use super::{backend, http, plan, settings, world};
use crate::desired::{Path, key};
use crate::kinds::{self, RouteKind};
use crate::settings::OWN_CONTROLLER;
use crate::world::{Key, Name};

fn web() -> Value {
    json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]})
}

fn annotate(bench: &Bench, name: &str, pairs: &[(&str, &str)]) {
    let all: serde_json::Map<_, _> = pairs
        .iter()
        .map(|(name, value)| (key(name), json!(value)))
        .collect();
    bench.patch(
        "httproutes",
        name,
        &json!({"metadata": {"annotations": all}}),
    );
}

fn services(bench: &Bench) -> Vec<String> {
    let there = bench.there();
    let ids = there.ids("services").into_iter();
    ids.map(|id| {
        there.get("services", &id)["name"]
            .as_str()
            .unwrap()
            .to_owned()
    })
    .collect()
}

#[tokio::test]
async fn a_service_network_lives_as_long_as_its_object_and_its_gateway() {
    let mut known = world(http());
    let own = super::object("own", &json!({"controllerName": OWN_CONTROLLER}));
    known.classes.insert(Name::new("", "own"), own);
    let mut settings = settings();
    settings.controller_names.push(OWN_CONTROLLER.into());
    let bench = Bench::new(known, settings).await;
    bench.put("servicenetworks", "/shop", &json!(null));
    bench.patch(
        "servicenetworks",
        "/shop",
        &json!({"metadata": {"annotations": {key("tags"): "team=a"}}}),
    );
    let key = [Key::Network(Name::new("", "shop"))];
    bench.settle(&key).await;
    let [id] = &bench.there().ids("servicenetworks")[..] else {
        panic!()
    };
    let object = bench.object("servicenetworks", "/shop").unwrap();
    assert_eq!(object["status"]["serviceNetworkID"], json!(id));
    assert_eq!(object["status"]["conditions"][0]["reason"], "Programmed");
    assert_eq!(bench.there().tags_of("servicenetworks", id)["team"], "a");
    // It stays while a Gateway stands for it, and a Gateway does not take it away.
    let spec = json!({"gatewayClassName": "own", "listeners": http()});
    bench.put("gateways", "shop", &spec);
    let gateway = [Key::Gateway(Name::new("default", "shop"))];
    bench.settle(&gateway).await;
    bench.delete("gateways", "shop");
    bench.settle(&gateway).await;
    assert!(bench.object("gateways", "shop").is_none());
    assert_eq!(bench.there().ids("servicenetworks").len(), 1);
    bench.app.world().gateways.clear();
    bench.put("gateways", "shop", &spec);
    bench.settle(&gateway).await;
    bench.delete("servicenetworks", "/shop");
    bench.settle(&key).await;
    let (reason, message) = bench.said("servicenetworks", "/shop", "Programmed");
    assert_eq!(reason, "Pending");
    assert!(message.contains("default/shop"), "{message}");
    assert_eq!(bench.there().ids("servicenetworks").len(), 1);
    bench.delete("gateways", "shop");
    bench.settle(&[gateway[0].clone(), key[0].clone()]).await;
    bench.app.world().gateways.clear();
    bench.settle(&key).await;
    assert!(bench.object("servicenetworks", "/shop").is_none());
    assert!(bench.there().ids("servicenetworks").is_empty());
}

#[tokio::test]
async fn a_service_network_of_others_stays() {
    let bench = Bench::usual().await;
    bench.put("servicenetworks", "/gw", &json!(null));
    let key = [Key::Network(Name::new("", "gw"))];
    bench.settle(&key).await;
    assert_eq!(bench.there().ids("servicenetworks").len(), 1);
    bench.app.world().gateways.clear();
    bench.delete("servicenetworks", "/gw");
    bench.settle(&key).await;
    assert!(bench.object("servicenetworks", "/gw").is_none());
    assert_eq!(bench.there().ids("servicenetworks").len(), 1);
}

#[tokio::test]
async fn a_name_that_a_route_asks_for_counts_when_its_service_is_made() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    annotate(&bench, "web", &[("service-name-override", "checkout")]);
    bench.settle(&[route("web")]).await;
    assert_eq!(services(&bench), ["checkout"]);
    // Another name later, or none, finds the service that is there.
    for name in ["other", ""] {
        annotate(&bench, "web", &[("service-name-override", name)]);
        bench.settle(&[route("web")]).await;
        assert_eq!(services(&bench), ["checkout"]);
    }
    // What is no name is said, and the usual one stands in.
    bench.put("httproutes", "bad", &web());
    annotate(&bench, "bad", &[("service-name-override", "svc-x")]);
    bench.settle(&[route("bad")]).await;
    assert_eq!(services(&bench), ["checkout", "bad-default"]);
    let (_, message) = bench.said("httproutes", "bad", "PartiallyInvalid");
    assert!(message.contains("service-name-override"), "{message}");
    bench.delete("httproutes", "web");
    bench.settle(&[route("web")]).await;
    assert_eq!(services(&bench), ["bad-default"]);
    assert!(bench.object("httproutes", "web").is_none());
}

#[tokio::test]
async fn a_service_is_taken_over_from_the_controller_that_is_named_alone() {
    let bench = Bench::usual().await;
    let theirs = |manager: &str| -> BTreeMap<String, String> {
        [
            ("ManagedBy", manager),
            ("RouteName", "web"),
            ("RouteNamespace", "default"),
            ("RouteType", "http"),
        ]
        .map(|(name, value)| (key(name), value.to_owned()))
        .into()
    };
    let body = json!({"name": "web-default"});
    let id = bench
        .there()
        .make("services", ACCOUNT, body, &theirs("1/blue/vpc-9"));
    bench.put("httproutes", "web", &web());
    annotate(&bench, "web", &[("allow-takeover-from", "1/green/vpc-9")]);
    bench.settle(&[route("web")]).await;
    let (_, message) = bench.said("httproutes", "web", "PartiallyInvalid");
    assert!(message.contains("--takeover-from"), "{message}");
    assert_eq!(
        bench.said("httproutes", "web", "Programmed").0,
        "Conflicted"
    );
    // What would not fit is not even tagged: it would go with the route.
    bench
        .there()
        .all
        .get_mut(&("services".into(), id.clone()))
        .unwrap()["customDomainName"] = json!("blue.example.com");
    annotate(&bench, "web", &[("allow-takeover-from", "1/blue/vpc-9")]);
    bench.settle(&[route("web")]).await;
    assert_eq!(
        bench.said("httproutes", "web", "Programmed").0,
        "Conflicted"
    );
    assert_eq!(
        *bench.there().tags_of("services", &id),
        theirs("1/blue/vpc-9")
    );
    bench
        .there()
        .all
        .get_mut(&("services".into(), id.clone()))
        .unwrap()["customDomainName"] = Value::Null;
    bench.settle(&[route("web")]).await;
    assert_eq!(
        bench.said("httproutes", "web", "Programmed").0,
        "Programmed"
    );
    let tags = bench.there().tags_of("services", &id).clone();
    assert_eq!(tags[&key("ManagedBy")], settings().managed_by());
    assert_eq!(bench.there().ids("services"), [id]);
}

#[test]
fn priorities_of_annotations_come_before_those_that_follow_from_matches() {
    let mut known = world(http());
    let rule = |path: &str| json!({"matches": [{"path": {"type": "Exact", "value": path}}], "backendRefs": [backend("one", 1)]});
    let spec = json!({"parentRefs": [{"name": "gw"}], "rules": [rule("/longest"), rule("/b"), rule("/a")]});
    let order = |annotations: Value| {
        let name = Name::new("default", "r");
        let object = json!({"metadata": {"name": "r", "namespace": "default", "annotations": annotations}, "spec": spec});
        let route: kinds::Route = serde_json::from_value(object).unwrap();
        let none = crate::plan::Imports::new();
        let known = world(http());
        let plan = crate::plan::route(&known, &settings(), &none, (RouteKind::Http, &name, &route));
        let left_out = plan.left_out.clone();
        let rules = plan.service.unwrap().listeners.remove(0).rules.into_iter();
        let paths: Vec<_> = rules
            .map(|it| match it.condition.path {
                Path::Exact(path) | Path::Prefix(path) => path,
            })
            .collect();
        (paths, left_out)
    };
    let (plain, none) = order(json!({}));
    assert_eq!(
        (plain, none),
        (["/longest", "/b", "/a"].map(str::to_owned).to_vec(), None)
    );
    let (asked, none) = order(json!({key("rule-2-priority"): "5", key("rule-1-priority"): "10"}));
    assert_eq!(
        (asked, none),
        (["/a", "/b", "/longest"].map(str::to_owned).to_vec(), None)
    );
    let (_, wrong) = order(json!({key("rule-0-priority"): "high"}));
    assert!(wrong.unwrap().contains("rule-0-priority"));
    drop(plan(&mut known, RouteKind::Http, &spec));
}

#[tokio::test]
async fn a_hostname_has_a_dns_endpoint_where_the_kind_is_there() {
    let bench = Bench::usual().await;
    let mut spec = web();
    spec["hostnames"] = json!(["web.example.com"]);
    bench.put("httproutes", "web", &spec);
    bench.settle(&[route("web")]).await;
    assert!(bench.app.endpoints().is_empty());
    bench.app.serves(&kinds::dns_endpoint());
    // One that is another's is left alone.
    bench.put("dnsendpoints", "web-dns", &json!({"endpoints": []}));
    bench.settle(&[route("web")]).await;
    let theirs = bench.object("dnsendpoints", "web-dns").unwrap();
    assert_eq!(theirs["spec"]["endpoints"], json!([]));
    let owner = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "HTTPRoute", "name": "web", "uid": "web"}]}});
    bench.patch("dnsendpoints", "web-dns", &owner);
    bench.settle(&[route("web")]).await;
    let own = bench.object("dnsendpoints", "web-dns").unwrap();
    let endpoint = &own["spec"]["endpoints"][0];
    assert_eq!(
        (&endpoint["dnsName"], &endpoint["recordType"]),
        (&json!("web.example.com"), &json!("CNAME"))
    );
    assert!(
        endpoint["targets"][0]
            .as_str()
            .unwrap()
            .ends_with(".on.aws")
    );
    // Without the hostname it goes, and the same when no Gateway accepts the route.
    bench.put("httproutes", "web", &web());
    bench.settle(&[route("web")]).await;
    assert!(bench.object("dnsendpoints", "web-dns").is_none());
    bench.put("httproutes", "web", &spec);
    bench.settle(&[route("web")]).await;
    let made = bench.object("dnsendpoints", "web-dns").unwrap();
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "web");
    spec["parentRefs"] = json!([{"name": "gw", "sectionName": "none"}]);
    bench.put("httproutes", "web", &spec);
    bench.settle(&[route("web")]).await;
    assert!(bench.object("dnsendpoints", "web-dns").is_none());
}

#[tokio::test]
async fn an_import_that_awss_controller_holds_can_go() {
    let bench = Bench::usual().await;
    bench.put("serviceimports", "far", &json!({}));
    let held = json!({"metadata": {"finalizers": ["serviceimport.k8s.aws/resource", "other/one"]}});
    bench.patch("serviceimports", "far", &held);
    let key = [Key::Import(Name::new("default", "far"))];
    bench.settle(&key).await;
    let finalizers = |bench: &Bench| {
        bench.object("serviceimports", "far").unwrap()["metadata"]["finalizers"].clone()
    };
    assert_eq!(finalizers(&bench).as_array().unwrap().len(), 2);
    bench.delete("serviceimports", "far");
    bench.settle(&key).await;
    assert_eq!(finalizers(&bench), json!(["other/one"]));
}
