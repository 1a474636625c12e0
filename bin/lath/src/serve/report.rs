//! The server's own status, metrics and liveness.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use lath_cloudwatch::Delivery;
use lath_control::{Cell, Mode};
use lath_ec2::records::ResourceTags;
use lath_feed::{Condition, InstancePhase, Observed, RegionObserved, Snapshot, SnapshotReceiver};
use lath_model::WorkloadId;
use lath_status::{
    Canary, Cluster, ClusterNode, Ejection, HealthCheck, Instance, Link, Service, ServiceNetwork,
    Status, Target, TargetGroup, Vpc,
};
use lath_store::View;

use super::control::{Control, Trouble};
use crate::running::Running;

/// Reports on the newest state.
#[derive(Clone)]
pub(crate) struct Reporter(Arc<Inner>);

struct Inner {
    cell: Cell,
    snapshots: SnapshotReceiver,
    delivery: Arc<Delivery>,
    running: Running,
    trouble: Trouble,
    counters: Box<dyn Fn() -> Counters + Send + Sync>,
}

/// The data plane's counters as Prometheus text; `None` when the node does not answer.
type Counters = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

impl Reporter {
    pub(crate) fn new<F, Fut>(control: &Control, running: Running, counters: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<String>> + Send + 'static,
    {
        Self(Arc::new(Inner {
            cell: control.cell.clone(),
            snapshots: control.snapshots.clone(),
            delivery: Arc::clone(&control.delivery),
            running,
            trouble: control.trouble(),
            counters: Box::new(move || Box::pin(counters())),
        }))
    }

    /// Prometheus text (version 0.0.4).
    pub(crate) async fn metrics(self) -> String {
        let mut text = (self.0.counters)().await.unwrap_or_default();
        let snapshot = self.0.snapshots.borrow().clone();
        let observed = self.0.cell.observed.borrow().clone();
        let running = observed
            .instances
            .values()
            .filter(|i| i.state == InstancePhase::Running);
        for (name, kind, help, value) in [
            (
                "lath_state_revision",
                "gauge",
                "The newest revision of the state.",
                snapshot.version,
            ),
            (
                "lath_network_revision",
                "gauge",
                "The revision that the network has applied.",
                observed.applied_version,
            ),
            ("lath_vpcs", "gauge", "VPCs.", snapshot.vpcs.len() as u64),
            (
                "lath_instances_running",
                "gauge",
                "Instances with a running first process.",
                running.count() as u64,
            ),
            (
                "lath_degraded",
                "gauge",
                "The number of problems with state and archive; the status lists them.",
                self.0.trouble.now().len() as u64,
            ),
            (
                "lath_access_logs_dropped_total",
                "counter",
                "Access log records that could not be stored.",
                self.0.delivery.dropped(),
            ),
        ] {
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            ));
        }
        text
    }

    /// The status as JSON.
    pub(crate) async fn status(self) -> String {
        let inner = &*self.0;
        let counters = (inner.counters)().await.unwrap_or_default();
        let snapshot = inner.snapshots.borrow().clone();
        let observed = inner.cell.observed.borrow().clone();
        let view = inner.cell.db.view();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: inner.running.pid,
            endpoint: inner.running.endpoint.clone(),
            region: inner.cell.region.clone(),
            account: inner.cell.account.clone(),
            mode: match inner.cell.mode {
                Mode::Strict => "strict".into(),
                Mode::Extended => "extended".into(),
            },
            revision: view.revision(),
            applied_revision: observed.applied_version,
            vpcs: vpcs(&snapshot, &observed, &view),
            instances: instances(&snapshot, &observed, &view),
            service_networks: service_networks(&snapshot),
            services: services(&snapshot, &observed, &counters),
            target_groups: target_groups(&snapshot, &observed),
            canaries: canaries(&inner.cell, &view),
            health_checks: health_checks(&snapshot, &observed),
            clusters: clusters(&snapshot, &observed),
            access_logs_dropped: inner.delivery.dropped(),
            dns: inner.running.dns.clone(),
            links: links(&observed),
            regions: Vec::new(),
            trouble: inner.trouble.now(),
        };
        serde_json::to_string(&status).unwrap_or_else(|error| format!("\"{error}\""))
    }
}

fn name_of(view: &View, id: &str) -> Option<String> {
    view.get::<ResourceTags>(id)?.tags.get("Name").cloned()
}

fn condition(condition: Option<&Condition>) -> String {
    match condition {
        Some(Condition::Ready { .. }) => "ready".into(),
        Some(Condition::Failed { reason }) => reason.clone(),
        None => "pending".into(),
    }
}

fn vpcs(snapshot: &Snapshot, observed: &Observed, view: &View) -> Vec<Vpc> {
    let one = |vpc: &Arc<lath_feed::Vpc>| Vpc {
        id: vpc.id.to_string(),
        name: name_of(view, vpc.id.as_str()),
        cidrs: vpc.cidrs.iter().map(ToString::to_string).collect(),
        subnets: vpc.subnets.len(),
        interfaces: vpc.interfaces.len(),
        service_network: vpc
            .lattice
            .as_ref()
            .map(|lattice| lattice.service_network.to_string()),
        state: condition(observed.vpcs.get(&vpc.id)),
    };
    snapshot.vpcs.values().map(one).collect()
}

fn instances(snapshot: &Snapshot, observed: &Observed, view: &View) -> Vec<Instance> {
    let one = |instance: &Arc<lath_feed::Instance>| {
        let vpc = snapshot.vpcs.get(&instance.vpc);
        let workload = WorkloadId::from(instance.id.clone());
        let primary = vpc.and_then(|vpc| {
            vpc.interfaces
                .values()
                .find(|interface| interface.device_at(&workload) == Some(0))
                .and_then(|interface| interface.addresses.first())
        });
        let state = match observed
            .instances
            .get(&instance.id)
            .map(|known| &known.state)
        {
            None => "pending".into(),
            Some(InstancePhase::Failed { reason }) => format!("failed: {reason}"),
            Some(phase) => format!("{phase:?}").to_lowercase(),
        };
        Instance {
            region: snapshot.region.clone(),
            id: instance.id.to_string(),
            name: name_of(view, instance.id.as_str()),
            vpc: instance.vpc.to_string(),
            private_address: primary.map(|address| address.private.to_string()),
            public_address: primary
                .and_then(|address| address.public)
                .map(|public| public.to_string()),
            state,
        }
    };
    snapshot.instances.values().map(one).collect()
}

fn health_checks(snapshot: &Snapshot, observed: &Observed) -> Vec<HealthCheck> {
    let checks = observed.health_checks.iter();
    checks
        .map(|(id, check)| HealthCheck {
            region: snapshot.region.clone(),
            id: id.to_string(),
            healthy: check.healthy,
            quorum: check.quorum,
        })
        .collect()
}

fn clusters(snapshot: &Snapshot, observed: &Observed) -> Vec<Cluster> {
    let one = |plane: &Arc<lath_feed::ControlPlane>| {
        let seen = observed.clusters.get(&plane.id);
        let nodes = snapshot.instances.values().filter(|it| {
            let membership = it.cluster.as_ref();
            membership.is_some_and(|it| it.cluster == plane.id)
        });
        let node = |instance: &Arc<lath_feed::Instance>| {
            let seen = seen.and_then(|it| it.nodes.get(&instance.id));
            ClusterNode {
                instance: instance.id.to_string(),
                name: instance.hostname.clone(),
                ready: seen.is_some_and(|it| it.ready),
                reason: match seen {
                    Some(seen) => seen.reason.clone(),
                    None => Some("it has not joined".into()),
                },
                pods: seen.map_or(0, |it| it.pods),
            }
        };
        Cluster {
            region: snapshot.region.clone(),
            name: plane.name.clone(),
            version: seen.and_then(|it| it.version.clone()),
            state: condition(seen.map(|it| &it.condition)),
            nodes: nodes.map(node).collect(),
        }
    };
    snapshot.control_planes.values().map(one).collect()
}

fn links(observed: &Observed) -> BTreeMap<String, Link> {
    let link = |(region, seen): (&String, &RegionObserved)| {
        let link = Link {
            connected: seen.connected,
            since: seen.since.to_string(),
        };
        (region.clone(), link)
    };
    observed.regions.iter().map(link).collect()
}

fn service_networks(snapshot: &Snapshot) -> Vec<ServiceNetwork> {
    let one = |network: &Arc<lath_feed::ServiceNetwork>| ServiceNetwork {
        id: network.id.to_string(),
        name: network.name.clone(),
        vpcs: snapshot
            .vpcs
            .values()
            .filter(|vpc| {
                vpc.lattice
                    .as_ref()
                    .is_some_and(|l| l.service_network == network.id)
            })
            .count(),
        services: network.services.len(),
    };
    snapshot.service_networks.values().map(one).collect()
}

fn services(snapshot: &Snapshot, observed: &Observed, metrics: &str) -> Vec<Service> {
    let counts = request_counts(metrics);
    let one = |service: &Arc<lath_feed::Service>| {
        let (requests, errors_5xx) = counts.get(service.id.as_str()).copied().unwrap_or_default();
        let listener =
            |l: &lath_feed::Listener| format!("{:?}:{}", l.protocol, l.port).to_lowercase();
        Service {
            id: service.id.to_string(),
            name: service.name.clone(),
            domain_name: service.domain_name.clone(),
            address: service.address.to_string(),
            listeners: service.listeners.values().map(listener).collect(),
            state: condition(observed.services.get(&service.id)),
            requests,
            errors_5xx,
        }
    };
    snapshot.services.values().map(one).collect()
}

/// Requests and 5xx responses by service, from the data plane's counters.
fn request_counts(metrics: &str) -> BTreeMap<&str, (u64, u64)> {
    let mut counts = BTreeMap::<&str, (u64, u64)>::new();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once("} ") else {
            continue;
        };
        let service = labels
            .split(',')
            .find_map(|label| label.strip_prefix("service=\""));
        let (Some(service), Ok(value)) = (service, value.parse::<u64>()) else {
            continue;
        };
        let entry = counts.entry(service.trim_end_matches('"')).or_default();
        if name == "lath_service_requests_total" {
            entry.0 += value;
            entry.1 += if labels.contains("code=\"5xx\"") {
                value
            } else {
                0
            };
        }
    }
    counts
}

fn canaries(cell: &Cell, view: &View) -> Vec<Canary> {
    let canaries = lath_lattice::canaries(cell, view).into_iter();
    canaries
        .map(|it| Canary {
            rule: it.rule,
            target_group: it.target_group.to_string(),
            phase: it.phase.into(),
            step: it.step.map(|(step, _)| step),
            steps: it.step.map(|(_, steps)| steps),
            reason: it.reason,
            since: it.since.to_string(),
        })
        .collect()
}

fn ejection(it: &lath_feed::Ejection) -> Ejection {
    Ejection {
        reason: it.reason.clone(),
        since: it.since.to_string(),
        until: it.until.to_string(),
        times: it.times,
    }
}

fn target_groups(snapshot: &Snapshot, observed: &Observed) -> Vec<TargetGroup> {
    let one = |group: &Arc<lath_feed::TargetGroup>| {
        let seen = observed.targets.get(&group.id);
        let target = |key: &lath_feed::TargetKey| {
            let seen = seen.and_then(|targets| targets.get(key));
            Target {
                id: key.id.clone(),
                port: key.port,
                health: seen.map_or_else(
                    || "pending".into(),
                    |seen| format!("{:?}", seen.health).to_lowercase(),
                ),
                reason: seen.and_then(|seen| seen.reason.clone()),
                ejection: seen.and_then(|seen| seen.ejection.as_ref()).map(ejection),
            }
        };
        TargetGroup {
            id: group.id.to_string(),
            name: group.name.clone(),
            vpc: group.vpc.to_string(),
            targets: group.targets.keys().map(target).collect(),
        }
    };
    snapshot.target_groups.values().map(one).collect()
}

/// Answers unsigned requests below `/_lath/` with the health and the problems. A degraded server still answers
/// 200, so that no watchdog restarts it because its disk is full.
pub(crate) fn internal(request: &Request<Bytes>, trouble: &[String]) -> Response<Bytes> {
    let health = request.uri().path() == "/_lath/health";
    let (status, text) = if !health {
        (StatusCode::NOT_FOUND, "not found\n".into())
    } else if trouble.is_empty() {
        (StatusCode::OK, "ok\n".into())
    } else {
        (
            StatusCode::OK,
            format!("degraded\n{}\n", trouble.join("\n")),
        )
    };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_service() {
        let metrics = "# HELP lath_service_requests_total x\nlath_service_requests_total{service=\"svc-1\",code=\"2xx\"} 7\nlath_service_requests_total{service=\"svc-1\",code=\"5xx\"} 2\nlath_target_group_requests_total{target_group=\"tg-1\",code=\"5xx\"} 9\n";
        assert_eq!(request_counts(metrics), BTreeMap::from([("svc-1", (9, 2))]));
    }
}
