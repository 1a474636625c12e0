//! Authorities whose certificates prove who a client is, and what they revoked.

use std::collections::{BTreeMap, BTreeSet};

use lath_ca::Certificate;
use lath_control::Cell;
use lath_store::View;

use crate::authorities::installation_arn;
use crate::pca::{self, Issued, Reason};
use crate::record::{Certificate as Record, Origin};
use crate::resource_types;

/// Why clients cannot be trusted by an ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTrusted {
    /// It is neither a private authority nor a certificate of this account and region.
    #[error(
        "it is no certificate authority of ACM PCA, and no certificate of ACM, in this account and region"
    )]
    Unknown,
    /// The authority has no certificate, or is deleted.
    #[error("the authority has no certificate, or is deleted")]
    NoCertificate,
    /// The certificate was not imported, or has no authority above it.
    #[error(
        "a certificate names the authority at the top of its chain, so that it must be imported with that chain"
    )]
    NoAuthority,
}

/// The certificate, PEM, of the authority that an ARN names: a private authority's, the installation's own, or the one at the top
/// of the chain that a certificate was imported with.
///
/// # Errors
/// [`NotTrusted`].
pub fn trusted(cell: &Cell, view: &View, arn: &str) -> Result<String, NotTrusted> {
    if installation_arn(cell).as_deref() == Some(arn) {
        let authority = cell.authority.as_ref().ok_or(NotTrusted::NoCertificate)?;
        return Ok(authority.root_pem());
    }
    if let Some(certificate) = pca::certificate(cell, view, arn) {
        return certificate.ok_or(NotTrusted::NoCertificate);
    }
    let id = resource_types::own_id(cell, arn).ok_or(NotTrusted::Unknown)?;
    let record = view.get::<Record>(id).ok_or(NotTrusted::Unknown)?;
    let imported = record.origin == Origin::Imported;
    let material = record.material.as_ref().filter(|_| imported);
    let material = material.ok_or(NotTrusted::NoAuthority)?;
    let read = |text: &str| Certificate::all_from_pem(text.as_bytes()).unwrap_or_default();
    let top = read(&material.chain).pop();
    let top = top.or_else(|| read(&material.certificate).pop());
    let top = top.filter(|it| it.is_authority);
    top.map(|it| it.pem()).ok_or(NotTrusted::NoAuthority)
}

/// The serial numbers, hexadecimal without colons, that the account's authorities and the installation's own revoked, by
/// the certificate of the authority, PEM.
pub fn revoked(cell: &Cell, view: &View) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = pca::revoked(view);
    for record in view.by::<Record>(Record::REVOKED, Record::REVOKED) {
        if let Some(revoked) = remains(cell, &record) {
            let serials = all.entry(revoked.issuer()).or_default();
            serials.insert(revoked.id);
        }
    }
    all
}

/// Where authorities of the account have their ids, for what the installation's own authority signed.
const INSTALLATION: &str = "installation";

/// What stays of a certificate that the installation's authority signed and that was revoked, when its record goes: that it was
/// revoked. What authorities of the account revoked stays with them.
pub(crate) fn remains(cell: &Cell, record: &Record) -> Option<Issued> {
    let is_own = match &record.origin {
        Origin::Validated => true,
        Origin::Private { authority } => installation_arn(cell).as_ref() == Some(authority),
        Origin::Imported => false,
    };
    let (at, _) = record.revoked.filter(|_| is_own)?;
    let material = record.material.as_ref()?;
    let read = crate::facts::read(&material.certificate)?;
    Some(Issued {
        authority: INSTALLATION.to_owned(),
        id: read.serial.replace(':', ""),
        certificate: material.certificate.clone(),
        chain: material.chain.clone(),
        // ACM's word for the reason was its record's.
        revoked: Some((at, Reason::Unspecified)),
    })
}
