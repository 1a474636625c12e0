//! Clusters that somebody else runs. AWS's connector is an agent in the cluster that dials out through Systems Manager; a
//! registered cluster waits for it, and there is no Systems Manager here that it could reach.

use lath_service::{Quota, operations};
use lath_store::Tx;
use lath_wire::ApiError;
use std::time::Duration;

use super::create::check_name;
use crate::fault;
use crate::record::ConnectedCluster;
use crate::resource_types::{CLUSTER, pairs};
use crate::roles::Passing as _;
use crate::shape::*;
use crate::{Eks, clusters, roles, token};

/// How many registered clusters a region may have.
const REGISTERED: Quota<&str> = Quota::new("Registered cluster", "L-EA3C5B3A", 10);
/// How long the agent may take to come.
const ACTIVATION: Duration = Duration::from_secs(3 * 24 * 3600);

operations! {
    for Eks as "eks";
    change RegisterCluster: post "/cluster-registrations" 200 -> OneCluster = register_cluster, checked
        => any()
            .tagged(|op, _| pairs(&op.tags))
            .passing(|op| vec![op.connector_config.role_arn.clone()], |_| "ssm.amazonaws.com".to_owned());
    change DeregisterCluster: delete "/cluster-registrations/{name}" 200 -> OneCluster = deregister, checked
        => on(&CLUSTER, |op, _| op.name.clone());
}

pub(super) fn one(app: &Eks, it: &ConnectedCluster) -> OneCluster {
    OneCluster {
        cluster: Some(ClusterItem {
            name: Some(it.name.clone()),
            arn: Some(clusters::arn(&app.cell, &it.name)),
            created_at: Some(it.created_at),
            status: Some(ClusterStatus::Pending),
            tags: it.tags.clone(),
            connector_config: Some(ConnectorConfigResponse {
                activation_id: Some(it.activation_id.clone()),
                activation_code: Some(it.activation_code.clone()),
                activation_expiry: Some(it.activation_expiry),
                provider: Some(it.provider.clone()),
                role_arn: Some(it.role_arn.clone()),
            }),
            ..Default::default()
        }),
    }
}

fn register_cluster(
    app: &Eks,
    tx: &mut Tx,
    mut op: RegisterCluster,
) -> Result<OneCluster, ApiError> {
    let client_token = op.client_request_token.take();
    let used = token::claim(
        tx,
        "RegisterCluster",
        client_token.as_deref(),
        &op,
        &op.name,
    )?;
    let known = used.and_then(|name| tx.get::<ConnectedCluster>(&name));
    if let Some(known) = known {
        return Ok(one(app, &known));
    }
    check_name(tx, &op.name)?;
    let config = op.connector_config;
    if roles::find(&app.cell, tx.view(), &config.role_arn).is_none() {
        return Err(fault::invalid_parameter(format!(
            "The role with ARN {} was not found.",
            config.role_arn
        )));
    }
    let count = tx.list::<ConnectedCluster>().count() + 1;
    REGISTERED.check(&app.cell, count, |it| fault::too_many(it.kind, it.limit))?;
    let now = tx.now();
    let cluster = tx.put(ConnectedCluster {
        name: op.name,
        provider: config.provider.as_str().to_owned(),
        role_arn: config.role_arn,
        activation_id: uuid::Uuid::new_v4().to_string(),
        activation_code: uuid::Uuid::new_v4().simple().to_string()[..20].to_owned(),
        activation_expiry: now.plus(ACTIVATION),
        tags: op.tags,
        created_at: now,
    });
    Ok(one(app, &cluster))
}

fn deregister(app: &Eks, tx: &mut Tx, op: DeregisterCluster) -> Result<OneCluster, ApiError> {
    let Some(cluster) = tx.get::<ConnectedCluster>(&op.name) else {
        // One that runs here is deleted, not deregistered.
        clusters::find(tx.view(), &op.name)?;
        return Err(fault::invalid_request(format!(
            "Cluster {} is not a connected cluster: use delete-cluster.",
            op.name
        )));
    };
    tx.delete::<ConnectedCluster>(&op.name);
    let mut answer = one(app, &cluster);
    if let Some(item) = &mut answer.cluster {
        item.status = Some(ClusterStatus::Deleting);
    }
    Ok(answer)
}
