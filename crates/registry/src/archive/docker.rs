//! What `docker save` writes, before version 25 made it an OCI layout too: a list of images, each with its configuration
//! and its layers as files. They have no manifest, so that one is made.

use serde::Deserialize;

use super::source::Source;
use super::{LoadError, Loaded, read_list};
use crate::manifest::{Descriptor, OCI_MANIFEST};
use crate::reference::Reference;
use crate::store::{Images, Lock};

const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn load(
    images: &Images,
    lock: &Lock,
    source: &mut Source,
    bytes: &[u8],
    name: Option<&Reference>,
) -> Result<Vec<Loaded>, LoadError> {
    let all: Vec<Saved> = read_list("manifest.json", bytes)?;
    if name.is_some() && all.len() > 1 {
        return Err(LoadError::Several(all.len()));
    }
    let mut loaded = Vec::new();
    for saved in all {
        let names = match name {
            Some(name) => vec![name.clone()],
            None => {
                let tags = saved.repo_tags.iter().flatten();
                tags.map(|it| it.parse()).collect::<Result<_, _>>()?
            }
        };
        if names.is_empty() {
            return Err(LoadError::Nameless);
        }
        let config = copy(images, source, &saved.config, CONFIGURATION)?;
        let mut layers = Vec::new();
        for layer in &saved.layers {
            layers.push(copy(images, source, layer, LAYER)?);
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers,
        });
        let (digest, size) = images.keep(manifest.to_string().as_bytes(), None)?;
        let image = Descriptor::new(OCI_MANIFEST, digest.clone(), size);
        images.name(lock, &names, &image)?;
        loaded.push(Loaded { names, digest });
    }
    Ok(loaded)
}

fn copy(
    images: &Images,
    source: &mut Source,
    name: &str,
    media_type: &str,
) -> Result<Descriptor, LoadError> {
    let reader = source
        .reader(name)?
        .ok_or_else(|| LoadError::Missing(name.to_owned()))?;
    let (digest, size) = images.keep(reader, None)?;
    Ok(Descriptor::new(media_type, digest, size))
}
