//! Resource policies: with which accounts a network, service or resource is shared. They are kept and shown; a Lath
//! region has one account, so there is no other account to share with.

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::ident::{Identifier, Kind};
use crate::record::ResourcePolicy;
use crate::resource::configuration;
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, fault, network, policy_document, service};

operations! {
    for Lattice as "vpc-lattice";
    change PutResourcePolicy: put "/resourcepolicy/{resourceArn}" 200 -> Empty = put
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_arn))
            .on(&SERVICE, |op, _| service_of(&op.resource_arn))
            .on(&RESOURCE_CONFIGURATION, |op, _| configuration_of(&op.resource_arn));
    read GetResourcePolicy: get "/resourcepolicy/{resourceArn}" 200 -> GetResourcePolicyOutput = get
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_arn))
            .on(&SERVICE, |op, _| service_of(&op.resource_arn))
            .on(&RESOURCE_CONFIGURATION, |op, _| configuration_of(&op.resource_arn));
    change DeleteResourcePolicy: delete "/resourcepolicy/{resourceArn}" 204 -> Empty = delete
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_arn))
            .on(&SERVICE, |op, _| service_of(&op.resource_arn))
            .on(&RESOURCE_CONFIGURATION, |op, _| configuration_of(&op.resource_arn));
}

fn holder(cell: &Cell, view: &View, arn: &str) -> Result<String, ApiError> {
    if Identifier::parse(Kind::ServiceNetwork, arn).is_some() {
        return Ok(network::find(cell, view, arn)?.id.to_string());
    }
    if Identifier::parse(Kind::ResourceConfiguration, arn).is_some() {
        return Ok(configuration::find(cell, view, arn)?.id.to_string());
    }
    Ok(service::find(cell, view, arn)?.id.to_string())
}

fn put(app: &Lattice, tx: &mut Tx, op: PutResourcePolicy) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let resource = holder(cell, tx.view(), &op.resource_arn)?;
    policy_document::check_resource(&op.policy)?;
    tx.put(ResourcePolicy {
        resource,
        policy: op.policy,
    });
    Ok(Empty {})
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetResourcePolicy,
) -> Result<GetResourcePolicyOutput, ApiError> {
    let resource = holder(&app.cell, view, &op.resource_arn)?;
    let policy = view.get::<ResourcePolicy>(&resource);
    let missing = || fault::missing("RESOURCE_POLICY", "Resource policy of", &op.resource_arn);
    Ok(GetResourcePolicyOutput {
        policy: Some(policy.ok_or_else(missing)?.policy.clone()),
    })
}

fn delete(app: &Lattice, tx: &mut Tx, op: DeleteResourcePolicy) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let resource = holder(cell, tx.view(), &op.resource_arn)?;
    if !tx.delete::<ResourcePolicy>(&resource) {
        let arn = &op.resource_arn;
        return Err(fault::missing("RESOURCE_POLICY", "Resource policy of", arn));
    }
    Ok(Empty {})
}
