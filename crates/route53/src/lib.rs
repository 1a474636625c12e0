//! The control plane of Route 53: hosted zones, records, health checks.
//!
//! A global service: its state lives in the home region's database, where [`Route53`] handles every
//! operation that [`service`] registers; elsewhere each of them is refused with the home's name.
//! [`contribute`] turns the state into what nodes answer and probe. [`SECTIONS`] copy that to the other
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
use lath_wire::{ApiError, Caller, Handle, Protocol, Service, ServiceInfo};

pub use contribute::contribute;
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

lath_authz::authorized!(Route53, |app| app.cell.db.view(), app.cell.owner());

/// What identifies Route 53 on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "route53",
    model: "route53",
    version: "2013-04-01",
    xmlns: "https://route53.amazonaws.com/doc/2013-04-01/",
    target_prefix: "",
    protocols: &[Protocol::RestXml],
};

/// # Errors
/// That the global services are elsewhere.
fn at_home(cell: &Cell) -> Result<(), ApiError> {
    if cell.topology.is_home() {
        Ok(())
    } else {
        Err(fault::not_home(&cell.topology.home))
    }
}

/// Registers operations with the functions that do them: `read` ones get the newest view, `write` ones a
/// transaction.
macro_rules! handled {
    ($(read $read:path => $read_op:ident;)* --- $(write $write:path => $write_op:ident;)*) => {
        /// The operations, and who handles them.
        pub fn service(app: &Arc<Route53>) -> Service {
            Service::new(INFO)
                .on::<shape::TestDNSAnswer>(app)
                $(.on::<shape::$read_op>(app))*
                $(.on::<shape::$write_op>(app))*
        }

        $(impl Handle<shape::$read_op> for Route53 {
            async fn handle(
                &self,
                _: &Caller,
                op: shape::$read_op,
            ) -> Result<<shape::$read_op as lath_wire::Operation>::Output, ApiError> {
                at_home(&self.cell)?;
                $read(&self.cell, &self.cell.db.view(), op)
            }
        })*

        $(impl Handle<shape::$write_op> for Route53 {
            async fn handle(
                &self,
                _: &Caller,
                op: shape::$write_op,
            ) -> Result<<shape::$write_op as lath_wire::Operation>::Output, ApiError> {
                at_home(&self.cell)?;
                let cell = &self.cell;
                cell.db.write(|tx| $write(cell, tx, op)).await
            }
        })*
    };
}

handled! {
    read zone::get => GetHostedZone;
    read zone::list => ListHostedZones;
    read zone::list_by_name => ListHostedZonesByName;
    read zone::count => GetHostedZoneCount;
    read zone::signing => GetDNSSEC;
    read association::list_by_vpc => ListHostedZonesByVPC;
    read association::list_authorizations => ListVPCAssociationAuthorizations;
    read listing::list => ListResourceRecordSets;
    read health_check::get => GetHealthCheck;
    read health_check::list => ListHealthChecks;
    read health_check::count => GetHealthCheckCount;
    read health_status::status => GetHealthCheckStatus;
    read health_status::last_failure => GetHealthCheckLastFailureReason;
    read health_status::checkers => GetCheckerIpRanges;
    read tag::list => ListTagsForResource;
    read tag::list_many => ListTagsForResources;
    read cidr::list => ListCidrCollections;
    read cidr::list_blocks => ListCidrBlocks;
    read cidr::list_locations => ListCidrLocations;
    read geo::get => GetGeoLocation;
    read geo::list => ListGeoLocations;
    read limit::account => GetAccountLimit;
    read limit::zone => GetHostedZoneLimit;
    read limit::delegation_set => GetReusableDelegationSetLimit;
    read delegation::get => GetReusableDelegationSet;
    read delegation::list => ListReusableDelegationSets;
    ---
    write zone::create => CreateHostedZone;
    write zone::delete => DeleteHostedZone;
    write zone::update_comment => UpdateHostedZoneComment;
    write association::associate => AssociateVPCWithHostedZone;
    write association::disassociate => DisassociateVPCFromHostedZone;
    write association::authorize => CreateVPCAssociationAuthorization;
    write association::deauthorize => DeleteVPCAssociationAuthorization;
    write batch::change => ChangeResourceRecordSets;
    write change::get => GetChange;
    write health_check::create => CreateHealthCheck;
    write health_check::update => UpdateHealthCheck;
    write health_check::delete => DeleteHealthCheck;
    write tag::change => ChangeTagsForResource;
    write cidr::create => CreateCidrCollection;
    write cidr::change => ChangeCidrCollection;
    write cidr::delete => DeleteCidrCollection;
    write delegation::create => CreateReusableDelegationSet;
    write delegation::delete => DeleteReusableDelegationSet;
}
