//! Health checks of Lattice targets.
//!
//! [`Machine`] is the pure part: from results to health. [`HealthEngine`] probes every target of every group in use
//! from the target's VPC, thousands of them on one thread, and publishes the result as a level in [`HealthView`].
//! Targets of other regions are probed end to end through their region's gateway ([`Dial`]); when the link to a
//! region is down, all of them are unhealthy at once. Passive health signals belong to the proxy.
//!
//! ```
//! use lath_feed::TargetHealth;
//! use lath_health::{Machine, Thresholds};
//!
//! let mut machine = Machine::default();
//! machine.probed(true, Thresholds { healthy: 5, unhealthy: 2 });
//! assert_eq!(machine.health(), TargetHealth::Healthy);
//! ```

mod dial;
mod engine;
mod grpc;
mod probe;
mod response;
mod state;
pub mod tls;
mod verify;
mod view;

pub use dial::{Dial, Gateways, PeersReceiver, Reach, Regions};
pub use engine::{HealthConfig, HealthEngine, HealthHandle};
pub use grpc::{Answer, serving};
pub use probe::ProbeError;
pub use response::{Flaw, Framing, Head, MAX_BODY, MAX_HEAD, ResponseReader};
pub use state::{Machine, Thresholds};
pub use verify::{Verified, chain_and_key};
pub use view::{GroupHealth, HealthReceiver, HealthView, TargetState};
