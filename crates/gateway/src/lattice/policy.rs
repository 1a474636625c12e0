//! What policies attach to service networks and services: access logs, the VPC's place in a network.

use std::collections::BTreeSet;

use aws_sdk_vpclattice::types::ServiceNetworkVpcAssociationStatus as AssociationStatus;

use super::auth::gone;
use super::{Fault, Lattice, sent};
use crate::desired::{MANAGED_BY, Tags, has_tags, key};

/// The tag that says that a policy of a namespace has put the VPC into a network.
pub(super) const PLACED_BY: &str = "VpcAssociationPolicy";

impl Lattice {
    /// The subscription to a resource's access log that has these tags: ARN and destination.
    async fn log_of(&self, resource: &str, tags: &Tags) -> Result<Option<(String, String)>, Fault> {
        let list = self
            .client
            .list_access_log_subscriptions()
            .resource_identifier(resource);
        let all = list
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await?;
        for it in all {
            if has_tags(&self.tags_of(it.arn()).await?, tags) {
                return Ok(Some((it.arn, it.destination_arn)));
            }
        }
        Ok(None)
    }

    /// Sends a resource's access log somewhere; gives the subscription's ARN.
    pub(crate) async fn attach_log(
        &self,
        resource: &str,
        destination: &str,
        tags: &Tags,
    ) -> Result<String, Fault> {
        // Lattice adds this to the ARN of a log group.
        let plain = |arn: &str| arn.trim_end_matches(":*").to_owned();
        if let Some((arn, there)) = self.log_of(resource, tags).await? {
            if plain(&there) == plain(destination) {
                return Ok(arn);
            }
            let delete = self.client.delete_access_log_subscription();
            delete
                .access_log_subscription_identifier(arn)
                .send()
                .await?;
        }
        let create = self
            .client
            .create_access_log_subscription()
            .resource_identifier(resource);
        let create = create.destination_arn(destination);
        let made = create
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await?;
        Ok(made.arn)
    }

    /// Ends it.
    pub(crate) async fn detach_log(&self, resource: &str, tags: &Tags) -> Result<(), Fault> {
        let arn = match self.log_of(resource, tags).await {
            Ok(Some((arn, _))) => arn,
            other => return gone(other),
        };
        let delete = self.client.delete_access_log_subscription();
        let delete = delete.access_log_subscription_identifier(arn).send().await;
        gone(delete.map_err(Fault::from))
    }

    /// Puts the VPC into a network with these security groups, for a policy of a namespace; gives the association's ARN.
    pub(crate) async fn attach_vpc(
        &self,
        network: &str,
        namespace: &str,
        groups: &[String],
    ) -> Result<String, Fault> {
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
        let Some(known) = all.first() else {
            let create = self.client.create_service_network_vpc_association();
            let create = create
                .service_network_identifier(network)
                .vpc_identifier(&self.vpc);
            let create = match groups.is_empty() {
                true => create,
                false => create.set_security_group_ids(Some(groups.to_vec())),
            };
            let made = create
                .tags(key(MANAGED_BY), &self.managed_by)
                .tags(key(PLACED_BY), namespace)
                .send()
                .await?;
            return match made.status {
                Some(AssociationStatus::Active) => sent(made.arn, "ARN of an association"),
                _ => Err(Fault::Waits(
                    "the association of the VPC is made".to_owned(),
                )),
            };
        };
        let id = known.id().unwrap_or_default();
        let get = self.client.get_service_network_vpc_association();
        let found = get
            .service_network_vpc_association_identifier(id)
            .send()
            .await?;
        match found.status() {
            Some(AssociationStatus::Active) => {}
            Some(
                AssociationStatus::CreateFailed
                | AssociationStatus::UpdateFailed
                | AssociationStatus::DeleteFailed,
            ) => {
                let why = found.failure_message().unwrap_or_default();
                return Err(Fault::Failed(format!("the association of the VPC: {why}")));
            }
            _ => {
                return Err(Fault::Waits(
                    "the association of the VPC changes".to_owned(),
                ));
            }
        }
        let there: BTreeSet<&String> = found.security_group_ids().iter().collect();
        let same = there == groups.iter().collect();
        let arn = sent(found.arn.clone(), "ARN of an association")?;
        let tags = self.tags_of(&arn).await?;
        if !self.is_own(&tags) {
            return match same {
                true => Ok(arn),
                false => Err(Fault::Conflict(format!(
                    "association {id} of the VPC is another's, and has other security groups"
                ))),
            };
        }
        if tags.get(&key(PLACED_BY)).map(String::as_str) != Some(namespace) {
            let tag = self.client.tag_resource().resource_arn(&arn);
            tag.tags(key(PLACED_BY), namespace).send().await?;
        }
        if !same {
            if groups.is_empty() {
                // Lattice cannot take the last group away: the association is made anew.
                self.detach_vpc(network, None).await?;
                return Err(Fault::Waits(
                    "the association of the VPC is made anew".to_owned(),
                ));
            }
            let update = self.client.update_service_network_vpc_association();
            let update = update.service_network_vpc_association_identifier(id);
            update
                .set_security_group_ids(Some(groups.to_vec()))
                .send()
                .await?;
        }
        Ok(arn)
    }

    /// Takes the VPC out of a network, if this controller has put it there; where a namespace is given, if a policy of it
    /// has.
    pub(crate) async fn detach_vpc(
        &self,
        network: &str,
        namespace: Option<&str>,
    ) -> Result<(), Fault> {
        let list = self
            .client
            .list_service_network_vpc_associations()
            .service_network_identifier(network);
        let list = list
            .vpc_identifier(&self.vpc)
            .into_paginator()
            .items()
            .send();
        let all = match list
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(Fault::from)
        {
            Ok(all) => all,
            other => return gone(other),
        };
        for it in all {
            let Some(tags) = self.tags_if_there(it.arn()).await? else {
                continue;
            };
            let placed = tags.get(&key(PLACED_BY)).map(String::as_str);
            let own = self.is_own(&tags) && (namespace.is_none() || placed == namespace);
            if own && it.status() != Some(&AssociationStatus::DeleteInProgress) {
                let delete = self.client.delete_service_network_vpc_association();
                let delete =
                    delete.service_network_vpc_association_identifier(it.id().unwrap_or_default());
                gone(delete.send().await.map_err(Fault::from))?;
            }
        }
        Ok(())
    }
}
