//! Images from archives of each kind, pulled and pushed as container runtimes do.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lath_registry::{Access, Digest, Images, LoadError, Reference, Upstreams, serve};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn code(&self) -> String {
        let value: Value = serde_json::from_slice(&self.body).unwrap();
        value["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// A registry over a directory of its own.
struct Registry {
    directory: tempfile::TempDir,
    images: Images,
    address: std::net::SocketAddr,
    _stop: DropGuard,
}

async fn registry(access: Access) -> Registry {
    let directory = tempfile::tempdir().unwrap();
    let images = Images::open(directory.path().join("images")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, images.clone(), access, stop.clone()));
    Registry {
        directory,
        images,
        address,
        _stop: stop.drop_guard(),
    }
}

impl Registry {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let uri = if path.starts_with('/') {
            format!("http://{}{path}", self.address)
        } else {
            path.to_owned()
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(body).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn blobs(&self) -> usize {
        let directory = self.path("images/blobs/sha256");
        std::fs::read_dir(directory).unwrap().count()
    }

    fn unfinished(&self) -> usize {
        std::fs::read_dir(self.path("images/unfinished"))
            .unwrap()
            .count()
    }
}

/// The files of an OCI layout with one image, whose layer has these bytes.
fn layout(layer: &[u8], annotations: &Value) -> Vec<(String, Vec<u8>)> {
    let config = json!({"architecture": "amd64", "os": "linux"}).to_string();
    let describe = |kind: &str, bytes: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": Digest::of(bytes), "size": bytes.len(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2, "config": describe("config.v1+json", config.as_bytes()),
        "layers": [describe("layer.v1.tar", layer)],
    })
    .to_string();
    let mut entry = describe("manifest.v1+json", manifest.as_bytes());
    entry["annotations"] = annotations.clone();
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let blob = |bytes: &[u8]| {
        let name = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        (name, bytes.to_vec())
    };
    vec![
        ("index.json".to_owned(), index.into_bytes()),
        blob(layer),
        blob(config.as_bytes()),
        blob(manifest.as_bytes()),
    ]
}

fn named(name: &str) -> Value {
    json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "latest"})
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

fn load(
    images: &Images,
    path: &Path,
    bytes: &[u8],
    name: Option<&str>,
) -> Result<usize, LoadError> {
    std::fs::write(path, bytes).unwrap();
    let name = name.map(|it| it.parse::<Reference>().unwrap());
    images.load(path, name.as_ref()).map(|loaded| loaded.len())
}

#[tokio::test]
async fn an_image_is_pulled_as_a_mirror_is_asked() {
    let registry = registry(Access::Read).await;
    let files = layout(b"a layer", &named("nginx:latest"));
    let path = registry.path("a.tar");
    assert_eq!(
        load(&registry.images, &path, &archive(&files), None).unwrap(),
        1
    );
    let manifest = "/v2/library/nginx/manifests/latest?ns=docker.io";
    let head = registry.ask("HEAD", manifest, &[], b"").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    let answer = registry.get(manifest).await;
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.oci.image.manifest.v1+json"
    );
    let digest = Digest::of(&answer.body).to_string();
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(head.header("docker-content-digest"), digest);
    assert_eq!(head.header("content-length"), answer.body.len().to_string());
    let same = registry.get(&format!("/v2/nginx/manifests/{digest}")).await;
    assert_eq!(same.body, answer.body);
    let layer = format!(
        "/v2/library/nginx/blobs/{}?ns=docker.io",
        Digest::of(b"a layer")
    );
    assert_eq!(registry.get(&layer).await.body, &b"a layer"[..]);
    let part = registry
        .ask("GET", &layer, &[("range", "bytes=2-")], b"")
        .await;
    assert_eq!(
        (part.status, &part.body[..]),
        (StatusCode::PARTIAL_CONTENT, &b"layer"[..])
    );
    assert_eq!(part.header("content-range"), "bytes 2-6/7");
    let outside = registry
        .ask("GET", &layer, &[("range", "bytes=7-")], b"")
        .await;
    assert_eq!(outside.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let tags = registry
        .get("/v2/library/nginx/tags/list?ns=docker.io")
        .await;
    assert_eq!(tags.body, r#"{"name":"library/nginx","tags":["latest"]}"#);
    assert_eq!(registry.get("/v2/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_and_what_may_not_be_done() {
    let registry = registry(Access::Read).await;
    let zeros = format!("sha256:{}", "0".repeat(64));
    for (method, path, status, code) in [
        ("GET", "/v2/nginx/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        (
            "GET",
            &format!("/v2/nginx/manifests/{zeros}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "GET",
            &format!("/v2/nginx/blobs/{zeros}"),
            404,
            "BLOB_UNKNOWN",
        ),
        ("GET", "/v2/nginx/tags/list", 404, "NAME_UNKNOWN"),
        ("POST", "/v2/nginx/blobs/uploads/", 405, "UNSUPPORTED"),
        ("PUT", "/v2/nginx/manifests/latest", 405, "UNSUPPORTED"),
        ("DELETE", "/v2/nginx/manifests/latest", 405, "UNSUPPORTED"),
        ("GET", "/v2/../../etc/passwd", 404, "UNSUPPORTED"),
    ] {
        let answer = registry.ask(method, path, &[], b"").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn archives_of_each_kind() {
    let registry = registry(Access::Read).await;
    let images = &registry.images;
    let path = registry.path("archive");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive(&layout(b"one", &named("a.b/one:1"))))
        .unwrap();
    assert_eq!(
        load(images, &path, &gzip.finish().unwrap(), None).unwrap(),
        1
    );
    let saved = json!([{"Config": "c.json", "RepoTags": ["two", "two:2"], "Layers": ["l/layer.tar", "m/layer.tar"]}]);
    let mut old = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("manifest.json", saved.to_string().as_bytes()),
        ("c.json", b"{}"),
        ("l/layer.tar", b"two"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        old.append_data(&mut header, name, bytes).unwrap();
    }
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    old.append_link(&mut link, "m/layer.tar", "../l/layer.tar")
        .unwrap();
    assert_eq!(
        load(images, &path, &old.into_inner().unwrap(), None).unwrap(),
        1
    );
    let directory = registry.path("layout");
    for (name, bytes) in layout(b"three", &json!({})) {
        let file = directory.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let nameless = images.load(&directory, None);
    assert!(matches!(nameless, Err(LoadError::Nameless)), "{nameless:?}");
    images
        .load(&directory, Some(&"three".parse().unwrap()))
        .unwrap();
    let names: Vec<_> = images
        .list()
        .unwrap()
        .into_iter()
        .map(|it| it.name)
        .collect();
    let wanted = [
        "a.b/one:1",
        "docker.io/library/three:latest",
        "docker.io/library/two:2",
        "docker.io/library/two:latest",
    ];
    assert_eq!(names, wanted);
    let manifest = registry.get("/v2/two/manifests/2").await.body;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    assert_eq!(
        manifest["layers"][1]["digest"],
        Digest::of(b"two").to_string()
    );
    assert_eq!(registry.unfinished(), 0);
}

#[tokio::test]
async fn what_is_no_whole_image_is_refused() {
    let registry = registry(Access::Read).await;
    let images = &registry.images;
    let path = registry.path("archive");
    let whole = layout(b"one", &named("one"));
    let mut changed = whole.clone();
    changed[1].1 = b"two".to_vec();
    let other = load(images, &path, &archive(&changed), None);
    assert!(matches!(other, Err(LoadError::Store(_))), "{other:?}");
    let mut lacking = whole.clone();
    lacking.remove(1);
    let missing = load(images, &path, &archive(&lacking), None);
    assert!(matches!(missing, Err(LoadError::Missing(_))), "{missing:?}");
    let none = load(images, &path, &archive(&[("a".to_owned(), vec![])]), None);
    assert!(matches!(none, Err(LoadError::NoImage(_))), "{none:?}");
    let text = load(images, &path, b"hello", None);
    assert!(text.is_err());
    let outside = json!([{"Config": "../../../etc/passwd", "RepoTags": ["x"], "Layers": []}]);
    let outside = [("manifest.json".to_owned(), outside.to_string().into_bytes())];
    let outside = load(images, &path, &archive(&outside), None);
    assert!(matches!(outside, Err(LoadError::Missing(_))), "{outside:?}");
    assert_eq!(images.list().unwrap(), []);
    assert_eq!(registry.unfinished(), 0);
}

#[tokio::test]
async fn blobs_go_with_the_last_image_that_has_them() {
    let registry = registry(Access::Read).await;
    let images = &registry.images;
    let path = registry.path("archive");
    let one = archive(&layout(b"one", &named("one")));
    load(images, &path, &one, None).unwrap();
    load(images, &path, &one, Some("again:2")).unwrap();
    assert_eq!(registry.blobs(), 3);
    // Another image of the same name: the configuration is in both.
    load(
        images,
        &path,
        &archive(&layout(b"more", &named("one"))),
        None,
    )
    .unwrap();
    assert_eq!(registry.blobs(), 5);
    assert!(images.remove(&"again:2".parse().unwrap()).unwrap());
    assert_eq!(registry.blobs(), 3);
    assert!(!images.remove(&"again:2".parse().unwrap()).unwrap());
    assert!(images.remove(&"one".parse().unwrap()).unwrap());
    assert_eq!(registry.blobs(), 0);
}

#[tokio::test]
async fn an_image_is_pushed() {
    let registry = registry(Access::Write).await;
    let files = layout(b"a layer", &json!({}));
    let manifest = &files[3].1;
    let put = |headers| registry.ask("PUT", "/v2/mine/app/manifests/1", headers, manifest);
    assert_eq!(put(&[]).await.code(), "MANIFEST_BLOB_UNKNOWN");
    // In two pieces.
    let begun = registry
        .ask("POST", "/v2/mine/app/blobs/uploads/", &[], b"")
        .await;
    assert_eq!(begun.status, StatusCode::ACCEPTED);
    let location = begun.header("location").to_owned();
    let first = registry
        .ask("PATCH", &location, &[("content-range", "0-1")], b"a ")
        .await;
    assert_eq!(
        (first.status, first.header("range")),
        (StatusCode::ACCEPTED, "0-1")
    );
    let twice = registry
        .ask("PATCH", &location, &[("content-range", "0-1")], b"a ")
        .await;
    assert_eq!(twice.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let layer = Digest::of(b"a layer");
    let end = registry
        .ask("PUT", &format!("{location}&digest={layer}"), &[], b"layer")
        .await;
    assert_eq!(
        (end.status, end.header("docker-content-digest")),
        (StatusCode::CREATED, &*layer.to_string())
    );
    // At once.
    let config = Digest::of(&files[2].1);
    let uploads = format!("/v2/mine/app/blobs/uploads/?digest={config}");
    let wrong = registry.ask("POST", &uploads, &[], b"not it").await;
    assert_eq!(wrong.code(), "DIGEST_INVALID");
    assert_eq!(
        registry
            .ask("POST", &uploads, &[], &files[2].1)
            .await
            .status,
        StatusCode::CREATED
    );
    assert_eq!(put(&[]).await.status, StatusCode::CREATED);
    assert_eq!(
        &registry.get("/v2/mine/app/manifests/1").await.body,
        manifest
    );
    let mount = format!("/v2/other/blobs/uploads/?mount={layer}&from=mine/app");
    assert_eq!(
        registry.ask("POST", &mount, &[], b"").await.status,
        StatusCode::CREATED
    );
    assert_eq!(registry.unfinished(), 0);
    let gone = registry
        .ask("DELETE", "/v2/mine/app/manifests/1", &[], b"")
        .await;
    assert_eq!((gone.status, registry.blobs()), (StatusCode::ACCEPTED, 0));
}

#[tokio::test]
async fn an_image_is_fetched_from_another_registry() {
    let (upstream, registry) = (registry(Access::Read).await, registry(Access::Read).await);
    let path = upstream.path("archive");
    let files = layout(&vec![7; 1 << 20], &named("app:1"));
    load(&upstream.images, &path, &archive(&files), None).unwrap();
    let fetch = |name: &str| {
        let name: Reference = format!("{}/{name}", upstream.address).parse().unwrap();
        let images = registry.images.clone();
        async move { images.fetch(&name, &Upstreams::default()).await }
    };
    let fetched = fetch("app:1").await.unwrap();
    assert_eq!(fetched.digest, Digest::of(&files[3].1));
    assert_eq!(registry.blobs(), 3);
    let name = format!("{}/app:1", upstream.address);
    assert_eq!(registry.images.list().unwrap()[0].name, name);
    let unknown = fetch("app:2").await;
    assert!(
        unknown.unwrap_err().to_string().contains("404"),
        "the registry's own answer"
    );
    // A registry whose blob is not what the manifest says.
    let blob = format!("images/blobs/sha256/{}", Digest::of(&files[1].1).hex());
    std::fs::write(upstream.path(&blob), vec![8; 1 << 20]).unwrap();
    registry.images.remove(&name.parse().unwrap()).unwrap();
    let wrong = fetch("app:1").await;
    assert!(wrong.is_err(), "{wrong:?}");
    assert_eq!(registry.images.list().unwrap(), []);
    assert_eq!(registry.unfinished(), 0);
}
