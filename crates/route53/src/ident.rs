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
    let bare = resource("/hostedzone/", "hostedZoneId", text)?;
    bare.parse().map_err(|_| fault::no_such_zone(bare))
}

/// The bare form of an id that the model holds to 32 characters.
///
/// # Errors
/// `InvalidInput` when it is longer.
pub(crate) fn resource<'t>(prefix: &str, member: &str, text: &'t str) -> Result<&'t str, ApiError> {
    let bare = bare(prefix, text);
    if bare.len() <= 32 {
        return Ok(bare);
    }
    let rule = "Member must have length less than or equal to 32";
    Err(fault::constraint(member, bare, rule))
}

/// A health check's id.
///
/// # Errors
/// `NoSuchHealthCheck`.
pub(crate) fn check(text: &str) -> Result<HealthCheckId, ApiError> {
    text.parse().map_err(|_| fault::no_such_check(text))
}

/// A VPC's id.
///
/// # Errors
/// `InvalidVPCId`.
pub(crate) fn vpc(text: &str) -> Result<VpcId, ApiError> {
    text.parse()
        .map_err(|_| fault::invalid_vpc("The VPC ID is invalid."))
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
