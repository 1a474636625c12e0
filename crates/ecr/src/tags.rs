//! Tags of repositories, by ARN.

use std::collections::BTreeMap;

use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::record::Repository;
use crate::resource_types::{REPOSITORY, named, pairs};
use crate::shape::*;
use crate::{Ecr, fault};

const MOST: usize = 50;

operations! {
    for Ecr as "ecr";
    read ListTagsForResource -> ListTagsForResourceResponse = list
        => on(&REPOSITORY, |op, _| op.resource_arn.clone());
    change TagResource -> Empty = tag
        => on(&REPOSITORY, |op, _| op.resource_arn.clone()).tagged(|op, _| pairs(&op.tags));
    change UntagResource -> Empty = untag
        => on(&REPOSITORY, |op, _| op.resource_arn.clone()).untagged(|op, _| op.tag_keys.clone());
}

/// What tags of a request are as a record's.
///
/// # Errors
/// One of them is malformed, or there are too many.
pub(crate) fn checked(tags: &[Tag]) -> Result<BTreeMap<String, String>, ApiError> {
    if tags.len() > MOST {
        return Err(too_many());
    }
    for tag in tags {
        let fits = (1..=128).contains(&tag.key.chars().count())
            && tag.value.chars().count() <= 256
            && !tag.key.to_ascii_lowercase().starts_with("aws:");
        if !fits {
            return Err(fault::coded(
                "InvalidTagParameterException",
                "An invalid parameter has been specified. Tag keys can have a maximum character length of 128 characters, and tag values can have a maximum length of 256 characters.",
            ));
        }
    }
    Ok(pairs(tags).into_iter().collect())
}

fn too_many() -> ApiError {
    fault::coded(
        "TooManyTagsException",
        "The list of tags on the repository is over the limit. The maximum number of tags that can be applied to a repository is 50.",
    )
}

fn find(app: &Ecr, view: &View, arn: &str) -> Result<Repository, ApiError> {
    let bad = || fault::broken("resourceArn", "Invalid ARN");
    let name = named(arn).ok_or_else(bad)?;
    let known = view.get::<Repository>(&name);
    let known = known.filter(|it| crate::repositories::arn(app, &it.name) == arn);
    let known = known.ok_or_else(|| fault::no_repository(&name, &app.cell.account))?;
    Ok(Repository::clone(&known))
}

fn list(
    app: &Ecr,
    view: &View,
    op: &ListTagsForResource,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let tags = find(app, view, &op.resource_arn)?.tags.into_iter();
    Ok(ListTagsForResourceResponse {
        tags: tags.map(|(key, value)| Tag { key, value }).collect(),
    })
}

fn tag(app: &Ecr, tx: &mut Tx, op: TagResource) -> Result<Empty, ApiError> {
    let mut repository = find(app, tx.view(), &op.resource_arn)?;
    repository.tags.extend(checked(&op.tags)?);
    if repository.tags.len() > MOST {
        return Err(too_many());
    }
    tx.put(repository);
    Ok(Empty {})
}

fn untag(app: &Ecr, tx: &mut Tx, op: UntagResource) -> Result<Empty, ApiError> {
    let mut repository = find(app, tx.view(), &op.resource_arn)?;
    repository.tags.retain(|key, _| !op.tag_keys.contains(key));
    tx.put(repository);
    Ok(Empty {})
}
