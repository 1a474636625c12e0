use std::sync::Arc;

use lath_service::Kind;
use lath_wire::Service;

use crate::Ec2;

/// What one module adds to EC2.
pub struct Part {
    /// Registers its operations.
    pub register: fn(Service, &Arc<Ec2>) -> Service,
    /// The kinds of resources that it makes: they have tags, and records in the database.
    pub kinds: &'static [&'static Kind],
}

impl Part {
    /// A part.
    pub const fn new(
        register: fn(Service, &Arc<Ec2>) -> Service,
        kinds: &'static [&'static Kind],
    ) -> Self {
        Self { register, kinds }
    }
}
