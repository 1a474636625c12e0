//! Services, and their places in service networks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_vpclattice::types::{
    AuthType, ServiceNetworkServiceAssociationStatus as AssociationStatus, ServiceStatus,
};

use super::{Fault, Guarded, KnownService, Lattice, id_of, sent};
use crate::desired::{Action, GroupRef, Service, Tags, has_tags, key};
use crate::desired::{MANAGED_BY, ROUTE_NAME, ROUTE_NAMESPACE, ROUTE_TYPE};
use crate::guards::{Guards, Target};

/// A service that is as it should be, as far as Lattice is done.
pub(crate) struct Deployed {
    pub(crate) arn: String,
    pub(crate) domain_name: String,
    /// Whether groups that the route no longer uses still go.
    pub(crate) leftovers: bool,
    /// What is worth saying although all is well.
    pub(crate) remark: Option<String>,
}

/// The tags that say whose a service is.
fn identity(tags: &Tags) -> Tags {
    let keys = [MANAGED_BY, ROUTE_NAME, ROUTE_NAMESPACE, ROUTE_TYPE].map(key);
    tags.iter()
        .filter(|(it, _)| keys.contains(it))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Whether tags are those of this route's service, of the controller that it may be taken over from.
fn is_takeover(tags: &Tags, identity: &Tags, from: &str) -> bool {
    let manager = key(MANAGED_BY);
    let mut theirs = identity.clone();
    let own = theirs.insert(manager, from.to_owned());
    own.as_deref() != Some(from) && has_tags(tags, &theirs)
}

/// Whose a service is, in words.
fn owner(tags: &Tags) -> String {
    let tag = |name: &str| tags.get(&key(name)).map_or("none", String::as_str);
    format!(
        "its tag {} is {}, its route is {} {}/{}",
        key(MANAGED_BY),
        tag(MANAGED_BY),
        tag(ROUTE_TYPE),
        tag(ROUTE_NAMESPACE),
        tag(ROUTE_NAME)
    )
}

impl Lattice {
    /// Makes a service and all that belongs to it what it should be.
    pub(crate) async fn deploy(
        &self,
        desired: &Service,
        sources: &Tags,
        (target, guards): (&Target, Guards<'_>),
    ) -> Result<Deployed, Fault> {
        let mut ids = BTreeMap::new();
        let mut waits = None;
        for made in self.ensure_groups(&desired.groups).await {
            match made {
                Ok((name, id)) => drop(ids.insert(name, id)),
                // Meanwhile the service can be made.
                Err(Fault::Waits(message)) => waits = Some(message),
                Err(fault) => return Err(fault),
            }
        }
        let service = self.ensure_service(desired, (target, guards)).await;
        // A service that is there is guarded at once, and a new one before anybody can reach it.
        let guarded = match &service {
            Ok((id, _)) => self.guard(id, (target, guards)).await?,
            Err(_) => Guarded::Not,
        };
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
                let groups = rule.traffic.iter_mut().flat_map(|it| it.groups_mut());
                for group in groups {
                    if let GroupRef::Own(name) = group {
                        let id = ids.get(name).cloned().unwrap_or_default();
                        *group = GroupRef::Existing(id);
                    }
                }
            }
        }
        self.ensure_listeners(&id, &listeners).await?;
        // Last, so that clients find a service that is whole.
        self.ensure_associations(&id, &desired.networks, guards)
            .await?;
        let keep: BTreeSet<String> = ids.into_values().collect();
        // What a route no longer uses goes when nothing is in flight to it any more. The service is right already.
        match self.delete_groups(sources, &keep).await {
            Ok(()) => {}
            Err(Fault::Waits(_)) => deployed.leftovers = true,
            Err(fault) => return Err(fault),
        }
        match guarded {
            Guarded::Shut(fault) => Err(Fault::Failed(format!(
                "no client may call the service: {fault}"
            ))),
            Guarded::Not | Guarded::AsAsked => Ok(deployed),
        }
    }

    /// The service of a name, of the controller's account.
    pub(super) async fn find_service(&self, name: &str) -> Result<Option<KnownService>, Fault> {
        let mut services = self.services.lock().await;
        if services.is_none() {
            let list = self.client.list_services().into_paginator().items().send();
            let all = list.collect::<Result<Vec<_>, _>>().await?;
            let known = all.into_iter().filter_map(|it| {
                let (id, arn) = (it.id?, it.arn?);
                let own = self.is_of_account(&arn);
                own.then_some((it.name?, KnownService { id, arn }))
            });
            *services = Some(known.collect::<HashMap<_, _>>());
        }
        Ok(services.as_ref().and_then(|it| it.get(name)).cloned())
    }

    /// The names, with those of services in the place of their ARNs.
    async fn named(&self, names: &[String]) -> Result<Vec<String>, Fault> {
        let mut all = Vec::new();
        for name in names {
            if !name.starts_with("arn:") {
                all.push(name.clone());
                continue;
            }
            // Services are listed by then.
            self.find_service("").await?;
            let services = self.services.lock().await;
            let mut known = services.iter().flatten();
            let found = known.find(|(_, it)| it.arn == *name);
            all.extend(found.map(|(name, _)| name.clone()));
        }
        let mut seen = BTreeSet::new();
        all.retain(|it| seen.insert(it.clone()));
        Ok(all)
    }

    /// Makes the service of another controller for the same route this one's, with its places in networks.
    async fn take_over(
        &self,
        (name, known): (&str, &KnownService),
        desired: &Service,
        tags: &Tags,
    ) -> Result<(), Fault> {
        // What could not be the route's stays the other's: with the route's tags it would go with the route.
        let found = self.client.get_service().service_identifier(&known.id);
        let found = found.send().await?;
        if found.status != Some(ServiceStatus::Active) {
            let status = found.status.map(|it| it.to_string()).unwrap_or_default();
            return Err(Fault::Waits(format!(
                "service {name} is {status}, and is taken over when it is ACTIVE"
            )));
        }
        if !desired.has_entrance && found.custom_domain_name != desired.custom_domain {
            return Err(Fault::Conflict(format!(
                "service {name} is not taken over: its custom domain name is {}, and that of the route would be {}",
                found.custom_domain_name.as_deref().unwrap_or("none"),
                desired.custom_domain.as_deref().unwrap_or("none"),
            )));
        }
        tracing::info!(
            service.arn = known.arn,
            owner = owner(tags),
            "a service is taken over"
        );
        let from = tags.get(&key(MANAGED_BY));
        let list = self.client.list_service_network_service_associations();
        let list = list
            .service_identifier(&known.id)
            .into_paginator()
            .items()
            .send();
        for it in list.collect::<Result<Vec<_>, _>>().await? {
            let arn = it.arn().unwrap_or_default();
            let theirs = self.tags_if_there(Some(arn)).await?.unwrap_or_default();
            if theirs.get(&key(MANAGED_BY)) == from {
                let tag = self.client.tag_resource().resource_arn(arn);
                tag.tags(key(MANAGED_BY), &self.managed_by).send().await?;
            }
        }
        // Last: a controller that ends in the middle begins again.
        let tag = self.client.tag_resource().resource_arn(&known.arn);
        let identity = identity(&desired.tags).into_iter().collect();
        tag.set_tags(Some(identity)).send().await?;
        Ok(())
    }

    pub(super) async fn remember_service(&self, name: &str, service: Option<KnownService>) {
        if let Some(services) = &mut *self.services.lock().await {
            match service {
                Some(service) => services.insert(name.to_owned(), service),
                None => services.remove(name),
            };
        }
    }

    /// The id of the service that has one of these names, and these tags, which prove whose it is.
    pub(crate) async fn own_service(
        &self,
        names: &[String],
        identity: &Tags,
    ) -> Result<Option<String>, Fault> {
        for name in &self.named(names).await? {
            let Some(known) = self.find_service(name).await? else {
                continue;
            };
            let tags = self.tags_if_there(Some(&known.arn)).await?;
            if tags.is_some_and(|tags| has_tags(&tags, identity)) {
                return Ok(Some(known.id));
            }
        }
        Ok(None)
    }

    /// The service that the route has, under whichever of its names; else a new one under the first name that is free.
    async fn ensure_service(
        &self,
        desired: &Service,
        auth: (&Target, Guards<'_>),
    ) -> Result<(String, Deployed), Fault> {
        let identity = identity(&desired.tags);
        let former = self.named(&desired.former).await?;
        let names: Vec<_> = desired.names.iter().chain(&former).collect();
        let mut refused = None;
        for _ in 0..2 {
            let mut taken = None;
            let mut free = None;
            for name in &names {
                let tags = match self.find_service(name).await? {
                    Some(known) => self
                        .tags_if_there(Some(&known.arn))
                        .await?
                        .map(|tags| (known, tags)),
                    None => None,
                };
                let Some((known, tags)) = tags else {
                    self.remember_service(name, None).await;
                    if desired.names.contains(name) {
                        free = free.or(Some(*name));
                    }
                    continue;
                };
                let taken_over = desired.takeover.as_deref();
                let taken_over = taken_over.is_some_and(|from| is_takeover(&tags, &identity, from));
                if taken_over {
                    self.take_over((name, &known), desired, &tags).await?;
                } else if !has_tags(&tags, &identity) {
                    let whose = || format!("service {name} is another's: {}", owner(&tags));
                    taken = taken.or_else(|| Some(whose()));
                    continue;
                }
                let (id, mut deployed) =
                    self.fit_service(name, &known, &tags, desired, auth).await?;
                deployed.remark = taken.map(|it| format!("{it}; the service is {name}"));
                return Ok((id, deployed));
            }
            let Some(name) = free else {
                return Err(Fault::Conflict(taken.unwrap_or_default()));
            };
            match self.create_service(name, desired, auth).await {
                Ok((id, mut deployed)) => {
                    deployed.remark = taken.map(|it| format!("{it}; the service is {name}"));
                    return Ok((id, deployed));
                }
                // It has been made since services were read, be it by this controller: then its tags say whose it is. Or
                // another has the domain name.
                Err(fault @ Fault::Conflict(_)) => refused = Some(fault),
                Err(fault) => return Err(fault),
            }
        }
        Err(refused
            .unwrap_or_else(|| Fault::Conflict(format!("service {}", desired.names.join(" or ")))))
    }

    /// Makes a service that is proved to be the route's what it should be.
    async fn fit_service(
        &self,
        name: &str,
        known: &KnownService,
        tags: &Tags,
        desired: &Service,
        auth: (&Target, Guards<'_>),
    ) -> Result<(String, Deployed), Fault> {
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
                return self.create_service(name, desired, auth).await;
            }
            Err(fault) => return Err(fault),
        };
        let arn = sent(service.arn, "ARN of a service")?;
        if !has_tags(tags, &desired.tags) {
            let wanted = desired.tags.clone().into_iter().collect();
            let tagged = self.client.tag_resource().resource_arn(&arn);
            tagged.set_tags(Some(wanted)).send().await?;
        }
        if service.auth_type != Some(AuthType::AwsIam) {
            // Whatever guarded it does no longer.
            self.forget_guard(&known.id).await;
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
        if !desired.has_entrance && service.custom_domain_name != desired.custom_domain {
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
        Ok((
            known.id.clone(),
            Deployed {
                arn,
                domain_name: dns.unwrap_or_default(),
                leftovers: false,
                remark: None,
            },
        ))
    }

    async fn create_service(
        &self,
        name: &str,
        desired: &Service,
        (target, guards): (&Target, Guards<'_>),
    ) -> Result<(String, Deployed), Fault> {
        // Shut from the beginning, if a policy asks for it: the policy itself needs the service first.
        let guard = guards(target);
        if let Some(guard) = guard.as_ref().filter(|it| !it.held) {
            let policy = &guard.policy;
            return Err(Fault::Waits(format!(
                "IAMAuthPolicy {policy} has no finalizer yet"
            )));
        }
        let create = self
            .client
            .create_service()
            .name(name)
            .set_auth_type(guard.map(|_| AuthType::AwsIam))
            .set_custom_domain_name(desired.custom_domain.clone())
            .set_certificate_arn(desired.certificate.clone())
            .set_tags(Some(desired.tags.clone().into_iter().collect()));
        let made = match create.send().await.map_err(Fault::from) {
            Ok(made) => made,
            Err(fault) => {
                // Also a request without an answer may have made it.
                *self.services.lock().await = None;
                return Err(fault);
            }
        };
        let arn = sent(made.arn, "ARN of a service")?;
        let id = id_of(&arn);
        let known = KnownService {
            id: id.clone(),
            arn: arn.clone(),
        };
        self.remember_service(name, Some(known)).await;
        if made.status != Some(ServiceStatus::Active) {
            return Err(Fault::Waits(format!("service {name} is made")));
        }
        let dns = made.dns_entry.and_then(|it| it.domain_name);
        Ok((
            id,
            Deployed {
                arn,
                domain_name: dns.unwrap_or_default(),
                leftovers: false,
                remark: None,
            },
        ))
    }

    pub(super) async fn ensure_associations(
        &self,
        service: &str,
        networks: &BTreeSet<String>,
        guards: Guards<'_>,
    ) -> Result<(), Fault> {
        let mut wanted = BTreeMap::new();
        let mut waits = None;
        for name in networks {
            match self.network(name).await? {
                Some(network) => drop(wanted.insert(network.id, name)),
                None => waits = Some(format!("there is no service network {name}")),
            }
        }
        let found = waits.is_none();
        let list = self.client.list_service_network_service_associations();
        let list = list
            .service_identifier(service)
            .into_paginator()
            .items()
            .send();
        for it in list.collect::<Result<Vec<_>, _>>().await? {
            let id = it.id.unwrap_or_default();
            let network = it.service_network_name.unwrap_or_default();
            let network_id = it.service_network_id.unwrap_or_default();
            match it.status {
                Some(AssociationStatus::Active) if wanted.contains_key(&network_id) => {
                    wanted.remove(&network_id);
                }
                Some(AssociationStatus::CreateInProgress) if wanted.contains_key(&network_id) => {
                    wanted.remove(&network_id);
                    waits = Some(format!(
                        "the association with service network {network} is made"
                    ));
                }
                Some(AssociationStatus::DeleteInProgress) => {
                    if wanted.remove(&network_id).is_some() {
                        waits = Some(format!(
                            "the association with service network {network} still goes"
                        ));
                    }
                }
                // While a network cannot be found, nothing is said of what is associated.
                _ if !found => {}
                _ => {
                    // Others may put the service into networks of theirs.
                    let tags = self.tags_if_there(it.arn.as_deref()).await?;
                    if tags.is_some_and(|tags| self.is_own(&tags)) {
                        self.dissociate(&id).await?;
                    }
                    if wanted.remove(&network_id).is_some() {
                        waits = Some(format!(
                            "the association with service network {network} has failed"
                        ));
                    }
                }
            }
        }
        for (id, name) in wanted {
            // What guards a whole network comes before the services in it, too.
            let target = Target::Network(name.clone());
            self.guard(&id, (&target, guards)).await?;
            let create = self.client.create_service_network_service_association();
            let create = create
                .service_identifier(service)
                .service_network_identifier(id);
            let made = create
                .tags(key(MANAGED_BY), &self.managed_by)
                .send()
                .await?;
            if made.status != Some(AssociationStatus::Active) {
                waits = Some(format!(
                    "the association with service network {name} is made"
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
        if self.own_service(names, identity).await?.is_none() {
            // The cached list cannot prove that it is gone, and no later pass would look again: the next one reads a new list.
            *self.services.lock().await = None;
            self.look_at_groups_again().await;
        }
        for name in &self.named(names).await? {
            self.delete_service(name, identity).await?;
        }
        self.delete_groups(sources, &BTreeSet::new()).await
    }

    pub(super) async fn delete_service(&self, name: &str, identity: &Tags) -> Result<(), Fault> {
        let Some(known) = self.find_service(name).await? else {
            return Ok(());
        };
        let tags = self.tags_if_there(Some(&known.arn)).await?;
        if !tags.is_some_and(|tags| has_tags(&tags, identity)) {
            return Ok(());
        }
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
            tracing::info!(service.arn = known.arn, "service goes");
            self.client
                .delete_service()
                .service_identifier(&known.id)
                .send()
                .await?;
        }
        Err(Fault::Waits(format!("service {name} still goes")))
    }
}
