//! Health checks.

use lath_model::id::HealthCheckId;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use std::sync::Arc;

use crate::Route53;
use crate::record::{HealthCheck, HealthReference};
use crate::resource_types::*;
use crate::shape::{
    self, CreateHealthCheck, CreateHealthCheckResponse, DeleteHealthCheck,
    DeleteHealthCheckResponse, GetHealthCheck, GetHealthCheckCount, GetHealthCheckCountResponse,
    GetHealthCheckResponse, HealthCheckConfig, HealthCheckType, ListHealthChecks,
    ListHealthChecksResponse, ResettableElementName, UpdateHealthCheck, UpdateHealthCheckResponse,
};
use crate::{fault, health_config, ident, limit, page};

operations! {
    for Route53 as "route53";
    change CreateHealthCheck: post "/2013-04-01/healthcheck" 201 -> CreateHealthCheckResponse = create, located
        => any();
    read GetHealthCheck: get "/2013-04-01/healthcheck/{HealthCheckId}" 200 -> GetHealthCheckResponse = get
        => on(&CHECK, |op, _| op.id.clone());
    read ListHealthChecks: get "/2013-04-01/healthcheck" 200 -> ListHealthChecksResponse = list
        => any();
    change UpdateHealthCheck: post "/2013-04-01/healthcheck/{HealthCheckId}" 200 -> UpdateHealthCheckResponse = update
        => on(&CHECK, |op, _| op.id.clone());
    change DeleteHealthCheck: delete "/2013-04-01/healthcheck/{HealthCheckId}" 200 -> DeleteHealthCheckResponse = delete
        => on(&CHECK, |op, _| op.id.clone());
    read GetHealthCheckCount: get "/2013-04-01/healthcheckcount" 200 -> GetHealthCheckCountResponse = count
        => any();
}

/// Checks on a page.
const PAGE: usize = 100;

/// The check that an id names.
///
/// # Errors
/// `NoSuchHealthCheck`.
pub(crate) fn find(view: &View, id: &str) -> Result<Arc<HealthCheck>, ApiError> {
    let id = ident::check(id)?;
    view.get(id.as_str())
        .ok_or_else(|| fault::no_such_check(id.as_str()))
}

fn shown(check: &HealthCheck) -> shape::HealthCheck {
    shape::HealthCheck {
        id: check.id.to_string(),
        caller_reference: check.caller_reference.clone(),
        config: check.config.clone(),
        version: i64::try_from(check.version).unwrap_or(i64::MAX),
    }
}

pub(crate) fn create(
    app: &Route53,
    tx: &mut Tx,
    op: CreateHealthCheck,
) -> Result<CreateHealthCheckResponse, ApiError> {
    let cell = &app.cell;
    let config = health_config::checked(cell, tx.view(), op.config)?;
    if let Some(known) = tx.get::<HealthReference>(&op.caller_reference) {
        let check = tx.get::<HealthCheck>(known.check.as_str());
        return match check.filter(|check| check.config == config) {
            Some(check) => Ok(CreateHealthCheckResponse {
                check: shown(&check),
            }),
            None => Err(ApiError::new(
                "HealthCheckAlreadyExists",
                409,
                "A health check with the same caller reference and different settings already exists, or was deleted.",
            )),
        };
    }
    limit::HEALTH_CHECKS.check(cell, tx.view().count::<HealthCheck>() + 1)?;
    let check = tx.put(HealthCheck {
        id: HealthCheckId::random(),
        caller_reference: op.caller_reference,
        config,
        version: 1,
        generation: 1,
        tags: Default::default(),
        created_at: tx.now(),
    });
    tx.put(HealthReference {
        reference: check.caller_reference.clone(),
        check: check.id.clone(),
    });
    let check = shown(&check);
    Ok(CreateHealthCheckResponse { check })
}

pub(crate) fn get(
    _: &Route53,
    view: &View,
    op: &GetHealthCheck,
) -> Result<GetHealthCheckResponse, ApiError> {
    let check = shown(&*find(view, &op.id)?);
    Ok(GetHealthCheckResponse { check })
}

pub(crate) fn list(
    _: &Route53,
    view: &View,
    op: &ListHealthChecks,
) -> Result<ListHealthChecksResponse, ApiError> {
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let (checks, next) = page::from_marker(
        |start| view.from::<HealthCheck>(start),
        |check| check.id.to_string(),
        op.marker.as_deref(),
        size,
    );
    Ok(ListHealthChecksResponse {
        checks: checks.iter().map(|check| shown(check)).collect(),
        marker: op.marker.clone(),
        is_truncated: next.is_some(),
        next_marker: next,
        max_items: page::shown(op.max_items.as_deref(), PAGE),
    })
}

pub(crate) fn count(
    _: &Route53,
    view: &View,
    _: &GetHealthCheckCount,
) -> Result<GetHealthCheckCountResponse, ApiError> {
    let count = i64::try_from(view.count::<HealthCheck>()).unwrap_or(i64::MAX);
    Ok(GetHealthCheckCountResponse { count })
}

/// A configuration with what an update gives.
fn merged(known: &HealthCheckConfig, op: &UpdateHealthCheck) -> HealthCheckConfig {
    let mut config = known.clone();
    for element in op.reset.iter().flatten() {
        match element {
            ResettableElementName::Name => config.name = None,
            ResettableElementName::Regions => config.regions = None,
            ResettableElementName::Path => config.path = None,
            ResettableElementName::Children => config.children = None,
        }
    }
    fn set<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
        if given.is_some() {
            place.clone_from(given);
        }
    }
    set(&mut config.address, &op.address);
    set(&mut config.port, &op.port);
    set(&mut config.path, &op.path);
    set(&mut config.name, &op.name);
    set(&mut config.search, &op.search);
    set(&mut config.threshold, &op.threshold);
    set(&mut config.inverted, &op.inverted);
    set(&mut config.disabled, &op.disabled);
    set(&mut config.health_threshold, &op.health_threshold);
    set(&mut config.children, &op.children);
    set(&mut config.sni, &op.sni);
    set(&mut config.regions, &op.regions);
    set(&mut config.alarm, &op.alarm);
    set(&mut config.insufficient_data, &op.insufficient_data);
    config
}

pub(crate) fn update(
    app: &Route53,
    tx: &mut Tx,
    op: UpdateHealthCheck,
) -> Result<UpdateHealthCheckResponse, ApiError> {
    let cell = &app.cell;
    let known = find(tx.view(), &op.id)?;
    if op
        .version
        .is_some_and(|version| u64::try_from(version) != Ok(known.version))
    {
        return Err(ApiError::new(
            "HealthCheckVersionMismatch",
            409,
            "The value of HealthCheckVersion in the request does not match the value of HealthCheckVersion in the health check.",
        ));
    }
    if known.config.address.is_none() && op.address.as_ref().is_some_and(|a| !a.is_empty()) {
        return Err(fault::invalid(
            "Invalid parameter : A health check that was created without an IP address cannot be given one.",
        ));
    }
    let merged = merged(&known.config, &op);
    let config = health_config::checked(cell, tx.view(), merged)?;
    let check = tx.put(HealthCheck {
        config,
        version: known.version + 1,
        generation: known.generation + 1,
        ..HealthCheck::clone(&known)
    });
    let check = shown(&check);
    Ok(UpdateHealthCheckResponse { check })
}

pub(crate) fn delete(
    _: &Route53,
    tx: &mut Tx,
    op: DeleteHealthCheck,
) -> Result<DeleteHealthCheckResponse, ApiError> {
    let known = find(tx.view(), &op.id)?;
    let is_parent = |check: &Arc<HealthCheck>| {
        check.config.kind == HealthCheckType::Calculated
            && check
                .config
                .children
                .iter()
                .flatten()
                .any(|child| child.0 == known.id.as_str())
    };
    if let Some(parent) = tx.list::<HealthCheck>().find(is_parent) {
        let text = format!(
            "The health check {} is a child of the calculated health check {}.",
            known.id, parent.id
        );
        return Err(fault::fault("HealthCheckInUse", text));
    }
    tx.delete::<HealthCheck>(known.id.as_str());
    Ok(DeleteHealthCheckResponse {})
}
