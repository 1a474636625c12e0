//! Service networks, and the VPC's place in them.

use aws_sdk_vpclattice::types::ServiceNetworkVpcAssociationStatus as AssociationStatus;

use super::{Fault, Lattice, sent};
use crate::desired::{MANAGED_BY, key};

/// A service network.
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) arn: String,
}

impl Lattice {
    /// The service network of a name, or of an id in its place.
    pub(crate) async fn network(&self, name: &str) -> Result<Option<Network>, Fault> {
        let list = self
            .client
            .list_service_networks()
            .into_paginator()
            .items()
            .send();
        let all = list.collect::<Result<Vec<_>, _>>().await?;
        let found = all
            .into_iter()
            .find(|it| it.name() == Some(name) || it.id() == Some(name));
        let Some(found) = found else {
            return Ok(None);
        };
        Ok(Some(Network {
            id: sent(found.id, "id of a service network")?,
            arn: sent(found.arn, "ARN of a service network")?,
        }))
    }

    /// A service network that is made when it is not there; with the VPC in it, where that is not another's to say.
    pub(crate) async fn ensure_network(
        &self,
        name: &str,
        with_vpc: bool,
    ) -> Result<Network, Fault> {
        let network = match self.network(name).await? {
            Some(network) => network,
            None => {
                let create = self.client.create_service_network().name(name);
                let made = create
                    .tags(key(MANAGED_BY), &self.managed_by)
                    .send()
                    .await?;
                Network {
                    id: sent(made.id, "id of a service network")?,
                    arn: sent(made.arn, "ARN of a service network")?,
                }
            }
        };
        if with_vpc {
            self.ensure_vpc(&network.id).await?;
        }
        Ok(network)
    }

    async fn ensure_vpc(&self, network: &str) -> Result<(), Fault> {
        let list = self
            .client
            .list_service_network_vpc_associations()
            .service_network_identifier(network);
        let list = list
            .vpc_identifier(&self.vpc)
            .into_paginator()
            .items()
            .send();
        let all = list.collect::<Result<Vec<_>, _>>().await?;
        let vpc = &self.vpc;
        match all.first().and_then(|it| it.status()) {
            Some(AssociationStatus::Active | AssociationStatus::UpdateInProgress) => Ok(()),
            Some(AssociationStatus::CreateInProgress) => {
                Err(Fault::Waits(format!("the association of {vpc} is made")))
            }
            Some(AssociationStatus::DeleteInProgress) => {
                Err(Fault::Waits(format!("an association of {vpc} still goes")))
            }
            Some(other) => Err(Fault::Failed(format!(
                "the association of {vpc} is {other}"
            ))),
            None => {
                let create = self.client.create_service_network_vpc_association();
                let create = create
                    .service_network_identifier(network)
                    .vpc_identifier(vpc);
                create
                    .tags(key(MANAGED_BY), &self.managed_by)
                    .send()
                    .await?;
                Err(Fault::Waits(format!("the association of {vpc} is made")))
            }
        }
    }

    /// Deletes a service network if this controller made it, and first the VPC's place in it.
    pub(crate) async fn delete_network(&self, name: &str) -> Result<(), Fault> {
        let Some(network) = self.network(name).await? else {
            return Ok(());
        };
        if !self.is_own(&self.tags_of(&network.arn).await?) {
            return Ok(());
        }
        let list = self.client.list_service_network_service_associations();
        let list = list
            .service_network_identifier(&network.id)
            .into_paginator()
            .items()
            .send();
        if let Some(service) = list.collect::<Result<Vec<_>, _>>().await?.first() {
            let service = service.service_name().unwrap_or_default();
            return Err(Fault::Waits(format!(
                "service {service} is still in service network {name}"
            )));
        }
        let list = self
            .client
            .list_service_network_vpc_associations()
            .service_network_identifier(&network.id);
        let list = list.into_paginator().items().send();
        let all = list.collect::<Result<Vec<_>, _>>().await?;
        for it in &all {
            let own = self.is_own(&self.tags_of(it.arn().unwrap_or_default()).await?);
            if own && it.status() != Some(&AssociationStatus::DeleteInProgress) {
                let delete = self.client.delete_service_network_vpc_association();
                let id = it.id().unwrap_or_default();
                delete
                    .service_network_vpc_association_identifier(id)
                    .send()
                    .await?;
            }
        }
        if !all.is_empty() {
            return Err(Fault::Waits(format!(
                "VPCs are still in service network {name}"
            )));
        }
        tracing::info!(network = network.arn, "service network goes");
        match self
            .client
            .delete_service_network()
            .service_network_identifier(&network.id)
            .send()
            .await
            .map_err(Fault::from)
        {
            Ok(_) | Err(Fault::NotFound(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}
