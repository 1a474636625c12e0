//! Resources: what is reached by TCP through a gateway in its VPC
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/resources-vpc-lattice.html>).

pub(crate) mod association;
pub(crate) mod configuration;
pub(crate) mod contribute;
pub(crate) mod endpoint;
pub(crate) mod gateway;
pub(crate) mod reconcile;
pub(crate) mod verification;

use std::net::Ipv4Addr;

use lath_model::Timestamp;
use lath_model::id::{
    DomainVerificationId, ResourceConfigurationId, ResourceEndpointAssociationId,
    ResourceGatewayId, SecurityGroupId, ServiceNetworkId, ServiceNetworkResourceAssociationId,
    SubnetId, VpcEndpointId, VpcId,
};
use serde::{Deserialize, Serialize};

use crate::record::{Failure, Tags};
use crate::shape::{
    ChangingStatus, ResourceAssociationStatus, ResourceConfigDnsResolution,
    ResourceConfigurationDefinition, ResourceConfigurationType, ResourceProtocol,
    VerificationStatus,
};

/// A resource gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceGateway {
    pub(crate) id: ResourceGatewayId,
    pub(crate) name: String,
    pub(crate) vpc: VpcId,
    pub(crate) subnets: Vec<SubnetId>,
    pub(crate) security_groups: Vec<SecurityGroupId>,
    /// How many addresses each of its interfaces has.
    pub(crate) addresses: u8,
    /// Who is asked for the names of its resources.
    pub(crate) dns: ResourceConfigDnsResolution,
    pub(crate) status: ChangingStatus,
    pub(crate) failure: Option<Failure>,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A resource configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceConfiguration {
    pub(crate) id: ResourceConfigurationId,
    pub(crate) name: String,
    pub(crate) kind: ResourceConfigurationType,
    /// A child has its group's.
    pub(crate) gateway: ResourceGatewayId,
    /// The group of a child.
    pub(crate) group: Option<ResourceConfigurationId>,
    /// As given.
    pub(crate) port_ranges: Vec<String>,
    pub(crate) protocol: ResourceProtocol,
    pub(crate) definition: Option<ResourceConfigurationDefinition>,
    pub(crate) shareable: bool,
    /// In lower case.
    pub(crate) custom_domain_name: Option<String>,
    /// In lower case.
    pub(crate) group_domain: Option<String>,
    /// A child has its group's.
    pub(crate) verification: Option<DomainVerificationId>,
    pub(crate) status: ChangingStatus,
    pub(crate) failure: Option<Failure>,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A service network's association with a resource configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceAssociation {
    pub(crate) id: ServiceNetworkResourceAssociationId,
    pub(crate) network: ServiceNetworkId,
    pub(crate) configuration: ResourceConfigurationId,
    /// Of a child: the association of its group, with which it comes and goes.
    pub(crate) parent: Option<ServiceNetworkResourceAssociationId>,
    /// What its name answers in every VPC; nothing of a group is there.
    pub(crate) address: Ipv4Addr,
    pub(crate) private_dns_enabled: Option<bool>,
    pub(crate) status: ResourceAssociationStatus,
    pub(crate) failure: Option<Failure>,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) created_by: String,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What joins a VPC endpoint to a resource configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceEndpointAssociation {
    pub(crate) id: ResourceEndpointAssociationId,
    pub(crate) configuration: ResourceConfigurationId,
    pub(crate) endpoint: VpcEndpointId,
    pub(crate) created_by: String,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
}

/// The verification of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainVerification {
    pub(crate) id: DomainVerificationId,
    /// In lower case.
    pub(crate) domain_name: String,
    /// The label below the domain at which the record is looked for.
    pub(crate) record_name: String,
    /// What the record must say.
    pub(crate) record_value: String,
    pub(crate) status: VerificationStatus,
    pub(crate) last_verified_at: Option<Timestamp>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
}

/// Whether what has this status is shown to nodes.
fn is_served(status: ChangingStatus) -> bool {
    use ChangingStatus::{CreateFailed, DeleteFailed, DeleteInProgress};
    !matches!(status, CreateFailed | DeleteFailed | DeleteInProgress)
}

/// Whether a name is a domain or below it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
