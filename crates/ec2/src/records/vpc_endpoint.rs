use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_model::id::{
    NetworkInterfaceId, SecurityGroupId, ServiceNetworkId, SubnetId, VpcEndpointId, VpcId,
};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::Life;

/// A VPC endpoint of type ServiceNetwork.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    /// Its id.
    pub id: VpcEndpointId,
    /// The account.
    pub owner: String,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The service network.
    pub network: ServiceNetworkId,
    /// The service network's ARN.
    pub network_arn: String,
    /// Its interface in each subnet.
    pub subnets: BTreeMap<SubnetId, NetworkInterfaceId>,
    /// The groups that guard it.
    pub groups: Vec<SecurityGroupId>,
    /// Whether private names were asked for.
    pub private_dns: bool,
    /// Where it is in its life.
    pub life: Life,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Record for VpcEndpoint {
    const KIND: &'static str = "ec2.vpc-endpoint";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("vpc", self.vpc.to_string())]
    }
}
