//! Ids as callers write them.

use lath_model::id::{HealthCheckId, HostedZoneId, VpcId};
use lath_wire::ApiError;
use rand::Rng as _;

use crate::fault;

/// A hosted zone's id, with or without `/hostedzone/`.
///
/// # Errors
/// `NoSuchHostedZone`; `InvalidInput` when it is too long.
pub(crate) fn zone(text: &str) -> Result<HostedZoneId, ApiError> {
    let bare = bare("/hostedzone/", text);
    if bare.len() > 32 {
        let rule = "Member must have length less than or equal to 32";
        return Err(fault::constraint("hostedZoneId", bare, rule));
    }
    bare.parse().map_err(|_| fault::no_such_zone(bare))
}

/// A health check's id.
///
/// # Errors
/// `NoSuchHealthCheck`; `InvalidInput` when it is too long.
pub(crate) fn check(text: &str) -> Result<HealthCheckId, ApiError> {
    if text.len() > 64 {
        let rule = "Member must have length less than or equal to 64";
        return Err(fault::constraint("healthCheckId", text, rule));
    }
    text.parse().map_err(|_| fault::no_such_check(text))
}

/// A VPC's id.
///
/// # Errors
/// `InvalidVPCId`.
pub(crate) fn vpc(text: &str) -> Result<VpcId, ApiError> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        fault::invalid_vpc(&format!("The VPC ID {text} is not valid."))
    })
}

/// An id without the prefix that answers give it.
pub(crate) fn bare<'t>(prefix: &str, text: &'t str) -> &'t str {
    let text = text.strip_prefix(prefix).unwrap_or(text);
    text.strip_prefix(prefix.trim_start_matches('/'))
        .unwrap_or(text)
}

/// Random letters and digits for a new id.
pub(crate) fn random(length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]))
        .collect()
}
