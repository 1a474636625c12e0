use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{Snapshot, SnapshotReceiver, Vpc};
use lath_health::HealthReceiver;
use lath_model::id::VpcId;
use lath_net::Network;
use lath_zones::HealthVerdicts;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Upstreams;
use crate::authority::{self, AuthorityConfig, Served};
use crate::forward::Forwarder;
use crate::listener::{Listening, Resolver};
use crate::lookup::Lookup;
use crate::shares::Shares;
use crate::zone_state::ZoneState;

/// The resolver's link-local address, the same in every VPC
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html>).
const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

const PORT: u16 = 53;

/// How soon an address that could not be bound is tried again: a VPC's network appears moments after
/// the snapshot that asks for it, and somebody waits for it.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// How often it is checked that sockets are still in their VPC's network, when nothing else happens.
const CHECK: Duration = Duration::from_secs(5);

/// In which VPCs the resolver listens, by VPC: every one that wants a resolver, with the reason where it
/// does not listen (yet). VPCs without DNS support are absent.
pub type Bound = BTreeMap<VpcId, Result<(), String>>;

/// The resolvers of all VPCs, and the authoritative server.
pub struct Dns {
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
    forwarder: Arc<Forwarder>,
    shares: Arc<Shares>,
    addresses: Addresses,
    bound: watch::Sender<Bound>,
    zone_state: ZoneState,
    authority: AuthorityConfig,
    served: watch::Sender<Served>,
}

type Addresses = Box<dyn Fn(&Vpc) -> Vec<SocketAddr> + Send + Sync>;

impl Dns {
    /// Resolvers for the VPCs of the newest snapshot, which send what they do not know to `upstreams`.
    pub fn new(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        upstreams: Upstreams,
    ) -> Self {
        Self {
            forwarder: Arc::new(Forwarder::new(Arc::clone(&network), upstreams)),
            shares: Arc::new(Shares::new()),
            network,
            zone_state: ZoneState::new(&snapshots),
            snapshots,
            addresses: Box::new(usual_addresses),
            bound: watch::Sender::default(),
            authority: AuthorityConfig::default(),
            served: watch::Sender::default(),
        }
    }

    /// Answers by the newest verdicts on health checks and by the health of targets of Lattice services.
    /// Without it everything is healthy.
    #[must_use]
    pub fn with_health(
        mut self,
        verdicts: watch::Receiver<Arc<HealthVerdicts>>,
        targets: HealthReceiver,
    ) -> Self {
        self.zone_state = self.zone_state.with_health(verdicts, targets);
        self
    }

    /// Serves public hosted zones as well.
    #[must_use]
    pub fn with_authority(mut self, config: AuthorityConfig) -> Self {
        self.authority = config;
        self
    }

    /// Looks names up as the resolvers do, while [`Dns::run`] goes on.
    pub fn lookup(&self) -> Lookup {
        Lookup {
            snapshots: self.snapshots.clone(),
            forwarder: Arc::clone(&self.forwarder),
            zone_state: self.zone_state.clone(),
            shares: Arc::clone(&self.shares),
            cache: Arc::default(),
        }
    }

    /// The newest snapshot version whose zones everything that listens answers from; 0 at first.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.zone_state.version()
    }

    /// Tells where the authoritative server listens, and wakes when that changes.
    pub fn served(&self) -> watch::Receiver<Served> {
        self.served.subscribe()
    }

    /// Listens at other addresses than base+2 and 169.254.169.253, port 53.
    #[must_use]
    pub fn listening_at(
        mut self,
        addresses: impl Fn(&Vpc) -> Vec<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.addresses = Box::new(addresses);
        self
    }

    /// Tells in which VPCs the resolver listens, and wakes when that changes.
    pub fn bound(&self) -> watch::Receiver<Bound> {
        self.bound.subscribe()
    }

    /// Listens where the newest snapshot wants it, until `stop`; then closes every socket. When snapshots
    /// stop coming, the last one stays in force.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut beside = JoinSet::new();
        let zone_state = self.zone_state.clone();
        beside.spawn(zone_state.follow(self.snapshots.clone(), stop.clone()));
        beside.spawn(authority::run(
            Arc::clone(&self.network),
            self.authority.clone(),
            self.zone_state.clone(),
            self.served.clone(),
            stop.clone(),
        ));
        let mut running = BTreeMap::new();
        let mut published = true;
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            let complete = self.converge(&snapshot, &mut running).await;
            let pause = if complete { CHECK } else { RETRY };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.snapshots.changed(), if published => published = changed.is_ok(),
                () = tokio::time::sleep(pause) => {}
            }
        }
        for (_, listening) in running {
            listening.stop().await;
        }
        while beside.join_next().await.is_some() {}
        self.bound.send_replace(Bound::new());
    }

    /// Stops what should not listen and starts what should; whether all that should does.
    async fn converge(
        &self,
        snapshot: &Snapshot,
        running: &mut BTreeMap<VpcId, Listening>,
    ) -> bool {
        let wanted: BTreeMap<VpcId, Vec<SocketAddr>> = snapshot
            .vpcs
            .values()
            .filter(|vpc| vpc.dns_support)
            .map(|vpc| (vpc.id.clone(), (self.addresses)(vpc)))
            .collect();
        self.stop_unwanted(&wanted, running).await;
        let mut bound = Bound::new();
        for (vpc, addresses) in wanted {
            let listens = self.ensure(&vpc, addresses, running).await;
            bound.insert(vpc, listens);
        }
        let complete = bound.values().all(Result::is_ok);
        self.publish(bound);
        complete
    }

    async fn stop_unwanted(
        &self,
        wanted: &BTreeMap<VpcId, Vec<SocketAddr>>,
        running: &mut BTreeMap<VpcId, Listening>,
    ) {
        for (vpc, mut listening) in std::mem::take(running) {
            let same = wanted.get(&vpc) == Some(&listening.addresses);
            if same && listening.is_in_place(&self.network, &vpc).await {
                running.insert(vpc, listening);
            } else {
                listening.stop().await;
            }
        }
    }

    async fn ensure(
        &self,
        vpc: &VpcId,
        addresses: Vec<SocketAddr>,
        running: &mut BTreeMap<VpcId, Listening>,
    ) -> Result<(), String> {
        if running.contains_key(vpc) {
            return Ok(());
        }
        let resolver = Arc::new(Resolver {
            vpc: vpc.clone(),
            snapshots: self.snapshots.clone(),
            forwarder: Arc::clone(&self.forwarder),
            zone_state: self.zone_state.clone(),
            shares: Arc::clone(&self.shares),
        });
        let listening = Listening::start(&self.network, addresses, resolver).await?;
        running.insert(vpc.clone(), listening);
        Ok(())
    }

    fn publish(&self, bound: Bound) {
        self.bound.send_if_modified(|old| {
            let changed = *old != bound;
            if changed {
                report(old, &bound);
                *old = bound;
            }
            changed
        });
    }
}

fn report(old: &Bound, new: &Bound) {
    for (vpc, listens) in new.iter().filter(|(vpc, now)| old.get(*vpc) != Some(*now)) {
        match listens {
            Ok(()) => tracing::debug!(vpc.id = %vpc, "the resolver listens"),
            Err(reason) => tracing::debug!(vpc.id = %vpc, %reason, "the resolver does not listen"),
        }
    }
}

/// Base+2 of the primary block, and the link-local address.
fn usual_addresses(vpc: &Vpc) -> Vec<SocketAddr> {
    let base = vpc.cidrs.first().map(|cidr| u32::from(cidr.network()));
    let second = base
        .and_then(|base| base.checked_add(2))
        .map(Ipv4Addr::from);
    second
        .into_iter()
        .chain([LINK_LOCAL])
        .map(|address| SocketAddr::new(IpAddr::V4(address), PORT))
        .collect()
}
