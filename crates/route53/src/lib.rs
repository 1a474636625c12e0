//! The control plane of Route 53: hosted zones, records, health checks.
//!
//! A global service: its state lives in the home region's database, where [`Route53`] handles every
//! operation that [`service`] registers; elsewhere each of them is refused with the home's name.
//! [`CONTRIBUTIONS`] turns the state into what nodes answer and probe. [`SECTIONS`] copy that to the other
//! regions, which keep it in records of their own: DNS goes on everywhere while the home is dead.
//!
//! A change is `INSYNC` when the home's node and those of all regions that it reaches answer from it; see
//! `docs/decisions/0013-global-services.md`.
//!
//! Not there: traffic policies, DNSSEC signing, query logs, domain registration (the wire layer answers
//! that it does not know the operation); health checks of alarms and of routing controls (`InvalidInput`).

mod alias;
mod answer;
mod association;
mod batch;
mod bounds;
mod change;
mod cidr;
mod contribute;
mod copy;
mod delegation;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod geo;
mod geo_table;
mod group;
mod health_check;
mod health_config;
mod health_status;
mod ident;
mod limit;
mod listing;
mod name;
mod page;
mod public;
mod record;
mod record_set;
mod resource_types;
mod section;
mod shape;
mod tag;
#[cfg(test)]
mod tests;
mod value;
mod zone;

use std::sync::Arc;

use lath_control::{Cell, Contribute};
use lath_service::{App, Stateful, Way};
use lath_store::{Db, View};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use contribute::CONTRIBUTIONS;
pub use public::public_values;
pub use record::kinds;
pub use section::{SECTIONS, reconcilers};

/// Route 53 as one region's control plane has it.
#[derive(Clone)]
pub struct Route53 {
    /// The region.
    pub cell: Cell,
    /// What the region's nodes are told: TestDNSAnswer answers from it.
    contributions: Arc<[Contribute]>,
}

impl Route53 {
    /// Route 53 over a region's state. `contributions` are all of the region's, this crate's included.
    pub fn new(cell: Cell, contributions: &[Contribute]) -> Self {
        Self {
            cell,
            contributions: contributions.into(),
        }
    }
}

impl App for Route53 {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }

    fn admit(&self, _way: Way) -> Result<(), ApiError> {
        let topology = &self.cell.topology;
        if topology.is_home() {
            return Ok(());
        }
        Err(fault::not_home(&topology.home))
    }
}

impl Stateful for Route53 {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Route53, |app| app.view(), app.cell.owner());

/// What identifies Route 53 on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "route53",
    model: "route53",
    version: "2013-04-01",
    xmlns: "https://route53.amazonaws.com/doc/2013-04-01/",
    target_prefix: "",
    protocols: &[Protocol::RestXml],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Route53>) -> Service {
    let registers = [
        answer::register,
        association::register,
        batch::register,
        change::register,
        cidr::register,
        delegation::register,
        geo::register,
        health_check::register,
        health_status::register,
        limit::register,
        listing::register,
        tag::register,
        zone::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}
