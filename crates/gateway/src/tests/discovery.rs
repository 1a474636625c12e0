//! Services that become services of Lattice without a route.

use serde_json::{Value, json};

use super::bench::Bench;
use super::{backend, http, settings, world};
use crate::desired::key;
use crate::settings::Settings;
use crate::world::{Key, Name};

fn one() -> Key {
    Key::Exposed(Name::new("default", "one"))
}

async fn bench(change: impl FnOnce(&mut Settings)) -> Bench {
    let mut settings = settings();
    settings.default_service_network = Some("gw".into());
    change(&mut settings);
    let bench = Bench::new(world(http()), settings).await;
    bench.network("gw");
    let ports = json!([{"name": "web", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    bench.put(
        "services",
        "one",
        &json!({"selector": {"app": "one"}, "ports": ports}),
    );
    bench
}

fn annotate(bench: &Bench, pairs: &[(&str, Option<&str>)]) {
    let all: serde_json::Map<_, _> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    bench.patch(
        "services",
        "one",
        &json!({"metadata": {"annotations": all}}),
    );
}

fn condition(bench: &Bench) -> Value {
    let object = bench.object("services", "one").unwrap();
    object["status"]["conditions"][0].clone()
}

#[tokio::test]
async fn a_service_is_exposed_while_its_annotation_says_so() {
    let bench = bench(|_| {}).await;
    bench.settle(&[one()]).await;
    assert!(bench.server.changes().is_empty());
    annotate(&bench, &[("lath.dev/expose", Some("true"))]);
    bench.settle(&[one()]).await;
    let [id] = &bench.there().ids("services")[..] else {
        panic!()
    };
    assert_eq!(bench.there().get("services", id)["name"], "one-default");
    assert_eq!(
        bench.there().tags_of("services", id)[&key("RouteType")],
        "service"
    );
    let [listener] = &bench.there().nested_of("listeners")[..] else {
        panic!()
    };
    assert_eq!(
        (&listener["port"], &listener["protocol"]),
        (&json!(80), &json!("HTTP"))
    );
    assert_eq!(
        bench.there().ids("servicenetworkserviceassociations").len(),
        1
    );
    assert_eq!(condition(&bench)["reason"], "Programmed");
    let object = bench.object("services", "one").unwrap();
    assert_eq!(
        object["metadata"]["finalizers"],
        json!(["service.lath.dev/resources"])
    );
    assert!(object["metadata"]["annotations"][key("lattice-assigned-domain-name")].is_string());
    // What is wrong is said, and changes nothing.
    annotate(&bench, &[("lath.dev/listener-port", Some("web"))]);
    bench.settle(&[one()]).await;
    assert_eq!(condition(&bench)["reason"], "Invalid");
    assert_eq!(bench.there().nested_of("listeners").len(), 1);
    annotate(&bench, &[("lath.dev/listener-port", Some("8080:web"))]);
    bench.settle(&[one()]).await;
    let [listener] = &bench.there().nested_of("listeners")[..] else {
        panic!()
    };
    assert_eq!(listener["port"], 8080);
    annotate(&bench, &[("lath.dev/expose", None)]);
    bench.settle(&[one()]).await;
    assert!(
        bench.there().ids("services").is_empty() && bench.there().ids("targetgroups").is_empty()
    );
    let object = bench.object("services", "one").unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!([]));
}

#[tokio::test]
async fn a_service_that_is_deleted_leaves_nothing() {
    let bench =
        bench(|it| it.discover_selector = vec![("team".into(), Some("a".into()), true)]).await;
    let labels = |team: &str| json!({"metadata": {"labels": {"team": team}}});
    bench.patch("services", "one", &labels("b"));
    bench.settle(&[one()]).await;
    assert!(bench.there().ids("services").is_empty());
    bench.patch("services", "one", &labels("a"));
    bench.settle(&[one()]).await;
    assert_eq!(bench.there().ids("services").len(), 1);
    bench.delete("services", "one");
    bench.settle(&[one()]).await;
    assert!(bench.object("services", "one").is_none());
    assert!(
        bench.there().ids("services").is_empty() && bench.there().ids("targetgroups").is_empty()
    );
}

#[tokio::test]
async fn services_ask_for_the_networks_alone_that_the_controller_allows() {
    let bench = bench(|it| it.discover_networks = vec!["open".into()]).await;
    let asked = |network| {
        [
            ("lath.dev/expose", Some("true")),
            ("lath.dev/service-network", Some(network)),
        ]
    };
    annotate(&bench, &asked("secret"));
    bench.settle(&[one()]).await;
    assert_eq!(condition(&bench)["reason"], "Invalid");
    assert!(bench.there().ids("services").is_empty());
    bench.network("open");
    annotate(&bench, &asked("open"));
    bench.settle(&[one()]).await;
    assert_eq!(condition(&bench)["reason"], "Programmed");
    // A name in Route 53 wants a zone that the controller may write to.
    annotate(
        &bench,
        &[(
            "external-dns.alpha.kubernetes.io/hostname",
            Some("one.example.internal"),
        )],
    );
    let plan = crate::expose::plan(
        &bench.app.look(),
        &bench.app.settings,
        &Name::new("default", "one"),
    );
    let exposed = plan.unwrap().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(exposed.names.ttl, 300);
    assert_eq!(
        exposed.service.custom_domain.as_deref(),
        Some("one.example.internal")
    );
}

#[tokio::test]
async fn a_route_of_the_same_name_and_an_exposed_service_have_services_of_their_own() {
    let bench = bench(|_| {}).await;
    bench.put(
        "httproutes",
        "one",
        &json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]}),
    );
    let route = super::bench::route("one");
    bench.settle(std::slice::from_ref(&route)).await;
    annotate(&bench, &[("lath.dev/expose", Some("true"))]);
    bench.settle(&[one(), route]).await;
    assert_eq!(bench.there().ids("services").len(), 2);
    assert_eq!(condition(&bench)["reason"], "Programmed");
    assert_eq!(
        bench.said("httproutes", "one", "Programmed").0,
        "Programmed"
    );
}

#[tokio::test]
async fn a_name_that_no_zone_allows_is_not_claimed_by_a_custom_domain() {
    let bench = bench(|_| {}).await;
    let hostname = "external-dns.alpha.kubernetes.io/hostname";
    let asked = [
        ("lath.dev/expose", Some("true")),
        (hostname, Some("shop.example.com")),
    ];
    annotate(&bench, &asked);
    bench.settle(&[one()]).await;
    assert_eq!(condition(&bench)["reason"], "Invalid");
    assert!(bench.there().ids("services").is_empty());
    // Without it all is well.
    annotate(&bench, &[(hostname, None)]);
    bench.settle(&[one()]).await;
    assert_eq!(condition(&bench)["reason"], "Programmed");
}
