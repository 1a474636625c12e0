use std::net::Ipv4Addr;

use lath_control::Cell;
use lath_store::View;

use crate::records::{Address, NetworkInterface};

/// A free address of the region's public pool; `None` when all are taken. Regions share 198.18.0.0/15,
/// which RFC 2544 keeps for test networks: no host of the internet has one, and hardly any network uses
/// them. The first and the last /24 are left out.
pub(crate) fn take(cell: &Cell, view: &View) -> Option<Ipv4Addr> {
    let pool = cell.topology.here()?.public_pool;
    let taken = taken(view);
    let first = u32::from(pool.network()).saturating_add(256);
    let end = u32::from(pool.broadcast()).saturating_sub(255);
    (first..end)
        .map(Ipv4Addr::from)
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
