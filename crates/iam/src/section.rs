//! Everything of IAM, for the other regions.

use std::sync::Arc;

use lath_control::{Cell, Section};
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::records::{AccessKey, Group, InstanceProfile, ManagedPolicy, Role, User};

/// The part of the home's state that every region holds. Secrets are in it: the channel is encrypted.
pub const SECTION: Section = Section {
    name: "iam",
    export,
    import,
};

#[derive(Serialize, Deserialize)]
struct All<R, U, G, K, P, I> {
    roles: Vec<R>,
    users: Vec<U>,
    groups: Vec<G>,
    keys: Vec<K>,
    policies: Vec<P>,
    profiles: Vec<I>,
}

type Owned = All<Role, User, Group, AccessKey, ManagedPolicy, InstanceProfile>;

fn export(cell: &Cell, view: &View) -> Option<Vec<u8>> {
    if !cell.topology.is_home() {
        return None;
    }
    let all = All {
        roles: list::<Role>(view),
        users: list::<User>(view),
        groups: list::<Group>(view),
        keys: list::<AccessKey>(view),
        policies: list::<ManagedPolicy>(view),
        profiles: list::<InstanceProfile>(view),
    };
    serde_json::to_vec(&all).ok()
}

fn list<R: Record>(view: &View) -> Vec<Arc<R>> {
    view.list::<R>().collect()
}

/// Only the home's word counts, and not in the home itself.
fn import(cell: &Cell, tx: &mut Tx, region: &str, bytes: &[u8]) -> Result<(), ApiError> {
    if cell.topology.is_home() || region != cell.topology.home {
        return Ok(());
    }
    let all: Owned = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    replace(tx, all.roles);
    replace(tx, all.users);
    replace(tx, all.groups);
    replace(tx, all.keys);
    replace(tx, all.policies);
    replace(tx, all.profiles);
    Ok(())
}

/// Writes only what differs: one new user must not cost every region all of them again.
fn replace<R: Record + PartialEq>(tx: &mut Tx, records: Vec<R>) {
    let old: Vec<String> = tx.list::<R>().map(|record| record.id()).collect();
    let new: std::collections::HashSet<String> = records.iter().map(Record::id).collect();
    for id in old.iter().filter(|id| !new.contains(*id)) {
        tx.delete::<R>(id);
    }
    for record in records {
        let known = tx.get::<R>(&record.id());
        if known.is_none_or(|known| *known != record) {
            tx.put(record);
        }
    }
}
