//! What CreateTags and DeleteTags need permission for: the resources, of whatever kind.

use lath_authz::{Access, Facts, ResourceType, Scope, TAG_KEYS};

use super::{CreateTags, DeleteTags, TagInput, type_name};
use crate::key_pairs;
use crate::records::ResourceTags;
use crate::resource_types::{
    DHCP_OPTIONS, ELASTIC_IP, IMAGE, INSTANCE, INTERNET_GATEWAY, KEY_PAIR, NAT_GATEWAY,
    NETWORK_ACL, NETWORK_INTERFACE, PREFIX_LIST, ROUTE_TABLE, SECURITY_GROUP, SECURITY_GROUP_RULE,
    SUBNET, TRANSIT_ATTACHMENT, TRANSIT_GATEWAY, TRANSIT_ROUTE_TABLE, VOLUME, VPC, VPC_ENDPOINT,
};

/// Every type that has tags.
const TAGGABLE: [&ResourceType; 20] = [
    &DHCP_OPTIONS,
    &ELASTIC_IP,
    &IMAGE,
    &INSTANCE,
    &INTERNET_GATEWAY,
    &KEY_PAIR,
    &NAT_GATEWAY,
    &NETWORK_ACL,
    &NETWORK_INTERFACE,
    &PREFIX_LIST,
    &ROUTE_TABLE,
    &SECURITY_GROUP,
    &SECURITY_GROUP_RULE,
    &SUBNET,
    &TRANSIT_ATTACHMENT,
    &TRANSIT_GATEWAY,
    &TRANSIT_ROUTE_TABLE,
    &VOLUME,
    &VPC,
    &VPC_ENDPOINT,
];

/// The needs of CreateTags. `ec2:CreateAction` is for tags of new resources: a call of CreateTags itself has none
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>).
pub(super) fn create(access: Access<CreateTags>) -> Access<CreateTags> {
    TAGGABLE.iter().fold(access, |access, kind| {
        access
            .on(kind, |op, at| names(at, &op.resources, kind))
            .tagged(|op, _| super::pairs(&op.tags))
            .with("ec2:CreateAction", |_, _| None::<String>)
    })
}

/// The needs of DeleteTags. Without tags it takes all that a resource has.
pub(super) fn delete(access: Access<DeleteTags>) -> Access<DeleteTags> {
    TAGGABLE.iter().fold(access, |access, kind| {
        access
            .on_each(kind, &[TAG_KEYS], |op, at| {
                let of_kind = op.resources.iter().filter(|id| is_of(id, kind));
                let named = |id: &String| (name(at, id), taken(at, id, &op.tags));
                of_kind.map(named).collect()
            })
            .tagged(|op, _| super::pairs(&op.tags))
    })
}

fn taken(at: &Scope<'_>, id: &str, given: &[TagInput]) -> Facts {
    let record = at.view.get::<ResourceTags>(id);
    let record = record.filter(|_| given.is_empty());
    let keys = record.map(|it| it.tags.keys().cloned().collect());
    keys.map(|keys| (TAG_KEYS.to_owned(), keys))
        .into_iter()
        .collect()
}

fn names(at: &Scope<'_>, resources: &[String], kind: &ResourceType) -> Vec<String> {
    let of_kind = resources.iter().filter(|id| is_of(id, kind));
    of_kind.map(|id| name(at, id)).collect()
}

fn is_of(id: &str, kind: &ResourceType) -> bool {
    type_name(id) == Some(kind.name)
}

/// Key pairs are tagged by their ids and known to policies by their names.
fn name(at: &Scope<'_>, id: &str) -> String {
    match type_name(id) {
        Some("key-pair") => key_pairs::name_of(at.view, id),
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::TYPES;
    use super::*;

    #[test]
    fn every_kind_that_has_tags_is_stated() {
        let mut stated = TAGGABLE.map(|it| it.name);
        let mut tagged = TYPES.map(|(_, name)| name);
        stated.sort_unstable();
        tagged.sort_unstable();
        assert_eq!(stated, tagged);
    }
}
