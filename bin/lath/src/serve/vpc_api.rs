//! How programs in VPCs reach control.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use lath_door::{FrontDoor, Relay};
use lath_model::id::VpcId;
use lath_net::accept::Acceptor;
use lath_node::Api;
use lath_wire::FromVpc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The way to control from a node.
pub(crate) enum VpcApi {
    /// In the same process.
    Door(Arc<FrontDoor>),
    /// In processes of their own, which may be dead.
    Relay(Arc<Relay>),
}

#[async_trait]
impl Api for VpcApi {
    async fn serve(
        &self,
        listener: TcpListener,
        vpc: VpcId,
        acceptor: Acceptor,
        stop: CancellationToken,
    ) {
        let of = (vpc, acceptor);
        match self {
            Self::Door(door) => Arc::clone(door).serve_vpc(listener, of, stop).await,
            Self::Relay(relay) => Arc::clone(relay).serve_vpc(listener, of, stop).await,
        }
    }

    async fn ask(&self, mut request: Request<Bytes>, from: (VpcId, IpAddr)) -> Response<Bytes> {
        let (vpc, address) = from;
        let peer = SocketAddr::new(address, 0);
        request.extensions_mut().insert(FromVpc { vpc, address });
        match self {
            Self::Door(door) => door.answer(request.map(Full::new), peer).await,
            Self::Relay(relay) => relay.relayed(&request, peer).await,
        }
    }
}
