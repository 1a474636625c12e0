//! One thread of the proxy: its listeners, connections and pools. Nothing here is shared with others but
//! the compiled state and the cells of counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use lath_feed::telemetry::Sink;
use lath_health::Dial;
use lath_model::id::{VpcEndpointId, VpcId};
use lath_net::accept::Acceptor;
use lath_net::{Network, Place};
use rand::Rng;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::ProxyConfig;
use crate::clients::{Clients, source_of};
use crate::connection::{Connection, Listening};
use crate::counters::{Cells, Counters};
use crate::meter::Meter;
use crate::registry::Registry;
use crate::serve::serve;
use crate::state::State;
use crate::upstream::{Pools, Room};

/// A listening socket's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListenerKey {
    /// In whose network it is, and so where requests come from.
    pub(crate) vpc: VpcId,
    pub(crate) at: SocketAddr,
    pub(crate) entrance: Entrance,
}

/// What makes a service network reachable at a listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Entrance {
    /// The VPC's association with the network.
    Association,
    /// An endpoint in the VPC.
    Endpoint(VpcEndpointId),
}

/// What the supervisor tells a thread.
pub(crate) enum Command {
    /// Accept connections from this socket.
    Listen(ListenerKey, std::net::TcpListener),
    /// Accept no more; requests in flight are finished.
    Close(ListenerKey),
    /// The VPC's network was made anew: use no old connection into it.
    Forget(VpcId),
    /// Links to other regions went up or down: let go of connections to those that are lost, and of requests
    /// that wait there.
    Relinked,
    /// Accept no more anywhere, finish what is in flight within the time, then say so and end.
    Shutdown(Duration, oneshot::Sender<()>),
}

/// What all threads share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<ProxyConfig>,
    /// Listening sockets.
    pub(crate) network: Arc<dyn Network>,
    /// Connections to targets.
    pub(crate) dial: Dial,
    pub(crate) state: Arc<ArcSwap<State>>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) totals: Arc<Counters>,
    /// Gives client connections their slots.
    pub(crate) acceptor: Acceptor,
}

/// One thread's own things.
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) dial: Dial,
    pub(crate) state: Arc<ArcSwap<State>>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) totals: Totals,
    acceptor: Acceptor,
    pub(crate) pools: Pools,
    /// Request ids that were not given yet, one after another.
    ids: RefCell<Bytes>,
    pub(crate) exchanges: Registry<Meter>,
    pub(crate) connections: Registry<Connection>,
    pub(crate) clients: Clients,
    /// Connections to targets that may still be opened.
    rooms: Arc<Semaphore>,
    /// As exact as the last tick or request.
    pub(crate) clock: Rc<Cell<Instant>>,
}

/// This thread's cells of the process's counters.
pub(crate) struct Totals(Arc<Counters>, usize);

impl Deref for Totals {
    type Target = Cells;

    fn deref(&self) -> &Cells {
        self.0.of(self.1)
    }
}

/// Lets hyper spawn tasks that stay on their thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl Core {
    fn new(index: usize, shared: Shared) -> Self {
        let rooms = shared.config.limits.target_connections();
        let rooms = rooms.div_ceil(shared.config.threads.max(1));
        let clock = Rc::new(Cell::new(Instant::now()));
        let limits = shared.config.limits;
        let clients = Clients::new(limits, shared.config.threads, Rc::clone(&clock));
        Self {
            index,
            config: shared.config,
            dial: shared.dial,
            state: shared.state,
            sink: shared.sink,
            totals: Totals(shared.totals, index),
            acceptor: shared.acceptor,
            pools: Pools::default(),
            ids: RefCell::default(),
            exchanges: Registry::default(),
            connections: Registry::default(),
            clients,
            rooms: Arc::new(Semaphore::new(rooms)),
            clock,
        }
    }

    pub(crate) fn new_request_id(&self) -> HeaderValue {
        let mut ids = self.ids.borrow_mut();
        if ids.is_empty() {
            *ids = request_ids();
        }
        let id = ids.split_to(ID_LENGTH);
        let mut id = HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("-"));
        // No other request has it: HTTP/2 must not put it into its table in the place of what comes again.
        id.set_sensitive(true);
        id
    }

    /// The right to open a connection to a target; an idle one is closed for it if need be.
    pub(crate) fn room_for_target(&self) -> Option<Room> {
        let room = || Arc::clone(&self.rooms).try_acquire_owned().ok();
        room().or_else(|| {
            self.pools.shed();
            let room = room();
            if room.is_none() {
                self.clients.refused();
            }
            room
        })
    }

    fn tick(&self, now: Instant) {
        self.clock.set(now);
        let limits = &self.config.limits;
        self.exchanges.each(|meter| meter.check(now, limits));
        self.clients.report(now, &self.totals);
        self.connections
            .each(|connection| connection.check(now, &self.config));
    }
}

/// The length of a UUID's text.
const ID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

/// Some request ids in one piece of memory: each one is a part of it that costs nothing to copy.
fn request_ids() -> Bytes {
    let random: [[u8; 16]; 64] = rand::rng().random();
    let mut ids = vec![0; random.len() * ID_LENGTH];
    for (text, random) in ids.chunks_exact_mut(ID_LENGTH).zip(random) {
        let id = uuid::Builder::from_random_bytes(random).into_uuid();
        id.hyphenated().encode_lower(text);
    }
    ids.into()
}

/// The thread's body: obeys commands until told to end.
pub(crate) async fn run(
    index: usize,
    shared: Shared,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let core = Rc::new(Core::new(index, shared));
    let mut listeners: HashMap<ListenerKey, Rc<Listening>> = HashMap::new();
    tokio::task::spawn_local(keep_time(Rc::downgrade(&core)));
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(key, socket) => {
                if let Some(listening) = listen(&core, key.clone(), socket) {
                    listeners.insert(key, listening);
                }
            }
            Command::Close(key) => {
                if let Some(listening) = listeners.remove(&key) {
                    listening.close();
                }
            }
            Command::Forget(vpc) => core.pools.forget(&vpc),
            Command::Relinked => {
                let now = Instant::now();
                core.tick(now);
                core.pools.sweep(&core, now);
            }
            Command::Shutdown(deadline, done) => {
                listeners.values().for_each(|listening| listening.close());
                drain(&core, deadline).await;
                let _ = done.send(());
                return;
            }
        }
    }
}

fn listen(
    core: &Rc<Core>,
    key: ListenerKey,
    socket: std::net::TcpListener,
) -> Option<Rc<Listening>> {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(listener.addr = %key.at, %error, "a listening socket cannot be used");
            return None;
        }
    };
    let listening = Rc::new(Listening::new(key));
    let (core, accepting) = (Rc::clone(core), Rc::clone(&listening));
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = accepting.closed.cancelled() => {}
            () = accept(&core, &accepting, &listener) => {}
        }
    });
    Some(listening)
}

async fn accept(core: &Rc<Core>, listening: &Rc<Listening>, listener: &tokio::net::TcpListener) {
    let place = Place::Vpc(listening.vpc_id().clone());
    loop {
        let (stream, remote, slot) = core.acceptor.accept_from(listener, &place, source_of).await;
        let serving = serve(core, listening, stream, remote, slot);
        tokio::task::spawn_local(serving);
    }
}

async fn keep_time(core: std::rc::Weak<Core>) {
    let mut swept = Instant::now();
    while let Some(core) = core.upgrade() {
        let now = Instant::now();
        core.tick(now);
        if now.saturating_duration_since(swept) >= Duration::from_secs(1) {
            core.pools.sweep(&core, now);
            swept = now;
        }
        let tick = core.config.tick;
        drop(core);
        tokio::time::sleep(tick).await;
    }
}

async fn drain(core: &Core, deadline: Duration) {
    let end = Instant::now() + deadline;
    core.connections.each(|connection| connection.finish(end));
    while core.connections.len() > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        core.connections.each(|connection| connection.finish(end));
    }
}
