//! Records in private zones of Route 53: a CNAME for each name, and beside it a TXT record that says whose it is. A name that has
//! any record without that is another's, and is not touched.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_route53::Client;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use tokio::sync::Mutex;

use super::Names;
use crate::lattice::Fault;
use crate::lattice::shared::Shared;
use crate::settings::Settings;

/// A name of this cluster's: its zone, what it leads to, and the records as they are.
#[derive(Clone)]
struct Owned {
    zone: String,
    target: String,
    ttl: i64,
    resource: String,
    sets: Vec<ResourceRecordSet>,
}

/// What is known of the zones.
#[derive(Default)]
struct Known {
    /// The ids of zones by their names, without the dot at the end.
    zones: BTreeMap<String, String>,
    /// Names that have any record.
    taken: BTreeSet<String>,
    owned: BTreeMap<String, Owned>,
}

/// The records of Services.
pub(crate) struct Records {
    client: Client,
    /// Whose records are this cluster's: the same as in the tag `ManagedBy`.
    owner: String,
    vpc: String,
    /// The names or ids of the zones that may be written to.
    allowed: Vec<String>,
    known: Mutex<Option<Known>>,
}

/// The name of the record that says whose a name is.
fn beside(hostname: &str) -> String {
    format!("cname-{hostname}")
}

/// A name as it is compared: small letters, without the dot at the end.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn set(name: &str, kind: RrType, ttl: i64, value: &str) -> Result<ResourceRecordSet, Fault> {
    let wrong = |error: aws_sdk_route53::error::BuildError| Fault::Failed(error.to_string());
    let record = ResourceRecord::builder()
        .value(value)
        .build()
        .map_err(wrong)?;
    let set = ResourceRecordSet::builder()
        .name(name)
        .r#type(kind)
        .ttl(ttl);
    set.resource_records(record).build().map_err(wrong)
}

impl Records {
    pub(crate) fn new(shared: &Shared, settings: &Settings) -> Self {
        let config = aws_sdk_route53::config::Builder::from(&shared.config)
            .interceptor(shared.fence())
            .interceptor(shared.counted())
            .build();
        Self::with(Client::from_conf(config), settings)
    }

    pub(crate) fn with(client: Client, settings: &Settings) -> Self {
        Self {
            client,
            owner: settings.managed_by(),
            vpc: settings.vpc_id.clone(),
            allowed: settings.discover_zones.clone(),
            known: Mutex::default(),
        }
    }

    /// Forgets what was read, so that what others changed is seen.
    pub(crate) async fn forget(&self) {
        *self.known.lock().await = None;
    }

    fn text(&self, resource: &str) -> String {
        format!(
            "\"heritage=lath,lath/owner={},lath/resource={resource}\"",
            self.owner
        )
    }

    /// What an own TXT record says that it is for.
    fn resource<'a>(&self, text: &'a str) -> Option<&'a str> {
        let before = format!("\"heritage=lath,lath/owner={},lath/resource=", self.owner);
        text.strip_prefix(&before)?.strip_suffix('"')
    }

    /// The private zones of the cluster's VPC that may be written to.
    async fn zones(&self) -> Result<BTreeMap<String, String>, Fault> {
        let mut zones = BTreeMap::new();
        let list = self
            .client
            .list_hosted_zones()
            .into_paginator()
            .items()
            .send();
        for zone in list.collect::<Result<Vec<_>, _>>().await? {
            let id = zone.id().trim_start_matches("/hostedzone/").to_owned();
            let name = plain(zone.name());
            let private = zone.config().is_some_and(|it| it.private_zone());
            let allowed = self.allowed.iter().any(|it| *it == id || plain(it) == name);
            if !private || !allowed {
                continue;
            }
            let found = self.client.get_hosted_zone().id(&id).send().await?;
            let here = found.vpcs().iter().any(|it| it.vpc_id() == Some(&self.vpc));
            if here && zones.insert(name.clone(), id).is_some() {
                return Err(Fault::Conflict(format!(
                    "two zones of {} have the name {name}: --discover-zones takes an id",
                    self.vpc
                )));
            }
        }
        Ok(zones)
    }

    async fn read(&self) -> Result<Known, Fault> {
        let mut known = Known {
            zones: self.zones().await?,
            ..Known::default()
        };
        for id in known.zones.clone().into_values() {
            let sets = self.sets(&id).await?;
            let mut texts = BTreeMap::new();
            for set in &sets {
                let name = plain(set.name());
                known.taken.insert(name.clone());
                let values = set.resource_records();
                if let ([value], RrType::Txt) = (values, set.r#type())
                    && let Some(resource) = self.resource(value.value())
                {
                    texts.insert(name, (resource.to_owned(), set.clone()));
                }
            }
            for set in sets {
                let name = plain(set.name());
                let ([value], RrType::Cname) = (set.resource_records(), set.r#type()) else {
                    continue;
                };
                let Some((resource, text)) = texts.remove(&beside(&name)) else {
                    continue;
                };
                let owned = Owned {
                    zone: id.clone(),
                    target: plain(value.value()),
                    ttl: set.ttl().unwrap_or_default(),
                    resource,
                    sets: vec![set.clone(), text],
                };
                known.owned.insert(name, owned);
            }
            // A record that says whose a name is, without the name: somebody has removed that.
            for (name, (resource, text)) in texts {
                let Some(hostname) = name.strip_prefix("cname-") else {
                    continue;
                };
                let owned = Owned {
                    zone: id.clone(),
                    target: String::new(),
                    ttl: 0,
                    resource,
                    sets: vec![text],
                };
                known.owned.insert(hostname.to_owned(), owned);
            }
        }
        Ok(known)
    }

    async fn sets(&self, zone: &str) -> Result<Vec<ResourceRecordSet>, Fault> {
        let mut sets = Vec::new();
        let (mut name, mut kind, mut identifier) = (None, None, None);
        loop {
            let list = self.client.list_resource_record_sets().hosted_zone_id(zone);
            let list = list
                .set_start_record_name(name)
                .set_start_record_type(kind)
                .set_start_record_identifier(identifier);
            let page = list.send().await?;
            (name, kind, identifier) = (
                page.next_record_name,
                page.next_record_type,
                page.next_record_identifier,
            );
            sets.extend(page.resource_record_sets);
            if !page.is_truncated || name.is_none() {
                return Ok(sets);
            }
        }
    }

    async fn change(
        &self,
        zone: &str,
        gone: &[ResourceRecordSet],
        new: &[ResourceRecordSet],
    ) -> Result<(), Fault> {
        let wrong = |error: aws_sdk_route53::error::BuildError| Fault::Failed(error.to_string());
        let mut changes = Vec::new();
        for (action, sets) in [(ChangeAction::Delete, gone), (ChangeAction::Create, new)] {
            for set in sets {
                let change = Change::builder().action(action.clone());
                let change = change.resource_record_set(set.clone()).build();
                changes.push(change.map_err(wrong)?);
            }
        }
        let batch = ChangeBatch::builder().set_changes(Some(changes)).build();
        let change = self.client.change_resource_record_sets();
        let change = change
            .hosted_zone_id(zone)
            .change_batch(batch.map_err(wrong)?);
        // A conflict here says that a zone is not what is remembered of it: that is read anew.
        match change.send().await.map_err(Fault::from) {
            Err(Fault::Conflict(message)) => Err(Fault::Waits(message)),
            result => result.map(drop),
        }
    }

    /// Lets the names that something asks for lead to a target, and no other names of its.
    pub(crate) async fn ensure(
        &self,
        resource: &str,
        names: &Names,
        target: &str,
    ) -> Result<(), Fault> {
        let mut guard = self.known.lock().await;
        let mut known = match guard.take() {
            Some(known) => known,
            None => self.read().await?,
        };
        // Until it is known to be true, nothing is remembered.
        let result = self.bring(&mut known, resource, names, target).await;
        if !matches!(
            result,
            Err(Fault::Failed(_) | Fault::Unanswered(_) | Fault::NotFound(_) | Fault::Waits(_))
        ) {
            *guard = Some(known);
        }
        result
    }

    async fn bring(
        &self,
        known: &mut Known,
        resource: &str,
        names: &Names,
        target: &str,
    ) -> Result<(), Fault> {
        let own = known.owned.iter().filter(|(_, it)| it.resource == resource);
        let gone: Vec<_> = own
            .filter(|(name, _)| !names.hostnames.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(owned) = known.owned.get(&name) {
                tracing::info!(name, "a name of a Service goes");
                self.change(&owned.zone, &owned.sets, &[]).await?;
            }
            known.owned.remove(&name);
            known.taken.remove(&name);
            known.taken.remove(&beside(&name));
        }
        let mut refused = None;
        for name in &names.hostnames {
            match self.lead(known, (resource, name), names.ttl, target).await {
                Ok(()) => {}
                Err(fault @ Fault::Conflict(_)) => refused = refused.or(Some(fault)),
                Err(fault) => return Err(fault),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// The zone of a name that something may have.
    fn zone_for(&self, known: &Known, resource: &str, name: &str) -> Result<String, Fault> {
        let within = |zone: &str| name == zone || name.ends_with(&format!(".{zone}"));
        let zones = known.zones.iter().filter(|(zone, _)| within(zone));
        let Some((_, zone)) = zones.max_by_key(|(zone, _)| zone.len()) else {
            let vpc = &self.vpc;
            return Err(Fault::Conflict(format!(
                "no private zone of {vpc} that --discover-zones allows has the name {name}"
            )));
        };
        match known.owned.get(name) {
            Some(owned) if owned.resource != resource => {
                let other = &owned.resource;
                Err(Fault::Conflict(format!("{name} is the name of {other}")))
            }
            None if known.taken.contains(name) || known.taken.contains(&beside(name)) => Err(
                Fault::Conflict(format!("{name} has records that this cluster did not make")),
            ),
            _ => Ok(zone.clone()),
        }
    }

    /// Whether something may have the names that it asks for.
    pub(crate) async fn check(&self, resource: &str, names: &Names) -> Result<(), Fault> {
        let mut guard = self.known.lock().await;
        let known = match guard.take() {
            Some(known) => known,
            None => self.read().await?,
        };
        let known = guard.insert(known);
        let mut names = names.hostnames.iter();
        names.try_for_each(|name| self.zone_for(known, resource, name).map(drop))
    }

    /// Lets one name lead to a target.
    async fn lead(
        &self,
        known: &mut Known,
        (resource, name): (&str, &str),
        ttl: i64,
        target: &str,
    ) -> Result<(), Fault> {
        let zone = self.zone_for(known, resource, name)?;
        let before = known.owned.get(name).cloned();
        let former = match &before {
            Some(owned) => {
                if (owned.target.as_str(), owned.ttl) == (&plain(target), ttl) && owned.zone == zone
                {
                    return Ok(());
                }
                &owned.sets[..]
            }
            None => &[],
        };
        let sets = vec![
            set(name, RrType::Cname, ttl, target)?,
            set(&beside(name), RrType::Txt, ttl, &self.text(resource))?,
        ];
        let other = before.as_ref().filter(|it| it.zone != zone);
        if let Some(owned) = other {
            self.change(&owned.zone, &owned.sets, &[]).await?;
        }
        let former = if other.is_some() { &[] } else { former };
        // One batch, which is carried out wholly or not at all: that something is created says that nothing was there.
        self.change(&zone, former, &sets).await?;
        tracing::info!(name, target, "a name of a Service leads to it");
        known.taken.extend([name.to_owned(), beside(name)]);
        let owned = Owned {
            zone,
            target: plain(target),
            ttl,
            resource: resource.to_owned(),
            sets,
        };
        known.owned.insert(name.to_owned(), owned);
        Ok(())
    }
}
