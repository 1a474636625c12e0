//! The way to an API server from outside of its VPC: a port of the host whose connections are spliced.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lath_feed::PublicEndpoint;
use lath_model::WorkloadId;
use lath_net::{Place, connect, listen};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;

/// How long a connection inside a namespace may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A port that is being served. It is given up when this is dropped.
pub(super) struct Endpoint {
    listen: SocketAddr,
    cidrs: watch::Sender<Vec<IpNet>>,
    _stop: DropGuard,
}

/// The endpoint as it is wanted: the one that is there is kept while its address is the same.
pub(super) async fn ensure(
    shared: &Arc<Shared>,
    known: Option<Endpoint>,
    wanted: Option<&PublicEndpoint>,
    to: (&WorkloadId, SocketAddr),
) -> Result<Option<Endpoint>, String> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    if let Some(known) = known
        && known.listen == wanted.listen
    {
        known.cidrs.send_if_modified(|cidrs| {
            let differs = *cidrs != wanted.cidrs;
            cidrs.clone_from(&wanted.cidrs);
            differs
        });
        return Ok(Some(known));
    }
    let listener = listen(&shared.parts.network, &Place::Host, wanted.listen).await;
    let listener = listener.and_then(|it| {
        it.set_nonblocking(true)?;
        TcpListener::from_std(it)
    });
    let listener = listener.map_err(|error| format!("its endpoint {}: {error}", wanted.listen))?;
    let (cidrs_tx, cidrs) = watch::channel(wanted.cidrs.clone());
    let stop = CancellationToken::new();
    let door = Door {
        shared: Arc::clone(shared),
        listener,
        cidrs,
        workload: to.0.clone(),
        to: to.1,
        stop: stop.clone(),
    };
    let ended = stop.clone();
    tokio::spawn(async move { ended.run_until_cancelled(door.serve()).await });
    Ok(Some(Endpoint {
        listen: wanted.listen,
        cidrs: cidrs_tx,
        _stop: stop.drop_guard(),
    }))
}

struct Door {
    shared: Arc<Shared>,
    listener: TcpListener,
    cidrs: watch::Receiver<Vec<IpNet>>,
    workload: WorkloadId,
    to: SocketAddr,
    stop: CancellationToken,
}

impl Door {
    async fn serve(&self) {
        loop {
            let accepted = self.shared.acceptor.accept(&self.listener, &Place::Host);
            let (stream, peer, slot) = accepted.await;
            if !may_connect(&self.cidrs.borrow(), peer.ip()) {
                continue;
            }
            let (shared, to) = (Arc::clone(&self.shared), self.to);
            let place = Place::Workload(self.workload.clone());
            let stop = self.stop.clone();
            tokio::spawn(async move {
                // A watch says nothing for as long as nothing changes.
                let busy = slot.busy();
                let spliced = splice(stream, &shared, &place, to);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = slot.ended() => {}
                    // An end of either side is the other's end.
                    _ = spliced => {}
                }
                drop(busy);
            });
        }
    }
}

async fn splice(
    mut client: TcpStream,
    shared: &Shared,
    place: &Place,
    to: SocketAddr,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = connect(&shared.parts.network, place, None, to, PATIENCE).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

fn may_connect(cidrs: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    // The host itself reaches the port whatever the blocks say: it holds the keys.
    peer.is_loopback() || cidrs.iter().any(|cidr| cidr.contains(&peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_say_who_connects() {
        let cidrs = [
            "192.0.2.0/24".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
        for (peer, want) in [
            ("192.0.2.9", true),
            ("::ffff:192.0.2.9", true),
            ("198.51.100.1", false),
            ("2001:db8::1", true),
            ("127.0.0.1", true),
        ] {
            assert_eq!(may_connect(&cidrs, peer.parse().unwrap()), want, "{peer}");
        }
    }
}
