//! Insights: checks of a cluster that are made anew with each request.

use lath_control::Cell;
use lath_feed::Condition;
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::record::{Cluster, control_plane};
use crate::resource_types::CLUSTER;
use crate::shape::{wire, words};
use crate::{Eks, clusters, fault, page};

operations! {
    for Eks as "eks";
    read ListInsights: post "/clusters/{name}/insights" 200 -> ListInsightsResponse = list
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    read DescribeInsight: get "/clusters/{name}/insights/{id}" 200 -> DescribeInsightResponse = describe
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
}

words! {
    Category {
        UpgradeReadiness = "UPGRADE_READINESS",
        Misconfiguration = "MISCONFIGURATION",
    }
    InsightStatusValue {
        Passing = "PASSING",
        Warning = "WARNING",
        Error = "ERROR",
        Unknown = "UNKNOWN",
    }
}

wire! {
    InsightsFilter {
        #[serde(default)]
        categories: Vec<Category>,
        #[serde(default)]
        kubernetes_versions: Vec<String>,
        #[serde(default)]
        statuses: Vec<InsightStatusValue>,
    }
    ListInsights {
        #[serde(rename = "name")]
        cluster_name: String,
        filter: Option<InsightsFilter>,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    InsightStatus {
        status: Option<InsightStatusValue>,
        reason: Option<String>,
    }
    InsightSummary {
        id: Option<String>,
        name: Option<String>,
        category: Option<Category>,
        kubernetes_version: Option<String>,
        last_refresh_time: Option<Timestamp>,
        last_transition_time: Option<Timestamp>,
        description: Option<String>,
        insight_status: Option<InsightStatus>,
    }
    ListInsightsResponse {
        insights: Vec<InsightSummary>,
        next_token: Option<String>,
    }
    DescribeInsight {
        #[serde(rename = "name")]
        cluster_name: String,
        id: String,
    }
    Insight {
        id: Option<String>,
        name: Option<String>,
        category: Option<Category>,
        kubernetes_version: Option<String>,
        last_refresh_time: Option<Timestamp>,
        last_transition_time: Option<Timestamp>,
        description: Option<String>,
        insight_status: Option<InsightStatus>,
        recommendation: Option<String>,
    }
    DescribeInsightResponse { insight: Option<Insight>, }
}

/// The one check that there is: whether the cluster works.
fn health(cell: &Cell, cluster: &Cluster) -> Insight {
    let observed = cell.observed.borrow();
    let seen = observed.clusters.get(&control_plane(&cluster.name));
    let not_ready: Vec<String> = seen
        .into_iter()
        .flat_map(|seen| &seen.nodes)
        .filter(|(_, node)| !node.ready)
        .map(|(id, node)| format!("{id}: {}", node.reason.as_deref().unwrap_or("not ready")))
        .collect();
    let (status, reason) = match seen.map(|seen| &seen.condition) {
        Some(Condition::Failed { reason }) => (InsightStatusValue::Error, reason.clone()),
        None => (
            InsightStatusValue::Unknown,
            "The control plane was not seen yet.".to_owned(),
        ),
        Some(Condition::Ready { .. }) if !not_ready.is_empty() => {
            (InsightStatusValue::Warning, not_ready.join("; "))
        }
        Some(Condition::Ready { .. }) => (
            InsightStatusValue::Passing,
            "No cluster health issues detected.".to_owned(),
        ),
    };
    Insight {
        id: Some(id_of(cluster)),
        name: Some("Cluster health issues".into()),
        category: Some(Category::UpgradeReadiness),
        kubernetes_version: Some(cluster.version.clone()),
        last_refresh_time: Some(cell.now()),
        last_transition_time: Some(cluster.created_at),
        description: Some("Checks whether the API server answers and nodes are ready.".into()),
        insight_status: Some(InsightStatus {
            status: Some(status),
            reason: Some(reason),
        }),
        recommendation: Some(
            "Look at the health issues of the cluster and its node groups.".into(),
        ),
    }
}

/// A UUID that stays with the cluster.
fn id_of(cluster: &Cluster) -> String {
    let hex = cluster.issuer_id.to_lowercase();
    let parsed = uuid::Uuid::parse_str(&hex);
    parsed.map_or(hex, |it| it.to_string())
}

fn list(app: &Eks, view: &View, op: &ListInsights) -> Result<ListInsightsResponse, ApiError> {
    let cluster = clusters::find(view, &op.cluster_name)?;
    let it = health(&app.cell, &cluster);
    let status = it.insight_status.as_ref().and_then(|it| it.status);
    let has = |filter: &InsightsFilter| {
        (filter.categories.is_empty() || filter.categories.contains(&Category::UpgradeReadiness))
            && (filter.kubernetes_versions.is_empty()
                || filter.kubernetes_versions.contains(&cluster.version))
            && (filter.statuses.is_empty() || filter.statuses.iter().any(|it| Some(*it) == status))
    };
    let wanted = op.filter.as_ref().is_none_or(has);
    let summary = wanted.then_some(InsightSummary {
        id: it.id,
        name: it.name,
        category: it.category,
        kubernetes_version: it.kubernetes_version,
        last_refresh_time: it.last_refresh_time,
        last_transition_time: it.last_transition_time,
        description: it.description,
        insight_status: it.insight_status,
    });
    let key = |it: &InsightSummary| it.id.clone().unwrap_or_default();
    let page = page(summary, key, op.max_results, op.next_token.as_deref())?;
    Ok(ListInsightsResponse {
        insights: page.items,
        next_token: page.next_token,
    })
}

fn describe(
    app: &Eks,
    view: &View,
    op: &DescribeInsight,
) -> Result<DescribeInsightResponse, ApiError> {
    let cluster = clusters::find(view, &op.cluster_name)?;
    if op.id != id_of(&cluster) {
        let shown: String = op.id.chars().take(64).collect();
        return Err(fault::not_found(format!(
            "No insight found for id: {shown}"
        )));
    }
    Ok(DescribeInsightResponse {
        insight: Some(health(&app.cell, &cluster)),
    })
}
