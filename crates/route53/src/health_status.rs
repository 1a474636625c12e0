//! What the observers say of health checks.

use std::net::IpAddr;
use std::sync::Arc;

use lath_control::Cell;
use lath_feed::{ObserverReport, WITNESS};
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::Route53;
use crate::record::HealthCheck;
use crate::resource_types::*;
use crate::shape::*;
use crate::{fault, health_check};

operations! {
    for Route53 as "route53";
    read GetHealthCheckStatus: get "/2013-04-01/healthcheck/{HealthCheckId}/status" 200 -> GetHealthCheckStatusResponse = status
        => on(&CHECK, |op, _| op.id.clone());
    read GetHealthCheckLastFailureReason: get "/2013-04-01/healthcheck/{HealthCheckId}/lastfailurereason" 200 -> GetHealthCheckLastFailureReasonResponse = last_failure
        => on(&CHECK, |op, _| op.id.clone());
    read GetCheckerIpRanges: get "/2013-04-01/checkeripranges" 200 -> GetCheckerIpRangesResponse = checkers
        => any();
}

/// # Errors
/// `InvalidInput` for a calculated check, which is not probed.
fn probed(view: &View, id: &str) -> Result<Arc<HealthCheck>, ApiError> {
    let check = health_check::find(view, id)?;
    if check.config.kind == HealthCheckType::Calculated {
        return Err(fault::invalid(format!(
            "The health check {} is a calculated one: no health checker looks at it.",
            check.id
        )));
    }
    Ok(check)
}

/// Where an observer sends its requests from.
fn address(cell: &Cell, region: &str) -> Option<IpAddr> {
    cell.topology
        .place(region)
        .map(|place| IpAddr::V4(place.underlay))
}

/// One observation of each observer that has something to say of the check as it is now.
fn observations(
    cell: &Cell,
    check: &HealthCheck,
    said: impl Fn(&ObserverReport) -> Option<(String, Timestamp)>,
) -> Vec<HealthCheckObservation> {
    let observed = cell.observed.borrow();
    let observers = observed
        .health_checks
        .get(&check.id)
        .into_iter()
        .flat_map(|seen| &seen.observers)
        .filter(|(_, report)| report.version == check.generation);
    observers
        .filter_map(|(region, report)| {
            let (status, checked) = said(report)?;
            Some(HealthCheckObservation {
                region: Some(region.clone()),
                address: address(cell, region).map(|address| address.to_string()),
                report: Some(StatusReport {
                    status: Some(status),
                    checked: Some(checked),
                }),
            })
        })
        .collect()
}

pub(crate) fn status(
    app: &Route53,
    view: &View,
    op: &GetHealthCheckStatus,
) -> Result<GetHealthCheckStatusResponse, ApiError> {
    let cell = &app.cell;
    let check = probed(view, &op.id)?;
    let said = |report: &ObserverReport| Some((report.status.clone(), report.checked));
    Ok(GetHealthCheckStatusResponse {
        observations: observations(cell, &check, said),
    })
}

pub(crate) fn last_failure(
    app: &Route53,
    view: &View,
    op: &GetHealthCheckLastFailureReason,
) -> Result<GetHealthCheckLastFailureReasonResponse, ApiError> {
    let cell = &app.cell;
    let check = probed(view, &op.id)?;
    let said = |report: &ObserverReport| report.last_failure.clone();
    Ok(GetHealthCheckLastFailureReasonResponse {
        observations: observations(cell, &check, said),
    })
}

pub(crate) fn checkers(
    app: &Route53,
    _: &View,
    _: &GetCheckerIpRanges,
) -> Result<GetCheckerIpRangesResponse, ApiError> {
    let cell = &app.cell;
    let regions = cell.topology.regions.keys().map(String::as_str);
    let ranges = regions
        .chain([WITNESS])
        .filter_map(|region| address(cell, region))
        .map(|address| format!("{address}/32"))
        .collect();
    Ok(GetCheckerIpRangesResponse { ranges })
}
