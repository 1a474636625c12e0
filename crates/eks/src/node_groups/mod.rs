//! Node groups.

pub(crate) mod create;
pub(crate) mod nodes;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod update;

use std::sync::Arc;

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::record::{NodeGroup, UpdateOf, key};
use crate::resource_types::{CLUSTER, NODEGROUP};
use crate::shape::*;
use crate::{Eks, access, fault, page, updates};

operations! {
    for Eks as "eks";
    read ListNodegroups: get "/clusters/{name}/node-groups" 200 -> ListNodegroupsResponse = list, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    read DescribeNodegroup: get "/clusters/{name}/node-groups/{nodegroupName}" 200 -> OneNodegroup = describe, checked, awaited
        => on(&NODEGROUP, |op, _| key(&op.cluster_name, &op.nodegroup_name));
    change DeleteNodegroup: delete "/clusters/{name}/node-groups/{nodegroupName}" 200 -> OneNodegroup = delete, checked
        => on(&NODEGROUP, |op, _| key(&op.cluster_name, &op.nodegroup_name));
}

/// A node group, in whatever state.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(view: &View, cluster: &str, name: &str) -> Result<Arc<NodeGroup>, ApiError> {
    fault::check_cluster(view, cluster)?;
    let group = view.get::<NodeGroup>(&key(cluster, name));
    group.ok_or_else(|| fault::no_group(cluster, name))
}

pub(crate) fn arn(cell: &Cell, it: &NodeGroup) -> String {
    let resource = format!("nodegroup/{}/{}/{}", it.cluster, it.name, it.uuid);
    cell.arn("eks", resource)
}

fn list(_app: &Eks, view: &View, op: &ListNodegroups) -> Result<ListNodegroupsResponse, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    let prefix = format!("{}/", op.cluster_name);
    let names = view.range::<NodeGroup>(&prefix).map(|it| it.name.clone());
    let page = page(
        names,
        String::clone,
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListNodegroupsResponse {
        nodegroups: page.items,
        next_token: page.next_token,
    })
}

fn describe(app: &Eks, view: &View, op: &DescribeNodegroup) -> Result<OneNodegroup, ApiError> {
    let group = find(view, &op.cluster_name, &op.nodegroup_name)?;
    Ok(one(app, &group))
}

fn delete(app: &Eks, tx: &mut Tx, op: DeleteNodegroup) -> Result<OneNodegroup, ApiError> {
    let group = find(tx.view(), &op.cluster_name, &op.nodegroup_name)?;
    if group.status == NodegroupStatus::Deleting {
        return Ok(one(app, &group));
    }
    let mut next = NodeGroup::clone(&group);
    next.enter(NodegroupStatus::Deleting, tx.now());
    next.issues.clear();
    next.rollout = None;
    let of = UpdateOf::NodeGroup(group.name.clone());
    updates::end(tx, &group.cluster, &of, UpdateStatus::Cancelled, None);
    Ok(one(app, &tx.put(next)))
}

/// Forgets a group whose instances are gone.
pub(crate) fn forget(tx: &mut Tx, group: &NodeGroup) {
    tx.delete::<NodeGroup>(&group.key());
    if let Some(remote) = &group.remote_group {
        lath_ec2_compute::managed::delete_group(tx, remote);
    }
    access::withdraw_nodes(tx, &group.cluster, &group.node_role);
}

/// The type that a launch template says is the template's to show.
fn types_of_request(it: &NodeGroup) -> Vec<String> {
    let template = it.template.as_ref();
    match template.and_then(lath_ec2_compute::managed::NodeTemplate::instance_type) {
        Some(_) => Vec::new(),
        None => it.instance_types.clone(),
    }
}

fn one(app: &Eks, it: &NodeGroup) -> OneNodegroup {
    let issue = |it: &crate::record::Issue| NodegroupIssue {
        code: it.code.clone(),
        message: it.message.clone(),
        resource_ids: it.resource_ids.clone(),
    };
    OneNodegroup {
        nodegroup: Some(NodegroupItem {
            nodegroup_name: Some(it.name.clone()),
            nodegroup_arn: Some(arn(&app.cell, it)),
            cluster_name: Some(it.cluster.clone()),
            version: Some(it.version.clone()),
            release_version: Some(it.release_version.clone()),
            created_at: Some(it.created_at),
            modified_at: Some(it.modified_at),
            status: Some(it.status),
            capacity_type: Some(it.capacity_type),
            scaling_config: Some(NodegroupScalingConfig {
                min_size: Some(it.min),
                max_size: Some(it.max),
                desired_size: Some(it.desired),
            }),
            instance_types: types_of_request(it),
            subnets: it.subnets.iter().map(ToString::to_string).collect(),
            remote_access: it.remote_access.clone(),
            ami_type: Some(it.ami_type.clone()),
            node_role: Some(it.node_role.clone()),
            labels: it.labels.clone(),
            taints: it.taints.clone(),
            resources: Some(NodegroupResources {
                auto_scaling_groups: vec![AutoScalingGroup {
                    name: Some(it.auto_scaling_group()),
                }],
                remote_access_security_group: it.remote_group.as_ref().map(ToString::to_string),
            }),
            disk_size: it.template.is_none().then_some(it.disk_size),
            health: Some(NodegroupHealth {
                issues: it.issues.iter().map(issue).collect(),
            }),
            update_config: Some(it.update.clone()),
            node_repair_config: it.repair.clone(),
            launch_template: it
                .template
                .as_ref()
                .map(|template| LaunchTemplateSpecification {
                    name: Some(template.name.clone()),
                    version: Some(template.version.to_string()),
                    id: Some(template.id.clone()),
                }),
            tags: it.tags.clone(),
        }),
    }
}
