//! Services across clusters: two controllers at one VPC Lattice, and no other way between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bench::{Bench, route};
use super::{http, settings, world};
use crate::kinds;
use crate::lattice::LOOKS;
use crate::world::{Key, Name};

fn one() -> Name {
    Name::new("default", "one")
}

/// A cluster of the set.
async fn cluster(name: &str, vpc: &str, beside: Option<&Bench>) -> Bench {
    let mut settings = settings();
    settings.cluster_name = name.to_owned();
    settings.vpc_id = vpc.to_owned();
    settings.cluster_set = Some("shops".into());
    settings.extended = true;
    let mut known = world(http());
    let namespace = Name::new("", "default");
    known
        .namespaces
        .insert(namespace, Arc::new(BTreeMap::new()));
    let lattice = beside.map(|it| Arc::clone(&it.lattice)).unwrap_or_default();
    let bench = Bench::beside(known, settings, lattice).await;
    bench.app.serves(&kinds::mcs_import());
    if beside.is_none() {
        bench.network("gw");
    }
    bench
}

async fn export(bench: &Bench) {
    bench.put("mcs-exports", "one", &json!(null));
    bench.settle(&[Key::Export(one())]).await;
}

/// What a look at Lattice teaches, and the import that follows from it.
async fn look(bench: &Bench) {
    bench.app.look_at_exports().await.unwrap();
    bench.settle(&[Key::Mcs(one())]).await;
}

fn to_import(weight: i32) -> Value {
    let backend = json!({"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "one", "port": 80, "weight": weight});
    json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend]}]})
}

/// The groups that a route's service forwards to, with their weights.
fn forwards(bench: &Bench) -> Vec<(String, i64)> {
    let there = bench.there();
    let all = there
        .nested_of("rules")
        .into_iter()
        .chain(there.nested_of("listeners"));
    let mut found: Vec<_> = all
        .filter_map(|it| it["action"]["forward"]["targetGroups"].as_array().cloned())
        .flatten()
        .map(|it| {
            (
                it["targetGroupIdentifier"].as_str().unwrap().to_owned(),
                it["weight"].as_i64().unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_one_cluster_exports_another_imports_and_forwards_to() {
    let east = cluster("east", "vpc-1", None).await;
    let west = cluster("west", "vpc-2", Some(&east)).await;
    export(&east).await;
    assert_eq!(east.said("mcs-exports", "one", "Ready").0, "Exported");
    assert_eq!(east.said("mcs-exports", "one", "Valid").0, "Valid");
    assert_eq!(east.said("mcs-exports", "one", "Conflict").0, "NoConflicts");
    look(&west).await;
    let import = west.object("mcs-imports", "one").unwrap();
    assert_eq!(import["spec"]["type"], "ClusterSetIP");
    assert_eq!(
        import["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "name": "web"}])
    );
    assert_eq!(
        import["status"]["clusters"],
        json!([{"cluster": "east.us-east-1"}])
    );
    west.put("httproutes", "web", &to_import(1));
    west.settle(&[route("web")]).await;
    let groups = east.there().ids("targetgroups");
    assert_eq!(groups.len(), 1);
    assert_eq!(forwards(&west), [(groups[0].clone(), 1)]);
    // Both export: half of the requests each.
    export(&west).await;
    look(&west).await;
    west.settle(&[route("web")]).await;
    let shares = forwards(&west);
    assert!(
        shares.len() == 2 && shares[0].1 == shares[1].1,
        "{shares:?}"
    );
    let import = west.object("mcs-imports", "one").unwrap();
    assert_eq!(import["status"]["clusters"].as_array().unwrap().len(), 2);
    // Weights by cluster; and the own cluster first, with the others as the reserve.
    let annotate = |pairs: Value| {
        west.patch(
            "mcs-imports",
            "one",
            &json!({"metadata": {"annotations": pairs}}),
        )
    };
    annotate(json!({"lath.dev/cluster-weights": "east=3"}));
    west.settle(&[route("web")]).await;
    let weight =
        |shares: &[(String, i64)], group: &str| shares.iter().find(|it| it.0 == group).unwrap().1;
    let shares = forwards(&west);
    let own = west
        .there()
        .ids("targetgroups")
        .into_iter()
        .find(|it| *it != groups[0])
        .unwrap();
    assert_eq!(weight(&shares, &groups[0]), 3 * weight(&shares, &own));
    annotate(json!({"lath.dev/cluster-weights": null, "lath.dev/locality": "PreferSameCluster"}));
    west.settle(&[route("web")]).await;
    let shares = forwards(&west);
    assert_eq!((weight(&shares, &groups[0]), weight(&shares, &own)), (0, 1));
    // One that is no longer exported anywhere is gone, here and there.
    for bench in [&east, &west] {
        bench.delete("mcs-exports", "one");
        bench.settle(&[Key::Export(one()), route("web")]).await;
    }
    look(&west).await;
    west.settle(&[route("web"), Key::Export(one())]).await;
    look(&west).await;
    assert!(west.object("mcs-imports", "one").is_none());
    assert_eq!(
        west.said("httproutes", "web", "ResolvedRefs").0,
        "BackendNotFound"
    );
}

#[tokio::test]
async fn clusters_that_contradict_each_other_are_told() {
    let east = cluster("east", "vpc-1", None).await;
    let west = cluster("west", "vpc-2", Some(&east)).await;
    let at = one();
    let mut service = (*west.app.look().services[&at]).clone();
    service.headless = true;
    west.app.world().services.insert(at, Arc::new(service));
    export(&east).await;
    // The later one is the younger.
    west.put("mcs-exports", "unused", &json!(null));
    export(&west).await;
    west.app.look_at_exports().await.unwrap();
    west.settle(&[Key::Export(one())]).await;
    let (reason, message) = west.said("mcs-exports", "one", "Conflict");
    assert_eq!(reason, "TypeConflict");
    assert!(message.contains("east.us-east-1"), "{message}");
    look(&west).await;
    assert_eq!(
        west.object("mcs-imports", "one").unwrap()["spec"]["type"],
        "ClusterSetIP"
    );
}

#[tokio::test]
async fn what_cannot_be_exported_is_told_and_a_region_that_is_silent_changes_nothing() {
    let east = cluster("east", "vpc-1", None).await;
    east.app.world().services.clear();
    export(&east).await;
    assert_eq!(east.said("mcs-exports", "one", "Valid").0, "NoService");
    assert!(east.there().ids("targetgroups").is_empty());
    // Before a region has said anything, what is missing there is not known.
    let mut settings = east.app.settings.clone();
    settings.cluster_set_regions = vec!["us-west-2".into()];
    let other = Bench::beside(world(http()), settings, Arc::clone(&east.lattice)).await;
    other.app.serves(&kinds::mcs_import());
    let import = json!({"type": "ClusterSetIP", "ports": []});
    other.put("mcs-imports", "one", &import);
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "lath-gateway-controller"}}});
    other.patch("mcs-imports", "one", &label);
    look(&other).await;
    assert!(other.object("mcs-imports", "one").is_some());
    other.app.learn("us-west-2", BTreeMap::new());
    other.settle(&[Key::Mcs(one())]).await;
    assert!(other.object("mcs-imports", "one").is_none());
}

/// Lets a group be what a service forwards to, or not.
fn used(bench: &Bench, group: &str, by: &[&str]) {
    let at = ("targetgroups".to_owned(), group.to_owned());
    bench.there().all.get_mut(&at).unwrap()["serviceArns"] = json!(by);
}

#[tokio::test]
async fn an_export_that_is_used_is_no_longer_offered_and_goes_when_it_is_not() {
    let east = cluster("east", "vpc-1", None).await;
    let west = cluster("west", "vpc-2", Some(&east)).await;
    export(&east).await;
    look(&west).await;
    west.put("httproutes", "web", &to_import(1));
    west.settle(&[route("web")]).await;
    let group = east.there().ids("targetgroups").remove(0);
    let targets = east.there().targets[&group].clone();
    used(&east, &group, &["arn:west"]);
    east.delete("mcs-exports", "one");
    east.settle(&[Key::Export(one())]).await;
    // It is still used, and serves.
    assert!(east.object("mcs-exports", "one").is_some());
    assert_eq!(east.there().targets[&group], targets);
    let asked = east.server.changes();
    assert!(
        asked.iter().any(|it| it.starts_with("DELETE tags/")),
        "{asked:#?}"
    );
    // The fake removes one tag of several.
    let offered = |it: &String| it.starts_with("lath.dev/mcs-");
    east.there()
        .tags_of("targetgroups", &group)
        .retain(|it, _| !offered(it));
    for _ in 0..LOOKS {
        look(&west).await;
    }
    west.settle(&[route("web")]).await;
    assert!(west.object("mcs-imports", "one").is_none());
    assert_eq!(
        west.said("httproutes", "web", "ResolvedRefs").0,
        "BackendNotFound"
    );
    used(&east, &group, &[]);
    east.settle(&[Key::Export(one())]).await;
    assert!(east.object("mcs-exports", "one").is_none());
    assert!(east.there().ids("targetgroups").is_empty());
}

#[tokio::test]
async fn of_more_clusters_than_a_rule_has_groups_the_nearest_and_oldest_count() {
    let first = cluster("c0", "vpc-0", None).await;
    export(&first).await;
    let mut others = Vec::new();
    for at in 1..12 {
        let other = cluster(&format!("c{at}"), &format!("vpc-{at}"), Some(&first)).await;
        for unused in 0..at {
            other.put("mcs-exports", &format!("unused-{unused}"), &json!(null));
        }
        export(&other).await;
        others.push(other);
    }
    // The last is the youngest, and the nearest for itself.
    let last = others.last().unwrap();
    look(last).await;
    last.put("httproutes", "web", &to_import(1));
    last.settle(&[route("web")]).await;
    let shares = forwards(last);
    assert_eq!(shares.len(), 10);
    assert_eq!(last.said("httproutes", "web", "Programmed").0, "Programmed");
    let (_, message) = last.said("httproutes", "web", "PartiallyInvalid");
    assert!(
        message.ends_with("none for c9.us-east-1, c10.us-east-1"),
        "{message}"
    );
}

#[tokio::test]
async fn a_cluster_that_contradicts_the_import_gets_no_requests() {
    let east = cluster("east", "vpc-1", None).await;
    let west = cluster("west", "vpc-2", Some(&east)).await;
    let mut service = (*west.app.look().services[&one()]).clone();
    service.ports[0].app_protocol = Some("kubernetes.io/h2c".into());
    west.app.world().services.insert(one(), Arc::new(service));
    export(&east).await;
    let group = east.there().ids("targetgroups").remove(0);
    west.put("mcs-exports", "unused", &json!(null));
    export(&west).await;
    look(&west).await;
    west.put("httproutes", "web", &to_import(1));
    west.settle(&[route("web")]).await;
    assert_eq!(forwards(&west), [(group, 1)]);
}
