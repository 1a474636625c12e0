//! Tags of every kind of resource
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>).

mod tagging;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use lath_control::{Cell, paginate_from};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Filters};
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::select::{bad_token, page_size};
use lath_ec2_kit::tags::{Tag, TagInput, check_key, checked, put, shown, too_many};
use lath_ec2_records::ResourceTags;
use lath_ec2_records::errors::{client, invalid_value, missing, unauthorized};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::prefix_lists;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::parts::kind_of;

/// How many resources one call may name.
const MAX_RESOURCES: usize = 1000;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateTags {
    dry_run: Option<bool>,
    #[serde(rename = "ResourceId")]
    resources: Vec<String>,
    #[serde(rename = "Tag")]
    tags: Vec<TagInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteTags {
    dry_run: Option<bool>,
    #[serde(rename = "ResourceId")]
    resources: Vec<String>,
    #[serde(rename = "Tag", default)]
    tags: Vec<TagInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeTags {
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTagsResult {
    next_token: Option<String>,
    #[serde(rename = "tagSet")]
    tags: Vec<TagDescription>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TagDescription {
    key: String,
    resource_id: String,
    resource_type: String,
    value: String,
}

operations! {
    for Ec2 as "ec2";
    change CreateTags -> Nothing = create, dry_run => by(tagging::create);
    change DeleteTags -> Nothing = delete, dry_run => by(tagging::delete);
    read DescribeTags -> DescribeTagsResult = describe, dry_run => any();
}

fn create(app: &Ec2, tx: &mut Tx, op: CreateTags) -> Result<Nothing, ApiError> {
    if op.tags.is_empty() {
        return Err(missing("Tag"));
    }
    let new: Vec<_> = op.tags.iter().map(checked).collect::<Result<_, _>>()?;
    let keys: BTreeSet<&str> = new.iter().map(|(key, _)| key.as_str()).collect();
    if keys.len() < new.len() {
        return Err(invalid_value("Duplicate tag keys are not allowed."));
    }
    check_resources(app, tx.view(), &op.resources)?;
    for resource in &op.resources {
        let mut tags = tx
            .get::<ResourceTags>(resource)
            .map(|record| record.tags.clone())
            .unwrap_or_default();
        tags.extend(new.iter().cloned());
        too_many(tags.len())?;
        put(tx, resource, tags);
    }
    Ok(Nothing {})
}

/// A key without a value goes whatever its value; with one, only when it has that value.
fn delete(app: &Ec2, tx: &mut Tx, op: DeleteTags) -> Result<Nothing, ApiError> {
    check_resources(app, tx.view(), &op.resources)?;
    for tag in &op.tags {
        check_key(tag.key.as_deref().unwrap_or_default())?;
    }
    for resource in &op.resources {
        let goes = |key: &str, value: &str| {
            op.tags.is_empty()
                || op.tags.iter().any(|tag| {
                    tag.key.as_deref() == Some(key)
                        && tag.value.as_deref().is_none_or(|it| it == value)
                })
        };
        tx.update::<ResourceTags>(resource, |record| {
            record.tags.retain(|key, value| !goes(key, value));
        });
    }
    Ok(Nothing {})
}

const FIELDS: &[Field<TagDescription>] = &[
    ("key", |tag| vec![tag.key.clone()]),
    ("value", |tag| vec![tag.value.clone()]),
    ("resource-id", |tag| vec![tag.resource_id.clone()]),
    ("resource-type", |tag| vec![tag.resource_type.clone()]),
];

fn describe(_app: &Ec2, view: &View, op: &DescribeTags) -> Result<DescribeTagsResult, ApiError> {
    let filters = Filters::new(&op.filters, FIELDS)?;
    let size = page_size(op.max_results, 5..=1000)?;
    let of = |record: Arc<ResourceTags>| {
        // Tags go with their resource: it is there, and need not be looked for.
        let resource_type = kind_of(&record.resource).map_or("unknown", |kind| kind.name);
        shown(&record.tags)
            .into_iter()
            .map(|tag| TagDescription {
                resource_id: record.resource.clone(),
                resource_type: resource_type.to_owned(),
                key: tag.key,
                value: tag.value,
            })
            .collect::<Vec<_>>()
    };
    // The rest of the resource that the page before ended in, and those behind it.
    let from = |start: Bound<String>| {
        let resource = match &start {
            Bound::Included(key) | Bound::Excluded(key) => key.split('/').next(),
            Bound::Unbounded => None,
        };
        let records = view.from::<ResourceTags>(Bound::Included(resource.unwrap_or_default()));
        let all = records.flat_map(of);
        all.filter(|item| filters.matches(item, &own_tag(item)))
    };
    let key = |item: &TagDescription| format!("{}/{}", item.resource_id, item.key);
    let page = paginate_from(from, key, size, op.next_token.as_deref()).map_err(bad_token)?;
    Ok(DescribeTagsResult {
        next_token: page.next_token,
        tags: page.items,
    })
}

fn own_tag(item: &TagDescription) -> [Tag; 1] {
    [Tag {
        key: item.key.clone(),
        value: item.value.clone(),
    }]
}

fn check_resources(app: &Ec2, view: &View, resources: &[String]) -> Result<(), ApiError> {
    if resources.is_empty() {
        return Err(missing("ResourceIdSet"));
    }
    if resources.len() > MAX_RESOURCES {
        return Err(invalid_value(format!(
            "The maximum number of resources is {MAX_RESOURCES}"
        )));
    }
    resources
        .iter()
        .find(|id| !exists(&app.cell, view, id))
        .map_or(Ok(()), |id| Err(unknown_resource(app, view, id)))
}

fn unknown_resource(app: &Ec2, view: &View, id: &str) -> ApiError {
    if prefix_lists::find(&app.cell, view, id).is_some() {
        return unauthorized();
    }
    match kind_of(id).filter(|kind| ids::is_id(kind.id.prefix, id)) {
        Some(kind) => kind.id.not_found(id),
        None => client("InvalidID", format!("The ID '{id}' is not valid")),
    }
}

fn exists(cell: &Cell, view: &View, id: &str) -> bool {
    kind_of(id).is_some_and(|kind| (kind.exists)(cell, view, id))
}
