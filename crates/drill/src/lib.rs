//! Drills inject a fault under client load and measure its impact.
//!
//! A drill has three independent parts. *Orders* ([`order`]) are files that name a fault and its deadline.
//! Parts of the server read them, inject the fault, and end it when the order is withdrawn or its deadline
//! passes, even if the drill has died. The *load* ([`load`]) sends requests on schedule whether or not
//! responses come (an open loop), so that a stall shows in every request that it delays. The *analysis*
//! ([`analysis`]) is a pure function of the samples.

pub mod analysis;
mod clock;
pub mod load;
mod lookup;
pub mod objective;
pub mod order;
pub mod page;
mod pods;
pub mod report;
pub mod run;
mod scenario;
mod target;

pub use clock::monotonic_ns;
pub use pods::{InvalidPods, Pods, Which};
pub use scenario::{Facts, Processes, Scenario, UnknownScenario, Victim};
pub use target::{InvalidTarget, Target};

#[doc(hidden)]
pub mod fuzzing {
    //! Parsers of foreign bytes, for fuzz targets.

    pub use crate::lookup::read_answer;
}
