//! Who may call services: what an IAMAuthPolicy guards is never open, from its first moment to the policy's end.

use serde_json::{Value, json};

use super::bench::{Bench, policy, route};
use super::lattice::{ACCOUNT, tagged};
use super::{backend, http, settings, world};
use crate::controller::Undone;
use crate::kinds::PolicySpec;
use crate::settings::OWN_CONTROLLER;
use crate::world::{Key, Name};

const FIRST: &str = r#"{"Statement": ["first"]}"#;
const SECOND: &str = r#"{"Statement": ["second"]}"#;

fn web() -> Value {
    json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]})
}

fn of(kind: &str, name: &str, document: &str) -> Value {
    json!({"targetRef": {"group": "gateway.networking.k8s.io", "kind": kind, "name": name}, "policy": document})
}

fn only(ids: Vec<String>) -> String {
    let [id] = &ids[..] else { panic!("{ids:?}") };
    id.clone()
}

/// Where a request stands among those that changed something.
fn at(changes: &[String], what: &str) -> usize {
    let found = changes.iter().position(|it| it.starts_with(what));
    found.unwrap_or_else(|| panic!("{what} in {changes:#?}"))
}

async fn guarded() -> (Bench, String) {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.put("iamauthpolicies", "guard", &of("HTTPRoute", "web", FIRST));
    bench.settle(&[route("web"), policy("guard")]).await;
    let service = only(bench.there().ids("services"));
    (bench, service)
}

#[tokio::test]
async fn a_new_service_is_shut_and_has_its_policy_before_anybody_can_reach_it() {
    let (bench, service) = guarded().await;
    let changes = bench.server.changes();
    let asked = bench.server.asked();
    let made = asked
        .iter()
        .find(|it| it.line() == "POST services")
        .unwrap();
    assert_eq!(made.body["authType"], "AWS_IAM");
    assert!(
        at(&changes, "PUT authpolicy") < at(&changes, "POST servicenetworkserviceassociations")
    );
    assert_eq!(bench.there().policies[&service], FIRST);
    assert_eq!(
        bench.said("iamauthpolicies", "guard", "Accepted").0,
        "Accepted"
    );
    assert_eq!(
        bench.said("httproutes", "web", "Programmed").0,
        "Programmed"
    );
    // All is as it should be: no more is asked for.
    bench.server.forget();
    bench.settle(&[route("web"), policy("guard")]).await;
    assert_eq!(bench.server.changes(), [""; 0]);
}

#[tokio::test]
async fn a_policy_that_cannot_be_applied_leaves_its_service_shut() {
    for document in [json!("no JSON"), json!(""), json!(5), Value::Null] {
        let bench = Bench::usual().await;
        bench.put("httproutes", "web", &web());
        bench.settle(&[route("web")]).await;
        let service = only(bench.there().ids("services"));
        assert!(bench.there().open("services", &service));
        let mut spec = of("HTTPRoute", "web", "");
        spec["policy"] = document.clone();
        bench.put("iamauthpolicies", "guard", &spec);
        // Also when the route's work comes first.
        bench.settle(&[route("web"), policy("guard")]).await;
        assert!(!bench.there().open("services", &service), "{document}");
        assert!(bench.there().policies.is_empty());
        assert_eq!(
            bench.said("iamauthpolicies", "guard", "Accepted").0,
            "Invalid"
        );
        let (reason, message) = bench.said("httproutes", "web", "Programmed");
        assert_eq!(reason, "Invalid");
        assert!(message.starts_with("no client may call"), "{message}");
    }
}

#[test]
fn what_cannot_be_read_of_a_policy_does_not_hide_the_rest() {
    let spec =
        json!({"targetRef": {"kind": "HTTPRoute", "name": "web"}, "policy": 5, "healthCheck": []});
    let spec: PolicySpec = serde_json::from_value(spec).unwrap();
    assert_eq!(spec.target_ref.name, "web");
    assert_eq!((spec.policy, spec.unread.len()), (None, 2));
}

#[tokio::test]
async fn the_oldest_of_several_policies_counts_and_its_end_hands_over() {
    let (bench, service) = guarded().await;
    bench.put(
        "iamauthpolicies",
        "younger",
        &of("HTTPRoute", "web", SECOND),
    );
    let all = [policy("younger"), policy("guard"), route("web")];
    bench.settle(&all).await;
    assert_eq!(
        bench.said("iamauthpolicies", "younger", "Accepted").0,
        "Conflicted"
    );
    assert_eq!(bench.there().policies[&service], FIRST);
    // The one that does not count ends: nothing changes for the other.
    let other = bench.object("iamauthpolicies", "younger").unwrap();
    assert_eq!(other["metadata"]["finalizers"], Value::Null);
    bench.server.forget();
    bench.delete("iamauthpolicies", "guard");
    bench.settle(&all).await;
    assert!(bench.object("iamauthpolicies", "guard").is_none());
    assert_eq!(bench.there().policies[&service], SECOND);
    let opened = bench.server.asked();
    let mut opened = opened.iter().filter(|it| it.body["authType"] == "NONE");
    assert!(opened.next().is_none());
    bench.delete("iamauthpolicies", "younger");
    bench.settle(&all).await;
    assert!(bench.there().open("services", &service) && bench.there().policies.is_empty());
}

#[tokio::test]
async fn a_policy_that_comes_to_be_a_younger_one_takes_nothing_from_the_older() {
    let (bench, service) = guarded().await;
    bench.put("httproutes", "other", &web());
    bench.put(
        "iamauthpolicies",
        "younger",
        &of("HTTPRoute", "other", SECOND),
    );
    let all = [
        route("other"),
        policy("younger"),
        policy("guard"),
        route("web"),
    ];
    bench.settle(&all).await;
    bench.put(
        "iamauthpolicies",
        "younger",
        &of("HTTPRoute", "web", SECOND),
    );
    bench.settle(&all).await;
    assert_eq!(bench.there().policies[&service], FIRST);
    assert!(!bench.there().open("services", &service));
    // Nor does its end.
    bench.delete("iamauthpolicies", "younger");
    bench.settle(&all).await;
    assert!(bench.object("iamauthpolicies", "younger").is_none());
    assert_eq!(bench.there().policies[&service], FIRST);
    assert!(!bench.there().open("services", &service));
}

#[tokio::test]
async fn a_policy_whose_successor_cannot_be_applied_leaves_nobody_in() {
    let (bench, service) = guarded().await;
    bench.put(
        "iamauthpolicies",
        "younger",
        &of("HTTPRoute", "web", "no JSON"),
    );
    bench.delete("iamauthpolicies", "guard");
    bench.settle(&[policy("guard"), policy("younger")]).await;
    assert!(bench.object("iamauthpolicies", "guard").is_none());
    assert!(!bench.there().open("services", &service));
    assert!(bench.there().policies.is_empty());
}

#[tokio::test]
async fn a_policy_whose_target_is_gone_or_none_opens_nothing() {
    let (bench, service) = guarded().await;
    for target in [
        json!({"kind": "HTTPRoute", "name": "typo"}),
        json!({"kind": "Service", "name": "web"}),
        json!({"kind": "HTTPRoute", "name": "web", "group": "example.com"}),
        json!({"kind": "HTTPRoute", "name": "web", "namespace": "other"}),
        json!(5),
    ] {
        bench.put(
            "iamauthpolicies",
            "guard",
            &json!({"targetRef": target, "policy": FIRST}),
        );
        bench.settle(&[policy("guard"), route("web")]).await;
        let reason = bench.said("iamauthpolicies", "guard", "Accepted").0;
        assert_ne!(reason, "Accepted", "{target}");
        assert!(!bench.there().open("services", &service), "{target}");
        assert_eq!(bench.there().policies[&service], FIRST);
    }
    // Its end does.
    bench.delete("iamauthpolicies", "guard");
    bench.settle(&[policy("guard")]).await;
    assert!(bench.there().open("services", &service));
}

#[tokio::test]
async fn a_policy_that_moves_guards_its_new_target_before_it_leaves_the_old_one() {
    let (bench, service) = guarded().await;
    bench.put("httproutes", "other", &web());
    bench.put(
        "iamauthpolicies",
        "guard",
        &of("HTTPRoute", "other", SECOND),
    );
    // The new one has no service yet.
    bench.settle(&[policy("guard")]).await;
    assert!(!bench.there().open("services", &service));
    bench.server.forget();
    bench.settle(&[route("other"), policy("guard")]).await;
    let other = bench.there().ids("services");
    let other = other.iter().find(|it| **it != service).unwrap().clone();
    assert!(!bench.there().open("services", &other) && bench.there().open("services", &service));
    let changes = bench.server.changes();
    let opens = at(&changes, &format!("PATCH services/{service}"));
    assert!(at(&changes, &format!("PATCH services/{other}")) < opens);
}

#[tokio::test]
async fn what_the_cluster_says_of_ids_opens_no_service_of_another() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.settle(&[route("web")]).await;
    let mut others = Vec::new();
    for (managed_by, namespace) in [
        ("123456789012/prod/vpc-1", "theirs"),
        ("another", "default"),
    ] {
        let tags = tagged(&[
            ("ManagedBy", managed_by),
            ("RouteName", "web"),
            ("RouteNamespace", namespace),
            ("RouteType", "http"),
        ]);
        let body =
            json!({"name": format!("web-{namespace}-{}", managed_by.len()), "authType": "AWS_IAM"});
        others.push(bench.there().make("services", ACCOUNT, body, &tags));
    }
    let network = bench.network("theirs");
    let shut = json!({"authType": "AWS_IAM"});
    let at = ("servicenetworks".to_owned(), network.clone());
    super::lattice::merge(bench.there().all.get_mut(&at).unwrap(), &shut);
    others.push(network);
    bench.put("iamauthpolicies", "guard", &of("HTTPRoute", "web", FIRST));
    let annotations = json!({
        "application-networking.k8s.aws/iam-auth-policy-resource-id": others.join(","),
        "application-networking.k8s.aws/lattice-service-arn": format!("arn/{}", others[0]),
    });
    let patch = json!({"metadata": {"annotations": annotations}});
    bench.patch("iamauthpolicies", "guard", &patch);
    bench.patch("httproutes", "web", &patch);
    bench.settle(&[policy("guard")]).await;
    bench.delete("iamauthpolicies", "guard");
    bench.settle(&[policy("guard")]).await;
    assert!(bench.object("iamauthpolicies", "guard").is_none());
    for other in &others {
        let kind = if other.starts_with("sn-") {
            "servicenetworks"
        } else {
            "services"
        };
        assert!(!bench.there().open(kind, other), "{other}");
        assert!(!bench.there().policies.contains_key(other));
    }
}

async fn gateway() -> (Bench, Key) {
    let mut world = world(http());
    let class = json!({"controllerName": OWN_CONTROLLER});
    let own = super::object("own", &class);
    world.classes.insert(Name::new("", "own"), own);
    let mut settings = settings();
    settings.controller_names.push(OWN_CONTROLLER.into());
    let bench = Bench::new(world, settings).await;
    let spec = json!({"gatewayClassName": "own", "listeners": http()});
    bench.put("gateways", "shop", &spec);
    (bench, Key::Gateway(Name::new("default", "shop")))
}

#[tokio::test]
async fn a_gateways_network_is_shut_before_the_vpc_is_in_it() {
    let (bench, shop) = gateway().await;
    bench.put("iamauthpolicies", "guard", &of("Gateway", "shop", FIRST));
    bench.settle(&[shop.clone(), policy("guard")]).await;
    let network = only(bench.there().ids("servicenetworks"));
    let asked = bench.server.asked();
    let made = asked.iter().find(|it| it.line() == "POST servicenetworks");
    assert_eq!(made.unwrap().body["authType"], "AWS_IAM");
    let changes = bench.server.changes();
    assert!(at(&changes, "PUT authpolicy") < at(&changes, "POST servicenetworkvpcassociations"));
    assert_eq!(bench.there().policies[&network], FIRST);
    bench.delete("iamauthpolicies", "guard");
    bench.settle(&[policy("guard")]).await;
    assert!(bench.there().open("servicenetworks", &network));
}

#[tokio::test]
async fn a_service_is_not_put_into_a_network_that_is_to_be_guarded_first() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.put("iamauthpolicies", "guard", &of("Gateway", "gw", FIRST));
    // The finalizer is there, and nothing else: the route's work comes first.
    bench.once(&policy("guard")).await.unwrap();
    bench.settle(&[route("web")]).await;
    let changes = bench.server.changes();
    assert!(
        at(&changes, "PATCH servicenetworks")
            < at(&changes, "POST servicenetworkserviceassociations")
    );
}

#[tokio::test]
async fn a_network_that_another_guards_is_left_to_it() {
    for tags in [
        tagged(&[]),
        tagged(&[("IAMAuthPolicy", "another/cluster/vpc/default")]),
    ] {
        let bench = Bench::usual().await;
        let network = only(bench.there().ids("servicenetworks"));
        *bench.there().tags_of("servicenetworks", &network) = tags;
        let at = ("servicenetworks".to_owned(), network.clone());
        let shut = json!({"authType": "AWS_IAM"});
        super::lattice::merge(bench.there().all.get_mut(&at).unwrap(), &shut);
        let theirs = (network.clone(), SECOND.to_owned());
        bench.there().policies.extend([theirs]);
        bench.put("iamauthpolicies", "guard", &of("Gateway", "gw", FIRST));
        bench.settle(&[policy("guard")]).await;
        let (reason, message) = bench.said("iamauthpolicies", "guard", "Accepted");
        assert_eq!(reason, "Conflicted", "{message}");
        bench.delete("iamauthpolicies", "guard");
        bench.settle(&[policy("guard")]).await;
        assert!(bench.object("iamauthpolicies", "guard").is_none());
        assert_eq!(bench.there().policies[&network], SECOND);
        assert!(!bench.there().open("servicenetworks", &network));
    }
}

#[tokio::test]
async fn a_network_does_not_open_when_its_policy_ends_while_nobody_knows_whose_its_gateway_is() {
    let bench = Bench::usual().await;
    let network = only(bench.there().ids("servicenetworks"));
    bench.put("iamauthpolicies", "guard", &of("Gateway", "gw", FIRST));
    bench.settle(&[policy("guard")]).await;
    bench.put("iamauthpolicies", "younger", &of("Gateway", "gw", SECOND));
    bench.settle(&[policy("younger")]).await;
    assert_eq!(bench.there().policies[&network], FIRST);
    bench.app.world().classes.clear();
    bench.delete("iamauthpolicies", "guard");
    bench.settle(&[policy("guard")]).await;
    assert!(bench.object("iamauthpolicies", "guard").is_none());
    assert_eq!(bench.there().policies[&network], SECOND);
    assert!(!bench.there().open("servicenetworks", &network));
}

#[tokio::test]
async fn a_service_that_somebody_opened_is_shut_again_by_the_next_work_on_it() {
    let (bench, service) = guarded().await;
    let at = ("services".to_owned(), service.clone());
    let open = json!({"authType": "NONE"});
    super::lattice::merge(bench.there().all.get_mut(&at).unwrap(), &open);
    bench.once(&route("web")).await.unwrap();
    assert!(!bench.there().open("services", &service));
}

#[tokio::test]
async fn a_change_of_a_policy_is_work_for_what_it_guards() {
    let (bench, _) = guarded().await;
    let world = bench.app.look();
    let name = Name::new("default", "guard");
    let kind = crate::kinds::PolicyKind::Auth;
    let object = &world.policies[&kind][&name];
    let keys = world.touched_by_policy(kind, &name, object);
    assert!(keys.contains(&route("web")) && keys.contains(&policy("guard")));
}

#[tokio::test]
async fn a_service_waits_for_the_finalizer_of_what_is_to_guard_it() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.put("iamauthpolicies", "guard", &of("HTTPRoute", "web", FIRST));
    let results = bench.settle(&[route("web")]).await;
    let Err(Undone::Lattice(fault)) = &results[0] else {
        panic!("{results:?}")
    };
    assert!(fault.to_string().contains("finalizer"), "{fault}");
    assert!(bench.there().ids("services").is_empty());
}
