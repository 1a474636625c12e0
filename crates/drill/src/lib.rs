//! Drills: a fault on purpose while clients call, and a verdict on what it cost.
//!
//! A drill has three parts that know nothing of one another. *Orders* ([`order`]) are files that say which
//! fault is wanted until when; the server's parts that read them inject the fault, and end it when the
//! order is withdrawn or its time is over, whoever lives by then. The *load* ([`load`]) asks on schedule
//! whether or not answers come (an open loop), so that a stall is seen by every request that it delayed.
//! The *analysis* ([`analysis`]) is a pure function of what was seen.

pub mod analysis;
mod clock;
pub mod load;
mod lookup;
pub mod objective;
pub mod order;
pub mod page;
pub mod report;
pub mod run;
mod scenario;
mod target;

pub use clock::monotonic_ns;
pub use scenario::{Scenario, UnknownScenario};
pub use target::{InvalidTarget, Target};

#[doc(hidden)]
pub mod fuzzing {
    //! What foreign bytes reach.

    pub use crate::lookup::read_answer;
}
