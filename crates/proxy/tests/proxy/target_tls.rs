//! Targets under TLS that prove who they are, and what gateways show them.

use std::net::SocketAddr;
use std::sync::Arc;

use lath_feed::{Certificate, Gateway, GatewayListener, Hidden, TargetName, TargetTls};
use lath_model::lattice::TargetProtocol;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::lab::world::HOST;
use crate::lab::*;

const HOSTNAME: &str = "target.example.com";
const URI: &str = "spiffe://target.example.com/shop";

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with these names, by an authority.
fn issued(issuer: &Issuer, common_name: &str, names: Vec<SanType>) -> Certificate {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let key = KeyPair::generate().unwrap();
    Certificate {
        chain: params.signed_by(&key, issuer).unwrap().pem(),
        key: Hidden(key.serialize_pem()),
    }
}

fn of_target(issuer: &Issuer) -> Certificate {
    let names = vec![
        SanType::DnsName(HOSTNAME.try_into().unwrap()),
        SanType::URI(URI.try_into().unwrap()),
    ];
    issued(issuer, "target", names)
}

/// A target that says for which server it was asked, and who asked.
async fn target(own: &Certificate, clients: Option<&Issuer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let chain = CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.0.as_bytes()).unwrap();
    let provider = lath_health::tls::provider();
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = config.with_single_cert(vec![chain], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let session = stream.get_ref().1;
                let client = session.peer_certificates().map(|chain| {
                    let leaf = lath_ca::Certificate::parse(&chain[0]).unwrap();
                    leaf.subject.common_name().unwrap().to_owned()
                });
                let server = session.server_name().unwrap_or("-");
                let body = format!("{server} {}", client.as_deref().unwrap_or("-"));
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

fn trusting(issuer: &Issuer, hostname: &str, names: &[TargetName]) -> TargetTls {
    TargetTls {
        hostname: hostname.to_owned(),
        anchors: vec![issuer.pem()],
        system: false,
        names: names.to_vec(),
        check_certificate: None,
    }
}

fn dns(name: &str) -> TargetName {
    TargetName::Dns(name.to_owned())
}

fn uri(name: &str) -> TargetName {
    TargetName::Uri(name.to_owned())
}

#[tokio::test]
async fn targets_are_verified_as_their_group_says() {
    let (own, other) = (authority(), authority());
    let at = target(&of_target(&own), None).await;
    let (mut world, group) = World::forwarding(&[at]);
    world.target_group(&group).protocol = TargetProtocol::Https;
    let lab = Lab::start(config(), &world).await;
    // Where a group says nothing, any certificate will do, and no name is asked for.
    let answer = get(world.at, HOST, "/").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "- -"));
    let wrong = "spiffe://target.example.com/other";
    let mut untrusted = trusting(&own, HOSTNAME, &[]);
    untrusted.anchors.clear();
    let system = TargetTls {
        system: true,
        ..untrusted.clone()
    };
    let both = [uri(wrong), dns(HOSTNAME)];
    for (tls, works) in [
        (trusting(&own, HOSTNAME, &[]), true),
        // The connection of before is no other's.
        (trusting(&other, HOSTNAME, &[]), false),
        (untrusted, false),
        (system, false),
        (trusting(&own, "other.example.com", &[]), false),
        (trusting(&own, HOSTNAME, &[uri(URI)]), true),
        (trusting(&own, HOSTNAME, &[uri(wrong)]), false),
        (trusting(&own, HOSTNAME, &[dns("other.example.com")]), false),
        (trusting(&own, HOSTNAME, &[dns("*.example.com")]), false),
        (trusting(&own, HOSTNAME, &both), true),
        // The name that is asked for proves nothing then.
        (trusting(&own, "other.example.com", &[dns(HOSTNAME)]), true),
    ] {
        let words = format!("{tls:?}");
        let hostname = tls.hostname.clone();
        world.target_group(&group).tls = Some(tls);
        lab.apply(&mut world).await;
        let answer = get(world.at, HOST, "/").await;
        match works {
            true => assert_eq!(
                (answer.status, answer.body),
                (200, format!("{hostname} -")),
                "{words}"
            ),
            false => assert!(
                [500, 502, 503].contains(&answer.status),
                "{words}: {answer:?}"
            ),
        }
    }
}

#[tokio::test]
async fn targets_are_shown_the_certificate_of_the_gateway_that_a_request_came_in_by() {
    let issuer = authority();
    let at = target(&of_target(&issuer), Some(&issuer)).await;
    let (mut world, group) = World::forwarding(&[at]);
    world.target_group(&group).protocol = TargetProtocol::Https;
    world.target_group(&group).tls = Some(trusting(&issuer, HOSTNAME, &[]));
    let lab = Lab::start(config(), &world).await;
    // Nothing is shown, so that the target ends the connection.
    let answer = get(world.at, HOST, "/").await;
    assert!([500, 502, 503].contains(&answer.status), "{answer:?}");
    for name in ["one", "two"] {
        world.listener().gateway = Some(Gateway {
            client_certificate: Some(issued(&issuer, name, Vec::new())),
            opaque: false,
            listeners: vec![GatewayListener {
                name: "web".to_owned(),
                hostname: None,
                certificates: Vec::new(),
            }],
        });
        lab.apply(&mut world).await;
        for _ in 0..2 {
            let answer = get(world.at, HOST, "/").await;
            let want = format!("{HOSTNAME} {name}");
            assert_eq!((answer.status, answer.body), (200, want));
        }
    }
    // Connections that show it are not those of requests that came in otherwise.
    world.listener().gateway = None;
    lab.apply(&mut world).await;
    let answer = get(world.at, HOST, "/").await;
    assert!([500, 502, 503].contains(&answer.status), "{answer:?}");
}
