//! What one thread of the proxy has. Nothing of it is shared with others but the compiled state and the cells of
//! counters. It is made of parts that do not know it.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use lath_feed::telemetry::Sink;
use lath_health::Dial;
use lath_model::Timestamp;
use lath_net::Network;
use lath_net::accept::Acceptor;

use crate::clients::Clients;
use crate::config::ProxyConfig;
use crate::connection::Connection;
use crate::counters::{Cells, Counters};
use crate::ids::Ids;
use crate::listener::Listening;
use crate::meter::Meter;
use crate::registry::Registry;
use crate::state::State;
use crate::upstream::Pools;
use crate::workloads::Remembered;

/// What all threads share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<ProxyConfig>,
    /// Listening sockets, and connections to resources.
    pub(crate) network: Arc<dyn Network>,
    /// Connections to targets.
    pub(crate) dial: Dial,
    pub(crate) state: Arc<ArcSwap<State>>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) totals: Arc<Counters>,
    /// Gives client connections their slots.
    pub(crate) acceptor: Acceptor,
    /// Gives those a second one that have to shake hands.
    pub(crate) handshakes: Acceptor,
}

/// One thread's own things.
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) state: Arc<ArcSwap<State>>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) totals: Totals,
    pub(crate) acceptor: Acceptor,
    pub(crate) handshakes: Acceptor,
    pub(crate) pools: Rc<Pools>,
    /// Connections to resources.
    pub(crate) network: Arc<dyn Network>,
    pub(crate) ids: Ids,
    pub(crate) exchanges: Registry<Meter>,
    pub(crate) connections: Registry<Connection>,
    /// Where resources were reached before their ports changed, while connections are left.
    pub(crate) moved: RefCell<Vec<Rc<Listening>>>,
    pub(crate) clients: Clients,
    /// Who calls from where.
    pub(crate) workloads: Remembered,
    /// Copies of requests on their way.
    pub(crate) copies: Cell<usize>,
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

impl Core {
    pub(crate) fn new(index: usize, shared: Shared) -> Self {
        let clock = Rc::new(Cell::new(Instant::now()));
        let limits = shared.config.limits;
        let clients = Clients::new(limits, shared.config.threads, Rc::clone(&clock));
        let network = Arc::clone(&shared.network);
        let pools = Pools::new(&shared.config, shared.dial, index, Rc::clone(&clock));
        Self {
            index,
            config: shared.config,
            state: shared.state,
            sink: shared.sink,
            totals: Totals(shared.totals, index),
            acceptor: shared.acceptor,
            handshakes: shared.handshakes,
            pools: Rc::new(pools),
            network,
            ids: Ids::default(),
            exchanges: Registry::default(),
            connections: Registry::default(),
            moved: RefCell::default(),
            clients,
            workloads: Remembered::default(),
            copies: Cell::new(0),
            clock,
        }
    }

    /// Ends what was accepted for a resource before its ports changed, once that is not reached at all any more.
    fn follow_moved(&self) {
        let mut moved = self.moved.borrow_mut();
        if moved.is_empty() {
            return;
        }
        let state = self.state.load();
        moved.retain(|listening| {
            let is_led = listening.is_led(&state);
            if !is_led {
                listening.close();
            }
            // Only connections hold it besides.
            is_led && Rc::strong_count(listening) > 1
        });
    }

    /// When what took this long and ends now began, by the wall clock.
    pub(crate) fn start_of(&self, taken: Duration) -> Timestamp {
        let now = self.config.clock.now().as_millis();
        Timestamp::from_millis(now.saturating_sub(i64::try_from(taken.as_millis()).unwrap_or(0)))
    }

    /// Looks at all deadlines.
    pub(crate) fn tick(&self, now: Instant) {
        self.clock.set(now);
        let limits = &self.config.limits;
        self.exchanges.each(|meter| meter.check(now, limits));
        self.follow_moved();
        self.pools.give_way();
        self.clients.report(now, &self.totals);
        self.connections
            .each(|connection| connection.check(now, &self.config));
    }
}
