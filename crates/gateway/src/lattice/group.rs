//! Target groups.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_vpclattice::types::{
    HealthCheckConfig, HealthCheckProtocolVersion, IpAddressType, Matcher, TargetGroupConfig,
    TargetGroupProtocol, TargetGroupProtocolVersion, TargetGroupStatus, TargetGroupType,
    TargetStatus,
};
use futures::StreamExt as _;
use tokio::sync::MutexGuard;

use super::verified::tags_of_new;
use super::{Fault, KnownGroup, KnownGroups, Lattice, id_of, sent};
use crate::desired::{Group, PROTOCOL_VERSION, Tags, has_tags, key};
use crate::kinds::HealthCheck;
use crate::mcs;
use crate::plan::Import;

/// How many groups are read or changed at once.
const AT_ONCE: usize = 8;
/// After how many looks at the groups of all clusters each one's tags are read anew.
pub(crate) const AGAIN: usize = 10;

impl Lattice {
    /// Reads all groups, with the tags of those that a controller may have made, except for those that are known.
    async fn read_groups(
        &self,
        known: &BTreeMap<String, KnownGroup>,
    ) -> Result<BTreeMap<String, KnownGroup>, Fault> {
        let list = self
            .client
            .list_target_groups()
            .target_group_type(TargetGroupType::Ip);
        let all = list
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await?;
        let made = all.into_iter().filter(|it| {
            let named = it.name().is_some_and(|name| name.starts_with("k8s-"));
            named && it.status() != Some(&TargetGroupStatus::DeleteInProgress)
        });
        let reads = made.map(|group| async move {
            let arn = sent(group.arn, "ARN of a target group")?;
            let name = group.name.unwrap_or_default();
            if let Some(known) = known.get(&name).filter(|it| it.arn == arn) {
                return Ok(Some((name, known.clone())));
            }
            let tags = match self.tags_of(&arn).await {
                Ok(tags) => tags,
                // It went in between.
                Err(Fault::NotFound(_)) => return Ok(None),
                Err(fault) => return Err(fault),
            };
            let known = KnownGroup {
                id: id_of(&arn),
                arn,
                vpc: group.vpc_identifier.unwrap_or_default(),
                port: group.port.unwrap_or_default(),
                protocol: group
                    .protocol
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
                tags,
                ..KnownGroup::default()
            };
            Ok(Some((name, known)))
        });
        let read: Vec<Result<_, Fault>> = futures::stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        read.into_iter().filter_map(Result::transpose).collect()
    }

    /// The groups, read when others may have come or gone.
    async fn groups(&self) -> Result<MutexGuard<'_, KnownGroups>, Fault> {
        let mut groups = self.groups.lock().await;
        if !groups.fresh {
            groups.all = self.read_groups(&groups.all).await?;
            groups.fresh = true;
        }
        Ok(groups)
    }

    /// Lets the groups be listed again before the next look at them.
    pub(super) async fn look_at_groups_again(&self) {
        self.groups.lock().await.fresh = false;
    }

    /// The groups that these tags are on, by name.
    async fn groups_with(&self, tags: &Tags) -> Result<Vec<(String, KnownGroup)>, Fault> {
        let groups = self.groups().await?;
        let with = groups
            .all
            .iter()
            .filter(|(_, group)| has_tags(&group.tags, tags));
        Ok(with
            .map(|(name, group)| (name.clone(), group.clone()))
            .collect())
    }

    async fn remember_group(&self, name: &str, group: KnownGroup) {
        let mut groups = self.groups.lock().await;
        groups.all.insert(name.to_owned(), group);
    }

    async fn forget_group(&self, name: &str) {
        self.groups.lock().await.all.remove(name);
    }

    /// The id of the group that an import stands for.
    pub(crate) async fn imported(&self, import: &Import) -> Result<Option<String>, Fault> {
        let (tags, vpc) = match import {
            Import::Arn(arn) => {
                let found = self
                    .client
                    .get_target_group()
                    .target_group_identifier(arn)
                    .send();
                return match found.await.map_err(Fault::from) {
                    Ok(group) => Ok(group.id),
                    Err(Fault::NotFound(_)) => Ok(None),
                    Err(fault) => Err(fault),
                };
            }
            Import::Tagged { tags, vpc } => (tags, vpc),
        };
        // What another cluster made since is not remembered: look again once.
        for again in [false, true] {
            if again {
                self.look_at_groups_again().await;
            }
            let found = self.groups_with(tags).await?;
            let mut fitting = found
                .into_iter()
                .filter(|(_, it)| vpc.as_ref().is_none_or(|vpc| *vpc == it.vpc));
            if let Some((_, group)) = fitting.next() {
                return Ok(Some(group.id));
            }
        }
        Ok(None)
    }

    /// Makes groups what they should be, one beside the other; gives for each its name and id, or what is in the way of it. One
    /// that fails holds up none of the others, where pods may end meanwhile.
    pub(crate) async fn ensure_groups(
        &self,
        desired: &[Group],
    ) -> Vec<Result<(String, String), Fault>> {
        let each = desired.iter().map(|group| async move {
            match self.ensure_group(group).await {
                Ok(id) => Ok((group.name.clone(), id)),
                Err(fault) => {
                    self.fit_former(group).await;
                    Err(fault)
                }
            }
        });
        let each: Vec<_> = each.collect();
        futures::stream::iter(each)
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    /// The group that is to become what is desired, under its name.
    async fn find_group(&self, desired: &Group) -> Result<Option<(String, KnownGroup)>, Fault> {
        // Most have their name: all groups are not looked through for them.
        let named = {
            let groups = self.groups().await?;
            let named = groups.all.get(&desired.name);
            named
                .filter(|it| has_tags(&it.tags, &desired.tags))
                .cloned()
        };
        if let Some(known) = named {
            return Ok(Some((desired.name.clone(), known)));
        }
        let found = self.groups_with(&desired.tags).await?;
        // One that AWS's controller made has another name, and the same tags.
        let fits = |it: &KnownGroup| {
            it.port == desired.port && it.protocol == desired.protocol && it.vpc == self.vpc
        };
        Ok(found.iter().find(|(_, it)| fits(it)).cloned())
    }

    /// The groups that stood for the same port of the same Service before, with another protocol or version.
    async fn former(&self, desired: &Group) -> Result<Vec<(String, KnownGroup)>, Fault> {
        let own = self.find_group(desired).await?.map(|(_, it)| it.id);
        let mut tags = desired.tags.clone();
        tags.remove(&key(PROTOCOL_VERSION));
        let mut found = self.groups_with(&tags).await?;
        found.retain(|(_, it)| {
            it.port == desired.port && it.vpc == self.vpc && own.as_ref() != Some(&it.id)
        });
        Ok(found)
    }

    /// Whether there are such.
    pub(crate) async fn has_former(&self, desired: &Group) -> Result<bool, Fault> {
        Ok(!self.former(desired).await?.is_empty())
    }

    /// While a group cannot be had, requests go to what stood for it before: pods come and end there too.
    async fn fit_former(&self, desired: &Group) {
        let former = match self.former(desired).await {
            Ok(former) => former,
            // The group itself is tried again, and these with it.
            Err(fault) => {
                tracing::warn!(name = desired.name, error = %fault, "groups that may serve still cannot be looked up");
                return;
            }
        };
        for (name, mut known) in former {
            if known.targets.as_ref() == Some(&desired.targets) {
                continue;
            }
            let result = self.fit_targets(&known.id, &desired.targets).await;
            known.targets = result.is_ok().then(|| desired.targets.clone());
            match result {
                Err(Fault::NotFound(_)) => self.forget_group(&name).await,
                Err(fault) => {
                    tracing::warn!(name, error = %fault, "a group that serves still is not as it should be");
                    self.remember_group(&name, known).await;
                }
                Ok(()) => self.remember_group(&name, known).await,
            }
        }
    }

    /// What Lattice says of the targets of a group, by address and port; `None` when the group is not there.
    pub(crate) async fn health(
        &self,
        desired: &Group,
    ) -> Result<Option<BTreeMap<(String, i32), TargetStatus>>, Fault> {
        let Some((_, known)) = self.find_group(desired).await? else {
            return Ok(None);
        };
        match self.targets_of(&known.id).await {
            Ok(all) => Ok(Some(
                all.into_iter()
                    .filter_map(|it| Some(((it.id?, it.port?), it.status?)))
                    .collect(),
            )),
            Err(Fault::NotFound(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Makes a group what it should be; gives its id.
    pub(crate) async fn ensure_group(&self, desired: &Group) -> Result<String, Fault> {
        let (name, mut known) = match self.find_group(desired).await? {
            Some(known) => known,
            None => (desired.name.clone(), self.create_group(desired).await?),
        };
        let result = self.fit_group(desired, &mut known).await;
        match &result {
            Err(Fault::NotFound(_)) => self.forget_group(&name).await,
            Err(_) => {
                known.targets = None;
                self.remember_group(&name, known.clone()).await;
            }
            Ok(()) => self.remember_group(&name, known.clone()).await,
        }
        result.map(|()| known.id)
    }

    async fn create_group(&self, desired: &Group) -> Result<KnownGroup, Fault> {
        let mut config = TargetGroupConfig::builder()
            .port(desired.port)
            .protocol(TargetGroupProtocol::from(desired.protocol.as_str()))
            .ip_address_type(IpAddressType::Ipv4)
            .vpc_identifier(&self.vpc);
        if !desired.version.is_empty() {
            config =
                config.protocol_version(TargetGroupProtocolVersion::from(desired.version.as_str()));
        }
        if let Some(check) = &desired.health_check {
            config = config.health_check(health_check(check));
        }
        let create = self
            .client
            .create_target_group()
            .name(&desired.name)
            .r#type(TargetGroupType::Ip)
            .config(config.build())
            .set_tags(Some(tags_of_new(desired).into_iter().collect()));
        let made = match create.send().await.map_err(Fault::from) {
            Ok(made) => made,
            Err(fault) => {
                // Also a request without an answer may have made it.
                self.look_at_groups_again().await;
                let Fault::Conflict(message) = fault else {
                    return Err(fault);
                };
                let groups = self.groups().await?;
                return Err(match groups.all.get(&desired.name) {
                    Some(other) if !has_tags(&other.tags, &desired.tags) => Fault::Conflict(
                        format!("target group {} is another's, by its tags", desired.name),
                    ),
                    // The next try finds it, or it still goes.
                    _ => Fault::Waits(message),
                });
            }
        };
        let arn = sent(made.arn, "ARN of a target group")?;
        let known = KnownGroup {
            id: id_of(&arn),
            arn,
            vpc: self.vpc.clone(),
            port: desired.port,
            protocol: desired.protocol.clone(),
            tags: tags_of_new(desired),
            active: made.status == Some(TargetGroupStatus::Active),
            health_check: desired.health_check.clone(),
            targets: None,
        };
        self.remember_group(&desired.name, known.clone()).await;
        Ok(known)
    }

    async fn fit_group(&self, desired: &Group, known: &mut KnownGroup) -> Result<(), Fault> {
        let id = known.id.clone();
        if !known.active {
            let group = self
                .client
                .get_target_group()
                .target_group_identifier(&id)
                .send()
                .await?;
            match group.status {
                Some(TargetGroupStatus::Active) => known.active = true,
                Some(TargetGroupStatus::CreateFailed) => {
                    let message = group.failure_message.unwrap_or_default();
                    self.client
                        .delete_target_group()
                        .target_group_identifier(&id)
                        .send()
                        .await?;
                    return Err(Fault::NotFound(format!("target group {id}: {message}")));
                }
                other => {
                    let status = other.map(|it| it.to_string()).unwrap_or_default();
                    return Err(Fault::Waits(format!("target group {id} is {status}")));
                }
            }
        }
        self.fit_extra(desired, known).await?;
        self.fit_verified(desired, known).await?;
        if let Some(check) = &desired.health_check
            && known.health_check.as_ref() != Some(check)
        {
            let update = self
                .client
                .update_target_group()
                .target_group_identifier(&id);
            update.health_check(health_check(check)).send().await?;
            known.health_check = Some(check.clone());
        }
        if known.targets.as_ref() != Some(&desired.targets) {
            self.fit_targets(&id, &desired.targets).await?;
            known.targets = Some(desired.targets.clone());
        }
        Ok(())
    }

    /// Brings the tags that say more of a group to what they should be.
    async fn fit_extra(&self, desired: &Group, known: &mut KnownGroup) -> Result<(), Fault> {
        let there = |it: &&String| it.starts_with(mcs::PREFIX);
        let gone: Vec<_> = known.tags.keys().filter(there).cloned().collect();
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|it| !desired.extra.contains_key(it))
            .collect();
        if !has_tags(&known.tags, &desired.extra) {
            let tag = self.client.tag_resource().resource_arn(&known.arn);
            let extra = desired.extra.clone().into_iter().collect();
            tag.set_tags(Some(extra)).send().await?;
            known.tags.extend(desired.extra.clone());
        }
        if !gone.is_empty() {
            let untag = self.client.untag_resource().resource_arn(&known.arn);
            untag.set_tag_keys(Some(gone.clone())).send().await?;
            known.tags.retain(|it, _| !gone.contains(it));
        }
        Ok(())
    }

    /// The groups of all controllers that these tags are on: ARN, port and tags. What is looked at again and again has a memory of its
    /// own, so that no work on objects waits for it. Others change tags: of those found before, each look reads some anew, and ten
    /// looks read all.
    pub(crate) async fn tagged_groups(
        &self,
        tags: &Tags,
    ) -> Result<Vec<(String, i32, Tags)>, Fault> {
        let mut looks = self.looks.lock().await;
        let turn = looks.count % AGAIN;
        looks.count = looks.count.wrapping_add(1);
        let found = looks.all.iter().filter(|(_, it)| has_tags(&it.tags, tags));
        let old = found.enumerate().filter(|(at, _)| at % AGAIN == turn);
        let old: Vec<_> = old.map(|(_, (name, _))| name.clone()).collect();
        looks.all.retain(|name, _| !old.contains(name));
        looks.all = self.read_groups(&looks.all).await?;
        let found = looks.all.values().filter(|it| has_tags(&it.tags, tags));
        Ok(found
            .map(|it| (it.arn.clone(), it.port, it.tags.clone()))
            .collect())
    }

    /// Deletes the groups that have these tags, and are none of those to be kept.
    pub(crate) async fn delete_groups(
        &self,
        tags: &Tags,
        keep: &BTreeSet<String>,
    ) -> Result<(), Fault> {
        self.remove_groups((tags, keep), None).await
    }

    /// The same of groups that other clusters may use: they are told first, and as long as a group is used it keeps those of its targets
    /// that are still there.
    pub(crate) async fn end_exports(
        &self,
        tags: &Tags,
        keep: &BTreeSet<String>,
        still: &BTreeSet<(String, i32)>,
    ) -> Result<(), Fault> {
        self.remove_groups((tags, keep), Some(still)).await
    }

    async fn remove_groups(
        &self,
        (tags, keep): (&Tags, &BTreeSet<String>),
        still: Option<&BTreeSet<(String, i32)>>,
    ) -> Result<(), Fault> {
        let mut waits = None;
        for (name, group) in self.groups_with(tags).await? {
            if keep.contains(&group.id) {
                continue;
            }
            // Whose it is was read some time ago.
            match self.tags_if_there(Some(&group.arn)).await? {
                Some(now) if has_tags(&now, tags) => {}
                Some(now) => {
                    let changed = KnownGroup { tags: now, ..group };
                    self.remember_group(&name, changed).await;
                    continue;
                }
                None => {
                    self.forget_group(&name).await;
                    continue;
                }
            }
            let left = match still {
                Some(still) => self.leave(&name, &group, still).await,
                None => Ok(()),
            };
            let deleted = match left {
                Ok(()) => self.delete_group(&group).await,
                Err(fault) => Err(fault),
            };
            match deleted {
                Ok(()) | Err(Fault::NotFound(_)) => self.forget_group(&name).await,
                Err(Fault::Conflict(message) | Fault::Waits(message)) => waits = Some(message),
                Err(fault) => return Err(fault),
            }
        }
        waits.map_or(Ok(()), |message| Err(Fault::Waits(message)))
    }

    /// Takes what says that a group is exported off it, and waits until nothing forwards to it.
    async fn leave(
        &self,
        name: &str,
        group: &KnownGroup,
        still: &BTreeSet<(String, i32)>,
    ) -> Result<(), Fault> {
        let mut known = group.clone();
        self.fit_extra(&Group::default(), &mut known).await?;
        self.remember_group(name, known.clone()).await;
        let get = self.client.get_target_group();
        let found = get.target_group_identifier(&group.id).send().await?;
        let services = found.service_arns().len();
        if services == 0 {
            return Ok(());
        }
        let there = self.registered(&group.id).await?;
        let gone: Vec<_> = there.difference(still).collect();
        self.deregister(&group.id, &gone).await?;
        known.targets = None;
        self.remember_group(name, known).await;
        Err(Fault::Waits(format!(
            "target group {name} is still used by {services} services"
        )))
    }

    async fn delete_group(&self, group: &KnownGroup) -> Result<(), Fault> {
        tracing::info!(target_group.arn = group.arn, "target group goes");
        let there = self.registered(&group.id).await?;
        self.deregister(&group.id, &there.iter().collect::<Vec<_>>())
            .await?;
        self.client
            .delete_target_group()
            .target_group_identifier(&group.id)
            .send()
            .await?;
        Ok(())
    }
}

fn health_check(check: &HealthCheck) -> HealthCheckConfig {
    HealthCheckConfig::builder()
        .set_enabled(check.enabled)
        .set_protocol(check.protocol.as_deref().map(TargetGroupProtocol::from))
        .set_protocol_version(
            check
                .protocol_version
                .as_deref()
                .map(HealthCheckProtocolVersion::from),
        )
        .set_port(check.port)
        .set_path(check.path.clone())
        .set_health_check_interval_seconds(check.interval_seconds)
        .set_health_check_timeout_seconds(check.timeout_seconds)
        .set_healthy_threshold_count(check.healthy_threshold_count)
        .set_unhealthy_threshold_count(check.unhealthy_threshold_count)
        .set_matcher(check.status_match.clone().map(Matcher::HttpCode))
        .build()
}
