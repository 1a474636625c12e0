//! Route 53's resources and condition keys as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonroute53.html>). Its ARNs have
//! neither a region nor an account, and its tags are no condition keys.

use std::collections::BTreeSet;

use lath_authz::{Facts, ResourceType, Scope};

use crate::ident;
use crate::name;
use crate::shape::{ChangeResourceRecordSets, TagResourceType, Vpc};

/// The VPCs that a request names, in the form `VPCId=...,VPCRegion=...`.
pub(crate) const VPCS: &str = "route53:VPCs";
const ACTIONS: &str = "route53:ChangeResourceRecordSetsActions";
const NAMES: &str = "route53:ChangeResourceRecordSetsNormalizedRecordNames";
const TYPES: &str = "route53:ChangeResourceRecordSetsRecordTypes";

macro_rules! types {
    ($($name:ident $text:literal |$id:ident| $bare:expr;)*) => {$(
        pub(crate) const $name: ResourceType = ResourceType {
            name: $text,
            arn: |at, $id| format!(concat!("arn:{}:route53:::", $text, "/{}"), at.partition(), $bare),
            keys: &[],
            facts: |_, _| Vec::new(),
        };
    )*};
}

types! {
    ZONE "hostedzone" |id| match ident::zone(id) {
        Ok(id) => id.to_string(),
        Err(_) => ident::bare("/hostedzone/", id).to_owned(),
    };
    CHECK "healthcheck" |id| ident::check(id).map_or_else(|_| id.to_owned(), |id| id.to_string());
    CHANGE "change" |id| ident::bare("/change/", id);
    COLLECTION "cidrcollection" |id| id;
    DELEGATION_SET "delegationset" |id| ident::bare("/delegationset/", id);
}

/// An id, if it is of this kind.
pub(crate) fn of_kind(wanted: TagResourceType, kind: TagResourceType, id: &str) -> Option<String> {
    (wanted == kind).then(|| id.to_owned())
}

/// A VPC as [`VPCS`] has it; `None` where a part is missing, which the handler refuses.
pub(crate) fn vpc(vpc: &Vpc) -> Option<String> {
    Some(of_vpc(vpc.id.as_ref()?, vpc.region.as_ref()?))
}

/// As [`vpc`].
pub(crate) fn of_vpc(id: &str, region: &str) -> String {
    format!("VPCId={id},VPCRegion={region}")
}

/// The condition keys of a batch of changes.
pub(crate) const BATCH: &[&str] = &[ACTIONS, NAMES, TYPES];

/// The values of [`BATCH`], in the form that policies have them
/// (<https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html>): names in lower
/// case, escaped, without a dot at the end.
pub(crate) fn batch(op: &ChangeResourceRecordSets, _: &Scope<'_>) -> Facts {
    let (mut actions, mut names, mut types) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for change in &op.batch.changes {
        actions.insert(change.action.as_str().to_owned());
        names.insert(normalized(&change.set.name));
        types.insert(change.set.kind.as_str().to_owned());
    }
    let keys = [(ACTIONS, actions), (NAMES, names), (TYPES, types)];
    let keys = keys.into_iter().filter(|(_, values)| !values.is_empty());
    keys.map(|(key, values)| (key.to_owned(), values.into_iter().collect()))
        .collect()
}

/// A name that is none stays as it is: its handler refuses it.
fn normalized(text: &str) -> String {
    let canonical = name::canonical(text).unwrap_or_else(|_| text.to_ascii_lowercase());
    let bare = canonical.strip_suffix('.');
    bare.unwrap_or(&canonical).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_policies_write_them() {
        for (given, want) in [
            ("WWW.Example.com.", "www.example.com"),
            ("*.example.com", "\\052.example.com"),
            ("\\052.example.com", "\\052.example.com"),
            ("\\101.example.com", "a.example.com"),
            ("_acme-challenge.example.com", "_acme-challenge.example.com"),
            ("", ""),
        ] {
            assert_eq!(normalized(given), want, "{given}");
        }
    }
}
