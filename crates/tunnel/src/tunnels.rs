//! Runs one tunnel per peering attachment of the newest snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_clock::Clock;
use lath_feed::{Condition, PeeringTunnel, Snapshot, SnapshotReceiver, TransitPeer};
use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayId};
use lath_net::{Kind, Network, Place};
use socket2::Domain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::tunnel::{Tunnel, TunnelConfig, TunnelState};
use crate::{device_names, remove_device};

/// The MTU of peering attachments, as on AWS (Transit Gateway quotas, "Maximum transmission unit").
pub const PEERING_MTU: u16 = 8500;
/// How often tunnels are reconciled, and how soon a failed start is tried again.
const PERIOD: Duration = Duration::from_millis(500);
/// The keepalive time of tunnels.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// The prefix of the names of peering devices.
const PREFIX: &str = "p";
/// The longest name of a link in bytes, without its NUL.
const LONGEST: usize = 15;

/// The name of a peering attachment's device in its gateway's namespace: `p` and the last 14 characters of the id.
pub fn device_name(attachment: &TransitGatewayAttachmentId) -> String {
    let tail = attachment.as_str().rsplit('-').next().unwrap_or_default();
    let start = tail.len().saturating_sub(LONGEST - PREFIX.len());
    format!("{PREFIX}{}", &tail[start..])
}

fn is_device_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|tail| tail.len() >= 8 && tail.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Opens a gateway's namespace. `NotFound` while it does not exist.
pub type GatewayNetns = Arc<dyn Fn(&TransitGatewayId) -> io::Result<OwnedFd> + Send + Sync>;

/// The conditions of peering attachments.
type Conditions = BTreeMap<TransitGatewayAttachmentId, Condition>;

/// The peering tunnels of a region's node.
pub struct Tunnels {
    network: Arc<dyn Network>,
    netns: GatewayNetns,
    snapshots: SnapshotReceiver,
    clock: Clock,
    tunnels: BTreeMap<TransitGatewayAttachmentId, ManagedTunnel>,
    /// Gateways whose namespaces have been searched for stale devices.
    swept: BTreeSet<TransitGatewayId>,
    conditions_tx: watch::Sender<Arc<Conditions>>,
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels")
            .field("tunnels", &self.tunnels)
            .finish()
    }
}

/// The tunnel of an attachment, or the error of its last start.
#[derive(Debug)]
struct ManagedTunnel {
    wanted: Wanted,
    tunnel: Result<Tunnel, String>,
    /// The inode of the device's namespace. It changes when the gateway's namespace is made again.
    inside: Option<u64>,
    since: Instant,
    /// The time since which the peer has been silent.
    silent: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    gateway: TransitGatewayId,
    peering: PeeringTunnel,
}

impl Tunnels {
    /// Tunnels for the peerings in snapshots. They start in [`Tunnels::run`].
    pub fn new(
        network: Arc<dyn Network>,
        netns: GatewayNetns,
        snapshots: SnapshotReceiver,
        clock: Clock,
    ) -> Self {
        Self {
            network,
            netns,
            snapshots,
            clock,
            tunnels: BTreeMap::new(),
            swept: BTreeSet::new(),
            conditions_tx: watch::Sender::default(),
        }
    }

    /// The condition of each peering attachment: ready while the peer answers; otherwise why not.
    pub fn conditions(&self) -> watch::Receiver<Arc<Conditions>> {
        self.conditions_tx.subscribe()
    }

    /// Runs until `stop`. The devices stay for the next process.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            self.reconcile(&snapshot).await;
            self.publish(snapshot.version);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
                changed = self.snapshots.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn reconcile(&mut self, snapshot: &Snapshot) {
        let wanted = wanted(snapshot);
        self.drop_unwanted(&wanted);
        self.swept
            .retain(|id| snapshot.transit_gateways.contains_key(id));
        for gateway in snapshot.transit_gateways.keys() {
            self.sweep(gateway, &wanted);
        }
        for (id, wanted) in wanted {
            self.ensure(id, wanted).await;
        }
    }

    fn drop_unwanted(&mut self, wanted: &BTreeMap<TransitGatewayAttachmentId, Wanted>) {
        let gone = self
            .tunnels
            .extract_if(.., |id, managed| wanted.get(id) != Some(&managed.wanted));
        for (id, managed) in gone {
            // A tunnel with a changed configuration keeps its device, and so the routes that lead to it.
            let result = match managed.tunnel {
                Ok(tunnel) if !wanted.contains_key(&id) => tunnel.remove(),
                _ => Ok(()),
            };
            if let Err(error) = result {
                tracing::warn!(attachment.id = %id, %error, "the device of a deleted peering could not be removed");
                self.swept.remove(&managed.wanted.gateway);
            }
        }
    }

    /// Removes devices of peerings that were deleted while no node was running.
    fn sweep(
        &mut self,
        gateway: &TransitGatewayId,
        wanted: &BTreeMap<TransitGatewayAttachmentId, Wanted>,
    ) {
        if self.swept.contains(gateway) {
            return;
        }
        let names: BTreeSet<String> = wanted.keys().map(device_name).collect();
        let Ok(netns) = (self.netns)(gateway) else {
            return;
        };
        let found = device_names(netns.as_fd()).unwrap_or_default();
        let stale = found
            .iter()
            .filter(|name| is_device_name(name) && !names.contains(*name));
        let mut all_gone = true;
        for name in stale {
            if let Err(error) = remove_device(netns.as_fd(), name) {
                tracing::warn!(gateway.id = %gateway, device = name, %error, "a stale peering device could not be removed");
                all_gone = false;
            }
        }
        if all_gone {
            self.swept.insert(gateway.clone());
        }
    }

    async fn ensure(&mut self, id: TransitGatewayAttachmentId, wanted: Wanted) {
        let now = Instant::now();
        let netns = (self.netns)(&wanted.gateway);
        let inside = netns.as_ref().ok().and_then(inode);
        if let Some(managed) = self.tunnels.get_mut(&id) {
            if managed.works() && managed.inside == inside {
                managed.notice(now);
                return;
            }
            if now - managed.since < PERIOD {
                return;
            }
        }
        let silent = self
            .tunnels
            .remove(&id)
            .map_or(now, |managed| managed.silent);
        let tunnel = match netns {
            Ok(netns) => self.start(&id, &wanted, netns).await,
            Err(error) => Err(error),
        };
        let tunnel = tunnel.map_err(|e| e.to_string());
        let managed = ManagedTunnel {
            wanted,
            tunnel,
            inside,
            since: now,
            silent,
        };
        self.tunnels.insert(id, managed);
    }

    async fn start(
        &self,
        id: &TransitGatewayAttachmentId,
        wanted: &Wanted,
        netns: OwnedFd,
    ) -> io::Result<Tunnel> {
        let socket = self
            .network
            .socket(&Place::Underlay, Domain::IPV4, Kind::Udp)
            .await?;
        socket.set_reuse_address(true)?;
        let any = IpAddr::from([0, 0, 0, 0]);
        socket.bind(&SocketAddr::new(any, wanted.peering.port).into())?;
        let config = TunnelConfig {
            name: device_name(id),
            netns,
            udp: socket.into(),
            private_key: wanted.peering.private_key.clone(),
            peer_public_key: wanted.peering.peer_public_key,
            peer: wanted.peering.peer.into(),
            mtu: PEERING_MTU,
            keepalive: KEEPALIVE,
            addresses: None,
            clock: self.clock.clone(),
        };
        tokio::task::spawn_blocking(|| Tunnel::start(config))
            .await
            .map_err(io::Error::other)?
    }

    fn publish(&self, version: u64) {
        let now = Instant::now();
        let conditions: Conditions = self
            .tunnels
            .iter()
            .map(|(id, managed)| (id.clone(), managed.condition(version, now)))
            .collect();
        self.conditions_tx.send_if_modified(|known| {
            let differs = **known != conditions;
            if differs {
                *known = Arc::new(conditions);
            }
            differs
        });
    }
}

/// The inode number, which identifies a namespace.
fn inode(netns: &OwnedFd) -> Option<u64> {
    nix::sys::stat::fstat(netns).ok().map(|stat| stat.st_ino)
}

fn wanted(snapshot: &Snapshot) -> BTreeMap<TransitGatewayAttachmentId, Wanted> {
    let attachments = snapshot.transit_gateways.values().flat_map(|gateway| {
        gateway.attachments.values().filter_map(|attachment| {
            let TransitPeer::Tunnel(peering) = &attachment.to else {
                return None;
            };
            let wanted = Wanted {
                gateway: gateway.id.clone(),
                peering: peering.clone(),
            };
            Some((attachment.id.clone(), wanted))
        })
    });
    attachments.collect()
}

impl ManagedTunnel {
    fn state(&self) -> Result<TunnelState, String> {
        let tunnel = self.tunnel.as_ref().map_err(String::clone)?;
        let state = tunnel.state().borrow().clone();
        state.broken.clone().map_or(Ok(state), Err)
    }

    fn works(&self) -> bool {
        self.state().is_ok()
    }

    fn notice(&mut self, now: Instant) {
        if self.state().is_ok_and(|state| state.connected) {
            self.silent = now;
        }
    }

    fn condition(&self, version: u64, now: Instant) -> Condition {
        match self.state() {
            Ok(state) if state.connected => Condition::Ready { version },
            Ok(_) => {
                let seconds = now.saturating_duration_since(self.silent).as_secs();
                let reason = format!("the other side has not answered for {seconds} s");
                Condition::Failed { reason }
            }
            Err(error) => Condition::Failed {
                reason: format!("the tunnel cannot be made: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names_that_fit_and_are_known_again() {
        for (id, want) in [
            ("tgw-attach-0123456789abcdef0", "p3456789abcdef0"),
            ("tgw-attach-12345678", "p12345678"),
        ] {
            let name = device_name(&id.parse().unwrap());
            assert_eq!(name, want);
            assert!(is_device_name(&name), "{name}");
        }
        for other in ["lo", "att7", "e3456789abcdef0", "p1"] {
            assert!(!is_device_name(other), "{other}");
        }
    }
}
