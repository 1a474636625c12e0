//! The nodes of a group: what they are launched as.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_compute::managed::{self, NewNode};
use lath_ec2_records::{Instance, Subnet};
use lath_feed::ClusterNode;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::record::{Cluster, Node, NodeGroup, control_plane};
use crate::shape::{Taint, TaintEffect};
use crate::{roles, syntax};

/// The label by which EKS tells groups apart.
const GROUP_LABEL: &str = "eks.amazonaws.com/nodegroup";

/// Labels of a node: the group's, and what EKS and Kubernetes say of it.
pub(crate) fn labels(
    cell: &Cell,
    group: &NodeGroup,
    zone: &str,
    instance_type: &str,
) -> BTreeMap<String, String> {
    let own = [
        (GROUP_LABEL, syntax::label_value_of(&group.name)),
        ("eks.amazonaws.com/nodegroup-image", &group.release_version),
        (
            "eks.amazonaws.com/capacityType",
            group.capacity_type.as_str(),
        ),
        ("topology.kubernetes.io/region", &cell.region),
        ("topology.kubernetes.io/zone", zone),
        ("node.kubernetes.io/instance-type", instance_type),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    group.labels.clone().into_iter().chain(own).collect()
}

/// Taints as a kubelet takes them: `KEY=VALUE:EFFECT`.
pub(crate) fn taints(taints: &[Taint]) -> Vec<String> {
    let text = |taint: &Taint| {
        let effect = match taint.effect? {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::NoExecute => "NoExecute",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        };
        let value = taint.value.as_deref().unwrap_or_default();
        Some(format!("{}={value}:{effect}", taint.key.as_deref()?))
    };
    taints.iter().filter_map(text).collect()
}

/// Launches a node of a group, in a subnet of it.
///
/// # Errors
/// EC2's.
pub(crate) fn launch(
    cell: &Cell,
    tx: &mut Tx,
    cluster: &Cluster,
    group: &NodeGroup,
    subnet: &Subnet,
) -> Result<Arc<Instance>, ApiError> {
    let instance_type = group.instance_types.first().map_or("", String::as_str);
    let role = roles::find(cell, tx.view(), &group.node_role);
    let role = role.map_or_else(|| group.node_role.clone(), |role| role.name.clone());
    let mut groups = vec![cluster.cluster_group.clone()];
    groups.extend(group.remote_group.clone());
    let remote = group.remote_access.as_ref();
    let key = remote.and_then(|it| managed::key_pair(tx.view(), it.ec2_ssh_key.as_deref()?));
    let new = NewNode {
        cluster: ClusterNode {
            cluster: control_plane(&cluster.name),
            node_group: group.name.clone(),
            labels: labels(cell, group, &subnet.availability_zone, instance_type),
            taints: taints(&group.taints),
            max_pods: managed::max_pods(instance_type),
            draining: false,
            forced: false,
        },
        instance_type: instance_type.to_owned(),
        subnet: subnet.id.clone(),
        groups,
        role,
        profile: group.auto_scaling_group(),
        disk_size: group.disk_size,
        key,
        tags: tags(group),
        template: group.template.clone(),
    };
    let instance = managed::launch_node(tx, cell, new)?;
    tx.put(Node {
        instance: instance.id.clone(),
        cluster: group.cluster.clone(),
        group: group.name.clone(),
        generation: group.generation,
        launched_at: tx.now(),
        draining_since: None,
        forced: false,
    });
    Ok(instance)
}

fn tags(group: &NodeGroup) -> BTreeMap<String, String> {
    let (cluster, name) = (&group.cluster, &group.name);
    let of_template = group.template.iter().flat_map(|it| {
        let version = it.version.to_string();
        [
            ("aws:ec2launchtemplate:id".to_owned(), it.id.clone()),
            ("aws:ec2launchtemplate:version".to_owned(), version),
        ]
    });
    let own = [
        ("eks:cluster-name".to_owned(), cluster.clone()),
        ("eks:nodegroup-name".to_owned(), name.clone()),
        ("aws:eks:cluster-name".to_owned(), cluster.clone()),
        (
            "aws:autoscaling:groupName".to_owned(),
            group.auto_scaling_group(),
        ),
        (
            format!("kubernetes.io/cluster/{cluster}"),
            "owned".to_owned(),
        ),
        (
            "k8s.io/cluster-autoscaler/enabled".to_owned(),
            "true".to_owned(),
        ),
        (
            format!("k8s.io/cluster-autoscaler/{cluster}"),
            "owned".to_owned(),
        ),
    ];
    own.into_iter().chain(of_template).collect()
}

/// What a node should be to its cluster, where that differs from what it is.
pub(crate) fn wanted(
    cell: &Cell,
    group: &NodeGroup,
    instance: &Instance,
    node: &Node,
) -> Option<ClusterNode> {
    let now = instance.cluster.as_ref()?;
    let zone = &instance.availability_zone;
    let wanted = ClusterNode {
        labels: labels(cell, group, zone, &instance.instance_type),
        taints: taints(&group.taints),
        draining: node.draining_since.is_some(),
        forced: node.forced,
        ..now.clone()
    };
    (wanted != *now).then_some(wanted)
}

/// Where the next node of a group goes: into the zone with the fewest of its nodes that has addresses for it and its
/// pods.
pub(crate) fn place(
    view: &View,
    group: &NodeGroup,
    nodes: &[Arc<Instance>],
) -> Option<Arc<Subnet>> {
    let subnets = group.subnets.iter();
    let subnets = subnets.filter_map(|id| view.get::<Subnet>(id.as_str()));
    let in_zone = |zone: &str| {
        nodes
            .iter()
            .filter(|it| it.availability_zone == zone)
            .count()
    };
    let in_subnet = |id| nodes.iter().filter(|it| it.subnet == id).count();
    subnets
        .filter(|it| managed::free_addresses(view, it) > 16)
        .min_by_key(|it| (in_zone(&it.availability_zone), in_subnet(it.id.clone())))
}
