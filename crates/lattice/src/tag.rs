//! Tags of every kind of resource, by ARN.

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::ident::{Identifier, Kind};
use crate::record::*;
use crate::resource_types::*;
use crate::shape::*;
use crate::{
    Lattice, balancing, canary, constraint, fault, gateway, gateway_routes, long_tag, matching,
    mutual_tls, probing, target_tls, traffic,
};

operations! {
    for Lattice as "vpc-lattice";
    read ListTagsForResource: get "/tags/{resourceArn}" 200 -> ListTagsForResourceOutput = list
        => any();
    change TagResource: post "/tags/{resourceArn}" 200 -> Empty = tag, checked
        => on_arn(|op| &op.resource_arn, |it| it.tagged(|op, _| pairs(&op.tags)))
            .by(retagging);
    change UntagResource: delete "/tags/{resourceArn}" 200 -> Empty = untag
        => on_arn(|op| &op.resource_arn, |it| it.untagged(|op, _| op.tag_keys.clone()))
            .by(untagging);
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

fn change(
    cell: &Cell,
    tx: &mut Tx,
    arn: &str,
    change: impl FnOnce(&mut Tags),
) -> Result<(), ApiError> {
    let (kind, key) = place(cell, arn)?;
    let mut tags =
        (kind.tags().read)(tx.view(), &key).ok_or_else(|| fault::not_found(kind, arn))?;
    change(&mut tags);
    if tags.len() > constraint::MOST_TAGS {
        let most = constraint::MOST_TAGS;
        return Err(fault::invalid(
            "tags",
            format!("A resource can have at most {most} tags"),
        ));
    }
    traffic::retag(cell, tx, kind, &key, &tags)?;
    matching::retag(cell, tx, kind, &key, &tags)?;
    mutual_tls::retag(cell, tx, kind, &key, &tags)?;
    balancing::retag(cell, tx, kind, &key, &tags)?;
    target_tls::retag(cell, tx, kind, &key, &tags)?;
    gateway::retag(cell, tx, kind, &key, &tags)?;
    gateway_routes::retag(cell, tx, kind, &key, &tags)?;
    (kind.tags().write)(tx, &key, tags);
    Ok(())
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListTagsForResource,
) -> Result<ListTagsForResourceOutput, ApiError> {
    let (kind, key) = place(&app.cell, &op.resource_arn)?;
    let mut tags =
        (kind.tags().read)(view, &key).ok_or_else(|| fault::not_found(kind, &op.resource_arn))?;
    if kind == Kind::Service
        && let Some(address) = gateway::address_of(&app.cell, view, &key)
    {
        tags.insert(gateway::ADDRESS.to_owned(), address.to_string());
    }
    Ok(ListTagsForResourceOutput { tags: Some(tags) })
}

fn tag(app: &Lattice, tx: &mut Tx, op: TagResource) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    probing::check(cell, &op.tags)?;
    long_tag::check_mode(cell, &op.tags)?;
    let (kind, key) = place(cell, &op.resource_arn)?;
    for tag in [&traffic::TAG, &canary::TAG] {
        traffic::check_given(tag, tx.view(), kind, &key, &op.tags)?;
    }
    let is_default = traffic::is_default(tx.view(), kind, &key);
    matching::check_given(kind, is_default, &op.tags)?;
    gateway::check_given(kind, &op.tags)?;
    gateway_routes::check_given(kind, &op.tags)?;
    balancing::check_given(kind, &op.tags)?;
    target_tls::check_given(kind, &op.tags)?;
    mutual_tls::check_given(kind, &op.tags)?;
    change(cell, tx, &op.resource_arn, |tags| {
        long_tag::make_room(tags, &op.tags);
        tags.extend(op.tags);
    })?;
    Ok(Empty {})
}

fn untag(app: &Lattice, tx: &mut Tx, op: UntagResource) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    change(cell, tx, &op.resource_arn, |tags| {
        tags.retain(|key, _| !op.tag_keys.contains(key));
        long_tag::follow(tags, &op.tag_keys);
    })?;
    Ok(Empty {})
}
