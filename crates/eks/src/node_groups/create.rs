//! CreateNodegroup.

use std::collections::{BTreeMap, BTreeSet};

use lath_authz::{Access, Scope};
use lath_ec2_compute::managed::{self, LAUNCH_TEMPLATE_TYPE, NewGroup, NodeTemplate};
use lath_ec2_records::SecurityGroup;
use lath_model::id::{SecurityGroupId, SubnetId};
use lath_service::{Quota, Refuses, operations};
use lath_store::Tx;
use lath_wire::ApiError;

use super::{one, template};
use crate::clusters::create::check_version;
use crate::fault::{self, About as _};
use crate::record::{Cluster, NodeGroup, key};
use crate::resource_types::{CLUSTER, pairs};
use crate::roles::{self, Passing as _};
use crate::shape::*;
use crate::{Eks, access, clusters, token};

/// How many node groups a cluster may have, and how many nodes each.
const GROUPS: Quota<&str> = Quota::new("Node group", "L-6D54EA21", 30);
const NODES: Quota<&str> = Quota::new("Node", "L-BD136A63", 450);
/// GiB of a root volume, unless a request says otherwise.
const DISK_SIZE: i32 = 20;
const INSTANCE_TYPE: &str = "t3.medium";
/// The day of the image of nodes, as EKS's releases of images have one.
const IMAGE_DAY: &str = "20251105";

operations! {
    for Eks as "eks";
    change CreateNodegroup: post "/clusters/{name}/node-groups" 200 -> OneNodegroup = create, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
            .tagged(|op, _| pairs(&op.tags))
            .passing(|op| vec![op.node_role.clone()], ec2)
            .by(launches)
        => refusing ["" CreateNodegroup];
}

fn ec2(at: &Scope<'_>) -> String {
    at.partition().ec2_principal().to_owned()
}

/// EKS launches from a template in the name of the caller, who could otherwise read it by way of a node.
fn launches(access: Access<CreateNodegroup>) -> Access<CreateNodegroup> {
    access.also("ec2:RunInstances", &LAUNCH_TEMPLATE_TYPE, |op, at| {
        template::id(at, op.launch_template.as_ref())
    })
}

impl Refuses for CreateNodegroup {
    fn names() -> Vec<String> {
        [
            "warmPoolConfig",
            "nodeRepairConfig.enabled: true",
            "capacityType: CAPACITY_BLOCK",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let repairs = self.node_repair_config.as_ref();
        let refused = [
            (self.warm_pool_config.is_some(), "warm pools"),
            (
                repairs.and_then(|it| it.enabled) == Some(true),
                "node auto repair",
            ),
            (
                self.capacity_type == Some(CapacityType::CapacityBlock),
                "the capacity type CAPACITY_BLOCK",
            ),
        ];
        let first = refused.into_iter().find(|(is_set, _)| *is_set);
        first.map_or(Ok(()), |(_, what)| Err(fault::unsupported(what)))
    }
}

fn create(app: &Eks, tx: &mut Tx, mut op: CreateNodegroup) -> Result<OneNodegroup, ApiError> {
    let client_token = op.client_request_token.take();
    let cluster = clusters::find(tx.view(), &op.cluster_name)?;
    let id = key(&op.cluster_name, &op.nodegroup_name);
    let used = token::claim(tx, "CreateNodegroup", client_token.as_deref(), &op, &id)?;
    if let Some(known) = used.and_then(|id| tx.get::<NodeGroup>(&id)) {
        return Ok(one(app, &known));
    }
    check_place(tx, &cluster, &op)?;
    op.refuse()?;
    check_quotas(app, tx, &op)?;
    let (min, max, desired) = scaling((1, 2, 2), op.scaling_config.as_ref())?;
    check_size(app, max)?;
    check_version(op.version.as_deref())?;
    roles::of_nodes(&app.cell, tx.view(), &op.node_role)?;
    let subnets = subnets(tx, &cluster, &op.subnets)?;
    let given = op.launch_template.as_ref();
    let template = given.map(|it| template::find(tx.view(), it)).transpose()?;
    if let Some(template) = &template {
        template::check_request(&op, template)?;
    } else if op.ami_type.as_deref() == Some(template::CUSTOM) {
        return Err(fault::invalid_parameter(
            "Launch template details can't be null for Custom ami type node group",
        ));
    }
    let types = instance_types(&op, template.as_ref())?;
    let ami_type = match template.as_ref().and_then(NodeTemplate::image) {
        Some(_) => template::CUSTOM.to_owned(),
        None => ami_type(&op, &types)?,
    };
    if let Some(template) = &template {
        let first = types.first().map_or("", String::as_str);
        template::check(app, tx.view(), &cluster, template, first)?;
    }
    check_labels(&op.labels)?;
    let (version, release_version) = release(app, op.release_version.as_deref())?;
    let image = template.as_ref().and_then(NodeTemplate::image);
    let release_version = image.map_or(release_version, str::to_owned);
    let uuid = uuid::Uuid::new_v4().to_string();
    let remote_group = remote_group(app, tx, &cluster, &op, &uuid)?;
    let now = tx.now();
    let group = tx.put(NodeGroup {
        cluster: op.cluster_name,
        name: op.nodegroup_name,
        uuid,
        version,
        release_version,
        min,
        max,
        desired,
        subnets,
        instance_types: types,
        ami_type,
        capacity_type: op.capacity_type.unwrap_or(CapacityType::OnDemand),
        disk_size: op.disk_size.unwrap_or(DISK_SIZE),
        template,
        remote_access: op.remote_access,
        remote_group,
        node_role: op.node_role,
        labels: op.labels,
        taints: op.taints,
        update: op.update_config.unwrap_or_else(|| NodegroupUpdateConfig {
            max_unavailable: Some(1),
            ..Default::default()
        }),
        repair: op.node_repair_config,
        status: NodegroupStatus::Creating,
        status_since: now,
        issues: Vec::new(),
        generation: 1,
        rollout: None,
        tags: op.tags,
        created_at: now,
        modified_at: now,
    });
    access::grant_nodes(&app.cell, tx, &cluster, &group.node_role);
    Ok(one(app, &group))
}

fn check_place(tx: &Tx, cluster: &Cluster, op: &CreateNodegroup) -> Result<(), ApiError> {
    let (cluster_name, name) = (&op.cluster_name, &op.nodegroup_name);
    if tx.get::<NodeGroup>(&key(cluster_name, name)).is_some() {
        let text =
            format!("NodeGroup already exists with name {name} and cluster name {cluster_name}");
        return Err(fault::in_use(text)
            .about_cluster(cluster_name)
            .about_group(name));
    }
    if !cluster.is_active() && cluster.status != ClusterStatus::Updating {
        return Err(fault::not_active(cluster_name));
    }
    Ok(())
}

fn check_quotas(app: &Eks, tx: &Tx, op: &CreateNodegroup) -> Result<(), ApiError> {
    let prefix = format!("{}/", op.cluster_name);
    let count = tx.view().range::<NodeGroup>(&prefix).count() + 1;
    GROUPS.check(&app.cell, count, |it| {
        fault::too_many("Node groups per cluster", it.limit)
    })
}

/// Whether a group may grow so large.
///
/// # Errors
/// `ResourceLimitExceededException`.
pub(super) fn check_size(app: &Eks, max: i32) -> Result<(), ApiError> {
    NODES.check(&app.cell, usize::try_from(max).unwrap_or(0), |it| {
        fault::too_many("Nodes per node group", it.limit)
    })
}

/// The sizes after a request.
///
/// # Errors
/// `InvalidParameterException` when they contradict one another.
pub(super) fn scaling(
    (min, max, desired): (i32, i32, i32),
    given: Option<&NodegroupScalingConfig>,
) -> Result<(i32, i32, i32), ApiError> {
    let Some(given) = given else {
        return Ok((min, max, desired));
    };
    let min = given.min_size.unwrap_or(min);
    let max = given.max_size.unwrap_or(max);
    let desired = given.desired_size.unwrap_or(desired);
    if min > max {
        return Err(fault::invalid_parameter(format!(
            "Minimum capacity {min} can't be greater than maximum size {max}"
        )));
    }
    if min > desired {
        return Err(fault::invalid_parameter(format!(
            "Minimum capacity {min} can't be greater than desired size {desired}"
        )));
    }
    if desired > max {
        return Err(fault::invalid_parameter(format!(
            "desired capacity {desired} can't be greater than max size {max}"
        )));
    }
    Ok((min, max, desired))
}

fn subnets(tx: &Tx, cluster: &Cluster, ids: &[String]) -> Result<Vec<SubnetId>, ApiError> {
    if ids.is_empty() {
        return Err(fault::invalid_parameter("Subnets must not be empty."));
    }
    let subnets = clusters::subnets(tx.view(), ids)?;
    if let Some(other) = subnets.iter().find(|it| it.vpc != cluster.vpc) {
        return Err(fault::invalid_parameter(format!(
            "Subnet {} does not belong to the VPC of the cluster, {}.",
            other.id, cluster.vpc
        )));
    }
    Ok(subnets.iter().map(|it| it.id.clone()).collect())
}

fn instance_types(
    op: &CreateNodegroup,
    template: Option<&NodeTemplate>,
) -> Result<Vec<String>, ApiError> {
    let of_template = template.and_then(NodeTemplate::instance_type);
    let types = match op.instance_types.as_slice() {
        [] => vec![of_template.unwrap_or_else(|| default_type(op)).to_owned()],
        some if some.len() > 20 => {
            return Err(fault::invalid_parameter(
                "The maximum number of instance types is 20.",
            ));
        }
        some => some.to_vec(),
    };
    check_types(&types)?;
    Ok(types)
}

/// Whether nodes can be of these types.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn check_types(types: &[String]) -> Result<(), ApiError> {
    let shown = |name: &String| name.chars().take(64).collect::<String>();
    let unknown = types.iter().find(|it| managed::node_type(it).is_none());
    if let Some(name) = unknown {
        return Err(fault::invalid_parameter(format!(
            "The following supplied instance types do not exist: [{}]",
            shown(name)
        )));
    }
    let not_here = |name: &&String| managed::node_type(name).is_some_and(|it| !it.offered);
    if let Some(name) = types.iter().find(not_here) {
        return Err(fault::invalid_parameter(format!(
            "[{}] is not a valid instance type: Lath has no hardware for it",
            shown(name)
        )));
    }
    let architectures: BTreeSet<&str> = types
        .iter()
        .filter_map(|it| Some(managed::node_type(it)?.architecture))
        .collect();
    if architectures.len() > 1 {
        return Err(fault::invalid_parameter(
            "All instance types of a node group must have the same architecture.",
        ));
    }
    Ok(())
}

fn default_type(op: &CreateNodegroup) -> &'static str {
    let ami_type = op.ami_type.as_deref().unwrap_or_default();
    if ami_type.contains("_ARM_64") {
        "t4g.medium"
    } else {
        INSTANCE_TYPE
    }
}

/// The images of AWS's that a copy of the host may stand for.
const AMI_TYPES: [(&str, &str); 4] = [
    ("AL2023_x86_64_STANDARD", "x86_64"),
    ("AL2023_ARM_64_STANDARD", "arm64"),
    ("AL2_x86_64", "x86_64"),
    ("AL2_ARM_64", "arm64"),
];

fn ami_type(op: &CreateNodegroup, types: &[String]) -> Result<String, ApiError> {
    let first = types.first().and_then(|it| managed::node_type(it));
    let architecture = first.map_or("x86_64", |it| it.architecture);
    let Some(given) = op.ami_type.as_deref() else {
        let usual = AMI_TYPES.iter().find(|(_, it)| *it == architecture);
        return Ok(usual
            .map_or("AL2023_x86_64_STANDARD", |(name, _)| name)
            .to_owned());
    };
    let shown: String = given.chars().take(64).collect();
    match AMI_TYPES.iter().find(|(name, _)| *name == given) {
        Some((_, of)) if *of == architecture => Ok(given.to_owned()),
        Some(_) => Err(fault::invalid_parameter(format!(
            "[{}] is not a valid instance type for requested amiType {shown}",
            types.join(", ")
        ))),
        None => Err(fault::unsupported(&format!(
            "the amiType {shown}: nodes are copies of the host"
        ))),
    }
}

/// Labels of Kubernetes' own are not the user's: a kubelet may not even set them.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ApiError> {
    const RESERVED: [&str; 3] = ["kubernetes.io/", "k8s.io/", "eks.amazonaws.com/"];
    let is_reserved = |key: &&String| RESERVED.iter().any(|it| key.contains(it));
    if labels.keys().any(|key| is_reserved(&key)) {
        return Err(fault::invalid_parameter(format!(
            "Label cannot contain reserved prefixes [{}]",
            RESERVED.join(", ")
        )));
    }
    Ok(())
}

/// The minor version of nodes, and the release of their image: there is one.
///
/// # Errors
/// `InvalidParameterException` for another release.
pub(super) fn release(app: &Eks, given: Option<&str>) -> Result<(String, String), ApiError> {
    let found = app.platform.binaries();
    let found = found.map_err(|error| fault::invalid_parameter(error.to_string()))?;
    let patch = found.version.trim_start_matches('v');
    let release = format!("{patch}-{IMAGE_DAY}");
    match given {
        Some(other) if other != release => Err(fault::invalid_parameter(format!(
            "Requested Nodegroup release version {} is invalid. Allowed release version is {release}",
            other.chars().take(64).collect::<String>()
        ))),
        _ => Ok((found.minor_version(), release)),
    }
}

/// The group that lets SSH in, where a key pair is named.
fn remote_group(
    app: &Eks,
    tx: &mut Tx,
    cluster: &Cluster,
    op: &CreateNodegroup,
    uuid: &str,
) -> Result<Option<SecurityGroupId>, ApiError> {
    let Some(access) = &op.remote_access else {
        return Ok(None);
    };
    let sources = access.source_security_groups.as_deref().unwrap_or_default();
    let Some(key) = &access.ec2_ssh_key else {
        if sources.is_empty() {
            return Ok(None);
        }
        return Err(fault::invalid_parameter(
            "Remote access source security groups cannot be specified without an EC2 SSH key.",
        ));
    };
    if managed::key_pair(tx.view(), key).is_none() {
        let shown: String = key.chars().take(255).collect();
        return Err(fault::invalid_parameter(format!(
            "The key pair '{shown}' does not exist (Service: AmazonEC2; Status Code: 400; Error Code: InvalidKeyPair.NotFound)"
        )));
    }
    let find = |id: &String| {
        let group = tx.get::<SecurityGroup>(id);
        let group = group.filter(|it| it.vpc == cluster.vpc);
        group.map(|it| it.id.clone()).ok_or_else(|| {
            let shown: String = id.chars().take(64).collect();
            fault::invalid_parameter(format!("The security group '{shown}' does not exist"))
        })
    };
    let sources: Vec<SecurityGroupId> = sources
        .iter()
        .take(20)
        .map(find)
        .collect::<Result<_, _>>()?;
    let name = format!("eks-remoteAccess-{uuid}");
    let tags = [
        ("Name".to_owned(), name.clone()),
        ("eks".to_owned(), op.nodegroup_name.clone()),
        ("eks:nodegroup-name".to_owned(), op.nodegroup_name.clone()),
    ];
    let new = NewGroup {
        vpc: cluster.vpc.clone(),
        name,
        description: "Security group for all nodes in the nodeGroup to allow SSH access".into(),
        tags: tags.into(),
    };
    let group = managed::remote_access_group(tx, &app.cell, new, &sources);
    Ok(Some(
        group.map_err(|error| fault::of_ec2(&error))?.id.clone(),
    ))
}
