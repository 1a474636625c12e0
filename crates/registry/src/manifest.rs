//! Manifests: which blobs an image consists of.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The largest manifest or index that is taken, in bytes: the specification asks registries for 4 MiB at least.
pub const MAXIMUM_MANIFEST: usize = 4 << 20;

/// Most blobs or manifests that one names.
const MAXIMUM_CHILDREN: usize = 1000;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What registries are asked for.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];

/// A blob that something refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What an image in an index is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
        }
    }
}

/// What an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `linux`.
    pub os: String,
}

/// What is read of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its type, which it is served with.
    pub media_type: String,
    /// The manifests of an index, one per platform; empty for an image.
    pub manifests: Vec<Descriptor>,
    /// The configuration and the layers of an image; empty for an index.
    pub blobs: Vec<Descriptor>,
}

/// The bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidManifest(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// Reads a manifest or an index, of OCI or of Docker.
    ///
    /// # Errors
    /// It is too large, no JSON, of an unknown type, or names too much.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        if bytes.len() > MAXIMUM_MANIFEST {
            return Err(InvalidManifest(format!(
                "a manifest is at most {MAXIMUM_MANIFEST} bytes"
            )));
        }
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|error| InvalidManifest(format!("no manifest: {error}")))?;
        if raw.schema_version != 2 {
            let version = raw.schema_version;
            return Err(InvalidManifest(format!(
                "a manifest of schema version {version}; only 2 is known"
            )));
        }
        let this = match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => Self {
                media_type: known(raw.media_type, OCI_INDEX, DOCKER_INDEX)?,
                manifests,
                blobs: Vec::new(),
            },
            (None, Some(config), Some(layers)) => Self {
                media_type: known(raw.media_type, OCI_MANIFEST, DOCKER_MANIFEST)?,
                manifests: Vec::new(),
                blobs: std::iter::once(config).chain(layers).collect(),
            },
            _ => {
                let message = "neither an index with manifests nor an image with config and layers";
                return Err(InvalidManifest(message.to_owned()));
            }
        };
        if this.manifests.len() + this.blobs.len() > MAXIMUM_CHILDREN {
            return Err(InvalidManifest(format!(
                "a manifest names at most {MAXIMUM_CHILDREN} blobs"
            )));
        }
        Ok(this)
    }

    /// The first image of an index that is for a platform.
    pub fn of_platform(&self, os: &str, architecture: &str) -> Option<&Descriptor> {
        self.manifests.iter().find(|it| {
            let platform = it.platform.as_ref();
            platform.is_some_and(|it| it.os == os && it.architecture == architecture)
        })
    }

    /// Whether it lists images of several platforms.
    pub fn is_index(&self) -> bool {
        self.media_type == OCI_INDEX || self.media_type == DOCKER_INDEX
    }
}

/// OCI's manifests need not say what they are.
fn known(
    media_type: Option<String>,
    of_oci: &str,
    of_docker: &str,
) -> Result<String, InvalidManifest> {
    match media_type {
        None => Ok(of_oci.to_owned()),
        Some(it) if it == of_oci || it == of_docker => Ok(it),
        Some(other) => {
            let other: String = other.chars().take(100).collect();
            Err(InvalidManifest(format!(
                "media type {other:?} is not known"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> serde_json::Value {
        serde_json::json!({"mediaType": "x", "digest": Digest::of(b"").to_string(), "size": 0})
    }

    fn read(value: serde_json::Value) -> Result<Manifest, InvalidManifest> {
        Manifest::read(value.to_string().as_bytes())
    }

    #[test]
    fn images_and_indexes() {
        let image = read(serde_json::json!({
            "schemaVersion": 2, "config": descriptor(), "layers": [descriptor()],
        }));
        let image = image.unwrap();
        assert_eq!(
            (image.media_type.as_str(), image.blobs.len()),
            (OCI_MANIFEST, 2)
        );
        let index = read(serde_json::json!({
            "schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": [descriptor()],
        }));
        assert!(index.unwrap().is_index());
    }

    #[test]
    fn what_is_no_manifest() {
        let many = vec![descriptor(); MAXIMUM_CHILDREN + 1];
        for value in [
            serde_json::json!({}),
            serde_json::json!([]),
            serde_json::json!({"schemaVersion": 1, "manifests": []}),
            serde_json::json!({"schemaVersion": 2}),
            serde_json::json!({"schemaVersion": 2, "manifests": [], "layers": []}),
            serde_json::json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": []}),
            serde_json::json!({"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "../x", "size": 0}]}),
            serde_json::json!({"schemaVersion": 2, "manifests": many}),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }
}
