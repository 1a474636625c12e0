//! The control plane of VPC Lattice.
//!
//! [`Lattice`] holds a region's cell and handles every operation that [`service`] registers.
//! [`contribute`] turns the state into the part of the feed that nodes obey; [`reconcilers`] takes over
//! what nodes observe, so that a resource is `ACTIVE` when it works and gone when nothing of it is left.
//!
//! [`SECTION`] is what regions tell one another in extended mode.
//!
//! Not there: resource gateways and configurations, domain verification (the wire layer answers
//! `UnknownOperationException`); TLS listeners, LAMBDA and ALB target groups, and log destinations other than
//! log groups (`ValidationException`). Resource policies are kept and shown, but there is no second account to
//! share with.

mod access_log;
mod action;
mod auth_policy;
mod condition;
mod constraint;
mod contribute;
mod endpoint;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod health_check;
mod ident;
mod listener;
mod matcher;
mod network;
mod policy_document;
mod probing;
mod quota;
mod reconcile;
mod record;
mod region;
mod resource_policy;
mod resource_types;
mod rule;
mod rule_batch;
mod service;
mod service_association;
mod shape;
mod tag;
mod target;
mod target_group;
mod token;
mod vpc;
mod vpc_association;

use std::sync::Arc;

use lath_control::{Cell, Page, paginate};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use contribute::contribute;
pub use reconcile::reconcilers;
pub use record::kinds;
pub use region::SECTION;

/// The service of one region.
#[derive(Clone)]
pub struct Lattice {
    /// The region.
    pub cell: Cell,
}

lath_authz::authorized!(Lattice, |app| app.cell.db.view(), app.cell.owner());

/// What identifies Lattice on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "vpc-lattice",
    model: "vpc-lattice",
    version: "2022-11-30",
    xmlns: "",
    target_prefix: "",
    protocols: &[Protocol::RestJson],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Lattice>) -> Service {
    let service = Service::new(INFO);
    let service = networks(service, app);
    let service = services(service, app);
    let service = target_groups(service, app);
    let service = associations(service, app);
    let service = policies(service, app);
    logs_and_tags(service, app)
}

fn networks(service: Service, app: &Arc<Lattice>) -> Service {
    service
        .on::<shape::CreateServiceNetwork>(app)
        .on::<shape::GetServiceNetwork>(app)
        .on::<shape::ListServiceNetworks>(app)
        .on::<shape::UpdateServiceNetwork>(app)
        .on::<shape::DeleteServiceNetwork>(app)
}

fn services(service: Service, app: &Arc<Lattice>) -> Service {
    service
        .on::<shape::CreateService>(app)
        .on::<shape::GetService>(app)
        .on::<shape::ListServices>(app)
        .on::<shape::UpdateService>(app)
        .on::<shape::DeleteService>(app)
        .on::<shape::CreateListener>(app)
        .on::<shape::GetListener>(app)
        .on::<shape::ListListeners>(app)
        .on::<shape::UpdateListener>(app)
        .on::<shape::DeleteListener>(app)
        .on::<shape::CreateRule>(app)
        .on::<shape::GetRule>(app)
        .on::<shape::ListRules>(app)
        .on::<shape::UpdateRule>(app)
        .on::<shape::BatchUpdateRule>(app)
        .on::<shape::DeleteRule>(app)
}

fn target_groups(service: Service, app: &Arc<Lattice>) -> Service {
    service
        .on::<shape::CreateTargetGroup>(app)
        .on::<shape::GetTargetGroup>(app)
        .on::<shape::ListTargetGroups>(app)
        .on::<shape::UpdateTargetGroup>(app)
        .on::<shape::DeleteTargetGroup>(app)
        .on::<shape::RegisterTargets>(app)
        .on::<shape::DeregisterTargets>(app)
        .on::<shape::ListTargets>(app)
}

fn associations(service: Service, app: &Arc<Lattice>) -> Service {
    service
        .on::<shape::CreateServiceNetworkServiceAssociation>(app)
        .on::<shape::GetServiceNetworkServiceAssociation>(app)
        .on::<shape::ListServiceNetworkServiceAssociations>(app)
        .on::<shape::DeleteServiceNetworkServiceAssociation>(app)
        .on::<shape::CreateServiceNetworkVpcAssociation>(app)
        .on::<shape::GetServiceNetworkVpcAssociation>(app)
        .on::<shape::ListServiceNetworkVpcAssociations>(app)
        .on::<shape::UpdateServiceNetworkVpcAssociation>(app)
        .on::<shape::DeleteServiceNetworkVpcAssociation>(app)
        .on::<shape::ListServiceNetworkVpcEndpointAssociations>(app)
}

fn policies(service: Service, app: &Arc<Lattice>) -> Service {
    service
        .on::<shape::PutAuthPolicy>(app)
        .on::<shape::GetAuthPolicy>(app)
        .on::<shape::DeleteAuthPolicy>(app)
        .on::<shape::PutResourcePolicy>(app)
        .on::<shape::GetResourcePolicy>(app)
        .on::<shape::DeleteResourcePolicy>(app)
}

fn logs_and_tags(service: Service, app: &Arc<Lattice>) -> Service {
    service
        .on::<shape::CreateAccessLogSubscription>(app)
        .on::<shape::GetAccessLogSubscription>(app)
        .on::<shape::ListAccessLogSubscriptions>(app)
        .on::<shape::UpdateAccessLogSubscription>(app)
        .on::<shape::DeleteAccessLogSubscription>(app)
        .on::<shape::ListTagsForResource>(app)
        .on::<shape::TagResource>(app)
        .on::<shape::UntagResource>(app)
}

/// Items on a page when the caller does not say.
const PAGE: usize = 100;

/// Cuts a page out of items in ascending order of `key`.
fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    max_results: Option<i64>,
    next_token: Option<&str>,
) -> Result<Page<T>, ApiError> {
    let size = max_results
        .and_then(|size| usize::try_from(size).ok())
        .map_or(PAGE, |size| size.clamp(1, PAGE));
    paginate(items, key, size, next_token)
        .map_err(|_| fault::invalid("nextToken", "The pagination token is not valid"))
}

#[cfg(test)]
mod tests;
