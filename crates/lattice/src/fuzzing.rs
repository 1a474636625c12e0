//! Doors for the targets in `fuzz/`, and for nobody else.

use crate::ident::{Identifier, Kind};

/// The ranges of status codes of a health check's matcher.
pub fn status_codes(text: &str) -> Option<Vec<(u16, u16)>> {
    crate::matcher::parse(text)
}

/// The resource's own id, and how many parents it names, of every kind that the text may identify.
pub fn identifiers(text: &str) -> Vec<(String, usize)> {
    Kind::ALL
        .into_iter()
        .filter_map(|kind| Identifier::parse(kind, text))
        .map(|identifier| (identifier.id().to_owned(), identifier.parents().len()))
        .collect()
}
