//! The targets of target groups.

use std::collections::BTreeSet;

use aws_sdk_vpclattice::types::{Target, TargetFailure, TargetStatus, TargetSummary};

use super::{Fault, Lattice};

/// How many targets one request registers.
const CHUNK: usize = 100;

impl Lattice {
    pub(super) async fn targets_of(&self, group: &str) -> Result<Vec<TargetSummary>, Fault> {
        let list = self.client.list_targets().target_group_identifier(group);
        Ok(list
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await?)
    }

    /// The targets of a group that do not drain.
    pub(super) async fn registered(&self, group: &str) -> Result<BTreeSet<(String, i32)>, Fault> {
        let all = self.targets_of(group).await?;
        let staying = all
            .into_iter()
            .filter(|it| it.status != Some(TargetStatus::Draining));
        Ok(staying.filter_map(|it| Some((it.id?, it.port?))).collect())
    }

    pub(super) async fn fit_targets(
        &self,
        group: &str,
        wanted: &BTreeSet<(String, i32)>,
    ) -> Result<(), Fault> {
        let there = self.registered(group).await?;
        // What is new comes first, so that the group does not run empty in between.
        let new: Vec<_> = wanted.difference(&there).collect();
        let registered = self.register(group, &new).await;
        let gone: Vec<_> = there.difference(wanted).collect();
        // While Lattice does not answer, what ends serves those requests that nothing else could: it goes with the next try.
        if matches!(registered, Err(Fault::Unanswered(_))) && gone.len() == there.len() {
            return registered;
        }
        // One address that cannot be had must not keep those in it that others may have got since, nor must a registration
        // that fails as a whole: what ends here ends soon, and a full group gets room by it.
        let deregistered = self.deregister(group, &gone).await;
        registered.and(deregistered)
    }

    async fn register(&self, group: &str, new: &[&(String, i32)]) -> Result<(), Fault> {
        let mut failed = None;
        for chunk in new.chunks(CHUNK) {
            let register = self
                .client
                .register_targets()
                .target_group_identifier(group);
            let register = register.set_targets(Some(targets(chunk)?));
            match register.send().await.map_err(Fault::from) {
                Ok(answer) => failed = failed.or_else(|| failure(group, answer.unsuccessful())),
                Err(fault @ Fault::Unanswered(_)) => return Err(fault),
                Err(fault) => failed = failed.or(Some(fault)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    pub(super) async fn deregister(
        &self,
        group: &str,
        gone: &[&(String, i32)],
    ) -> Result<(), Fault> {
        let mut failed = None;
        for chunk in gone.chunks(CHUNK) {
            let deregister = self
                .client
                .deregister_targets()
                .target_group_identifier(group);
            let deregister = deregister.set_targets(Some(targets(chunk)?));
            match deregister.send().await.map_err(Fault::from) {
                Ok(answer) => failed = failed.or_else(|| failure(group, answer.unsuccessful())),
                Err(fault @ Fault::Unanswered(_)) => return Err(fault),
                Err(fault) => failed = failed.or(Some(fault)),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// What went wrong with the first of some targets, if anything did.
fn failure(group: &str, unsuccessful: &[TargetFailure]) -> Option<Fault> {
    let first = unsuccessful.first()?;
    let target = first.id().unwrap_or_default();
    let why = first.failure_message().unwrap_or_default();
    Some(Fault::Failed(format!(
        "target {target} of group {group}: {why}"
    )))
}

fn targets(of: &[&(String, i32)]) -> Result<Vec<Target>, Fault> {
    of.iter()
        .map(|(address, port)| Target::builder().id(address).port(*port).build())
        .collect::<Result<_, _>>()
        .map_err(|error| Fault::Failed(error.to_string()))
}
