//! Authorities whose certificates prove who a client is, and what they revoked.

use std::collections::{BTreeMap, BTreeSet};

use lath_ca::Certificate;
use lath_control::Cell;
use lath_store::View;

use crate::authorities::installation_arn;
use crate::pca;
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
    let Some(authority) = &cell.authority else {
        return all;
    };
    let own = installation_arn(cell);
    let is_own = |origin: &Origin| match origin {
        Origin::Validated => true,
        Origin::Private { authority } => own.as_ref() == Some(authority),
        Origin::Imported => false,
    };
    let records = view.by::<Record>(Record::REVOKED, Record::REVOKED);
    let records = records.filter(|it| is_own(&it.origin));
    let serials = records.filter_map(|it| {
        let read = crate::facts::read(&it.material.as_ref()?.certificate)?;
        Some(read.serial.replace(':', ""))
    });
    let serials: BTreeSet<String> = serials.collect();
    if !serials.is_empty() {
        all.entry(authority.root_pem()).or_default().extend(serials);
    }
    all
}
