use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use lath_feed::PrivateKey;
use lath_model::Timestamp;
use lath_model::id::{
    NetworkInterfaceId, PrefixListId, SubnetId, TransitGatewayAttachmentId, TransitGatewayId,
    TransitGatewayRouteTableId, VpcId,
};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A Transit Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitGateway {
    /// Its id.
    pub id: TransitGatewayId,
    /// The account.
    pub owner: String,
    /// What it is for.
    pub description: String,
    /// Its side's autonomous system number.
    pub asn: i64,
    /// What it does by itself.
    pub options: TransitOptions,
    /// The table that new attachments are associated with.
    pub association_default: Option<TransitGatewayRouteTableId>,
    /// The table that new attachments propagate to.
    pub propagation_default: Option<TransitGatewayRouteTableId>,
    /// Blocks for Connect attachments, which nothing here uses.
    #[serde(default)]
    pub cidr_blocks: Vec<IpNet>,
    /// Where it is in its life.
    pub life: Life,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a Transit Gateway does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitOptions {
    /// Whether attachments of other accounts need no acceptance.
    pub auto_accept: bool,
    /// Whether new attachments are associated with the default table.
    pub associates: bool,
    /// Whether new attachments propagate to the default table.
    pub propagates: bool,
    /// Whether VPNs share their load.
    pub vpn_ecmp: bool,
    /// Whether public names of attached VPCs resolve to private addresses.
    pub dns: bool,
    /// Whether rules may name groups of other attached VPCs.
    #[serde(default)]
    pub group_references: bool,
}

/// Where a thing is in its life, for those that are made, changed and deleted by a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The state.
    pub state: LifeState,
    /// The revision before the one that brought the state: what a node says of a later one counts.
    pub after: u64,
    /// When it ended; it stays visible for a while.
    pub ended_at: Option<Timestamp>,
}

/// The states of [`Life`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifeState {
    /// No node has it yet.
    Pending,
    /// It works.
    Available,
    /// It could not be made.
    Failed,
    /// A node may still have it.
    Deleting,
    /// No node has it.
    Deleted,
}

impl LifeState {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// Whether it is there or being made.
    pub fn lives(self) -> bool {
        matches!(self, Self::Pending | Self::Available)
    }
}

impl Life {
    /// A life that begins with the revision after this one.
    pub fn begin(after: u64) -> Self {
        Self {
            state: LifeState::Pending,
            after,
            ended_at: None,
        }
    }

    /// Enters a state now, with the revision after this one.
    pub fn enter(&mut self, state: LifeState, after: u64, now: Timestamp) {
        self.state = state;
        self.after = after;
        if matches!(state, LifeState::Deleted | LifeState::Failed) {
            self.ended_at = Some(now);
        }
    }
}

/// A route table of a Transit Gateway. Propagated routes follow from attachments and are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitRouteTable {
    /// Its id.
    pub id: TransitGatewayRouteTableId,
    /// The gateway it belongs to.
    pub gateway: TransitGatewayId,
    /// Static routes.
    pub routes: BTreeMap<Ipv4Net, StaticTarget>,
    /// Static routes to every block of a prefix list.
    pub references: BTreeMap<PrefixListId, StaticTarget>,
    /// Where it is in its life.
    pub life: Life,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Where a static route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaticTarget {
    /// Out through an attachment, as long as it is there.
    Attachment(TransitGatewayAttachmentId),
    /// Nowhere.
    Blackhole,
}

/// What joins a Transit Gateway to a VPC or to another gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitAttachment {
    /// Its id.
    pub id: TransitGatewayAttachmentId,
    /// The gateway on this side.
    pub gateway: TransitGatewayId,
    /// The account.
    pub owner: String,
    /// What is at its other end.
    pub to: AttachedTo,
    /// The table in which its packets are looked up.
    pub association: Option<TableLink>,
    /// The tables that learn its routes.
    pub propagations: Vec<TableLink>,
    /// Its state.
    pub state: AttachmentState,
    /// The revision before the one that brought the state.
    pub after: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended; it stays visible for a while.
    pub ended_at: Option<Timestamp>,
}

/// The other end of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachedTo {
    /// A VPC.
    Vpc(VpcEnd),
    /// A Transit Gateway.
    Peering(PeeringEnd),
}

/// A VPC at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEnd {
    /// The VPC.
    pub vpc: VpcId,
    /// A subnet per availability zone, each with an interface for the gateway.
    pub subnets: BTreeMap<SubnetId, NetworkInterfaceId>,
    /// Whether public names of the VPC resolve to private addresses.
    pub dns: bool,
    /// Whether groups of other VPCs may be referred to.
    pub group_references: bool,
    /// Whether a flow keeps its availability zone.
    pub appliance: bool,
}

/// A Transit Gateway at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringEnd {
    /// Whether this side asked for the peering.
    pub requester: bool,
    /// The other gateway.
    pub gateway: TransitGatewayId,
    /// Its region.
    pub region: String,
    /// Its account.
    pub owner: String,
    /// The other side's attachment: of another id within a region, of the same one between regions.
    pub attachment: TransitGatewayAttachmentId,
    /// This side's end of the tunnel, between regions.
    pub tunnel: Option<TunnelEnd>,
    /// Whether this side's node was seen to reach the other's. Never goes back.
    pub ready: bool,
    /// Whether dynamic routing was asked for.
    pub dynamic_routing: Option<bool>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// An end of an encrypted tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelEnd {
    /// An X25519 key.
    pub private_key: PrivateKey,
    /// The UDP port on this region's underlay address.
    pub port: u16,
}

/// An attachment's association with, or propagation to, a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLink {
    /// The table.
    pub table: TransitGatewayRouteTableId,
    /// Its state.
    pub state: LinkState,
    /// The revision before the one that brought the state.
    pub after: u64,
}

/// The states of a [`TableLink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkState {
    /// No node has it yet.
    Making,
    /// It is there.
    Made,
    /// A node may still have it.
    Unmaking,
}

impl TableLink {
    /// A link that is being made from the revision after this one on.
    pub fn begin(table: TransitGatewayRouteTableId, after: u64) -> Self {
        Self {
            table,
            state: LinkState::Making,
            after,
        }
    }

    /// Whether it is there or being made.
    pub fn holds(&self) -> bool {
        self.state != LinkState::Unmaking
    }
}

/// The states of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachmentState {
    /// The other side has not answered.
    InitiatingRequest,
    /// The other side must accept.
    PendingAcceptance,
    /// Packets cannot pass yet.
    Pending,
    /// Packets pass.
    Available,
    /// It changes.
    Modifying,
    /// A node may still have it.
    Deleting,
    /// No node has it.
    Deleted,
    /// The other side did not want it.
    Rejected,
    /// It could not be made.
    Failed,
}

impl AttachmentState {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::InitiatingRequest => "initiatingRequest",
            Self::PendingAcceptance => "pendingAcceptance",
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Modifying => "modifying",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// Whether it is over.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Deleted | Self::Rejected | Self::Failed)
    }

    /// Whether a node should have it.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Pending | Self::Available | Self::Modifying)
    }
}

impl TransitAttachment {
    /// Enters a state now, with the revision after this one. One that ends lets go of its tables.
    pub fn enter(&mut self, state: AttachmentState, after: u64, now: Timestamp) {
        self.state = state;
        self.after = after;
        if state == AttachmentState::Deleting || state.has_ended() {
            self.association = None;
            self.propagations.clear();
        }
        if state.has_ended() {
            self.ended_at = Some(now);
        }
    }

    /// The VPC at its other end.
    pub fn vpc(&self) -> Option<&VpcEnd> {
        match &self.to {
            AttachedTo::Vpc(end) => Some(end),
            AttachedTo::Peering(_) => None,
        }
    }

    /// The gateway at its other end.
    pub fn peering(&self) -> Option<&PeeringEnd> {
        match &self.to {
            AttachedTo::Vpc(_) => None,
            AttachedTo::Peering(end) => Some(end),
        }
    }

    /// The gateway at its other end.
    pub fn peering_mut(&mut self) -> Option<&mut PeeringEnd> {
        match &mut self.to {
            AttachedTo::Vpc(_) => None,
            AttachedTo::Peering(end) => Some(end),
        }
    }

    /// `vpc` or `peering`.
    pub fn resource_type(&self) -> &'static str {
        match &self.to {
            AttachedTo::Vpc(_) => "vpc",
            AttachedTo::Peering(_) => "peering",
        }
    }

    /// The VPC's id, or the other gateway's.
    pub fn resource_id(&self) -> String {
        match &self.to {
            AttachedTo::Vpc(end) => end.vpc.to_string(),
            AttachedTo::Peering(end) => end.gateway.to_string(),
        }
    }
}

impl Record for TransitGateway {
    const KIND: &'static str = "ec2.transit-gateway";
    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Record for TransitRouteTable {
    const KIND: &'static str = "ec2.transit-route-table";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("gateway", self.gateway.to_string())]
    }
}

impl Record for TransitAttachment {
    const KIND: &'static str = "ec2.transit-attachment";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let vpc = self.vpc().map(|end| ("vpc", end.vpc.to_string()));
        let gateway = std::iter::once(("gateway", self.gateway.to_string()));
        gateway.chain(vpc).collect()
    }
}
