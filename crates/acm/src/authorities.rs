//! Who signs what ACM issues.

use std::time::Duration;

use lath_ca::{Certificate, Constraint, IssueError, PrivateKey, Profile, Subject};
use lath_control::Cell;
use lath_model::Timestamp;
use lath_store::View;
use sha2::{Digest as _, Sha256};

use crate::pca;
use crate::record::Origin;
use crate::shape::FailureReason;

/// A certificate, and those above it, PEM.
pub(crate) struct Issued {
    pub(crate) leaf: Certificate,
    pub(crate) chain: String,
}

/// The ARN of the installation's own authority, as a private one of this account and region.
pub(crate) fn installation_arn(cell: &Cell) -> Option<String> {
    let root = cell.authority.as_ref()?.root();
    let digest = Sha256::digest(&root.der);
    let bytes: [u8; 16] = digest[..16].try_into().ok()?;
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    Some(cell.arn("acm-pca", format!("certificate-authority/{id}")))
}

/// Certifies a key for names.
///
/// # Errors
/// Why not, as ACM says it of a certificate that failed.
pub(crate) fn certify(
    cell: &Cell,
    view: &View,
    origin: &Origin,
    key: &PrivateKey,
    names: &[String],
    lifetime: Duration,
    now: Timestamp,
) -> Result<Issued, FailureReason> {
    let installation = cell.authority.as_ref().ok_or(FailureReason::Other)?;
    match origin {
        Origin::Imported => return Err(FailureReason::Other),
        Origin::Private { authority } if installation_arn(cell).as_ref() != Some(authority) => {
            return by_own(cell, view, authority, key, names, lifetime, now);
        }
        Origin::Validated | Origin::Private { .. } => {}
    }
    let leaf = installation.certify(key, names, lifetime, now);
    Ok(Issued {
        leaf: leaf.map_err(|error| failed(&error))?,
        chain: installation.root_pem(),
    })
}

/// Certifies a key by an authority of the account.
fn by_own(
    cell: &Cell,
    view: &View,
    authority: &str,
    key: &PrivateKey,
    names: &[String],
    lifetime: Duration,
    now: Timestamp,
) -> Result<Issued, FailureReason> {
    let signing = pca::signing(cell, view, authority)?;
    let profile = server(key, names, lifetime, now);
    if profile.not_after > signing.not_after {
        return Err(FailureReason::PcaInvalidDuration);
    }
    let leaf = signing.signer.sign(key.public(), key.algorithm(), &profile);
    Ok(Issued {
        leaf: leaf.map_err(|error| failed(&error))?,
        chain: signing.chain,
    })
}

/// The profile of a server's certificate by an authority of the account.
fn server(key: &PrivateKey, names: &[String], lifetime: Duration, now: Timestamp) -> Profile {
    // A common name has at most 64 characters (RFC 5280, upper bounds); the names stand in the extension.
    let common = names.iter().find(|it| it.chars().count() <= 64);
    // digitalSignature, and keyEncipherment, which TLS 1.2 may ask of RSA keys.
    let usages = if key.algorithm().is_rsa() {
        0b101
    } else {
        0b001
    };
    Profile {
        subject: common.map(Subject::common).unwrap_or_default(),
        names: names.to_vec(),
        uris: Vec::new(),
        not_before: Timestamp::from_millis(now.as_millis() - 3_600_000),
        not_after: now.plus(lifetime),
        constraint: Constraint::Leaf,
        key_usages: usages,
        extended_key_usages: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
            .map(str::to_owned)
            .into(),
        names_no_hosts: false,
    }
}

fn failed(error: &IssueError) -> FailureReason {
    tracing::error!(%error, "a certificate could not be signed");
    FailureReason::PcaRequestFailed
}
