//! Certificates leave with their keys.

use lath_service::operations;
use lath_wire::{ApiError, Caller};

use crate::record::Certificate;
use crate::resource_types::{CERTIFICATE, own_id};
use crate::shape::{CertificateStatus, ExportCertificate, ExportCertificateResponse};
use crate::{Acm, fault, issue};

operations! {
    for Acm as "acm";
    asynchronous ExportCertificate -> ExportCertificateResponse = export
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone())
            .with("acm:DomainNames", |op, at| {
                let id = op.certificate_arn.rsplit('/').next().unwrap_or_default();
                let found = at.view.get::<Certificate>(id);
                found.map(|it| it.names.clone()).unwrap_or_default()
            });
}

async fn export(
    app: &Acm,
    _: &Caller,
    op: ExportCertificate,
) -> Result<ExportCertificateResponse, ApiError> {
    let cell = &app.cell;
    let arn = &op.certificate_arn;
    let found = fault::find(cell, &cell.db.view(), arn)?;
    if !issue::may_be_exported(&found) {
        return Err(fault::validation(format!(
            "Certificate {arn} cannot be exported: it is neither PRIVATE nor was it requested with Export ENABLED."
        )));
    }
    let is_issued = found.status == CertificateStatus::Issued;
    let Some(material) = found.material.clone().filter(|_| is_issued) else {
        return Err(match found.status {
            CertificateStatus::PendingValidation => fault::in_progress(arn),
            status => fault::validation(format!("Certificate {arn} is {}.", status.as_str())),
        });
    };
    let key = app.authority()?.unseal(&material.key);
    let key = key.ok_or_else(|| ApiError::internal("a private key was sealed with another key"))?;
    // Deriving a key of a passphrase is slow by intent.
    let passphrase = op.passphrase.0;
    let encrypted = crate::blocking(move || key.encrypted(&passphrase)).await?;
    let encrypted = encrypted.map_err(ApiError::internal)?;
    let id = own_id(cell, arn).unwrap_or_default();
    let written = cell.db.write(|tx| {
        tx.update::<Certificate>(id, |it| it.is_exported = true);
        Ok::<_, ApiError>(())
    });
    written.await?;
    Ok(ExportCertificateResponse {
        certificate: Some(material.certificate),
        certificate_chain: Some(material.chain).filter(|it| !it.is_empty()),
        private_key: Some(encrypted.to_string()),
    })
}
