use std::collections::BTreeSet;

use lath_control::{BadToken, paginate};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller, Doc};

use super::api::{
    DASHBOARD_TAGS, DashboardEntry, DashboardGot, DashboardList, DashboardPut,
    DashboardValidationMessage, DeleteDashboards, Empty, GetDashboard, ListDashboards,
    PutDashboard,
};
use super::dashboard_body::{self, Findings};
use super::{error, invalid_token, invalid_value};
use crate::CloudWatch;
use crate::records::Dashboard;

/// A dashboard. It is in no region.
const DASHBOARD: lath_authz::ResourceType = lath_authz::ResourceType {
    name: "dashboard",
    arn: |at, name| at.global_arn("cloudwatch", &format!("dashboard/{name}")),
    keys: &[],
    facts: |_, _| Vec::new(),
};

operations! {
    for CloudWatch as "cloudwatch";
    asynchronous PutDashboard -> DashboardPut = put
        => on(&DASHBOARD, |op, _| op.dashboard_name.clone())
        => refusing ["" PutDashboard];
    read GetDashboard -> DashboardGot = get
        => on(&DASHBOARD, |op, _| op.dashboard_name.clone());
    read ListDashboards -> DashboardList = list
        => any();
    change DeleteDashboards -> Empty = delete, checked
        => on(&DASHBOARD, |op, _| op.dashboard_names.clone());
}

const MAX_BODY: usize = 1 << 20;
const PAGE: usize = 1000;

impl CloudWatch {
    fn dashboard_arn(&self, name: &str) -> String {
        let resource = format!("dashboard/{name}");
        self.cell.global_arn("cloudwatch", resource)
    }
}

fn well_named(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The service's text ends in a new line.
fn check_name(name: &str) -> Result<(), ApiError> {
    if well_named(name) {
        return Ok(());
    }
    Err(invalid_value(
        "The value for field DashboardName contains invalid characters. It can only contain alphanumerics, dash (-) and underscore (_).\n",
    ))
}

fn not_found(name: &str) -> ApiError {
    error(
        "DashboardNotFoundError",
        "ResourceNotFound",
        404,
        format!("Dashboard {name} does not exist"),
    )
}

fn invalid_input(message: String, findings: &[DashboardValidationMessage]) -> ApiError {
    let messages = findings.iter().map(|finding| {
        Doc::Map(vec![
            ("DataPath".into(), Doc::String(finding.data_path.clone())),
            ("Message".into(), Doc::String(finding.message.clone())),
        ])
    });
    error(
        "DashboardInvalidInputError",
        "InvalidParameterInput",
        400,
        message,
    )
    .with_field("dashboardValidationMessages", Doc::List(messages.collect()))
}

async fn put(
    app: &CloudWatch,
    _caller: &Caller,
    op: PutDashboard,
) -> Result<DashboardPut, ApiError> {
    check_name(&op.dashboard_name)?;
    if let Some(tag) = op.tags.first() {
        let message = format!(
            "{DASHBOARD_TAGS} on dashboards are not supported ({}={}).",
            tag.key, tag.value
        );
        return Err(invalid_input(message, &[]));
    }
    if op.dashboard_body.len() > MAX_BODY {
        return Err(invalid_input(
            "The dashboard body is larger than 1 MB.".into(),
            &[],
        ));
    }
    let Findings { errors, warnings } = dashboard_body::check(&op.dashboard_body);
    if !errors.is_empty() {
        let message = format!(
            "The field DashboardBody must be a valid JSON object: {} validation error(s)",
            errors.len()
        );
        return Err(invalid_input(message, &errors));
    }
    app.cell
        .db
        .write(|tx| {
            tx.put(Dashboard {
                name: op.dashboard_name,
                body: op.dashboard_body,
                modified_at: tx.now(),
            });
            Ok::<_, ApiError>(())
        })
        .await?;
    Ok(DashboardPut {
        dashboard_validation_messages: warnings,
    })
}

fn get(app: &CloudWatch, view: &View, op: &GetDashboard) -> Result<DashboardGot, ApiError> {
    check_name(&op.dashboard_name)?;
    let dashboard = view
        .get::<Dashboard>(&op.dashboard_name)
        .ok_or_else(|| not_found(&op.dashboard_name))?;
    Ok(DashboardGot {
        dashboard_arn: app.dashboard_arn(&dashboard.name),
        dashboard_body: dashboard.body.clone(),
        dashboard_name: dashboard.name.clone(),
    })
}

fn list(app: &CloudWatch, view: &View, op: &ListDashboards) -> Result<DashboardList, ApiError> {
    let prefix = op.dashboard_name_prefix.as_deref().unwrap_or_default();
    let page = paginate(
        view.range::<Dashboard>(prefix),
        |dashboard| dashboard.name.clone(),
        PAGE,
        op.next_token.as_deref(),
    )
    .map_err(|BadToken| invalid_token())?;
    let entries = page.items.iter().map(|dashboard| DashboardEntry {
        dashboard_name: dashboard.name.clone(),
        dashboard_arn: app.dashboard_arn(&dashboard.name),
        last_modified: dashboard.modified_at,
        size: i64::try_from(dashboard.body.len()).unwrap_or(i64::MAX),
    });
    Ok(DashboardList {
        dashboard_entries: entries.collect(),
        next_token: page.next_token,
    })
}

fn delete(_app: &CloudWatch, tx: &mut Tx, op: DeleteDashboards) -> Result<Empty, ApiError> {
    if op.dashboard_names.is_empty() {
        return Err(invalid_value(
            "The parameter DashboardNames must name a dashboard.",
        ));
    }
    op.dashboard_names
        .iter()
        .try_for_each(|name| check_name(name))?;
    // All or none: a name that is not there leaves the others alone. One that is given twice is deleted once.
    let names: BTreeSet<String> = op.dashboard_names.into_iter().collect();
    let missing = names
        .iter()
        .find(|name| tx.get::<Dashboard>(name).is_none());
    if let Some(name) = missing {
        return Err(not_found(name));
    }
    for name in &names {
        tx.delete::<Dashboard>(name);
    }
    Ok(Empty {})
}
