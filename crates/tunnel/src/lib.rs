//! Encrypted links: userspace WireGuard, which also works on kernels without a WireGuard module.
//!
//! A [`Tunnel`] joins a TUN device in one network namespace with a UDP socket in another. It has one peer and
//! no address filter: packets routed to the device reach the peer, and packets from the peer come out of the
//! device. Routes, addresses and firewalls belong to the owner of the namespace. [`Tunnels`] runs one tunnel
//! per peering attachment of the region's Transit Gateways.
//!
//! Devices are persistent: they outlive a killed process with their addresses and routes, and the next process
//! attaches to them.
//!
//! For speed, the kernel passes up to 64 KiB at once (`IFF_VNET_HDR`), which this crate segments, encrypts
//! under one lock and sends as one buffer (`UDP_SEGMENT`). The reverse path uses `UDP_GRO` and one write per
//! run of segments. Two threads with blocking waits do the work.
//!
//! This crate knows nothing about regions and stores no keys. It works the same whether or not cells share a machine.
//!
//! ```no_run
//! # fn example(key: lath_feed::PrivateKey, theirs: [u8; 32]) -> std::io::Result<()> {
//! use lath_tunnel::{Tunnel, TunnelConfig};
//!
//! let tunnel = Tunnel::start(TunnelConfig {
//!     name: "p0".into(),
//!     netns: std::fs::File::open("/run/lath/netns/tgw-1")?.into(),
//!     udp: std::net::UdpSocket::bind("100.64.0.1:52000")?,
//!     private_key: key,
//!     peer_public_key: theirs,
//!     peer: "100.64.1.1:52000".parse().expect("an address"),
//!     mtu: 8500,
//!     keepalive: std::time::Duration::from_secs(1),
//!     addresses: None,
//!     clock: lath_clock::Clock::system(),
//! })?;
//! let is_there = tunnel.state().borrow().connected;
//! # drop(is_there); Ok(()) }
//! ```

mod batch;
mod checksum;
mod coalesce;
mod datagrams;
mod device;
pub mod fuzzing;
mod peer;
mod segment;
mod tunnel;
mod tunnels;
mod vnet;

pub use device::{device_names, inside, remove_device};
pub use tunnel::{Tunnel, TunnelConfig, TunnelState};
pub use tunnels::{GatewayNetns, PEERING_MTU, Tunnels, device_name};

use boringtun::x25519::{PublicKey, StaticSecret};
use lath_feed::PrivateKey;

/// The bytes that WireGuard over IPv4 adds to a packet: IPv4, UDP and WireGuard headers and the authentication
/// tag. The underlay's MTU must exceed a tunnel's by this much.
pub const OVERHEAD: u16 = 60;

/// Computes the public key of a private key (X25519).
pub fn public_key(private: &PrivateKey) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(private.0)).to_bytes()
}

/// A new private key.
pub fn private_key() -> PrivateKey {
    PrivateKey(StaticSecret::from(rand::random::<[u8; 32]>()).to_bytes())
}
