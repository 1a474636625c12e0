//! What TargetGroupPolicies are told, which of them counts, and kinds that are not served.

use serde_json::{Value, json};

use super::bench::Bench;
use super::fake::{Answer, Server};
use crate::group_policies::Of;
use crate::unserved;
use crate::world::{Key, Name};

fn key(name: &str) -> Key {
    Key::GroupPolicy(Name::new("default", name))
}

async fn status_of(bench: &Bench, name: &str, spec: &Value) -> (String, String) {
    bench.put("targetgrouppolicies", name, spec);
    bench.settle(&[key(name)]).await;
    bench.said("targetgrouppolicies", name, "Accepted")
}

#[tokio::test]
async fn a_policy_for_target_groups_is_told_what_becomes_of_it() {
    let bench = Bench::usual().await;
    let target = json!({"kind": "Service", "name": "one"});
    let spec = json!({"targetRef": target, "protocol": "HTTPS"});
    assert_eq!(status_of(&bench, "first", &spec).await.0, "Accepted");
    let (reason, message) = status_of(&bench, "second", &spec).await;
    assert_eq!(
        (reason.as_str(), message.as_str()),
        (
            "Conflicted",
            "default/first is for Service default/one too, and older"
        )
    );
    for (spec, reason, word) in [
        (
            json!({"targetRef": {"kind": "Service", "name": "none"}}),
            "TargetNotFound",
            "default/none",
        ),
        (
            json!({"targetRef": {"kind": "ServiceExport", "name": "one"}}),
            "TargetNotFound",
            "ServiceExport",
        ),
        (
            json!({"targetRef": {"kind": "Gateway", "name": "gw"}}),
            "Invalid",
            "Gateway",
        ),
        (
            json!({"targetRef": {"group": "apps", "kind": "Service", "name": "one"}}),
            "Invalid",
            "apps",
        ),
        (
            json!({"targetRef": {"kind": "Service", "name": "one", "namespace": "other"}}),
            "Invalid",
            "namespace",
        ),
        (
            json!({"targetRef": {"kind": "Service", "name": "two"}, "protocol": "UDP"}),
            "Invalid",
            "spec.protocol: UDP",
        ),
        (
            json!({"targetRef": {"kind": "Service", "name": "two"}, "healthCheck": {"port": "x"}}),
            "Invalid",
            "spec.healthCheck",
        ),
    ] {
        let said = status_of(&bench, "third", &spec).await;
        assert_eq!(said.0, reason, "{spec}");
        assert!(said.1.contains(word), "{said:?}");
    }
}

#[tokio::test]
async fn when_the_older_policy_goes_the_younger_one_counts_and_is_told() {
    let bench = Bench::usual().await;
    let spec = |protocol: &str| json!({"targetRef": {"kind": "Service", "name": "one"}, "protocol": protocol});
    status_of(&bench, "first", &spec("HTTPS")).await;
    status_of(&bench, "second", &spec("HTTP")).await;
    let one = Name::new("default", "one");
    let counts = || {
        let world = bench.app.look();
        let (name, _) = world.group_policy(Of::Service, &one).unwrap();
        name.name.clone()
    };
    assert_eq!(counts(), "first");
    let first = Name::new("default", "first");
    {
        let world = bench.app.look();
        let touched = world.touched_by_group_policy(&first, &world.group_policies[&first]);
        assert!(touched.contains(&key("second")), "{touched:?}");
        // A Service that comes or goes is news for its policies.
        assert_eq!(
            world.touched_by_service(&one),
            [key("first"), key("second"), Key::Exposed(one.clone())]
        );
    }
    let patch = json!({"metadata": {"finalizers": ["example.com/other"], "deletionTimestamp": "2026-02-01T00:00:00Z"}});
    bench.patch("targetgrouppolicies", "first", &patch);
    assert_eq!(counts(), "second");
    bench.settle(&[key("first"), key("second")]).await;
    let said = bench.said("targetgrouppolicies", "second", "Accepted");
    assert_eq!(said.0, "Accepted");
}

#[tokio::test]
async fn kinds_that_are_not_served_are_known() {
    let server = Server::begin(|request| {
        let group = |name: &str, version: &str| json!({"name": name, "versions": [{"groupVersion": format!("{name}/{version}"), "version": version}]});
        let kind = |name: &str, kind: &str| json!({"name": name, "kind": kind, "singularName": "", "namespaced": true, "verbs": []});
        let path: Vec<_> = request.path.iter().map(String::as_str).collect();
        Answer::ok(match &path[..] {
            ["apis"] | ["apis", ""] => json!({"groups": [group("gateway.networking.k8s.io", "v1"), group("example.com", "v1")]}),
            ["apis", "gateway.networking.k8s.io", "v1"] => json!({"groupVersion": "gateway.networking.k8s.io/v1", "resources": [
                kind("gateways", "Gateway"), kind("gateways/status", "Gateway"), kind("tcproutes", "TCPRoute"), kind("tcproutes/status", "TCPRoute"),
                kind("udproutes", "UDPRoute"), kind("backendtlspolicies", "BackendTLSPolicy")]}),
            _ => panic!("{path:?}"),
        })
    })
    .await;
    assert_eq!(
        unserved::kinds(&server.kubernetes()).await.unwrap(),
        ["UDPRoute (gateway.networking.k8s.io)",]
    );
}
