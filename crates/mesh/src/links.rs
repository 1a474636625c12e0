//! The encrypted links to other cells: a tunnel to each, in the underlay namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::{LINK_PORT, PrivateKey, RegionPlace, Topology};
use lath_net::{Kind, Network, Place};
use lath_tunnel::{Tunnel, TunnelConfig, TunnelState, device_names, remove_device};
use socket2::Domain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The MTU of links. The WAN's must be at least 60 larger.
pub const LINK_MTU: u16 = 8500;
/// How often links are looked after, and the pause before one that does not work is made anew.
const PERIOD: Duration = Duration::from_millis(500);
/// How often an end that has nothing to say says so. What is carried inside notices silence sooner.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// What link devices are called, before the other cell's number ([`RegionPlace::number`]).
const PREFIX: &str = "link";

/// How the link to each other cell is: its tunnel's state, or why there is none.
pub type LinkState = Result<TunnelState, String>;

/// The links of one cell. They belong to its node (or to the witness).
pub struct Links {
    topology: Arc<Topology>,
    private_key: PrivateKey,
    network: Arc<dyn Network>,
    clock: Clock,
    tunnels: BTreeMap<String, Result<Tunnel, String>>,
    states_tx: watch::Sender<BTreeMap<String, LinkState>>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("tunnels", &self.tunnels)
            .finish()
    }
}

impl Links {
    /// Links to all peers of the topology; `network` gives sockets in the underlay. Nothing happens before
    /// [`Links::run`].
    pub fn new(
        topology: Arc<Topology>,
        private_key: PrivateKey,
        network: Arc<dyn Network>,
        clock: Clock,
    ) -> Self {
        Self {
            topology,
            private_key,
            network,
            clock,
            tunnels: BTreeMap::new(),
            states_tx: watch::Sender::default(),
        }
    }

    /// How each link is, by the other cell's name.
    pub fn states(&self) -> watch::Receiver<BTreeMap<String, LinkState>> {
        self.states_tx.subscribe()
    }

    /// Works until `stop`, and at once returns where there is no underlay. The devices stay, for a
    /// successor to take over.
    pub async fn run(mut self, stop: CancellationToken) {
        let Some(pin) = self.topology.underlay.clone() else {
            return;
        };
        let mut swept = false;
        loop {
            match File::open(&pin) {
                Ok(netns) => {
                    let netns = OwnedFd::from(netns);
                    swept = swept || self.sweep(&netns);
                    self.keep_all(&netns).await;
                }
                Err(error) => tracing::warn!(%error, ?pin, "the underlay cannot be entered"),
            }
            self.publish();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Removes links to cells that are no more.
    fn sweep(&self, netns: &OwnedFd) -> bool {
        let wanted: BTreeSet<String> = self
            .topology
            .peers()
            .map(|(_, place)| name(place))
            .collect();
        let found = device_names(netns.as_fd()).unwrap_or_default();
        let is_link = |name: &String| {
            name.strip_prefix(PREFIX)
                .is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let stale = found
            .into_iter()
            .filter(|name| is_link(name) && !wanted.contains(name));
        for name in stale {
            if let Err(error) = remove_device(netns.as_fd(), &name) {
                tracing::warn!(device = name, %error, "a link to no cell stays");
            }
        }
        true
    }

    async fn keep_all(&mut self, netns: &OwnedFd) {
        let topology = Arc::clone(&self.topology);
        for (region, place) in topology.peers() {
            if self.tunnels.get(region).is_some_and(works) {
                continue;
            }
            // The old one lets go of the device first.
            self.tunnels.remove(region);
            let tunnel = self.start(place, netns).await.map_err(|e| e.to_string());
            if let Err(error) = &tunnel {
                tracing::warn!(region, %error, "there is no link");
            }
            self.tunnels.insert(region.to_owned(), tunnel);
        }
    }

    async fn start(&self, to: &RegionPlace, netns: &OwnedFd) -> io::Result<Tunnel> {
        let here = self
            .topology
            .here()
            .ok_or_else(|| io::Error::other("this cell is not in its own topology"))?;
        let socket = self
            .network
            .socket(&Place::Underlay, Domain::IPV4, Kind::Udp)
            .await?;
        // One per peer on one port: each is connected, so the kernel tells their datagrams apart.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((here.underlay, LINK_PORT)).into())?;
        let config = TunnelConfig {
            name: name(to),
            netns: netns.try_clone()?,
            udp: socket.into(),
            private_key: self.private_key.clone(),
            peer_public_key: to.public_key,
            peer: SocketAddr::from((to.underlay, LINK_PORT)),
            mtu: LINK_MTU,
            keepalive: KEEPALIVE,
            addresses: Some((here.link, to.link)),
            clock: self.clock.clone(),
        };
        tokio::task::spawn_blocking(|| Tunnel::start(config))
            .await
            .map_err(io::Error::other)?
    }

    fn publish(&self) {
        let states: BTreeMap<String, LinkState> = self
            .tunnels
            .iter()
            .map(|(region, tunnel)| (region.clone(), state(tunnel)))
            .collect();
        self.states_tx.send_if_modified(|known| {
            let differs = *known != states;
            if differs {
                *known = states;
            }
            differs
        });
    }
}

fn name(place: &RegionPlace) -> String {
    format!("{PREFIX}{}", place.number())
}

fn state(tunnel: &Result<Tunnel, String>) -> LinkState {
    let state = tunnel.as_ref().map_err(String::clone)?.state();
    let state = state.borrow().clone();
    state.broken.clone().map_or(Ok(state), Err)
}

fn works(tunnel: &Result<Tunnel, String>) -> bool {
    state(tunnel).is_ok()
}
