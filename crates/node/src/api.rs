//! The AWS APIs for programs in VPCs: plain HTTP at [`API_ADDRESS`] of every VPC's router. Control answers; while it is dead
//! so does who speaks for it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use lath_feed::SnapshotReceiver;
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::descriptors::Purpose;
use lath_net::{API_ADDRESS, Network, Place, listen};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between attempts to listen in a VPC whose network is not there yet.
const RETRY: Duration = Duration::from_millis(250);
/// Of all VPCs, at once.
const CONNECTIONS: usize = 4096;
/// Of one address, at once.
const PER_SOURCE: usize = 128;
/// A connection without a request is ended after this, where others want its place.
const IDLE: Duration = Duration::from_secs(30);

/// What answers calls of the AWS APIs.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Answers the clients of a VPC's listener until `stop`. They get their slots from `acceptor`.
    async fn serve(
        &self,
        listener: TcpListener,
        vpc: VpcId,
        acceptor: Acceptor,
        stop: CancellationToken,
    );

    /// Answers one call that comes from an address of a VPC.
    async fn ask(&self, request: Request<Bytes>, from: (VpcId, IpAddr)) -> Response<Bytes>;
}

/// The listeners of all VPCs.
pub(crate) struct Doors {
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
    api: Arc<dyn Api>,
    acceptor: Acceptor,
    listeners: BTreeMap<VpcId, DropGuard>,
}

impl Doors {
    pub(crate) fn new(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        api: Arc<dyn Api>,
    ) -> Self {
        Self {
            network,
            snapshots,
            api,
            acceptor: acceptor(),
            listeners: BTreeMap::new(),
        }
    }

    /// Serves until `stop`, or until the publisher of snapshots is gone.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let all = self.reconcile().await;
            let changed = self.snapshots.changed();
            let again = async {
                if all {
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
    async fn reconcile(&mut self) -> bool {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        self.listeners
            .retain(|vpc, _| snapshot.vpcs.contains_key(vpc));
        let mut all = true;
        for vpc in snapshot.vpcs.keys() {
            if let Err(error) = self.ensure(vpc).await {
                tracing::debug!(vpc = vpc.as_str(), %error, "a VPC has no way to the APIs yet");
                all = false;
            }
        }
        all
    }

    async fn ensure(&mut self, vpc: &VpcId) -> std::io::Result<()> {
        if self.listeners.contains_key(vpc) {
            return Ok(());
        }
        let address = SocketAddr::new(API_ADDRESS.into(), 80);
        let place = Place::Vpc(vpc.clone());
        let listener = listen(&self.network, &place, address).await?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        self.listeners
            .insert(vpc.clone(), stop.clone().drop_guard());
        let (api, vpc, acceptor) = (Arc::clone(&self.api), vpc.clone(), self.acceptor.clone());
        tokio::spawn(async move { api.serve(listener, vpc, acceptor, stop).await });
        Ok(())
    }
}

/// How many connections from all VPCs there may be at once: to the APIs, and to the issuers of clusters beside them.
pub(crate) fn connections() -> (usize, usize) {
    let total = Purpose::VpcApi.share(CONNECTIONS);
    let issuers = (total / 8).max(1);
    (total - issuers, issuers)
}

/// Half of all for one VPC.
fn acceptor() -> Acceptor {
    let (total, _) = connections();
    let per_place = total.div_ceil(2);
    let limits = ConnectionLimits {
        total,
        per_place,
        per_source: per_place.min(PER_SOURCE),
        idle: IDLE,
    };
    Acceptor::new("API in VPCs", limits)
}
