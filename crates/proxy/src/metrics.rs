//! Counters as CloudWatch and Prometheus want them
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/monitoring-cloudwatch.html>).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use lath_clock::Clock;
use lath_feed::telemetry::{MetricSample, Sink};
use lath_model::Timestamp;

use crate::breaker::Limit;
use crate::core::Shared;
use crate::counters::{BUCKETS, Count, Counters, Reading, bucket_middle};
use crate::outlier::Why;
use crate::slot::GroupSlot;
use crate::state::State;

/// Zeros and levels are reported this often.
const MINUTE: Duration = Duration::from_secs(60);

/// Metrics of a service that are sums.
const SERVICE: &[(Count, &str, &str)] = &[
    (Count::Requests, "TotalRequestCount", "Count"),
    (Count::RequestTimeouts, "RequestTimeoutCount", "Count"),
    (Count::Class2, "HTTPCode_2XX_Count", "Count"),
    (Count::Class3, "HTTPCode_3XX_Count", "Count"),
    (Count::Class4, "HTTPCode_4XX_Count", "Count"),
    (Count::Class5, "HTTPCode_5XX_Count", "Count"),
];

/// Metrics of a target group that are sums.
const GROUP: &[(Count, &str, &str)] = &[
    (Count::Requests, "TotalRequestCount", "Count"),
    (Count::Class2, "HTTPCode_2XX_Count", "Count"),
    (Count::Class3, "HTTPCode_3XX_Count", "Count"),
    (Count::Class4, "HTTPCode_4XX_Count", "Count"),
    (Count::Class5, "HTTPCode_5XX_Count", "Count"),
    (Count::Connections, "TotalConnectionCount", "Count"),
    (Count::ConnectionErrors, "ConnectionErrorCount", "Count"),
    (Count::ConnectionTimeouts, "ConnectionTimeoutCount", "Count"),
    (Count::Http1Connections, "HTTP1_ConnectionCount", "Count"),
    (Count::Http2Connections, "HTTP2_ConnectionCount", "Count"),
    (
        Count::BytesReceived,
        "TotalReceivedConnectionBytes",
        "Bytes",
    ),
    (Count::BytesSent, "TotalSentConnectionBytes", "Bytes"),
    (Count::TlsErrors, "TLSConnectionErrorCount", "Count"),
    (
        Count::TlsHandshakes,
        "TotalTLSConnectionHandshakeCount",
        "Count",
    ),
];

/// Metrics of a target group that are levels.
const GROUP_LEVELS: &[(Count, &str)] = &[
    (Count::ActiveConnections, "ActiveConnectionCount"),
    (Count::ActiveRequests, "ActiveRequestCount"),
];

/// Hands counters over as metric samples.
pub(crate) struct Reporter {
    state: Arc<arc_swap::ArcSwap<State>>,
    sink: Arc<dyn Sink>,
    zone: Option<String>,
    clock: Clock,
    /// By dimension and its value.
    known: HashMap<(&'static str, String), Known>,
}

struct Known {
    reading: Reading,
    /// When everything was reported last; `None` before the first traffic.
    full: Option<Instant>,
    seen: bool,
}

impl Reporter {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            state: Arc::clone(&shared.state),
            sink: Arc::clone(&shared.sink),
            zone: shared.config.availability_zone.clone(),
            clock: shared.config.clock.clone(),
            known: HashMap::new(),
        }
    }

    /// Reports what came since the last time; once a minute zeros and levels too. Says nothing of what
    /// never had traffic.
    pub(crate) fn report(&mut self, region: &str) {
        let zone = self.zone.clone().unwrap_or_else(|| format!("{region}a"));
        let state = self.state.load_full();
        self.known.values_mut().for_each(|known| known.seen = false);
        for (id, service) in &state.services {
            self.one("Service", id.to_string(), &service.counters, &zone);
        }
        for (id, group) in &state.groups {
            self.one("TargetGroup", id.to_string(), &group.counters, &zone);
        }
        self.known.retain(|_, known| known.seen);
    }

    fn one(&mut self, dimension: &'static str, id: String, counters: &Counters, zone: &str) {
        let now = counters.read();
        let key = (dimension, id);
        let known = self.known.entry(key.clone()).or_insert_with(|| Known {
            reading: Counters::new(1).read(),
            full: None,
            seen: true,
        });
        known.seen = true;
        let delta = now.since(&known.reading);
        let busy = delta.counts.iter().any(|count| *count != 0);
        let full = known.full.map_or(busy, |at| at.elapsed() >= MINUTE);
        if full {
            known.full = Some(Instant::now());
        }
        if busy || full {
            known.reading = now.clone();
            let (id, at) = (key.1, self.clock.now());
            let dimensions = [
                vec![(dimension.to_owned(), id.clone())],
                sorted(dimension, id, zone),
            ];
            for dimensions in dimensions {
                let sender = Sender {
                    sink: &*self.sink,
                    dimensions,
                    full,
                    at,
                };
                sender.send(dimension == "Service", &delta, &now);
            }
        }
    }
}

fn sorted(dimension: &str, id: String, zone: &str) -> Vec<(String, String)> {
    vec![
        ("AvailabilityZone".to_owned(), zone.to_owned()),
        (dimension.to_owned(), id),
    ]
}

struct Sender<'a> {
    sink: &'a dyn Sink,
    dimensions: Vec<(String, String)>,
    full: bool,
    at: Timestamp,
}

impl Sender<'_> {
    fn send(&self, is_service: bool, delta: &Reading, now: &Reading) {
        for (count, name, unit) in if is_service { SERVICE } else { GROUP } {
            let value = delta.get(*count);
            if value > 0 || self.full {
                self.value(name, unit, value as f64);
            }
        }
        if !is_service && self.full {
            for (count, name) in GROUP_LEVELS {
                self.value(name, "Count", now.get(*count) as f64);
            }
        }
        self.times(delta);
    }

    fn value(&self, name: &str, unit: &'static str, value: f64) {
        self.sink.metric(MetricSample {
            namespace: "AWS/VpcLattice".to_owned(),
            name: name.to_owned(),
            dimensions: self.dimensions.clone(),
            unit,
            at: self.at,
            count: 1.0,
            sum: value,
            min: value,
            max: value,
            values: vec![(value, 1.0)],
        });
    }

    fn times(&self, delta: &Reading) {
        let values: Vec<(f64, f64)> = (0..BUCKETS)
            .filter(|index| delta.times[*index] > 0)
            .map(|index| (bucket_middle(index) / 1000.0, delta.times[index] as f64))
            .collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return;
        };
        self.sink.metric(MetricSample {
            namespace: "AWS/VpcLattice".to_owned(),
            name: "RequestTime".to_owned(),
            dimensions: self.dimensions.clone(),
            unit: "Milliseconds",
            at: self.at,
            count: values.iter().map(|(_, count)| count).sum(),
            sum: delta.get(Count::Micros) as f64 / 1000.0,
            min: first.0,
            max: last.0,
            values,
        });
    }
}

/// What is counted of all clients together.
const TOTALS: [(Count, &str, &str, &str); 14] = [
    (
        Count::Connections,
        "lath_proxy_connections_total",
        "counter",
        "Client connections accepted.",
    ),
    (
        Count::ActiveConnections,
        "lath_proxy_connections_open",
        "gauge",
        "Client connections open.",
    ),
    (
        Count::RestingConnections,
        "lath_proxy_connections_resting",
        "gauge",
        "Client connections open that wait for a request and hold no buffers.",
    ),
    (
        Count::ConnectionErrors,
        "lath_proxy_connection_errors_total",
        "counter",
        "Client connections that broke, malformed requests included.",
    ),
    (
        Count::TlsHandshakes,
        "lath_proxy_tls_handshakes_total",
        "counter",
        "TLS handshakes completed with clients.",
    ),
    (
        Count::TlsErrors,
        "lath_proxy_tls_errors_total",
        "counter",
        "Client connections that ended in a TLS handshake, those for unknown names included.",
    ),
    (
        Count::ClientCertificatesRefused,
        "lath_proxy_client_certificates_refused_total",
        "counter",
        "TLS handshakes and requests that were refused for the client's certificate, or for want of one.",
    ),
    (
        Count::Stalled,
        "lath_proxy_stalled_total",
        "counter",
        "Client connections and streams that were ended because their answers were not read.",
    ),
    (
        Count::BufferedBytes,
        "lath_proxy_buffered_bytes",
        "gauge",
        "Bytes of heads and bodies that wait in memory.",
    ),
    (
        Count::Requests,
        "lath_proxy_requests_total",
        "counter",
        "Requests, those for unknown services included.",
    ),
    (
        Count::ActiveRequests,
        "lath_proxy_requests_in_flight",
        "gauge",
        "Requests in flight.",
    ),
    (
        Count::Retries,
        "lath_proxy_retries_total",
        "counter",
        "Requests sent again by a rule's traffic policy.",
    ),
    (
        Count::Copies,
        "lath_proxy_mirrored_total",
        "counter",
        "Copies of requests sent to groups that mirror them.",
    ),
    (
        Count::CopiesDropped,
        "lath_proxy_mirrored_dropped_total",
        "counter",
        "Copies of requests that were not sent, because of too many, or of too long a body.",
    ),
];

/// The counters as Prometheus text.
pub(crate) fn prometheus(state: &State, totals: &Counters) -> String {
    let mut text = String::new();
    let total = totals.read();
    for (count, name, kind, help) in TOTALS {
        family(&mut text, name, kind, help);
        line(&mut text, name, "", total.get(count));
    }
    let services: Vec<_> = sorted_by(state.services.values(), |slot| slot.id.as_str())
        .map(|slot| (format!("service=\"{}\"", slot.id), slot.counters.read()))
        .collect();
    requests(&mut text, "lath_service", "a service", &services);
    let groups: Vec<_> = sorted_by(state.groups.values(), |slot| slot.id.as_str())
        .map(|slot| {
            (
                format!("target_group=\"{}\"", slot.id),
                slot.counters.read(),
            )
        })
        .collect();
    requests(&mut text, "lath_target_group", "a target group", &groups);
    connections(&mut text, &groups);
    balancing(&mut text, state);
    limits(&mut text, state);
    text
}

fn sorted_by<'a, T: 'a>(
    slots: impl Iterator<Item = &'a Arc<T>>,
    key: impl Fn(&T) -> &str,
) -> impl Iterator<Item = &'a Arc<T>> {
    let mut slots: Vec<_> = slots.collect();
    slots.sort_by(|a, b| key(a).cmp(key(b)));
    slots.into_iter()
}

fn requests(text: &mut String, prefix: &str, of: &str, all: &[(String, Reading)]) {
    let name = format!("{prefix}_requests_total");
    family(
        text,
        &name,
        "counter",
        &format!("Requests of {of}, by class of status."),
    );
    for (label, reading) in all {
        let classes = [Count::Class2, Count::Class3, Count::Class4, Count::Class5];
        for (class, count) in (2..).zip(classes) {
            line(
                text,
                &name,
                &format!("{label},code=\"{class}xx\""),
                reading.get(count),
            );
        }
    }
    let name = format!("{prefix}_request_duration_seconds");
    family(
        text,
        &name,
        "histogram",
        &format!("Time from the head of {of}'s request to the last byte of its answer."),
    );
    for (label, reading) in all {
        histogram(text, &name, label, reading);
    }
}

fn histogram(text: &mut String, name: &str, label: &str, reading: &Reading) {
    let mut below = 0;
    for index in 0..BUCKETS {
        below += reading.times[index];
        // One line per power of two keeps the text short.
        if index % 4 == 3 && (3..80).contains(&index) {
            let power = i32::try_from(index / 4 + 5).unwrap_or(i32::MAX);
            let limit = 2_f64.powi(power) / 1e6;
            line(
                text,
                &format!("{name}_bucket"),
                &format!("{label},le=\"{limit}\""),
                below,
            );
        }
    }
    let count: u64 = reading.times.iter().sum();
    line(
        text,
        &format!("{name}_bucket"),
        &format!("{label},le=\"+Inf\""),
        count,
    );
    let seconds = reading.get(Count::Micros) as f64 / 1e6;
    let _ = writeln!(text, "{name}_sum{{{label}}} {seconds}");
    line(text, &format!("{name}_count"), label, count);
}

fn connections(text: &mut String, groups: &[(String, Reading)]) {
    for (count, name, kind, help) in [
        (
            Count::Connections,
            "lath_target_group_connections_total",
            "counter",
            "Connections attempted to targets.",
        ),
        (
            Count::ActiveConnections,
            "lath_target_group_connections_open",
            "gauge",
            "Connections open to targets.",
        ),
        (
            Count::RestingConnections,
            "lath_target_group_connections_resting",
            "gauge",
            "Connections open to targets that are idle and hold no buffers.",
        ),
        (
            Count::ConnectionErrors,
            "lath_target_group_connection_errors_total",
            "counter",
            "Connections to targets that failed.",
        ),
        (
            Count::TlsHandshakes,
            "lath_target_group_tls_handshakes_total",
            "counter",
            "TLS handshakes completed with targets.",
        ),
        (
            Count::TlsErrors,
            "lath_target_group_tls_errors_total",
            "counter",
            "TLS handshakes with targets that failed.",
        ),
        (
            Count::ActiveRequests,
            "lath_target_group_requests_in_flight",
            "gauge",
            "Requests in flight to targets.",
        ),
        (
            Count::BytesReceived,
            "lath_target_group_received_bytes_total",
            "counter",
            "Bytes from clients, heads included.",
        ),
        (
            Count::BytesSent,
            "lath_target_group_sent_bytes_total",
            "counter",
            "Bytes to clients, heads included.",
        ),
    ] {
        family(text, name, kind, help);
        for (label, reading) in groups {
            line(text, name, label, reading.get(count));
        }
    }
}

/// What circuit breakers and outlier detection did, of groups that have them.
fn balancing(text: &mut String, state: &State) {
    let groups: Vec<_> = sorted_by(state.groups.values(), |slot| slot.id.as_str())
        .filter(|slot| slot.members.load().policy.is_some())
        .collect();
    let label = |slot: &GroupSlot| format!("target_group=\"{}\"", slot.id);
    let name = "lath_target_group_circuit_breaker_level";
    family(
        text,
        name,
        "gauge",
        "What counts towards a limit of a target group's circuit breakers now.",
    );
    for slot in &groups {
        for limit in Limit::ALL {
            let labels = format!("{},limit=\"{}\"", label(slot), limit.name());
            line(text, name, &labels, slot.load.level(limit).into());
        }
    }
    let name = "lath_target_group_circuit_breaker_overflows_total";
    family(
        text,
        name,
        "counter",
        "What a limit of a target group's circuit breakers refused.",
    );
    for slot in &groups {
        for limit in Limit::ALL {
            let labels = format!("{},limit=\"{}\"", label(slot), limit.name());
            line(text, name, &labels, slot.load.overflows(limit));
        }
    }
    let name = "lath_target_group_targets_ejected";
    family(
        text,
        name,
        "gauge",
        "Targets that outlier detection leaves out.",
    );
    for slot in &groups {
        let members = slot.members.load();
        let ejected = members
            .known
            .values()
            .filter(|it| it.outlier.ejection().is_some());
        line(text, name, &label(slot), ejected.count() as u64);
    }
    let name = "lath_target_group_ejections_total";
    family(
        text,
        name,
        "counter",
        "Ejections of targets by outlier detection.",
    );
    for slot in &groups {
        for why in Why::ALL {
            let labels = format!("{},reason=\"{}\"", label(slot), why.name());
            line(text, name, &labels, slot.outliers.ejections(why));
        }
    }
}

/// What rate limits refused, by the limit's name, or its rule and place there.
fn limits(text: &mut String, state: &State) {
    let name = "lath_service_rate_limited_total";
    family(
        text,
        name,
        "counter",
        "Requests that a rate limit of a service refused.",
    );
    for slot in sorted_by(state.services.values(), |slot| slot.id.as_str()) {
        for (limit, limiter) in slot.limiters() {
            let labels = format!("service=\"{}\",limit=\"{limit}\"", slot.id);
            line(text, name, &labels, limiter.refused.load(Relaxed));
        }
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = if labels.is_empty() {
        writeln!(text, "{name} {value}")
    } else {
        writeln!(text, "{name}{{{labels}}} {value}")
    };
}
