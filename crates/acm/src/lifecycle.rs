//! What happens to a certificate after it was requested: renewal, revocation, options.
use lath_service::operations;
use lath_store::Tx;
use lath_wire::ApiError;

use crate::record::{Certificate, Origin, Renewal};
use crate::resource_types::CERTIFICATE;
use crate::shape::*;
use crate::{Acm, fault, issue, users};

operations! {
    for Acm as "acm";
    change RenewCertificate -> () = renew
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
    change RevokeCertificate -> OnlyArn = revoke
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone())
            .with("acm:DomainNames", |op, at| {
                let id = op.certificate_arn.rsplit('/').next().unwrap_or_default();
                let found = at.view.get::<Certificate>(id);
                found.map(|it| it.names.clone()).unwrap_or_default()
            });
    change UpdateCertificateOptions -> () = update_options
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
    change ResendValidationEmail -> () = resend
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
}

fn renew(app: &Acm, tx: &mut Tx, op: RenewCertificate) -> Result<(), ApiError> {
    let arn = &op.certificate_arn;
    let now = tx.now();
    let found = fault::find(&app.cell, tx.view(), arn)?;
    if found.status == CertificateStatus::PendingValidation {
        return Err(fault::in_progress(arn));
    }
    if !issue::is_eligible(app, tx.view(), &found, now) {
        return Err(fault::validation(format!(
            "Certificate {arn} is not eligible for renewal."
        )));
    }
    if found.is_renewing {
        return Err(fault::in_progress(arn));
    }
    let mut next = Certificate::clone(&found);
    next.is_renewing = true;
    next.renewal = Some(Renewal {
        status: RenewalStatus::PendingAutoRenewal,
        reason: None,
        updated_at: now,
    });
    tx.put(next);
    Ok(())
}

fn revoke(app: &Acm, tx: &mut Tx, op: RevokeCertificate) -> Result<OnlyArn, ApiError> {
    let arn = &op.certificate_arn;
    let found = fault::find(&app.cell, tx.view(), arn)?;
    // <https://docs.aws.amazon.com/acm/latest/APIReference/API_RevokeCertificate.html>: public ones that were exported.
    if found.origin != Origin::Validated || !found.is_exported {
        return Err(fault::coded(
            "ConflictException",
            format!(
                "Certificate {arn} cannot be revoked: only public certificates that were exported can."
            ),
        ));
    }
    if !users(tx.view(), arn).is_empty() {
        return Err(fault::in_use(arn, &app.cell.account));
    }
    if found.status == CertificateStatus::Revoked {
        return Err(fault::coded(
            "ConflictException",
            format!("Certificate {arn} is revoked already."),
        ));
    }
    let mut next = Certificate::clone(&found);
    next.status = CertificateStatus::Revoked;
    next.revoked = Some((tx.now(), op.revocation_reason));
    next.is_renewing = false;
    tx.put(next);
    Ok(OnlyArn {
        certificate_arn: Some(op.certificate_arn),
    })
}

fn update_options(app: &Acm, tx: &mut Tx, op: UpdateCertificateOptions) -> Result<(), ApiError> {
    let arn = &op.certificate_arn;
    let found = fault::find(&app.cell, tx.view(), arn)?;
    if found.origin == Origin::Imported {
        return Err(fault::invalid_state(format!(
            "Certificate {arn} was imported: it has no options that can be updated."
        )));
    }
    if op.options.export.is_some_and(|it| found.export != Some(it)) {
        return Err(fault::invalid_state(format!(
            "The export option of certificate {arn} cannot be updated after the certificate was requested."
        )));
    }
    let mut next = Certificate::clone(&found);
    if let Some(preference) = op.options.certificate_transparency_logging_preference {
        next.transparency = Some(preference);
    }
    tx.put(next);
    Ok(())
}

/// No certificate is validated by mail.
fn resend(app: &Acm, tx: &mut Tx, op: ResendValidationEmail) -> Result<(), ApiError> {
    let arn = &op.certificate_arn;
    let found = fault::find(&app.cell, tx.view(), arn)?;
    if !found.names.contains(&op.domain.to_ascii_lowercase()) {
        return Err(fault::coded(
            "InvalidDomainValidationOptionsException",
            format!("The domain {} is not one of certificate {arn}.", op.domain),
        ));
    }
    Err(fault::invalid_state(format!(
        "Certificate {arn} is not validated by email: nothing can be sent again."
    )))
}
