//! Rate limits: token buckets of requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PolicyError;
use super::check::{check_name, wrong};

/// How many requests are taken in a time. More are answered with 429.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Limits of one name are one limit for all rules of the service that have it; absent: the rule's own.
    pub name: Option<String>,
    /// So many requests in each time.
    pub requests: u32,
    /// The time.
    pub per: Duration,
    /// How many may come at once after a quiet time.
    pub burst: u32,
    /// Whose requests are counted together.
    pub key: RateKey,
    /// Where they are counted.
    pub scope: RateScope,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateKey {
    /// All.
    All,
    /// Those from one address in one VPC.
    SourceAddress,
    /// Those of one principal, as signatures prove it; all others together.
    Principal,
    /// Those with one value of a header; all without it together.
    Header(String),
}

/// Where requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateScope {
    /// At each node.
    Local,
    /// At all regions together: each node takes an equal share.
    Global,
}

/// Limits of a rule at most.
pub const MOST_LIMITS: usize = 4;
/// Of requests in a time, and at once.
pub const MOST_REQUESTS: u32 = 1_000_000;
/// Of the time.
pub const PERIODS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

impl RateLimit {
    pub(super) fn check(&self, at: &str) -> Result<(), PolicyError> {
        if let Some(name) = &self.name {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if !(1..=32).contains(&name.len()) || !name.bytes().all(is_plain) {
                return wrong(
                    format!("{at}.name"),
                    format!(
                        "{name:?} is no name; give up to 32 letters, digits and characters of -_."
                    ),
                );
            }
        }
        for (member, count) in [("requests", self.requests), ("burst", self.burst)] {
            if !(1..=MOST_REQUESTS).contains(&count) {
                return wrong(
                    format!("{at}.{member}"),
                    format!("give 1 to {MOST_REQUESTS}"),
                );
            }
        }
        if self.per < PERIODS.0 || self.per > PERIODS.1 {
            return wrong(format!("{at}.per"), "give a duration from 1s to 24h");
        }
        match &self.key {
            RateKey::Header(name) => check_name(&format!("{at}.header"), name),
            RateKey::All | RateKey::SourceAddress | RateKey::Principal => Ok(()),
        }
    }
}
