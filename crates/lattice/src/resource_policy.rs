//! Resource policies: with which accounts a network or service is shared. They are kept and shown; a Lath
//! region has one account, so that there is nobody to share with.

use lath_control::Cell;
use lath_store::View;
use lath_wire::{ApiError, Caller, Handle};

use crate::ident::{Identifier, Kind};
use crate::record::ResourcePolicy;
use crate::shape::*;
use crate::{Lattice, fault, network, policy_document, service};

fn holder(cell: &Cell, view: &View, arn: &str) -> Result<String, ApiError> {
    if Identifier::parse(Kind::ServiceNetwork, arn).is_some() {
        return Ok(network::find(cell, view, arn)?.id.to_string());
    }
    Ok(service::find(cell, view, arn)?.id.to_string())
}

impl Handle<PutResourcePolicy> for Lattice {
    async fn handle(&self, _caller: &Caller, op: PutResourcePolicy) -> Result<Empty, ApiError> {
        let cell = &self.cell;
        cell.db
            .write(|tx| {
                let resource = holder(cell, tx.view(), &op.resource_arn)?;
                policy_document::check_resource(&op.policy)?;
                tx.put(ResourcePolicy {
                    resource,
                    policy: op.policy,
                });
                Ok(Empty {})
            })
            .await
    }
}

impl Handle<GetResourcePolicy> for Lattice {
    async fn handle(
        &self,
        _caller: &Caller,
        op: GetResourcePolicy,
    ) -> Result<GetResourcePolicyOutput, ApiError> {
        let view = self.cell.db.view();
        let resource = holder(&self.cell, &view, &op.resource_arn)?;
        let policy = view.get::<ResourcePolicy>(&resource);
        let missing = || fault::missing("RESOURCE_POLICY", "Resource policy of", &op.resource_arn);
        Ok(GetResourcePolicyOutput {
            policy: Some(policy.ok_or_else(missing)?.policy.clone()),
        })
    }
}

impl Handle<DeleteResourcePolicy> for Lattice {
    async fn handle(&self, _caller: &Caller, op: DeleteResourcePolicy) -> Result<Empty, ApiError> {
        let cell = &self.cell;
        cell.db
            .write(|tx| {
                let resource = holder(cell, tx.view(), &op.resource_arn)?;
                if !tx.delete::<ResourcePolicy>(&resource) {
                    let arn = &op.resource_arn;
                    return Err(fault::missing("RESOURCE_POLICY", "Resource policy of", arn));
                }
                Ok(Empty {})
            })
            .await
    }
}
