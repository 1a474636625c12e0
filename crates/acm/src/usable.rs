//! Certificates for listeners.

use lath_ca::{Certificate, Usable};
use lath_control::Cell;
use lath_store::View;

use crate::record::Certificate as Record;
use crate::resource_types;
use crate::shape::CertificateStatus;

/// Why a listener cannot have a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// The ARN is none of a certificate of this account and region.
    #[error("the certificate does not exist in this account and region")]
    Unknown,
    /// It is not issued yet, failed, or was revoked.
    #[error("the certificate is {0}, not ISSUED")]
    NotIssued(String),
    /// Its key cannot be opened: the file `certificate-key` is another than when it was sealed.
    #[error("the certificate's private key cannot be opened")]
    Sealed,
}

/// What a listener needs of a certificate that was imported or issued. One that has ended is usable still, as clients say of
/// it what they think of that; [`Usable::not_after`] says when.
///
/// # Errors
/// [`NotUsable`].
pub fn usable(cell: &Cell, view: &View, arn: &str) -> Result<Usable, NotUsable> {
    let id = resource_types::own_id(cell, arn).ok_or(NotUsable::Unknown)?;
    let record = view.get::<Record>(id).ok_or(NotUsable::Unknown)?;
    let is_issued = record.status == CertificateStatus::Issued;
    let Some(material) = record.material.as_ref().filter(|_| is_issued) else {
        return Err(NotUsable::NotIssued(record.status.as_str().to_owned()));
    };
    let authority = cell.authority.as_ref().ok_or(NotUsable::Sealed)?;
    let key = authority.unseal(&material.key).ok_or(NotUsable::Sealed)?;
    let read = |text: &str| Certificate::all_from_pem(text.as_bytes()).unwrap_or_default();
    let leaf = read(&material.certificate).into_iter().next();
    let leaf = leaf.ok_or(NotUsable::Sealed)?;
    let (names, not_after) = (leaf.names(), leaf.not_after);
    let above = read(&material.chain);
    // Clients have the root, or do not trust it.
    let above = above.into_iter().filter(|it| !it.names_itself());
    let chain = std::iter::once(leaf).chain(above);
    Ok(Usable {
        chain: chain.map(|it| it.der).collect(),
        names,
        key_algorithm: key.algorithm(),
        not_after,
        key,
    })
}
