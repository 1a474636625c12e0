//! Lists of certificates.

use std::sync::Arc;

use lath_control::paginate;
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::record::Certificate;
use crate::shape::*;
use crate::{Acm, describe, facts, fault, resource_types, users};

/// The names that a summary has at most.
const SHOWN_NAMES: usize = 100;
const PAGE: usize = 1000;

operations! {
    for Acm as "acm";
    read ListCertificates -> ListCertificatesResponse = list => any();
}

fn list(
    app: &Acm,
    view: &View,
    op: &ListCertificates,
) -> Result<ListCertificatesResponse, ApiError> {
    let size = match op.max_items {
        None => PAGE,
        Some(size) => size.unsigned_abs() as usize,
    };
    if op.sort_by.is_some() != op.sort_order.is_some() {
        return Err(fault::validation(
            "SortBy and SortOrder must be specified together.",
        ));
    }
    let now = app.cell.now();
    let descends = op.sort_order == Some(SortOrder::Descending);
    // Keys ascend in both orders; equal times are told apart by the id.
    let key = |it: &Arc<Certificate>| {
        let at = it.created_at.as_millis().max(0);
        let at = if descends { i64::MAX - at } else { at };
        match op.sort_by {
            Some(SortBy::CreatedAt) => format!("{at:020}/{}", it.id),
            None => it.id.clone(),
        }
    };
    let mut all: Vec<Arc<Certificate>> = view.list::<Certificate>().collect();
    all.retain(|it| is_asked_for(op, it, now));
    all.sort_by_key(key);
    let page = paginate(all, key, size, op.next_token.as_deref())
        .map_err(|_| fault::validation("The NextToken is not valid."))?;
    let shown = page.items.iter().map(|it| summary(app, view, it, now));
    Ok(ListCertificatesResponse {
        certificate_summary_list: shown.collect(),
        next_token: page.next_token,
    })
}

fn is_asked_for(op: &ListCertificates, it: &Certificate, now: Timestamp) -> bool {
    let statuses = op.certificate_statuses.as_deref().unwrap_or_default();
    if !statuses.is_empty() && !statuses.contains(&it.status(now)) {
        return false;
    }
    let filters = op.includes.as_ref();
    let types = filters
        .and_then(|it| it.key_types.as_deref())
        .unwrap_or_default();
    // Without a filter lists show RSA keys of up to 2048 bits only
    // (<https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html>).
    let default = [KeyAlgorithmName::Rsa1024, KeyAlgorithmName::Rsa2048];
    let types = if types.is_empty() {
        &default[..]
    } else {
        types
    };
    if !types
        .iter()
        .any(|name| name.as_str() == it.key_algorithm.name())
    {
        return false;
    }
    let Some(filters) = filters else {
        return true;
    };
    if filters.managed_by.is_some() {
        return false;
    }
    if filters
        .export_option
        .is_some_and(|asked| it.export.unwrap_or(CertificateExport::Disabled) != asked)
    {
        return false;
    }
    let (usages, extended) = (
        filters.key_usage.as_deref().unwrap_or_default(),
        filters.extended_key_usage.as_deref().unwrap_or_default(),
    );
    if usages.is_empty() && extended.is_empty() {
        return true;
    }
    let (has, has_extended) = words(it);
    usages.iter().all(|it| has.contains(it)) && extended.iter().all(|it| has_extended.contains(it))
}

/// What a certificate's key may be used for.
fn words(it: &Certificate) -> (Vec<KeyUsageName>, Vec<ExtendedKeyUsageName>) {
    let read = it
        .material
        .as_ref()
        .and_then(|it| facts::read(&it.certificate));
    let Some(read) = read else {
        return (Vec::new(), Vec::new());
    };
    let extended = facts::extended_key_usages(&read.usages).into_iter();
    (
        facts::key_usages(&read.usages),
        extended.filter_map(|it| it.name).collect(),
    )
}

fn summary(app: &Acm, view: &View, it: &Certificate, now: Timestamp) -> CertificateSummary {
    let arn = resource_types::arn(&app.cell, &it.id);
    let (key_usages, extended_key_usages) = words(it);
    CertificateSummary {
        in_use: Some(!users(view, &arn).is_empty()),
        renewal_eligibility: Some(describe::eligibility(app, view, it, now)),
        certificate_arn: Some(arn),
        domain_name: Some(it.domain.clone()),
        subject_alternative_name_summaries: Some(
            it.names.iter().take(SHOWN_NAMES).cloned().collect(),
        ),
        has_additional_subject_alternative_names: Some(it.names.len() > SHOWN_NAMES),
        status: Some(it.status(now)),
        r#type: Some(describe::kind(it)),
        key_algorithm: Some(facts::key_algorithm(it.key_algorithm)),
        key_usages,
        extended_key_usages,
        export_option: it.export,
        exported: it.is_managed().then_some(it.is_exported),
        not_before: it.not_before,
        not_after: it.not_after,
        created_at: Some(it.created_at),
        issued_at: it.issued_at,
        imported_at: it.imported_at,
        revoked_at: it.revoked.map(|(at, _)| at),
        managed_by: None,
    }
}
