//! Authorities are disabled, deleted and restored.

use std::time::Duration;

use lath_control::Cell;
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Record as _, Tx};
use lath_wire::ApiError;

use super::authorities::{no_revocation, not_in_state};
use super::record::{Authority, Issued};
use super::shape::*;
use super::{AUTHORITY, Pca, find, invalid_args};

const DAY: u64 = 86400;

operations! {
    for Pca as "acm-pca";
    change UpdateCertificateAuthority -> () = update
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
    change DeleteCertificateAuthority -> () = delete
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
    change RestoreCertificateAuthority -> () = restore
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
}

fn update(app: &Pca, tx: &mut Tx, op: UpdateCertificateAuthority) -> Result<(), ApiError> {
    use AuthorityStatus::{Active, Disabled};
    let arn = &op.certificate_authority_arn;
    let found = find(&app.cell, tx.view(), arn)?;
    no_revocation(op.revocation_configuration.as_ref())?;
    let Some(status) = op.status else {
        return Ok(());
    };
    if ![Active, Disabled].contains(&status) {
        return Err(invalid_args(
            "The status can be updated to ACTIVE or DISABLED.",
        ));
    }
    let now = tx.now();
    if ![Active, Disabled].contains(&found.status(now)) {
        return Err(not_in_state(arn, &found, tx.now()));
    }
    if found.status != status {
        let mut next = Authority::clone(&found);
        next.status = status;
        next.changed_at = now;
        tx.put(next);
    }
    Ok(())
}

fn delete(app: &Pca, tx: &mut Tx, op: DeleteCertificateAuthority) -> Result<(), ApiError> {
    use AuthorityStatus::{Active, Deleted};
    let arn = &op.certificate_authority_arn;
    let days = op.permanent_deletion_time_in_days.unwrap_or(30);
    let found = find(&app.cell, tx.view(), arn)?;
    let now = tx.now();
    if [Active, Deleted].contains(&found.status(now)) {
        return Err(not_in_state(arn, &found, tx.now()));
    }
    let mut next = Authority::clone(&found);
    next.status = Deleted;
    next.changed_at = now;
    let wait = Duration::from_secs(u64::from(days.unsigned_abs()) * DAY);
    next.restorable_until = Some(now.plus(wait));
    tx.put(next);
    Ok(())
}

fn restore(app: &Pca, tx: &mut Tx, op: RestoreCertificateAuthority) -> Result<(), ApiError> {
    let arn = &op.certificate_authority_arn;
    let found = find(&app.cell, tx.view(), arn)?;
    if found.status != AuthorityStatus::Deleted {
        return Err(not_in_state(arn, &found, tx.now()));
    }
    let mut next = Authority::clone(&found);
    next.status = match found.certificate {
        Some(_) => AuthorityStatus::Disabled,
        None => AuthorityStatus::PendingCertificate,
    };
    next.changed_at = tx.now();
    next.restorable_until = None;
    tx.put(next);
    Ok(())
}

/// Forgets authorities that were deleted and can be restored no more, and what they issued. What they revoked stays: it leads to the
/// authorities above them as before.
pub(crate) async fn sweep(cell: &Cell, now: Timestamp) -> Result<(), ApiError> {
    let is_over = |it: &Authority| {
        it.status == AuthorityStatus::Deleted && it.restorable_until.is_some_and(|end| end <= now)
    };
    let view = cell.db.view();
    let over: Vec<_> = view.list::<Authority>().filter(|it| is_over(it)).collect();
    for authority in over {
        let prefix = format!("{}/", authority.id);
        let written = cell.db.write(|tx| {
            let known = tx.get::<Authority>(&authority.id);
            if known.is_none_or(|it| !is_over(&it)) {
                return Ok(());
            }
            let issued: Vec<String> = tx
                .view()
                .range::<Issued>(&prefix)
                .filter(|it| it.revoked.is_none())
                .map(|it| it.id())
                .collect();
            for id in issued {
                tx.delete::<Issued>(&id);
            }
            tx.delete::<Authority>(&authority.id);
            Ok::<_, ApiError>(())
        });
        written.await?;
    }
    Ok(())
}
