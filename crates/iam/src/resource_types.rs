//! IAM's resource types, as its Service Authorization Reference names them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html>).
//!
//! Requests name users, groups, roles and instance profiles by their names, which have no case, and policies by their
//! ARNs. The types take both. An ARN is taken at its word, path included: it may be that of what a request makes.

use std::sync::Arc;

use lath_authz::{Facts, RESOURCE_TAG, ResourceType, Scope};
use lath_store::Record;
use lath_wire::Caller;

use crate::check::Tag;
use crate::holder::Holder;
use crate::policies::lookup;
use crate::records::{Group, InstanceProfile, OidcProvider, Role, Tags, User, key};

/// The key of the boundary that a request gives to a user or role, or that it has.
pub(crate) const BOUNDARY: &str = "iam:PermissionsBoundary";
/// The key of the policy that is attached or detached.
pub(crate) const POLICY_ARN: &str = "iam:PolicyARN";

const TAGS: &[&str] = &[RESOURCE_TAG, "iam:ResourceTag/${TagKey}"];

/// A user.
pub const USER: ResourceType = ResourceType {
    name: "user",
    arn: arn::<User>,
    keys: TAGS,
    facts: facts::<User>,
};

/// A group, which has no tags.
pub const GROUP: ResourceType = ResourceType {
    name: "group",
    arn: arn::<Group>,
    keys: &[],
    facts: |_, _| Vec::new(),
};

/// A role.
pub const ROLE: ResourceType = ResourceType {
    name: "role",
    arn: arn::<Role>,
    keys: TAGS,
    facts: facts::<Role>,
};

/// An instance profile.
pub const INSTANCE_PROFILE: ResourceType = ResourceType {
    name: "instance-profile",
    arn: arn::<InstanceProfile>,
    keys: TAGS,
    facts: facts::<InstanceProfile>,
};

/// A managed policy, by its ARN.
pub const POLICY: ResourceType = ResourceType {
    name: "policy",
    arn: |at, arn| at.settled(arn),
    keys: TAGS,
    facts: |at, arn| {
        let policy = lookup(at.view, &at.settled(arn));
        policy.map_or_else(Vec::new, |it| of_tags(&it.tags))
    },
};

/// An OpenID Connect provider, by its ARN.
pub const OIDC_PROVIDER: ResourceType = ResourceType {
    name: "oidc-provider",
    arn: |at, arn| at.settled(arn),
    keys: TAGS,
    facts: |at, arn| {
        let settled = at.settled(arn);
        let url = settled.strip_prefix(&at.global_arn("iam", "oidc-provider/"));
        let provider = url.and_then(|url| at.view.get::<OidcProvider>(url));
        provider.map_or_else(Vec::new, |it| of_tags(&it.tags))
    },
};

/// What has a name and a path.
pub(crate) trait Placed: Record {
    /// As ARNs have it.
    const NOUN: &'static str;
    fn place(&self) -> (&str, &str);
    fn tags(&self) -> Option<&Tags>;
}

macro_rules! placed {
    ($($record:ty = $noun:literal, |$it:ident| $tags:expr;)*) => {
        $(impl Placed for $record {
            const NOUN: &'static str = $noun;
            fn place(&self) -> (&str, &str) {
                (&self.path, &self.name)
            }
            fn tags(&self) -> Option<&Tags> {
                let $it = self;
                $tags
            }
        })*
    };
}

placed! {
    User = "user", |it| Some(&it.tags);
    Group = "group", |_it| None;
    Role = "role", |it| Some(&it.tags);
    InstanceProfile = "instance-profile", |it| Some(&it.tags);
}

/// The ARN of what has, or is to have, this path (`/` where there is none) and this name.
pub(crate) fn at_path(at: &Scope<'_>, noun: &str, path: Option<&str>, name: &str) -> String {
    let path = path.unwrap_or("/");
    at.global_arn("iam", &format!("{noun}{path}{name}"))
}

fn own_arn<R: Placed>(at: &Scope<'_>, record: &R) -> String {
    let (path, name) = record.place();
    at_path(at, R::NOUN, Some(path), name)
}

fn arn<R: Placed>(at: &Scope<'_>, given: &str) -> String {
    if given.starts_with("arn:") {
        return at.settled(given);
    }
    match at.view.get::<R>(&key(given)) {
        Some(record) => own_arn(at, &*record),
        None => at_path(at, R::NOUN, None, given),
    }
}

fn record<R: Placed>(at: &Scope<'_>, given: &str) -> Option<Arc<R>> {
    if !given.starts_with("arn:") {
        return at.view.get::<R>(&key(given));
    }
    let name = given.rsplit('/').next().unwrap_or_default();
    let record = at.view.get::<R>(&key(name));
    record.filter(|it| own_arn(at, &**it) == at.settled(given))
}

fn facts<R: Placed>(at: &Scope<'_>, given: &str) -> Facts {
    let record = record::<R>(at, given);
    let tags = record.as_deref().and_then(Placed::tags);
    tags.map_or_else(Vec::new, of_tags)
}

/// A resource's tags, under both of their names.
fn of_tags(tags: &Tags) -> Facts {
    let both = |(key, value): (&String, &String)| {
        ["aws", "iam"].map(|prefix| (format!("{prefix}:ResourceTag/{key}"), vec![value.clone()]))
    };
    tags.iter().flat_map(both).collect()
}

/// The permissions boundary that a user or role has.
pub(crate) fn boundary<H: Holder>(at: &Scope<'_>, name: &str) -> Option<String> {
    at.view.get::<H>(&key(name))?.policies().boundary.clone()
}

/// What is renamed or moved, before and after: the caller needs the permission on both, and it has its tags in both
/// places (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateUser.html>).
pub(crate) fn moved<R: Placed>(
    at: &Scope<'_>,
    name: &str,
    new_path: Option<&str>,
    new_name: Option<&str>,
) -> Vec<(String, Facts)> {
    let before = (name.to_owned(), Vec::new());
    let record = at.view.get::<R>(&key(name));
    let (old_path, old_name) = record.as_deref().map_or(("/", name), Placed::place);
    let path = new_path.unwrap_or(old_path);
    let after = at_path(at, R::NOUN, Some(path), new_name.unwrap_or(old_name));
    vec![before, (after, facts::<R>(at, name))]
}

/// The name of the user that a request is about: the caller where it names none. `None` of a caller that is no user.
pub(crate) fn about(caller: &Caller, given: Option<&str>) -> Option<String> {
    let named = crate::users::named(caller, given);
    named.ok().map(str::to_owned)
}

/// An ARN, if it is of a resource of this kind and account.
pub(crate) fn of_kind(at: &Scope<'_>, noun: &str, arn: &str) -> Option<String> {
    let settled = at.settled(arn);
    let kind = at.global_arn("iam", &format!("{noun}/"));
    settled.starts_with(&kind).then_some(settled)
}

/// The tags that a request gives.
pub(crate) fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    let pair = |tag: &Tag| (tag.key.clone(), tag.value.clone());
    tags.iter().map(pair).collect()
}
