//! EC2's kinds of resources: their ids, the errors about those, and what policies know of them, as the Service
//! Authorization Reference names it
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>).
//!
//! A kind is a constant of type [`Kind`](lath_service::Kind) beside its record's [`Resource`](lath_service::Resource),
//! here or in the file of its operations, and stands in the line of that file in the list of parts of its crate. From
//! that follow tags and all that is done with them, the records of the database, "does it exist", and the errors about
//! ids.

mod compute;
mod networks;
mod transit;

use lath_authz::Scope;
use lath_service::IdForm;

use crate::tags;

pub use compute::*;
pub use lath_authz::Facts;
pub use networks::*;
pub use transit::*;

/// Ids that begin with a prefix; the codes for text that is no such id and for one that nothing has; the message of the
/// latter. AWS's spelling of the codes follows no rule, so that each is written down.
pub const fn ids(
    prefix: &'static str,
    malformed: &'static str,
    not_found: &'static str,
    absent: &'static str,
) -> IdForm {
    IdForm {
        prefix,
        malformed,
        not_found,
        absent,
    }
}

/// `resource_type!("type", ["ec2:Key", ...], |at, id| facts)`: a resource type with an ARN of the usual form
/// (`arn:aws:ec2:REGION:ACCOUNT:type/id`), the keys of its tags, and those keys that its record says. A key that stands
/// in the list and is never among the facts is one of things that do not exist here: it has no value.
#[macro_export]
macro_rules! resource_type {
    ($type:literal, [$($key:literal),* $(,)?], $facts:expr $(,)?) => {
        lath_authz::ResourceType {
            name: $type,
            arn: |at, id| $crate::resources::arn(at, $type, id),
            keys: &[lath_authz::RESOURCE_TAG, "ec2:ResourceTag/${TagKey}", $($key),*],
            facts: |at, id| {
                let facts: fn(&lath_authz::Scope<'_>, &str) -> $crate::resources::Facts = $facts;
                let mut all = $crate::resources::of_tags(at, id);
                all.extend(facts(at, id));
                all
            },
        }
    };
}
pub use resource_type;

/// The ARN of a resource of the account. `ec2:Vpc`, `ec2:Subnet` and others of the kind have such values.
pub fn arn(at: &Scope<'_>, kind: &str, id: impl std::fmt::Display) -> String {
    at.arn("ec2", &format!("{kind}/{id}"))
}

/// A condition key with one value.
pub fn fact(key: &str, value: impl Into<String>) -> (String, Vec<String>) {
    (key.to_owned(), vec![value.into()])
}

/// The key that has a resource's own id; it is `*` of what is to be made
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-policy-structure.html#imageId-key>).
pub fn own_id(key: &str, id: &str) -> Facts {
    vec![fact(key, id)]
}

/// A resource's tags, under both of their names.
pub fn of_tags(at: &Scope<'_>, id: &str) -> Facts {
    let both = |tag: tags::Tag| {
        ["aws", "ec2"].map(|prefix| {
            let key = format!("{prefix}:ResourceTag/{}", tag.key);
            (key, vec![tag.value.clone()])
        })
    };
    tags::of(at.view, id).into_iter().flat_map(both).collect()
}
