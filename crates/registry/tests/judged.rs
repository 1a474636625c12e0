//! A registry with accounts, whose gate knows two clients.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lath_registry::{Access, Asked, Deed, Digest, Gate, Images, Refused, serve};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const REGISTRY: &str = "1.dkr.ecr.r.amazonaws.com";

/// `all` may do everything, `some` nothing with the repository `secret`; tags do not move in `fixed`.
struct Door;

impl Gate for Door {
    fn registry(&self) -> &str {
        REGISTRY
    }

    fn admit(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        let about_secret = |deed: &Deed| format!("{deed:?}").contains("\"secret\"");
        match asked.authorization {
            Some("all") => Ok(()),
            Some("some") if !asked.deeds.iter().any(about_secret) => Ok(()),
            Some(_) => Err(Refused::Denied("no".to_owned())),
            None => Err(Refused::Unknown {
                message: "who?".to_owned(),
                challenge: "Basic realm=\"x\"".to_owned(),
            }),
        }
    }

    fn client(&self, asked: &Asked<'_>) -> String {
        asked.authorization.unwrap_or_default().to_owned()
    }

    fn moves(&self, repository: &str, _: &str) -> Option<bool> {
        match repository {
            "gone" => None,
            name => Some(name != "fixed"),
        }
    }

    fn repositories(&self) -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).into()
    }
}

struct Lab {
    address: std::net::SocketAddr,
    images: Images,
    _directory: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

async fn lab() -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let images = Images::open(directory.path()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let access = Access::Judged(Arc::new(Door));
    tokio::spawn(serve(listener, images.clone(), access, stop.clone()));
    Lab {
        address,
        images,
        _directory: directory,
        _stop: stop.drop_guard(),
    }
}

struct Answer {
    status: u16,
    location: String,
    body: Bytes,
}

impl Answer {
    fn code(&self) -> (u16, String) {
        let value: Value = serde_json::from_slice(&self.body).unwrap();
        let code = value["errors"][0]["code"].as_str().unwrap();
        (self.status, code.to_owned())
    }
}

impl Lab {
    async fn ask(&self, who: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("authorization", who);
        let body = Full::new(Bytes::copy_from_slice(body));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(body).unwrap()).await.unwrap();
        let location = answer.headers().get("location");
        Answer {
            status: answer.status().as_u16(),
            location: location.map_or("", |it| it.to_str().unwrap()).to_owned(),
            body: answer.into_body().collect().await.unwrap().to_bytes(),
        }
    }

    async fn push(&self, repository: &str, tag: &str, layer: &[u8]) -> Answer {
        let path = format!(
            "/v2/{repository}/blobs/uploads/?digest={}",
            Digest::of(layer)
        );
        let made = self.ask("all", "POST", &path, layer).await;
        assert_eq!(made.status, StatusCode::CREATED);
        let part = json!({"mediaType": "x", "digest": Digest::of(layer), "size": layer.len()});
        let manifest = json!({"schemaVersion": 2, "config": part, "layers": [part]}).to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.ask("all", "PUT", &path, manifest.as_bytes()).await
    }
}

#[tokio::test]
async fn a_repository_has_its_own_blobs_and_tags() {
    let lab = lab().await;
    assert_eq!(lab.push("secret", "1", b"hidden").await.status, 201);
    assert_eq!(lab.push("fixed", "1", b"first").await.status, 201);
    let again = lab.push("fixed", "1", b"second").await;
    assert_eq!(again.code(), (400, "TAG_INVALID".to_owned()));
    assert_eq!(lab.push("fixed", "1", b"first").await.status, 201);
    let gone = lab.push("gone", "1", b"first").await;
    assert_eq!(gone.code(), (404, "NAME_UNKNOWN".to_owned()));
    let blob = Digest::of(b"hidden");
    for (who, path, status) in [
        ("all", format!("/v2/secret/blobs/{blob}"), 200),
        ("some", format!("/v2/secret/blobs/{blob}"), 403),
        ("some", format!("/v2/fixed/blobs/{blob}"), 404),
        ("none", "/v2/".to_owned(), 403),
        ("some", "/v2/".to_owned(), 200),
    ] {
        let answer = lab.ask(who, "GET", &path, b"").await;
        assert_eq!(answer.status, status, "{who} {path}");
    }
    let mount = format!("/v2/other/blobs/uploads/?mount={blob}&from=secret");
    let refused = lab.ask("some", "POST", &mount, b"").await;
    assert_eq!(refused.status, 202, "an upload begins instead");
    let given_up = lab.ask("some", "DELETE", &refused.location, b"").await;
    assert_eq!(given_up.status, 204);
    let mounted = lab.ask("all", "POST", &mount, b"").await;
    assert_eq!(mounted.status, 201);
    let there = format!("/v2/other/blobs/{blob}");
    assert_eq!(lab.ask("some", "GET", &there, b"").await.body, "hidden");
    let catalog = lab.ask("all", "GET", "/v2/_catalog?n=1&last=a", b"").await;
    assert_eq!(catalog.body, r#"{"repositories":["b"]}"#);
}

#[tokio::test]
async fn an_image_stays_without_tags_until_it_is_removed() {
    let lab = lab().await;
    assert_eq!(lab.push("app", "1", b"one").await.status, 201);
    let repository = lab.images.repository(REGISTRY, "app").unwrap();
    let first = repository.images().unwrap().remove(0);
    assert_eq!(lab.push("app", "1", b"two").await.status, 201);
    let images = repository.images().unwrap();
    let of_first = images.iter().find(|it| it.digest == first.digest).unwrap();
    assert_eq!((images.len(), of_first.tags.len()), (2, 0));
    // Both are listed once: the tagged one by its tag.
    assert_eq!(lab.images.list().unwrap().len(), 2);
    let path = format!("/v2/app/manifests/{}", first.digest);
    assert_eq!(lab.ask("all", "DELETE", &path, b"").await.status, 202);
    let code = lab.ask("all", "GET", &path, b"").await.code();
    assert_eq!(code, (404, "MANIFEST_UNKNOWN".to_owned()));
    assert!(lab.images.blob(&Digest::of(b"one")).unwrap().is_none());
    let tag = "/v2/app/manifests/1";
    assert_eq!(lab.ask("all", "DELETE", tag, b"").await.status, 202);
    assert!(repository.images().unwrap().is_empty());
    repository.clear().unwrap();
}
