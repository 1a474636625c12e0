//! EC2's resource types, as its Service Authorization Reference names them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>).

mod compute;
mod made;
mod networks;
mod transit;

use lath_authz::Scope;

use crate::tags;

pub(crate) use compute::*;
pub(crate) use lath_authz::Facts;
pub(crate) use made::{ATTRIBUTES, Making, attributes};
pub(crate) use networks::*;
pub(crate) use transit::*;

/// `NAME = "type", ["ec2:Key", ...] => |at, id| facts`: a resource type with an ARN of the usual form
/// (`arn:aws:ec2:REGION:ACCOUNT:type/id`), the keys of its tags, and those keys that its record says. A key that stands
/// in the list and is never among the facts is one of things that do not exist here: it has no value.
macro_rules! resource_types {
    ($($(#[$about:meta])* $name:ident = $type:literal, [$($key:literal),* $(,)?] => $facts:expr;)*) => {$(
        $(#[$about])*
        pub(crate) const $name: lath_authz::ResourceType = lath_authz::ResourceType {
            name: $type,
            arn: |at, id| $crate::resource_types::arn(at, $type, id),
            keys: &[lath_authz::RESOURCE_TAG, "ec2:ResourceTag/${TagKey}", $($key),*],
            facts: |at, id| {
                let facts: fn(&lath_authz::Scope<'_>, &str) -> $crate::resource_types::Facts = $facts;
                let mut all = $crate::resource_types::of_tags(at, id);
                all.extend(facts(at, id));
                all
            },
        };
    )*};
}
pub(crate) use resource_types;

/// The ARN of a resource of the account. `ec2:Vpc`, `ec2:Subnet` and others of the kind have such values.
pub(crate) fn arn(at: &Scope<'_>, kind: &str, id: impl std::fmt::Display) -> String {
    at.arn("ec2", &format!("{kind}/{id}"))
}

/// A condition key with one value.
pub(crate) fn fact(key: &str, value: impl Into<String>) -> (String, Vec<String>) {
    (key.to_owned(), vec![value.into()])
}

/// The key that has a resource's own id; it is `*` of what is to be made
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-policy-structure.html#imageId-key>).
pub(crate) fn own_id(key: &str, id: &str) -> Facts {
    vec![fact(key, id)]
}

/// A resource's tags, under both of their names.
pub(crate) fn of_tags(at: &Scope<'_>, id: &str) -> Facts {
    let both = |tag: tags::Tag| {
        ["aws", "ec2"].map(|prefix| {
            let key = format!("{prefix}:ResourceTag/{}", tag.key);
            (key, vec![tag.value.clone()])
        })
    };
    tags::of(at.view, id).into_iter().flat_map(both).collect()
}
