//! Reads keys from an issuer on loopback, over real TLS.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lath_oidc::{Asked, IssuerKeys as _, NoKeys, Remote, SystemRoots};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority, and the chain and key of a server that it signed.
struct Pki {
    authority: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

fn pki() -> Pki {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    Pki {
        authority: authority.pem(),
        chain: vec![leaf.der().clone(), authority.der().clone()],
        key: leaf_key.serialize_der(),
    }
}

fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    let print = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    print
        .as_ref()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect()
}

/// What the issuer answers, by path, and what it was asked.
#[derive(Default)]
struct Site {
    documents: Mutex<Vec<(&'static str, Value)>>,
    asked: Mutex<Vec<String>>,
}

impl Site {
    fn publish(&self, path: &'static str, document: Value) {
        let mut documents = self.documents.lock().unwrap();
        documents.retain(|(known, _)| *known != path);
        documents.push((path, document));
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        self.asked.lock().unwrap().push(path.to_owned());
        let documents = self.documents.lock().unwrap();
        let found = documents.iter().find(|(known, _)| *known == path);
        let Some((_, document)) = found else {
            let mut response = Response::new(Full::default());
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            return response;
        };
        Response::new(Full::new(document.to_string().into()))
    }
}

async fn serve(pki: &Pki, site: Arc<Site>) -> SocketAddr {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pki.key.clone()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(pki.chain.clone(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, site) = (acceptor.clone(), Arc::clone(&site));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let answer = service_fn(move |request: Request<Incoming>| {
                    let response = site.answer(request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer);
                drop(connection.await);
            });
        }
    });
    address
}

struct World {
    pki: Pki,
    site: Arc<Site>,
    issuer: String,
}

async fn world() -> World {
    let (pki, site) = (pki(), Arc::new(Site::default()));
    let address = serve(&pki, Arc::clone(&site)).await;
    let issuer = format!("https://localhost:{}/id/X", address.port());
    let keys = format!("{issuer}/keys");
    site.publish(
        "/id/X/.well-known/openid-configuration",
        json!({"issuer": issuer, "jwks_uri": keys}),
    );
    site.publish("/id/X/keys", keys_named(&["one"]));
    World { pki, site, issuer }
}

fn keys_named(ids: &[&str]) -> Value {
    let coordinate = "A".repeat(43);
    let key = |id: &&str| json!({"kty": "EC", "crv": "P-256", "kid": id, "x": coordinate, "y": coordinate});
    json!({"keys": ids.iter().map(key).collect::<Vec<_>>()})
}

impl World {
    fn trusting(&self) -> Remote {
        Remote::new(SystemRoots::of_pem(self.pki.authority.as_bytes()))
    }

    async fn ask(
        &self,
        remote: &Remote,
        key_id: &str,
        thumbprints: &[String],
    ) -> Result<bool, NoKeys> {
        let asked = Asked {
            issuer: &self.issuer,
            thumbprints,
            key_id: Some(key_id),
        };
        let keys = remote.keys(asked).await?;
        Ok(keys.has(Some(key_id)))
    }
}

#[tokio::test]
async fn keys_are_read_once_and_again_for_a_key_that_is_new() {
    let world = world().await;
    let remote = world.trusting();
    assert_eq!(world.ask(&remote, "one", &[]).await, Ok(true));
    assert_eq!(world.ask(&remote, "one", &[]).await, Ok(true));
    assert_eq!(world.site.asked(), 2, "two documents, once");
    // A stranger who names keys at random cannot make the issuer be asked each time.
    for _ in 0..3 {
        assert_eq!(world.ask(&remote, "two", &[]).await, Ok(false));
    }
    assert_eq!(world.site.asked(), 2);
    // Another process, which has read nothing yet, sees what is new.
    world
        .site
        .publish("/id/X/keys", keys_named(&["one", "two"]));
    assert_eq!(world.ask(&world.trusting(), "two", &[]).await, Ok(true));
}

#[tokio::test]
async fn who_is_not_vouched_for_needs_a_thumbprint() {
    let world = world().await;
    let nobody = || Remote::new(SystemRoots::of_pem(b""));
    let refused = Err(NoKeys::Certificate);
    assert_eq!(world.ask(&nobody(), "one", &[]).await, refused);
    assert_eq!(
        world.ask(&nobody(), "one", &["a".repeat(40)]).await,
        refused
    );
    assert_eq!(world.site.asked(), 0);
    let [leaf, authority] = &world.pki.chain[..] else {
        panic!("a chain of two");
    };
    for print in [thumbprint(leaf), thumbprint(authority)] {
        assert_eq!(world.ask(&nobody(), "one", &[print]).await, Ok(true));
    }
    // A thumbprint that is taken away counts no more, whatever is remembered.
    let remote = nobody();
    let print = thumbprint(authority);
    assert_eq!(world.ask(&remote, "one", &[print]).await, Ok(true));
    assert_eq!(world.ask(&remote, "one", &[]).await, refused);
}

#[tokio::test]
async fn who_hangs_up_takes_no_keys_away() {
    let world = world().await;
    let remote = world.trusting();
    let asking = world.ask(&remote, "one", &[]);
    // It is given up at once, in the middle of the read.
    drop(tokio::time::timeout(std::time::Duration::from_millis(1), asking).await);
    assert_eq!(world.ask(&remote, "one", &[]).await, Ok(true));
    assert_eq!(world.site.asked(), 2, "the read was not given up");
}

#[tokio::test]
async fn public_issuers_are_not_sought_near_the_host() {
    let world = world().await;
    let remote = Remote::public(SystemRoots::of_pem(world.pki.authority.as_bytes()));
    let error = world.ask(&remote, "one", &[]).await.unwrap_err();
    assert!(matches!(error, NoKeys::Unusable(_)), "{error}");
    let asked = Asked {
        issuer: "https://localhost",
        thumbprints: &[],
        key_id: None,
    };
    let error = remote.keys(asked).await.unwrap_err().to_string();
    assert!(error.contains("public address"), "{error}");
    assert_eq!(world.site.asked(), 0);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let mut world = world().await;
    world.issuer = world.issuer.replace("localhost", "127.0.0.1");
    let print = thumbprint(&world.pki.chain[0]);
    let refused = Err(NoKeys::Certificate);
    assert_eq!(world.ask(&world.trusting(), "one", &[]).await, refused);
    assert_eq!(world.ask(&world.trusting(), "one", &[print]).await, refused);
}

#[tokio::test]
async fn an_issuer_says_its_own_name_and_where_its_keys_are() {
    let world = world().await;
    let (discovery, keys) = (
        "/id/X/.well-known/openid-configuration",
        format!("{}/keys", world.issuer),
    );
    let plain = keys.replace("https", "http");
    for document in [
        json!({"issuer": "https://other.example", "jwks_uri": keys}),
        json!({"issuer": format!("{}/", world.issuer), "jwks_uri": keys}),
        json!({"jwks_uri": keys}),
        json!({"issuer": world.issuer}),
        json!({"issuer": world.issuer, "jwks_uri": plain}),
        json!({"issuer": world.issuer, "jwks_uri": format!("{keys}/none")}),
        json!({"issuer": world.issuer, "jwks_uri": format!("{}/.well-known/openid-configuration", world.issuer)}),
        json!({"issuer": world.issuer, "jwks_uri": keys, "more": "x".repeat(2 << 20)}),
        json!([]),
    ] {
        let shown: String = document.to_string().chars().take(200).collect();
        world.site.publish(discovery, document);
        let error = world.ask(&world.trusting(), "one", &[]).await;
        assert!(error.is_err(), "{shown}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_said_to_be_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let remote = Remote::new(SystemRoots::of_pem(b""));
    let asked = Asked {
        issuer: &format!("https://localhost:{port}"),
        thumbprints: &[],
        key_id: None,
    };
    for _ in 0..2 {
        let error = remote.keys(asked).await.unwrap_err();
        assert!(matches!(error, NoKeys::Unreachable(_)), "{error}");
    }
}
