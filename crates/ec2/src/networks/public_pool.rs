use std::net::Ipv4Addr;

use lath_store::View;

use crate::records::{Address, NetworkInterface};

/// Public addresses come from 198.18.0.0/15, which RFC 2544 keeps for test networks: no host of the
/// internet has one, and hardly any network uses them.
const BASE: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// The first and the last /24 are left out.
const OFFSETS: std::ops::Range<u32> = 256..(1 << 17) - 256;

/// A free public address; `None` when all are taken.
pub(crate) fn take(view: &View) -> Option<Ipv4Addr> {
    let taken = taken(view);
    OFFSETS
        .map(|offset| Ipv4Addr::from(BASE + offset))
        .filter(|ip| !matches!(ip.octets()[3], 0 | 255))
        .find(|ip| !taken.contains(ip))
}

fn taken(view: &View) -> std::collections::HashSet<Ipv4Addr> {
    let elastic = view.list::<Address>().map(|address| address.ip);
    let mapped = view.list::<NetworkInterface>().flat_map(|interface| {
        interface
            .addresses
            .iter()
            .filter_map(|address| Some(address.public.as_ref()?.ip))
            .collect::<Vec<_>>()
    });
    elastic.chain(mapped).collect()
}
