//! Certificates are handed out and deleted.

use lath_control::{Claim, claims_on};
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::record::Certificate;
use crate::resource_types::CERTIFICATE;
use crate::shape::*;
use crate::{Acm, fault, trust};

operations! {
    for Acm as "acm";
    read GetCertificate -> GetCertificateResponse = get
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
    change DeleteCertificate -> () = delete
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
}

fn get(app: &Acm, view: &View, op: &GetCertificate) -> Result<GetCertificateResponse, ApiError> {
    let found = fault::find(&app.cell, view, &op.certificate_arn)?;
    let Some(material) = &found.material else {
        return Err(fault::in_progress(&op.certificate_arn));
    };
    let chain = Some(material.chain.clone()).filter(|it| !it.is_empty());
    Ok(GetCertificateResponse {
        certificate: Some(material.certificate.clone()),
        certificate_chain: chain,
    })
}

fn delete(app: &Acm, tx: &mut Tx, op: DeleteCertificate) -> Result<(), ApiError> {
    let arn = &op.certificate_arn;
    let found = fault::find(&app.cell, tx.view(), arn)?;
    let claims: Vec<std::sync::Arc<Claim>> = claims_on(tx.view(), arn);
    if !claims.is_empty() {
        return Err(fault::in_use(arn, &app.cell.account));
    }
    // Who has its key has it still.
    if let Some(revoked) = trust::remains(&app.cell, &found) {
        tx.put(revoked);
    }
    tx.delete::<Certificate>(&found.id());
    Ok(())
}
