//! The data plane: carries requests from clients in VPCs to targets, as a snapshot says.
//!
//! Thread per core: each thread has its listening sockets, connections and pools, and shares with the
//! others only the compiled state (replaced as a whole) and counters that it alone writes. The path of a
//! request is one list, `exchange`; hyper reads and writes HTTP beneath it.
//!
//! Not here: health checks (`lath-health`), names (`lath-dns`), the security groups of associations (the
//! fabric drops what they do not allow before it arrives).

mod account;
mod auth;
mod breaker;
mod callers;
mod client_hello;
mod clients;
mod compile;
mod config;
mod connection;
mod context;
mod core;
mod cors;
mod counters;
mod ejection;
mod engine;
mod exchange;
mod fields;
mod forward;
mod framing;
mod function;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod head;
mod http2;
mod ids;
mod interim;
mod lane;
mod listener;
mod meter;
mod metrics;
mod mirror;
mod names;
mod namespaces;
mod observed;
mod outlier;
mod passthrough;
mod payload;
mod picking;
mod rate;
mod refusal;
mod registry;
mod relay;
mod resource;
mod routing;
mod scratch;
mod seam;
mod serve;
mod session;
mod shown;
mod slot;
mod spare;
mod state;
mod stream;
mod supervisor;
mod target_io;
mod thread;
mod ticks;
mod tls;
mod traffic;
mod upgrade;
mod upload;
mod upstream;
mod wire;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use lath_feed::SnapshotReceiver;
use lath_feed::telemetry::Sink;
use lath_health::{Dial, HealthReceiver};
use lath_net::Network;
use lath_net::accept::Acceptor;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};

pub use callers::{Caller, Callers};
pub use client_hello::{ClientHello, Flaw, Greeting, LONGEST as LONGEST_HELLO};
pub use config::{Functions, Limits, ProxyConfig};
pub use framing::{Guard, Interim, Offence};
pub use http2::Http2Guard;
pub use names::{Looking, NameLookup, Names};
pub use observed::{ProxyObserved, observed_targets};
pub use workloads::{KnowsWorkloads, Workloads};

use crate::core::Shared;
use crate::counters::Counters;
use crate::namespaces::Namespaces;
use crate::state::State;
use crate::supervisor::{Stop, Supervisor};

/// The data plane of one node.
#[derive(Debug)]
pub struct Proxy;

/// A running proxy. Dropped without [`ProxyHandle::shutdown`], it ends at once.
pub struct ProxyHandle {
    stop: mpsc::Sender<Stop>,
    observed: watch::Receiver<ProxyObserved>,
    state: Arc<ArcSwap<State>>,
    totals: Arc<Counters>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts the threads and obeys snapshots from then on.
    ///
    /// # Errors
    /// A thread or its runtime could not be made.
    pub fn start(
        config: ProxyConfig,
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        health: HealthReceiver,
        sink: Arc<dyn Sink>,
    ) -> io::Result<ProxyHandle> {
        let config = ProxyConfig {
            threads: config.threads.max(1),
            ..config
        };
        let regions = config.regions.clone();
        let dial = Dial {
            network: Arc::clone(&network),
            source: config.lattice_source,
            gateways: regions.as_ref().map(|known| Arc::clone(&known.gateways)),
        };
        let totals = Arc::new(Counters::new(config.threads));
        let state = Arc::new(ArcSwap::from_pointee(State::default()));
        let acceptor = Acceptor::new("clients of services", config.limits.connections());
        let handshakes = Acceptor::new("TLS handshakes", config.limits.handshakes());
        let shared = Shared {
            acceptor,
            handshakes,
            config: Arc::new(config),
            network,
            dial,
            state: Arc::clone(&state),
            sink,
            totals: Arc::clone(&totals),
        };
        let mut threads = Vec::new();
        let mut cores = Vec::new();
        for index in 0..shared.config.threads {
            let (commands_tx, commands_rx) = mpsc::unbounded_channel();
            let own = shared.clone();
            threads.push(thread(format!("lath-proxy-{index}"), move || {
                thread::run(index, own, commands_rx)
            })?);
            cores.push(commands_tx);
        }
        let (stop, stopped) = mpsc::channel(1);
        let (observed_tx, observed) = watch::channel(ProxyObserved::default());
        let supervisor = Supervisor {
            shared,
            cores,
            snapshots,
            health,
            observed: observed_tx,
            bound: BTreeSet::new(),
            namespaces: Namespaces::default(),
            failed: BTreeMap::new(),
            regions,
            lost: BTreeSet::new(),
            among: 1,
        };
        threads.push(thread("lath-proxy".to_owned(), move || {
            supervisor.run(stopped)
        })?);
        Ok(ProxyHandle {
            stop,
            observed,
            state,
            totals,
            threads: Mutex::new(threads),
        })
    }
}

/// A thread with a runtime of its own.
fn thread<F, T>(name: String, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Future<Output = ()> + 'static,
{
    let (started_tx, started_rx) = std::sync::mpsc::channel();
    let handle =
        std::thread::Builder::new().name(name).spawn(
            move || match Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
            {
                Ok(runtime) => {
                    let _ = started_tx.send(Ok(()));
                    runtime.block_on(body());
                }
                Err(error) => {
                    let _ = started_tx.send(Err(error));
                }
            },
        )?;
    started_rx.recv().map_err(io::Error::other)??;
    Ok(handle)
}

impl ProxyHandle {
    /// What works.
    pub fn observed(&self) -> watch::Receiver<ProxyObserved> {
        self.observed.clone()
    }

    /// The `lath_*` counters as Prometheus text (version 0.0.4).
    pub fn prometheus(&self) -> String {
        metrics::prometheus(&self.state.load(), &self.totals)
    }

    /// Accepts nothing new, lets what is in flight finish within `deadline`, ends. Calling it again does
    /// nothing.
    pub async fn shutdown(&self, deadline: Duration) {
        let (ended_tx, ended_rx) = oneshot::channel();
        if self.stop.send(Stop(deadline, ended_tx)).await.is_ok() {
            let _ = ended_rx.await;
        }
        let threads = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *threads)
        };
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
    }
}

impl std::fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyHandle")
            .field("observed", &*self.observed.borrow())
            .finish()
    }
}
