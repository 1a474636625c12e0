use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::AttachmentState;

/// What another region told of its gateways, peerings and endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTransit {
    /// The region.
    pub region: String,
    /// What it told last.
    pub told: ToldTransit,
}

/// What a region tells the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldTransit {
    /// Its account.
    pub account: String,
    /// Its attachments to gateways of other regions.
    pub peerings: BTreeMap<TransitGatewayAttachmentId, ToldPeering>,
    /// Requests of others that it cannot take, because it has no such gateway.
    pub refused: BTreeSet<TransitGatewayAttachmentId>,
    /// The names of its VPC endpoints, and their addresses.
    pub names: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// One side of a peering as it is told to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldPeering {
    /// Whether the teller asked for the peering.
    pub requester: bool,
    /// The teller's gateway.
    pub gateway: TransitGatewayId,
    /// The gateway at the other end.
    pub peer_gateway: TransitGatewayId,
    /// The region at the other end.
    pub peer_region: String,
    /// The teller's state.
    pub state: AttachmentState,
    /// The teller's public key.
    pub public_key: [u8; 32],
    /// Where the teller's end of the tunnel listens.
    pub endpoint: SocketAddrV4,
    /// Whether the teller's node reached the other's.
    pub ready: bool,
}

impl Record for PeerTransit {
    const KIND: &'static str = "ec2.peer-transit";
    fn id(&self) -> String {
        self.region.clone()
    }
}
