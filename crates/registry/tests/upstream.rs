//! Images from a registry over TLS that wants a login, by itself or for a token; and what nodes pull through.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lath_registry::{
    Access, Asked, Deed, Digest, Gate, Images, PullThrough, Reference, Refused, Sources, Upstreams,
    serve,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// `ann:secret`.
const LOGIN: &str = "Basic YW5uOnNlY3JldA==";
const REGISTRY: &str = "images.example";

/// Lets in who has the login or the token, and asks others for one of them.
struct Door {
    challenge: String,
    allowed: &'static str,
    /// How many manifests were asked for.
    asked: AtomicUsize,
}

impl Gate for Door {
    fn registry(&self) -> &str {
        REGISTRY
    }

    fn admit(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        if asked.authorization == Some(self.allowed) {
            let reads = matches!(asked.deeds.first(), Some(Deed::ReadManifest(_)));
            self.asked.fetch_add(usize::from(reads), Ordering::Relaxed);
            return Ok(());
        }
        Err(Refused::Unknown {
            message: "who?".to_owned(),
            challenge: self.challenge.clone(),
        })
    }

    fn client(&self, _: &Asked<'_>) -> String {
        String::new()
    }

    fn moves(&self, _: &str, _: &str) -> Option<bool> {
        Some(true)
    }

    fn repositories(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A registry behind TLS, and where it gives tokens.
struct Upstream {
    directory: tempfile::TempDir,
    images: Images,
    door: Arc<Door>,
    port: u16,
}

fn tls(directory: &std::path::Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(directory.join("ca.pem"), &certificate).unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Ends TLS before a server that has none.
async fn front(acceptor: TlsAcceptor, behind: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(stream).await?;
                let mut server = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

/// Gives the token `T` to `ann`.
async fn tokens() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async move {
                let login = request.headers().get("authorization");
                let query = request.uri().query().unwrap_or_default();
                let is_good = login.is_some_and(|it| it == LOGIN)
                    && query.contains("scope=repository:app:pull")
                    && query.contains("service=it");
                let (status, body) = if is_good {
                    (200, r#"{"token":"T"}"#)
                } else {
                    (401, "{}")
                };
                let answer = Response::builder().status(status);
                Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

async fn upstream(by_token: bool) -> Upstream {
    let directory = tempfile::tempdir().unwrap();
    let images = Images::open(directory.path().join("images")).unwrap();
    let acceptor = tls(directory.path());
    let (challenge, allowed) = if by_token {
        let realm = front(acceptor.clone(), tokens().await).await;
        let realm = format!("Bearer realm=\"https://localhost:{realm}/token\",service=\"it\"");
        (realm, "Bearer T")
    } else {
        ("Basic realm=\"it\"".to_owned(), LOGIN)
    };
    let door = Arc::new(Door {
        challenge,
        allowed,
        asked: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Access::Judged(Arc::clone(&door) as Arc<dyn Gate>);
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, images.clone(), access, stop));
    let logins = json!({"auths": {REGISTRY: {"auth": LOGIN.trim_start_matches("Basic ")}}});
    std::fs::write(directory.path().join("logins"), logins.to_string()).unwrap();
    let port = front(acceptor, address).await;
    Upstream {
        directory,
        images,
        door,
        port,
    }
}

impl Upstream {
    /// Keeps an image with a layer of so many bytes.
    fn add(&self, tag: &str, size: usize) -> Digest {
        let layer = vec![u8::try_from(tag.len()).unwrap(); size];
        let repository = self.images.repository(REGISTRY, "app").unwrap();
        let id = self.images.begin_upload("me").unwrap();
        self.images.append_upload(id, 0, &layer).unwrap();
        repository.finish_upload(id, &Digest::of(&layer)).unwrap();
        let part = json!({"mediaType": "x", "digest": Digest::of(&layer), "size": layer.len()});
        let manifest = json!({"schemaVersion": 2, "config": part, "layers": [part]}).to_string();
        let kept = repository.put(manifest.as_bytes(), None, Some(tag), |_| Some(true));
        kept.unwrap().digest
    }

    fn way(&self, logins: bool) -> Upstreams {
        let at = format!("https://localhost:{}", self.port);
        Upstreams {
            hosts: [(REGISTRY.to_owned(), at)].into(),
            authorities: self.directory.path().join("ca.pem"),
            credentials: logins.then(|| self.directory.path().join("logins")),
        }
    }
}

fn name(tag: &str) -> Reference {
    format!("{REGISTRY}/app:{tag}").parse().unwrap()
}

#[tokio::test]
async fn a_login_and_a_token_over_tls() {
    for by_token in [false, true] {
        let upstream = upstream(by_token).await;
        let digest = upstream.add("a", 1 << 20);
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let fetched = images.fetch(&name("a"), &upstream.way(true)).await.unwrap();
        assert_eq!(fetched.digest, digest);
        let unknown = images.fetch(&name("a"), &upstream.way(false)).await;
        let text = unknown.unwrap_err().to_string();
        assert!(text.contains("401"), "{text}");
        let strange = Upstreams {
            authorities: directory.path().join("none"),
            ..upstream.way(true)
        };
        let text = images.fetch(&name("a"), &strange).await.unwrap_err();
        assert!(text.to_string().contains("certificate"), "{text}");
    }
}

/// A registry of a node.
async fn node(directory: &std::path::Path, sources: Sources) -> (Images, SocketAddr) {
    let images = Images::open(directory).unwrap();
    let through = Arc::new(PullThrough::new(images.clone(), sources));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Access::PullThrough(through);
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, images.clone(), access, stop));
    (images, address)
}

async fn pull(address: SocketAddr, of: &str, tag: &str) -> (u16, Bytes) {
    let uri = format!("http://{address}/v2/app/manifests/{tag}?ns={of}");
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.get(uri.parse().unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}

#[tokio::test]
async fn nodes_pull_through_what_may_be_asked_for() {
    let upstream = upstream(true).await;
    let digests = ["a", "bb", "ccc"].map(|tag| upstream.add(tag, 1 << 20));
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources {
        registries: [REGISTRY.to_owned()].into(),
        upstreams: upstream.way(true),
        limit: 5 << 19,
    };
    let (images, address) = node(directory.path(), sources).await;
    // Many ask at once, and the upstream is asked once.
    let pulls = (0..8).map(|_| tokio::spawn(pull(address, REGISTRY, "a")));
    for pulled in pulls.collect::<Vec<_>>() {
        let (status, body) = pulled.await.unwrap();
        assert_eq!((status, Digest::of(&body)), (200, digests[0].clone()));
    }
    assert_eq!(upstream.door.asked.load(Ordering::Relaxed), 1);
    assert_eq!(pull(address, REGISTRY, "none").await.0, 404);
    assert_eq!(pull(address, "other.example", "a").await.0, 404);
    // There is room for two: the longest unused goes, and what was loaded does not count.
    let loaded = images.fetch(&name("ccc"), &upstream.way(true)).await;
    loaded.unwrap();
    assert_eq!(pull(address, REGISTRY, "bb").await.0, 200);
    assert_eq!(pull(address, REGISTRY, "a").await.0, 200);
    upstream.add("dddd", 1 << 20);
    assert_eq!(pull(address, REGISTRY, "dddd").await.0, 200);
    let names: Vec<String> = images
        .list()
        .unwrap()
        .into_iter()
        .map(|it| it.name)
        .collect();
    let want = ["a", "ccc", "dddd"].map(|tag| name(tag).to_string());
    assert_eq!(names, want);
    upstream.add("eeeee", 3 << 20);
    let (status, body) = pull(address, REGISTRY, "eeeee").await;
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 502 && text.contains("cache"), "{status} {text}");
    // Nothing stays of what was not fetched to its end, and nothing of what went.
    let layers = ["a", "ccc", "dddd"].len();
    assert_eq!(files(directory.path(), "blobs/sha256"), 2 * layers);
    assert_eq!(files(directory.path(), "unfinished"), 0);
}

fn files(directory: &std::path::Path, below: &str) -> usize {
    std::fs::read_dir(directory.join(below)).unwrap().count()
}

fn size_of(directory: &std::path::Path, below: &str) -> u64 {
    let entries = std::fs::read_dir(directory.join(below)).unwrap();
    entries
        .map(|it| it.unwrap().metadata().unwrap().len())
        .sum()
}

/// A registry whose first layer comes, and whose second breaks off when it is let go.
async fn broken_registry(go: Arc<tokio::sync::Notify>) -> (SocketAddr, [Digest; 2]) {
    let layers = [vec![1_u8; 1 << 20], vec![2_u8; 1 << 20]];
    let digests = [Digest::of(&layers[0]), Digest::of(&layers[1])];
    let part = |at: usize| json!({"mediaType": "x", "digest": digests[at], "size": 1 << 20});
    let manifest = json!({"schemaVersion": 2, "config": part(0), "layers": [part(1)]}).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broken = digests[1].to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (manifest, layers) = (manifest.clone(), layers.clone());
            let (broken, go) = (broken.clone(), Arc::clone(&go));
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (manifest, layers) = (manifest.clone(), layers.clone());
                let (broken, go) = (broken.clone(), Arc::clone(&go));
                async move {
                    let path = request.uri().path();
                    let body = if path.contains("manifests") {
                        manifest.into_bytes()
                    } else if path.ends_with(&broken) {
                        go.notified().await;
                        layers[1][..9].to_vec()
                    } else {
                        layers[0].clone()
                    };
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), answer));
        }
    });
    (address, digests)
}

#[tokio::test]
async fn a_fetch_that_fails_leaves_nothing_and_others_wait_for_its_room() {
    let go = Arc::new(tokio::sync::Notify::new());
    let (broken, _) = broken_registry(Arc::clone(&go)).await;
    let upstream = upstream(true).await;
    upstream.add("a", 1 << 20);
    let directory = tempfile::tempdir().unwrap();
    let mut upstreams = upstream.way(true);
    let other = "broken.example";
    upstreams.hosts.insert(other.to_owned(), broken.to_string());
    let sources = Sources {
        registries: [REGISTRY.to_owned(), other.to_owned()].into(),
        upstreams,
        limit: 5 << 19,
    };
    let (_, address) = node(directory.path(), sources).await;
    let failing = tokio::spawn(pull(address, other, "x"));
    // Its first layer is here, and is no blob yet; there is no room for another image beside it.
    while size_of(directory.path(), "unfinished") < 1 << 20 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let waiting = tokio::spawn(pull(address, REGISTRY, "a"));
    while upstream.door.asked.load(Ordering::Relaxed) < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(files(directory.path(), "blobs/sha256"), 0);
    assert!(!waiting.is_finished());
    go.notify_one();
    assert_eq!(failing.await.unwrap().0, 502);
    assert_eq!(waiting.await.unwrap().0, 200);
    assert_eq!(files(directory.path(), "blobs/sha256"), 2);
    assert_eq!(files(directory.path(), "unfinished"), 0);
}
