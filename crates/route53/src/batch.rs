//! ChangeResourceRecordSets: all changes of a batch, or none.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html>

use std::collections::{BTreeMap, BTreeSet};

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Record as _, Tx};
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{StoredSet, Zone};
use crate::record_set::{self, Wrong, described};
use crate::resource_types::*;
use crate::shape::*;
use crate::{alias, change, fault, group, limit, zone};

operations! {
    for Route53 as "route53";
    change ChangeResourceRecordSets: post "/2013-04-01/hostedzone/{Id}/rrset/" 200 -> ChangeResourceRecordSetsResponse = change
        => on(&ZONE, |op, _| op.id.clone())
            .with_all(BATCH, batch);
}

/// Most values and characters of values in one request, those of an UPSERT counted twice.
const VALUES: usize = 1000;
const CHARACTERS: usize = 32_000;

/// Most changes that are taken where the service's limits do not hold.
const CHANGES: usize = 50_000;

pub(crate) fn change(
    app: &Route53,
    tx: &mut Tx,
    op: ChangeResourceRecordSets,
) -> Result<ChangeResourceRecordSetsResponse, ApiError> {
    let cell = &app.cell;
    let zone = zone::find(tx.view(), &op.id)?;
    check_size(cell, &op.batch.changes)?;
    let batch = Batch::read(cell, tx, &zone, op.batch.changes)?;
    batch.apply(cell, tx)?;
    let change = change::submit(tx, op.batch.comment);
    Ok(ChangeResourceRecordSetsResponse { change })
}

fn check_size(cell: &Cell, changes: &[Change]) -> Result<(), ApiError> {
    if changes.is_empty() {
        return Err(fault::invalid(
            "1 validation error detected: Value '[]' at 'changeBatch.changes' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    let (mut values, mut characters) = (0, 0);
    for Change { action, set } in changes {
        let times = if *action == Action::Upsert { 2 } else { 1 };
        values += times * set.values().count();
        characters += times * set.values().map(|text| text.chars().count()).sum::<usize>();
    }
    let strict = limit::holds(cell);
    let mut problems = Vec::new();
    if changes.len() > CHANGES || (strict && values > VALUES) {
        problems.push(format!("Number of records limit of {VALUES} exceeded."));
    }
    if strict && characters > CHARACTERS {
        problems.push(format!(
            "Number of characters limit of {CHARACTERS} exceeded."
        ));
    }
    verdict(&problems)
}

fn verdict(problems: &[String]) -> Result<(), ApiError> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(fault::invalid_batch(problems))
    }
}

/// Changes whose record sets are in canonical form.
struct Batch<'z> {
    zone: &'z Zone,
    changes: Vec<Change>,
}

/// What tells a record set from others.
type Key = (String, RrType, Option<String>);

fn key(set: &ResourceRecordSet) -> Key {
    (set.name.clone(), set.kind, set.set_identifier.clone())
}

/// `resource record set [name='x.', type='A', set identifier='s']`.
fn quoted(set: &ResourceRecordSet) -> String {
    let identifier = set
        .set_identifier
        .as_ref()
        .map_or_else(String::new, |id| format!(", set identifier='{id}'"));
    format!(
        "resource record set [name='{}', type='{}'{identifier}]",
        set.name, set.kind
    )
}

impl<'z> Batch<'z> {
    fn read(
        cell: &Cell,
        tx: &Tx,
        zone: &'z Zone,
        mut changes: Vec<Change>,
    ) -> Result<Self, ApiError> {
        let mut problems = Vec::new();
        for change in &mut changes {
            match record_set::canonical(cell, tx.view(), zone, change) {
                Ok(set) => change.set = set,
                Err(Wrong::Request(error)) => return Err(error),
                Err(Wrong::Batch(messages)) => problems.extend(messages),
            }
        }
        verdict(&problems)?;
        let batch = Self { zone, changes };
        verdict(&batch.contradictions())?;
        Ok(batch)
    }

    /// Record sets that are changed twice; to delete one and to create it anew is fine.
    fn contradictions(&self) -> Vec<String> {
        let mut actions: BTreeMap<Key, Vec<Action>> = BTreeMap::new();
        for change in &self.changes {
            let known = actions.entry(key(&change.set)).or_default();
            known.push(change.action);
        }
        let fine = |actions: &[Action]| matches!(actions, [_] | [Action::Delete, Action::Create]);
        actions
            .iter()
            .filter(|(_, actions)| !fine(actions))
            .map(|((name, kind, _), _)| {
                format!("The request contains an invalid set of changes for a resource record set '{kind} {name}'")
            })
            .collect()
    }

    /// Makes the changes, deletions first, and checks what they come to.
    fn apply(&self, cell: &Cell, tx: &mut Tx) -> Result<(), ApiError> {
        let mut problems = Vec::new();
        for wanted in [Action::Delete, Action::Create, Action::Upsert] {
            for change in self.changes.iter().filter(|change| change.action == wanted) {
                problems.extend(self.apply_one(tx, change));
            }
        }
        verdict(&problems)?;
        problems.extend(self.check_groups(cell, tx));
        problems.extend(self.check_aliases(tx));
        problems.extend(self.check_zone(cell, tx));
        verdict(&problems)
    }

    fn stored(&self, set: &ResourceRecordSet) -> StoredSet {
        StoredSet {
            zone: self.zone.id.clone(),
            set: set.clone(),
        }
    }

    fn apply_one(&self, tx: &mut Tx, Change { action, set }: &Change) -> Option<String> {
        let new = self.stored(set);
        let old = tx.get::<StoredSet>(&new.id());
        match (action, old) {
            (Action::Create, Some(_)) => {
                return Some(format!(
                    "Tried to create {} but it already exists",
                    quoted(set)
                ));
            }
            (Action::Delete, None) => {
                return Some(format!(
                    "Tried to delete {} but it was not found",
                    quoted(set)
                ));
            }
            (Action::Delete, Some(old)) if !record_set::is_same(&old.set, set) => {
                return Some(format!(
                    "Tried to delete {} but the values provided do not match the current values",
                    quoted(set)
                ));
            }
            (Action::Delete, Some(_)) => {
                tx.delete::<StoredSet>(&new.id());
            }
            (Action::Create | Action::Upsert, _) => {
                tx.put(new);
                group::align_ttl(tx, &self.zone.id, set);
            }
        }
        None
    }

    fn check_groups(&self, cell: &Cell, tx: &Tx) -> Vec<String> {
        let names: BTreeSet<&str> = self
            .changes
            .iter()
            .filter(|change| change.action != Action::Delete)
            .map(|change| change.set.name.as_str())
            .collect();
        let changed: BTreeSet<Key> = self
            .changes
            .iter()
            .filter(|change| change.action != Action::Delete)
            .map(|change| key(&change.set))
            .collect();
        let is_new = |set: &ResourceRecordSet| changed.contains(&key(set));
        names
            .into_iter()
            .flat_map(|name| group::problems(cell, tx.view(), self.zone, name, &is_new))
            .collect()
    }

    fn check_aliases(&self, tx: &Tx) -> Vec<String> {
        self.changes
            .iter()
            .filter(|change| change.action != Action::Delete)
            .filter_map(|change| alias::problem(tx.view(), self.zone, &change.set))
            .collect()
    }

    /// A zone keeps its NS and SOA, and has only so many record sets.
    fn check_zone(&self, cell: &Cell, tx: &Tx) -> Vec<String> {
        let mut problems = Vec::new();
        for (kind, text) in [
            (
                RrType::Soa,
                "A HostedZone must contain exactly one SOA record.",
            ),
            (
                RrType::Ns,
                "A HostedZone must contain at least one NS record for the zone itself.",
            ),
        ] {
            let required = self.stored(&ResourceRecordSet::new(&self.zone.name, kind));
            if tx.get::<StoredSet>(&required.id()).is_none() {
                problems.push(text.to_owned());
            }
        }
        let created = self.changes.iter().any(|c| c.action != Action::Delete);
        if created && limit::holds(cell) {
            let count = zone::count_sets(tx.view(), &self.zone.id);
            if count > limit::RECORD_SETS {
                problems.push(format!(
                    "Limits Exceeded: MAX_RRSETS_BY_ZONE={most} Current={count}.",
                    most = limit::RECORD_SETS
                ));
            }
        }
        problems
    }
}

/// What a set cannot be created for.
pub(crate) fn cannot(set: &ResourceRecordSet, why: &str) -> String {
    format!("{} cannot be created as {why}", described(set))
}
