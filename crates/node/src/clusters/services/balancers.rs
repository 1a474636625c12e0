//! Services that wait for a load balancer, which Lath has none of: they are told so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lath_kubernetes::{Client, ClientError};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::events::{About, Events, Said};
use super::{Part, all};

/// How long something else in the cluster has to give a service a load balancer, before an event says that Lath has none.
const PATIENCE: Duration = Duration::from_secs(10);
const MESSAGE: &str = "Lath has no Elastic Load Balancing: the service stays pending, unless a controller in the cluster \
    gives it a load balancer. Reach its pods by a VPC Lattice service with their addresses as targets, by type NodePort, \
    or by kubectl port-forward";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    load_balancer_class: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: Balancer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Balancer {
    ingress: Vec<IgnoredAny>,
}

impl Service {
    /// Whether it waits for the load balancer of the cloud. One of another class has a controller of its own.
    fn waits(&self) -> bool {
        self.spec.load_balancer_class.is_none()
            && self.status.load_balancer.ingress.is_empty()
            && self.metadata.deletion_timestamp.is_none()
    }
}

/// Since when services wait, by their ids.
#[derive(Default)]
pub(super) struct Balancers {
    waiting: BTreeMap<String, Instant>,
}

impl Balancers {
    /// Looks at all services of the type.
    ///
    /// # Errors
    /// When there is no good answer.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        events: &mut Events,
    ) -> Result<(), ClientError> {
        let query = "fieldSelector=spec.type%3DLoadBalancer";
        let found: Vec<Service> = all(client, "/api/v1/services", query, Part::Whole).await?;
        for metadata in self.late(found, Instant::now()) {
            let about = About {
                api_version: "v1",
                kind: "Service",
                namespace: metadata.namespace,
                name: metadata.name,
                uid: metadata.uid,
            };
            let said = Said {
                component: "service-controller",
                warning: true,
                reason: "SyncLoadBalancerFailed",
                message: MESSAGE.to_owned(),
            };
            events.record(client, &about, &said).await?;
        }
        Ok(())
    }

    /// Those that have waited for long.
    fn late(&mut self, found: Vec<Service>, now: Instant) -> Vec<Metadata> {
        let waiting = found.into_iter().filter(Service::waits);
        let waiting: Vec<Metadata> = waiting.map(|it| it.metadata).collect();
        self.waiting
            .retain(|uid, _| waiting.iter().any(|it| it.uid == *uid));
        let mut late = Vec::new();
        for it in waiting {
            let since = *self.waiting.entry(it.uid.clone()).or_insert(now);
            if now.duration_since(since) >= PATIENCE {
                late.push(it);
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn a_service_that_nothing_serves_is_late_after_a_while() {
        let service = |uid: &str, class: Option<&str>, ingress: bool| -> Service {
            let ingress = if ingress {
                vec![json!({"ip": "1.2.3.4"})]
            } else {
                vec![]
            };
            serde_json::from_value(json!({
                "metadata": {"name": uid, "namespace": "default", "uid": uid},
                "spec": {"loadBalancerClass": class},
                "status": {"loadBalancer": {"ingress": ingress}},
            }))
            .unwrap()
        };
        let all = || {
            vec![
                service("a", None, false),
                service("b", Some("example.com/other"), false),
                service("c", None, true),
            ]
        };
        let mut balancers = Balancers::default();
        let begin = Instant::now();
        assert!(balancers.late(all(), begin).is_empty());
        let late = balancers.late(all(), begin + PATIENCE);
        let names: Vec<_> = late.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a"]);
        assert!(balancers.late(Vec::new(), begin + PATIENCE).is_empty());
        assert!(balancers.late(all(), begin + PATIENCE * 2).is_empty());
    }
}
