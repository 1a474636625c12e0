//! Tags of groups, by ARN, and by name as older clients ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_model::arn::Arn;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::api::{
    Empty, ListTagsForResource, ListTagsLogGroup, TagLogGroup, TagResource, Tags, UntagLogGroup,
    UntagResource,
};
use super::groups::check_tags;
use super::resource_types::{LOG_GROUP, TAGGED_GROUP, pairs};
use super::{find_group, invalid, named_by};
use crate::CloudWatch;
use crate::records::LogGroup;

operations! {
    for CloudWatch as "logs";
    change TagResource -> Empty = tag_resource
        => on(&TAGGED_GROUP, |op, _| op.resource_arn.clone())
            .tagged(|op, _| pairs(&op.tags));
    change UntagResource -> Empty = untag_resource
        => on(&TAGGED_GROUP, |op, _| op.resource_arn.clone())
            .untagged(|op, _| op.tag_keys.clone());
    read ListTagsForResource -> Tags = list_of_resource
        => on(&TAGGED_GROUP, |op, _| op.resource_arn.clone());
    change TagLogGroup -> Empty = tag_group
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone())
            .tagged(|op, _| pairs(&op.tags));
    change UntagLogGroup -> Empty = untag_group
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone())
            .untagged(|op, _| op.tags.clone());
    read ListTagsLogGroup -> Tags = list_of_group
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone());
}

const MAX_TAGS: usize = 50;

/// The group that an ARN names; this service's only taggable resource.
fn tagged(app: &CloudWatch, view: &View, arn: &str) -> Result<Arc<LogGroup>, ApiError> {
    let well_formed = arn
        .parse::<Arn>()
        .is_ok_and(|parsed| parsed.service == "logs" && parsed.resource.starts_with("log-group:"));
    if !well_formed {
        return Err(invalid(format!("{arn} is not the ARN of a log group.")));
    }
    named_by(app, arn)
        .and_then(|name| view.get(name))
        .ok_or_else(super::no_group)
}

/// Changes the tags of the group that `find` finds.
fn retag(
    tx: &mut Tx,
    find: impl FnOnce(&View) -> Result<Arc<LogGroup>, ApiError>,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), ApiError>,
) -> Result<Empty, ApiError> {
    let mut group = LogGroup::clone(&*find(tx.view())?);
    change(&mut group.tags)?;
    tx.put(group);
    Ok(Empty {})
}

fn named(app: &CloudWatch, view: &View, name: &str) -> Result<Arc<LogGroup>, ApiError> {
    find_group(app, view, Some(name), None)
}

fn add(
    tags: &mut BTreeMap<String, String>,
    new: BTreeMap<String, String>,
    too_many: &'static str,
) -> Result<(), ApiError> {
    tags.extend(new);
    if tags.len() <= MAX_TAGS {
        return Ok(());
    }
    let message = format!("A resource can have at most {MAX_TAGS} tags.");
    Err(ApiError::new(too_many, 400, message))
}

fn remove(tags: &mut BTreeMap<String, String>, keys: &[String]) {
    tags.retain(|key, _| !keys.contains(key));
}

fn tag_resource(app: &CloudWatch, tx: &mut Tx, op: TagResource) -> Result<Empty, ApiError> {
    check_tags(&op.tags)?;
    let find = |view: &View| tagged(app, view, &op.resource_arn);
    retag(tx, find, |tags| add(tags, op.tags, "TooManyTagsException"))
}

fn untag_resource(app: &CloudWatch, tx: &mut Tx, op: UntagResource) -> Result<Empty, ApiError> {
    let find = |view: &View| tagged(app, view, &op.resource_arn);
    let change = |tags: &mut _| {
        remove(tags, &op.tag_keys);
        Ok(())
    };
    retag(tx, find, change)
}

fn list_of_resource(
    app: &CloudWatch,
    view: &View,
    op: &ListTagsForResource,
) -> Result<Tags, ApiError> {
    let group = tagged(app, view, &op.resource_arn)?;
    Ok(Tags {
        tags: group.tags.clone(),
    })
}

fn tag_group(app: &CloudWatch, tx: &mut Tx, op: TagLogGroup) -> Result<Empty, ApiError> {
    check_tags(&op.tags)?;
    let find = |view: &View| named(app, view, &op.log_group_name);
    retag(tx, find, |tags| {
        add(tags, op.tags, "InvalidParameterException")
    })
}

fn untag_group(app: &CloudWatch, tx: &mut Tx, op: UntagLogGroup) -> Result<Empty, ApiError> {
    let find = |view: &View| named(app, view, &op.log_group_name);
    let change = |tags: &mut _| {
        remove(tags, &op.tags);
        Ok(())
    };
    retag(tx, find, change)
}

fn list_of_group(app: &CloudWatch, view: &View, op: &ListTagsLogGroup) -> Result<Tags, ApiError> {
    let group = named(app, view, &op.log_group_name)?;
    Ok(Tags {
        tags: group.tags.clone(),
    })
}
