//! A proxy on loopback, scripted targets and clients that send exact bytes.

pub(crate) mod target;
pub(crate) mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use lath_feed::{Condition, Snapshot};
use lath_health::HealthView;
use lath_net::HostNetwork;
use lath_proxy::{Proxy, ProxyConfig, ProxyHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(crate) use target::{Target, ok};
pub(crate) use world::World;

/// Generous: nothing waits this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Remembers the telemetry that it gets.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) logs: Mutex<Vec<AccessLog>>,
    pub(crate) metrics: Mutex<Vec<MetricSample>>,
    pub(crate) lines: Mutex<Vec<LogLines>>,
}

impl Sink for Memory {
    fn access_log(&self, record: AccessLog) {
        self.logs.lock().unwrap().push(record);
    }

    fn log_lines(&self, lines: LogLines) {
        self.lines.lock().unwrap().push(lines);
    }

    fn metric(&self, sample: MetricSample) {
        self.metrics.lock().unwrap().push(sample);
    }
}

impl Memory {
    /// The sum of a metric over all samples with exactly these dimensions.
    pub(crate) fn sum(&self, name: &str, dimensions: &[(&str, &str)]) -> f64 {
        let wanted = |sample: &&MetricSample| {
            sample.name == name
                && sample.dimensions.len() == dimensions.len()
                && dimensions
                    .iter()
                    .all(|(k, v)| sample.dimensions.iter().any(|(n, w)| n == k && w == v))
        };
        self.metrics
            .lock()
            .unwrap()
            .iter()
            .filter(wanted)
            .map(|sample| sample.sum)
            .sum()
    }
}

/// A running proxy and the snapshots that it gets.
pub(crate) struct Lab {
    pub(crate) handle: ProxyHandle,
    pub(crate) sink: Arc<Memory>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    health: watch::Sender<Arc<HealthView>>,
}

/// One thread and quick ticks.
pub(crate) fn config() -> ProxyConfig {
    ProxyConfig {
        tick: Duration::from_millis(20),
        flush: Duration::from_millis(50),
        connect_timeout: Duration::from_secs(5),
        ..ProxyConfig::default()
    }
}

impl Lab {
    /// Starts and waits until every listener of the world is bound.
    pub(crate) async fn start(config: ProxyConfig, world: &World) -> Self {
        let (snapshots, snapshot) = watch::channel(Arc::new(world.snapshot.clone()));
        let (health, view) = watch::channel(Arc::new(world.health.clone()));
        let sink = Arc::new(Memory::default());
        let (network, telemetry) = (Arc::new(HostNetwork), Arc::clone(&sink));
        let handle = Proxy::start(config, network, snapshot, view, telemetry).unwrap();
        let lab = Self {
            handle,
            sink,
            snapshots,
            health,
        };
        lab.ready(world.snapshot.version).await;
        lab
    }

    /// Tells a changed world (its version grows) and waits until it is obeyed.
    pub(crate) async fn apply(&self, world: &mut World) {
        world.snapshot.version += 1;
        self.health.send_replace(Arc::new(world.health.clone()));
        let mut snapshot = world.snapshot.clone();
        snapshot.share_with(&self.snapshots.borrow().clone());
        self.snapshots.send_replace(Arc::new(snapshot));
        self.ready(world.snapshot.version).await;
    }

    /// Waits until every service is ready as of this version.
    pub(crate) async fn ready(&self, version: u64) {
        let services = self.snapshots.borrow().services.len();
        let mut observed = self.handle.observed();
        let all = observed.wait_for(|observed| {
            observed.version >= version
                && observed.services.len() == services
                && observed
                    .services
                    .values()
                    .all(|c| matches!(c, Condition::Ready { .. }))
        });
        tokio::time::timeout(PATIENCE, all)
            .await
            .expect("ready in time")
            .unwrap();
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An address of 127/8 that no other test uses, and a port.
pub(crate) fn place() -> (Ipv4Addr, u16) {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = (std::process::id() % 200 + 20) as u8;
    let address = Ipv4Addr::new(127, process, (next >> 8) as u8, next as u8);
    let probe = std::net::TcpListener::bind((address, 0)).unwrap();
    (address, probe.local_addr().unwrap().port())
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

/// A header's first value in a head as text.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Sends bytes and reads until the other side closes.
pub(crate) async fn send_raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        // A refusal may end the connection before all is written.
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 8192];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let both = async {
        tokio::select! { () = reading => {}, () = writing => {} }
    };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("an answer in time");
    Answer::parse(&answer)
}

/// A GET on a connection of its own.
pub(crate) async fn get(to: SocketAddr, host: &str, path: &str) -> Answer {
    request(to, host, "GET", path, "").await
}

/// A request without body on a connection of its own; headers end with CR LF each.
pub(crate) async fn request(
    to: SocketAddr,
    host: &str,
    method: &str,
    path: &str,
    headers: &str,
) -> Answer {
    let text =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    send_raw(to, text.as_bytes()).await
}

pub(crate) async fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    let from = SocketAddr::new(address.parse().unwrap(), 0);
    socket.bind(from).unwrap();
    socket.connect(to).await.unwrap()
}

/// A keep-alive connection that reads answers with Content-Length.
pub(crate) struct Client {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(to).await.unwrap(),
            rest: Vec::new(),
        }
    }

    /// From this address.
    pub(crate) async fn from(address: &str, to: SocketAddr) -> Self {
        Self {
            stream: connect_from(address, to).await,
            rest: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// `None`: the connection was closed before a whole answer came.
    pub(crate) async fn ask(&mut self, text: &str) -> Option<Answer> {
        self.stream.write_all(text.as_bytes()).await.ok()?;
        self.read().await
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Option<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }

    pub(crate) async fn read(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = self
                .rest
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
                if self.rest.len() >= end + 4 + length {
                    let answer = Answer::parse(&self.rest[..end + 4 + length]);
                    self.rest.drain(..end + 4 + length);
                    return Some(answer);
                }
            }
            let read = self.stream.read_buf(&mut self.rest);
            match tokio::time::timeout(PATIENCE, read)
                .await
                .expect("bytes in time")
            {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Waits until the other side closes.
    pub(crate) async fn closed(mut self) {
        while self.read().await.is_some() {}
    }
}
