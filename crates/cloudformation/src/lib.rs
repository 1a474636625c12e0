//! CloudFormation: templates become resources of the other services, by their own operations and in the name of who asks.
//!
//! [`CloudFormation`] holds a region's cell and the [`Hands`] with which it calls other services. Operations write what a stack
//! is to be; [`reconcilers`] runs the engine that makes it so, a step at a time, from records that say before each call what it
//! is about to make.
//!
//! Not there: templates from S3, nested stacks, macros and transforms, stack sets, stack policies, drift, imports of existing
//! resources, notifications. Requests for them are refused.

mod bounds;
mod change_sets;
mod describe;
mod engine;
mod exports;
mod fault;
pub mod fuzzing;
mod hands;
mod kinds;
mod parameters;
mod plan;
mod record;
mod references;
mod resolve;
mod resource_types;
mod shape;
mod stacks;
mod template;
mod templates;
mod yaml;

use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Group, spawn_reconciler};
use lath_service::{App, Stateful};
use lath_store::{Db, View};
use lath_wire::{Protocol, Service, ServiceInfo};

pub use hands::{Authority, Hands};
pub use record::kinds;

/// The principal that calls other services.
pub const PRINCIPAL: &str = "cloudformation.amazonaws.com";

/// How often what is becoming ready is looked at, beside whenever something changes.
const LOOK: Duration = Duration::from_millis(500);

/// The service of one region.
pub struct CloudFormation {
    /// The region.
    pub cell: Cell,
    /// The other services.
    pub hands: Arc<dyn Hands>,
}

impl App for CloudFormation {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for CloudFormation {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(CloudFormation, |app| app.view(), app.cell.owner());

/// What identifies CloudFormation on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "cloudformation",
    model: "cloudformation",
    version: "2010-05-15",
    xmlns: "http://cloudformation.amazonaws.com/doc/2010-05-15/",
    target_prefix: "",
    protocols: &[Protocol::Query],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<CloudFormation>) -> Service {
    let registers = [
        stacks::register,
        describe::register,
        change_sets::register,
        exports::register,
        templates::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}

/// Starts the engine.
pub fn reconcilers(app: &Arc<CloudFormation>, group: &mut Group) {
    let cell = app.cell.clone();
    let app = Arc::clone(app);
    let pass = move || {
        let app = Arc::clone(&app);
        async move { engine::pass(&app).await }
    };
    spawn_reconciler(group, cell, "cloudformation", LOOK, pass);
}

impl CloudFormation {
    /// What templates can ask of where they are.
    pub(crate) fn surroundings(&self, stack_name: &str, stack_id: &str) -> resolve::Surroundings {
        let cell = &self.cell;
        resolve::Surroundings {
            account: cell.account.clone(),
            region: cell.region.clone(),
            partition: cell.partition().name().to_owned(),
            suffix: cell.partition().dns_suffix().to_owned(),
            stack_name: stack_name.to_owned(),
            stack_id: stack_id.to_owned(),
            topics: Vec::new(),
            zones: cell.availability_zones().to_vec(),
        }
    }
}
