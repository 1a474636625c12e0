//! Health checks of Route 53: every node, and the witness, probes every endpoint; a majority of them decides.
//!
//! - [`judge`] is the pure part: what observers say in, verdict out;
//! - [`Checks`] probes on a node, exchanges reports with the other observers through the mesh, and shows
//!   verdicts as a level;
//! - [`Witness`] only probes and reports: it learns from the nodes what there is to probe.
//!
//! A cell that lost the others cannot change a verdict by itself, in either direction: it keeps what was
//! decided last, and takes over what the others decided when it hears of it.

mod board;
mod checks;
mod content;
mod directory;
mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod judge;
mod keep;
mod metrics;
mod probe;
mod quorum;
mod tls;
mod told;
mod witness;

pub use checks::{Checks, ChecksConfig, ChecksHandle, ObservedChecks};
pub use judge::{Judgement, combine, judge};
pub use lath_zones::HealthVerdicts;
pub use told::{CHECKS_TOPIC, HEALTH_TOPIC, NAMES_TOPIC};
pub use witness::{Witness, WitnessHandle};
