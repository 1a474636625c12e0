//! The public addresses of a region.

use std::net::Ipv4Addr;

use lath_control::Cell;
use lath_store::View;

use crate::{Address, NetworkInterface};

/// A free address of the region's public pool, any of them; `None` when all are taken. Regions share 198.18.0.0/15,
/// which RFC 2544 keeps for test networks: no host of the internet has one, and hardly any network uses
/// them. The first and the last /24 are left out.
pub fn take(cell: &Cell, view: &View) -> Option<Ipv4Addr> {
    let pool = cell.topology.here()?.public_pool;
    let first = u32::from(pool.network()).saturating_add(256);
    let end = u32::from(pool.broadcast()).saturating_sub(255);
    let size = end.checked_sub(first).filter(|size| *size > 0)?;
    // From another place each time: from the first one on, all that was given out would be passed.
    let start = scattered(view.revision()) % size;
    let from_start = (start..size).chain(0..start);
    from_start
        .map(|offset| Ipv4Addr::from(first + offset))
        .filter(|ip| !matches!(ip.octets()[3], 0 | 255))
        .find(|ip| !is_taken(view, *ip))
}

/// Different for numbers that follow one another (Fibonacci hashing).
fn scattered(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn is_taken(view: &View, ip: Ipv4Addr) -> bool {
    let ip = ip.to_string();
    view.has::<Address>("ip", &ip) || view.has::<NetworkInterface>("public", &ip)
}
