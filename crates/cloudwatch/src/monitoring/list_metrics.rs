use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{BadToken, paginate};
use lath_model::Timestamp;
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{Dimension, ListMetrics, Metric, Metrics};
use super::{invalid_token, invalid_value};
use crate::CloudWatch;
use crate::metrics::Series;

operations! {
    for CloudWatch as "cloudwatch";
    asynchronous ListMetrics -> Metrics = list
        => any();
}

const PAGE: usize = 500;
const IDLE: Duration = Duration::from_secs(14 * 24 * 3600);

async fn list(app: &CloudWatch, caller: &Caller, op: ListMetrics) -> Result<Metrics, ApiError> {
    if op.dimensions.len() > 30 {
        return Err(invalid_value(
            "The collection Dimensions must not have a size greater than 30.",
        ));
    }
    let archive = Arc::clone(&app.archive);
    let all = tokio::task::spawn_blocking(move || archive.series())
        .await
        .map_err(ApiError::internal)??;
    let found: BTreeMap<String, Series> = all
        .into_iter()
        .map(|(_, series)| series)
        .filter(|series| wanted(&op, series, app.cell.now(), &caller.account))
        .map(|series| (identity(&series), series))
        .collect();
    let page = paginate(
        found,
        |(key, _)| key.clone(),
        PAGE,
        op.next_token.as_deref(),
    )
    .map_err(|BadToken| invalid_token())?;
    let owners = op.include_linked_accounts.unwrap_or(false);
    Ok(Metrics {
        owning_accounts: owners.then(|| vec![caller.account.clone(); page.items.len()]),
        metrics: page
            .items
            .into_iter()
            .map(|(_, series)| metric(series))
            .collect(),
        next_token: page.next_token,
    })
}

/// Series that differ only in their unit are one metric.
fn identity(series: &Series) -> String {
    format!(
        "{}\u{1}{}\u{1}{:?}",
        series.namespace, series.name, series.dimensions
    )
}

fn wanted(op: &ListMetrics, series: &Series, now: Timestamp, account: &str) -> bool {
    let recent = if op.recently_active.is_some() {
        Duration::from_secs(3 * 3600)
    } else {
        IDLE
    };
    op.namespace
        .as_ref()
        .is_none_or(|namespace| *namespace == series.namespace)
        && op
            .metric_name
            .as_ref()
            .is_none_or(|name| *name == series.name)
        && op
            .owning_account
            .as_ref()
            .is_none_or(|owner| owner == account)
        && now.since(series.last) <= recent
        && op.dimensions.iter().all(|filter| {
            series.dimensions.iter().any(|(name, value)| {
                *name == filter.name && filter.value.as_ref().is_none_or(|wanted| wanted == value)
            })
        })
}

fn metric(series: Series) -> Metric {
    let dimensions = series.dimensions.into_iter();
    Metric {
        namespace: Some(series.namespace),
        metric_name: Some(series.name),
        dimensions: dimensions
            .map(|(name, value)| Dimension { name, value })
            .collect(),
    }
}
