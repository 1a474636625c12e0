//! Authorities issue certificates, hand them out again and revoke them.

use std::time::Duration;

use lath_ca::{Certificate, Constraint, Profile, Signer, SigningRequest};
use lath_control::{Cell, fingerprint};
use lath_model::Timestamp;
use lath_service::{Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use super::authorities::{not_in_state, unsupported};
use super::record::{Authority, Issued};
use super::shape::*;
use super::templates::{self, ROOT, Template};
use super::{AUTHORITY, Pca, arn, find, invalid_args, not_found, signer, subject};
use crate::authorities::Issued as ForAcm;
use crate::fault::{self, coded};
use crate::record::{Certificate as Managed, Origin};
use crate::shape::{CertificateStatus, RevocationReason};

const DAY: u64 = 86400;
/// Clocks of clients may be late: as ACM PCA dates certificates.
const SLACK: Duration = Duration::from_secs(3600);
/// The longest life of certificates of authorities for short-lived ones.
const SHORT: Duration = Duration::from_secs(7 * DAY);

operations! {
    for Pca as "acm-pca";
    asynchronous IssueCertificate -> IssueCertificateResponse = issue
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone())
            .with("acm-pca:TemplateArn", |op, _| op.template_arn.clone())
        => refusing ["" IssueCertificate];
    read GetCertificate -> GetCertificateResponse = get
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
    change RevokeCertificate -> () = revoke
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
}

impl Refuses for IssueCertificate {
    fn names() -> Vec<String> {
        vec!["ApiPassthrough".to_owned()]
    }
}

/// The moment that a validity says, counted from `from`.
fn moment(it: &Validity, from: Timestamp) -> Option<Timestamp> {
    let days = |count: i64, each: u64| {
        let count = u64::try_from(count).ok().filter(|it| *it <= 36_500)?;
        Some(from.plus(Duration::from_secs(count * each * DAY)))
    };
    match it.r#type {
        ValidityType::Days => days(it.value, 1),
        ValidityType::Months => days(it.value, 30),
        ValidityType::Years => days(it.value, 365),
        ValidityType::Absolute => it.value.checked_mul(1000).map(Timestamp::from_millis),
        // YYYYMMDDHHMMSS.
        ValidityType::EndDate => {
            let text = format!("{:014}", it.value);
            let part = |from: usize, to: usize| text.get(from..to);
            let iso = format!(
                "{}-{}-{}T{}:{}:{}Z",
                part(0, 4)?,
                part(4, 6)?,
                part(6, 8)?,
                part(8, 10)?,
                part(10, 12)?,
                part(12, 14)?
            );
            (text.len() == 14)
                .then(|| Timestamp::parse_iso8601(&iso))
                .flatten()
        }
    }
}

/// What a certificate will say.
fn profile(
    it: &Authority,
    op: &IssueCertificate,
    template: &Template,
    request: &SigningRequest,
    now: Timestamp,
) -> Result<Profile, ApiError> {
    let invalid = || fault::validation("The certificate validity specified is not valid.");
    let slack = Timestamp::from_millis(now.as_millis() - SLACK.as_millis() as i64);
    let not_before = match &op.validity_not_before {
        None => slack,
        Some(given) if given.r#type == ValidityType::Absolute => {
            moment(given, now).ok_or_else(invalid)?
        }
        Some(_) => {
            return Err(fault::validation(
                "ValidityNotBefore must have the type ABSOLUTE.",
            ));
        }
    };
    let not_after = moment(&op.validity, now).ok_or_else(invalid)?;
    if not_after <= not_before || not_after <= now {
        return Err(invalid());
    }
    if it.not_after.is_some_and(|end| not_after > end) {
        return Err(fault::validation(
            "The certificate validity specified exceeds the certificate authority validity",
        ));
    }
    if it.usage_mode == UsageMode::ShortLived && not_after.since(now) > SHORT && *template != ROOT {
        return Err(fault::validation(
            "An authority for short-lived certificates issues for at most seven days.",
        ));
    }
    Ok(Profile {
        subject: request.subject.clone(),
        names: match template.constraint {
            Constraint::Leaf => request.dns_names.clone(),
            Constraint::Authority(_) => Vec::new(),
        },
        uris: match template.constraint {
            Constraint::Leaf => request.uris.clone(),
            Constraint::Authority(_) => Vec::new(),
        },
        not_before,
        not_after,
        constraint: template.constraint,
        key_usages: template.key_usages,
        extended_key_usages: template
            .extended
            .iter()
            .map(|it| (*it).to_owned())
            .collect(),
        names_no_hosts: false,
    })
}

/// Whether an authority may issue an authority of this kind below it.
fn fits_below(it: &Authority, template: &Template) -> bool {
    let Constraint::Authority(length) = template.constraint else {
        return true;
    };
    let own = it.certificate.as_deref().and_then(crate::facts::read);
    match own.and_then(|it| it.path_length) {
        None => true,
        Some(own) => length.is_some_and(|length| u32::from(length) < own),
    }
}

async fn issue(
    app: &Pca,
    _: &Caller,
    op: IssueCertificate,
) -> Result<IssueCertificateResponse, ApiError> {
    let cell = app.cell.clone();
    let authority_arn = op.certificate_authority_arn.clone();
    let found = find(&cell, &cell.db.view(), &authority_arn)?;
    let template = templates::of(&cell, op.template_arn.as_deref())
        .ok_or_else(|| unsupported("this template: passthrough templates and others"))?;
    if op.api_passthrough.is_some() {
        return Err(unsupported("ApiPassthrough: no template has it"));
    }
    let way = subject::signature(op.signing_algorithm);
    let key = subject::key_algorithm(found.configuration.key_algorithm);
    let way = way.filter(|it| key.is_some_and(|key| it.fits(key)));
    let way = way.ok_or_else(|| {
        invalid_args("The signing algorithm does not match the key of the certificate authority.")
    })?;
    let token = op.idempotency_token.clone();
    let print = fingerprint(&(
        &op.certificate_authority_arn,
        &op.csr.0,
        &op.template_arn,
        &op.validity,
    ));
    let at = app.cell.now();
    let is_root = template == ROOT;
    let signed = crate::blocking({
        let (cell, found, authority_arn) = (cell.clone(), found.clone(), authority_arn.clone());
        move || {
            let request = SigningRequest::from_pem(&op.csr.0).map_err(|_| {
                coded("MalformedCSRException", "The certificate signing request is malformed, or its signature or key is not valid.")
            })?;
            let profile = profile(&found, &op, &template, &request, at)?;
            let status = found.status(at);
            if template == ROOT {
                return sign_itself(&cell, &found, &authority_arn, way, &request, &profile);
            }
            if status != AuthorityStatus::Active {
                return Err(not_in_state(&authority_arn, &found, at));
            }
            if !fits_below(&found, &template) {
                return Err(invalid_args(
                    "The path length of the template is not below that of the certificate authority.",
                ));
            }
            let signer = signer(&cell, &found, way)?;
            let signed = signer.sign(&request.public, request.key_algorithm, &profile);
            let signed = signed.map_err(|_| {
                coded(
                    "MalformedCSRException",
                    "The certificate signing request asks for a name that cannot be certified.",
                )
            })?;
            let own = found.certificate.clone().unwrap_or_default();
            Ok((signed, own + &found.chain))
        }
    });
    let (signed, chain): (Certificate, String) = signed.await??;
    let issued = Issued {
        authority: found.id.clone(),
        id: signed.serial.replace(':', ""),
        certificate: signed.pem(),
        chain,
        revoked: None,
    };
    let id = cell.db.write(|tx| {
        // It may have been disabled or deleted while the certificate was signed.
        let now = find(&cell, tx.view(), &authority_arn)?;
        let may = match is_root {
            true => signs_itself(&now),
            false => now.status(at) == AuthorityStatus::Active,
        };
        if !may {
            return Err(not_in_state(&authority_arn, &now, at));
        }
        let scope = format!("acm-pca.IssueCertificate/{print:016x}");
        let known = lath_service::claim(tx, &scope, token.as_deref(), print, &issued.id);
        if let Some(known) = known.ok().flatten() {
            return Ok(known);
        }
        tx.put(issued.clone());
        Ok::<_, ApiError>(issued.id.clone())
    });
    let id = id.await?;
    Ok(IssueCertificateResponse {
        certificate_arn: Some(format!("{authority_arn}/certificate/{id}")),
    })
}

/// Whether it is a root that may sign its own certificate: before it is active, and again to prolong it.
fn signs_itself(it: &Authority) -> bool {
    let may = [AuthorityStatus::PendingCertificate, AuthorityStatus::Active];
    it.kind == AuthorityType::Root && may.contains(&it.status)
}

fn sign_itself(
    cell: &Cell,
    it: &Authority,
    authority_arn: &str,
    way: lath_ca::SignatureAlgorithm,
    request: &SigningRequest,
    profile: &Profile,
) -> Result<(Certificate, String), ApiError> {
    if !signs_itself(it) {
        return Err(not_in_state(authority_arn, it, cell.now()));
    }
    let installation = cell.authority.as_ref();
    let key = installation.and_then(|authority| authority.unseal(&it.key));
    let key = key.ok_or_else(|| ApiError::internal("a private key was sealed with another key"))?;
    if key.public() != request.public {
        return Err(invalid_args(
            "A root certificate is issued for the signing request of the certificate authority itself.",
        ));
    }
    let signer = Signer::unsigned(&key, way, &request.subject).map_err(ApiError::internal)?;
    let signed = signer.sign(&request.public, request.key_algorithm, profile);
    Ok((signed.map_err(ApiError::internal)?, String::new()))
}

fn get(app: &Pca, view: &View, op: &GetCertificate) -> Result<GetCertificateResponse, ApiError> {
    let authority_arn = &op.certificate_authority_arn;
    let authority = find(&app.cell, view, authority_arn)?;
    let start = format!("{}/certificate/", arn(&app.cell, &authority.id));
    let id = op.certificate_arn.strip_prefix(&start);
    let found = id.and_then(|id| view.get::<Issued>(&format!("{}/{id}", authority.id)));
    let found = found.ok_or_else(|| not_found(&op.certificate_arn))?;
    Ok(GetCertificateResponse {
        certificate: Some(found.certificate.clone()),
        certificate_chain: Some(found.chain.clone()).filter(|it| !it.is_empty()),
    })
}

fn revoke(app: &Pca, tx: &mut Tx, op: RevokeCertificate) -> Result<(), ApiError> {
    let authority = find(&app.cell, tx.view(), &op.certificate_authority_arn)?;
    let now = tx.now();
    if authority.status(now) != AuthorityStatus::Active {
        return Err(not_in_state(&op.certificate_authority_arn, &authority, now));
    }
    let serial = op.certificate_serial.replace(':', "").to_ascii_lowercase();
    let known = tx.get::<Issued>(&format!("{}/{serial}", authority.id));
    let Some(known) = known else {
        let text = format!(
            "Could not find a certificate with the serial number {}.",
            op.certificate_serial
        );
        return Err(coded("ResourceNotFoundException", text));
    };
    if known.revoked.is_some() {
        let text = "The certificate is revoked already.";
        return Err(coded("RequestAlreadyProcessedException", text));
    }
    let mut next = Issued::clone(&known);
    next.revoked = Some((now, op.revocation_reason));
    tx.put(next);
    let why = (now, reason(op.revocation_reason));
    of_acm(tx, &op.certificate_authority_arn, &known.certificate, why);
    Ok(())
}

/// ACM gives nothing a certificate that its authority revoked.
fn of_acm(tx: &mut Tx, authority_arn: &str, revoked: &str, why: (Timestamp, RevocationReason)) {
    let is_it = |it: &Managed| {
        let private =
            matches!(&it.origin, Origin::Private { authority } if authority == authority_arn);
        private
            && it
                .material
                .as_ref()
                .is_some_and(|it| it.certificate == revoked)
    };
    let found = tx.view().list::<Managed>().find(|it| is_it(it));
    if let Some(found) = found {
        let mut next = Managed::clone(&found);
        next.status = CertificateStatus::Revoked;
        next.revoked = Some(why);
        next.is_renewing = false;
        tx.put(next);
    }
}

/// ACM's word for a reason.
fn reason(it: Reason) -> RevocationReason {
    match it {
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::AuthorityCompromise => RevocationReason::CaCompromise,
        Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
        Reason::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        Reason::AACompromise => RevocationReason::AACompromise,
    }
}

/// Keeps what an authority of the account issued for ACM among what it issued.
pub(crate) fn note(tx: &mut Tx, cell: &Cell, authority_arn: &str, issued: &ForAcm) {
    let id = authority_arn.rsplit('/').next().unwrap_or_default();
    if arn(cell, id) != authority_arn || tx.get::<Authority>(id).is_none() {
        return;
    }
    tx.put(Issued {
        authority: id.to_owned(),
        id: issued.leaf.serial.replace(':', ""),
        certificate: issued.leaf.pem(),
        chain: issued.chain.clone(),
        revoked: None,
    });
}
