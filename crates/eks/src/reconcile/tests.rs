use std::sync::Arc;

use lath_ec2_compute::managed;
use lath_ec2_records::{Instance, InstanceState};
use lath_feed::{ClusterObserved, Condition, Observed, WaitingPods};
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use serde_json::{Value, json};

use crate::record::control_plane;
use crate::tests::{Lab, NODE_ROLE};

const GROUPS: &str = "/clusters/prod/node-groups";
const GROUP: &str = "/clusters/prod/node-groups/workers";

fn group(lab: &Lab, desired: i32) -> Value {
    json!({
        "nodegroupName": "workers",
        "nodeRole": NODE_ROLE,
        "subnets": lab.subnets,
        "instanceTypes": ["t3.medium"],
        "scalingConfig": {"minSize": 0, "maxSize": 6, "desiredSize": desired},
    })
}

fn running(lab: &Lab) -> Vec<Arc<Instance>> {
    let view = lab.app.cell.db.view();
    let alive = view.list::<Instance>().filter(|it| it.is_alive());
    alive.filter(|it| it.cluster.is_some()).collect()
}

fn ids(lab: &Lab) -> Vec<InstanceId> {
    running(lab).iter().map(|it| it.id.clone()).collect()
}

async fn with_group(desired: i32) -> Lab {
    let lab = Lab::new().await;
    lab.active().await;
    lab.get("POST", GROUPS, group(&lab, desired)).await;
    lab.settle(false).await;
    lab
}

#[tokio::test]
async fn a_cluster_of_five_years_has_two_certificates_of_its_authority() {
    let lab = Lab::new().await;
    lab.active().await;
    let shown = async || lab.get("GET", "/clusters/prod", Value::Null).await;
    let before = shown().await;
    lab.pass_after(1826 * 24 * 3600).await;
    lab.pass().await;
    let after = shown().await;
    assert_eq!(after["cluster"]["status"], "ACTIVE");
    let data = |it: &Value| {
        let data = it["cluster"]["certificateAuthority"]["data"].as_str();
        data.unwrap().to_owned()
    };
    assert!(data(&after).len() > 2 * data(&before).len());
    assert!(data(&after).len() < 3 * data(&before).len());
}

#[tokio::test]
async fn a_group_is_active_when_its_nodes_are_ready_and_gone_when_they_are() {
    let lab = Lab::new().await;
    lab.active().await;
    let made = lab.get("POST", GROUPS, group(&lab, 3)).await;
    assert_eq!(made["nodegroup"]["status"], "CREATING");
    lab.pass().await;
    let nodes = running(&lab);
    assert_eq!(nodes.len(), 3);
    let zones: std::collections::BTreeSet<_> = nodes
        .iter()
        .map(|it| it.availability_zone.clone())
        .collect();
    assert_eq!(zones.len(), 2, "they are spread");
    let labels = &nodes[0].cluster.as_ref().unwrap().labels;
    assert_eq!(labels["eks.amazonaws.com/nodegroup"], "workers");
    lab.obey(&[nodes[0].id.clone()], false).await;
    lab.pass().await;
    assert_eq!(lab.status(GROUP, "nodegroup").await, "CREATING");
    lab.settle(false).await;
    assert_eq!(lab.status(GROUP, "nodegroup").await, "ACTIVE");
    let (status, text) = lab.refused("DELETE", "/clusters/prod", Value::Null).await;
    assert_eq!(
        (status, text.as_str()),
        (409, "Cluster has nodegroups attached")
    );
    lab.get("DELETE", GROUP, Value::Null).await;
    lab.settle(false).await;
    assert_eq!(
        lab.status(GROUP, "nodegroup").await,
        "DELETING",
        "pods are there"
    );
    assert!(
        running(&lab)
            .iter()
            .all(|it| it.cluster.as_ref().unwrap().draining)
    );
    lab.settle(true).await;
    assert_eq!(lab.status(GROUP, "nodegroup").await, "gone");
    assert!(running(&lab).is_empty());
}

#[tokio::test]
async fn a_group_follows_its_size_and_replaces_what_dies() {
    let lab = with_group(2).await;
    let config = format!("{GROUP}/update-config");
    let size = |desired: i32| json!({"scalingConfig": {"desiredSize": desired}});
    let update = lab.get("POST", &config, size(4)).await;
    assert_eq!(update["update"]["type"], "ConfigUpdate");
    assert_eq!(lab.status(GROUP, "nodegroup").await, "UPDATING");
    lab.settle(false).await;
    assert_eq!(running(&lab).len(), 4);
    assert_eq!(lab.status(GROUP, "nodegroup").await, "ACTIVE");
    lab.get("POST", &config, size(1)).await;
    lab.settle(true).await;
    assert_eq!(running(&lab).len(), 1);
    let gone = ids(&lab).remove(0);
    lab.write(|tx| {
        tx.update::<Instance>(gone.as_str(), |it| {
            it.state = InstanceState::Terminated;
        });
        // It lived for a while, so that its successor need not wait.
        tx.update::<crate::record::Node>(gone.as_str(), |it| {
            it.launched_at = Timestamp::from_millis(0);
        });
    })
    .await;
    lab.settle(false).await;
    assert_eq!(running(&lab).len(), 1);
    assert!(!ids(&lab).contains(&gone));
}

#[tokio::test]
async fn a_group_grows_ten_nodes_at_a_time_and_not_beyond_the_quota() {
    let lab = with_group(1).await;
    let config = format!("{GROUP}/update-config");
    let size =
        |desired: i32, max: i32| json!({"scalingConfig": {"desiredSize": desired, "maxSize": max}});
    let (status, text) = lab.refused("POST", &config, size(1, 451)).await;
    let limit = "Nodes per node group limit of 450 has been reached.";
    assert_eq!((status, text.as_str()), (400, limit));
    lab.get("POST", &config, size(13, 450)).await;
    lab.pass().await;
    assert_eq!(running(&lab).len(), 11);
    lab.pass().await;
    assert_eq!(running(&lab).len(), 13);
}

#[tokio::test]
async fn labels_and_taints_reach_nodes_that_run() {
    let lab = with_group(1).await;
    let request = json!({
        "labels": {"addOrUpdateLabels": {"tier": "web"}},
        "taints": {"addOrUpdateTaints": [{"key": "only", "value": "web", "effect": "NO_SCHEDULE"}]},
    });
    lab.get("POST", &format!("{GROUP}/update-config"), request)
        .await;
    lab.settle(false).await;
    let node = running(&lab).remove(0);
    let node = node.cluster.as_ref().unwrap();
    assert_eq!(node.labels["tier"], "web");
    assert_eq!(node.taints, ["only=web:NoSchedule"]);
    assert_eq!(lab.status(GROUP, "nodegroup").await, "ACTIVE");
    let reserved = json!({"labels": {"addOrUpdateLabels": {"kubernetes.io/x": "y"}}});
    let (_, text) = lab
        .refused("POST", &format!("{GROUP}/update-config"), reserved)
        .await;
    assert!(text.contains("reserved prefixes"), "{text}");
}

#[tokio::test]
async fn a_new_version_replaces_nodes_without_fewer_of_them() {
    let lab = with_group(2).await;
    let before = ids(&lab);
    let update = lab
        .get("POST", &format!("{GROUP}/update-version"), json!({}))
        .await;
    let id = update["update"]["id"].as_str().unwrap().to_owned();
    lab.pass().await;
    assert_eq!(running(&lab).len(), 3, "a new node comes first");
    for _ in 0..4 {
        lab.settle(true).await;
        assert!(running(&lab).len() >= 2);
    }
    let after = ids(&lab);
    assert!(
        before.iter().all(|it| !after.contains(it)),
        "{before:?} {after:?}"
    );
    assert_eq!(after.len(), 2);
    let path = format!("/clusters/prod/updates/{id}?nodegroupName=workers");
    assert_eq!(lab.status(&path, "update").await, "Successful");
}

#[tokio::test]
async fn budgets_hold_up_the_end_of_a_group_only_while_pods_can_go_elsewhere() {
    let lab = with_group(1).await;
    let other = json!({"nodegroupName": "others"});
    let mut request = group(&lab, 1);
    request
        .as_object_mut()
        .unwrap()
        .extend(other.as_object().unwrap().clone());
    lab.get("POST", GROUPS, request).await;
    lab.settle(false).await;
    let forced = |lab: &Lab| {
        let view = lab.app.cell.db.view();
        view.list::<crate::record::Node>()
            .filter(|it| it.forced)
            .count()
    };
    lab.get("DELETE", GROUP, Value::Null).await;
    lab.pass().await;
    lab.pass_after(60).await;
    assert_eq!(forced(&lab), 0, "the other group can have the pods");
    lab.get("DELETE", &format!("{GROUPS}/others"), Value::Null)
        .await;
    lab.pass().await;
    lab.pass_after(60).await;
    assert_eq!(forced(&lab), 2);
    assert!(
        running(&lab)
            .iter()
            .all(|it| it.cluster.as_ref().unwrap().forced)
    );
    lab.pass_after(340).await;
    assert!(running(&lab).is_empty(), "AWS waits for five minutes");
}

#[tokio::test]
async fn pods_that_cannot_be_evicted_end_an_update() {
    let lab = with_group(1).await;
    let old = ids(&lab).remove(0);
    let update = lab
        .get("POST", &format!("{GROUP}/update-version"), json!({}))
        .await;
    let id = update["update"]["id"].as_str().unwrap().to_owned();
    lab.settle(false).await;
    lab.pass_after(1000).await;
    let path = format!("/clusters/prod/updates/{id}?nodegroupName=workers");
    let shown = lab.get("GET", &path, Value::Null).await;
    assert_eq!(shown["update"]["status"], "Failed");
    assert_eq!(
        shown["update"]["errors"][0]["errorCode"],
        "PodEvictionFailure"
    );
    lab.settle(false).await;
    let leaves = |it: &Arc<Instance>| it.cluster.as_ref().unwrap().draining;
    let leaving: Vec<_> = running(&lab).into_iter().filter(leaves).collect();
    assert!(
        leaving.iter().all(|it| it.id != old),
        "the node that came too many goes, and the old one stays"
    );
}

#[tokio::test]
async fn a_replacement_whose_new_nodes_never_join_ends_and_the_group_heals() {
    let lab = with_group(1).await;
    let old = ids(&lab);
    let update = lab
        .get("POST", &format!("{GROUP}/update-version"), json!({}))
        .await;
    let id = update["update"]["id"].as_str().unwrap().to_owned();
    lab.pass().await;
    let new: Vec<_> = ids(&lab)
        .into_iter()
        .filter(|it| !old.contains(it))
        .collect();
    assert_eq!(new.len(), 1);
    lab.obey(&new, true).await;
    let path = format!("/clusters/prod/updates/{id}?nodegroupName=workers");
    lab.pass().await;
    assert_eq!(lab.status(&path, "update").await, "InProgress");
    lab.pass_after(1000).await;
    let shown = lab.get("GET", &path, Value::Null).await;
    assert_eq!(shown["update"]["status"], "Failed");
    let error = &shown["update"]["errors"][0];
    assert_eq!(error["errorCode"], "NodeCreationFailure");
    assert_eq!(error["resourceIds"][0], new[0].as_str());
    assert_eq!(lab.status(GROUP, "nodegroup").await, "DEGRADED");
    lab.settle(true).await;
    assert_eq!(ids(&lab), old);
    assert_eq!(lab.status(GROUP, "nodegroup").await, "ACTIVE");
    let shown = lab.get("GET", GROUP, Value::Null).await;
    assert_eq!(shown["nodegroup"]["health"]["issues"], json!([]));
}

#[tokio::test]
async fn a_slow_drain_is_no_failure_to_join() {
    let lab = with_group(2).await;
    let config = json!({"scalingConfig": {"desiredSize": 1}});
    let update = lab
        .get("POST", &format!("{GROUP}/update-config"), config)
        .await;
    let id = update["update"]["id"].as_str().unwrap().to_owned();
    let path = format!("/clusters/prod/updates/{id}?nodegroupName=workers");
    lab.pass().await;
    lab.obey(&[], false).await;
    // The change is older than its drain, as it is where the drain began a pass later.
    lab.write(|tx| {
        let group = tx.list::<crate::record::NodeGroup>().next().unwrap();
        tx.update::<crate::record::NodeGroup>(&group.key(), |it| {
            it.status_since = Timestamp::from_millis(0);
        });
    })
    .await;
    lab.pass().await;
    assert_eq!(lab.status(&path, "update").await, "InProgress");
    assert_eq!(running(&lab).len(), 2, "pods are there");
    lab.settle(true).await;
    assert_eq!(lab.status(&path, "update").await, "Successful");
    assert_eq!(lab.status(GROUP, "nodegroup").await, "ACTIVE");
}

#[tokio::test]
async fn a_change_of_labels_is_over_when_nodes_have_them() {
    let lab = with_group(1).await;
    let request = json!({"labels": {"addOrUpdateLabels": {"tier": "web"}}});
    let update = lab
        .get("POST", &format!("{GROUP}/update-config"), request)
        .await;
    let id = update["update"]["id"].as_str().unwrap().to_owned();
    let path = format!("/clusters/prod/updates/{id}?nodegroupName=workers");
    // What was seen before nodes were told of it is not their answer.
    lab.obey(&[], false).await;
    lab.pass().await;
    assert_eq!(lab.status(&path, "update").await, "InProgress");
    lab.obey(&[], false).await;
    let mut observed = Observed::clone(&lab.app.cell.observed.borrow());
    for cluster in observed.clusters.values_mut() {
        for seen in cluster.nodes.values_mut() {
            seen.configured = false;
        }
    }
    lab.observe(observed);
    lab.pass().await;
    assert_eq!(lab.status(&path, "update").await, "InProgress");
    lab.settle(false).await;
    assert_eq!(lab.status(&path, "update").await, "Successful");
}

#[tokio::test]
async fn what_no_node_could_have_is_refused() {
    let lab = with_group(1).await;
    let config = format!("{GROUP}/update-config");
    let taints: Vec<Value> = (0..51)
        .map(|it| json!({"key": format!("t{it}"), "effect": "NO_SCHEDULE"}))
        .collect();
    let labels = |from: usize, to: usize| -> Value {
        let labels = (from..to).map(|it| (format!("l{it}"), json!("x")));
        labels.collect::<serde_json::Map<_, _>>().into()
    };
    for change in [
        json!({"labels": {"addOrUpdateLabels": {"a b": "x"}}}),
        json!({"labels": {"addOrUpdateLabels": {"a": "x,node-role.kubernetes.io/y="}}}),
        json!({"labels": {"addOrUpdateLabels": labels(0, 51)}}),
        json!({"taints": {"addOrUpdateTaints": [{"key": "a=b", "effect": "NO_SCHEDULE"}]}}),
        json!({"taints": {"addOrUpdateTaints": taints}}),
    ] {
        let (status, answer) = lab.ask("POST", &config, change.clone()).await;
        assert_eq!(status, 400, "{change}: {answer}");
    }
    let change = json!({"labels": {"addOrUpdateLabels": labels(0, 50)}});
    lab.get("POST", &config, change).await;
    lab.settle(false).await;
    let change = json!({"labels": {"addOrUpdateLabels": labels(50, 51)}});
    let (_, text) = lab.refused("POST", &config, change).await;
    assert!(text.contains("at most 50 labels"), "{text}");
    let mut made = group(&lab, 1);
    made["nodegroupName"] = json!("more");
    made["labels"] = json!({"a b": "x"});
    assert_eq!(lab.ask("POST", GROUPS, made).await.0, 400);
}

#[tokio::test]
async fn nodes_that_never_join_fail_their_group() {
    let lab = Lab::new().await;
    lab.active().await;
    lab.get("POST", GROUPS, group(&lab, 1)).await;
    lab.pass().await;
    lab.obey(&ids(&lab), false).await;
    lab.pass_after(1000).await;
    let shown = lab.get("GET", GROUP, Value::Null).await;
    assert_eq!(shown["nodegroup"]["status"], "CREATE_FAILED");
    let issue = &shown["nodegroup"]["health"]["issues"][0];
    assert_eq!(issue["code"], "NodeCreationFailure");
}

#[tokio::test]
async fn a_group_of_a_cluster_without_an_api_server_can_be_deleted() {
    let lab = with_group(1).await;
    lab.get("DELETE", GROUP, Value::Null).await;
    let failed = ClusterObserved {
        condition: Condition::Failed {
            reason: "it is gone".into(),
        },
        version: None,
        nodes: Default::default(),
        refused_addons: Default::default(),
        identity_provider: None,
        identity_provider_known: true,
        waiting: Vec::new(),
        branches: None,
    };
    let mut observed = Observed::default();
    observed.clusters.insert(control_plane("prod"), failed);
    lab.observe(observed);
    lab.pass().await;
    assert_eq!(running(&lab).len(), 1);
    lab.pass_after(60).await;
    assert!(running(&lab).is_empty());
}

#[tokio::test]
async fn a_control_plane_that_keeps_failing_fails_its_cluster_until_it_works() {
    let lab = Lab::new().await;
    lab.get("POST", "/clusters", lab.cluster()).await;
    let failed = ClusterObserved {
        condition: Condition::Failed {
            reason: "etcd does not start".into(),
        },
        version: None,
        nodes: Default::default(),
        refused_addons: Default::default(),
        identity_provider: None,
        identity_provider_known: true,
        waiting: Vec::new(),
        branches: None,
    };
    let mut observed = Observed::default();
    observed.clusters.insert(control_plane("prod"), failed);
    lab.observe(observed);
    lab.pass().await;
    let shown = lab.get("GET", "/clusters/prod", Value::Null).await;
    assert_eq!(shown["cluster"]["status"], "CREATING");
    let issue = &shown["cluster"]["health"]["issues"][0];
    assert_eq!(issue["message"], "etcd does not start");
    lab.pass_after(400).await;
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "FAILED");
    lab.settle(false).await;
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "ACTIVE");
}

#[tokio::test]
async fn a_name_is_free_when_nothing_of_its_cluster_is_left() {
    let lab = Lab::new().await;
    lab.active().await;
    lab.get("DELETE", "/clusters/prod", Value::Null).await;
    let mut observed = Observed {
        applied_version: lab.snapshot().version,
        ..Observed::default()
    };
    let leaving = ClusterObserved {
        condition: Condition::Failed {
            reason: "it is being removed".into(),
        },
        version: None,
        nodes: Default::default(),
        refused_addons: Default::default(),
        identity_provider: None,
        identity_provider_known: true,
        waiting: Vec::new(),
        branches: None,
    };
    observed.clusters.insert(control_plane("prod"), leaving);
    lab.observe(observed.clone());
    lab.pass().await;
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "DELETING");
    let (status, _) = lab.refused("POST", "/clusters", lab.cluster()).await;
    assert_eq!(status, 409);
    observed.clusters.clear();
    lab.observe(observed);
    lab.pass().await;
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "gone");
}

#[tokio::test]
async fn an_addon_that_the_cluster_refuses_says_so_until_it_takes_it() {
    const ADDON: &str = "/clusters/prod/addons/coredns";
    let lab = Lab::new().await;
    lab.active().await;
    let request = json!({"addonName": "coredns"});
    lab.get("POST", "/clusters/prod/addons", request).await;
    lab.obey(&[], false).await;
    let mut observed = Observed::clone(&lab.app.cell.observed.borrow());
    for cluster in observed.clusters.values_mut() {
        let reason = "a webhook denies it".to_owned();
        cluster.refused_addons.insert("coredns".into(), reason);
    }
    lab.observe(observed);
    lab.pass().await;
    assert_eq!(lab.status(ADDON, "addon").await, "CREATING");
    lab.pass_after(60).await;
    let shown = lab.get("GET", ADDON, Value::Null).await;
    assert_eq!(shown["addon"]["status"], "CREATE_FAILED");
    let issue = &shown["addon"]["health"]["issues"][0];
    assert_eq!(issue["code"], "AdmissionRequestDenied");
    assert_eq!(issue["message"], "a webhook denies it");
    lab.settle(false).await;
    let shown = lab.get("GET", ADDON, Value::Null).await;
    assert_eq!(shown["addon"]["status"], "ACTIVE");
    assert_eq!(shown["addon"]["health"]["issues"], json!([]));
}

#[tokio::test]
async fn a_node_gets_addresses_as_pods_come() {
    let lab = with_group(1).await;
    let node = ids(&lab).remove(0);
    let prefixes = || {
        let view = lab.app.cell.db.view();
        managed::primary_interface(&view, &node)
            .unwrap()
            .prefixes
            .len()
    };
    assert_eq!(prefixes(), 1);
    let mut observed = Observed::clone(&lab.app.cell.observed.borrow());
    for cluster in observed.clusters.values_mut() {
        for seen in cluster.nodes.values_mut() {
            seen.pods = 12;
        }
    }
    lab.observe(observed);
    lab.pass().await;
    assert_eq!(prefixes(), 2);
    lab.pass().await;
    assert_eq!(
        prefixes(),
        2,
        "there is room for all that the type may have"
    );
}

/// Nodes that are all empty, or not, and pods that wait.
fn see(lab: &Lab, idle: bool, waiting: &[WaitingPods]) {
    let mut observed = Observed::clone(&lab.app.cell.observed.borrow());
    for cluster in observed.clusters.values_mut() {
        cluster.waiting = waiting.to_vec();
        for node in cluster.nodes.values_mut() {
            node.idle = idle;
        }
    }
    lab.observe(observed);
}

fn pods(count: u32, cpu_millis: u64) -> WaitingPods {
    WaitingPods {
        cpu_millis,
        memory_bytes: 1 << 20,
        node_selector: Default::default(),
        tolerations: Vec::new(),
        pods: count,
    }
}

#[tokio::test]
async fn a_group_follows_its_pods_within_its_limits() {
    let lab = Lab::extended().await;
    lab.active().await;
    let mut made = group(&lab, 1);
    made["scalingConfig"]["minSize"] = json!(1);
    made["scalingConfig"]["maxSize"] = json!(3);
    made["tags"] = json!({"k8s.io/cluster-autoscaler/enabled": "true"});
    lab.get("POST", GROUPS, made).await;
    lab.settle(false).await;
    assert!(lab.snapshot().control_planes[&control_plane("prod")].scales);
    let desired = async || {
        let shown = lab.get("GET", GROUP, Value::Null).await;
        shown["nodegroup"]["scalingConfig"]["desiredSize"].clone()
    };
    // Two fit on a node of two processors; what is larger than any node helps no group.
    let many = [pods(3, 1000), pods(5, 4000)];
    see(&lab, false, &many);
    lab.pass().await;
    assert_eq!(
        desired().await,
        1,
        "the scheduler looks at a new node first"
    );
    lab.pass_after(20).await;
    assert_eq!(desired().await, 3);
    lab.pass_after(1).await;
    assert_eq!(desired().await, 3, "they are on their way");
    see(&lab, false, &[pods(100, 1000)]);
    lab.pass_after(1).await;
    assert_eq!(desired().await, 3, "the limit");
    lab.settle(false).await;
    assert_eq!(running(&lab).len(), 3);
    // A node that is empty and does not help.
    see(&lab, true, &[pods(1, 1000)]);
    lab.pass().await;
    lab.pass_after(478).await;
    assert_eq!(desired().await, 3, "there are pods that they are for");
    see(&lab, true, &[]);
    lab.pass_after(200).await;
    assert_eq!(desired().await, 1, "never below the least");
    lab.settle(true).await;
    assert_eq!(running(&lab).len(), 1);
}

#[tokio::test]
async fn a_group_without_the_tag_keeps_its_size() {
    let lab = with_group(1).await;
    assert!(!lab.snapshot().control_planes[&control_plane("prod")].scales);
    see(&lab, false, &[pods(9, 1000)]);
    lab.pass().await;
    assert_eq!(running(&lab).len(), 1);
}
