use ipnet::Ipv4Net;
use lath_model::Timestamp;
use lath_model::id::{VpcId, VpcPeeringConnectionId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A VPC peering connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcPeering {
    /// Its id.
    pub id: VpcPeeringConnectionId,
    /// The side that asked for it.
    pub requester: PeeringSide,
    /// The side that was asked.
    pub accepter: PeeringSide,
    /// Its state.
    pub state: PeeringState,
    /// The revision before the one that accepted it: nodes that applied a later one have it.
    pub after: u64,
    /// When a request that was not accepted expires.
    pub expires_at: Timestamp,
    /// When it ended; it stays visible for a while.
    pub ended_at: Option<Timestamp>,
}

/// One side of a peering connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringSide {
    /// The VPC.
    pub vpc: VpcId,
    /// The account.
    pub owner: String,
    /// The blocks that the VPC had when the connection was asked for.
    pub cidrs: Vec<Ipv4Net>,
    /// Whether public names of this side resolve to private addresses on the other side.
    pub shares_names: bool,
}

/// Where a peering connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeeringState {
    /// It waits to be accepted.
    Pending,
    /// It was accepted, and no node has said that it works.
    Provisioning,
    /// It works.
    Active,
    /// The accepter refused it.
    Rejected,
    /// A side deleted it.
    Deleted,
    /// It was not accepted in time.
    Expired,
    /// The two VPCs cannot be joined.
    Failed,
}

impl PeeringState {
    /// As the API calls it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending-acceptance",
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Rejected => "rejected",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    /// Whether it has not ended.
    pub fn lives(self) -> bool {
        matches!(self, Self::Pending | Self::Provisioning | Self::Active)
    }

    /// Whether nodes should have it.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Provisioning | Self::Active)
    }
}

impl VpcPeering {
    /// The side of a VPC, and the other one.
    pub fn seen_from(&self, vpc: &VpcId) -> Option<(&PeeringSide, &PeeringSide)> {
        if self.requester.vpc == *vpc {
            Some((&self.requester, &self.accepter))
        } else if self.accepter.vpc == *vpc {
            Some((&self.accepter, &self.requester))
        } else {
            None
        }
    }
}

impl Record for VpcPeering {
    const KIND: &'static str = "ec2.vpc-peering";
    fn id(&self) -> String {
        self.id.to_string()
    }

    /// Only one that lives is found by its VPCs.
    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = Vec::new();
        if self.state.lives() {
            keys.push(("vpc", self.requester.vpc.to_string()));
            keys.push(("vpc", self.accepter.vpc.to_string()));
        }
        if self.state != PeeringState::Active {
            keys.push(("state", "changing".to_owned()));
        }
        keys
    }
}
