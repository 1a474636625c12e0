//! A listener in every VPC, at the same address of each.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::SnapshotReceiver;
use lath_model::id::VpcId;
use lath_net::{Network, Place, listen};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between attempts to listen in a VPC whose network is not there yet.
const RETRY: Duration = Duration::from_millis(250);

/// VPCs with a listener, or why there is none (yet).
pub type Bound = BTreeMap<VpcId, Result<(), String>>;

/// Follows the snapshot: a listener in each VPC, made as soon as the VPC's network is there.
pub struct Listeners {
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
    address: SocketAddr,
    bound: watch::Sender<Bound>,
    listeners: BTreeMap<VpcId, DropGuard>,
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners")
            .field("address", &self.address)
            .field("bound", &*self.bound.borrow())
            .finish_non_exhaustive()
    }
}

impl Listeners {
    /// None yet, at `address` of the VPCs of `snapshots`.
    pub fn new(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        address: SocketAddr,
    ) -> Self {
        Self {
            network,
            snapshots,
            address,
            bound: watch::Sender::new(Bound::new()),
            listeners: BTreeMap::new(),
        }
    }

    /// Listens elsewhere.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Where it listens.
    pub fn bound(&self) -> watch::Receiver<Bound> {
        self.bound.subscribe()
    }

    /// Hands each new listener to `begin`, which serves until the token that it gets is cancelled. Ends at `stop`, or when the
    /// publisher of snapshots is gone, and with it all listeners.
    pub async fn run(
        mut self,
        stop: CancellationToken,
        begin: impl Fn(VpcId, TcpListener, CancellationToken),
    ) {
        loop {
            let all_bound = self.reconcile(&begin).await;
            let changed = self.snapshots.changed();
            let again = async {
                if all_bound {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(RETRY).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changed => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    /// Listeners as the newest snapshot wants them; whether all are there.
    async fn reconcile(&mut self, begin: &impl Fn(VpcId, TcpListener, CancellationToken)) -> bool {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        self.listeners
            .retain(|vpc, _| snapshot.vpcs.contains_key(vpc));
        let mut bound = Bound::new();
        for vpc in snapshot.vpcs.keys() {
            let outcome = self.ensure(vpc, begin).await;
            bound.insert(vpc.clone(), outcome.map_err(|error| error.to_string()));
        }
        let all = bound.values().all(Result::is_ok);
        self.bound.send_if_modified(|old| {
            let changed = *old != bound;
            *old = bound;
            changed
        });
        all
    }

    async fn ensure(
        &mut self,
        vpc: &VpcId,
        begin: &impl Fn(VpcId, TcpListener, CancellationToken),
    ) -> io::Result<()> {
        if self.listeners.contains_key(vpc) {
            return Ok(());
        }
        let place = Place::Vpc(vpc.clone());
        let listener = listen(&self.network, &place, self.address).await?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        self.listeners
            .insert(vpc.clone(), stop.clone().drop_guard());
        begin(vpc.clone(), listener, stop);
        Ok(())
    }
}
