//! What a probed target answers: wherever it is cut into pieces, the verdict is one and the same.

use lath_health::{Flaw, ResponseReader};

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<u16, Flaw> {
    let mut answer = ResponseReader::default();
    for piece in pieces {
        if let Some(status) = answer.push(piece)? {
            return Ok(status);
        }
    }
    answer.close()
}

pub(crate) fn run(bytes: &[u8]) {
    let whole = read(std::iter::once(bytes));
    for size in [1, 3, 64] {
        assert_eq!(read(bytes.chunks(size)), whole, "in pieces of {size}");
    }
    if let Ok(status) = whole {
        assert!(status == 101 || (200..1000).contains(&status), "{status}");
    }
    // As an answer of gRPC's health service: what is cut off is none.
    if lath_health::serving(bytes).is_ok() {
        assert!(lath_health::serving(&bytes[..bytes.len() - 1]).is_err());
    }
}
