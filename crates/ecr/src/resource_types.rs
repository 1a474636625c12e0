//! ECR's resources as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>).

use lath_authz::{RESOURCE_TAG, ResourceType};
use lath_model::arn::Arn;

use crate::record::Repository;
use crate::shape::Tag;

/// The service's own key for tags of a repository.
const OWN_TAG: &str = "ecr:ResourceTag/${TagKey}";

/// A repository, by its name or its ARN.
pub(crate) const REPOSITORY: ResourceType = ResourceType {
    name: "repository",
    arn: |at, name| {
        if name.starts_with("arn:") {
            return at.settled(name);
        }
        at.arn("ecr", &format!("repository/{name}"))
    },
    keys: &[RESOURCE_TAG, OWN_TAG],
    facts: |at, name| {
        let name = named(name).unwrap_or_else(|| name.to_owned());
        let Some(repository) = at.view.get::<Repository>(&name) else {
            return Vec::new();
        };
        let pairs = repository.tags.iter().flat_map(|(key, value)| {
            ["aws", "ecr"].map(|it| (format!("{it}:ResourceTag/{key}"), vec![value.clone()]))
        });
        pairs.collect()
    },
};

/// The name in a repository's ARN.
pub(crate) fn named(arn: &str) -> Option<String> {
    let arn: Arn = arn.parse().ok()?;
    let name = arn.resource.strip_prefix("repository/")?;
    (arn.service == "ecr").then(|| name.to_owned())
}

/// The tags that a request gives.
pub(crate) fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    let pair = |tag: &Tag| (tag.key.clone(), tag.value.clone());
    tags.iter().map(pair).collect()
}
