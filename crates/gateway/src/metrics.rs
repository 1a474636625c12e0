//! What the controller counts, as text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_vpclattice::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_vpclattice::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_vpclattice::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use tokio::time::Instant;

use crate::queue::Depth;
use crate::world::Key;

/// The upper bounds of the classes that times are counted in, in seconds.
const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How many times were in which class, and how long all of them are together.
#[derive(Clone, Debug, Default)]
struct Histogram {
    classes: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, time: Duration) {
        let time = time.as_secs_f64();
        let fitting = BOUNDS.iter().position(|bound| time <= *bound);
        if let Some(class) = fitting {
            self.classes[class] += 1;
        }
        self.count += 1;
        self.sum += time;
    }
}

#[derive(Debug, Default)]
struct State {
    /// By kind and result.
    reconciles: BTreeMap<(&'static str, &'static str), Histogram>,
    /// By kind.
    programmed: BTreeMap<&'static str, Histogram>,
    /// By operation and status.
    calls: BTreeMap<(String, u16), u64>,
    /// By operation.
    throttles: BTreeMap<String, u64>,
    /// What is not in Lattice yet as its newest generation says, and since when that is known.
    applied: BTreeMap<Key, (i64, Instant)>,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<State>);

impl Metrics {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object was worked on, with this result.
    pub(crate) fn worked(&self, kind: &'static str, result: &'static str, time: Duration) {
        let mut state = self.state();
        let histogram = state.reconciles.entry((kind, result)).or_default();
        histogram.observe(time);
    }

    /// A generation of an object is known since then, and is to be programmed.
    pub(crate) fn applied(&self, key: &Key, generation: i64, since: Instant) {
        let mut state = self.state();
        match state.applied.get_mut(key) {
            Some(known) if known.0 == generation => {}
            Some(known) => *known = (generation, since),
            None => drop(state.applied.insert(key.clone(), (generation, since))),
        }
    }

    /// A generation of an object is programmed: the first time that it is, counts.
    pub(crate) fn programmed(&self, kind: &'static str, key: &Key, generation: i64) {
        let mut state = self.state();
        if state.applied.get(key).is_some_and(|it| it.0 == generation)
            && let Some((_, since)) = state.applied.remove(key)
        {
            let histogram = state.programmed.entry(kind).or_default();
            histogram.observe(since.elapsed());
        }
    }

    /// Nothing of an object is waited for any more.
    pub(crate) fn forget(&self, key: &Key) {
        self.state().applied.remove(key);
    }

    /// An attempt of a call ended with this status; 0 for none.
    fn called(&self, operation: &str, status: u16, throttled: bool) {
        let mut state = self.state();
        *state
            .calls
            .entry((operation.to_owned(), status))
            .or_default() += 1;
        if throttled {
            *state.throttles.entry(operation.to_owned()).or_default() += 1;
        }
    }

    /// All of it as text.
    pub(crate) fn text(&self, depth: Depth, leads: bool) -> String {
        let mut text = Text::default();
        let state = self.state();
        text.family(
            "reconcile_seconds",
            "histogram",
            "Time that work on an object took, by its kind and result.",
        );
        for ((kind, result), histogram) in &state.reconciles {
            let labels = [("kind", *kind), ("result", *result)];
            text.histogram("reconcile_seconds", &labels, histogram);
        }
        text.family(
            "programmed_seconds",
            "histogram",
            "Time from a route's change until VPC Lattice has all of it.",
        );
        for (kind, histogram) in &state.programmed {
            text.histogram("programmed_seconds", &[("kind", kind)], histogram);
        }
        text.family(
            "unprogrammed_routes",
            "gauge",
            "Routes of its Gateways whose newest generation is not in VPC Lattice.",
        );
        text.line("unprogrammed_routes", &[], state.applied.len());
        text.family(
            "queue_depth",
            "gauge",
            "Objects to be worked on: due now, to be tried again later, and under way.",
        );
        for (state, count) in [
            ("due", depth.due),
            ("later", depth.later),
            ("busy", depth.busy),
        ] {
            text.line("queue_depth", &[("state", state)], count);
        }
        text.family(
            "api_requests_total",
            "counter",
            "Requests to VPC Lattice, each attempt counted, by status; 0 is no answer.",
        );
        for ((operation, status), count) in &state.calls {
            let labels = [
                ("operation", operation.as_str()),
                ("code", &status.to_string()),
            ];
            text.line("api_requests_total", &labels, count);
        }
        text.family(
            "api_throttles_total",
            "counter",
            "Requests that VPC Lattice refused because there were too many.",
        );
        for (operation, count) in &state.throttles {
            text.line("api_throttles_total", &[("operation", operation)], count);
        }
        text.family("leader", "gauge", "Whether this controller writes.");
        text.line("leader", &[], u8::from(leads));
        text.0
    }
}

/// Text for Prometheus under way. Values of labels are words of this program and of AWS's SDK: nothing in them is escaped.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = format!("lath_gateway_{name}");
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = writeln!(self.0, "lath_gateway_{name}{} {value}", Labels(labels));
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], of: &Histogram) {
        let mut below = 0;
        let bucket = format!("{name}_bucket");
        for (bound, count) in BOUNDS.iter().zip(of.classes) {
            below += count;
            let bound = bound.to_string();
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.line(&bucket, &labels, below);
        }
        let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.line(&bucket, &all, of.count);
        self.line(&format!("{name}_sum"), labels, of.sum);
        self.line(&format!("{name}_count"), labels, of.count);
    }
}

struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "{";
        for (name, value) in self.0 {
            write!(f, "{before}{name}=\"{value}\"")?;
            before = ",";
        }
        match self.0 {
            [] => Ok(()),
            _ => f.write_str("}"),
        }
    }
}

/// Counts the SDK's requests.
#[derive(Debug)]
pub(crate) struct Counted(pub(crate) Arc<Metrics>);

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("unknown", Metadata::name);
        let (status, throttled) = context.response().map_or((0, false), |response| {
            let status = response.status().as_u16();
            let error = response.headers().get("x-amzn-errortype");
            let named = error.is_some_and(|it| it.starts_with("ThrottlingException"));
            (status, status == 429 || named)
        });
        self.0.called(operation, status, throttled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::RouteKind;
    use crate::world::Name;

    #[test]
    fn what_was_counted_is_text() {
        let metrics = Metrics::default();
        metrics.worked("HTTPRoute", "done", Duration::from_millis(20));
        metrics.worked("HTTPRoute", "done", Duration::from_secs(100));
        metrics.called("ListTargets", 200, false);
        metrics.called("ListTargets", 429, true);
        let key = Key::Route(RouteKind::Http, Name::new("default", "web"));
        metrics.applied(&key, 1, Instant::now());
        let depth = Depth {
            due: 3,
            later: 2,
            busy: 1,
        };
        let text = metrics.text(depth, true);
        for line in [
            "# TYPE lath_gateway_reconcile_seconds histogram",
            "lath_gateway_reconcile_seconds_bucket{kind=\"HTTPRoute\",result=\"done\",le=\"0.01\"} 0",
            "lath_gateway_reconcile_seconds_bucket{kind=\"HTTPRoute\",result=\"done\",le=\"0.05\"} 1",
            "lath_gateway_reconcile_seconds_bucket{kind=\"HTTPRoute\",result=\"done\",le=\"60\"} 1",
            "lath_gateway_reconcile_seconds_bucket{kind=\"HTTPRoute\",result=\"done\",le=\"+Inf\"} 2",
            "lath_gateway_reconcile_seconds_sum{kind=\"HTTPRoute\",result=\"done\"} 100.02",
            "lath_gateway_queue_depth{state=\"due\"} 3",
            "lath_gateway_api_requests_total{operation=\"ListTargets\",code=\"429\"} 1",
            "lath_gateway_api_throttles_total{operation=\"ListTargets\"} 1",
            "lath_gateway_unprogrammed_routes 1",
            "lath_gateway_leader 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_time_until_a_generation_is_programmed_begins_with_its_change() {
        let metrics = Metrics::default();
        let key = Key::Route(RouteKind::Http, Name::new("default", "web"));
        let count = || {
            let state = metrics.state();
            let histogram = state.programmed.get("HTTPRoute");
            histogram.map_or((0, 0), |it| (it.count, it.sum as u64))
        };
        let now = Instant::now();
        metrics.applied(&key, 1, now - Duration::from_secs(7200));
        // Looked at again, without another change.
        metrics.applied(&key, 1, now);
        metrics.programmed("HTTPRoute", &key, 1);
        metrics.programmed("HTTPRoute", &key, 1);
        assert_eq!(count(), (1, 7200));
        // An older generation is not what is waited for.
        metrics.applied(&key, 2, now);
        metrics.applied(&key, 3, now);
        metrics.programmed("HTTPRoute", &key, 2);
        assert_eq!(count().0, 1);
        metrics.forget(&key);
        metrics.programmed("HTTPRoute", &key, 3);
        assert_eq!(count().0, 1);
    }
}
