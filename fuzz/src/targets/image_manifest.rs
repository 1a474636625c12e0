//! Manifests of images: an image or an index, never both, of bounded length.

use lath_registry::Manifest;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(manifest) = Manifest::read(bytes) else {
        return;
    };
    assert!(manifest.manifests.is_empty() || manifest.blobs.is_empty());
    assert_eq!(manifest.is_index(), manifest.blobs.is_empty());
    assert!(manifest.manifests.len() + manifest.blobs.len() <= 1000);
    for blob in manifest.blobs.iter().chain(&manifest.manifests) {
        assert_eq!(blob.digest.hex().len(), 64);
    }
}
