//! Who signs what ACM issues.

use std::time::Duration;

use lath_ca::{Certificate, IssueError, PrivateKey};
use lath_control::Cell;
use lath_store::View;
use sha2::{Digest as _, Sha256};

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
    _view: &View,
    origin: &Origin,
    key: &PrivateKey,
    names: &[String],
    lifetime: Duration,
) -> Result<Issued, FailureReason> {
    let installation = cell.authority.as_ref().ok_or(FailureReason::Other)?;
    let is_installations = match origin {
        Origin::Imported => return Err(FailureReason::Other),
        Origin::Validated => true,
        Origin::Private { authority } => installation_arn(cell).as_ref() == Some(authority),
    };
    if !is_installations {
        return Err(FailureReason::PcaResourceNotFound);
    }
    let leaf = installation.certify(key, names, lifetime);
    Ok(Issued {
        leaf: leaf.map_err(|error| failed(&error))?,
        chain: installation.root_pem(),
    })
}

fn failed(error: &IssueError) -> FailureReason {
    tracing::error!(%error, "a certificate could not be signed");
    FailureReason::PcaRequestFailed
}
