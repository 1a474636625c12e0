//! The control plane of VPC Lattice.
//!
//! [`Lattice`] holds a region's cell and handles every operation that [`service()`] registers.
//! [`CONTRIBUTIONS`] turns the state into the part of the feed that nodes obey; [`reconcilers`] takes over
//! what nodes observe, so that a resource is `ACTIVE` when it works and gone when nothing of it is left.
//!
//! [`SECTION`] is what regions tell one another in extended mode.
//!
//! Resources ([`resource`]) are what networks reach by TCP through gateways in other VPCs.
//!
//! Not there: ALB target groups, resources that are databases by their ARNs, and log destinations other
//! than log groups (`ValidationException`). Resource policies are kept and shown, but there is no second account to
//! share with.

mod access_log;
mod action;
mod auth_policy;
mod balancing;
mod bounds;
mod canary;
mod certificate;
mod condition;
mod constraint;
mod contribute;
mod endpoint;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod gateway_routes;
mod health_check;
mod ident;
mod listener;
mod long_tag;
mod matcher;
mod matching;
mod mutual_tls;
mod network;
mod policy_document;
mod policy_text;
mod probing;
mod quota;
mod reconcile;
mod record;
mod region;
mod resource;
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
mod target_tls;
mod token;
mod traffic;
mod vpc;
mod vpc_association;
mod workload_authority;

use std::ops::Bound;
use std::sync::Arc;

use lath_control::{Cell, Page, paginate_from};
use lath_service::{App, Stateful};
use lath_store::{Db, Record, View};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use canary::{CanaryStatus, CanaryWatch, canaries};
pub use contribute::{CONTRIBUTIONS, asks_who_calls};
pub use reconcile::reconcilers;
pub use record::kinds;
pub use region::SECTION;

/// The service of one region.
#[derive(Clone)]
pub struct Lattice {
    /// The region.
    pub cell: Cell,
    /// Where the records are looked for that prove domains.
    pub records: lath_acm::PublicRecords,
    /// What nodes report of groups that canaries are about.
    pub canaries: Arc<CanaryWatch>,
}

impl App for Lattice {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Lattice {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Lattice, |app| app.view(), app.cell.owner());

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
    let registers = [
        network::register,
        service::register,
        listener::register,
        rule::register,
        rule_batch::register,
        target_group::register,
        target::register,
        service_association::register,
        vpc_association::register,
        endpoint::register,
        auth_policy::register,
        resource_policy::register,
        access_log::register,
        resource::gateway::register,
        resource::configuration::register,
        resource::association::register,
        resource::endpoint::register,
        resource::verification::register,
        tag::register,
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
    max_results: Option<i64>,
    next_token: Option<&str>,
) -> Result<Page<T>, ApiError> {
    page_from(|_| items, key, max_results, next_token)
}

/// The same of items that `from` gives from behind a key on.
fn page_from<T, I: IntoIterator<Item = T>>(
    from: impl FnOnce(Bound<String>) -> I,
    key: impl Fn(&T) -> String,
    max_results: Option<i64>,
    next_token: Option<&str>,
) -> Result<Page<T>, ApiError> {
    let size = max_results
        .and_then(|size| usize::try_from(size).ok())
        .map_or(PAGE, |size| size.clamp(1, PAGE));
    paginate_from(from, key, size, next_token)
        .map_err(|_| fault::invalid("nextToken", "The pagination token is not valid"))
}

/// Two ascending lists as one.
fn merged<T, K: Ord + ?Sized>(
    one: impl Iterator<Item = T>,
    other: Vec<T>,
    key: impl Fn(&T) -> &K,
) -> impl Iterator<Item = T> {
    let (mut one, mut other) = (one.peekable(), other.into_iter().peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(left), Some(right)) if key(right) < key(left) => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

/// The records of a kind behind a key.
fn behind<'a, R: Record>(
    view: &'a View,
    start: &Bound<String>,
) -> impl Iterator<Item = Arc<R>> + use<'a, R> {
    view.from(start.as_ref().map(String::as_str))
}

#[cfg(test)]
mod tests;
