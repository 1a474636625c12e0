//! Listening sockets: their names, and what one thread knows of each.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lath_model::id::{VpcEndpointId, VpcId};

use crate::state::{ResourceKey, Spoken, State, VpcState};
use crate::tls::{Door, Way};

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
    /// One of both, to a resource.
    Resource(ResourceKey),
}

/// A listener, as one thread sees it.
pub(crate) struct Listening {
    key: ListenerKey,
    pub(crate) closed: Closed,
    /// Whether it is closed because the resource is reached at another port: its connections go on.
    moved: Cell<bool>,
    /// The newest view of the VPC that this thread has seen, with its generation.
    view: RefCell<Option<(u64, Arc<VpcState>)>>,
}

/// A flag that one task waits for.
#[derive(Default)]
pub(crate) struct Closed {
    set: Cell<bool>,
    notify: tokio::sync::Notify,
}

impl Closed {
    pub(crate) async fn cancelled(&self) {
        while !self.set.get() {
            self.notify.notified().await;
        }
    }
}

impl Listening {
    pub(crate) fn new(key: ListenerKey) -> Self {
        Self {
            key,
            closed: Closed::default(),
            moved: Cell::new(false),
            view: RefCell::new(None),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.key.at.port()
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.key.at
    }

    /// The resource that is reached here, where it is one.
    pub(crate) fn resource(&self) -> Option<&ResourceKey> {
        match &self.key.entrance {
            Entrance::Resource(id) => Some(id),
            Entrance::Association | Entrance::Endpoint(_) => None,
        }
    }

    /// Whether its connections are to end.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.set.get() && !self.moved.get()
    }

    pub(crate) fn vpc_id(&self) -> &VpcId {
        &self.key.vpc
    }

    pub(crate) fn close(&self) {
        self.moved.set(false);
        self.closed.set.set(true);
        self.closed.notify.notify_one();
    }

    /// Accepts no more; what was accepted goes on.
    pub(crate) fn leave(&self) {
        self.close();
        self.moved.set(true);
    }

    /// Whether the resource that was reached here is reached from the same VPC, be it at another port.
    pub(crate) fn is_led(&self, state: &State) -> bool {
        let Some(key) = self.resource() else {
            return false;
        };
        let known = state.resources.get(key);
        match key {
            // Only endpoints that are there lead to resources.
            ResourceKey::Endpoint(..) => known.is_some(),
            ResourceKey::Association(_) => {
                let wanted = known.and_then(|it| Some(&it.association.as_ref()?.network));
                let vpc = state.vpcs.get(&self.key.vpc);
                let network = vpc.and_then(|vpc| vpc.network.as_ref());
                network.is_some_and(|network| wanted == Some(&network.source.id))
            }
        }
    }

    /// The VPC as of now. The look-up by id is done only when the state was replaced.
    pub(crate) fn vpc(&self, state: &ArcSwap<State>) -> Arc<VpcState> {
        let state = state.load();
        let mut view = self.view.borrow_mut();
        match &*view {
            Some((generation, vpc)) if *generation == state.generation => Arc::clone(vpc),
            _ => {
                let found = match &self.key.entrance {
                    Entrance::Association | Entrance::Resource(_) => state.vpcs.get(&self.key.vpc),
                    Entrance::Endpoint(id) => state.endpoints.get(id),
                };
                let nothing = || Arc::new(VpcState::without_network(&self.key.vpc));
                let vpc = found.cloned().unwrap_or_else(nothing);
                *view = Some((state.generation, Arc::clone(&vpc)));
                vpc
            }
        }
    }
}

/// A listener's door: what its VPC's service network has at this moment decides.
pub(crate) struct Porch {
    listening: Rc<Listening>,
    state: Arc<ArcSwap<State>>,
}

impl Porch {
    pub(crate) fn new(listening: &Rc<Listening>, state: &Arc<ArcSwap<State>>) -> Self {
        Self {
            listening: Rc::clone(listening),
            state: Arc::clone(state),
        }
    }

    /// Whether what comes here is passed on before a byte of it is read.
    pub(crate) fn is_opaque(&self) -> bool {
        let vpc = self.listening.vpc(&self.state);
        let network = vpc.network.as_ref();
        let gateway = network.and_then(|network| network.gateway(self.listening.at(), None));
        gateway.is_some_and(|gateway| gateway.opaque)
    }

    /// What is spoken here.
    pub(crate) fn spoken(&self) -> Spoken {
        let vpc = self.listening.vpc(&self.state);
        let network = vpc.network.as_ref();
        let spoken = network.and_then(|network| network.spoken.get(&self.listening.port()));
        spoken.copied().unwrap_or_default()
    }
}

impl Door for Porch {
    fn takes_plain(&self) -> bool {
        self.spoken().plain
    }

    fn is_silent(&self) -> bool {
        let vpc = self.listening.vpc(&self.state);
        let network = vpc.network.as_ref();
        network.is_some_and(|network| network.is_silent(self.listening.at()))
    }

    fn way(&self, server_name: Option<&str>) -> Option<Way> {
        let vpc = self.listening.vpc(&self.state);
        let network = vpc.network.as_ref()?;
        network.way(server_name, self.listening.at())
    }
}
