//! Everything of IAM, for the other regions: a part for each record, called by its kind and id.

use std::collections::BTreeSet;

use bytes::Bytes;
use lath_control::{Cell, Derive, Parts, Section, Told};
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;

use crate::records::{AccessKey, Group, InstanceProfile, ManagedPolicy, OidcProvider, Role, User};

/// The part of the home's state that every region holds. Secrets are in it: the channel is encrypted.
pub const SECTION: Section = Section {
    name: "iam",
    export: &[
        every::<Role>(),
        every::<User>(),
        every::<Group>(),
        every::<AccessKey>(),
        every::<ManagedPolicy>(),
        every::<InstanceProfile>(),
        every::<OidcProvider>(),
    ],
    import,
};

const fn every<R: Record>() -> Derive<Parts> {
    Derive::Each {
        kind: R::KIND,
        make: export::<R>,
    }
}

fn name<R: Record>(id: &str) -> String {
    format!("{}/{id}", R::KIND)
}

fn export<R: Record>(cell: &Cell, view: &View, id: &str, parts: &mut Parts) {
    let record = view.get::<R>(id).filter(|_| cell.topology.is_home());
    let bytes = record.and_then(|record| serde_json::to_vec(&*record).ok());
    match bytes {
        Some(bytes) => drop(parts.insert(name::<R>(id), bytes.into())),
        None => drop(parts.remove(&name::<R>(id))),
    }
}

/// Only the home's word counts, and not in the home itself.
fn import(cell: &Cell, tx: &mut Tx, region: &str, told: &Told) -> Result<(), ApiError> {
    if cell.topology.is_home() || region != cell.topology.home {
        return Ok(());
    }
    take::<Role>(tx, told)?;
    take::<User>(tx, told)?;
    take::<Group>(tx, told)?;
    take::<AccessKey>(tx, told)?;
    take::<ManagedPolicy>(tx, told)?;
    take::<InstanceProfile>(tx, told)?;
    take::<OidcProvider>(tx, told)
}

/// Writes only what differs: one new user must not cost every region all of them again.
fn take<R: Record + PartialEq>(tx: &mut Tx, told: &Told) -> Result<(), ApiError> {
    let prefix = name::<R>("");
    let parts = told.parts.range(prefix.clone()..);
    let parts = parts.take_while(|(part, _)| part.starts_with(&prefix));
    let mut named = BTreeSet::new();
    for (part, bytes) in parts {
        let id = &part[prefix.len()..];
        named.insert(id);
        put::<R>(tx, id, bytes.as_ref())?;
    }
    if told.whole {
        let known: Vec<String> = tx.list::<R>().map(|record| record.id()).collect();
        for id in known.iter().filter(|id| !named.contains(id.as_str())) {
            tx.delete::<R>(id);
        }
    }
    Ok(())
}

fn put<R: Record + PartialEq>(
    tx: &mut Tx,
    id: &str,
    bytes: Option<&Bytes>,
) -> Result<(), ApiError> {
    let Some(bytes) = bytes else {
        tx.delete::<R>(id);
        return Ok(());
    };
    let record: R = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    if tx
        .get::<R>(&record.id())
        .is_none_or(|known| *known != record)
    {
        tx.put(record);
    }
    Ok(())
}
