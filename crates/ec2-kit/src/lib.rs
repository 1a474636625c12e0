//! What EC2's operations are written with: the service itself, its parts, and what requests and answers share.
//!
//! No operation is handled here: those of networks, Transit Gateways and instances are crates of their own, which know
//! this one, and `lath-ec2` puts them together.

pub mod filter;
pub mod idempotency;
pub mod instance_types;
pub mod made;
pub mod messages;
pub mod names;
mod part;
pub mod refusals;
pub mod select;
pub mod tags;

use std::sync::Arc;

use lath_control::Cell;
use lath_service::{App, Stateful};
use lath_store::{Db, View};

pub use part::Part;

/// The service of one region.
#[derive(Clone)]
pub struct Ec2 {
    /// The region.
    pub cell: Cell,
}

impl App for Ec2 {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Ec2 {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Ec2, |app| app.view(), app.cell.owner());
