//! What other services make in the account's VPCs.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::{Cell, derive_all};
use lath_ec2::managed::*;
use lath_ec2::records::{Instance, InstanceState, NetworkInterface, Subnet, Vpc};
use lath_feed::{ClusterNode, InstanceKind, Snapshot};
use lath_model::id::SecurityGroupId;
use lath_model::{ManagedId, ManagedKind, WorkloadId};
use lath_store::{Record, Tx};
use lath_wire::ApiError;
use serde_json::json;

const VPC: &str = "vpc-0000000a";
const SUBNET: &str = "subnet-0000000a";

/// A region with a VPC and a subnet.
async fn world() -> Cell {
    let cell = Cell::for_test().0;
    let made = change(&cell, |tx| {
        let now = tx.now();
        put::<Vpc>(
            tx,
            json!({
                "id": VPC, "owner": "123456789012",
                "cidrs": [{"association": "vpc-cidr-assoc-0000000a", "cidr": "10.0.0.0/16"}],
                "is_default": true, "dhcp_options": "dopt-0000000a", "network_acl": "acl-0000000a",
                "dns_support": true, "dns_hostnames": false, "available": true, "created_at": now,
            }),
        );
        put::<Subnet>(
            tx,
            json!({
                "id": SUBNET, "vpc": VPC, "owner": "123456789012", "cidr": "10.0.0.0/24",
                "availability_zone": "us-east-1b", "default_for_az": false,
                "map_public_ip_on_launch": false, "acl_association": "aclassoc-0000000a",
                "created_after": 0, "available": true,
            }),
        );
    });
    made.await;
    cell
}

fn put<R: Record>(tx: &mut Tx, record: serde_json::Value) {
    tx.put::<R>(serde_json::from_value(record).expect("the record is one of its kind"));
}

fn control_plane() -> ManagedId {
    ManagedId::new(ManagedKind::ControlPlane, "prod").expect("a cluster may have this name")
}

async fn change<T: Send>(cell: &Cell, f: impl FnOnce(&mut Tx) -> T + Send) -> T {
    let written = cell.db.write(|tx| Ok::<_, ApiError>(f(tx)));
    written.await.expect("the state is written")
}

fn interface(group: &lath_model::id::SecurityGroupId) -> ManagedInterface {
    ManagedInterface {
        workload: control_plane(),
        device: 0,
        subnet: SUBNET.parse().expect("an id"),
        groups: vec![group.clone()],
        description: "Amazon EKS prod".into(),
        tags: BTreeMap::new(),
    }
}

fn group() -> NewGroup {
    NewGroup {
        vpc: VPC.parse().expect("an id"),
        name: "eks-cluster-sg-prod-1".into(),
        description: "of a cluster".into(),
        tags: BTreeMap::from([("kubernetes.io/cluster/prod".into(), "owned".into())]),
    }
}

#[tokio::test]
async fn a_workloads_interfaces_are_its_own_in_the_feed_and_hold_their_group() {
    let cell = &world().await;
    let made = change(cell, |tx| {
        let group = cluster_group(tx, cell, group())?;
        let interface = make_interface(tx, cell, interface(&group.id))?;
        delete_group(tx, &group.id);
        Ok::<_, ApiError>((group, interface))
    });
    let (group, interface) = made.await.unwrap();
    let view = cell.db.view();
    assert!(
        view.contains("ec2.security-group", group.id.as_str()),
        "it is in use"
    );
    let snapshot: Snapshot = derive_all(cell, &lath_ec2::CONTRIBUTIONS, &view);
    let feed = &snapshot.vpcs[&VPC.parse().unwrap()].interfaces[&interface.id];
    assert_eq!(feed.device_at(&WorkloadId::from(control_plane())), Some(0));
    change(cell, |tx| {
        release_interfaces(tx, &control_plane());
        delete_group(tx, &group.id);
    })
    .await;
    let view = cell.db.view();
    assert!(
        view.get::<NetworkInterface>(interface.id.as_str())
            .is_none()
    );
    assert!(!view.contains("ec2.security-group", group.id.as_str()));
}

#[tokio::test]
async fn a_node_has_a_prefix_and_more_while_its_type_and_subnet_have_room() {
    let cell = &world().await;
    let new = NewNode {
        cluster: ClusterNode {
            cluster: control_plane(),
            node_group: "workers".into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            max_pods: max_pods("t3.medium"),
            draining: false,
            forced: false,
        },
        instance_type: "t3.medium".into(),
        subnet: SUBNET.parse().unwrap(),
        groups: Vec::new(),
        role: "node".into(),
        profile: "eks-1".into(),
        disk_size: 20,
        key: None,
        template: None,
        tags: BTreeMap::new(),
    };
    let node = change(cell, |tx| launch_node(tx, cell, new)).await.unwrap();
    let view = cell.db.view();
    let prefixes =
        |view: &lath_store::View| primary_interface(view, &node.id).unwrap().prefixes.len();
    assert_eq!(prefixes(&view), 1);
    let snapshot: Snapshot = derive_all(cell, &lath_ec2::CONTRIBUTIONS, &view);
    let feed = Arc::clone(&snapshot.instances[&node.id]);
    assert_eq!(feed.kind, InstanceKind::Node);
    assert_eq!(feed.cluster.as_ref().unwrap().node_group, "workers");
    branches_follow_their_node(cell, &node).await;
    // A t3.medium has six addresses: its own, and five prefixes.
    for want in [true, true, true, true, false] {
        assert_eq!(change(cell, |tx| add_prefix(tx, &node.id)).await, want);
    }
    change(cell, |tx| {
        update_node(tx, &node.id, |it| it.draining = true);
        terminate_node(tx, &node.id);
    })
    .await;
    let now = cell.db.view().get::<Instance>(node.id.as_str()).unwrap();
    assert_eq!(now.state, InstanceState::ShuttingDown);
    assert!(now.cluster.as_ref().unwrap().draining);
}

/// A pod's interface is behind its node's in the feed, has groups of its own that cannot be deleted, and only its owner may
/// change it.
async fn branches_follow_their_node(cell: &Cell, node: &Instance) {
    let new = |pod: &str, groups: &[SecurityGroupId]| NewBranch {
        cluster: control_plane(),
        pod: pod.into(),
        instance: node.id.clone(),
        groups: groups.to_vec(),
        tags: BTreeMap::new(),
    };
    let made = change(cell, |tx| {
        let group = cluster_group(tx, cell, group())?.id.clone();
        let branch = make_branch(tx, cell, new("uid-1", std::slice::from_ref(&group)))?;
        let many = vec![group.clone(); MOST_GROUPS + 1];
        assert!(make_branch(tx, cell, new("uid-2", &many)).is_err());
        delete_group(tx, &group);
        Ok::<_, ApiError>((group, branch))
    });
    let (group, branch) = made.await.expect("the group and the branch are made");
    let view = cell.db.view();
    assert!(
        view.contains("ec2.security-group", group.as_str()),
        "in use"
    );
    let vpc = VPC.parse().expect("an id");
    let snapshot: Snapshot = derive_all(cell, &lath_ec2::CONTRIBUTIONS, &view);
    let feed = &snapshot.vpcs[&vpc];
    assert!(!feed.interfaces.contains_key(&branch.id));
    let trunk = primary_interface(&view, &node.id).expect("a node has an interface");
    let [behind] = &feed.interfaces[&trunk.id].branches[..] else {
        panic!("{feed:?}");
    };
    assert_eq!((&behind.id, &*behind.pod), (&branch.id, "uid-1"));
    assert_eq!(behind.address, branch.primary_ip());
    let known = branches_of(&view, &vpc, &control_plane());
    assert_eq!(known.keys().collect::<Vec<_>>(), ["uid-1"]);
    assert!(is_behind(&view, &branch, &node.id));
    change(cell, |tx| {
        release_branch(tx, &branch);
        delete_group(tx, &group);
    })
    .await;
    let view = cell.db.view();
    assert!(branches_of(&view, &vpc, &control_plane()).is_empty());
    assert!(!view.contains("ec2.security-group", group.as_str()));
}

#[test]
fn pods_of_a_node_are_as_many_as_aws_says() {
    for (name, want) in [("t3.medium", 17), ("m5.large", 29), ("m5.24xlarge", 110)] {
        assert_eq!(max_pods(name), want, "{name}");
    }
    assert_eq!(node_type("m6g.large").unwrap().architecture, "arm64");
    assert_eq!(node_type("x1.nothing"), None);
}
