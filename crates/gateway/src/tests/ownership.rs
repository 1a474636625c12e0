//! What is another's is neither changed nor deleted, and what is this controller's own does not stay behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bench::{Bench, route};
use super::lattice::{ACCOUNT, tagged};
use super::{backend, http, settings, world};
use crate::controller::Undone;
use crate::desired::{Group, Tags, service_names};
use crate::kinds::RouteKind;
use crate::lattice::{Fault, Lattice};
use crate::lease::Term;
use crate::plan::service_tags;
use crate::settings::OWN_CONTROLLER;
use crate::world::{Key, Name};

const OURS: &str = "123456789012/prod/vpc-1";

fn web() -> Value {
    json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]})
}

fn none() -> Tags {
    Tags::new()
}

#[tokio::test]
async fn a_service_that_is_not_proved_to_be_the_routes_is_left_alone() {
    let own = |name: &str, namespace: &str, kind: &str| {
        tagged(&[
            ("ManagedBy", OURS),
            ("RouteName", name),
            ("RouteNamespace", namespace),
            ("RouteType", kind),
        ])
    };
    let mut other_cluster = own("web", "default", "http");
    other_cluster.extend(tagged(&[("ManagedBy", "123456789012/test/vpc-1")]));
    for tags in [
        none(),
        tagged(&[("ManagedBy", OURS)]),
        other_cluster,
        own("web-default", "x", "http"),
        // A GRPCRoute of the same name.
        own("web", "default", "grpc"),
    ] {
        let bench = Bench::usual().await;
        let body = json!({"name": "web-default"});
        let id = bench.there().make("services", ACCOUNT, body, &tags);
        bench.put("httproutes", "web", &web());
        bench.settle(&[route("web")]).await;
        let (reason, message) = bench.said("httproutes", "web", "Programmed");
        assert_eq!(reason, "Conflicted", "{message}");
        assert!(
            message.starts_with("service web-default is another's"),
            "{message}"
        );
        bench.delete("httproutes", "web");
        bench.settle(&[route("web")]).await;
        assert!(bench.object("httproutes", "web").is_none());
        assert_eq!(*bench.there().tags_of("services", &id), tags);
        let touched = bench.server.changes();
        assert!(touched.iter().all(|it| !it.contains(&id)), "{touched:#?}");
    }
}

#[tokio::test]
async fn a_route_whose_name_is_cut_to_that_of_another_says_so_and_keeps_its_own_service() {
    let bench = Bench::usual().await;
    let (first, second) = (
        "a-name-that-is-long-and-longer",
        "a-name-that-is-long-and-other",
    );
    let both = [route(first), route(second)];
    bench.put("httproutes", first, &web());
    bench.put("httproutes", second, &web());
    bench.settle(&both).await;
    assert_eq!(bench.said("httproutes", first, "Programmed").1, "");
    let (reason, message) = bench.said("httproutes", second, "Programmed");
    let (cut, other) = service_names(&Name::new("default", second));
    let other = other.unwrap();
    assert_eq!(reason, "Programmed");
    assert!(
        message.starts_with(&format!("service {cut} is another's")),
        "{message}"
    );
    assert!(
        message.ends_with(&format!("the service is {other}")),
        "{message}"
    );
    let arn = |name: &str| {
        let key = "application-networking.k8s.aws/lattice-service-arn";
        bench.object("httproutes", name).unwrap()["metadata"]["annotations"][key].clone()
    };
    let before = arn(second);
    // The name that AWS's controller would have given it becomes free: the service stays where clients know it.
    bench.delete("httproutes", first);
    bench.settle(&both).await;
    assert!(bench.object("httproutes", first).is_none());
    assert_eq!(
        (bench.there().ids("services").len(), arn(second)),
        (1, before)
    );
}

#[tokio::test]
async fn a_conflict_of_another_kind_makes_no_second_service() {
    let bench = Bench::usual().await;
    let name = "a-name-that-is-long-and-longer";
    let mut named = web();
    named["hostnames"] = json!(["a.example.com"]);
    bench.put("httproutes", name, &named);
    bench.settle(&[route(name)]).await;
    let id = bench.there().ids("services").remove(0);
    let at = Name::new("default", "gw");
    let listeners = json!([{"name": "s", "protocol": "HTTPS", "port": 443, "tls": {"options": {"application-networking.k8s.aws/certificate-arn": "arn:c"}}}]);
    let spec = json!({"gatewayClassName": "lattice", "listeners": listeners});
    let gateway = super::object("default/gw", &spec);
    bench.app.world().gateways.insert(at, gateway);
    let line = format!("PATCH services/{id}");
    let refused = (line.clone(), "ConflictException");
    bench.there().unanswered.extend([refused]);
    bench.settle(&[route(name)]).await;
    assert!(bench.server.changes().contains(&line));
    assert_eq!(bench.there().ids("services"), [id]);
}

#[tokio::test]
async fn a_service_that_another_account_shares_is_not_taken_for_the_routes() {
    let bench = Bench::usual().await;
    let body = json!({"name": "web-default"});
    bench
        .there()
        .make("services", "999999999999", body, &none());
    let body = json!({"name": "gw"});
    let shared = bench
        .there()
        .make("servicenetworks", "999999999999", body, &none());
    bench.put("httproutes", "web", &web());
    // The fake has one service of a name: that both lists are told apart is what counts here.
    let _ = bench.settle(&[route("web")]).await;
    let (names, identity) = ([String::from("web-default")], none());
    assert_eq!(
        bench
            .app
            .lattice
            .own_service(&names, &identity)
            .await
            .unwrap(),
        None
    );
    let network = bench.app.lattice.network("gw").await.unwrap().unwrap();
    assert_ne!(network.id, shared);
    let body = json!({"name": "far"});
    bench
        .there()
        .make("servicenetworks", "888888888888", body.clone(), &none());
    assert!(bench.app.lattice.network("far").await.unwrap().is_some());
    bench
        .there()
        .make("servicenetworks", "999999999999", body, &none());
    let two = bench.app.lattice.network("far").await;
    assert!(matches!(two, Err(Fault::Conflict(_))), "{two:?}");
}

#[tokio::test]
async fn what_was_made_without_an_answer_goes_with_its_route() {
    for line in ["POST services", "POST targetgroups"] {
        let bench = Bench::usual().await;
        bench.put("httproutes", "web", &web());
        bench.once(&route("web")).await.unwrap();
        let refused = (line.to_owned(), "ValidationException");
        bench.there().unanswered.extend([refused]);
        bench.once(&route("web")).await.unwrap_err();
        let kind = line.split_once(' ').unwrap().1;
        assert_eq!(bench.there().ids(kind).len(), 1);
        bench.delete("httproutes", "web");
        bench.settle(&[route("web")]).await;
        assert!(bench.object("httproutes", "web").is_none());
        assert!(bench.there().ids(kind).is_empty(), "{line}");
    }
}

fn group(name: &str, targets: &[&str]) -> Group {
    Group {
        name: name.to_owned(),
        tags: tagged(&[("ManagedBy", OURS), ("ServiceName", "one")]),
        port: 80,
        protocol: "HTTP".into(),
        version: "HTTP1".into(),
        targets: targets.iter().map(|it| ((*it).to_owned(), 80)).collect(),
        ..Group::default()
    }
}

#[tokio::test]
async fn an_address_that_no_group_takes_does_not_keep_dead_ones_in_it() {
    let bench = Bench::usual().await;
    let lattice = &bench.app.lattice;
    let id = lattice
        .ensure_group(&group("k8s-a", &["10.0.0.1"]))
        .await
        .unwrap();
    bench.there().refused.insert("10.9.9.9".into());
    let next = lattice
        .ensure_group(&group("k8s-a", &["10.0.0.2", "10.9.9.9"]))
        .await;
    let fault = next.unwrap_err().to_string();
    assert!(fault.contains("10.9.9.9"), "{fault}");
    let want = BTreeSet::from([("10.0.0.2".to_owned(), 80)]);
    assert_eq!(bench.there().targets[&id], want);
}

#[tokio::test]
async fn a_group_of_another_is_neither_filled_nor_deleted() {
    let bench = Bench::usual().await;
    let lattice = &bench.app.lattice;
    let theirs = tagged(&[("ManagedBy", "another")]);
    let body = json!({"name": "k8s-a", "port": 80, "protocol": "HTTP"});
    let id = bench.there().make("targetgroups", ACCOUNT, body, &theirs);
    let result = lattice.ensure_group(&group("k8s-a", &["10.0.0.1"])).await;
    assert!(matches!(result, Err(Fault::Conflict(_))), "{result:?}");
    assert!(bench.there().targets.is_empty());
    // One that became another's after it was read.
    let own = lattice
        .ensure_group(&group("k8s-b", &["10.0.0.1"]))
        .await
        .unwrap();
    bench.there().tags_of("targetgroups", &own).extend(theirs);
    let tags = group("", &[]).tags;
    lattice
        .delete_groups(&tags, &BTreeSet::new())
        .await
        .unwrap();
    let mut there = bench.there().ids("targetgroups");
    there.sort();
    assert_eq!(there, [id, own]);
}

#[tokio::test]
async fn an_import_that_finds_nothing_costs_a_list_and_no_more_tags_each_time() {
    let bench = Bench::usual().await;
    for at in 0..20 {
        let body = json!({"name": format!("k8s-{at}"), "port": 80, "protocol": "HTTP"});
        bench.there().make("targetgroups", ACCOUNT, body, &none());
    }
    let import = crate::plan::Import::Tagged {
        tags: tagged(&[("ServiceName", "far")]),
        vpc: None,
    };
    for _ in 0..3 {
        assert_eq!(bench.app.lattice.imported(&import).await.unwrap(), None);
    }
    let asked = bench.server.asked();
    let tags = asked.iter().filter(|it| it.path[0] == "tags");
    assert_eq!(tags.count(), 20);
    // What comes meanwhile is found.
    let body = json!({"name": "k8s-far", "port": 80, "protocol": "HTTP"});
    let tags = tagged(&[("ServiceName", "far")]);
    let id = bench.there().make("targetgroups", ACCOUNT, body, &tags);
    assert_eq!(bench.app.lattice.imported(&import).await.unwrap(), Some(id));
}

async fn shop() -> (Bench, Key, String) {
    let mut world = world(http());
    let own = super::object("own", &json!({"controllerName": OWN_CONTROLLER}));
    world.classes.insert(Name::new("", "own"), own);
    let mut settings = settings();
    settings.controller_names.push(OWN_CONTROLLER.into());
    let bench = Bench::new(world, settings).await;
    bench.put(
        "gateways",
        "shop",
        &json!({"gatewayClassName": "own", "listeners": http()}),
    );
    let key = Key::Gateway(Name::new("default", "shop"));
    bench.settle(std::slice::from_ref(&key)).await;
    let id = bench.there().ids("servicenetworks").remove(0);
    (bench, key, id)
}

#[tokio::test]
async fn a_network_that_another_cluster_uses_stays_and_the_gateway_goes() {
    let (bench, key, network) = shop().await;
    assert_eq!(bench.there().ids("servicenetworkvpcassociations").len(), 1);
    let theirs = tagged(&[("ManagedBy", "123456789012/test/vpc-2")]);
    let service = bench
        .there()
        .make("services", ACCOUNT, json!({"name": "theirs"}), &theirs);
    let body = json!({"serviceIdentifier": service, "serviceNetworkIdentifier": network});
    bench
        .there()
        .make("servicenetworkserviceassociations", ACCOUNT, body, &theirs);
    bench.delete("gateways", "shop");
    bench.settle(&[key]).await;
    assert!(bench.object("gateways", "shop").is_none());
    assert_eq!(bench.there().ids("servicenetworks"), [network]);
    assert!(
        bench
            .there()
            .ids("servicenetworkvpcassociations")
            .is_empty()
    );
}

#[tokio::test]
async fn a_gateway_of_another_controller_does_not_keep_a_network_of_its_name() {
    let (bench, key, _) = shop().await;
    let spec = json!({"gatewayClassName": "foreign", "listeners": http()});
    let twin = super::object("other/shop", &spec);
    let name = Name::new("other", "shop");
    bench.app.world().gateways.insert(name, twin);
    bench.delete("gateways", "shop");
    bench.settle(std::slice::from_ref(&key)).await;
    assert_eq!(
        bench.there().ids("servicenetworks").len(),
        1,
        "nobody knows whose the other is"
    );
    let class = super::object("foreign", &json!({"controllerName": "example.com/another"}));
    bench
        .app
        .world()
        .classes
        .insert(Name::new("", "foreign"), class);
    bench.settle(&[key]).await;
    assert!(bench.there().ids("servicenetworks").is_empty());
}

#[tokio::test]
async fn the_place_of_the_vpc_in_anothers_network_goes_with_the_gateway() {
    let (bench, key, network) = shop().await;
    *bench.there().tags_of("servicenetworks", &network) = none();
    bench.delete("gateways", "shop");
    bench.settle(&[key]).await;
    assert!(bench.object("gateways", "shop").is_none());
    assert!(
        bench
            .there()
            .ids("servicenetworkvpcassociations")
            .is_empty()
    );
    assert_eq!(bench.there().ids("servicenetworks"), [network]);
}

#[tokio::test]
async fn an_association_of_the_vpc_that_another_made_keeps_its_security_groups() {
    let bench = Bench::usual().await;
    let network = bench.there().ids("servicenetworks").remove(0);
    let body = json!({"serviceNetworkIdentifier": network, "vpcIdentifier": "vpc-1", "securityGroupIds": ["sg-1"]});
    let id = bench
        .there()
        .make("servicenetworkvpcassociations", ACCOUNT, body, &none());
    let lattice = &bench.app.lattice;
    lattice
        .attach_vpc(&network, "default", &["sg-1".into()])
        .await
        .unwrap();
    let other = lattice
        .attach_vpc(&network, "default", &["sg-2".into()])
        .await;
    assert!(matches!(other, Err(Fault::Conflict(_))), "{other:?}");
    // What a policy of another namespace has put there stays as well, whatever a policy is said to be attached to.
    let own = tagged(&[("ManagedBy", OURS), ("VpcAssociationPolicy", "theirs")]);
    *bench.there().tags_of("servicenetworkvpcassociations", &id) = own;
    lattice.detach_vpc(&network, Some("default")).await.unwrap();
    assert_eq!(bench.there().ids("servicenetworkvpcassociations"), [id]);
    lattice.detach_vpc(&network, Some("theirs")).await.unwrap();
    assert!(
        bench
            .there()
            .ids("servicenetworkvpcassociations")
            .is_empty()
    );
}

#[tokio::test]
async fn an_association_of_another_stays_even_when_it_has_failed() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.settle(&[route("web")]).await;
    let service = bench.there().ids("services").remove(0);
    let network = bench.network("theirs");
    let body = json!({"serviceIdentifier": service, "serviceNetworkIdentifier": network});
    let kind = "servicenetworkserviceassociations";
    let id = bench.there().make(kind, ACCOUNT, body, &none());
    bench
        .there()
        .all
        .get_mut(&(kind.to_owned(), id.clone()))
        .unwrap()["status"] = json!("CREATE_FAILED");
    bench.settle(&[route("web")]).await;
    assert!(bench.there().ids(kind).contains(&id));
}

#[tokio::test]
async fn nothing_is_sent_after_the_lease_is_lost() {
    let bench = Bench::usual().await;
    let term = Arc::new(Term::over());
    let lattice = Lattice::in_term(&bench.server.url(), &settings(), term);
    let result = lattice.network("gw").await;
    let Err(Fault::Unanswered(message)) = &result else {
        panic!("{result:?}")
    };
    assert!(message.contains("does not hold the Lease"), "{message}");
    assert!(bench.server.asked().is_empty());
}

#[tokio::test]
async fn what_a_service_is_known_by_has_the_kind_of_its_route() {
    let name = Name::new("default", "web");
    let tags = |kind| service_tags(&settings(), kind, &name);
    assert_ne!(tags(RouteKind::Http), tags(RouteKind::Grpc));
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    let results = bench.settle(&[route("web")]).await;
    assert!(
        !matches!(results[0], Err(Undone::Kubernetes(_))),
        "{results:?}"
    );
    let service = bench.there().ids("services").remove(0);
    assert_eq!(
        *bench.there().tags_of("services", &service),
        tags(RouteKind::Http)
    );
}
