//! Lambda: functions out of zip archives, with a runtime of their own or Python's.
//!
//! [`Lambda`] holds a region's cell and handles every operation that [`service`] registers. Code is a file in the region's
//! data directory ([`lath_code::Archives`]), on disk before it is acknowledged; [`CONTRIBUTIONS`] tell nodes of functions,
//! which unpack it. A function is `Active`, and an update `Successful`, when the node that runs functions says so
//! ([`reconcilers`]). An invocation is a question to that node ([`lath_feed::NodeQueries::invoke`]).
//!
//! Functions that Lattice forwards to ([`function_of`], [`permit`]) are run by the node without control.
//!
//! Not there: versions and aliases, images, layers, code in S3, VPCs, event source mappings, invocations without an answer.
//! Requests for them are refused.

mod account;
mod bounds;
mod check;
mod concurrency;
mod contribute;
mod create;
mod fault;
mod functions;
mod ident;
mod invoke;
mod permissions;
mod reconcile;
mod record;
mod resource_types;
mod roles;
mod shape;
mod tags;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use lath_code::Archives;
use lath_control::Cell;
use lath_service::{App, Stateful};
use lath_store::{Db, View};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use contribute::CONTRIBUTIONS;
pub use ident::function_of;
pub use permissions::{is_permitted, permit, policy_of, revoke};
pub use reconcile::reconcilers;
pub use record::kinds;
pub use resource_types::FUNCTION;

/// The service of one region.
pub struct Lambda {
    /// The region.
    pub cell: Cell,
    /// The code of functions.
    pub archives: Archives,
}

impl App for Lambda {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Lambda {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Lambda, |app| app.view(), app.cell.owner());

/// What identifies Lambda on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "lambda",
    model: "lambda",
    version: "2015-03-31",
    xmlns: "",
    target_prefix: "",
    protocols: &[Protocol::RestJson],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Lambda>) -> Service {
    let registers = [
        account::register,
        concurrency::register,
        create::register,
        functions::register,
        invoke::register,
        permissions::register,
        tags::register,
        update::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}

/// Runs what takes long where it blocks no task.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)
}
