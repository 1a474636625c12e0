//! EKS: clusters whose control planes are upstream Kubernetes in the user's VPC, and node groups whose nodes are instances.
//!
//! [`Eks`] holds a region's cell and handles every operation that [`service`] registers. [`CONTRIBUTIONS`] turns the
//! state into the part of the feed that nodes obey: control planes, and what of them is in the VPC; instances of node
//! groups are EC2's ([`lath_ec2_compute::managed`]). [`reconcilers`] takes over what nodes observe: a cluster is `ACTIVE` when its
//! API server answers, a node group when its nodes are ready in it.
//!
//! Not there: Fargate, Auto Mode, hybrid nodes, Outposts, keys of KMS, capabilities. Requests for them are refused, and what lists them is empty.

mod access;
mod addons;
mod awaited;
mod bounds;
mod check;
mod clusters;
mod contribute;
mod extensions;
mod fault;
mod identity_providers;
mod insights;
mod issuers;
mod node_groups;
mod platform;
mod pod_identities;
mod reconcile;
mod record;
mod resource_types;
mod roles;
mod shape;
mod syntax;
mod tags;
mod token;
mod unavailable;
mod updates;
mod versions;

use std::sync::Arc;

use lath_control::{Cell, Page, paginate};
use lath_service::{App, Stateful};
use lath_store::{Db, View};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use contribute::{CONTRIBUTIONS, asks_who_calls};
pub use issuers::{Issuer, PodRole, SECTION, issuer, issuer_document, issuer_of, pod_role};
pub use platform::Platform;
pub use reconcile::reconcilers;
pub use record::kinds;

/// The service of one region.
pub struct Eks {
    /// The region.
    pub cell: Cell,
    /// What the host offers to clusters.
    pub platform: Platform,
}

impl App for Eks {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Eks {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Eks, |app| app.view(), app.cell.owner());

/// What identifies EKS on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "eks",
    model: "eks",
    version: "2017-11-01",
    xmlns: "",
    target_prefix: "",
    protocols: &[Protocol::RestJson],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Eks>) -> Service {
    let registers = [
        clusters::register,
        clusters::create::register,
        clusters::update::register,
        clusters::connected::register,
        node_groups::register,
        node_groups::create::register,
        node_groups::update::register,
        updates::register,
        access::register,
        access::policies::register,
        addons::register,
        addons::catalogue::register,
        pod_identities::register,
        identity_providers::register,
        tags::register,
        versions::register,
        insights::register,
        unavailable::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}

/// Items on a page when the caller does not say.
const PAGE: usize = 100;

/// Cuts a page out of items in ascending order of `key`.
fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    max_results: Option<i32>,
    next_token: Option<&str>,
) -> Result<Page<T>, ApiError> {
    let size = max_results
        .and_then(|size| usize::try_from(size).ok())
        .map_or(PAGE, |size| size.clamp(1, PAGE));
    paginate(items, key, size, next_token)
        .map_err(|_| fault::invalid_parameter("The nextToken is not valid."))
}

#[cfg(test)]
mod tests;
