//! Policy documents, requests put to them, and paths that are read in more than one way.

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let mut parts = text(bytes).splitn(3, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (document, action, resource) = (next(), next(), next());
    lath_policy::fuzzing::read_and_ask(document, action, resource);
    lath_policy::fuzzing::read_path(resource);
}
