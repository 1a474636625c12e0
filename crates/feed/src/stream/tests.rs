//! Both ends over a real socket, and each of them without the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lath_clock::Clock;
use lath_model::id::{InstanceId, PrefixListId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::message::Event;
use super::*;
use crate::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use crate::{ConsoleOutput, NodeId, NodeQueries, Observed, Placement, PrefixList, Snapshot};

mod limits;
mod machines;

const PATIENCE: Duration = Duration::from_secs(60);

fn list(id: &str, name: &str) -> (PrefixListId, Arc<PrefixList>) {
    let id: PrefixListId = id.parse().unwrap();
    let list = PrefixList {
        id: id.clone(),
        name: name.into(),
        cidrs: ["10.0.0.0/8".parse().unwrap()].into(),
    };
    (id, Arc::new(list))
}

fn snapshot(version: u64, lists: &[(&str, &str)]) -> Snapshot {
    Snapshot {
        version,
        region: "us-east-1".into(),
        account: "123456789012".into(),
        prefix_lists: lists.iter().map(|(id, name)| list(id, name)).collect(),
        ..Snapshot::default()
    }
}

const ONE: &str = "pl-00000000000000001";
const TWO: &str = "pl-00000000000000002";

#[test]
fn a_delta_carries_what_changed_and_leads_to_the_same_snapshot() {
    let old = snapshot(1, &[(ONE, "a"), (TWO, "b")]);
    for (name, new) in [
        ("nothing", snapshot(2, &[(ONE, "a"), (TWO, "b")])),
        ("one changed", snapshot(2, &[(ONE, "a"), (TWO, "c")])),
        ("one gone", snapshot(2, &[(TWO, "b")])),
        ("all gone", snapshot(2, &[])),
    ] {
        let mut new = new;
        new.share_with(&old);
        let delta = Delta::between(Some(&old), &new);
        let sent = frame::encode(&delta).unwrap();
        let read: Delta = frame::decode(&sent[4..]).unwrap();
        let next = read.apply(&old);
        assert_eq!(next, new, "{name}");
        for (id, list) in &next.prefix_lists {
            let known = old.prefix_lists.get(id).filter(|known| *known == list);
            assert!(known.is_none_or(|known| Arc::ptr_eq(known, list)), "{name}");
        }
        let whole = Delta::between(None, &new).apply(&snapshot(9, &[(ONE, "x")]));
        assert_eq!(whole, new, "{name}, from nothing");
    }
}

#[test]
fn only_a_map_that_the_version_before_did_not_know_may_be_missing() {
    let whole = Delta::between(None, &snapshot(1, &[]));
    let without = |map: &str| {
        let mut value = ciborium::Value::serialized(&whole).unwrap();
        let members = value.as_map_mut().unwrap();
        let all = members.len();
        members.retain(|(name, _)| name.as_text() != Some(map));
        assert_eq!(members.len() + 1, all, "{map}");
        value.deserialized::<Delta>().is_ok()
    };
    for (map, taken) in [("workloads", true), ("instances", false), ("vpcs", false)] {
        assert_eq!(without(map), taken, "{map}");
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let good = frame::encode(&Delta::between(None, &snapshot(1, &[]))).unwrap();
    let body = &good[4..];
    assert!(frame::decode::<Delta>(body).is_ok());
    assert!(
        frame::decode::<Delta>(&body[..body.len() - 1]).is_err(),
        "cut"
    );
    assert!(
        frame::decode::<Delta>(&[body, &[0]].concat()).is_err(),
        "more"
    );
    assert!(frame::decode::<Delta>(&[0xff; 16]).is_err(), "junk");
    assert!(frame::body_length([0xff; 4]).is_err(), "too long");
    let length = u32::try_from(MAX_FRAME).unwrap();
    assert!(frame::body_length(length.to_be_bytes()).is_ok());
}

#[test]
fn a_kept_snapshot_is_read_back_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot-of-local");
    let kept = SnapshotFile::at(&path);
    assert_eq!(kept.load("us-east-1"), None, "absent");
    let saved = snapshot(7, &[(ONE, "a")]);
    kept.save(&saved).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    assert_eq!(kept.load("us-east-1"), Some(saved));
    assert_eq!(kept.load("us-west-2"), None, "another region's");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(kept.load("us-east-1"), None, "half");
    std::fs::write(&path, b"").unwrap();
    assert_eq!(kept.load("us-east-1"), None, "empty");
}

#[test]
fn an_outbox_keeps_what_was_not_sent() {
    let outbox = Outbox::default();
    outbox.metric(sample("first"));
    outbox.metric(sample("second"));
    let names = |events: &[Event]| -> Vec<String> {
        let name = |event: &Event| match event {
            Event::Metric(sample) => sample.name.clone(),
            Event::AccessLog(record) => record.path.clone(),
            Event::LogLines(lines) => lines.stream.clone(),
        };
        events.iter().map(name).collect()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let batch = outbox.next().await;
        assert_eq!(names(&batch.events), ["first", "second"]);
        drop(batch);
        outbox.metric(sample("third"));
        let batch = outbox.next().await;
        assert_eq!(names(&batch.events), ["first", "second", "third"]);
        batch.taken();
    });
    assert_eq!(outbox.dropped(), 0);
}

fn sample(name: &str) -> MetricSample {
    MetricSample {
        namespace: "AWS/VpcLattice".into(),
        name: name.into(),
        dimensions: vec![("Service".into(), "svc".into())],
        unit: "Count",
        at: Clock::system().now(),
        count: 1.0,
        sum: 1.0,
        min: 1.0,
        max: 1.0,
        values: vec![(1.0, 1.0)],
    }
}

fn record(path: &str) -> AccessLog {
    AccessLog {
        destinations: vec!["arn:aws:logs:us-east-1:123456789012:log-group:a".into()],
        start_time: Clock::system().now(),
        request_id: "r".into(),
        service_network_arn: None,
        service_arn: None,
        listener: None,
        target_group_arn: None,
        source_vpc: "vpc-00000000000000001".parse().unwrap(),
        source_vpc_arn: String::new(),
        destination_vpc: None,
        source: "10.0.0.1:1".parse().unwrap(),
        target: None,
        host: None,
        method: "GET".into(),
        path: path.into(),
        user_agent: None,
        protocol: "HTTP/1.1",
        tls_version: Some("TLSv1.3"),
        ssl_cipher: Some("TLS_AES_128_GCM_SHA256"),
        server_name: Some("web.test".into()),
        auth_denied_by: None,
        resolved_user: None,
        caller_principal: None,
        caller_tags: Default::default(),
        response_code: 200,
        grpc_response_code: None,
        failure_reason: Some("TargetConnectionError"),
        bytes_received: 0,
        bytes_sent: 0,
        duration_ms: 0,
        request_to_target_ms: 0,
        response_from_target_ms: 0,
        rule: None,
    }
}

/// What a sink took.
#[derive(Debug, Default)]
struct Taken(Mutex<Vec<String>>);

impl Sink for Taken {
    fn access_log(&self, record: AccessLog) {
        let text = format!("{} {:?}", record.path, record.failure_reason);
        self.0.lock().unwrap().push(text);
    }

    fn log_lines(&self, lines: LogLines) {
        self.0.lock().unwrap().push(lines.stream);
    }

    fn metric(&self, sample: MetricSample) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{} {}", sample.name, sample.unit));
    }
}

struct Console;

#[async_trait]
impl NodeQueries for Console {
    async fn console_output(&self, instance: &InstanceId) -> Option<ConsoleOutput> {
        Some(ConsoleOutput {
            bytes: instance.as_str().into(),
            at: Clock::system().now(),
        })
    }
}

/// Control's end, until it is dropped: then it is as if killed.
struct ControlEnd {
    place: watch::Sender<Placement>,
    publish: watch::Sender<Arc<Snapshot>>,
    observed: watch::Receiver<Arc<Observed>>,
    node: RemoteNodes,
    taken: Arc<Taken>,
    task: JoinHandle<()>,
}

impl ControlEnd {
    fn start(socket: &Path, first: Snapshot) -> Self {
        Self::at(Listener::Socket(listen(socket).unwrap()), first)
    }

    fn at(listener: Listener, first: Snapshot) -> Self {
        let (publish, snapshots) = watch::channel(Arc::new(first));
        let (tx, observed) = watch::channel(Arc::default());
        let (place, placement) = watch::channel(Placement::default());
        let node = RemoteNodes::default();
        let taken = Arc::new(Taken::default());
        let task = tokio::spawn(serve(
            vec![listener],
            node.clone(),
            snapshots,
            placement,
            tx,
            Arc::clone(&taken) as Arc<_>,
            CancellationToken::new(),
        ));
        Self {
            place,
            publish,
            observed,
            node,
            taken,
            task,
        }
    }

    async fn has(&self, text: &str) {
        let has = || self.taken.0.lock().unwrap().iter().any(|it| it == text);
        let wait = async {
            while !has() {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect(text);
    }
}

impl Drop for ControlEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A node's end, until it is dropped.
struct NodeEnd {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    source: watch::Receiver<Source>,
    observe: watch::Sender<Arc<Observed>>,
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
}

impl NodeEnd {
    fn start(directory: &Path) -> Self {
        let control = Address::Socket(directory.join("feed.sock"));
        Self::at(control, NodeId::default(), directory)
    }

    /// One whose instances are asked for here.
    fn asked(directory: &Path, queries: Arc<dyn NodeQueries>) -> Self {
        let control = Address::Socket(directory.join("feed.sock"));
        Self::with(control, NodeId::default(), directory, queries)
    }

    fn at(control: Address, node: NodeId, directory: &Path) -> Self {
        Self::with(control, node, directory, Arc::new(Console))
    }

    fn with(
        control: Address,
        node: NodeId,
        directory: &Path,
        queries: Arc<dyn NodeQueries>,
    ) -> Self {
        let (tx, snapshots) = watch::channel(Arc::default());
        let (source_tx, source) = watch::channel(Source::Nothing);
        let (observe, observed) = watch::channel(Arc::default());
        let outbox = Arc::new(Outbox::default());
        let metrics: Metrics = Arc::new(|| "counted 1\n".into());
        let follower = Follower {
            control,
            region: "us-east-1".into(),
            kept: SnapshotFile::at(&directory.join(format!("snapshot-of-{node}"))),
            node,
            snapshots: tx,
            source: source_tx,
            observed,
            outbox: Arc::clone(&outbox),
            queries,
            metrics: watch::channel(Some(metrics)).1,
        };
        let task = tokio::spawn(follower.run(CancellationToken::new()));
        Self {
            snapshots,
            source,
            observe,
            outbox,
            task,
        }
    }

    async fn obeys(&mut self, version: u64) -> Arc<Snapshot> {
        let newest = self.snapshots.wait_for(|it| it.version == version);
        let newest = tokio::time::timeout(PATIENCE, newest).await;
        Arc::clone(&newest.expect("a snapshot").unwrap())
    }
}

impl Drop for NodeEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn applied(version: u64) -> Arc<Observed> {
    Arc::new(Observed {
        applied_version: version,
        vpcs: BTreeMap::new(),
        ..Observed::default()
    })
}

async fn heard(control: &mut ControlEnd, version: u64) {
    let newest = control
        .observed
        .wait_for(|it| it.applied_version == version);
    let newest = tokio::time::timeout(PATIENCE, newest).await;
    drop(newest.expect("an observation").unwrap());
}

#[tokio::test]
async fn snapshots_go_down_and_observations_telemetry_and_answers_come_up() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    // The node first: control is waited for.
    let mut node = NodeEnd::start(directory.path());
    let mut control = ControlEnd::start(&socket, snapshot(1, &[(ONE, "a")]));
    let first = node.obeys(1).await;
    assert_eq!(*node.source.borrow(), Source::Control);
    let mut next = snapshot(2, &[(ONE, "a"), (TWO, "b")]);
    next.share_with(&control.publish.borrow());
    control.publish.send_replace(Arc::new(next.clone()));
    let second = node.obeys(2).await;
    assert_eq!(*second, next);
    let id: PrefixListId = ONE.parse().unwrap();
    assert!(Arc::ptr_eq(
        &first.prefix_lists[&id],
        &second.prefix_lists[&id]
    ));

    node.observe.send_replace(applied(2));
    heard(&mut control, 2).await;
    node.outbox.access_log(record("/a"));
    node.outbox.metric(sample("Requests"));
    control.has("/a Some(\"TargetConnectionError\")").await;
    control.has("Requests Count").await;
    let instance: InstanceId = "i-00000000000000001".parse().unwrap();
    let console = control.node.console_output(&instance).await.unwrap();
    assert_eq!(console.bytes, instance.as_str().as_bytes());
    let (of, metrics) = control.node.metrics().await.remove(0);
    assert_eq!(of, NodeId::default());
    assert!(metrics.starts_with("counted 1\n"), "{metrics}");
}

#[tokio::test]
async fn either_end_may_die_and_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    let mut node = NodeEnd::start(directory.path());
    let control = ControlEnd::start(&socket, snapshot(1, &[(ONE, "a")]));
    let before = node.obeys(1).await;
    node.observe.send_replace(applied(1));
    drop(control);
    // What happens while control is away is reported when it is back; its absence is no empty snapshot.
    node.outbox.metric(sample("Meanwhile"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(Arc::ptr_eq(&before, &node.snapshots.borrow()));

    let mut control = ControlEnd::start(&socket, snapshot(5, &[(ONE, "a"), (TWO, "b")]));
    let after = node.obeys(5).await;
    let id: PrefixListId = ONE.parse().unwrap();
    assert!(Arc::ptr_eq(
        &before.prefix_lists[&id],
        &after.prefix_lists[&id]
    ));
    heard(&mut control, 1).await;
    control.has("Meanwhile Count").await;

    drop(node);
    control.publish.send_replace(Arc::new(snapshot(6, &[])));
    let mut node = NodeEnd::start(directory.path());
    assert_eq!(*node.obeys(6).await, snapshot(6, &[]));
    // A predecessor's observation stands until there is a better one.
    assert_eq!(control.observed.borrow().applied_version, 1);
    node.observe.send_replace(applied(6));
    heard(&mut control, 6).await;
}

#[tokio::test]
async fn a_node_starts_from_disk_only_when_control_does_not_come() {
    let directory = tempfile::tempdir().unwrap();
    SnapshotFile::at(&directory.path().join("snapshot-of-local"))
        .save(&snapshot(3, &[(ONE, "kept")]))
        .unwrap();
    let mut node = NodeEnd::start(directory.path());
    assert_eq!(*node.source.borrow(), Source::Nothing);
    assert_eq!(*node.obeys(3).await, snapshot(3, &[(ONE, "kept")]));
    assert_eq!(*node.source.borrow(), Source::Disk);
    let socket = directory.path().join("feed.sock");
    let _control = ControlEnd::start(&socket, snapshot(4, &[]));
    node.obeys(4).await;
    let source = node.source.wait_for(|it| *it == Source::Control);
    tokio::time::timeout(PATIENCE, source)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn control_hears_nobody_else_and_asks_nobody_absent() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    let control = ControlEnd::start(&socket, snapshot(1, &[]));
    assert_eq!(control.node.metrics().await, [], "there is no node");
    for said in [
        frame::encode(&Up::Hello {
            region: "us-west-2".into(),
            node: NodeId::default(),
        })
        .unwrap(),
        frame::encode(&Up::Observed(applied(9))).unwrap(),
        vec![0xff; 64],
        Vec::new(),
    ] {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &said)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut stream)
            .await
            .unwrap();
        let mut answer = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
        // Hung up on, with or without what was not read.
        let _ = tokio::time::timeout(PATIENCE, end).await.expect("an end");
        assert!(answer.is_empty());
    }
    assert_eq!(**control.observed.borrow(), Observed::default());
}

#[tokio::test]
async fn silence_and_strangers_do_not_take_the_nodes_place() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    let mut node = NodeEnd::start(directory.path());
    let mut control = ControlEnd::start(&socket, snapshot(1, &[]));
    node.obeys(1).await;
    let mut strangers = Vec::new();
    for said in [&b""[..], &[0, 0], &[0xff; 64]] {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, said)
            .await
            .unwrap();
        strangers.push(stream);
    }
    control.publish.send_replace(Arc::new(snapshot(2, &[])));
    node.obeys(2).await;
    node.observe.send_replace(applied(2));
    heard(&mut control, 2).await;
    assert!(control.node.is_connected());
}
