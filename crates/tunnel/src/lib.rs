//! Encrypted links: WireGuard in this process, for kernels with and without WireGuard of their own.
//!
//! A [`Tunnel`] is a TUN device in one network namespace and a UDP socket of another, with one peer and
//! no address filter: what is routed to the device reaches the peer, and what the peer sends comes out
//! of the device. Routes, addresses and firewalls belong to whoever owns the namespace. [`Tunnels`] keeps
//! one tunnel per peering attachment of the region's Transit Gateways.
//!
//! Devices are persistent: they outlive a killed process with their addresses and routes, and its
//! successor attaches to them.
//!
//! What makes it fast: the kernel hands over up to 64 KiB at once (`IFF_VNET_HDR`), which is split here,
//! sealed in one go and sent as one buffer (`UDP_SEGMENT`); the way back is the mirror image (`UDP_GRO`,
//! then one write per run of segments). Threads with blocking waits, one lock per batch.
//!
//! This crate knows no regions and keeps no keys; an installation whose cells share a machine or not is
//! the same to it.
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
//! })?;
//! let is_there = tunnel.state().borrow().connected;
//! # drop(is_there); Ok(()) }
//! ```

mod batch;
mod checksum;
mod datagrams;
mod device;
pub mod fuzzing;
mod glue;
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

/// What WireGuard over IPv4 adds to a packet: IPv4, UDP, its own header and the seal. The underlay's MTU
/// must be this much larger than a tunnel's.
pub const OVERHEAD: u16 = 60;

/// The public key of a private one (X25519).
pub fn public_key(private: &PrivateKey) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(private.0)).to_bytes()
}

/// A new private key.
pub fn private_key() -> PrivateKey {
    PrivateKey(StaticSecret::from(rand::random::<[u8; 32]>()).to_bytes())
}
