//! EC2: networks and instances, in AWS's terms.
//!
//! [`Ec2`] holds a region's cell and handles every operation that [`service`] registers: those of networks
//! (`lath-ec2-network`), Transit Gateways (`lath-ec2-transit`) and instances (`lath-ec2-compute`), which are put together
//! here, and those about the region, the account and tags. State lives in [`records`]; [`CONTRIBUTIONS`] turns it into the
//! part of the feed that nodes obey, and [`reconcilers`] takes over what nodes observe. EC2 knows no socket, kernel or
//! Lattice: what another service holds, it learns from claims ([`lath_control::claims_on`]).

mod account_attributes;
mod bounds;
mod feed;
#[doc(hidden)]
pub mod fuzzing;
mod parts;
mod region_names;
mod tags;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use lath_control::{Group, spawn_reconciler};
use lath_store::Kinds;
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use feed::CONTRIBUTIONS;
pub use lath_ec2_compute::{images, managed};
pub use lath_ec2_kit::Ec2;
pub use lath_ec2_network::{complete_network_acls, furnish_default_vpc};
pub use lath_ec2_records as records;
pub use lath_ec2_transit::SECTION;

/// What identifies EC2 on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "ec2",
    model: "ec2",
    version: "2016-11-15",
    xmlns: "http://ec2.amazonaws.com/doc/2016-11-15/",
    target_prefix: "",
    protocols: &[Protocol::Ec2Query],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Ec2>) -> Service {
    parts::all().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, part| (part.register)(service, app),
    )
}

/// The record kinds that EC2 keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    parts::records(kinds)
}

/// One pass over networks and Transit Gateways: writes down what nodes were seen to have done.
///
/// # Errors
/// That the store failed.
pub async fn reconcile_networks(app: Arc<Ec2>) -> Result<(), ApiError> {
    lath_ec2_network::reconcile(app, lath_ec2_transit::advance).await
}

/// How often reconcilers look again when nothing woke them.
const PERIOD: Duration = Duration::from_secs(30);

/// Starts what turns observations into states.
pub fn reconcilers(app: &Arc<Ec2>, group: &mut Group) {
    let networks = Arc::clone(app);
    spawn_reconciler(group, app.cell.clone(), "ec2.networks", PERIOD, move || {
        reconcile_networks(Arc::clone(&networks))
    });
    let profiles = Arc::clone(app);
    spawn_reconciler(
        group,
        app.cell.clone(),
        "ec2.instance-profiles",
        PERIOD,
        move || lath_ec2_compute::reconcile_profiles(Arc::clone(&profiles)),
    );
    let instances = Arc::clone(app);
    spawn_reconciler(
        group,
        app.cell.clone(),
        "ec2.instances",
        PERIOD,
        move || lath_ec2_compute::reconcile(Arc::clone(&instances)),
    );
}
