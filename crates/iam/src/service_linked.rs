//! Roles that services make for themselves.
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::errors::{invalid_input, no_such_entity};
use crate::records::{Policies, Role, Tags, key};
use crate::resource_types::{ROLE, at_path};
use crate::roles::{OneRole, add};
use crate::{Iam, unique};

/// Service, role name, AWS's policy for it.
const TEMPLATES: &[(&str, &str, &str)] = &[
    (
        "vpc-lattice.amazonaws.com",
        "AWSServiceRoleForVpcLattice",
        "AWSVpcLatticeServiceRolePolicy",
    ),
    (
        "transitgateway.amazonaws.com",
        "AWSServiceRoleForVPCTransitGateway",
        "AWSVPCTransitGatewayServiceRolePolicy",
    ),
    (
        "eks.amazonaws.com",
        "AWSServiceRoleForAmazonEKS",
        "AmazonEKSServiceRolePolicy",
    ),
    (
        "eks-nodegroup.amazonaws.com",
        "AWSServiceRoleForAmazonEKSNodegroup",
        "AWSServiceRoleForAmazonEKSNodegroup",
    ),
    (
        "elasticloadbalancing.amazonaws.com",
        "AWSServiceRoleForElasticLoadBalancing",
        "AWSElasticLoadBalancingServiceRolePolicy",
    ),
];

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateServiceLinkedRole {
    #[serde(rename = "AWSServiceName")]
    service: String,
    description: Option<String>,
    custom_suffix: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteServiceLinkedRole {
    role_name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Deletion {
    deletion_task_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetServiceLinkedRoleDeletionStatus {
    deletion_task_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeletionStatus {
    status: String,
}

operations! {
    for Iam as "iam";
    change CreateServiceLinkedRole -> OneRole = create => on(&ROLE, |op, at| role_arn(at, &op.service))
        .with("iam:AWSServiceName", |op, _| op.service.clone());
    change DeleteServiceLinkedRole -> Deletion = delete => on(&ROLE, |op, _| op.role_name.clone());
    read GetServiceLinkedRoleDeletionStatus -> DeletionStatus = status =>
        on(&ROLE, |op, at| role_of_task(at, &op.deletion_task_id));
}

/// The role that `CreateServiceLinkedRole` makes for a service; of one that has none, any.
fn role_arn(at: &lath_authz::Scope<'_>, service: &str) -> String {
    let template = TEMPLATES.iter().find(|(name, ..)| *name == service);
    let name = template.map_or("*", |(_, name, _)| name);
    let path = format!("/aws-service-role/{service}/");
    at_path(at, "role", Some(&path), name)
}

/// The role whose deletion a task's id names.
fn role_of_task(at: &lath_authz::Scope<'_>, id: &str) -> Option<String> {
    let (role, _) = id.strip_prefix("task/")?.rsplit_once('/')?;
    Some(at.global_arn("iam", &format!("role/{role}")))
}

fn create(app: &Iam, tx: &mut Tx, op: CreateServiceLinkedRole) -> Result<OneRole, ApiError> {
    let service = &op.service;
    let template = TEMPLATES.iter().find(|(name, ..)| name == service);
    let Some((_, name, policy)) = template else {
        return Err(invalid_input(format!(
            "Service role template does not exist for service {service}"
        )));
    };
    if op.custom_suffix.is_some() {
        return Err(invalid_input(format!(
            "Custom suffix is not allowed for {service}"
        )));
    }
    if tx.get::<Role>(&key(name)).is_some() {
        return Err(invalid_input(format!(
            "Service role name {name} has been taken in this account, please try a different suffix."
        )));
    }
    let trust = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
        }],
    });
    let attached = format!(
        "arn:{}:iam::aws:policy/aws-service-role/{policy}",
        app.cell.partition()
    );
    let role = Role {
        name: (*name).to_owned(),
        unique_id: unique::id("AROA"),
        path: format!("/aws-service-role/{service}/"),
        description: op.description.clone(),
        trust: trust.to_string(),
        trusted: std::collections::BTreeMap::new(),
        max_session: 3600,
        policies: Policies {
            attached: std::collections::BTreeSet::from([attached]),
            ..Policies::default()
        },
        tags: Tags::new(),
        created_at: tx.now(),
    };
    add(app, tx, role)
}

/// Nothing of Lath's depends on such a role, so it goes at once.
fn delete(_: &Iam, tx: &mut Tx, op: DeleteServiceLinkedRole) -> Result<Deletion, ApiError> {
    let name = &op.role_name;
    let role = tx
        .get::<Role>(&key(name))
        .filter(|role| role.path.starts_with("/aws-service-role/"))
        .ok_or_else(|| no_such_entity(format!("The role with name {name} cannot be found.")))?;
    tx.delete::<Role>(&key(name));
    let id = uuid::Uuid::new_v4();
    Ok(Deletion {
        deletion_task_id: format!("task{}{}/{id}", role.path, role.name),
    })
}

fn status(
    _: &Iam,
    _: &View,
    op: &GetServiceLinkedRoleDeletionStatus,
) -> Result<DeletionStatus, ApiError> {
    let id = &op.deletion_task_id;
    let parts: Vec<&str> = id.split('/').collect();
    match parts[..] {
        ["task", "aws-service-role", _, _, task] if uuid::Uuid::parse_str(task).is_ok() => {
            Ok(DeletionStatus {
                status: "SUCCEEDED".into(),
            })
        }
        _ => Err(no_such_entity(format!(
            "Deletion task {id} cannot be found."
        ))),
    }
}
