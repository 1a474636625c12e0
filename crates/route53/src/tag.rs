//! Tags. In extended mode some of them, below `lath:`, say what AWS's API cannot.

use std::time::Duration;

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{HealthCheck, Tags, Zone};
use crate::resource_types::*;
use crate::shape::*;
use crate::{fault, health_check, limit, zone};

operations! {
    for Route53 as "route53";
    change ChangeTagsForResource: post "/2013-04-01/tags/{ResourceType}/{ResourceId}" 200 -> ChangeTagsForResourceResponse = change
        => on(&ZONE, |op, _| of_kind(TagResourceType::HostedZone, op.resource_type, &op.resource_id))
            .on(&CHECK, |op, _| of_kind(TagResourceType::HealthCheck, op.resource_type, &op.resource_id));
    read ListTagsForResource: get "/2013-04-01/tags/{ResourceType}/{ResourceId}" 200 -> ListTagsForResourceResponse = list
        => on(&ZONE, |op, _| of_kind(TagResourceType::HostedZone, op.resource_type, &op.resource_id))
            .on(&CHECK, |op, _| of_kind(TagResourceType::HealthCheck, op.resource_type, &op.resource_id));
    read ListTagsForResources: post "/2013-04-01/tags/{ResourceType}" 200 -> ListTagsForResourcesResponse = list_many
        => on(&ZONE, |op, _| op.resource_ids.iter().map(|id| of_kind(TagResourceType::HostedZone, op.resource_type, id)).collect::<Vec<_>>())
            .on(&CHECK, |op, _| op.resource_ids.iter().map(|id| of_kind(TagResourceType::HealthCheck, op.resource_type, id)).collect::<Vec<_>>());
}

/// Most tags of a resource, and most resources of one request.
const TAGS: usize = 10;
/// Most tags where AWS's limits do not hold.
const EXTENDED_TAGS: usize = 50;

/// What extensions begin with.
const EXTENSIONS: &str = "lath:";
/// On a health check: milliseconds from a response to the next request, instead of `RequestInterval`.
pub(crate) const INTERVAL: &str = "lath:request-interval-ms";

/// The interval that a check's tags ask for.
pub(crate) fn interval(tags: &Tags) -> Option<Duration> {
    parse_interval(tags.get(INTERVAL)?)
}

fn parse_interval(text: &str) -> Option<Duration> {
    let millis: u64 = text.parse().ok()?;
    (100..=30_000)
        .contains(&millis)
        .then(|| Duration::from_millis(millis))
}

fn tags(view: &View, kind: TagResourceType, id: &str) -> Result<Tags, ApiError> {
    Ok(match kind {
        TagResourceType::HealthCheck => health_check::find(view, id)?.tags.clone(),
        TagResourceType::HostedZone => zone::find(view, id)?.tags.clone(),
    })
}

fn shown(view: &View, kind: TagResourceType, id: &str) -> Result<ResourceTagSet, ApiError> {
    let tag = |(key, value)| Tag {
        key: Some(key),
        value: Some(value),
    };
    Ok(ResourceTagSet {
        resource_type: Some(kind),
        resource_id: Some(id.to_owned()),
        tags: Some(tags(view, kind, id)?.into_iter().map(tag).collect()),
    })
}

pub(crate) fn list(
    _: &Route53,
    view: &View,
    op: &ListTagsForResource,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let set = shown(view, op.resource_type, &op.resource_id)?;
    Ok(ListTagsForResourceResponse { set })
}

pub(crate) fn list_many(
    _: &Route53,
    view: &View,
    op: &ListTagsForResources,
) -> Result<ListTagsForResourcesResponse, ApiError> {
    let ids = op.resource_ids.iter();
    let sets = ids
        .map(|id| shown(view, op.resource_type, id))
        .collect::<Result<_, _>>()?;
    Ok(ListTagsForResourcesResponse { sets })
}

fn checked(cell: &Cell, kind: TagResourceType, tag: &Tag) -> Result<(String, String), ApiError> {
    let key = tag.key.clone().unwrap_or_default();
    let value = tag.value.clone().unwrap_or_default();
    if key.is_empty() {
        return Err(fault::invalid(
            "A tag's key must have between 1 and 128 characters, its value at most 256.",
        ));
    }
    if key
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
    {
        return Err(fault::invalid("A tag's key must not begin with aws:"));
    }
    if key.starts_with(EXTENSIONS) {
        check_extension(cell, kind, &key, &value)?;
    }
    Ok((key, value))
}

fn check_extension(
    cell: &Cell,
    kind: TagResourceType,
    key: &str,
    value: &str,
) -> Result<(), ApiError> {
    let key: String = key.chars().take(128).collect();
    if limit::holds(cell) {
        return Err(fault::invalid(format!(
            "The tag {key} is an extension to AWS: start Lath with --extended to use it."
        )));
    }
    if key != INTERVAL || kind != TagResourceType::HealthCheck {
        return Err(fault::invalid(format!(
            "There is no extension {key} for a {kind}."
        )));
    }
    if parse_interval(value).is_none() {
        return Err(fault::invalid(format!(
            "The tag {key} must be a number of milliseconds between 100 and 30000."
        )));
    }
    Ok(())
}

fn most(cell: &Cell) -> usize {
    if limit::holds(cell) {
        TAGS
    } else {
        EXTENDED_TAGS
    }
}

/// Holds a list to the model's length, which comes before everything that is stored.
fn at_most<'a>(
    most: usize,
    member: &str,
    keys: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), ApiError> {
    if keys.len() <= most {
        return Ok(());
    }
    let shown = format!("[{}]", keys.collect::<Vec<_>>().join(", "));
    let rule = format!("Member must have length less than or equal to {most}");
    Err(fault::constraint(member, &shown, &rule))
}

pub(crate) fn change(
    app: &Route53,
    tx: &mut Tx,
    op: ChangeTagsForResource,
) -> Result<ChangeTagsForResourceResponse, ApiError> {
    let cell = &app.cell;
    let (add, remove) = (op.add.unwrap_or_default(), op.remove.unwrap_or_default());
    let most = most(cell);
    let added = add.iter().map(|tag| tag.key.as_deref().unwrap_or_default());
    at_most(most, "addTags", added)?;
    at_most(
        most,
        "removeTagKeys",
        remove.iter().map(|key| key.0.as_str()),
    )?;
    if add.is_empty() && remove.is_empty() {
        return Err(fault::invalid(
            "At least one of AddTags and RemoveTagKeys has to be specified.",
        ));
    }
    let mut new = tags(tx.view(), op.resource_type, &op.resource_id)?;
    for key in &remove {
        new.remove(&key.0);
    }
    for tag in &add {
        let (key, value) = checked(cell, op.resource_type, tag)?;
        new.insert(key, value);
    }
    if new.len() > most {
        let text = format!("A resource can have at most {most} tags.");
        return Err(fault::invalid(text));
    }
    store(tx, op.resource_type, &op.resource_id, new)?;
    Ok(ChangeTagsForResourceResponse {})
}

fn store(tx: &mut Tx, kind: TagResourceType, id: &str, tags: Tags) -> Result<(), ApiError> {
    match kind {
        TagResourceType::HostedZone => {
            let known = zone::find(tx.view(), id)?;
            tx.put(Zone {
                tags,
                ..Zone::clone(&known)
            });
        }
        TagResourceType::HealthCheck => {
            let known = health_check::find(tx.view(), id)?;
            let differs = interval(&known.tags) != interval(&tags);
            tx.put(HealthCheck {
                tags,
                generation: known.generation + u64::from(differs),
                ..HealthCheck::clone(&known)
            });
        }
    }
    Ok(())
}
