use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lath_model::Timestamp;
use lath_model::id::{
    NetworkInterfaceId, ResourceConfigurationId, SecurityGroupId, ServiceNetworkId,
    ServiceNetworkResourceAssociationId, SubnetId, VpcEndpointId, VpcId,
};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::Life;

/// A VPC endpoint of type ServiceNetwork or Resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    /// Its id.
    pub id: VpcEndpointId,
    /// The account.
    pub owner: String,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// What it leads to.
    #[serde(flatten)]
    pub to: EndpointOf,
    /// Its interface in each subnet.
    pub subnets: BTreeMap<SubnetId, NetworkInterfaceId>,
    /// The groups that guard it.
    pub groups: Vec<SecurityGroupId>,
    /// Whether private names were asked for.
    pub private_dns: bool,
    /// Which private names it gives.
    #[serde(default)]
    pub dns_options: EndpointDnsOptions,
    /// The resources at it, each at addresses of its own. `None` while VPC Lattice has not yet said which they are.
    #[serde(default)]
    pub resources: Option<BTreeMap<ResourceConfigurationId, ResourceAtEndpoint>>,
    /// Where it is in its life.
    pub life: Life,
    /// Why it failed.
    #[serde(default)]
    pub failure: Option<EndpointFailure>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What an endpoint leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EndpointOf {
    /// The services and resources of a service network.
    ServiceNetwork {
        /// The service network.
        network: ServiceNetworkId,
        /// Its ARN.
        network_arn: String,
    },
    /// A resource, or those of a group.
    Resource {
        /// The resource configuration.
        configuration: ResourceConfigurationId,
        /// Its ARN.
        configuration_arn: String,
    },
}

impl EndpointOf {
    /// The id of what it leads to.
    pub fn id(&self) -> &str {
        match self {
            Self::ServiceNetwork { network, .. } => network.as_str(),
            Self::Resource { configuration, .. } => configuration.as_str(),
        }
    }

    /// Its service network.
    pub fn network(&self) -> Option<&ServiceNetworkId> {
        match self {
            Self::ServiceNetwork { network, .. } => Some(network),
            Self::Resource { .. } => None,
        }
    }

    /// Its resource configuration.
    pub fn configuration(&self) -> Option<&ResourceConfigurationId> {
        match self {
            Self::ServiceNetwork { .. } => None,
            Self::Resource { configuration, .. } => Some(configuration),
        }
    }
}

/// Which private names an endpoint gives, in AWS's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDnsOptions {
    /// `ALL_DOMAINS`, `VERIFIED_DOMAINS_ONLY` and so on; the default is the second.
    pub private_dns_preference: Option<String>,
    /// The domains that some preferences name.
    pub private_dns_specified_domains: Vec<String>,
}

/// Why an endpoint failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFailure {
    /// A code.
    pub code: String,
    /// In words.
    pub message: String,
}

/// A resource at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAtEndpoint {
    /// What VPC Lattice says of it.
    #[serde(flatten)]
    pub resource: EndpointResource,
    /// Its address in each subnet that had a free one.
    pub addresses: BTreeMap<SubnetId, Ipv4Addr>,
}

/// A resource that VPC Lattice has at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointResource {
    /// Its ARN.
    pub arn: String,
    /// The association by which the endpoint's service network has it, and the network's name.
    pub association: Option<(ServiceNetworkResourceAssociationId, String)>,
    /// The ARN of its group.
    pub group_arn: Option<String>,
    /// The user's own name for it in the VPC, where private DNS gives it.
    pub private_name: Option<String>,
}

impl Record for VpcEndpoint {
    const KIND: &'static str = "ec2.vpc-endpoint";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![
            ("vpc", self.vpc.to_string()),
            ("to", self.to.id().to_owned()),
        ]
    }
}
