//! Names of images: a parsed name prints its full form, which names the same.

use lath_registry::{Digest, Reference};

pub(crate) fn run(bytes: &[u8]) {
    let text = crate::text(bytes);
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    let printed = reference.to_string();
    assert_eq!(printed.parse::<Reference>().as_ref(), Ok(&reference));
    let parts = Reference::new(
        reference.registry(),
        reference.repository(),
        reference.target().clone(),
    );
    assert_eq!(parts.as_ref(), Ok(&reference));
    // It becomes a part of paths.
    let path = std::path::Path::new(reference.repository());
    let is_plain = |it| matches!(it, std::path::Component::Normal(_));
    assert!(path.components().all(is_plain), "{printed}");
}
