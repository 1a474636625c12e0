//! Entry points for the targets in `fuzz/` only.

use std::net::Ipv4Addr;

pub use lath_ec2_compute::fuzzing::public_key;

/// Whether a filter's value matches a text.
pub fn matches(pattern: &str, text: &str) -> bool {
    lath_ec2_kit::filter::Pattern::new(pattern).matches(text)
}

/// An address block and its prefix length.
pub fn cidr(text: &str) -> Option<(Ipv4Addr, u8)> {
    let block = lath_ec2_network::block("cidrBlock", text).ok()?;
    Some((block.addr(), block.prefix_len()))
}

/// What another region tells of its gateways: as it would be told again, and how many of its
/// peerings ask for something here.
pub fn told_transit(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let told: lath_ec2_records::ToldTransit = serde_json::from_slice(bytes).ok()?;
    let (cell, _node) = lath_control::Cell::for_test();
    let printed = serde_json::to_vec(&told).ok()?;
    let peer = lath_ec2_records::PeerTransit {
        region: "us-west-2".into(),
        told,
    };
    let asked = lath_ec2_transit::asked(&cell, &peer);
    Some((printed, asked))
}
