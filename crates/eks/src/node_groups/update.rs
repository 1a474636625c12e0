//! Changes of a node group.

use lath_authz::Access;
use lath_ec2_compute::managed::LAUNCH_TEMPLATE_TYPE;
use lath_service::{Refuses, operations};
use lath_store::Tx;
use lath_wire::ApiError;

use super::create::{check_labels, check_size, release, scaling};
use super::{find, template};
use crate::Eks;
use crate::check;
use crate::clusters;
use crate::clusters::create::check_version;
use crate::fault::{self, About as _};
use crate::record::{NodeGroup, Rollout, UpdateOf, key};
use crate::resource_types::NODEGROUP;
use crate::shape::*;
use crate::updates::{self, param};

operations! {
    for Eks as "eks";
    change UpdateNodegroupConfig: post "/clusters/{name}/node-groups/{nodegroupName}/update-config" 200
        -> OneUpdate = configure, checked
        => on(&NODEGROUP, |op, _| key(&op.cluster_name, &op.nodegroup_name))
        => refusing ["" UpdateNodegroupConfig];
    change UpdateNodegroupVersion: post "/clusters/{name}/node-groups/{nodegroupName}/update-version" 200
        -> OneUpdate = upgrade, checked
        => on(&NODEGROUP, |op, _| key(&op.cluster_name, &op.nodegroup_name)).by(launches);
}

impl Refuses for UpdateNodegroupConfig {
    fn names() -> Vec<String> {
        vec![
            "warmPoolConfig".to_owned(),
            "nodeRepairConfig.enabled: true".to_owned(),
        ]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let repairs = self.node_repair_config.as_ref();
        if self.warm_pool_config.is_some() {
            return Err(fault::unsupported("warm pools"));
        }
        if repairs.and_then(|it| it.enabled) == Some(true) {
            return Err(fault::unsupported("node auto repair"));
        }
        Ok(())
    }
}

/// See [`super::create`].
fn launches(access: Access<UpdateNodegroupVersion>) -> Access<UpdateNodegroupVersion> {
    access.also("ec2:RunInstances", &LAUNCH_TEMPLATE_TYPE, |op, at| {
        template::id(at, op.launch_template.as_ref())
    })
}

/// A group takes one change at a time.
fn check_idle(tx: &Tx, group: &NodeGroup) -> Result<(), ApiError> {
    let (cluster, name) = (&group.cluster, &group.name);
    let of = UpdateOf::NodeGroup(name.clone());
    if let Some(update) = updates::open(tx.view(), cluster, &of).first() {
        let text = format!(
            "Nodegroup {name} currently has update {} in progress",
            update.id
        );
        return Err(fault::in_use(text).about_cluster(cluster).about_group(name));
    }
    if !matches!(
        group.status,
        NodegroupStatus::Active | NodegroupStatus::Degraded
    ) {
        let text = format!(
            "Nodegroup cannot be updated as it is currently not in Active State: {}",
            group.status.as_str()
        );
        return Err(fault::invalid_request(text)
            .about_cluster(cluster)
            .about_group(name));
    }
    Ok(())
}

fn configure(app: &Eks, tx: &mut Tx, mut op: UpdateNodegroupConfig) -> Result<OneUpdate, ApiError> {
    let client_token = op.client_request_token.take();
    let group = find(tx.view(), &op.cluster_name, &op.nodegroup_name)?;
    let (id, token) = (updates::new_id(), client_token.as_deref());
    let known = updates::claim(
        tx,
        "UpdateNodegroupConfig",
        token,
        &op,
        &op.cluster_name,
        &id,
    )?;
    if let Some(known) = known {
        return Ok(known);
    }
    op.refuse()?;
    check_idle(tx, &group)?;
    let mut next = NodeGroup::clone(&group);
    let params = apply(&mut next, &op)?;
    check_counts(app, &next)?;
    if params.is_empty() {
        return Err(fault::invalid_parameter(
            "No changes were requested: specify labels, taints, scalingConfig or updateConfig.",
        ));
    }
    Ok(begin(tx, id, next, UpdateType::Config, params))
}

/// What a change adds counts together with what is there.
fn check_counts(app: &Eks, next: &NodeGroup) -> Result<(), ApiError> {
    check_size(app, next.max)?;
    if next.labels.len() > check::MOST_LABELS {
        return Err(fault::invalid_parameter(check::too_many_labels()));
    }
    if next.taints.len() > check::MOST_TAINTS {
        return Err(fault::invalid_parameter(check::too_many_taints()));
    }
    Ok(())
}

fn begin(
    tx: &mut Tx,
    id: String,
    mut next: NodeGroup,
    kind: UpdateType,
    params: Vec<UpdateParam>,
) -> OneUpdate {
    let now = tx.now();
    next.modified_at = now;
    next.enter(NodegroupStatus::Updating, now);
    let of = UpdateOf::NodeGroup(next.name.clone());
    let update = updates::begin(tx, id, &next.cluster, of, kind, params);
    tx.put(next);
    updates::one(&update)
}

fn apply(next: &mut NodeGroup, op: &UpdateNodegroupConfig) -> Result<Vec<UpdateParam>, ApiError> {
    let mut params = Vec::new();
    if let Some(payload) = &op.labels {
        check_labels(&payload.add_or_update_labels)?;
        next.labels
            .retain(|key, _| !payload.remove_labels.contains(key));
        next.labels.extend(payload.add_or_update_labels.clone());
        if !payload.add_or_update_labels.is_empty() {
            params.push(param("LabelsToAdd", json(&payload.add_or_update_labels)));
        }
        if !payload.remove_labels.is_empty() {
            params.push(param("LabelsToRemove", json(&payload.remove_labels)));
        }
    }
    if let Some(payload) = &op.taints {
        apply_taints(next, payload);
        if !payload.add_or_update_taints.is_empty() {
            params.push(param("TaintsToAdd", json(&payload.add_or_update_taints)));
        }
        if !payload.remove_taints.is_empty() {
            params.push(param("TaintsToRemove", json(&payload.remove_taints)));
        }
    }
    if let Some(config) = &op.scaling_config {
        let now = (next.min, next.max, next.desired);
        (next.min, next.max, next.desired) = scaling(now, Some(config))?;
        params.push(param("MinSize", next.min.to_string()));
        params.push(param("MaxSize", next.max.to_string()));
        params.push(param("DesiredSize", next.desired.to_string()));
    }
    if let Some(config) = &op.update_config {
        next.update = config.clone();
        let shown = |it: Option<i32>| it.map(|it| it.to_string());
        let both = [
            ("MaxUnavailable", shown(config.max_unavailable)),
            (
                "MaxUnavailablePercentage",
                shown(config.max_unavailable_percentage),
            ),
        ];
        params.extend(
            both.into_iter()
                .filter_map(|(kind, value)| Some(param(kind, value?))),
        );
    }
    if let Some(config) = &op.node_repair_config {
        next.repair = Some(config.clone());
        params.push(param("NodeRepairEnabled", "false"));
    }
    Ok(params)
}

/// A taint is known by its key and effect.
fn apply_taints(next: &mut NodeGroup, payload: &UpdateTaintsPayload) {
    let same = |a: &Taint, b: &Taint| a.key == b.key && a.effect == b.effect;
    let gone = |taint: &Taint| {
        let removed = payload.remove_taints.iter();
        removed
            .chain(&payload.add_or_update_taints)
            .any(|it| same(it, taint))
    };
    next.taints.retain(|taint| !gone(taint));
    next.taints
        .extend(payload.add_or_update_taints.iter().cloned());
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Replaces every node, which then run what is installed now.
fn upgrade(app: &Eks, tx: &mut Tx, mut op: UpdateNodegroupVersion) -> Result<OneUpdate, ApiError> {
    let client_token = op.client_request_token.take();
    let group = find(tx.view(), &op.cluster_name, &op.nodegroup_name)?;
    let (id, token) = (updates::new_id(), client_token.as_deref());
    let known = updates::claim(
        tx,
        "UpdateNodegroupVersion",
        token,
        &op,
        &op.cluster_name,
        &id,
    )?;
    if let Some(known) = known {
        return Ok(known);
    }
    check_idle(tx, &group)?;
    check_version(op.version.as_deref())?;
    let cluster = clusters::find(tx.view(), &op.cluster_name)?;
    let template = template::next(app, tx.view(), &cluster, &group, &op)?;
    let (version, release) = release(app, op.release_version.as_deref())?;
    if let Some(wanted) = op.version.filter(|it| *it != version) {
        return Err(fault::invalid_parameter(format!(
            "Requested Nodegroup version {wanted} is not available: the version that is installed here is {version}"
        )));
    }
    let mut next = NodeGroup::clone(&group);
    let mut params = Vec::new();
    if group.ami_type != template::CUSTOM {
        next.version.clone_from(&version);
        next.release_version.clone_from(&release);
        params.extend([param("Version", version), param("ReleaseVersion", release)]);
    }
    if let (Some(_), Some(template)) = (&op.launch_template, &template) {
        params.push(param("LaunchTemplateName", template.name.clone()));
        params.push(param("LaunchTemplateVersion", template.version.to_string()));
        if let Some(instance_type) = template.instance_type() {
            next.instance_types = vec![instance_type.to_owned()];
        }
        if let Some(image) = template.image() {
            next.release_version = image.to_owned();
        }
    }
    next.template = template;
    next.generation += 1;
    next.rollout = Some(Rollout {
        update: id.clone(),
        force: op.force == Some(true),
        stepped_at: None,
    });
    Ok(begin(tx, id, next, UpdateType::Version, params))
}
