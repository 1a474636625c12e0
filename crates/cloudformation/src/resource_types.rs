//! CloudFormation's resources as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudformation.html>).

use lath_authz::{RESOURCE_TAG, ResourceType};

use crate::fault;

/// A stack, by its name or its ARN. One that is not there has no id yet.
pub(crate) const STACK: ResourceType = ResourceType {
    name: "stack",
    arn: |at, name| {
        if name.starts_with("arn:") {
            return at.settled(name);
        }
        match fault::lookup(at.view, name) {
            Some(stack) => stack.arn.clone(),
            None if name == "*" => at.arn("cloudformation", "stack/*/*"),
            None => at.arn("cloudformation", &format!("stack/{name}/*")),
        }
    },
    keys: &[RESOURCE_TAG],
    facts: |at, name| {
        let name = if name.starts_with("arn:") {
            at.settled(name)
        } else {
            name.to_owned()
        };
        let Some(stack) = fault::lookup(at.view, &name) else {
            return Vec::new();
        };
        let tags = stack.desired.tags.iter();
        tags.map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value.clone()]))
            .collect()
    },
};
