//! Service networks, and the VPC's place in them.

use aws_sdk_vpclattice::types::{
    AuthType, ServiceNetworkServiceAssociationStatus as ServiceStatus,
    ServiceNetworkVpcAssociationStatus as AssociationStatus,
};

use super::policy::PLACED_BY;
use super::{Fault, Guarded, Lattice, sent};
use crate::desired::{MANAGED_BY, Tags, has_tags, key};
use crate::guards::{Guards, Target};

/// A service network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arn: String,
}

impl Lattice {
    /// The service network of a name, or of an id in its place. That of the controller's account comes before those that
    /// others share with it, of which there may be one.
    pub(crate) async fn network(&self, name: &str) -> Result<Option<Network>, Fault> {
        let list = self
            .client
            .list_service_networks()
            .into_paginator()
            .items()
            .send();
        let all = list.collect::<Result<Vec<_>, _>>().await?;
        let mut named = Vec::new();
        for it in all {
            let of_name = it.name() == Some(name);
            if !of_name && it.id() != Some(name) {
                continue;
            }
            let network = Network {
                id: sent(it.id, "id of a service network")?,
                name: sent(it.name, "name of a service network")?,
                arn: sent(it.arn, "ARN of a service network")?,
            };
            if !of_name || self.is_of_account(&network.arn) {
                return Ok(Some(network));
            }
            named.push(network);
        }
        match named.len() {
            0 | 1 => Ok(named.pop()),
            count => Err(Fault::Conflict(format!(
                "{count} service networks of other accounts have the name {name}"
            ))),
        }
    }

    /// A service network that is made when it is not there; with the VPC in it, where that is not another's to say. It is
    /// guarded before anything can get in.
    pub(crate) async fn ensure_network(
        &self,
        name: &str,
        with_vpc: bool,
        guards: Guards<'_>,
    ) -> Result<Network, Fault> {
        let target = Target::Network(name.to_owned());
        let network = match self.network(name).await? {
            Some(network) => network,
            None => {
                let guard = guards(&target);
                let create = self.client.create_service_network().name(name);
                let made = create
                    .set_auth_type(guard.map(|_| AuthType::AwsIam))
                    .tags(key(MANAGED_BY), &self.managed_by)
                    .send()
                    .await?;
                Network {
                    id: sent(made.id, "id of a service network")?,
                    name: name.to_owned(),
                    arn: sent(made.arn, "ARN of a service network")?,
                }
            }
        };
        let guarded = self.guard(&network.id, (&target, guards)).await?;
        if with_vpc {
            self.ensure_vpc(&network.id).await?;
        }
        match guarded {
            Guarded::Shut(fault) => Err(Fault::Failed(format!(
                "no client may call services in {name}: {fault}"
            ))),
            Guarded::Not | Guarded::AsAsked => Ok(network),
        }
    }

    /// Puts tags on a service network that this controller has made; another's stays as it is.
    pub(crate) async fn give_tags(&self, network: &Network, wanted: Tags) -> Result<(), Fault> {
        if wanted.is_empty() {
            return Ok(());
        }
        let tags = self.tags_of(&network.arn).await?;
        if !self.is_own(&tags) || has_tags(&tags, &wanted) {
            return Ok(());
        }
        let tag = self.client.tag_resource().resource_arn(&network.arn);
        let wanted = wanted.into_iter().collect();
        tag.set_tags(Some(wanted)).send().await?;
        Ok(())
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

    /// Takes the VPC out of a service network, as far as this controller has put it there, and deletes the network if this
    /// controller made it and no one else uses it.
    pub(crate) async fn delete_network(&self, name: &str) -> Result<(), Fault> {
        let Some(network) = self.network(name).await? else {
            return Ok(());
        };
        let made = self.is_own(&self.tags_of(&network.arn).await?);
        let mut serves_others = false;
        let list = self.client.list_service_network_service_associations();
        let list = list
            .service_network_identifier(&network.id)
            .into_paginator()
            .items()
            .send();
        for it in list.collect::<Result<Vec<_>, _>>().await? {
            let goes = it.status() == Some(&ServiceStatus::DeleteInProgress);
            let tags = self.tags_if_there(it.arn()).await?;
            if goes || tags.is_none_or(|tags| self.is_own(&tags)) {
                if !made {
                    continue;
                }
                let service = it.service_name().unwrap_or_default();
                return Err(Fault::Waits(format!(
                    "service {service} is still in service network {name}"
                )));
            }
            serves_others = true;
        }
        let mut others = serves_others;
        let list = self.client.list_service_network_vpc_associations();
        let list = list
            .service_network_identifier(&network.id)
            .into_paginator()
            .items()
            .send();
        let mut goes = false;
        for it in list.collect::<Result<Vec<_>, _>>().await? {
            if it.status() == Some(&AssociationStatus::DeleteInProgress) {
                goes = true;
                continue;
            }
            let Some(tags) = self.tags_if_there(it.arn()).await? else {
                continue;
            };
            // In a network that stays, what a policy has put there goes with that, and by what the controller has put there
            // others of the same VPC are served, too: theirs put none there, because one was there.
            let stays = serves_others || tags.contains_key(&key(PLACED_BY));
            if !self.is_own(&tags) || (!made && stays) {
                others = true;
                continue;
            }
            goes = true;
            let delete = self.client.delete_service_network_vpc_association();
            let id = it.id().unwrap_or_default();
            delete
                .service_network_vpc_association_identifier(id)
                .send()
                .await?;
        }
        if goes {
            return Err(Fault::Waits(format!(
                "VPCs are still in service network {name}"
            )));
        }
        if !made || others {
            tracing::info!(
                service_network.arn = network.arn,
                "service network stays for others"
            );
            return Ok(());
        }
        tracing::info!(service_network.arn = network.arn, "service network goes");
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
