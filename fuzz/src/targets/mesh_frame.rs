//! What another cell says in a mesh: the same however it is cut, and what is read can be written again.

use lath_mesh::fuzzing::frames;

pub(crate) fn run(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = frames(bytes, usize::MAX);
    assert_eq!(whole, frames(bytes, usize::from(*cut)));
    if let Some(read) = whole {
        assert!(bytes.starts_with(&read));
    }
}
