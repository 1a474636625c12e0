//! Which resource a request is about.

use hyper::{StatusCode, Uri};
use uuid::Uuid;

use super::answer::RegistryError;
use crate::digest::Digest;
use crate::reference::{Reference, Target, looks_like_registry};

/// A resource of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Whether this is a registry.
    Base,
    /// The repositories.
    Catalog,
    /// The tags of a repository.
    Tags(Repository),
    /// A manifest.
    Manifest(Reference),
    /// A blob.
    Blob(Repository, Digest),
    /// Where uploads begin.
    Uploads(Repository),
    /// An upload.
    Upload(Repository, Uuid),
}

/// A repository of some registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) registry: String,
    pub(crate) name: String,
    /// As it stands in the path.
    pub(crate) path: String,
    /// What follows `?` in addresses of it, so that the same registry is meant again.
    pub(crate) query: String,
}

/// `/v2/NAME/KIND/WHICH`, where the name has any number of parts. `?ns=` tells a mirror which registry is meant;
/// otherwise the name's first part is a registry if it looks like one. Where the listener is of one registry, `own`, the
/// whole name is a repository of it.
pub(crate) fn route(uri: &Uri, own: Option<&str>) -> Result<Route, RegistryError> {
    let path = uri.path();
    let rest = path
        .strip_prefix("/v2/")
        .or_else(|| (path == "/v2").then_some(""));
    let rest = rest.ok_or_else(|| RegistryError::unknown("this is a registry: /v2/"))?;
    if rest.is_empty() {
        return Ok(Route::Base);
    }
    let parts: Vec<&str> = rest.split('/').collect();
    let named = |parts: &[&str]| repository(parts, uri.query(), own);
    match parts.as_slice() {
        ["_catalog"] => Ok(Route::Catalog),
        [name @ .., "tags", "list"] => Ok(Route::Tags(named(name)?)),
        [name @ .., "manifests", which] => {
            let name = named(name)?;
            let target = match which.parse() {
                Ok(digest) => Target::Digest(digest),
                Err(_) => Target::Tag((*which).to_owned()),
            };
            let reference = Reference::new(&name.registry, &name.name, target);
            Ok(Route::Manifest(reference.map_err(|error| {
                RegistryError::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", error.to_string())
            })?))
        }
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            Ok(Route::Uploads(named(name)?))
        }
        [name @ .., "blobs", "uploads", id] => {
            let id = id.parse().map_err(|_| RegistryError::upload_unknown())?;
            Ok(Route::Upload(named(name)?, id))
        }
        [name @ .., "blobs", digest] => {
            let digest = digest.parse().map_err(|error| {
                RegistryError::new(
                    StatusCode::BAD_REQUEST,
                    "DIGEST_INVALID",
                    format!("{error}"),
                )
            })?;
            Ok(Route::Blob(named(name)?, digest))
        }
        _ => Err(RegistryError::unknown("no such resource")),
    }
}

fn repository(
    parts: &[&str],
    query: Option<&str>,
    own: Option<&str>,
) -> Result<Repository, RegistryError> {
    let path = parts.join("/");
    let (registry, name) = match (own, parameter(query, "ns"), parts) {
        (Some(own), _, _) => (own.to_owned(), path.clone()),
        (None, Some(registry), _) => (registry, path.clone()),
        (None, None, [first, rest @ ..]) if looks_like_registry(first) => {
            ((*first).to_owned(), rest.join("/"))
        }
        (None, None, _) => ("docker.io".to_owned(), path.clone()),
    };
    // The tag is of no matter: this is the check of the name.
    let checked = Reference::new(&registry, &name, Target::Tag("latest".to_owned()));
    let checked = checked.map_err(|error| {
        RegistryError::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    })?;
    let query = match own {
        Some(_) => String::new(),
        None => format!("?ns={}", checked.registry()),
    };
    Ok(Repository {
        registry: checked.registry().to_owned(),
        name: checked.repository().to_owned(),
        path,
        query,
    })
}

/// A parameter of a query, decoded.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    decoded(value)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(uri: &str) -> Result<Route, &'static str> {
        route(&uri.parse().unwrap(), None).map_err(|refusal| refusal.code)
    }

    fn manifest(uri: &str) -> String {
        match routed(uri) {
            Ok(Route::Manifest(reference)) => reference.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_mirror_is_told_the_registry() {
        for (uri, name) in [
            (
                "/v2/library/nginx/manifests/latest?ns=docker.io",
                "docker.io/library/nginx:latest",
            ),
            ("/v2/nginx/manifests/1", "docker.io/library/nginx:1"),
            (
                "/v2/pause/manifests/3.10?ns=registry.k8s.io",
                "registry.k8s.io/pause:3.10",
            ),
            (
                "/v2/registry.k8s.io/pause/manifests/3.10",
                "registry.k8s.io/pause:3.10",
            ),
            (
                "/v2/a/b/c/manifests/x?ns=localhost%3A5000",
                "localhost:5000/a/b/c:x",
            ),
            (
                "/v2/manifests/tags/manifests/x?ns=a.b",
                "a.b/manifests/tags:x",
            ),
        ] {
            assert_eq!(manifest(uri), name, "{uri}");
        }
    }

    #[test]
    fn what_is_nowhere() {
        let zeros = "0".repeat(64);
        for (uri, code) in [
            ("/", "UNSUPPORTED"),
            ("/v1/", "UNSUPPORTED"),
            ("/v2/a/what/b", "UNSUPPORTED"),
            ("/v2/manifests/latest", "NAME_INVALID"),
            ("/v2/../etc/manifests/latest", "NAME_INVALID"),
            ("/v2/A/manifests/latest", "NAME_INVALID"),
            ("/v2/a/manifests/-x", "MANIFEST_UNKNOWN"),
            ("/v2/a/blobs/sha256:12", "DIGEST_INVALID"),
            ("/v2/a/blobs/uploads/7", "BLOB_UPLOAD_UNKNOWN"),
            (
                &format!("/v2/a/blobs/sha256:{zeros}?ns=%2e%2e%2f"),
                "NAME_INVALID",
            ),
        ] {
            assert_eq!(routed(uri), Err(code), "{uri}");
        }
        let own = route(&"/v2/a.b/c/tags/list?ns=x.y".parse().unwrap(), Some("o.w"));
        let Ok(Route::Tags(own)) = own else {
            panic!("{own:?}")
        };
        assert_eq!((own.registry.as_str(), own.name.as_str()), ("o.w", "a.b/c"));
        assert_eq!(routed("/v2/"), Ok(Route::Base));
        assert_eq!(routed("/v2/_catalog"), Ok(Route::Catalog));
        assert_eq!(routed("/v2"), Ok(Route::Base));
    }
}
