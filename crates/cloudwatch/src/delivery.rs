//! What data planes report: access logs and lines of other logs become events of log groups, samples become metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use lath_store::StoreError;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::CloudWatch;
use crate::logs::events::Append;
use crate::logs::group_name_of;
use crate::metrics::{Bucket, Datum, Series};
use crate::records::LogGroup;

/// Records waiting to be written; beyond it new ones are dropped and counted.
const QUEUE: usize = 50_000;
/// Bytes of lines that wait: programs write them as fast as they like.
const QUEUED_BYTES: usize = 64 << 20;
/// Records written in one transaction.
const BATCH: usize = 5_000;

/// The sink of one region. Never blocks.
pub struct Delivery {
    cloudwatch: Arc<CloudWatch>,
    queue: mpsc::Sender<Waiting>,
    /// Of lines in the queue.
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// What waits to be written.
enum Waiting {
    Request(Box<AccessLog>),
    Lines(LogLines),
}

/// An empty line takes room as well.
fn weight(lines: &LogLines) -> usize {
    lines.lines.iter().map(|line| line.len() + 32).sum()
}

/// What is left to run: writes what the sink takes.
pub struct Writer {
    delivery: Arc<Delivery>,
    queue: mpsc::Receiver<Waiting>,
}

impl Delivery {
    /// A sink, and the writer that must be run for it.
    pub fn new(cloudwatch: Arc<CloudWatch>) -> (Arc<Self>, Writer) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let delivery = Arc::new(Self {
            cloudwatch,
            queue: sender,
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        });
        (Arc::clone(&delivery), Writer { delivery, queue })
    }

    fn wait(&self, waiting: Waiting) {
        if self.queue.try_send(waiting).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Access log records dropped since start because the queue was full, their group is gone, or the
    /// archive could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Sink for Delivery {
    fn access_log(&self, record: AccessLog) {
        self.wait(Waiting::Request(Box::new(record)));
    }

    fn log_lines(&self, lines: LogLines) {
        let bytes = weight(&lines);
        let queued = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued.saturating_add(bytes) <= QUEUED_BYTES
            && self.queue.try_send(Waiting::Lines(lines)).is_ok()
        {
            return;
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn metric(&self, sample: MetricSample) {
        let mut bucket = Bucket::empty(sample.unit);
        let set = (sample.count, sample.sum, sample.min, sample.max);
        if sample.values.is_empty() {
            bucket.add_set(set.0, set.1, set.2, set.3);
        } else {
            bucket.add_values(set, &sample.values);
        }
        let mut dimensions = sample.dimensions;
        dimensions.sort();
        let series = Series {
            namespace: sample.namespace,
            name: sample.name,
            dimensions,
            unit: sample.unit.to_owned(),
            last: sample.at,
        };
        let at_seconds = u64::try_from(sample.at.as_millis() / 1000).unwrap_or(0);
        self.cloudwatch.archive.add_pending(Datum {
            series,
            resolution: 60,
            at_seconds,
            bucket,
        });
    }
}

impl Writer {
    /// Writes until `stop`, then writes what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        let mut flush = tokio::time::interval(Duration::from_secs(1));
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = flush.tick() => self.flush_metrics().await,
                taken = self.queue.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.write(std::mem::take(&mut batch)).await;
                }
            }
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.write(std::mem::take(&mut batch)).await;
        }
        self.flush_metrics().await;
    }

    async fn flush_metrics(&self) {
        let archive = Arc::clone(&self.delivery.cloudwatch.archive);
        let flushed = tokio::task::spawn_blocking(move || archive.flush()).await;
        if let Ok(Err(error)) = flushed {
            tracing::debug!(%error, "metrics could not be written yet");
        }
    }

    async fn write(&self, waiting: Vec<Waiting>) {
        let (mut records, mut lines) = (Vec::new(), Vec::new());
        for it in waiting {
            match it {
                Waiting::Request(record) => records.push(*record),
                Waiting::Lines(some) => {
                    let bytes = weight(&some);
                    self.delivery.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    lines.push(some);
                }
            }
        }
        let groups: BTreeSet<&str> = lines.iter().map(|it| it.group.as_str()).collect();
        self.make_groups(groups).await;
        let mut appends = self.appends(records);
        appends.extend(self.appends_of_lines(lines));
        let events: usize = appends.iter().map(|append| append.events.len()).sum();
        let archive = Arc::clone(&self.delivery.cloudwatch.archive);
        let now = self.delivery.cloudwatch.cell.now().as_millis();
        let written = tokio::task::spawn_blocking(move || archive.append(&appends, now)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(%error, events, "access logs could not be written");
            let events = u64::try_from(events).unwrap_or(u64::MAX);
            self.delivery.dropped.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// Groups of programs' logs are made as AWS's services make theirs: when something is to be written.
    async fn make_groups(&self, groups: BTreeSet<&str>) {
        let db = &self.delivery.cloudwatch.cell.db;
        let view = db.view();
        let missing = groups
            .into_iter()
            .filter(|it| view.get::<LogGroup>(it).is_none());
        for name in missing.map(str::to_owned) {
            let made = db.write(|tx| {
                if tx.get::<LogGroup>(&name).is_none() {
                    tx.put(LogGroup {
                        name: name.clone(),
                        uid: rand::random(),
                        created_at: tx.now(),
                        retention_days: None,
                        tags: BTreeMap::new(),
                        deletion_protected: false,
                    });
                }
                Ok::<_, StoreError>(())
            });
            if let Err(error) = made.await {
                tracing::debug!(%error, name, "a log group could not be made");
            }
        }
    }

    fn appends_of_lines(&self, lines: Vec<LogLines>) -> Vec<Append> {
        let view = self.delivery.cloudwatch.cell.db.view();
        let append = |lines: LogLines| {
            let Some(group) = view.get::<LogGroup>(&lines.group) else {
                self.delivery.dropped.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            let at = lines.at.as_millis();
            Some(Append {
                group: group.uid,
                stream: lines.stream,
                events: lines.lines.into_iter().map(|line| (at, line)).collect(),
                make_stream: true,
            })
        };
        lines.into_iter().filter_map(append).collect()
    }

    /// One append per group and service.
    fn appends(&self, records: Vec<AccessLog>) -> Vec<Append> {
        let view = self.delivery.cloudwatch.cell.db.view();
        let mut by_stream = BTreeMap::<(u64, String), Vec<(i64, String)>>::new();
        for record in records {
            let text = print(&record).to_string();
            for destination in &record.destinations {
                let Some(group) = view.get::<LogGroup>(group_name_of(destination)) else {
                    self.delivery.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let event = (record.start_time.as_millis(), text.clone());
                by_stream
                    .entry((group.uid, stream_name(&record)))
                    .or_default()
                    .push(event);
            }
        }
        let append = |((group, stream), events)| Append {
            group,
            stream,
            events,
            make_stream: true,
        };
        by_stream.into_iter().map(append).collect()
    }
}

/// One stream per service.
fn stream_name(record: &AccessLog) -> String {
    let service = record
        .service_arn
        .as_deref()
        .and_then(|arn| arn.rsplit('/').next());
    format!("VpcLatticeAccessLogs_{}", service.unwrap_or("unknown"))
}

/// As JSON, in which AWS's records have them.
fn tags(record: &AccessLog) -> Option<String> {
    let tags = Some(&record.caller_tags).filter(|tags| !tags.is_empty())?;
    serde_json::to_string(tags).ok()
}

/// AWS's record (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/monitoring-access-logs.html>); what is
/// absent is `-`.
fn print(record: &AccessLog) -> Value {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    json!({
        "serviceNetworkArn": or_dash(record.service_network_arn.clone()),
        "serviceArn": or_dash(record.service_arn.clone()),
        "listenerId": or_dash(record.listener.as_ref().map(ToString::to_string)),
        "targetGroupArn": or_dash(record.target_group_arn.clone()),
        "sourceVpcArn": record.source_vpc_arn,
        "sourceVpcId": record.source_vpc,
        "destinationVpcId": or_dash(record.destination_vpc.as_ref().map(ToString::to_string)),
        "sourceIpPort": record.source.to_string(),
        "targetIpPort": or_dash(record.target.map(|target| target.to_string())),
        "hostHeader": or_dash(record.host.clone()),
        "requestMethod": record.method,
        "requestPath": record.path,
        "userAgent": or_dash(record.user_agent.clone()),
        "protocol": record.protocol,
        "tlsVersion": record.tls_version.unwrap_or("-"),
        "sslCipher": record.ssl_cipher.unwrap_or("-"),
        "serverNameIndication": or_dash(record.server_name.clone()),
        "resolvedUser": record.resolved_user.as_deref().unwrap_or("null"),
        "authDeniedReason": or_dash(record.auth_denied_by.map(str::to_owned)),
        "callerPrincipal": or_dash(record.caller_principal.clone()),
        "callerPrincipalTags": or_dash(tags(record)),
        "responseCode": record.response_code,
        "grpcResponseCode": record.grpc_response_code.map_or_else(|| json!("-"), Value::from),
        "failureReason": or_dash(record.failure_reason.map(str::to_owned)),
        "bytesReceived": record.bytes_received,
        "bytesSent": record.bytes_sent,
        "startTime": record.start_time.iso8601_seconds(),
        "duration": record.duration_ms,
        "requestToTargetDuration": record.request_to_target_ms,
        "responseFromTargetDuration": record.response_from_target_ms,
        "requestId": record.request_id,
    })
}
