//! What EC2 consists of, in one list.

use std::sync::Arc;

use lath_ec2_records::{DirectoryImage, PeerTransit, ProfileAssociation, ResourceTags};
use lath_service::Kind;
use lath_store::Kinds;
use lath_wire::Service;

use crate::Ec2;
use crate::launch_templates::LaunchTemplateVersion;

/// What one module adds to EC2.
pub(crate) struct Part {
    /// Registers its operations.
    pub(crate) register: fn(Service, &Arc<Ec2>) -> Service,
    /// The kinds of resources that it makes: they have tags, and records in the database.
    pub(crate) kinds: &'static [&'static Kind],
}

impl Part {
    /// A part.
    pub(crate) const fn new(
        register: fn(Service, &Arc<Ec2>) -> Service,
        kinds: &'static [&'static Kind],
    ) -> Self {
        Self { register, kinds }
    }
}

/// Every part.
pub(crate) fn all() -> impl Iterator<Item = &'static Part> {
    let parts = [
        crate::networks::PARTS,
        crate::instances::PARTS,
        crate::launch_templates::PARTS,
    ];
    parts.into_iter().flatten()
}

/// Every kind of resource.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    all().flat_map(|part| part.kinds.iter().copied())
}

/// The kind of what has such an id.
pub(crate) fn kind_of(id: &str) -> Option<&'static Kind> {
    lath_service::kind_of(kinds(), id)
}

/// Every kind of record: those of resources, and those that no caller names by an id.
pub(crate) fn records(records: Kinds) -> Kinds {
    let of_resources = kinds().fold(records, |records, kind| (kind.records)(records));
    of_resources
        .with::<ResourceTags>()
        .with::<PeerTransit>()
        .with::<DirectoryImage>()
        .with::<ProfileAssociation>()
        .with::<LaunchTemplateVersion>()
}
