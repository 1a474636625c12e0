//! Tags of every kind of resource, by ARN.

use lath_control::Cell;
use lath_store::{Record, Tx, View};
use lath_wire::{ApiError, Caller, Handle};

use crate::ident::{Identifier, Kind};
use crate::record::*;
use crate::shape::*;
use crate::{Lattice, constraint, fault, probing};

/// What holds tags.
trait Tagged: Record + Clone {
    fn tags(&mut self) -> &mut Tags;
}

macro_rules! tagged {
    ($($record:ident)*) => {$(
        impl Tagged for $record {
            fn tags(&mut self) -> &mut Tags {
                &mut self.tags
            }
        }
    )*};
}

tagged! {
    ServiceNetwork Service Listener Rule TargetGroup VpcAssociation ServiceAssociation
    AccessLogSubscription
}

/// Where a resource's record is: its kind and key.
fn place(cell: &Cell, arn: &str) -> Result<(Kind, String), ApiError> {
    let (kind, ident) =
        Identifier::parse_arn(arn).ok_or_else(|| fault::missing("RESOURCE", "Resource", arn))?;
    if !ident.is_of(cell) {
        return Err(fault::not_found(kind, ident.id()));
    }
    Ok((kind, record_key(&ident)))
}

/// The key of the record that an identifier names.
pub(crate) fn record_key(ident: &Identifier) -> String {
    match ident.parents().last() {
        Some(parent) => key(parent, ident.id()),
        None => ident.id().to_owned(),
    }
}

/// The tags of a record; `None` when it is not there.
pub(crate) fn read(view: &View, kind: Kind, key: &str) -> Option<Tags> {
    fn of<R: Tagged>(view: &View, key: &str) -> Option<Tags> {
        let mut copy = R::clone(&*view.get::<R>(key)?);
        Some(std::mem::take(copy.tags()))
    }
    match kind {
        Kind::ServiceNetwork => of::<ServiceNetwork>(view, key),
        Kind::Service => of::<Service>(view, key),
        Kind::Listener => of::<Listener>(view, key),
        Kind::Rule => of::<Rule>(view, key),
        Kind::TargetGroup => of::<TargetGroup>(view, key),
        Kind::VpcAssociation => of::<VpcAssociation>(view, key),
        Kind::ServiceAssociation => of::<ServiceAssociation>(view, key),
        Kind::AccessLogSubscription => of::<AccessLogSubscription>(view, key),
    }
}

fn write(tx: &mut Tx, kind: Kind, key: &str, tags: Tags) {
    fn of<R: Tagged>(tx: &mut Tx, key: &str, tags: Tags) {
        tx.update::<R>(key, |record| *record.tags() = tags);
    }
    match kind {
        Kind::ServiceNetwork => of::<ServiceNetwork>(tx, key, tags),
        Kind::Service => of::<Service>(tx, key, tags),
        Kind::Listener => of::<Listener>(tx, key, tags),
        Kind::Rule => of::<Rule>(tx, key, tags),
        Kind::TargetGroup => of::<TargetGroup>(tx, key, tags),
        Kind::VpcAssociation => of::<VpcAssociation>(tx, key, tags),
        Kind::ServiceAssociation => of::<ServiceAssociation>(tx, key, tags),
        Kind::AccessLogSubscription => of::<AccessLogSubscription>(tx, key, tags),
    }
}

fn change(
    cell: &Cell,
    tx: &mut Tx,
    arn: &str,
    change: impl FnOnce(&mut Tags),
) -> Result<(), ApiError> {
    let (kind, key) = place(cell, arn)?;
    let mut tags = read(tx.view(), kind, &key).ok_or_else(|| fault::not_found(kind, arn))?;
    change(&mut tags);
    if tags.len() > constraint::MOST_TAGS {
        let most = constraint::MOST_TAGS;
        return Err(fault::invalid(
            "tags",
            format!("A resource can have at most {most} tags"),
        ));
    }
    write(tx, kind, &key, tags);
    Ok(())
}

impl Handle<ListTagsForResource> for Lattice {
    async fn handle(
        &self,
        _caller: &Caller,
        op: ListTagsForResource,
    ) -> Result<ListTagsForResourceOutput, ApiError> {
        let (kind, key) = place(&self.cell, &op.resource_arn)?;
        let tags = read(&self.cell.db.view(), kind, &key)
            .ok_or_else(|| fault::not_found(kind, &op.resource_arn))?;
        Ok(ListTagsForResourceOutput { tags: Some(tags) })
    }
}

impl Handle<TagResource> for Lattice {
    async fn handle(&self, _caller: &Caller, op: TagResource) -> Result<Empty, ApiError> {
        let cell = &self.cell;
        cell.db
            .write(|tx| {
                probing::check(cell, &op.tags)?;
                change(cell, tx, &op.resource_arn, |tags| tags.extend(op.tags))?;
                Ok(Empty {})
            })
            .await
    }
}

impl Handle<UntagResource> for Lattice {
    async fn handle(&self, _caller: &Caller, op: UntagResource) -> Result<Empty, ApiError> {
        let cell = &self.cell;
        cell.db
            .write(|tx| {
                change(cell, tx, &op.resource_arn, |tags| {
                    tags.retain(|key, _| !op.tag_keys.contains(key));
                })?;
                Ok(Empty {})
            })
            .await
    }
}
