//! ListenerSets: what their status says, which follows from the Gateway that they are for.

use std::sync::Arc;

use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::gateway::{Found, entries};
use crate::kinds::{self, Gateway, ListenerSet, ListenerSetStatus};
use crate::listeners::attached_sets;
use crate::world::{Name, World};

/// The types of conditions that are this controller's.
const OF_SETS: [&str; 2] = ["Accepted", "Programmed"];

/// A ListenerSet and what its status should be.
pub(crate) struct SetStatus {
    set: Arc<ListenerSet>,
    pub(crate) status: ListenerSetStatus,
}

impl SetStatus {
    /// Whether the Gateway has it.
    pub(crate) fn is_attached(&self) -> bool {
        let conditions = &self.status.conditions;
        conditions
            .iter()
            .any(|it| it.kind == "Accepted" && it.status == "True")
    }
}

/// A status of these conditions.
fn status_of(
    set: &Arc<ListenerSet>,
    accepted: ConditionState,
    programmed: ConditionState,
    now: &str,
) -> SetStatus {
    let generation = set.metadata.generation.unwrap_or_default();
    let known = set.status.clone().unwrap_or_default();
    let new = vec![
        accepted.condition("Accepted", generation),
        programmed.condition("Programmed", generation),
    ];
    SetStatus {
        set: Arc::clone(set),
        status: ListenerSetStatus {
            conditions: merged(now, &known.conditions, new, &OF_SETS),
            listeners: Vec::new(),
        },
    }
}

/// What a Gateway is, for its ListenerSets: not accepted, for this reason, or accepted and perhaps not there yet.
pub(crate) enum Standing {
    Refused(String),
    Pending,
    There,
}

/// The statuses that the ListenerSets for a Gateway should have; `counts` are the routes of its listeners.
pub(crate) fn statuses(
    world: &World,
    (name, gateway): (&Name, &Gateway),
    (found, counts): (&Found, &[i32]),
    standing: &Standing,
) -> Vec<SetStatus> {
    let attached = attached_sets(world, (name, gateway));
    let mut all = Vec::new();
    for (set_name, set) in world.sets_for(name) {
        if set.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let bad = |reason: &'static str, message: String| {
            let verdict = ConditionState::bad(reason, message);
            status_of(set, verdict.clone(), verdict, &found.now)
        };
        if found.entered.is_none() {
            let message =
                format!("Gateway {name} has no address of its own, and takes no ListenerSets");
            all.push(bad("NotAllowed", message));
            continue;
        }
        if attached.iter().all(|(it, _)| *it != set_name) {
            let message = format!("Gateway {name} does not allow ListenerSets of this namespace");
            all.push(bad("NotAllowed", message));
            continue;
        }
        if let Standing::Refused(why) = standing {
            all.push(bad("ParentNotAccepted", why.clone()));
            continue;
        }
        let sections = found.sections.iter().zip(&found.judged);
        let own = sections.filter(|(it, _)| it.set() == Some(set_name));
        let (good, wrong): (Vec<_>, Vec<_>) = own.partition(|(_, it)| it.is_good());
        let mut entry = if good.is_empty() {
            bad("ListenersNotValid", "no listener can be had".to_owned())
        } else {
            let accepted = match wrong.is_empty() {
                true => ConditionState::good("Accepted"),
                false => ConditionState::good("ListenersNotValid")
                    .with_message("some listeners cannot be had"),
            };
            // What a Gateway waits for may be its owner's alone to know.
            let programmed = match standing {
                Standing::There => ConditionState::good("Programmed"),
                _ => ConditionState::bad(
                    "ParentNotProgrammed",
                    format!("Gateway {name} is not there yet"),
                ),
            };
            status_of(set, accepted, programmed, &found.now)
        };
        let there = match standing {
            Standing::There => Ok(()),
            _ => Err(format!("Gateway {name} is not there yet")),
        };
        let generation = set.metadata.generation.unwrap_or_default();
        let known = set.status.clone().unwrap_or_default().listeners;
        entry.status.listeners = entries(
            (found, counts),
            Some(set_name),
            (&known, generation),
            &there,
        );
        all.push(entry);
    }
    all
}

impl App {
    /// Writes statuses of ListenerSets, as far as they say something else. One that cannot be written keeps no other from it.
    pub(crate) async fn write_set_statuses(&self, all: Vec<SetStatus>) -> Result<(), Undone> {
        let form = self.form(kinds::listener_set());
        let mut first = Ok(());
        for entry in all {
            if entry.set.status.as_ref() == Some(&entry.status) {
                continue;
            }
            let status = serde_json::to_value(&entry.status).unwrap_or_default();
            match self.set_status(&form, &*entry.set, status).await {
                Ok(()) => {}
                // It went.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => first = first.and(Err(error.into())),
            }
        }
        first
    }

    /// Writes into the ListenerSets for a Gateway that it goes.
    pub(crate) async fn release_sets(&self, gateway: &Name) -> Result<(), Undone> {
        let all = {
            let world = self.look();
            let sets = world.sets_for(gateway);
            let now = self.settings.now();
            let goes =
                || ConditionState::bad("ParentNotAccepted", format!("Gateway {gateway} goes"));
            sets.map(|(_, set)| status_of(set, goes(), goes(), &now))
                .collect()
        };
        self.write_set_statuses(all).await
    }

    /// Whether there may be ListenerSets that are not known.
    pub(crate) fn has_unknown_sets(&self) -> bool {
        let form = kinds::listener_set();
        let world = self.look();
        let mut unreadable = world.unreadable.iter();
        (self.is_served(&form) && !world.read.contains(&form.plural))
            || unreadable.any(|(of, _)| *of == form.plural)
    }
}
