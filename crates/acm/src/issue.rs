//! The reconciler: looks for the records that prove names, issues certificates and renews them.

use std::sync::Arc;
use std::time::Duration;

use lath_ca::PrivateKey;
use lath_control::{Group, spawn_reconciler};
use lath_model::Timestamp;
use lath_store::View;
use lath_wire::ApiError;

use crate::record::{Certificate, Material, Origin, Renewal, Validation};
use crate::shape::{CertificateExport, CertificateStatus, FailureReason, RenewalStatus};
use crate::{Acm, authorities, pca, resource_types, users};

const DAY: u64 = 86400;
/// How long certificates of public names are valid
/// (<https://docs.aws.amazon.com/acm/latest/userguide/acm-certificate-characteristics.html>).
const PUBLIC_LIFE: Duration = Duration::from_secs(198 * DAY);
/// How long private ones are: thirteen months.
const PRIVATE_LIFE: Duration = Duration::from_secs(395 * DAY);
/// How long before their end the former are renewed.
const PUBLIC_LEAD: Duration = Duration::from_secs(45 * DAY);
/// How long before their end the latter are.
const PRIVATE_LEAD: Duration = Duration::from_secs(60 * DAY);
/// How long a name may remain unproved.
const PATIENCE: Duration = Duration::from_secs(72 * 3600);
/// How long after a renewal failed another is tried.
const RETRY: Duration = Duration::from_secs(3600);
/// Certificates end without a change of the state.
const PERIOD: Duration = Duration::from_secs(60);
/// Whose certificates a name's CAA records allow, if there are any
/// (<https://docs.aws.amazon.com/acm/latest/userguide/setup-caa.html>).
const ISSUERS: [&str; 4] = [
    "amazon.com",
    "amazontrust.com",
    "awstrust.com",
    "amazonaws.com",
];

/// Starts what issues and renews.
pub fn reconcilers(app: &Arc<Acm>, group: &mut Group) {
    let cell = app.cell.clone();
    let pass = {
        let app = Arc::clone(app);
        move || {
            let app = Arc::clone(&app);
            async move { pass(&app).await }
        }
    };
    spawn_reconciler(group, cell, "acm", PERIOD, pass);
}

/// What a certificate needs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing.
    Rest,
    /// Records were found, or are there no more.
    Note(Vec<Validation>),
    /// To be issued for the first time, or again.
    Issue,
    /// It fails.
    Fail(CertificateStatus, Option<FailureReason>),
    /// Its renewal waits for records.
    Wait(Vec<Validation>),
}

/// Brings every certificate a step further.
pub(crate) async fn pass(app: &Acm) -> Result<(), ApiError> {
    let (view, now) = (app.cell.db.view(), app.cell.now());
    pca::sweep(&app.cell, now).await?;
    let all: Vec<Arc<Certificate>> = view.list::<Certificate>().collect();
    for certificate in all {
        match step(app, &view, &certificate, now) {
            Step::Rest => {}
            Step::Issue => issue(app, &certificate, now).await?,
            step => note(app, &certificate, step, now).await?,
        }
    }
    Ok(())
}

/// Whether it is renewed before its end: as on AWS, when something uses it or it was exported.
pub(crate) fn is_eligible(app: &Acm, view: &View, it: &Certificate, now: Timestamp) -> bool {
    it.is_managed() && it.status(now) == CertificateStatus::Issued && is_used(app, view, it)
}

/// Whether something uses it, here or where it was exported to.
fn is_used(app: &Acm, view: &View, it: &Certificate) -> bool {
    it.is_exported || !users(view, &resource_types::arn(&app.cell, &it.id)).is_empty()
}

/// How long a certificate of this origin is valid, and how long before its end it is renewed.
fn periods(origin: &Origin) -> (Duration, Duration) {
    match origin {
        Origin::Validated | Origin::Imported => (PUBLIC_LIFE, PUBLIC_LEAD),
        Origin::Private { .. } => (PRIVATE_LIFE, PRIVATE_LEAD),
    }
}

fn step(app: &Acm, view: &View, it: &Certificate, now: Timestamp) -> Step {
    let is_pending = it.status == CertificateStatus::PendingValidation;
    let is_due = it.status == CertificateStatus::Issued
        && it.is_managed()
        && it.not_after.is_some_and(|end| {
            let (_, lead) = periods(&it.origin);
            // Also one that ended already, while the host was off.
            it.is_renewing || (end.since(now) < lead && is_used(app, view, it))
        });
    if !is_pending && !is_due {
        return Step::Rest;
    }
    let failed = it
        .renewal
        .as_ref()
        .filter(|it| it.status == RenewalStatus::Failed);
    if is_due && !it.is_renewing && failed.is_some_and(|it| now.since(it.updated_at) < RETRY) {
        return Step::Rest;
    }
    let found = validated(app, view, &it.validations);
    let is_proved = found.iter().all(|it| it.is_found);
    if is_proved {
        if it.names.iter().any(|name| is_denied(app, view, it, name)) {
            return match is_pending {
                true => Step::Fail(CertificateStatus::Failed, Some(FailureReason::CaaError)),
                false => Step::Wait(found),
            };
        }
        return Step::Issue;
    }
    if is_due {
        let waits = it.renewal.as_ref();
        let waits = waits.is_some_and(|it| it.status == RenewalStatus::PendingValidation);
        return match waits && found == it.validations {
            true => Step::Rest,
            false => Step::Wait(found),
        };
    }
    if now.since(it.created_at) > PATIENCE {
        return Step::Fail(CertificateStatus::ValidationTimedOut, None);
    }
    match found == it.validations {
        true => Step::Rest,
        false => Step::Note(found),
    }
}

/// The validations, each as the public zones have it now.
fn validated(app: &Acm, view: &View, all: &[Validation]) -> Vec<Validation> {
    let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let look = |it: &Validation| {
        let values = (app.records)(&app.cell, view, &it.record_name, "CNAME");
        let is_found = values
            .iter()
            .any(|value| plain(value) == plain(&it.record_value));
        Validation {
            is_found,
            ..it.clone()
        }
    };
    all.iter().map(look).collect()
}

/// Whether the closest CAA records above a name let others issue only.
fn is_denied(app: &Acm, view: &View, it: &Certificate, name: &str) -> bool {
    // CAA records bind who issues to strangers: an account's own authority signs any name.
    if it.validations.is_empty() {
        return false;
    }
    let is_wild = name.starts_with("*.");
    let mut at = crate::names::bare(name);
    loop {
        let records = (app.records)(&app.cell, view, at, "CAA");
        if !records.is_empty() {
            return !may_issue(&records, is_wild);
        }
        match at.split_once('.') {
            Some((_, above)) => at = above,
            None => return false,
        }
    }
}

/// RFC 8659: `issuewild` counts for wildcards where there is one, else `issue`; without either all may.
fn may_issue(records: &[String], is_wild: bool) -> bool {
    let of = |tag: &str| -> Vec<String> {
        let values = records.iter().filter_map(|it| {
            let mut words = it.splitn(3, ' ');
            let (_, found, value) = (words.next()?, words.next()?, words.next()?);
            found
                .eq_ignore_ascii_case(tag)
                .then(|| value.trim_matches('"').to_ascii_lowercase())
        });
        values.collect()
    };
    let (issue, wild) = (of("issue"), of("issuewild"));
    let asked = if is_wild && !wild.is_empty() {
        wild
    } else {
        issue
    };
    let is_ours = |value: &String| {
        let domain = value.split(';').next().unwrap_or_default().trim();
        ISSUERS.contains(&domain)
    };
    asked.is_empty() || asked.iter().any(is_ours)
}

async fn note(app: &Acm, it: &Certificate, step: Step, now: Timestamp) -> Result<(), ApiError> {
    let written = app.cell.db.write(|tx| {
        // The certificate may have been deleted or changed since.
        let Some(known) = tx.get::<Certificate>(&it.id).filter(|known| **known == *it) else {
            return Ok(());
        };
        let mut next = Certificate::clone(&known);
        match &step {
            Step::Rest | Step::Issue => return Ok(()),
            Step::Note(found) => next.validations.clone_from(found),
            Step::Wait(found) => {
                next.validations.clone_from(found);
                let waits = known.renewal.clone();
                let waits = waits.filter(|it| it.status == RenewalStatus::PendingValidation);
                next.renewal = waits.or(Some(Renewal {
                    status: RenewalStatus::PendingValidation,
                    reason: None,
                    updated_at: now,
                }));
            }
            Step::Fail(status, reason) => {
                next.status = *status;
                next.failure = *reason;
            }
        }
        if next != *known {
            tx.put(next);
        }
        Ok::<_, ApiError>(())
    });
    written.await
}

/// Makes a key and its certificate. A renewal makes a new key: who exported the old one knows it.
async fn issue(app: &Acm, it: &Certificate, now: Timestamp) -> Result<(), ApiError> {
    let (cell, view) = (app.cell.clone(), app.cell.db.view());
    let (origin, names, algorithm) = (it.origin.clone(), it.names.clone(), it.key_algorithm);
    let authority = Arc::clone(app.authority()?);
    let made = crate::blocking(move || {
        let key = PrivateKey::generate(algorithm).map_err(|_| FailureReason::Other)?;
        let (life, _) = periods(&origin);
        let issued = authorities::certify(&cell, &view, &origin, &key, &names, life, now)?;
        Ok::<_, FailureReason>((issued, authority.seal(&key)))
    })
    .await?;
    let written = app.cell.db.write(|tx| {
        let Some(known) = tx.get::<Certificate>(&it.id).filter(|known| **known == *it) else {
            return Ok(());
        };
        let mut next = Certificate::clone(&known);
        let is_renewal = next.status == CertificateStatus::Issued;
        next.is_renewing = false;
        let status = match &made {
            Ok((issued, key)) => {
                next.material = Some(Material {
                    certificate: issued.leaf.pem(),
                    chain: issued.chain.clone(),
                    key: key.clone(),
                });
                next.status = CertificateStatus::Issued;
                next.failure = None;
                next.not_before = Some(issued.leaf.not_before);
                next.not_after = Some(issued.leaf.not_after);
                next.issued_at = Some(now);
                next.validations
                    .iter_mut()
                    .for_each(|it| it.is_found = true);
                RenewalStatus::Success
            }
            // The certificate that there is stays.
            Err(_) if is_renewal => RenewalStatus::Failed,
            Err(reason) => {
                next.status = CertificateStatus::Failed;
                next.failure = Some(*reason);
                RenewalStatus::Failed
            }
        };
        if let (Ok((issued, _)), Origin::Private { authority }) = (&made, &next.origin) {
            pca::note(tx, &app.cell, authority, issued);
        }
        if is_renewal {
            next.renewal = Some(Renewal {
                status,
                reason: made.as_ref().err().copied(),
                updated_at: now,
            });
        }
        tx.put(next);
        Ok::<_, ApiError>(())
    });
    written.await
}

/// Whether its private key may be exported.
pub(crate) fn may_be_exported(it: &Certificate) -> bool {
    match it.origin {
        Origin::Private { .. } => true,
        Origin::Validated => it.export == Some(CertificateExport::Enabled),
        Origin::Imported => false,
    }
}
