//! Listeners that ask clients for certificates.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use lath_clock::Clock;
use lath_feed::{Auth, MutualTls, MutualTlsMode, Revoked};
use lath_model::id::{ListenerId, ServiceId};
use lath_model::lattice::ListenerProtocol;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::lab::world::HOST;
use crate::lab::{Lab, PATIENCE, Target, World, config, eventually};
use crate::tls::{alert, ask, certificate, connect, prometheus, secured};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str, above: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let number = 1 + u8::from(above.is_some());
    params.serial_number = Some(SerialNumber::from(vec![0x41, number]));
    let key = KeyPair::generate().unwrap();
    match above {
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
        Some(above) => CertifiedIssuer::signed_by(params, key, above).unwrap(),
    }
}

/// A certificate that this authority issued, and its key.
struct Id {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn id(authority: &Authority, serial: u8, change: impl FnOnce(&mut CertificateParams)) -> Id {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "till, 1");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Shop");
    params.serial_number = Some(SerialNumber::from(vec![0x42, serial]));
    let uri = "spiffe://test/till/1".try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 2);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, authority).unwrap();
    Id {
        chain: vec![made.der().clone()],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    }
}

/// A client with this certificate, or without one.
fn client(root: &CertificateDer<'static>, id: Option<&Id>) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add(root.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(lath_health::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    Arc::new(match id {
        None => builder.with_no_client_auth(),
        Some(id) => builder
            .with_client_auth_cert(id.chain.clone(), id.key.clone_key())
            .unwrap(),
    })
}

fn verify(anchors: &[&Authority]) -> MutualTls {
    MutualTls {
        mode: MutualTlsMode::Verify,
        anchors: anchors.iter().map(|it| it.pem()).collect(),
        ignore_expiry: false,
        revoked: Vec::new(),
        reserved: None,
    }
}

fn revoked(authority: &Authority, serial: &str) -> Revoked {
    Revoked {
        authority: authority.pem(),
        serials: BTreeSet::from([serial.to_owned()]),
    }
}

/// The alert that a client gets; in TLS 1.3, instead of an answer.
async fn refused(at: std::net::SocketAddr, config: &Arc<ClientConfig>) -> AlertDescription {
    let error = match connect(at, HOST, config).await {
        Err(error) => error,
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
    };
    alert(&error).unwrap_or_else(|| panic!("{error}"))
}

async fn status(stream: &mut TlsStream<TcpStream>) -> String {
    let answer = ask(stream, HOST).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_listener_admits_the_clients_of_its_authorities_and_tells_targets_who_they_are() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let (own, strange) = (authority("Own CA", None), authority("Strange CA", None));
    let below = authority("Below", Some(&own));
    world.listener().mutual_tls = Some(verify(&[&own]));
    let lab = Lab::start(config(), &world).await;
    let till = id(&own, 7, |_| {});
    let mut through = id(&below, 8, |_| {});
    through.chain.push(below.der().clone());
    for (name, its, serial) in [
        ("direct", &till, "4207"),
        ("through another", &through, "4208"),
    ] {
        let mut stream = connect(world.at, HOST, &client(&root, Some(its)))
            .await
            .unwrap();
        assert_eq!(status(&mut stream).await, "200", "{name}");
        let got = target.last();
        assert_eq!(
            got.header("x-amzn-mtls-clientcert-serial-number"),
            Some(serial)
        );
        assert_eq!(
            got.header("x-amzn-mtls-clientcert-subject"),
            Some(r"O=Shop,CN=till\, 1")
        );
        let validity = "NotBefore=2020-01-01T00:00:00Z;NotAfter=2090-01-02T00:00:00Z";
        assert_eq!(
            got.header("x-amzn-mtls-clientcert-validity"),
            Some(validity)
        );
        let leaf = got.header("x-amzn-mtls-clientcert-leaf").unwrap();
        assert!(
            leaf.starts_with("-----BEGIN%20CERTIFICATE-----%0A"),
            "{leaf}"
        );
        assert_eq!(got.header("x-amzn-mtls-clientcert"), None);
    }
    assert_eq!(
        target.last().header("x-amzn-mtls-clientcert-issuer"),
        Some("CN=Below")
    );
    // Without the certificate between them it leads to no authority.
    through.chain.pop();
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let strangers = id(&strange, 1, |_| {});
    let (expired, server) = (id(&own, 2, expired), id(&own, 3, server));
    for (its, why) in [
        (None, AlertDescription::CertificateRequired),
        (Some(&strangers), AlertDescription::UnknownCA),
        (Some(&through), AlertDescription::UnknownCA),
        (Some(&expired), AlertDescription::CertificateExpired),
        (Some(&server), AlertDescription::UnsupportedCertificate),
    ] {
        assert_eq!(refused(world.at, &client(&root, its)).await, why);
    }
    let count = "lath_proxy_client_certificates_refused_total";
    eventually("refusals are counted", || prometheus(&lab, count) == 5).await;
    // What has ended will do where that is said.
    world.listener().mutual_tls.as_mut().unwrap().ignore_expiry = true;
    lab.apply(&mut world).await;
    let mut stream = connect(world.at, HOST, &client(&root, Some(&expired)))
        .await
        .unwrap();
    assert_eq!(status(&mut stream).await, "200");
}

#[tokio::test]
async fn what_is_revoked_is_refused_at_the_next_request_and_in_sessions_that_are_resumed() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    let below = authority("Below", Some(&own));
    world.listener().mutual_tls = Some(verify(&[&own]));
    let lab = Lab::start(config(), &world).await;
    let (first, second) = (id(&own, 1, |_| {}), id(&own, 2, |_| {}));
    let mut third = id(&below, 3, |_| {});
    third.chain.push(below.der().clone());
    let [one, two, three] = [&first, &second, &third].map(|it| client(&root, Some(it)));
    let mut open = connect(world.at, HOST, &one).await.unwrap();
    let mut stays = connect(world.at, HOST, &two).await.unwrap();
    let mut under = connect(world.at, HOST, &three).await.unwrap();
    for stream in [&mut open, &mut stays, &mut under] {
        assert_eq!(status(stream).await, "200");
    }
    let asked = target.count();
    world.listener().mutual_tls.as_mut().unwrap().revoked = vec![revoked(&own, "4201")];
    lab.apply(&mut world).await;
    let answer = ask(&mut open, HOST).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(
        answer.contains("it is revoked") && answer.contains("onnection: close"),
        "{answer}"
    );
    assert_eq!(target.count(), asked);
    assert_eq!(status(&mut stays).await, "200");
    assert_eq!(
        refused(world.at, &one).await,
        AlertDescription::CertificateRevoked
    );
    // Another connection of the same client, as its sessions are: they are not resumed where another list is trusted.
    let mut again = connect(world.at, HOST, &two).await.unwrap();
    assert_eq!(status(&mut again).await, "200");
    // The one between them is revoked by the one above.
    world.listener().mutual_tls.as_mut().unwrap().revoked = vec![revoked(&own, "4102")];
    lab.apply(&mut world).await;
    assert_eq!(status(&mut under).await, "403");
    assert_eq!(status(&mut stays).await, "200");
    // No authority is trusted any more.
    world
        .listener()
        .mutual_tls
        .as_mut()
        .unwrap()
        .anchors
        .clear();
    lab.apply(&mut world).await;
    assert_eq!(status(&mut stays).await, "403");
}

#[tokio::test]
async fn a_session_that_is_resumed_is_judged_again() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    world.listener().mutual_tls = Some(verify(&[&own]));
    let lab = Lab::start(config(), &world).await;
    let till = id(&own, 7, |_| {});
    let config = client(&root, Some(&till));
    for resumed in [false, true] {
        let mut stream = connect(world.at, HOST, &config).await.unwrap();
        assert_eq!(status(&mut stream).await, "200");
        let kind = stream.get_ref().1.handshake_kind();
        let is_resumed = kind == Some(rustls::HandshakeKind::Resumed);
        assert_eq!(is_resumed, resumed);
        let serial = target.last();
        let serial = serial.header("x-amzn-mtls-clientcert-serial-number");
        assert_eq!(
            serial,
            Some("4207"),
            "a session keeps its client's certificate"
        );
    }
    world.listener().mutual_tls.as_mut().unwrap().revoked = vec![revoked(&own, "4207")];
    lab.apply(&mut world).await;
    assert_eq!(
        refused(world.at, &config).await,
        AlertDescription::CertificateRevoked
    );
}

#[tokio::test]
async fn what_ends_is_refused_at_the_next_request_and_in_sessions_that_are_resumed() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    world.listener().mutual_tls = Some(verify(&[&own]));
    let _lab = Lab::start(config(), &world).await;
    let soon = Clock::system().system_time().duration_since(UNIX_EPOCH);
    let soon = soon.unwrap() + Duration::from_secs(4);
    let short = id(&own, 7, |params| {
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(soon.as_secs());
    });
    let config = client(&root, Some(&short));
    let mut open = connect(world.at, HOST, &config).await.unwrap();
    assert_eq!(status(&mut open).await, "200");
    // Requests in its last second, too, are the last ones.
    let asking = async {
        loop {
            let answer = ask(&mut open, HOST).await;
            if !answer.starts_with("HTTP/1.1 200 ") {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 403 ") && answer.contains("it has ended"),
        "{answer}"
    );
    let mut resumed = connect(world.at, HOST, &config).await.unwrap();
    let kind = resumed.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
    assert_eq!(status(&mut resumed).await, "403");
}

#[tokio::test]
async fn the_longest_chain_that_is_taken_comes_back_in_a_ticket() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    world.listener().mutual_tls = Some(verify(&[&own]));
    let _lab = Lab::start(config(), &world).await;
    let mut till = id(&own, 7, |_| {});
    let left = |till: &Id| 12 * 1024 - till.chain.iter().map(|it| it.len()).sum::<usize>();
    while left(&till) > 600 {
        // Each has its name twice.
        let name = "n".repeat(((left(&till) - 500) / 2).min(900));
        till.chain.push(authority(&name, None).der().clone());
    }
    let config = client(&root, Some(&till));
    for resumed in [false, true] {
        let mut stream = connect(world.at, HOST, &config).await.unwrap();
        assert_eq!(status(&mut stream).await, "200");
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed);
    }
    till.chain
        .push(authority(&"n".repeat(400), None).der().clone());
    assert_eq!(
        refused(world.at, &client(&root, Some(&till))).await,
        AlertDescription::BadCertificate
    );
}

#[tokio::test]
async fn what_clients_say_of_certificates_does_not_reach_targets() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    let lab = Lab::start(config(), &world).await;
    let lies = "X-Amzn-Mtls-Clientcert-Subject: CN=boss\r\nX_Amzn_Mtls_Clientcert_Leaf: x\r\nX-Amzn-Mtls-Clientcert: y\r\n";
    let text = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lies}\r\n");
    let till = id(&own, 7, |_| {});
    let passthrough = MutualTls {
        mode: MutualTlsMode::Passthrough,
        anchors: Vec::new(),
        ..verify(&[])
    };
    for (mutual, its, names) in [
        (None, None, 0),
        (Some(passthrough.clone()), None, 0),
        (Some(passthrough), Some(&till), 1),
        (Some(verify(&[&own])), Some(&till), 5),
    ] {
        world.listener().mutual_tls = mutual;
        lab.apply(&mut world).await;
        let mut stream = connect(world.at, HOST, &client(&root, its)).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes())
            .await
            .unwrap();
        assert_eq!(status(&mut stream).await, "200");
        let got = target.last();
        let head = got.head.to_ascii_lowercase().replace('_', "-");
        let said = head.matches("x-amzn-mtls-").count();
        assert_eq!(said, names, "{head}");
        assert!(!head.contains("boss"), "{head}");
    }
    let chain = target.last();
    assert!(chain.header("x-amzn-mtls-clientcert-leaf").is_some());
}

#[tokio::test]
async fn a_connection_by_another_name_is_no_way_around() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    // Another service at the same address and port, whose listener asks for no certificate.
    let (its, other_root) = certificate(&["open.example.com"]);
    let mut open = world.service().clone();
    open.id = ServiceId::random();
    open.domain_name = format!("open-{}.lattice.test", &open.id.as_str()[4..]);
    open.custom_domain_name = Some("open.example.com".to_owned());
    open.certificate = Some(its);
    let mut listener = open.listeners.pop_first().unwrap().1;
    listener.id = ListenerId::random();
    assert_eq!(listener.protocol, ListenerProtocol::Https);
    open.listeners.insert(listener.id.clone(), listener);
    world.service_network().services.insert(open.id.clone());
    world
        .snapshot
        .services
        .insert(open.id.clone(), Arc::new(open));
    world.listener().mutual_tls = Some(verify(&[&own]));
    let _lab = Lab::start(config(), &world).await;
    let mut stream = connect(world.at, "open.example.com", &client(&other_root, None))
        .await
        .unwrap();
    let answer = ask(&mut stream, "open.example.com").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = ask(&mut stream, HOST).await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let till = id(&own, 7, |_| {});
    let mut stream = connect(world.at, HOST, &client(&root, Some(&till)))
        .await
        .unwrap();
    assert_eq!(status(&mut stream).await, "200");
    // What was presented to one service reaches no other.
    let answer = ask(&mut stream, "open.example.com").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!target.last().head.contains("mtls"));
}

#[tokio::test]
async fn auth_policies_know_the_certificate() {
    let target = Target::named("tills").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let root = secured(&mut world);
    let own = authority("Own CA", None);
    world.listener().mutual_tls = Some(verify(&[&own]));
    let lab = Lab::start(config(), &world).await;
    let till = id(&own, 7, |_| {});
    let config = client(&root, Some(&till));
    for (key, value, want) in [
        ("lath:SpiffeId", "spiffe://test/till/1", "200"),
        ("lath:SpiffeId", "spiffe://test/till/*", "200"),
        ("lath:SpiffeId", "spiffe://test/desk/*", "403"),
        ("lath:x509SAN/URI", "spiffe://test/till/1", "200"),
        ("lath:x509Subject/CN", "till, 1", "200"),
        ("lath:x509Subject/CN", "till, 2", "403"),
        ("lath:x509Issuer/CN", "Own CA", "200"),
        ("lath:x509SerialNumber", "4207", "200"),
        ("lath:x509SAN/DNS", "*", "403"),
        ("lath:unknown", "*", "403"),
    ] {
        let document = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": { "StringLike": { key: value } }
        }] });
        world.service().auth = Auth::AwsIam {
            policy: Some(document.to_string()),
        };
        lab.apply(&mut world).await;
        let mut stream = connect(world.at, HOST, &config).await.unwrap();
        assert_eq!(status(&mut stream).await, want, "{key} {value}");
    }
    // What was not verified is no fact.
    let document = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
        "Condition": { "StringLike": { "lath:SpiffeId": "*" } }
    }] });
    world.service().auth = Auth::AwsIam {
        policy: Some(document.to_string()),
    };
    world.listener().mutual_tls.as_mut().unwrap().mode = MutualTlsMode::Passthrough;
    lab.apply(&mut world).await;
    let mut stream = connect(world.at, HOST, &config).await.unwrap();
    assert_eq!(status(&mut stream).await, "403");
}
