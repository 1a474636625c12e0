//! Turns the peering attachments in two regions' snapshots into tunnels between their gateways.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod lab;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab::{End, Namespace, PATIENCE, ends};
use lath_clock::Clock;
use lath_feed::*;
use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayId};
use lath_net::{Kind, Network, Place, new_socket};
use lath_tunnel::{Tunnels, device_name, device_names, public_key};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const GATEWAY: &str = "tgw-0123456789abcdef0";
const ATTACHMENT: &str = "tgw-attach-0123456789abcdef0";
const STALE: &str = "tgw-attach-0fedcba9876543210";
const PORT: u16 = 52_000;

struct UnderlayOf(OwnedFd);

#[async_trait::async_trait]
impl Network for UnderlayOf {
    async fn socket(
        &self,
        place: &Place,
        domain: socket2::Domain,
        kind: Kind,
    ) -> io::Result<socket2::Socket> {
        assert_eq!(*place, Place::Underlay);
        let inside = || {
            nix::sched::setns(&self.0, nix::sched::CloneFlags::CLONE_NEWNET)?;
            new_socket(domain, kind)
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }
}

fn snapshot(own: &End, peer: &End, attachment: Option<&str>) -> Arc<Snapshot> {
    let peering = PeeringTunnel {
        region: "elsewhere".into(),
        gateway: GATEWAY.parse().unwrap(),
        private_key: own.key.clone(),
        port: PORT,
        peer_public_key: public_key(&peer.key),
        peer: std::net::SocketAddrV4::new(peer.address.into(), PORT),
    };
    let attachment = attachment.map(|id| TransitAttachment {
        id: id.parse().unwrap(),
        to: TransitPeer::Tunnel(peering),
        route_table: None,
    });
    let gateway = TransitGateway {
        id: GATEWAY.parse().unwrap(),
        attachments: attachment.into_iter().map(|a| (a.id.clone(), a)).collect(),
        route_tables: Default::default(),
    };
    Arc::new(Snapshot {
        version: 7,
        transit_gateways: [(gateway.id.clone(), Arc::new(gateway))].into(),
        ..Snapshot::default()
    })
}

/// The peering part of a region's node.
struct Node {
    gateway: Arc<Mutex<Option<OwnedFd>>>,
    feed: watch::Sender<Arc<Snapshot>>,
    conditions:
        watch::Receiver<Arc<std::collections::BTreeMap<TransitGatewayAttachmentId, Condition>>>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    fn start(end: &End, snapshot: Arc<Snapshot>) -> Self {
        let gateway = Arc::new(Mutex::new(Some(end.inner.fd())));
        let known = Arc::clone(&gateway);
        let netns = move |id: &TransitGatewayId| {
            assert_eq!(id.as_str(), GATEWAY);
            let known = known.lock().unwrap();
            known.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()
        };
        let (feed, snapshots) = watch::channel(snapshot);
        let network = Arc::new(UnderlayOf(end.underlay.fd()));
        let tunnels = Tunnels::new(network, Arc::new(netns), snapshots, Clock::system());
        let (conditions, stop) = (tunnels.conditions(), CancellationToken::new());
        Self {
            gateway,
            feed,
            conditions,
            running: tokio::spawn(tunnels.run(stop.clone())),
            stop,
        }
    }

    async fn see(&self, what: &str, wanted: impl Fn(Option<&Condition>) -> bool) {
        let id: TransitGatewayAttachmentId = ATTACHMENT.parse().unwrap();
        let mut conditions = self.conditions.clone();
        let seen = conditions.wait_for(|known| wanted(known.get(&id)));
        let seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
        assert!(seen, "{what}: {:?}", self.conditions.borrow());
    }

    async fn die(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn ready(condition: Option<&Condition>) -> bool {
    condition == Some(&Condition::Ready { version: 7 })
}

fn silent(condition: Option<&Condition>) -> bool {
    matches!(condition, Some(Condition::Failed { reason }) if reason.contains("has not answered for"))
}

fn devices(netns: &Namespace) -> Vec<String> {
    device_names(netns.fd().as_fd()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peerings_come_go_die_and_come_back() {
    let Some([one, other]) = ends(9216) else {
        return;
    };
    // The device of a peering that was deleted while no node was running.
    let stale = device_name(&STALE.parse().unwrap());
    one.inner.ip(&format!("tuntap add {stale} mode tun"));
    let (here, there) = (
        snapshot(&one, &other, Some(ATTACHMENT)),
        snapshot(&other, &one, Some(ATTACHMENT)),
    );
    let (first, second) = (
        Node::start(&one, here),
        Node::start(&other, Arc::clone(&there)),
    );
    first.see("the first is ready", ready).await;
    second.see("the second is ready", ready).await;
    let device = device_name(&ATTACHMENT.parse().unwrap());
    assert!(devices(&one.inner).contains(&device) && !devices(&one.inner).contains(&stale));

    second.die().await;
    first.see("a dead peer", silent).await;
    assert!(devices(&other.inner).contains(&device), "the device waits");
    let second = Node::start(&other, there);
    first.see("back", ready).await;
    second.see("ready again", ready).await;

    // The gateway's namespace is lost and made again.
    *first.gateway.lock().unwrap() = None;
    let gone = |c: Option<&Condition>| matches!(c, Some(Condition::Failed { .. }));
    first.see("no namespace", gone).await;
    let anew = Namespace::make().unwrap();
    *first.gateway.lock().unwrap() = Some(anew.fd());
    first.see("in the new namespace", ready).await;
    assert!(devices(&anew).contains(&device));

    first.feed.send_replace(snapshot(&one, &other, None));
    first.see("deleted", |condition| condition.is_none()).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while devices(&anew).contains(&device) {
        assert!(std::time::Instant::now() < deadline, "the device stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    second.see("the other one is alone", silent).await;
    first.die().await;
    second.die().await;
}
