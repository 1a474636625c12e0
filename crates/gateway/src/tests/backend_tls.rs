//! BackendTLSPolicies, and what Gateways show backends.

use super::bench::{Bench, route};
use super::clients::{pem, put};
use super::entrance::{extended, judged, own_world, secret};
use super::*;
use crate::entrance;
use crate::kinds::{BackendTls, Gateway};
use crate::shown;

const HOSTNAME: &str = "a.example.com";

fn reference(kind: &str, name: &str) -> Value {
    json!({"group": "", "kind": kind, "name": name})
}

/// A policy for a Service, or for a port of it, with these references.
fn spec(service: &str, section: Option<&str>, references: &Value) -> Value {
    let mut target = json!({"group": "", "kind": "Service", "name": service});
    if let Some(section) = section {
        target["sectionName"] = json!(section);
    }
    json!({"targetRefs": [target], "validation": {"caCertificateRefs": references, "hostname": HOSTNAME}})
}

fn insert(world: &mut World, name: &str, created: u8, spec: &Value) {
    let created = format!("2026-01-01T00:00:{created:02}Z");
    let meta = json!({"name": name, "namespace": "default", "generation": 3, "creationTimestamp": created});
    let object = json!({"metadata": meta, "spec": spec});
    let policy: BackendTls = serde_json::from_value(object).unwrap();
    let at = Name::new("default", name);
    world.tls_policies.insert(at, Arc::new(policy));
}

fn planned(world: &mut World, settings: &Settings) -> Plan {
    let spec =
        json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]});
    let name = Name::new("default", "r");
    let route: Arc<Route> = object("default/r", &spec);
    let routes = world.routes.entry(RouteKind::Http).or_default();
    routes.insert(name.clone(), Arc::clone(&route));
    plan::route(
        world,
        settings,
        &Imports::new(),
        (RouteKind::Http, &name, &route),
    )
}

/// The protocol of the only group, and how it verifies.
fn told(world: &mut World, settings: &Settings) -> (String, Option<Value>) {
    let plan = planned(world, settings);
    assert!(
        plan.resolved.good && plan.left_out.is_none(),
        "{:?}",
        plan.left_out
    );
    let [group] = &plan.service.as_ref().unwrap().groups[..] else {
        panic!()
    };
    let text = group.verified.as_ref();
    let told = text.map(|it| serde_json::from_str(it).unwrap());
    (group.protocol.clone(), told)
}

#[test]
fn a_policy_makes_a_group_verify_its_targets() {
    let mut world = own_world(http());
    put(&mut world, "default/ca", &pem(true));
    let one = json!([reference("ConfigMap", "ca")]);
    assert_eq!(told(&mut world, &extended()), ("HTTP".to_owned(), None));
    insert(&mut world, "young", 9, &spec("one", None, &one));
    let (protocol, young) = told(&mut world, &extended());
    let young = young.unwrap();
    assert_eq!(
        (protocol.as_str(), &young["hostname"]),
        ("HTTPS", &json!(HOSTNAME))
    );
    assert_eq!(
        young["trustAnchorCertificates"].as_array().unwrap().len(),
        1
    );
    // The older one counts, and one for the port before both.
    let mut others = spec("one", None, &json!([]));
    others["validation"] = json!({"wellKnownCACertificates": "System", "hostname": "old.example.com",
        "subjectAltNames": [{"type": "URI", "uri": "spiffe://a/b"}]});
    insert(&mut world, "old", 1, &others);
    let (_, old) = told(&mut world, &extended());
    assert_eq!(
        old,
        Some(
            json!({"hostname": "old.example.com", "wellKnownCACertificates": "System",
            "subjectAltNames": [{"type": "URI", "uri": "spiffe://a/b"}]})
        )
    );
    insert(&mut world, "port", 10, &spec("one", Some("web"), &one));
    insert(&mut world, "other", 0, &spec("one", Some("metrics"), &one));
    let (_, port) = told(&mut world, &extended());
    assert_eq!(port.unwrap()["hostname"], HOSTNAME);
    // Where Gateways have no address, pods are spoken to as without a policy.
    let without = Settings {
        gateway_addresses: false,
        ..extended()
    };
    assert_eq!(told(&mut world, &without), ("HTTP".to_owned(), None));
}

#[test]
fn a_policy_without_an_authority_closes_its_backend() {
    let map = |name: &str| reference("ConfigMap", name);
    let with = |references: Value| {
        let mut world = own_world(http());
        put(&mut world, "default/ca", &pem(true));
        put(&mut world, "default/bad", &pem(false));
        secret(&mut world, "default/none", None);
        insert(&mut world, "policy", 1, &spec("one", None, &references));
        world
    };
    for references in [
        json!([]),
        json!([map("gone")]),
        json!([map("bad")]),
        json!([reference("Secret", "none")]),
        json!([{"group": "example.com", "kind": "Bundle", "name": "ca"}]),
    ] {
        let plan = planned(&mut with(references.clone()), &extended());
        let service = plan.service.unwrap();
        let action = &service.listeners[0].rules[0].action;
        assert_eq!(*action, Action::Fixed(500), "{references}");
        assert!(service.groups.is_empty() && plan.resolved.good);
        let left_out = plan.left_out.unwrap();
        assert!(
            left_out.contains("BackendTLSPolicy default/policy"),
            "{left_out}"
        );
    }
    // What cannot be read is not overlooked.
    let mut world = with(json!([map("ca")]));
    let mut unread = spec("one", None, &json!([map("ca")]));
    unread["validation"]["hostname"] = json!(7);
    insert(&mut world, "policy", 1, &unread);
    let plan = planned(&mut world, &extended());
    assert!(plan.left_out.unwrap().contains("spec.validation"));
    // One good reference will do.
    let (_, told) = told(&mut with(json!([map("gone"), map("ca")])), &extended());
    let anchors = told.unwrap()["trustAnchorCertificates"].clone();
    assert_eq!(anchors.as_array().unwrap().len(), 1);
}

async fn bench(settings: Settings) -> Bench {
    let mut world = match settings.controller_names == [AWS_CONTROLLER] {
        true => world(http()),
        false => own_world(http()),
    };
    put(&mut world, "default/ca", &pem(true));
    let bench = Bench::new(world, settings).await;
    let web =
        json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]});
    bench.put("httproutes", "web", &web);
    bench
}

fn key_of(name: &str) -> Key {
    Key::BackendTls(Name::new("default", name))
}

async fn said(bench: &Bench, name: &str) -> (String, Option<String>) {
    bench.settle(&[key_of(name)]).await;
    let accepted = bench.said("backendtlspolicies", name, "Accepted").0;
    let object = bench.object("backendtlspolicies", name).unwrap();
    let conditions = object["status"]["ancestors"][0]["conditions"]
        .as_array()
        .unwrap()
        .clone();
    let generation = &object["metadata"]["generation"];
    assert!(
        conditions
            .iter()
            .all(|it| it["observedGeneration"] == *generation)
    );
    let resolved = conditions.iter().find(|it| it["type"] == "ResolvedRefs");
    let resolved = resolved.map(|it| it["reason"].as_str().unwrap().to_owned());
    (accepted, resolved)
}

#[tokio::test]
async fn a_policy_is_told_what_becomes_of_it_for_each_gateway() {
    let bench = bench(extended()).await;
    let good = json!([reference("ConfigMap", "ca")]);
    let pair = |accepted: &str, resolved: &str| (accepted.to_owned(), Some(resolved.to_owned()));
    bench.put("backendtlspolicies", "first", &spec("one", None, &good));
    assert_eq!(
        said(&bench, "first").await,
        pair("Accepted", "ResolvedRefs")
    );
    let object = bench.object("backendtlspolicies", "first").unwrap();
    let ancestor = &object["status"]["ancestors"][0];
    assert_eq!(
        ancestor["ancestorRef"],
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "gw"})
    );
    assert_eq!(
        ancestor["controllerName"],
        "lath.dev/gateway-api-controller"
    );
    bench.put("backendtlspolicies", "second", &spec("one", None, &good));
    assert_eq!(
        said(&bench, "second").await,
        pair("Conflicted", "ResolvedRefs")
    );
    bench.put(
        "backendtlspolicies",
        "port",
        &spec("one", Some("web"), &good),
    );
    assert_eq!(said(&bench, "port").await, pair("Accepted", "ResolvedRefs"));
    let mut other = spec("one", Some("web"), &good);
    // It counts for the port, whatever else it names.
    let half = json!({"targetRefs": [{"group": "", "kind": "Service", "name": "one", "sectionName": "web"}, {"group": "apps", "kind": "Deployment", "name": "one"}]});
    crate::tests::lattice::merge(&mut other, &half);
    bench.put("backendtlspolicies", "port", &other);
    assert_eq!(said(&bench, "port").await, pair("Accepted", "ResolvedRefs"));
    let object = bench.object("backendtlspolicies", "port").unwrap();
    let condition = &object["status"]["ancestors"][0]["conditions"][0];
    let message = condition["message"].as_str().unwrap();
    assert_eq!(message, "spec.targetRefs: Deployment one is no Service");
    for (change, want) in [
        (
            json!({"targetRefs": [{"group": "", "kind": "Service", "name": "one", "sectionName": "none"}]}),
            pair("TargetNotFound", "ResolvedRefs"),
        ),
        (
            json!({"targetRefs": [{"group": "", "kind": "Service", "name": "one"}, {"group": "apps", "kind": "Deployment", "name": "one"}]}),
            pair("Invalid", "ResolvedRefs"),
        ),
    ] {
        crate::tests::lattice::merge(&mut other, &change);
        bench.put("backendtlspolicies", "port", &other);
        let told = said(&bench, "port").await;
        // The first counts for the Service before.
        assert!(told == want || told.0 == "Conflicted", "{told:?}");
    }
    bench.delete("backendtlspolicies", "second");
    for (references, want) in [
        (
            json!([reference("ConfigMap", "gone")]),
            pair("NoValidCACertificate", "InvalidCACertificateRef"),
        ),
        (
            json!([reference("Bundle", "ca")]),
            pair("NoValidCACertificate", "InvalidKind"),
        ),
        (
            json!([reference("ConfigMap", "gone"), reference("ConfigMap", "ca")]),
            pair("Accepted", "InvalidCACertificateRef"),
        ),
    ] {
        bench.put(
            "backendtlspolicies",
            "first",
            &spec("one", None, &references),
        );
        assert_eq!(said(&bench, "first").await, want);
    }
    // Entries of others stay, and this controller's goes with the last route to the Service.
    let theirs = json!({"ancestorRef": {"name": "theirs"}, "controllerName": "example.com/other", "conditions": []});
    let object = bench.object("backendtlspolicies", "first").unwrap();
    let mut ancestors = object["status"]["ancestors"].as_array().unwrap().clone();
    ancestors.insert(0, theirs.clone());
    bench.patch(
        "backendtlspolicies",
        "first",
        &json!({"status": {"ancestors": ancestors}}),
    );
    let rules =
        json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("two", 1)]}]});
    bench.put("httproutes", "web", &rules);
    bench.settle(&[key_of("first")]).await;
    let object = bench.object("backendtlspolicies", "first").unwrap();
    assert_eq!(object["status"]["ancestors"], json!([theirs]));
}

#[tokio::test]
async fn where_gateways_have_no_address_a_policy_is_invalid() {
    let bench = bench(settings()).await;
    let good = json!([reference("ConfigMap", "ca")]);
    bench.put("backendtlspolicies", "first", &spec("one", None, &good));
    assert_eq!(said(&bench, "first").await, ("Invalid".to_owned(), None));
}

#[tokio::test]
async fn a_group_has_the_tag_that_a_policy_asks_for_and_another_group_none() {
    let mut settings = extended();
    settings.default_service_network = Some("gw".into());
    let bench = bench(settings).await;
    bench.network("gw");
    let keys = [route("web")];
    let groups = || {
        let ids = bench.there().ids("targetgroups");
        let ids = ids.into_iter().map(|id| {
            let mut there = bench.there();
            let protocol = there.get("targetgroups", &id)["config"]["protocol"].clone();
            let tags = there.tags_of("targetgroups", &id).clone();
            (
                protocol,
                crate::long_tags::text_of("lath:target-tls", &tags),
            )
        });
        ids.collect::<Vec<_>>()
    };
    bench.settle(&keys).await;
    assert_eq!(groups(), [(json!("HTTP"), None)]);
    for references in [json!(["ca"]), json!(["ca", "more"])] {
        let names = references.as_array().unwrap().iter();
        let references: Vec<_> = names
            .map(|it| reference("ConfigMap", it.as_str().unwrap()))
            .collect();
        put(&mut bench.app.world(), "default/more", &pem(true));
        let policy = spec("one", None, &json!(references));
        bench.put("backendtlspolicies", "first", &policy);
        bench.settle(&keys).await;
        let [(protocol, Some(text))] = &groups()[..] else {
            panic!("{:?}", groups())
        };
        let text: Value = serde_json::from_str(text).unwrap();
        let anchors = text["trustAnchorCertificates"].as_array().unwrap();
        assert_eq!(
            (protocol, anchors.len()),
            (&json!("HTTPS"), references.len())
        );
    }
    bench.delete("backendtlspolicies", "first");
    bench.settle(&keys).await;
    assert_eq!(groups(), [(json!("HTTP"), None)]);
}

#[test]
fn a_gateway_shows_targets_the_certificate_of_its_secret() {
    let with = |reference: Value| {
        let mut world = own_world(http());
        let spec = json!({"gatewayClassName": "lattice", "tls": {"backend": {"clientCertificateRef": reference}},
            "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]});
        let gateway: Arc<Gateway> = object("default/gw", &spec);
        world.gateways.insert(Name::new("default", "gw"), gateway);
        secret(&mut world, "default/own", None);
        secret(&mut world, "default/bad", Some("no key"));
        secret(&mut world, "other/theirs", None);
        world
    };
    let at = Name::new("default", "gw");
    let invalid = "InvalidClientCertificateRef";
    for (reference, want) in [
        (json!({"name": "own"}), "ResolvedRefs"),
        (json!({"name": "gone"}), invalid),
        (json!({"name": "bad"}), invalid),
        (json!({"kind": "ConfigMap", "name": "own"}), invalid),
        (
            json!({"group": "example.com", "kind": "Secret", "name": "own"}),
            invalid,
        ),
        (
            json!({"name": "theirs", "namespace": "other"}),
            "RefNotPermitted",
        ),
    ] {
        let world = with(reference.clone());
        let gateway = &world.gateways[&at];
        let (verdict, found) = shown::resolved(&world, (&at, gateway), true).unwrap();
        assert_eq!(
            (verdict.reason, found.is_some()),
            (want, verdict.good),
            "{reference}"
        );
        let (verdict, _) = shown::resolved(&world, (&at, gateway), false).unwrap();
        assert!(!verdict.good);
    }
    let mut world = with(json!({"name": "own"}));
    let own = Name::new("default", "own");
    let gateway = Arc::clone(&world.gateways[&at]);
    let (sections, judged) = judged(&world);
    let arns = BTreeMap::from([(own.clone(), "arn:own".to_owned())]);
    let listeners = (&sections[..], &judged[..]);
    let made = entrance::entrance(&extended(), (&at, &gateway), listeners, &arns, Some(&own));
    let text: Value = serde_json::from_str(&made.doors[0].text).unwrap();
    assert_eq!(text["clientCertificateArn"], "arn:own");
    assert!(world.secrets_of(&at, &gateway).contains(&own));
    assert!(
        world
            .touched_by_secret(&own)
            .contains(&Key::Gateway(at.clone()))
    );
    // Health checks show it, too.
    world.imported.insert("arn:own".to_owned(), own);
    put(&mut world, "default/ca", &pem(true));
    let references = json!([reference("ConfigMap", "ca")]);
    insert(&mut world, "policy", 1, &spec("one", None, &references));
    let (_, told) = told(&mut world, &extended());
    assert_eq!(told.unwrap()["healthCheckCertificateArn"], "arn:own");
}

#[test]
fn what_a_policy_hangs_on_is_news_for_it_and_for_its_routes() {
    let mut world = own_world(http());
    put(&mut world, "default/ca", &pem(true));
    let references = json!([reference("ConfigMap", "ca"), reference("Secret", "ca")]);
    insert(&mut world, "first", 1, &spec("one", None, &references));
    insert(&mut world, "second", 2, &spec("one", None, &json!([])));
    drop(planned(&mut world, &extended()));
    let (first, second) = (key_of("first"), key_of("second"));
    let route = Key::Route(RouteKind::Http, Name::new("default", "r"));
    let at = Name::new("default", "first");
    let has = |keys: &[Key], wanted: &[&Key]| wanted.iter().all(|it| keys.contains(it));
    let policy = Arc::clone(&world.tls_policies[&at]);
    let keys = world.touched_by_backend_tls(&at, &policy);
    assert!(has(&keys, &[&first, &second, &route]), "{keys:?}");
    let ca = Name::new("default", "ca");
    for keys in [
        world.touched_by_authorities(&ca),
        world.touched_by_secret(&ca),
    ] {
        assert!(has(&keys, &[&first, &route]), "{keys:?}");
    }
    let one = Name::new("default", "one");
    let keys = world.touched_by_service(&one);
    assert!(has(&keys, &[&first, &second, &route]), "{keys:?}");
    let keys = world.touched_by_gateway(&Name::new("default", "gw"));
    assert!(has(&keys, &[&first, &second, &route]), "{keys:?}");
    let elsewhere = world.touched_by_authorities(&Name::new("other", "ca"));
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}
