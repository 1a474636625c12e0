//! CloudWatch metrics and dashboards, CloudWatch Logs, and the sink that data planes report to.
//!
//! Log groups and dashboards are control state and live in the cell's database. Log events and metric
//! buckets are bulk data: they live in an [`Archive`] of their own, bounded on disk, whose writes are
//! durable before an API call answers. Groups and events are tied by the group's `uid`: whatever the
//! archive holds for a uid that no group has is swept.

mod archive;
mod delivery;
#[doc(hidden)]
pub mod fuzzing;
mod logs;
mod metrics;
mod monitoring;
pub mod records;
#[cfg(test)]
mod scenarios;
mod sweep;

use std::path::Path;
use std::sync::Arc;

use lath_control::Cell;
use lath_service::{App, Stateful};
use lath_store::{Db, Kinds, View};
use lath_wire::Service;

pub use archive::{Archive, ArchiveError, ArchiveReport, Limits, inspect};
pub use delivery::{Delivery, Writer};
pub use logs::pattern::{FilterPattern, PatternError};

/// CloudWatch and CloudWatch Logs of one region.
pub struct CloudWatch {
    pub(crate) cell: Cell,
    pub(crate) archive: Arc<Archive>,
}

impl CloudWatch {
    /// Opens the archive in `directory` (made when it is missing).
    ///
    /// # Errors
    /// When the archive cannot be opened; the text names the file.
    pub fn open(cell: Cell, directory: &Path, limits: Limits) -> Result<Arc<Self>, ArchiveError> {
        let archive = Arc::new(Archive::open(directory, limits, cell.db.clock().clone())?);
        Ok(Arc::new(Self { cell, archive }))
    }

    /// What is wrong with the archive, in words for the user.
    pub fn trouble(&self) -> Vec<String> {
        self.archive.trouble()
    }
}

impl App for CloudWatch {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for CloudWatch {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(CloudWatch, |app| app.view(), app.cell.owner());

/// The services: CloudWatch (`monitoring`) and CloudWatch Logs (`logs`).
pub fn services(app: &Arc<CloudWatch>) -> Vec<Service> {
    vec![monitoring::service(app), logs::service(app)]
}

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    kinds
        .with::<records::LogGroup>()
        .with::<records::Dashboard>()
}

pub use sweep::sweep;
