//! Events beside an object (`kubectl describe` shows them): one for each reason, repeated from time to time while the reason lasts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::StatusCode;
use lath_clock::Clock;
use lath_kubernetes::{Client, ClientError};
use lath_model::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// After this what lasts is said again: events live for an hour.
const AGAIN: Duration = Duration::from_secs(600);
/// How many events are remembered. More only means that something is said more often.
const MOST: usize = 10_000;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Who says it.
    pub(super) component: &'static str,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Events that were recorded.
pub(super) struct Events {
    clock: Clock,
    recorded: BTreeMap<String, Instant>,
}

impl Events {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            recorded: BTreeMap::new(),
        }
    }

    /// Says something of an object, unless it was said not long ago.
    ///
    /// # Errors
    /// When there is no good answer.
    pub(super) async fn record(
        &mut self,
        client: &Client,
        about: &About,
        said: &Said,
    ) -> Result<(), ClientError> {
        let name = name(about, said);
        let is_new = |at: &Instant| at.elapsed() < AGAIN;
        if self.recorded.get(&name).is_some_and(is_new) {
            return Ok(());
        }
        if self.recorded.len() >= MOST {
            self.recorded.clear();
        }
        let list = format!("/api/v1/namespaces/{}/events", about.namespace);
        let event = event(&name, about, said, self.clock.now());
        match client.post(&list, &event).await {
            // A namespace that ends takes no events.
            Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => {}
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => {
                let path = format!("{list}/{name}");
                let known = client.find(&path).await?.unwrap_or_default();
                let count = known["count"].as_u64().unwrap_or(1).saturating_add(1);
                let last = &event["lastTimestamp"];
                let change = json!({"count": count, "lastTimestamp": last});
                match client.patch(&path, &change).await {
                    Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {}
                    outcome => outcome?,
                }
            }
            outcome => drop(outcome?),
        }
        self.recorded.insert(name, Instant::now());
        Ok(())
    }
}

/// The same for the same words about the same object, so that a later process counts on.
fn name(about: &About, said: &Said) -> String {
    let mut digest = Sha256::new();
    for part in [&about.uid, said.reason, &said.message] {
        digest.update(part);
        digest.update([0]);
    }
    let digest = digest.finalize();
    let digest = digest.iter().take(8);
    let digest: String = digest.map(|byte| format!("{byte:02x}")).collect();
    let name: String = about.name.chars().take(200).collect();
    format!("{}.{digest}", name.trim_end_matches(['.', '-']))
}

fn event(name: &str, about: &About, said: &Said, now: Timestamp) -> Value {
    let now = now.iso8601_seconds();
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace,
            "name": about.name, "uid": about.uid,
        },
        "type": if said.warning { "Warning" } else { "Normal" },
        "reason": said.reason, "message": said.message,
        "source": {"component": said.component},
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "reportingComponent": said.component,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_the_same_event() {
        let about = About {
            api_version: "v1",
            kind: "Service",
            namespace: "default".into(),
            name: format!("{}-x", "a".repeat(199)),
            uid: "1".into(),
        };
        let said = Said {
            component: "lath",
            warning: true,
            reason: "No",
            message: "no".into(),
        };
        let first = name(&about, &said);
        assert_eq!(first, name(&about.clone(), &said.clone()));
        assert!(first.len() < 253 && !first.contains("-."));
        let other = About {
            uid: "2".into(),
            ..about.clone()
        };
        assert_ne!(first, name(&other, &said));
        let shown = event(&first, &about, &said, Timestamp::from_millis(0));
        assert_eq!(shown["type"], "Warning");
    }
}
