//! What EC2 consists of, in one list.

use std::sync::Arc;

use lath_service::Kind;
use lath_wire::Service;

use crate::Ec2;

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
