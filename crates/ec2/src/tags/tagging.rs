//! What CreateTags and DeleteTags need permission for: the resources, of whatever kind.

use lath_authz::{Access, Facts, ResourceType, Scope, TAG_KEYS};
use lath_ec2_kit::tags::{self, TagInput};
use lath_ec2_records::KeyPair;
use lath_ec2_records::ResourceTags;

use super::{CreateTags, DeleteTags};
use crate::parts::{kind_of, kinds};

/// The needs of CreateTags. `ec2:CreateAction` is for tags of new resources: a call of CreateTags itself has none
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>).
pub(super) fn create(access: Access<CreateTags>) -> Access<CreateTags> {
    kinds().fold(access, |access, kind| {
        access
            .on(kind, |op, at| names(at, &op.resources, kind))
            .tagged(|op, _| tags::pairs(&op.tags))
            .with("ec2:CreateAction", |_, _| None::<String>)
    })
}

/// The needs of DeleteTags. Without tags it takes all that a resource has.
pub(super) fn delete(access: Access<DeleteTags>) -> Access<DeleteTags> {
    kinds().fold(access, |access, kind| {
        access
            .on_each(kind, &[TAG_KEYS], |op, at| {
                let of_kind = op.resources.iter().filter(|id| is_of(id, kind));
                let named = |id: &String| (name(at, id), taken(at, id, &op.tags));
                of_kind.map(named).collect()
            })
            .tagged(|op, _| tags::pairs(&op.tags))
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
    kind_of(id).is_some_and(|it| it.name == kind.name)
}

/// Key pairs are tagged by their ids and known to policies by their names.
fn name(at: &Scope<'_>, id: &str) -> String {
    match kind_of(id).map(|kind| kind.name) {
        Some("key-pair") => KeyPair::name_of(at.view, id),
        _ => id.to_owned(),
    }
}
