//! Route 53's answers, as a pure function of zones, health and client.
//!
//! [`Zones`] is an index over hosted zones with all values in wire format. [`Zones::answer`] resolves names,
//! wildcards, delegations, CNAMEs, routing policies, health and aliases. This crate does no I/O, keeps no cache
//! and reads no clock. The rules are those of
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html>.
//!
//! ```
//! use lath_zones::{Kind, Name, Question, Random, Scope, Zones};
//!
//! let zones = Zones::new(&lath_feed::Snapshot::default());
//! let client = zones.client("192.0.2.1/32".parse().unwrap());
//! let question = Question { name: Name::from_text("example.com").unwrap(), kind: Kind::A };
//! let mut random = Random::new(1);
//! assert!(zones.answer(&question, Scope::Public, &lath_zones::AllHealthy, &client, &mut random).is_none());
//! ```

mod answer;
mod choose;
mod client;
mod external;
mod health;
mod kind;
mod name;
mod rdata;
mod regions;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;
mod zone;
mod zones;

pub use answer::{Answer, Question, Rcode, Record};
pub use choose::Random;
pub use client::Client;
pub use health::{AllHealthy, HealthVerdicts, HealthView};
pub use kind::Kind;
pub use name::{InvalidName, Name};
pub use rdata::{InvalidValue, Value};
pub use regions::{Region, distance, region};
pub use zones::{Scope, Zones};
