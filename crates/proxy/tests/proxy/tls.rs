//! HTTPS listeners and targets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{AccessLogDestination, Certificate, Hidden};
use lath_model::id::{AccessLogSubscriptionId, ServiceId};
use lath_model::lattice::{Action, ListenerProtocol, ProtocolVersion, TargetProtocol};
use lath_proxy::{Limits, ProxyConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::lab::target::ok;
use crate::lab::world::HOST;
use crate::lab::{Lab, PATIENCE, Target, World, config, connect_from, eventually, get, send_raw};

/// A certificate for these names, which is its own root.
pub(crate) fn certificate(names: &[&str]) -> (Certificate, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = Certificate {
        chain: made.cert.pem(),
        key: Hidden(made.signing_key.serialize_pem()),
    };
    (certificate, made.cert.der().clone())
}

/// A client that trusts these and offers these protocols.
fn client(roots: &[&CertificateDer<'static>], protocols: &[&str]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add((*root).clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(lath_health::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub(crate) async fn connect(
    to: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

/// A GET, and all of what comes until the connection ends or the answer is whole.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let text = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&came).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                crate::lab::header(head, "content-length").map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut came));
        if read.await.unwrap().unwrap_or(0) == 0 {
            return text;
        }
    }
}

/// The alert that ended the handshake.
pub(crate) fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match inner {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// A service with an HTTPS listener, and the root of its certificate.
pub(crate) fn secured(world: &mut World) -> CertificateDer<'static> {
    let (its, root) = certificate(&[HOST]);
    world.listener().protocol = ListenerProtocol::Https;
    world.service().certificate = Some(its);
    root
}

pub(crate) fn prometheus(lab: &Lab, name: &str) -> u64 {
    let text = lab.handle.prometheus();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn tls_ends_at_a_listener_and_targets_and_logs_are_told() {
    let target = Target::named("over tls").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let (generated, generated_root) = certificate(&["*.lattice.test"]);
    world.snapshot.lattice_certificate = Some(Arc::new(generated));
    world.service().access_logs.push(AccessLogDestination {
        id: AccessLogSubscriptionId::random(),
        destination_arn: "arn:logs".to_owned(),
    });
    let lab = Lab::start(config(), &world).await;
    let config = client(&[&root, &generated_root], &["http/1.1"]);
    let mut stream = connect(world.at, HOST, &config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..3 {
        assert!(ask(&mut stream, HOST).await.ends_with("over tls"));
    }
    let got = target.last();
    assert_eq!(got.header("x-forwarded-proto"), Some("https"));
    // An idle connection gives its buffers back, and goes on.
    eventually("it rests", || {
        prometheus(&lab, "lath_proxy_connections_resting") == 1
    })
    .await;
    assert!(ask(&mut stream, HOST).await.ends_with("over tls"));
    let domain = world.service().domain_name.clone();
    let mut other = connect(world.at, &domain, &config).await.unwrap();
    // The host decides, whichever name was asked for in the handshake.
    assert!(ask(&mut other, HOST).await.ends_with("over tls"));
    assert!(
        ask(&mut other, "else.example.com")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
    eventually("logs", || lab.sink.logs.lock().unwrap().len() == 5).await;
    let logs = lab.sink.logs.lock().unwrap();
    assert_eq!(logs[0].tls_version, Some("TLSv1.3"));
    assert_eq!(logs[0].ssl_cipher, Some("TLS_AES_128_GCM_SHA256"));
    assert_eq!(logs[0].server_name.as_deref(), Some(HOST));
    assert_eq!(logs[4].server_name.as_deref(), Some(domain.as_str()));
    assert_eq!(prometheus(&lab, "lath_proxy_tls_handshakes_total"), 2);
}

#[tokio::test]
async fn http2_is_agreed_on_and_without_alpn_it_is_http1() {
    let target = Target::named("two").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let _lab = Lab::start(config(), &world).await;
    let stream = connect(world.at, HOST, &client(&[&root], &["http/1.1", "h2"]))
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let big = "x".repeat(300_000);
    let request = http::Request::post(format!("https://{HOST}/"))
        .body(big)
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(target.last().body.len(), 300_000);
    let mut stream = connect(world.at, HOST, &client(&[&root], &[]))
        .await
        .unwrap();
    assert!(ask(&mut stream, HOST).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_that_is_here_is_told_so() {
    let mut world = World::new();
    let root = secured(&mut world);
    let lab = Lab::start(config(), &world).await;
    let config = client(&[&root], &[]);
    let unknown = connect(world.at, "other.example.com", &config)
        .await
        .unwrap_err();
    assert_eq!(alert(&unknown), Some(AlertDescription::UnrecognisedName));
    let nameless = connect(world.at, "127.0.0.1", &config).await.unwrap_err();
    assert_eq!(alert(&nameless), Some(AlertDescription::MissingExtension));
    let strange = connect(world.at, HOST, &client(&[&root], &["ftp"]))
        .await
        .unwrap_err();
    assert_eq!(
        alert(&strange),
        Some(AlertDescription::NoApplicationProtocol)
    );
    // A client in the clear reads no alert: it is no HTTP.
    let clear = send_raw(
        world.at,
        b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n",
    )
    .await;
    assert_eq!(clear.status, 0);
    eventually("errors", || {
        prometheus(&lab, "lath_proxy_tls_errors_total") == 4
    })
    .await;
}

#[tokio::test]
async fn a_handshake_has_an_end() {
    let mut world = World::new();
    secured(&mut world);
    let limits = Limits {
        handshake: Duration::from_millis(50),
        ..Limits::default()
    };
    let lab = Lab::start(ProxyConfig { limits, ..config() }, &world).await;
    let answer = send_raw(world.at, &HALF).await;
    assert_eq!(answer.head, "");
    // A handshake that waits for its client's last word.
    let provider = lath_health::tls::provider();
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(HOST).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let answer = send_raw(world.at, &hello).await;
    assert!(!answer.head.is_empty(), "the server's part");
    assert_eq!(prometheus(&lab, "lath_proxy_tls_errors_total"), 2);
}

/// Half of a ClientHello.
const HALF: [u8; 9] = [22, 3, 1, 1, 0, 1, 0, 0, 252];

#[tokio::test]
async fn slow_handshakes_have_a_bounded_number_and_keep_nobody_out() {
    let target = Target::named("served").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let limits = Limits {
        handshakes: 64,
        ..Limits::default()
    };
    let lab = Lab::start(ProxyConfig { limits, ..config() }, &world).await;
    let config = client(&[&root], &["http/1.1"]);
    let mut kept = connect(world.at, HOST, &config).await.unwrap();
    let mut slow = Vec::new();
    let open = || prometheus(&lab, "lath_proxy_connections_open");
    // A quarter is for one client, three quarters for a VPC, whose clients share them.
    for (clients, most) in [(2..3, 16), (3..11, 48)] {
        for last in clients {
            for _ in 0..100 {
                let mut stream = connect_from(&format!("127.0.0.{last}"), world.at).await;
                // It may be shed already.
                let _ = stream.write_all(&HALF).await;
                slow.push(stream);
            }
        }
        eventually("the oldest are shed", || open() == most + 1).await;
        for _ in 0..20 {
            let mut stream = connect(world.at, HOST, &config).await.unwrap();
            assert!(ask(&mut stream, HOST).await.ends_with("served"));
        }
        eventually("those are gone", || open() <= most + 1).await;
    }
    // A handshake that is over needs no slot.
    assert!(ask(&mut kept, HOST).await.ends_with("served"));
    let shed = tokio::time::timeout(PATIENCE, slow[0].read(&mut [0])).await;
    assert!(matches!(shed.unwrap(), Ok(0) | Err(_)));
    assert_eq!(prometheus(&lab, "lath_proxy_tls_handshakes_total"), 41);
}

#[tokio::test]
async fn a_certificate_changes_under_its_connections() {
    let target = Target::named("steady").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let old = secured(&mut world);
    let lab = Lab::start(config(), &world).await;
    let (next, new) = certificate(&[HOST]);
    let config = client(&[&old, &new], &[]);
    let mut first = connect(world.at, HOST, &config).await.unwrap();
    assert!(ask(&mut first, HOST).await.ends_with("steady"));
    let mut second = connect(world.at, HOST, &config).await.unwrap();
    assert!(ask(&mut second, HOST).await.ends_with("steady"));
    let kind = |stream: &TlsStream<TcpStream>| stream.get_ref().1.handshake_kind().unwrap();
    assert_eq!(kind(&second), rustls::HandshakeKind::Resumed);
    // Another change of the service leaves its sessions alone.
    world.service().idle_timeout = Duration::from_secs(61);
    lab.apply(&mut world).await;
    let mut third = connect(world.at, HOST, &config).await.unwrap();
    assert!(ask(&mut third, HOST).await.ends_with("steady"));
    assert_eq!(kind(&third), rustls::HandshakeKind::Resumed);
    world.service().certificate = Some(next);
    lab.apply(&mut world).await;
    for stream in [&mut first, &mut second] {
        assert!(ask(stream, HOST).await.ends_with("steady"));
    }
    let fourth = connect(world.at, HOST, &config).await.unwrap();
    assert_eq!(fourth.get_ref().1.peer_certificates(), Some(&[new][..]));
}

#[tokio::test]
async fn one_port_speaks_both_where_services_differ() {
    let target = Target::named("both").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let mut plain = world.service().clone();
    let root = secured(&mut world);
    plain.id = ServiceId::random();
    plain.domain_name = "plain.lattice.test".to_owned();
    plain.custom_domain_name = None;
    world.service_network().services.insert(plain.id.clone());
    world
        .snapshot
        .services
        .insert(plain.id.clone(), Arc::new(plain));
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, "plain.lattice.test", "/").await.body, "both");
    assert_eq!(get(world.at, HOST, "/").await.status, 404);
    let mut stream = connect(world.at, HOST, &client(&[&root], &[]))
        .await
        .unwrap();
    assert!(ask(&mut stream, HOST).await.ends_with("both"));
    assert!(
        ask(&mut stream, "plain.lattice.test")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
}

/// Ends TLS before a target: with these protocols, under an expired name.
async fn under_tls(target: SocketAddr, protocols: &[&str]) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["whoever".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(lath_health::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(target).await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
                }
            });
        }
    });
    at
}

fn speak_tls(world: &mut World, group: &lath_model::id::TargetGroupId) {
    let group = world.snapshot.target_groups.get_mut(group).unwrap();
    let group = Arc::make_mut(group);
    group.protocol = TargetProtocol::Https;
    group.protocol_version = Some(ProtocolVersion::Http1);
}

#[tokio::test]
async fn targets_are_spoken_to_under_tls_whatever_their_certificate() {
    let target = Target::start(|got| ok(got.path())).await;
    let front = under_tls(target.at, &["http/1.1"]).await;
    let (mut world, group) = World::forwarding(&[front]);
    speak_tls(&mut world, &group);
    let lab = Lab::start(config(), &world).await;
    for _ in 0..4 {
        assert_eq!(get(world.at, HOST, "/x").await.body, "/x");
    }
    // Tickets that come after the handshake do not end a connection.
    assert_eq!(
        target
            .connections
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
    let id = group.to_string();
    let dimensions = [("TargetGroup", id.as_str())];
    eventually("a handshake is counted", || {
        lab.sink
            .sum("TotalTLSConnectionHandshakeCount", &dimensions)
            > 0.0
    })
    .await;
    assert_eq!(lab.sink.sum("TLSConnectionErrorCount", &dimensions), 0.0);
}

#[tokio::test]
async fn what_a_target_says_unasked_under_tls_answers_nothing() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let both = [&answer[..], unasked].concat();
    let target = Target::start(move |_| crate::lab::target::Deed::Answer(both.clone())).await;
    let front = under_tls(target.at, &[]).await;
    let (mut world, group) = World::forwarding(&[front]);
    speak_tls(&mut world, &group);
    let _lab = Lab::start(config(), &world).await;
    for _ in 0..4 {
        assert_eq!(get(world.at, HOST, "/").await.body, "ok");
    }
}

#[tokio::test]
async fn a_target_without_tls_is_not_connected() {
    let target = Target::named("clear").await;
    let (mut world, group) = World::forwarding(&[target.at]);
    speak_tls(&mut world, &group);
    let lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 500);
    let id = group.to_string();
    let dimensions = [("TargetGroup", id.as_str())];
    eventually("an error is counted", || {
        lab.sink.sum("TLSConnectionErrorCount", &dimensions) > 0.0
    })
    .await;
    world.default_action(Action::FixedResponse(404));
    lab.apply(&mut world).await;
}

/// A service with a TLS_PASSTHROUGH listener before a target that ends TLS itself.
async fn passing(target: SocketAddr) -> (World, lath_model::id::TargetGroupId) {
    let front = under_tls(target, &[]).await;
    let (mut world, group) = World::forwarding(&[front]);
    world.listener().protocol = ListenerProtocol::TlsPassthrough;
    let tcp = world.target_group(&group);
    tcp.protocol = TargetProtocol::Tcp;
    tcp.protocol_version = None;
    (world, group)
}

/// A client that takes any certificate.
fn trusting() -> Arc<ClientConfig> {
    lath_health::tls::towards_targets(ProtocolVersion::Http1)
}

#[tokio::test]
async fn tls_is_passed_on_by_the_name_alone() {
    let target = Target::start(|got| ok(got.header("host").unwrap())).await;
    let (mut world, group) = passing(target.at).await;
    world.service().access_logs.push(AccessLogDestination {
        id: AccessLogSubscriptionId::random(),
        destination_arn: "arn:logs".to_owned(),
    });
    let lab = Lab::start(config(), &world).await;
    let mut stream = connect(world.at, HOST, &trusting()).await.unwrap();
    for _ in 0..2 {
        // The bytes are the target's own affair.
        assert!(ask(&mut stream, "anything").await.ends_with("anything"));
    }
    assert_eq!(target.last().header("x-forwarded-proto"), None);
    stream.shutdown().await.unwrap();
    drop(stream);
    eventually("a log", || lab.sink.logs.lock().unwrap().len() == 1).await;
    let log = lab.sink.logs.lock().unwrap()[0].clone();
    assert_eq!(log.server_name.as_deref(), Some(HOST));
    assert_eq!((log.host, log.failure_reason), (None, None));
    assert!(log.bytes_received > 200 && log.bytes_sent > 500);
    let id = group.to_string();
    let dimensions = [("TargetGroup", id.as_str())];
    eventually("bytes are counted", || {
        lab.sink.sum("TotalSentConnectionBytes", &dimensions) > 500.0
    })
    .await;
    // Not by the generated name, and not in the clear.
    let domain = world.service().domain_name.clone();
    let refused = connect(world.at, &domain, &trusting()).await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::UnrecognisedName));
    assert_eq!(get(world.at, HOST, "/").await.status, 0);
}

#[tokio::test]
async fn a_passage_needs_the_permission_to_connect_and_ends_when_it_is_idle() {
    let target = Target::named("passed").await;
    let (mut world, _) = passing(target.at).await;
    let allow = |action: &str| lath_feed::Auth::AwsIam {
        policy: Some(format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"vpc-lattice-svcs:{action}","Resource":"*"}}]}}"#
        )),
    };
    world.service().auth = allow("Invoke");
    world.service().idle_timeout = Duration::from_millis(200);
    let config = ProxyConfig {
        lifetime_grace: Duration::from_millis(100),
        ..config()
    };
    let lab = Lab::start(config, &world).await;
    connect(world.at, HOST, &trusting()).await.unwrap_err();
    assert_eq!(target.count(), 0);
    world.service().auth = allow("Connect");
    lab.apply(&mut world).await;
    let mut stream = connect(world.at, HOST, &trusting()).await.unwrap();
    assert!(ask(&mut stream, HOST).await.ends_with("passed"));
    let end = tokio::time::timeout(PATIENCE, stream.read_u8())
        .await
        .unwrap();
    assert!(end.is_err(), "it was idle");
}
