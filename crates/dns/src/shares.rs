//! What a VPC and an instance may take of what all share.

use std::net::IpAddr;
use std::time::Duration;

use lath_feed::Snapshot;
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits, Source};
use lath_net::descriptors::Purpose;

/// Connections by TCP and questions that wait for other resolvers, each over all VPCs.
const TOTAL: usize = 4096;

/// Connections of one instance by TCP: one carries any number of questions (RFC 7766, 6.2.2).
const CONNECTIONS: usize = 32;

/// Questions of one instance that wait for other resolvers.
const QUESTIONS: usize = 128;

/// How long a connection may take for its next question, and for taking a reply.
pub(crate) const IDLE: Duration = Duration::from_secs(10);

/// The shares of the resolvers of all VPCs.
pub(crate) struct Shares {
    pub(crate) connections: Acceptor,
    pub(crate) questions: Acceptor,
}

impl Shares {
    pub(crate) fn new() -> Self {
        let total = Purpose::Resolver.share(2 * TOTAL) / 2;
        Self {
            connections: Acceptor::new("DNS by TCP", limits(total, CONNECTIONS)),
            questions: Acceptor::new("forwarded DNS questions", limits(total, QUESTIONS)),
        }
    }
}

/// Half of all for one VPC, and half of that for one instance at most.
fn limits(total: usize, per_source: usize) -> ConnectionLimits {
    let per_place = total.div_ceil(2);
    ConnectionLimits {
        total,
        per_place,
        per_source: per_source.min(per_place.div_ceil(2)),
        idle: IDLE,
    }
}

/// The instance that has an address in a VPC, or else the address.
pub(crate) fn source(snapshot: &Snapshot, vpc: &VpcId, address: IpAddr) -> Source {
    let network = snapshot.vpcs.get(vpc);
    let mut interfaces = network
        .into_iter()
        .flat_map(|network| network.interfaces.values());
    let interface = interfaces.find(|interface| {
        let mut addresses = interface.addresses.iter();
        addresses.any(|its| IpAddr::V4(its.private) == address)
    });
    let owner = interface.and_then(|interface| interface.attachment.as_ref());
    owner.map_or_else(
        || Source::of(address),
        |(instance, _)| Source::Instance(instance.clone()),
    )
}
