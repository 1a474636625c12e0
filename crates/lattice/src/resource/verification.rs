//! Domain verifications: a record below a domain proves that the domain is the account's.

use std::sync::Arc;
use std::time::Duration;

use lath_control::Cell;
use lath_model::Timestamp;
use lath_model::id::{DomainVerificationId, random_suffix};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::{DomainVerification, ResourceConfiguration};
use crate::ident::{Kind, resolve};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, behind, fault, page_from, quota, token};

operations! {
    for Lattice as "vpc-lattice";
    change StartDomainVerification: post "/domainverifications" 201 -> StartDomainVerificationOutput = start, checked
        => makes(&DOMAIN_VERIFICATION)
            .with(DOMAIN_NAME, |op, _| op.domain_name.clone())
            .with_tags(|op| &op.tags)
            .tagging(&DOMAIN_VERIFICATION, |_, _| "*".into(), |op| &op.tags);
    read GetDomainVerification: get "/domainverifications/{domainVerificationIdentifier}" 200 -> DomainVerificationDetail = get
        => on(&DOMAIN_VERIFICATION, |op, _| op.domain_verification_identifier.clone());
    read ListDomainVerifications: get "/domainverifications" 200 -> ListDomainVerificationsOutput = list
        => any();
    change DeleteDomainVerification: delete "/domainverifications/{domainVerificationIdentifier}" 200 -> Empty = delete
        => on(&DOMAIN_VERIFICATION, |op, _| op.domain_verification_identifier.clone());
}

const KIND: Kind = Kind::DomainVerification;
/// How long the record is waited for.
const PATIENCE: Duration = Duration::from_secs(72 * 3600);
/// How often a record that was found is looked for again. One that is not there any more proves nothing: the verification
/// waits for it as at first.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// The verification that an identifier names.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(
    cell: &Cell,
    view: &View,
    text: &str,
) -> Result<Arc<DomainVerification>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// A verification's ARN.
pub(crate) fn arn(cell: &Cell, id: &DomainVerificationId) -> String {
    cell.arn("vpc-lattice", format!("domainverification/{id}"))
}

fn detail(cell: &Cell, it: &DomainVerification) -> DomainVerificationDetail {
    DomainVerificationDetail {
        id: it.id.to_string(),
        arn: arn(cell, &it.id),
        domain_name: it.domain_name.clone(),
        status: it.status,
        txt_method_config: Some(TxtMethodConfig {
            value: it.record_value.clone(),
            name: it.record_name.clone(),
        }),
        created_at: it.created_at,
        last_verified_time: it.last_verified_at,
        tags: Some(it.tags.clone()),
    }
}

/// Twenty hexadecimal digits that cannot be guessed.
fn secret() -> String {
    let digits = [random_suffix(), random_suffix()].concat();
    digits.chars().rev().take(20).collect()
}

fn start(
    app: &Lattice,
    tx: &mut Tx,
    mut op: StartDomainVerification,
) -> Result<StartDomainVerificationOutput, ApiError> {
    let cell = &app.cell;
    let client_token = op.client_token.take();
    let id = DomainVerificationId::random();
    let name = "StartDomainVerification";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    let verification = match known {
        Some(id) => find(cell, tx.view(), &id)?,
        None => {
            let domain_name = op.domain_name.to_ascii_lowercase();
            let mut twins = tx.view().by::<DomainVerification>("domain", &domain_name);
            if let Some(twin) = twins.next() {
                let message = format!(
                    "Domain verification for domain {domain_name} already exists, {}",
                    twin.id
                );
                return Err(fault::conflict(KIND, twin.id.as_str(), message));
            }
            drop(twins);
            tx.put(DomainVerification {
                id,
                domain_name,
                record_name: format!("_{}", secret()),
                record_value: format!("vpc-lattice:{}", secret()),
                status: VerificationStatus::Pending,
                last_verified_at: None,
                tags: op.tags,
                created_at: tx.now(),
            })
        }
    };
    let count = tx.view().count::<DomainVerification>();
    quota::check(quota::DOMAIN_VERIFICATIONS, cell, count)?;
    let shown = detail(cell, &verification);
    Ok(StartDomainVerificationOutput {
        id: shown.id,
        arn: shown.arn,
        domain_name: shown.domain_name,
        status: shown.status,
        txt_method_config: shown.txt_method_config,
    })
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetDomainVerification,
) -> Result<DomainVerificationDetail, ApiError> {
    let it = find(&app.cell, view, &op.domain_verification_identifier)?;
    Ok(detail(&app.cell, &it))
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListDomainVerifications,
) -> Result<ListDomainVerificationsOutput, ApiError> {
    let page = page_from(
        |start| behind::<DomainVerification>(view, &start),
        |it| it.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListDomainVerificationsOutput {
        items: page.items.iter().map(|it| detail(&app.cell, it)).collect(),
        next_token: page.next_token,
    })
}

/// The model has no ConflictException here: configurations that name the verification lose it.
fn delete(app: &Lattice, tx: &mut Tx, op: DeleteDomainVerification) -> Result<Empty, ApiError> {
    let known = find(&app.cell, tx.view(), &op.domain_verification_identifier)?;
    let users: Vec<_> = tx
        .view()
        .by::<ResourceConfiguration>("verification", known.id.as_str())
        .map(|it| it.id.clone())
        .collect();
    for id in users {
        tx.update::<ResourceConfiguration>(id.as_str(), |it| it.verification = None);
    }
    tx.delete::<DomainVerification>(known.id.as_str());
    Ok(Empty {})
}

/// Verifications whose records were found, are found no more, or did not come in time: their next states.
pub(crate) fn judged(app: &Lattice, view: &View, now: Timestamp) -> Vec<DomainVerification> {
    let all = view.list::<DomainVerification>();
    all.filter_map(|it| next(app, view, &it, now)).collect()
}

fn next(
    app: &Lattice,
    view: &View,
    it: &DomainVerification,
    now: Timestamp,
) -> Option<DomainVerification> {
    let is_due = match it.status {
        VerificationStatus::Pending => true,
        VerificationStatus::Verified => it
            .last_verified_at
            .is_none_or(|then| now.since(then) >= AGAIN),
        VerificationStatus::VerificationTimedOut => false,
    };
    if !is_due {
        return None;
    }
    let name = format!("{}.{}", it.record_name, it.domain_name);
    let records = (app.records)(&app.cell, view, &name, "TXT");
    let is_found = records.iter().any(|text| has_value(text, &it.record_value));
    if is_found {
        return Some(DomainVerification {
            status: VerificationStatus::Verified,
            last_verified_at: Some(now),
            ..it.clone()
        });
    }
    let since = it.last_verified_at.unwrap_or(it.created_at);
    let status = match now.since(since) > PATIENCE {
        true => VerificationStatus::VerificationTimedOut,
        false => VerificationStatus::Pending,
    };
    (status != it.status).then(|| DomainVerification {
        status,
        ..it.clone()
    })
}

/// Whether a TXT record, in the form of zone files, has this value.
fn has_value(record: &str, value: &str) -> bool {
    record.trim().trim_matches('"') == value
}

/// Writes a verification's next state, unless it was deleted since it was judged.
pub(crate) fn settle(tx: &mut Tx, next: DomainVerification) {
    tx.update::<DomainVerification>(next.id.as_str(), |known| {
        (known.status, known.last_verified_at) = (next.status, next.last_verified_at);
    });
}
