//! DescribeInstanceStatus.

use std::sync::Arc;
use std::time::Duration;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Member};
use lath_ec2_kit::select::{Listed, Query, select, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::combination;
use lath_ec2_records::resources::INSTANCE;
use lath_ec2_records::{Instance, InstanceState};
use lath_feed::{InstanceObserved, InstancePhase};
use lath_model::Timestamp;
use lath_service::run::read;
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use super::describe::settled;
use super::response::StateItem;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstanceStatus {
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    max_results: Option<i32>,
    next_token: Option<String>,
    /// Instances that an AWS service manages: there are none.
    #[serde(rename = "IncludeManagedResources")]
    _managed: Option<bool>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    include_all_instances: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeInstanceStatusResult {
    instance_status_set: Vec<InstanceStatus>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceStatus {
    availability_zone: String,
    availability_zone_id: String,
    events_set: Vec<StatusEvent>,
    instance_id: String,
    instance_state: StateItem,
    instance_status: StatusSummary,
    system_status: StatusSummary,
    #[serde(skip)]
    tags: Vec<Tag>,
}

/// A scheduled event: there are none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusEvent {
    code: String,
    description: String,
    not_before: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusSummary {
    details: Vec<StatusDetail>,
    status: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusDetail {
    name: String,
    status: String,
}

operations! {
    for Ec2 as "ec2";
    asynchronous DescribeInstanceStatus -> DescribeInstanceStatusResult = answer => any();
}

async fn answer(
    app: &Ec2,
    _caller: &Caller,
    op: DescribeInstanceStatus,
) -> Result<DescribeInstanceStatusResult, ApiError> {
    if op.dry_run != Some(true) {
        settled(app, &op.ids).await;
    }
    read(app, op.dry_run, |view| describe(app, view, &op))
}

impl Listed for InstanceStatus {
    const ID: IdForm = INSTANCE.id;
    const MEMBERS: &'static [Member] = &[
        ("attached-ebs-status.status", None),
        ("operator.principal", None),
    ];
    const FIELDS: &'static [Field<Self>] = &[
        ("operator.managed", |_| vec!["false".to_owned()]),
        ("availability-zone", |it| vec![it.availability_zone.clone()]),
        ("availability-zone-id", |it| {
            vec![it.availability_zone_id.clone()]
        }),
        ("event.code", |_| Vec::new()),
        ("event.description", |_| Vec::new()),
        ("event.instance-event-id", |_| Vec::new()),
        ("event.not-after", |_| Vec::new()),
        ("event.not-before", |_| Vec::new()),
        ("event.not-before-deadline", |_| Vec::new()),
        ("instance-state-code", |it| {
            vec![it.instance_state.code.to_string()]
        }),
        ("instance-state-name", |it| {
            vec![it.instance_state.name.clone()]
        }),
        ("instance-status.reachability", |it| {
            reachability(&it.instance_status)
        }),
        ("instance-status.status", |it| {
            vec![it.instance_status.status.clone()]
        }),
        ("system-status.reachability", |it| {
            reachability(&it.system_status)
        }),
        ("system-status.status", |it| {
            vec![it.system_status.status.clone()]
        }),
    ];
    fn id(&self) -> &str {
        &self.instance_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn reachability(summary: &StatusSummary) -> Vec<String> {
    summary.details.iter().map(|it| it.status.clone()).collect()
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeInstanceStatus,
) -> Result<DescribeInstanceStatusResult, ApiError> {
    if !op.ids.is_empty() && op.max_results.is_some() {
        return Err(combination(
            "The parameter instancesSet cannot be used with the parameter maxResults",
        ));
    }
    let all = op.include_all_instances == Some(true);
    let observed = Arc::clone(&app.cell.observed.borrow());
    let now = app.cell.now();
    let of = |it: &Instance| shown(view, it, observed.instances.get(&it.id), now);
    let visible = |it: &InstanceStatus| all || it.instance_state.name == "running";
    let query = Query {
        ids: &[],
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = if op.ids.is_empty() {
        select_records(view, |it: &Instance| Some(of(it)).filter(visible), &query)?
    } else {
        // Ids are resolved among all instances, so that one that is not running is not "not found".
        let named = Query {
            ids: &op.ids,
            ..Query::default()
        };
        let named = select_records(view, |it: &Instance| Some(of(it)), &named)?.items;
        select(named.into_iter().filter(visible), &query)?
    };
    Ok(DescribeInstanceStatusResult {
        instance_status_set: page.items,
        next_token: page.next_token,
    })
}

fn shown(
    view: &View,
    it: &Instance,
    seen: Option<&InstanceObserved>,
    now: Timestamp,
) -> InstanceStatus {
    let seen = seen.filter(|seen| seen.boot == it.boot);
    let since = |seen: &InstanceObserved| now.since(seen.since);
    let summary = summary(
        it.state,
        seen.map(|seen| (&seen.state, since(seen) < START_UP)),
    );
    InstanceStatus {
        availability_zone: it.availability_zone.clone(),
        availability_zone_id: lath_ec2_records::zone_id(&it.availability_zone),
        events_set: Vec::new(),
        instance_id: it.id.to_string(),
        instance_state: it.state.into(),
        instance_status: summary.clone(),
        system_status: summary,
        tags: tags::of(view, it.id.as_str()),
    }
}

/// How long an instance may start, after a reboot too, before its checks fail.
const START_UP: Duration = Duration::from_secs(60);

/// A running instance passes both checks while its node sees its first process and its network, and fails both when
/// one of them is lost for longer than a start takes: a failed check of the system is one of the instance's causes
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html>). The others
/// have nothing to check.
fn summary(state: InstanceState, seen: Option<(&InstancePhase, bool)>) -> StatusSummary {
    let (status, check) = match (state, seen) {
        (InstanceState::Running, Some((InstancePhase::Running, _))) => ("ok", Some("passed")),
        (InstanceState::Running, Some((InstancePhase::Starting, true))) => {
            ("initializing", Some("initializing"))
        }
        (InstanceState::Running, Some(_)) => ("impaired", Some("failed")),
        (InstanceState::Running, None) => ("insufficient-data", Some("insufficient-data")),
        (InstanceState::Pending, _) => ("initializing", Some("initializing")),
        _ => ("not-applicable", None),
    };
    let detail = check.map(|check| StatusDetail {
        name: "reachability".into(),
        status: check.into(),
    });
    StatusSummary {
        details: detail.into_iter().collect(),
        status: status.into(),
    }
}

#[cfg(test)]
impl DescribeInstanceStatus {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_fail_while_the_node_sees_no_process_or_network() {
        use InstanceState::{Pending, Running, Stopped};
        let lost = InstancePhase::Failed { reason: "r".into() };
        for (state, seen, status, check) in [
            (
                Running,
                Some((&InstancePhase::Running, false)),
                "ok",
                Some("passed"),
            ),
            (
                Running,
                Some((&InstancePhase::Starting, true)),
                "initializing",
                Some("initializing"),
            ),
            (
                Running,
                Some((&InstancePhase::Starting, false)),
                "impaired",
                Some("failed"),
            ),
            (Running, Some((&lost, true)), "impaired", Some("failed")),
            (
                Running,
                None,
                "insufficient-data",
                Some("insufficient-data"),
            ),
            (
                Pending,
                Some((&InstancePhase::Starting, false)),
                "initializing",
                Some("initializing"),
            ),
            (Stopped, None, "not-applicable", None),
        ] {
            let shown = summary(state, seen);
            let checks: Vec<_> = shown.details.iter().map(|it| it.status.as_str()).collect();
            assert_eq!(
                (shown.status.as_str(), checks),
                (status, Vec::from_iter(check)),
                "{state:?} {seen:?}"
            );
        }
    }
}
