use lath_model::Timestamp;
use lath_model::id::{NatGatewayId, NetworkInterfaceId, SubnetId, VpcId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::Life;

/// A NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Its id.
    pub id: NatGatewayId,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The subnet it is in.
    pub subnet: SubnetId,
    /// Whether it has a public address and leads to the internet.
    pub public: bool,
    /// Its interface, which holds its addresses; `None` when it failed or was deleted.
    pub interface: Option<NetworkInterfaceId>,
    /// Its addresses as they were shown last, for when the interface is gone.
    pub addresses: NatAddresses,
    /// Code and message, when it failed.
    pub failure: Option<(String, String)>,
    /// Where it is in its life.
    pub life: Life,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The addresses of a NAT gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatAddresses {
    /// Such as `eni-...`.
    pub interface: Option<String>,
    /// Its private address.
    pub private: Option<String>,
    /// Its elastic address.
    pub public: Option<String>,
    /// The elastic address's allocation.
    pub allocation: Option<String>,
    /// The elastic address's association.
    pub association: Option<String>,
}

impl Record for NatGateway {
    const KIND: &'static str = "ec2.nat-gateway";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("vpc", self.vpc.to_string())]
    }
}
