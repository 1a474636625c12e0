//! Auth policies of service networks and services: who may call.

use std::sync::Arc;

use lath_control::{Cell, Mode};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::ident::{Identifier, Kind};
use crate::record::{AuthPolicy, LogSource};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, fault, network, policy_document, service};

operations! {
    for Lattice as "vpc-lattice";
    change PutAuthPolicy: put "/authpolicy/{resourceIdentifier}" 200 -> PutAuthPolicyOutput = put
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier));
    read GetAuthPolicy: get "/authpolicy/{resourceIdentifier}" 200 -> GetAuthPolicyOutput = get
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier));
    change DeleteAuthPolicy: delete "/authpolicy/{resourceIdentifier}" 204 -> Empty = delete
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier));
}

/// AWS's quota on a policy's length, in characters.
const LONGEST: usize = 10_240;

/// The network or service that an identifier names, and its auth type.
fn holder(cell: &Cell, view: &View, text: &str) -> Result<(LogSource, AuthType), ApiError> {
    if Identifier::parse(Kind::ServiceNetwork, text).is_some() {
        let network = network::find(cell, view, text)?;
        let id = network.id.clone();
        return Ok((LogSource::ServiceNetwork(id), network.auth_type));
    }
    let service = service::find(cell, view, text)?;
    let id = service.id.clone();
    Ok((LogSource::Service(id), service.auth_type))
}

/// A policy is evaluated only where the auth type asks for it.
fn state(auth_type: AuthType) -> AuthPolicyState {
    match auth_type {
        AuthType::AwsIam => AuthPolicyState::Active,
        AuthType::None => AuthPolicyState::Inactive,
    }
}

/// The policy document of a network or service.
pub(crate) fn document(view: &View, id: &str) -> Option<String> {
    view.get::<AuthPolicy>(id)
        .map(|policy| policy.policy.clone())
}

/// Deletes the policies of what is being deleted.
pub(crate) fn remove(tx: &mut Tx, id: &str) {
    tx.delete::<AuthPolicy>(id);
    tx.delete::<crate::record::ResourcePolicy>(id);
}

fn put(app: &Lattice, tx: &mut Tx, op: PutAuthPolicy) -> Result<PutAuthPolicyOutput, ApiError> {
    let cell = &app.cell;
    let (holder, auth_type) = holder(cell, tx.view(), &op.resource_identifier)?;
    let length = op.policy.chars().count();
    if cell.mode == Mode::Strict && length > LONGEST {
        let message = format!("The policy has {length} characters; {LONGEST} are allowed");
        return Err(fault::invalid("policy", message));
    }
    policy_document::check_auth(&op.policy)?;
    let (id, now) = (holder.id(), tx.now());
    let created_at = tx
        .get::<AuthPolicy>(&id)
        .map_or(now, |known| known.created_at);
    let policy = tx.put(AuthPolicy {
        resource: id,
        policy: op.policy,
        created_at,
        updated_at: now,
    });
    Ok(PutAuthPolicyOutput {
        policy: Some(policy.policy.clone()),
        state: Some(state(auth_type)),
    })
}

fn find(view: &View, id: &str) -> Result<Arc<AuthPolicy>, ApiError> {
    view.get(id)
        .ok_or_else(|| fault::missing("AUTH_POLICY", "Auth policy of", id))
}

fn get(app: &Lattice, view: &View, op: &GetAuthPolicy) -> Result<GetAuthPolicyOutput, ApiError> {
    let cell = &app.cell;
    let (holder, auth_type) = holder(cell, view, &op.resource_identifier)?;
    let policy = find(view, &holder.id())?;
    Ok(GetAuthPolicyOutput {
        policy: Some(policy.policy.clone()),
        state: Some(state(auth_type)),
        created_at: Some(policy.created_at),
        last_updated_at: Some(policy.updated_at),
    })
}

fn delete(app: &Lattice, tx: &mut Tx, op: DeleteAuthPolicy) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let (holder, _) = holder(cell, tx.view(), &op.resource_identifier)?;
    let policy = find(tx.view(), &holder.id())?;
    tx.delete::<AuthPolicy>(&policy.resource);
    Ok(Empty {})
}
