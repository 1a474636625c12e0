//! Certificates that callers bring.

use lath_ca::{Certificate, KeyError, MOST_CERTIFICATES, PrivateKey, verify};
use lath_control::Mode;
use lath_model::Timestamp;
use lath_service::{Quota, operations};
use lath_wire::{ApiError, Caller};

use crate::record::{Certificate as Record, Material, Origin};
use crate::resource_types::{self, CERTIFICATE, pairs};
use crate::shape::{CertificateStatus, ImportCertificate, OnlyArn};
use crate::{Acm, facts, fault, tags};

/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html>
const IMPORTED: Quota<&str> = Quota::new("imported certificates", "LimitExceededException", 2500);

operations! {
    for Acm as "acm";
    asynchronous ImportCertificate -> OnlyArn = import
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone().unwrap_or_else(|| "*".to_owned()))
            .tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()));
}

/// What an import brings, verified.
struct Brought {
    leaf: Certificate,
    chain: Vec<Certificate>,
    key: PrivateKey,
}

/// Checks in the order that costs least; one pass over the chain's signatures at the end.
fn verified(op: &ImportCertificate, mode: Mode, now: Timestamp) -> Result<Brought, ApiError> {
    let bad = || fault::validation("The certificate is not PEM-encoded or is not valid.");
    let mut leaf = Certificate::all_from_pem(&op.certificate.0).map_err(|_| bad())?;
    if leaf.len() > 1 {
        return Err(fault::validation(
            "The certificate field contains more than one certificate. You can specify only one certificate in this field.",
        ));
    }
    let leaf = leaf.pop().ok_or_else(bad)?;
    // <https://docs.aws.amazon.com/acm/latest/userguide/troubleshoot-import.html>
    if leaf.version != 3 {
        return Err(fault::validation(
            "The certificate is not valid. You can import only X.509 version 3 SSL/TLS certificates.",
        ));
    }
    let key = PrivateKey::from_pem(&op.private_key.0).map_err(|error| {
        fault::validation(match error {
            KeyError::Encrypted => "The private key is encrypted. You must provide a private key that is not encrypted.",
            KeyError::Unsupported => "The private key length or algorithm is not supported.",
            _ => "The private key is not PEM-encoded or is not valid.",
        })
    })?;
    if leaf.public != key.public() {
        return Err(fault::validation(
            "The private key does not match the certificate.",
        ));
    }
    if leaf.not_after <= now {
        return Err(fault::validation(
            "The certificate has expired, is not valid.",
        ));
    }
    if leaf.not_before > now {
        return Err(fault::validation(
            "The certificate is not in effect yet, is not valid.",
        ));
    }
    if leaf.names().is_empty() && leaf.subject.0.is_empty() {
        return Err(fault::validation(
            "The certificate has neither a subject nor a subject alternative name.",
        ));
    }
    let chain = match &op.certificate_chain {
        None => Vec::new(),
        Some(text) => Certificate::all_from_pem(&text.0).map_err(|_| {
            fault::validation("The certificate chain is not PEM-encoded or is not valid.")
        })?,
    };
    if chain.len() > MOST_CERTIFICATES {
        let text = format!("The certificate chain has more than {MOST_CERTIFICATES} certificates.");
        return Err(fault::validation(text));
    }
    // In extended mode an authority's certificate may come alone: those that it is shown to may have the rest.
    let alone = mode == Mode::Extended && chain.is_empty() && !leaf.names_itself();
    if !alone && !verify(&leaf, &chain) {
        return Err(fault::validation(if chain.is_empty() {
            "Provided certificate is not a valid self signed. Please provide either a valid self-signed certificate or certificate chain."
        } else {
            "Could not validate the certificate with the certificate chain."
        }));
    }
    if chain.iter().any(|it| it.not_after <= now) {
        return Err(fault::validation(
            "Could not validate the certificate with the certificate chain.",
        ));
    }
    Ok(Brought { leaf, chain, key })
}

async fn import(app: &Acm, _: &Caller, op: ImportCertificate) -> Result<OnlyArn, ApiError> {
    let now = app.cell.now();
    let cell = &app.cell;
    let authority = app.authority()?;
    let tags = tags::checked(op.tags.as_deref().unwrap_or_default())?;
    if let Some(arn) = &op.certificate_arn {
        fault::find(cell, &cell.db.view(), arn)?;
        if op.tags.is_some() {
            return Err(fault::validation("Tagging is not permitted on re-import."));
        }
    }
    let again = op.certificate_arn.clone();
    let mode = cell.mode;
    let brought = crate::blocking(move || verified(&op, mode, now)).await??;
    let Brought { leaf, chain, key } = brought;
    let material = Material {
        certificate: leaf.pem(),
        chain: chain.iter().map(Certificate::pem).collect(),
        key: authority.seal(&key),
    };
    let names = leaf.names();
    let first = names.first().cloned().unwrap_or_default();
    let fresh = Record {
        id: uuid::Uuid::new_v4().to_string(),
        origin: Origin::Imported,
        domain: leaf.subject.common_name().map_or(first, str::to_owned),
        names,
        key_algorithm: key.algorithm(),
        status: CertificateStatus::Issued,
        failure: None,
        validations: Vec::new(),
        material: Some(material),
        created_at: now,
        issued_at: None,
        imported_at: Some(now),
        not_before: Some(leaf.not_before),
        not_after: Some(leaf.not_after),
        revoked: None,
        transparency: None,
        export: None,
        is_exported: false,
        renewal: None,
        is_renewing: false,
        tags,
    };
    let written = cell.db.write(|tx| {
        let mut next = fresh.clone();
        match &again {
            None => {
                let imported = tx.view().list::<Record>();
                let count = imported.filter(|it| it.origin == Origin::Imported).count() + 1;
                IMPORTED.check(cell, count, |it| {
                    let limit = it.limit;
                    fault::limit(format!("You have reached the maximum number of certificates: {limit}. Delete certificates that are not in use, or contact AWS Support to request an increase."))
                })?;
            }
            Some(arn) => {
                let known = fault::find(cell, tx.view(), arn)?;
                may_replace(&known, &leaf, &next)?;
                next.id.clone_from(&known.id);
                next.created_at = known.created_at;
                next.tags.clone_from(&known.tags);
            }
        }
        let arn = resource_types::arn(cell, &next.id);
        tx.put(next);
        Ok::<_, ApiError>(arn)
    });
    Ok(OnlyArn {
        certificate_arn: Some(written.await?),
    })
}

/// <https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html>
fn may_replace(known: &Record, leaf: &Certificate, next: &Record) -> Result<(), ApiError> {
    if known.origin != Origin::Imported {
        return Err(fault::validation(
            "The certificate was not imported: only imported certificates can be reimported.",
        ));
    }
    if known.key_algorithm != next.key_algorithm {
        return Err(fault::validation(
            "The key type and size of a certificate cannot be changed by a reimport.",
        ));
    }
    let before = known
        .material
        .as_ref()
        .and_then(|it| facts::read(&it.certificate));
    let Some(before) = before else {
        return Ok(());
    };
    let lost_bits = before.usages.key.is_some_and(|bits| {
        // A certificate without the extension may be used for anything.
        leaf.usages.key.is_some_and(|now| bits & !now != 0)
    });
    let mut extended = before.usages.extended.iter();
    let lost =
        !leaf.usages.extended.is_empty() && extended.any(|it| !leaf.usages.extended.contains(it));
    if lost_bits || lost {
        return Err(fault::validation(
            "Key usages and extended key usages can be added by a reimport, and not removed.",
        ));
    }
    Ok(())
}
