//! Tags of functions, by their ARNs.

use std::collections::BTreeMap;

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::ident::{self, name_in};
use crate::record::Function;
use crate::resource_types::{FUNCTION, pairs};
use crate::shape::*;
use crate::{Lambda, check, fault};

operations! {
    for Lambda as "lambda";
    read ListTags: get "/2017-03-31/tags/{Resource}" 200 -> ListTagsResponse = list
        => on(&FUNCTION, |op, _| op.resource.clone());
    change TagResource: post "/2017-03-31/tags/{Resource}" 204 -> () = tag
        => on(&FUNCTION, |op, _| op.resource.clone()).tagged(|op, _| pairs(Some(&op.tags)));
    change UntagResource: delete "/2017-03-31/tags/{Resource}" 204 -> () = untag
        => on(&FUNCTION, |op, _| op.resource.clone()).untagged(|op, _| op.tag_keys.clone());
}

fn named(cell: &Cell, view: &View, resource: &str) -> Result<std::sync::Arc<Function>, ApiError> {
    let name = name_in(resource).ok_or_else(|| {
        let shown: String = resource.chars().take(256).collect();
        fault::invalid(format!("Tags on function aliases and versions are not supported. Please specify either a function ARN or an event source mapping ARN: {shown}"))
    })?;
    let known = view.get::<Function>(&name);
    let known = known.filter(|it| ident::arn(cell, &it.name) == resource);
    known.ok_or_else(|| fault::not_found(format!("Function not found: {resource}")))
}

fn list(app: &Lambda, view: &View, op: &ListTags) -> Result<ListTagsResponse, ApiError> {
    let known = named(&app.cell, view, &op.resource)?;
    Ok(ListTagsResponse {
        tags: Some(known.tags.clone()),
    })
}

fn change(
    app: &Lambda,
    tx: &mut Tx,
    resource: &str,
    change: impl FnOnce(&mut BTreeMap<String, String>),
) -> Result<(), ApiError> {
    let known = named(&app.cell, tx.view(), resource)?;
    let mut next = Function::clone(&known);
    change(&mut next.tags);
    check::tags(&next.tags)?;
    tx.put(next);
    Ok(())
}

fn tag(app: &Lambda, tx: &mut Tx, op: TagResource) -> Result<(), ApiError> {
    change(app, tx, &op.resource, |tags| tags.extend(op.tags))
}

fn untag(app: &Lambda, tx: &mut Tx, op: UntagResource) -> Result<(), ApiError> {
    change(app, tx, &op.resource, |tags| {
        tags.retain(|key, _| !op.tag_keys.contains(key));
    })
}
