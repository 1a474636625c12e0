//! `lath/identity`: the certificate of the instance, by its SPIFFE id, an extension. A session token is demanded, whatever the
//! instance says of tokens: a private key must not go to a stranger who makes a program of the instance ask.

use lath_feed::{Instance, Snapshot};
use lath_model::Timestamp;
use lath_svid::Issuer;
use serde_json::json;

use super::tree::{Entry, folder, text};

/// The name of the folder.
pub(super) const FOLDER: &str = "lath";

/// Whether a path, in its steps behind the version, leads here.
pub(super) fn is_asked(steps: &[&str]) -> bool {
    matches!(steps, ["meta-data", FOLDER, ..])
}

/// What the folder of all metadata lists.
pub(super) fn closed(snapshot: &Snapshot) -> Option<Entry> {
    let is_there = snapshot.workload_authority.is_some();
    is_there.then(|| folder(FOLDER, Vec::new()))
}

/// The folder with what is in it. `None`: workloads get no certificates.
pub(super) fn open(
    snapshot: &Snapshot,
    instance: &Instance,
    issuer: &Issuer,
    now: Timestamp,
) -> Option<Entry> {
    let authority = snapshot.workload_authority.as_ref()?;
    let id = lath_svid::instance(snapshot, instance)?;
    let svid = issuer.issue(authority, &id, now)?;
    let (chain, key) = (svid.chain_pem(), svid.key.reveal_pem());
    let expiration = svid.not_after.iso8601_seconds();
    let document = json!({
        "SpiffeId": id,
        "Certificate": chain,
        "PrivateKey": *key,
        "TrustBundle": *snapshot.authority,
        "TrustDomain": authority.trust_domain,
        "Expiration": expiration,
    });
    let document = serde_json::to_string_pretty(&document).unwrap_or_default();
    let entries = vec![
        text("certificate", &chain),
        text("document", document),
        text("expiration", expiration),
        // For programs that read both from a file, as curl does: they are sure to belong together.
        text("pem", format!("{}{chain}", *key)),
        text("private-key", key.as_str()),
        text("spiffe-id", id),
        text("trust-bundle", &*snapshot.authority),
    ];
    Some(folder(FOLDER, vec![folder("identity", entries)]))
}
