//! What is said of one certificate.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::record::{Certificate, Origin, Renewal, Validation};
use crate::resource_types::{self, CERTIFICATE};
use crate::shape::*;
use crate::{Acm, facts, fault, issue, users};

operations! {
    for Acm as "acm";
    read DescribeCertificate -> DescribeCertificateResponse = describe
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
}

fn describe(
    app: &Acm,
    view: &View,
    op: &DescribeCertificate,
) -> Result<DescribeCertificateResponse, ApiError> {
    let found = fault::find(&app.cell, view, &op.certificate_arn)?;
    Ok(DescribeCertificateResponse {
        certificate: Some(detail(app, view, &found, app.cell.now())),
    })
}

pub(crate) fn kind(it: &Certificate) -> CertificateType {
    match it.origin {
        Origin::Imported => CertificateType::Imported,
        Origin::Validated => CertificateType::AmazonIssued,
        Origin::Private { .. } => CertificateType::Private,
    }
}

pub(crate) fn eligibility(
    app: &Acm,
    view: &View,
    it: &Certificate,
    now: Timestamp,
) -> RenewalEligibility {
    match issue::is_eligible(app, view, it, now) {
        true => RenewalEligibility::Eligible,
        false => RenewalEligibility::Ineligible,
    }
}

/// The validations of a certificate. `waits` says that they are those of a renewal that waits for them.
fn validations(it: &Certificate, waits: bool) -> Vec<DomainValidation> {
    let has_failed = matches!(
        it.status,
        CertificateStatus::Failed | CertificateStatus::ValidationTimedOut
    );
    let shown = |validation: &Validation| DomainValidation {
        domain_name: validation.domain.clone(),
        validation_emails: None,
        validation_domain: Some(validation.domain.clone()),
        validation_status: Some(match validation.is_found {
            // What once was issued was proved, even if the record is gone.
            _ if it.status == CertificateStatus::Issued && !waits => DomainStatus::Success,
            true => DomainStatus::Success,
            false if has_failed => DomainStatus::Failed,
            false => DomainStatus::PendingValidation,
        }),
        resource_record: Some(ResourceRecord {
            name: validation.record_name.clone(),
            r#type: RecordType::Cname,
            value: validation.record_value.clone(),
        }),
        http_redirect: None,
        validation_method: Some(ValidationMethod::Dns),
    };
    it.validations.iter().map(shown).collect()
}

fn renewal(it: &Certificate, renewal: &Renewal) -> RenewalSummary {
    let waits = renewal.status == RenewalStatus::PendingValidation;
    RenewalSummary {
        renewal_status: renewal.status,
        domain_validation_options: validations(it, waits),
        renewal_status_reason: renewal.reason,
        updated_at: renewal.updated_at,
    }
}

fn detail(app: &Acm, view: &View, it: &Certificate, now: Timestamp) -> CertificateDetail {
    let arn = resource_types::arn(&app.cell, &it.id);
    let read = it
        .material
        .as_ref()
        .and_then(|it| facts::read(&it.certificate));
    let usages = read.as_ref().map(|it| &it.usages);
    let options = CertificateOptions {
        certificate_transparency_logging_preference: Some(
            it.transparency.unwrap_or(Transparency::Disabled),
        ),
        export: it.export,
    };
    let issuer = read.as_ref().map(|it| facts::issuer(&it.issuer));
    let own = app.cell.authority.as_ref();
    let pending = own.map(|it| facts::issuer(&it.root().subject));
    CertificateDetail {
        in_use_by: users(view, &arn),
        renewal_eligibility: Some(eligibility(app, view, it, now)),
        certificate_arn: Some(arn),
        domain_name: Some(it.domain.clone()),
        subject_alternative_names: Some(it.names.clone()),
        managed_by: None,
        domain_validation_options: Some(validations(it, false)).filter(|it| !it.is_empty()),
        serial: read.as_ref().map(|it| it.serial.clone()),
        subject: Some(match &read {
            Some(read) => read.subject.to_string(),
            None => format!("CN={}", it.domain),
        }),
        issuer: issuer.or_else(|| pending.filter(|_| it.origin == Origin::Validated)),
        created_at: Some(it.created_at),
        issued_at: it.issued_at,
        imported_at: it.imported_at,
        status: Some(it.status(now)),
        revoked_at: it.revoked.map(|(at, _)| at),
        revocation_reason: it.revoked.map(|(_, reason)| reason),
        not_before: it.not_before,
        not_after: it.not_after,
        key_algorithm: Some(facts::key_algorithm(it.key_algorithm)),
        signature_algorithm: read.as_ref().map(|it| it.signature_algorithm.clone()),
        failure_reason: it.failure,
        r#type: Some(kind(it)),
        renewal_summary: it.renewal.as_ref().map(|renewing| renewal(it, renewing)),
        key_usages: usages
            .map(facts::key_usages)
            .unwrap_or_default()
            .into_iter()
            .map(|name| KeyUsage { name: Some(name) })
            .collect(),
        extended_key_usages: usages.map(facts::extended_key_usages).unwrap_or_default(),
        certificate_authority_arn: match &it.origin {
            Origin::Private { authority } => Some(authority.clone()),
            _ => None,
        },
        options: Some(options),
    }
}
