use ipnet::Ipv4Net;
use lath_model::id::{NetworkAclId, SubnetId, VpcId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::PrivateDnsNames;

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The account.
    pub owner: String,
    /// Its block: /16 to /28, inside a block of the VPC.
    pub cidr: Ipv4Net,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// Whether it is the zone's default subnet in the default VPC.
    pub default_for_az: bool,
    /// Whether new interfaces of instances get a public address.
    pub map_public_ip_on_launch: bool,
    /// The names of instances launched in it, where the launch does not say otherwise.
    #[serde(default)]
    pub names: PrivateDnsNames,
    /// Its association with its network ACL, such as `aclassoc-...`.
    pub acl_association: String,
    /// Its network ACL; `None` is the VPC's default one.
    #[serde(default)]
    pub network_acl: Option<NetworkAclId>,
    /// The revision before the one that created it: a node that applied a later one knows it.
    pub created_after: u64,
    /// Whether a node was seen to have it. Never goes back.
    pub available: bool,
}

impl Record for Subnet {
    const KIND: &'static str = "ec2.subnet";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("vpc", self.vpc.to_string()),
            ("acl-association", self.acl_association.clone()),
        ];
        keys.extend(self.network_acl.iter().map(|acl| ("acl", acl.to_string())));
        if !self.available {
            keys.push(("state", "pending".to_owned()));
        }
        keys
    }
}
