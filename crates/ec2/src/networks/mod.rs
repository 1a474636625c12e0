//! What networks are made of, and the operations on it.

pub mod interfaces;
pub(crate) mod prefix_lists;
mod public_pool;
mod reconcile;
pub(crate) mod route_tables;

use std::sync::Arc;

use lath_wire::Service;

pub(crate) use reconcile::reconcile;

use crate::Ec2;

/// Registers the operations on networks.
pub(crate) fn register(service: Service, _app: &Arc<Ec2>) -> Service {
    service
}
