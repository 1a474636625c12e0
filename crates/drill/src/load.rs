//! Open-loop load: requests begin on schedule, whether or not earlier ones have ended. Latency counts from the
//! scheduled time, so that a slow response cannot hide delayed requests (coordinated omission).

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{Target, lookup, monotonic_ns};

/// Requests in flight at most. Further requests fail at once with that reason.
const IN_FLIGHT: usize = 20_000;
/// The largest body that is read, in bytes.
const LARGEST_BODY: usize = 1 << 20;
/// The highest rate, in requests per second.
pub const FASTEST: u32 = 10_000;

/// The parameters of a load.
#[derive(Debug, Clone)]
pub struct Load {
    /// The target of the requests.
    pub target: Target,
    /// Requests per second, from 1 to [`FASTEST`].
    pub rate: u32,
    /// The time limit of a request, including name resolution.
    pub timeout: Duration,
    /// The DNS server that resolves names.
    pub resolver: SocketAddr,
    /// The client's network namespace; `None` is this process's.
    pub netns: Option<PathBuf>,
}

/// The outcome of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The scheduled start, by [`crate::monotonic_ns`].
    pub at_ns: u64,
    /// From the scheduled start until the outcome, in nanoseconds.
    pub took_ns: u64,
    /// Why it failed; `None` for a success.
    pub error: Option<String>,
    /// The address that responded, or the addresses that the name resolved to.
    pub answer: Option<String>,
}

/// A running load. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts the load on its own thread.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the thread cannot be started.
    pub fn start(self) -> io::Result<Running> {
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (said, started) = std::sync::mpsc::channel();
        let (into, until) = (Arc::clone(&samples), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("lath-drill-load".into())
            .spawn(move || match self.enter() {
                Ok(runtime) => {
                    let _ = said.send(Ok(()));
                    let set = tokio::task::LocalSet::new();
                    set.block_on(&runtime, self.ask(into, until));
                }
                Err(error) => drop(said.send(Err(error))),
            })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Running {
            samples,
            stop,
            thread: Some(thread),
        })
    }

    fn enter(&self) -> io::Result<tokio::runtime::Runtime> {
        if let Some(path) = &self.netns {
            setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
        }
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    }

    async fn ask(self, samples: Arc<Mutex<Vec<Sample>>>, stop: Arc<AtomicBool>) {
        let pause = Duration::from_secs(1) / self.rate.clamp(1, FASTEST);
        let (begin, begin_ns) = (Instant::now(), monotonic_ns());
        let (load, in_flight) = (Rc::new(self), Rc::new(AtomicUsize::new(0)));
        let mut turn: u32 = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = pause * turn;
            sleep_until(begin + due).await;
            let at_ns = begin_ns + u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
            turn += 1;
            let (load, samples) = (Rc::clone(&load), Arc::clone(&samples));
            let flying = Rc::clone(&in_flight);
            if flying.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT {
                flying.fetch_sub(1, Ordering::Relaxed);
                push(&samples, at_ns, Err("too many requests in flight".into()));
                continue;
            }
            tokio::task::spawn_local(async move {
                let outcome = load.one().await;
                flying.fetch_sub(1, Ordering::Relaxed);
                push(&samples, at_ns, outcome);
            });
        }
        // Requests in flight still count: wait for them.
        let end = Instant::now() + load.timeout + Duration::from_millis(100);
        while in_flight.load(Ordering::Relaxed) > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn one(&self) -> Result<String, String> {
        let request = async {
            match &self.target {
                Target::Dns { name } => self.question(name).await,
                Target::Http { host, port, path } => self.get(host, *port, path).await,
            }
        };
        let late = || format!("no answer within {} ms", self.timeout.as_millis());
        timeout(self.timeout, request).await.map_err(|_| late())?
    }

    async fn question(&self, name: &str) -> Result<String, String> {
        let found = lookup::addresses(self.resolver, name).await;
        let found = found.map_err(|error| error.to_string())?;
        if found.is_empty() {
            return Err("the name has no address".into());
        }
        Ok(found
            .iter()
            .map(Ipv4Addr::to_string)
            .collect::<Vec<_>>()
            .join(" "))
    }

    async fn get(&self, host: &str, port: u16, path: &str) -> Result<String, String> {
        let address = self.resolve(host).await?;
        let stream = TcpStream::connect(SocketAddrV4::new(address, port)).await;
        let stream = stream.map_err(|error| format!("connect: {}", error.kind()))?;
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut client, connection) = connection.map_err(|error| error.to_string())?;
        let driver = tokio::task::spawn_local(connection);
        let authority = if port == 80 {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let request = http::Request::get(path)
            .header(http::header::HOST, authority)
            .header(http::header::USER_AGENT, "lath-drill")
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let outcome = exchange(&mut client, request).await;
        driver.abort();
        outcome.map(|()| address.to_string())
    }

    async fn resolve(&self, host: &str) -> Result<Ipv4Addr, String> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        let found = lookup::addresses(self.resolver, host).await;
        let found = found.map_err(|error| format!("resolve: {error}"))?;
        found
            .first()
            .copied()
            .ok_or_else(|| "the name has no address".into())
    }
}

async fn exchange(
    client: &mut hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    request: http::Request<Empty<Bytes>>,
) -> Result<(), String> {
    let response = client.send_request(request).await;
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_BODY)
        .collect()
        .await;
    body.map_err(|_| "the body broke off".to_owned())?;
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("status {}", status.as_u16()))
    }
}

fn push(samples: &Mutex<Vec<Sample>>, at_ns: u64, outcome: Result<String, String>) {
    let took_ns = monotonic_ns().saturating_sub(at_ns);
    let (answer, error) = match outcome {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error)),
    };
    let sample = Sample {
        at_ns,
        took_ns,
        error,
        answer,
    };
    samples
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(sample);
}

impl Running {
    /// The requests scheduled since `from_ns` that have ended, in no order.
    pub fn since(&self, from_ns: u64) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples
            .iter()
            .filter(|s| s.at_ns >= from_ns)
            .cloned()
            .collect()
    }

    /// Stops the schedule, waits for requests in flight, and returns all samples in scheduled order.
    pub fn stop(mut self) -> Vec<Sample> {
        self.end();
        let mut samples =
            std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_by_key(|sample| sample.at_ns);
        samples
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// A server that answers each connection with the next status, in rotation.
    fn server(statuses: &'static [&'static str]) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (stream, status) in listener.incoming().zip(statuses.iter().cycle()) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        at
    }

    fn load(target: String) -> Load {
        Load {
            target: target.parse().unwrap(),
            rate: 200,
            timeout: Duration::from_secs(30),
            resolver: SocketAddr::from(([127, 0, 0, 1], 9)),
            netns: None,
        }
    }

    fn until(running: &Running, enough: usize) {
        while running.since(0).len() < enough {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn successes_and_failures_are_told_apart() {
        let running = load(format!("http://{}/", server(&["200 OK", "503 No"])))
            .start()
            .unwrap();
        until(&running, 20);
        let samples = running.stop();
        assert!(samples.is_sorted_by_key(|sample| sample.at_ns));
        let failed = samples
            .iter()
            .filter(|s| s.error.as_deref() == Some("status 503"));
        let good = samples
            .iter()
            .filter(|s| s.answer.as_deref() == Some("127.0.0.1"));
        assert!(failed.count() > 0 && good.count() > 0, "{samples:?}");
    }

    #[test]
    fn who_does_not_listen_is_an_error_and_not_a_stall() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        let running = load(format!("http://{at}/")).start().unwrap();
        until(&running, 3);
        let samples = running.stop();
        assert!(samples.iter().all(|s| s.error.is_some()), "{samples:?}");
    }
}
