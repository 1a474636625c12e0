//! Route 53's health checks: every node and the witness probe every endpoint, and a majority of them decides.
//!
//! - [`mod@judge`] is the pure part: from votes to a verdict;
//! - [`Checks`] probes on a node, exchanges reports with the other observers through the mesh, and publishes
//!   verdicts as a level;
//! - [`Witness`] only probes and reports: the nodes send it the checks.
//!
//! A cell that is cut off from the others cannot change a verdict by itself, in either direction: it keeps the last
//! verdict, and adopts a newer one of the others when it hears of it.

mod checks;
mod content;
mod directory;
mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod judge;
mod messages;
mod metrics;
mod own_reports;
mod probe;
mod quorum;
mod tls;
mod verdict_file;
mod witness;

pub use checks::{Checks, ChecksConfig, ChecksHandle, ObservedChecks};
pub use judge::{Judgement, combine, judge};
pub use lath_zones::HealthVerdicts;
pub use messages::{CHECKS_TOPIC, HEALTH_TOPIC, NAMES_TOPIC};
pub use witness::{Witness, WitnessHandle};
