//! Request ids.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderValue;
use rand::Rng;

/// Ids that were not given yet, one after another.
#[derive(Debug, Default)]
pub(crate) struct Ids(RefCell<Bytes>);

impl Ids {
    /// One that no other request has.
    pub(crate) fn next(&self) -> HeaderValue {
        let mut ids = self.0.borrow_mut();
        if ids.is_empty() {
            *ids = request_ids();
        }
        let id = ids.split_to(ID_LENGTH);
        let mut id = HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("-"));
        // No other request has it: HTTP/2 must not put it into its table in the place of what comes again.
        id.set_sensitive(true);
        id
    }
}

/// The length of a UUID's text.
const ID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

/// Some request ids in one piece of memory: each one is a part of it that costs nothing to copy.
fn request_ids() -> Bytes {
    let random: [[u8; 16]; 64] = rand::rng().random();
    let mut ids = vec![0; random.len() * ID_LENGTH];
    for (text, random) in ids.chunks_exact_mut(ID_LENGTH).zip(random) {
        let id = uuid::Builder::from_random_bytes(random).into_uuid();
        id.hyphenated().encode_lower(text);
    }
    ids.into()
}
