//! Service networks that take identified workloads only.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lath_ca::Authority;
use lath_clock::Clock;
use lath_feed::{Auth, Certificate, Hidden, WorkloadAuthority};
use lath_model::id::VpcId;
use lath_model::lattice::TargetProtocol;
use lath_proxy::{KnowsWorkloads, ProxyConfig, Workloads};
use lath_svid::{Issuer, Svid};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::lab::world::HOST;
use crate::lab::*;

/// Names workloads by their addresses.
struct Known {
    names: BTreeMap<IpAddr, &'static str>,
    authority: Arc<WorkloadAuthority>,
    issuer: Issuer,
}

impl KnowsWorkloads for Known {
    fn at(&self, _: &VpcId, address: IpAddr) -> Option<Arc<Svid>> {
        self.named(self.names.get(&address)?)
    }

    fn named(&self, spiffe_id: &str) -> Option<Arc<Svid>> {
        self.issuer
            .issue(&self.authority, spiffe_id, Clock::system().now())
    }
}

const ONE: &str = "spiffe://t/1/r/instance/i-1";
const TWO: &str = "spiffe://t/1/r/instance/i-2";

/// Knows 127.0.0.1 and 127.0.0.2, by an authority below this root.
fn knowing(root: &Authority) -> ProxyConfig {
    let made = root
        .workload_authority(
            "r",
            std::time::Duration::from_secs(86400),
            Clock::system().now(),
        )
        .unwrap();
    let authority = WorkloadAuthority {
        certificate: Certificate {
            chain: lath_ca::encode("CERTIFICATE", &made.chain[0]),
            key: Hidden(made.key.reveal_pem().to_string()),
        },
        trust_domain: "t".to_owned(),
    };
    let names = [("127.0.0.1", ONE), ("127.0.0.2", TWO)];
    let known = Known {
        names: names
            .map(|(address, name)| (address.parse().unwrap(), name))
            .into(),
        authority: Arc::new(authority),
        issuer: Issuer::default(),
    };
    ProxyConfig {
        workloads: Some(Workloads(Arc::new(known))),
        ..config()
    }
}

async fn asked(from: &str, to: SocketAddr, more: &str) -> Answer {
    let mut client = Client::from(from, to).await;
    let text = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
    client.ask(&text).await.unwrap()
}

#[tokio::test]
async fn a_network_takes_identified_workloads_only_and_policies_know_them() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = Authority::random(Clock::system().now()).unwrap();
    let lab = Lab::start(knowing(&root), &world).await;
    let lie = "X-Amzn-Mtls-Spiffe-Id: spiffe://t/boss\r\n";
    assert_eq!(asked("127.0.0.3", world.at, lie).await.status, 200);
    assert_eq!(target.last().header("x-amzn-mtls-spiffe-id"), None);
    world.service_network().workloads_only = true;
    lab.apply(&mut world).await;
    assert_eq!(asked("127.0.0.3", world.at, lie).await.status, 403);
    for (address, name) in [("127.0.0.1", ONE), ("127.0.0.2", TWO)] {
        assert_eq!(asked(address, world.at, lie).await.status, 200);
        let got = target.last();
        assert_eq!(got.header("x-amzn-mtls-spiffe-id"), Some(name));
        assert_eq!(got.head.matches("piffe-").count(), 1, "{}", got.head);
    }
    let document = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
        "Condition": { "StringEquals": { "lath:SpiffeId": ONE } }
    }] });
    world.service().auth = Auth::AwsIam {
        policy: Some(document.to_string()),
    };
    lab.apply(&mut world).await;
    assert_eq!(asked("127.0.0.1", world.at, "").await.status, 200);
    assert_eq!(asked("127.0.0.2", world.at, "").await.status, 403);
    // A proxy that knows no workloads admits none.
    let (mut world, _) = World::forwarding(&[target.at]);
    world.service_network().workloads_only = true;
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(asked("127.0.0.1", world.at, "").await.status, 403);
}

/// A target under TLS that asks for certificates below a root, and says whom they name and over which connection.
async fn target_that_asks(root: &Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (own, _) = crate::tls::certificate(&["target.test"]);
    let chain = CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.0.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    let anchor = CertificateDer::from_pem_slice(root.root_pem().as_bytes());
    roots.add(anchor.unwrap()).unwrap();
    let provider = lath_health::tls::provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let connections = AtomicUsize::new(0);
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            let number = connections.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let chain = stream.get_ref().1.peer_certificates().unwrap();
                let leaf = lath_ca::Certificate::parse(&chain[0]).unwrap();
                let body = format!("{} {number}", leaf.uris.join(","));
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let mut came = Vec::new();
                while stream.read_buf(&mut came).await.is_ok_and(|it| it > 0) {
                    if came.ends_with(b"\r\n\r\n") {
                        came.clear();
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    at
}

#[tokio::test]
async fn targets_under_tls_are_shown_who_calls_and_connections_serve_one_caller() {
    let root = Authority::random(Clock::system().now()).unwrap();
    let at = target_that_asks(&root).await;
    let (mut world, group) = World::forwarding(&[at]);
    world.target_group(&group).protocol = TargetProtocol::Https;
    world.service_network().workloads_only = true;
    let lab = Lab::start(knowing(&root), &world).await;
    let mut connections = BTreeMap::new();
    for _ in 0..3 {
        for (address, name) in [("127.0.0.1", ONE), ("127.0.0.2", TWO)] {
            let answer = asked(address, world.at, "").await;
            let (said, number) = answer.body.split_once(' ').unwrap();
            assert_eq!((answer.status, said), (200, name));
            connections.insert(number.to_owned(), name);
        }
    }
    let callers: Vec<_> = connections.values().collect();
    assert!(callers.contains(&&ONE) && callers.contains(&&TWO));
    assert!(
        connections.len() < 6,
        "they are used again: {connections:?}"
    );
    // Where the network does not ask, targets are shown nothing.
    world.service_network().workloads_only = false;
    lab.apply(&mut world).await;
    let answer = asked("127.0.0.1", world.at, "").await;
    assert!([500, 502].contains(&answer.status), "{}", answer.status);
}
