//! Lambda's resources as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html>).

use std::collections::BTreeMap;

use lath_authz::{Facts, RESOURCE_TAG, ResourceType};

use crate::ident::{Named, arn_in};
use crate::record::Function;

/// By its name in any form.
pub const FUNCTION: ResourceType = ResourceType {
    name: "function",
    arn: |at, text| arn_in(at, text),
    keys: &[RESOURCE_TAG],
    facts: |at, text| {
        let named = Named::of(text);
        let known = named.and_then(|it| at.view.get::<Function>(it.name));
        let facts: Facts = known
            .iter()
            .flat_map(|it| &it.tags)
            .map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value.clone()]))
            .collect();
        facts
    },
};

/// The tags that a request gives.
pub(crate) fn pairs(tags: Option<&BTreeMap<String, String>>) -> Vec<(String, String)> {
    let pair = |(key, value): (&String, &String)| (key.clone(), value.clone());
    tags.into_iter().flatten().map(pair).collect()
}
