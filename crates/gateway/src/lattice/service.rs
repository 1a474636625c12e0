//! Services, and their places in service networks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_vpclattice::types::{
    ServiceNetworkServiceAssociationStatus as AssociationStatus, ServiceStatus,
};

use super::{Fault, KnownService, Lattice, id_of, sent};
use crate::desired::{Action, GroupRef, Service, Tags, key};
use crate::desired::{MANAGED_BY, ROUTE_NAME, ROUTE_NAMESPACE};

/// A service that is as it should be, as far as Lattice is done.
pub(crate) struct Deployed {
    pub(crate) arn: String,
    pub(crate) domain_name: String,
    /// Whether groups that the route no longer uses still go.
    pub(crate) leftovers: bool,
}

/// The tags that say whose a service is.
fn identity(tags: &Tags) -> Tags {
    let keys = [key(MANAGED_BY), key(ROUTE_NAME), key(ROUTE_NAMESPACE)];
    tags.iter()
        .filter(|(it, _)| keys.contains(it))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

impl Lattice {
    /// Makes a service and all that belongs to it what it should be.
    pub(crate) async fn deploy(
        &self,
        desired: &Service,
        sources: &Tags,
    ) -> Result<Deployed, Fault> {
        let mut ids = BTreeMap::new();
        let mut waits = None;
        for group in &desired.groups {
            match self.ensure_group(group).await {
                Ok(id) => drop(ids.insert(group.name.clone(), id)),
                // Meanwhile the others can be made, and the service.
                Err(Fault::Waits(message)) => waits = Some(message),
                Err(fault) => return Err(fault),
            }
        }
        let service = self.ensure_service(desired).await;
        if let (Ok(_), Some(message)) = (&service, waits) {
            return Err(Fault::Waits(message));
        }
        let (id, mut deployed) = service?;
        let with_ids = |action: &Action| match action {
            Action::Fixed(status) => Action::Fixed(*status),
            Action::Forward(groups) => Action::Forward(
                groups
                    .iter()
                    .map(|(group, weight)| match group {
                        GroupRef::Own(name) => (
                            GroupRef::Existing(ids.get(name).cloned().unwrap_or_default()),
                            *weight,
                        ),
                        GroupRef::Existing(_) => (group.clone(), *weight),
                    })
                    .collect(),
            ),
        };
        let mut listeners = desired.listeners.clone();
        for listener in &mut listeners {
            listener.default = with_ids(&listener.default);
            for rule in &mut listener.rules {
                rule.action = with_ids(&rule.action);
            }
        }
        self.ensure_listeners(&id, &listeners).await?;
        // Last, so that clients find a service that is whole.
        self.ensure_associations(&id, &desired.networks).await?;
        let keep: BTreeSet<String> = ids.into_values().collect();
        // What a route no longer uses goes when nothing is in flight to it any more. The service is right already.
        match self.delete_groups(sources, &keep).await {
            Ok(()) => {}
            Err(Fault::Waits(_)) => deployed.leftovers = true,
            Err(fault) => return Err(fault),
        }
        Ok(deployed)
    }

    async fn find_service(&self, name: &str) -> Result<Option<KnownService>, Fault> {
        let mut services = self.services.lock().await;
        if services.is_none() {
            let list = self.client.list_services().into_paginator().items().send();
            let all = list.collect::<Result<Vec<_>, _>>().await?;
            let known = all.into_iter().filter_map(|it| {
                let id = it.id?;
                Some((it.name?, KnownService { id, owned: false }))
            });
            *services = Some(known.collect::<HashMap<_, _>>());
        }
        Ok(services.as_ref().and_then(|it| it.get(name)).cloned())
    }

    async fn remember_service(&self, name: &str, service: Option<KnownService>) {
        if let Some(services) = &mut *self.services.lock().await {
            match service {
                Some(service) => services.insert(name.to_owned(), service),
                None => services.remove(name),
            };
        }
    }

    async fn ensure_service(&self, desired: &Service) -> Result<(String, Deployed), Fault> {
        match (
            self.ensure_named(&desired.name, desired).await,
            &desired.other_name,
        ) {
            (Err(Fault::Conflict(_)), Some(other)) => self.ensure_named(other, desired).await,
            (result, _) => result,
        }
    }

    async fn ensure_named(
        &self,
        name: &str,
        desired: &Service,
    ) -> Result<(String, Deployed), Fault> {
        let Some(mut known) = self.find_service(name).await? else {
            return self.create_service(name, desired).await;
        };
        let found = self
            .client
            .get_service()
            .service_identifier(&known.id)
            .send()
            .await;
        let service = match found.map_err(Fault::from) {
            Ok(service) => service,
            Err(Fault::NotFound(_)) => {
                self.remember_service(name, None).await;
                return self.create_service(name, desired).await;
            }
            Err(fault) => return Err(fault),
        };
        let arn = sent(service.arn, "ARN of a service")?;
        if !known.owned {
            let what = format!("service {name}");
            self.claim(&what, &arn, &identity(&desired.tags), &desired.tags)
                .await?;
            known.owned = true;
            self.remember_service(name, Some(known.clone())).await;
        }
        match service.status {
            Some(ServiceStatus::Active) => {}
            Some(ServiceStatus::CreateFailed) => {
                self.client
                    .delete_service()
                    .service_identifier(&known.id)
                    .send()
                    .await?;
                let message = service.failure_message.unwrap_or_default();
                return Err(Fault::Failed(format!("service {name}: {message}")));
            }
            other => {
                let status = other.map(|it| it.to_string()).unwrap_or_default();
                return Err(Fault::Waits(format!("service {name} is {status}")));
            }
        }
        if service.custom_domain_name != desired.custom_domain {
            return Err(Fault::Failed(format!(
                "the custom domain name of a service cannot change, and that of {name} is {}: delete the route and make it anew",
                service.custom_domain_name.as_deref().unwrap_or("none"),
            )));
        }
        if let Some(certificate) = &desired.certificate
            && service.certificate_arn.as_ref() != Some(certificate)
        {
            let update = self.client.update_service().service_identifier(&known.id);
            update.certificate_arn(certificate).send().await?;
        }
        let dns = service.dns_entry.and_then(|it| it.domain_name);
        let domain_name = dns.unwrap_or_default();
        Ok((
            known.id,
            Deployed {
                arn,
                domain_name,
                leftovers: false,
            },
        ))
    }

    async fn create_service(
        &self,
        name: &str,
        desired: &Service,
    ) -> Result<(String, Deployed), Fault> {
        let create = self
            .client
            .create_service()
            .name(name)
            .set_custom_domain_name(desired.custom_domain.clone())
            .set_certificate_arn(desired.certificate.clone())
            .set_tags(Some(desired.tags.clone().into_iter().collect()));
        let made = match create.send().await.map_err(Fault::from) {
            Ok(made) => made,
            Err(Fault::Conflict(message)) => {
                // Another has made it since the services were read, or another has the domain name.
                *self.services.lock().await = None;
                return Err(Fault::Conflict(message));
            }
            Err(fault) => return Err(fault),
        };
        let arn = sent(made.arn, "ARN of a service")?;
        let id = id_of(&arn);
        let known = KnownService {
            id: id.clone(),
            owned: true,
        };
        self.remember_service(name, Some(known)).await;
        if made.status != Some(ServiceStatus::Active) {
            return Err(Fault::Waits(format!("service {name} is made")));
        }
        let dns = made.dns_entry.and_then(|it| it.domain_name);
        let domain_name = dns.unwrap_or_default();
        Ok((
            id,
            Deployed {
                arn,
                domain_name,
                leftovers: false,
            },
        ))
    }

    async fn ensure_associations(
        &self,
        service: &str,
        networks: &BTreeSet<String>,
    ) -> Result<(), Fault> {
        let list = self.client.list_service_network_service_associations();
        let list = list
            .service_identifier(service)
            .into_paginator()
            .items()
            .send();
        let all = list.collect::<Result<Vec<_>, _>>().await?;
        let mut missing = networks.clone();
        let mut waits = None;
        for it in all {
            let id = it.id.unwrap_or_default();
            let network = it.service_network_name.unwrap_or_default();
            let wanted = networks.contains(&network)
                || networks.contains(it.service_network_id.as_deref().unwrap_or_default());
            match it.status {
                Some(AssociationStatus::Active) if wanted => {
                    missing.remove(&network);
                    missing.remove(it.service_network_id.as_deref().unwrap_or_default());
                }
                Some(AssociationStatus::CreateInProgress) if wanted => {
                    missing.remove(&network);
                    missing.remove(it.service_network_id.as_deref().unwrap_or_default());
                    waits = Some(format!(
                        "the association with service network {network} is made"
                    ));
                }
                Some(AssociationStatus::DeleteInProgress) if wanted => {
                    return Err(Fault::Waits(format!(
                        "the association with service network {network} still goes"
                    )));
                }
                Some(AssociationStatus::DeleteInProgress) => {}
                Some(AssociationStatus::Active | AssociationStatus::CreateInProgress) => {
                    // Others may put the service into networks of theirs.
                    let tags = self.tags_of(it.arn.as_deref().unwrap_or_default()).await?;
                    if self.is_own(&tags) {
                        self.dissociate(&id).await?;
                    }
                }
                _ => self.dissociate(&id).await?,
            }
        }
        for network in missing {
            let Some(found) = self.network(&network).await? else {
                return Err(Fault::Waits(format!(
                    "there is no service network {network}"
                )));
            };
            let create = self.client.create_service_network_service_association();
            let create = create
                .service_identifier(service)
                .service_network_identifier(found.id);
            let made = create
                .tags(key(MANAGED_BY), &self.managed_by)
                .send()
                .await?;
            if made.status != Some(AssociationStatus::Active) {
                waits = Some(format!(
                    "the association with service network {network} is made"
                ));
            }
        }
        waits.map_or(Ok(()), |message| Err(Fault::Waits(message)))
    }

    async fn dissociate(&self, association: &str) -> Result<(), Fault> {
        let delete = self.client.delete_service_network_service_association();
        let delete = delete.service_network_service_association_identifier(association);
        match delete.send().await.map_err(Fault::from) {
            Ok(_) | Err(Fault::NotFound(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes a route's service, if it is the route's, and then its groups. Done when nothing of it is there.
    pub(crate) async fn withdraw(
        &self,
        names: &[String],
        identity: &Tags,
        sources: &Tags,
    ) -> Result<(), Fault> {
        for name in names {
            self.delete_service(name, identity).await?;
        }
        self.delete_groups(sources, &BTreeSet::new()).await
    }

    async fn delete_service(&self, name: &str, identity: &Tags) -> Result<(), Fault> {
        let Some(known) = self.find_service(name).await? else {
            return Ok(());
        };
        let found = self
            .client
            .get_service()
            .service_identifier(&known.id)
            .send()
            .await;
        let service = match found.map_err(Fault::from) {
            Ok(service) => service,
            Err(Fault::NotFound(_)) => {
                self.remember_service(name, None).await;
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let arn = sent(service.arn, "ARN of a service")?;
        if !crate::desired::has_tags(&self.tags_of(&arn).await?, identity) {
            return Ok(());
        }
        if service.status != Some(ServiceStatus::DeleteInProgress) {
            let list = self.client.list_service_network_service_associations();
            let list = list
                .service_identifier(&known.id)
                .into_paginator()
                .items()
                .send();
            let all = list.collect::<Result<Vec<_>, _>>().await?;
            for it in &all {
                if it.status != Some(AssociationStatus::DeleteInProgress) {
                    self.dissociate(it.id().unwrap_or_default()).await?;
                }
            }
            if !all.is_empty() {
                return Err(Fault::Waits(format!(
                    "service {name} still leaves its networks"
                )));
            }
            tracing::info!(service = arn, "service goes");
            self.client
                .delete_service()
                .service_identifier(&known.id)
                .send()
                .await?;
        }
        Err(Fault::Waits(format!("service {name} still goes")))
    }
}
