//! The metadata service on real sockets: VPCs come and go.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lath_feed::{Snapshot, Vpc};
use lath_instance::metadata::MetadataService;
use lath_model::id::VpcId;
use lath_net::{HostNetwork, Kind, Network, Place};
use socket2::{Domain, Socket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

/// The host's network, once it is there.
struct Late(AtomicBool);

#[async_trait]
impl Network for Late {
    async fn socket(&self, place: &Place, domain: Domain, kind: Kind) -> io::Result<Socket> {
        if self.0.load(Ordering::SeqCst) {
            HostNetwork.socket(place, domain, kind).await
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn snapshot(vpc: &VpcId) -> Arc<Snapshot> {
    let network = Vpc {
        id: vpc.clone(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        dns_support: true,
        dns_hostnames: false,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
    };
    Arc::new(Snapshot {
        vpcs: BTreeMap::from([(vpc.clone(), Arc::new(network))]),
        ..Snapshot::default()
    })
}

#[tokio::test]
async fn listeners_follow_the_vpcs() {
    let network = Arc::new(Late(AtomicBool::new(false)));
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let at = free_address();
    let service = MetadataService::new(network.clone(), snapshots).with_address(at);
    let mut bound = service.bound();
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    let vpc = VpcId::random();
    publish.send(snapshot(&vpc)).unwrap();
    let failed = bound.wait_for(|bound| bound.get(&vpc).is_some_and(Result::is_err));
    tokio::time::timeout(DEADLINE, failed)
        .await
        .unwrap()
        .unwrap();
    network.0.store(true, Ordering::SeqCst);
    let ready = bound.wait_for(|bound| bound.get(&vpc).is_some_and(Result::is_ok));
    tokio::time::timeout(DEADLINE, ready)
        .await
        .unwrap()
        .unwrap();

    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(at)?;
        stream.write_all(
            b"GET /latest/meta-data/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    let answer = answer.await.unwrap().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 404"),
        "strangers get nothing: {answer}"
    );

    publish.send(Arc::new(Snapshot::default())).unwrap();
    let gone = bound.wait_for(BTreeMap::is_empty);
    tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
    let closed = async {
        while tokio::net::TcpStream::connect(at).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, closed).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}
