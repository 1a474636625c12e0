//! Entry points for the targets in `fuzz/` only.

use std::net::IpAddr;

use hyper::http::{HeaderMap, Method, Response};
use lath_feed::Snapshot;
use lath_model::id::VpcId;

/// What user data asks for, in numbers.
#[derive(Debug, Default)]
pub struct Extent {
    /// Scripts and `#cloud-config` documents.
    pub parts: usize,
    /// Their bytes together, and those of the files that the documents write.
    pub bytes: usize,
    /// What is wrong with them, in words.
    pub problems: usize,
}

/// Takes user data apart and reads all that is in it.
pub fn user_data(bytes: &[u8]) -> Extent {
    crate::cloud_init::extent(bytes)
}

/// The unit that an order to process 1 names, if the bytes are an order.
pub fn unit_order(bytes: &[u8]) -> Option<String> {
    crate::units::door::read_order(bytes).map(|order| order.unit)
}

/// What the metadata service answers to one request.
pub fn metadata(
    snapshot: &Snapshot,
    vpc: &VpcId,
    peer: IpAddr,
    (method, path, headers): (&Method, &str, &HeaderMap),
) -> Response<Vec<u8>> {
    crate::metadata::answer_once(snapshot, vpc, peer, (method, path, headers))
}
