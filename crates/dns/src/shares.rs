//! What a VPC and a workload may take of what all share.

use std::net::IpAddr;
use std::time::Duration;

use lath_feed::Snapshot;
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits, Source};
use lath_net::descriptors::Purpose;

/// Connections by TCP and questions that wait for other resolvers, each over all VPCs.
const TOTAL: usize = 4096;

/// Connections of one workload by TCP: one carries any number of questions (RFC 7766, 6.2.2).
const CONNECTIONS: usize = 32;

/// Questions of one workload that wait for other resolvers.
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

/// Half of all for one VPC, and half of that for one workload at most.
fn limits(total: usize, per_source: usize) -> ConnectionLimits {
    let per_place = total.div_ceil(2);
    ConnectionLimits {
        total,
        per_place,
        per_source: per_source.min(per_place.div_ceil(2)),
        idle: IDLE,
    }
}

/// The workload that has an address in a VPC, or else the address.
pub(crate) fn source(snapshot: &Snapshot, vpc: &VpcId, address: IpAddr) -> Source {
    let interface = match address {
        IpAddr::V4(address) => snapshot.interface_at(vpc, address),
        IpAddr::V6(_) => None,
    };
    let attachment = interface.and_then(|interface| interface.attachment.as_ref());
    attachment.map_or_else(
        || Source::of(address),
        |attachment| Source::Workload(attachment.workload.clone()),
    )
}
