use ipnet::Ipv4Net;
use lath_model::Timestamp;
use lath_model::id::{DhcpOptionsId, NetworkAclId, VpcId, random_suffix};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// The account.
    pub owner: String,
    /// Its IPv4 blocks, the primary one first.
    pub cidrs: Vec<CidrBlock>,
    /// Whether it is the region's default VPC.
    pub is_default: bool,
    /// Its DHCP options: the region's or a set of the account's own; `None`: it has none.
    #[serde(default)]
    pub dhcp_options: Option<DhcpOptionsId>,
    /// Its default network ACL.
    pub network_acl: NetworkAclId,
    /// Whether the VPC's resolver answers.
    pub dns_support: bool,
    /// Whether instances get public host names.
    pub dns_hostnames: bool,
    /// Whether its router was seen to work. Never goes back.
    pub available: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// One IPv4 block of a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CidrBlock {
    /// Such as `vpc-cidr-assoc-...`.
    pub association: String,
    /// The block.
    pub cidr: Ipv4Net,
}

impl CidrBlock {
    /// A block with a new association.
    pub fn new(cidr: Ipv4Net) -> Self {
        Self {
            association: format!("vpc-cidr-assoc-{}", random_suffix()),
            cidr,
        }
    }
}

impl Vpc {
    /// The block it was created with.
    pub fn primary_cidr(&self) -> Ipv4Net {
        self.cidrs
            .first()
            .map_or_else(Ipv4Net::default, |block| block.cidr)
    }
}

impl Record for Vpc {
    const KIND: &'static str = "ec2.vpc";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = Vec::new();
        let blocks = self.cidrs.iter();
        keys.extend(blocks.map(|block| ("block", block.association.to_string())));
        let options = self.dhcp_options.iter();
        keys.extend(options.map(|id| ("dhcp-options", id.to_string())));
        if self.is_default {
            keys.push(("state", "default".to_owned()));
        }
        if !self.available {
            keys.push(("state", "pending".to_owned()));
        }
        keys
    }
}
