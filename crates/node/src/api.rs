//! The AWS APIs for programs in VPCs: plain HTTP at [`API_ADDRESS`] of every VPC's router. Control answers; while it is dead
//! so does who speaks for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use lath_feed::SnapshotReceiver;
use lath_instance::Listeners;
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::descriptors::Purpose;
use lath_net::{API_ADDRESS, Network};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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

/// Answers in all VPCs until `stop`, or until the publisher of snapshots is gone.
pub(crate) async fn serve(
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
    api: Arc<dyn Api>,
    stop: CancellationToken,
) {
    let address = SocketAddr::new(API_ADDRESS.into(), 80);
    let listeners = Listeners::new(network, snapshots, address);
    let acceptor = acceptor();
    let begin = |vpc, listener, stop| {
        let (api, acceptor) = (Arc::clone(&api), acceptor.clone());
        tokio::spawn(async move { api.serve(listener, vpc, acceptor, stop).await });
    };
    listeners.run(stop, begin).await;
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
