//! The typed state: what Lattice keeps of each resource.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lath_model::Timestamp;
use lath_model::id::{
    AccessLogSubscriptionId, ListenerId, ResourceConfigurationId, RuleId, SecurityGroupId,
    ServiceId, ServiceNetworkId, ServiceNetworkServiceAssociationId,
    ServiceNetworkVpcAssociationId, TargetGroupId, VpcId,
};

use crate::canary::{self, Canary};
use crate::gateway::{self, Gateway};
use crate::gateway_routes::GatewayRoute;
use crate::mutual_tls::MutualTls;
use crate::resource::{
    DomainVerification, ResourceAssociation, ResourceConfiguration, ResourceEndpointAssociation,
    ResourceGateway,
};
use lath_model::balancing::LoadBalancing;
use lath_model::lattice::{Action, ListenerProtocol, Match, ProtocolVersion, TargetProtocol};
use lath_model::matching::MoreMatch;
use lath_model::traffic::TrafficPolicy;
use lath_store::Record;
use serde::{Deserialize, Serialize};

use crate::shape::{
    AuthType, DnsOptions, HealthCheckProtocolVersion, LambdaEventStructureVersion,
    ResourceAssociationStatus, Status, TargetGroupType, VpcAssociationStatus,
};
use crate::target_tls::TargetTls;

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// Why something could not be made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// A word for programs.
    pub(crate) code: String,
    /// A sentence for users.
    pub(crate) message: String,
}

/// A service network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceNetwork {
    pub(crate) id: ServiceNetworkId,
    pub(crate) name: String,
    pub(crate) auth_type: AuthType,
    /// Whether it may be shared with other accounts; decided once.
    pub(crate) shareable: Option<bool>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) name: String,
    pub(crate) custom_domain_name: Option<String>,
    /// The ARN of the certificate that HTTPS listeners present by the custom domain name.
    #[serde(default)]
    pub(crate) certificate_arn: Option<String>,
    pub(crate) auth_type: AuthType,
    /// The link-local address that its name answers in every VPC.
    pub(crate) address: Ipv4Addr,
    pub(crate) status: Status,
    pub(crate) failure: Option<Failure>,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    /// The gateways' listeners that its tags attach it to.
    #[serde(default)]
    pub(crate) routes: Vec<GatewayRoute>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A listener. What it does when no rule matches is its default [`Rule`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) service: ServiceId,
    pub(crate) name: String,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) port: u16,
    pub(crate) default_rule: RuleId,
    /// What its tags ask of clients.
    #[serde(default)]
    pub(crate) mutual_tls: Option<Box<MutualTls>>,
    /// What its tags make it an entrance for.
    #[serde(default)]
    pub(crate) gateway: Option<Box<Gateway>>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    pub(crate) service: ServiceId,
    pub(crate) listener: ListenerId,
    pub(crate) name: String,
    /// `None`: the listener's default rule.
    pub(crate) priority: Option<u32>,
    pub(crate) conditions: Match,
    /// Further conditions, as its tags ask for.
    #[serde(default)]
    pub(crate) more: Option<Box<MoreMatch>>,
    pub(crate) action: Action,
    /// What its tags ask for, or its listener's tags for the default rule.
    #[serde(default)]
    pub(crate) traffic: Option<Box<TrafficPolicy>>,
    /// What moves the weights of its action, as its tags or its listener's ask for.
    #[serde(default)]
    pub(crate) canary: Option<Box<Canary>>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetGroup {
    pub(crate) id: TargetGroupId,
    pub(crate) name: String,
    /// IP, INSTANCE or LAMBDA.
    pub(crate) kind: TargetGroupType,
    /// Where its targets are; a function is in none.
    pub(crate) vpc: Option<VpcId>,
    /// The event structure that a function gets.
    #[serde(default)]
    pub(crate) events: Option<LambdaEventStructureVersion>,
    pub(crate) port: u16,
    pub(crate) protocol: TargetProtocol,
    pub(crate) protocol_version: ProtocolVersion,
    pub(crate) health_check: HealthCheck,
    /// What its tags ask for.
    #[serde(default)]
    pub(crate) balancing: Option<Box<LoadBalancing>>,
    /// The same of how its targets prove who they are.
    #[serde(default)]
    pub(crate) tls: Option<Box<TargetTls>>,
    pub(crate) status: Status,
    pub(crate) failure: Option<Failure>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// How a group's targets are probed, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthCheck {
    pub(crate) enabled: bool,
    pub(crate) protocol: TargetProtocol,
    pub(crate) protocol_version: HealthCheckProtocolVersion,
    /// `None`: the port on which the target receives traffic.
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    /// Seconds.
    pub(crate) interval: u16,
    /// Seconds.
    pub(crate) timeout: u16,
    pub(crate) healthy_threshold: u8,
    pub(crate) unhealthy_threshold: u8,
    /// As given; `crate::matcher` reads it.
    pub(crate) matcher: String,
}

/// A registered target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) group: TargetGroupId,
    /// An address or an instance id.
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) registered_at: Timestamp,
    /// Set when it was deregistered.
    pub(crate) draining_since: Option<Timestamp>,
}

/// A service network's association with a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VpcAssociation {
    pub(crate) id: ServiceNetworkVpcAssociationId,
    pub(crate) network: ServiceNetworkId,
    /// The network's ARN, when it is another region's.
    #[serde(default)]
    pub(crate) foreign_network: Option<String>,
    pub(crate) vpc: VpcId,
    pub(crate) security_groups: Vec<SecurityGroupId>,
    pub(crate) private_dns_enabled: Option<bool>,
    pub(crate) dns_options: Option<DnsOptions>,
    pub(crate) status: VpcAssociationStatus,
    pub(crate) failure: Option<Failure>,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) created_by: String,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A service network's association with a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceAssociation {
    pub(crate) id: ServiceNetworkServiceAssociationId,
    pub(crate) network: ServiceNetworkId,
    /// The network's ARN, when it is another region's.
    #[serde(default)]
    pub(crate) foreign_network: Option<String>,
    pub(crate) service: ServiceId,
    /// The service's ARN, when it is another region's.
    #[serde(default)]
    pub(crate) foreign_service: Option<String>,
    pub(crate) status: Status,
    pub(crate) failure: Option<Failure>,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) created_by: String,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A subscription to access logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessLogSubscription {
    pub(crate) id: AccessLogSubscriptionId,
    pub(crate) source: LogSource,
    /// The source's ARN, when it is another region's: what passes through it in this region is logged.
    #[serde(default)]
    pub(crate) foreign_source: Option<String>,
    /// As given, with or without a trailing `:*`.
    pub(crate) destination_arn: String,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// Where a service of another region is reached in this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForeignAddress {
    pub(crate) service: ServiceId,
    /// In 169.254.171.0/24, as for this region's own services.
    pub(crate) address: Ipv4Addr,
}

/// What HTTPS listeners of another region's service present in this one, by its custom domain name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForeignCertificate {
    pub(crate) service: ServiceId,
    /// The service's ARN.
    pub(crate) service_arn: String,
    /// A certificate of this region.
    pub(crate) certificate_arn: String,
}

/// What HTTPS listeners present by the generated names of services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GeneratedCertificate {
    /// The names that it is for.
    pub(crate) names: Vec<String>,
    /// PEM, without a root.
    pub(crate) chain: String,
    pub(crate) key: lath_ca::Sealed,
    pub(crate) made: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// What certifies the region's workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkloadAuthority {
    /// PEM, without a root.
    pub(crate) chain: String,
    pub(crate) key: lath_ca::Sealed,
    pub(crate) not_after: Timestamp,
}

/// Who may call a network's services or a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthPolicy {
    /// The network's or service's id.
    pub(crate) resource: String,
    /// The document as given.
    pub(crate) policy: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// With whom a network or service is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourcePolicy {
    /// The network's or service's id.
    pub(crate) resource: String,
    /// The document as given.
    pub(crate) policy: String,
}

/// Whose requests are logged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum LogSource {
    /// All that pass through a network.
    ServiceNetwork(ServiceNetworkId),
    /// All that a service gets.
    Service(ServiceId),
    /// All connections to resources that pass through a network.
    NetworkResources(ServiceNetworkId),
    /// All connections to a resource.
    Resource(ResourceConfigurationId),
}

impl LogSource {
    /// The id of the network, service or resource.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::ServiceNetwork(id) | Self::NetworkResources(id) => id.as_str(),
            Self::Service(id) => id.as_str(),
            Self::Resource(id) => id.as_str(),
        }
    }

    /// What the index has of it: a network has two kinds of logs.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::NetworkResources(id) => format!("{id}/resources"),
            it => it.as_str().to_owned(),
        }
    }
}

macro_rules! records {
    ($($record:ident $kind:literal |$this:ident| $id:expr $(=> $keys:expr)?;)*) => {
        $(impl Record for $record {
            const KIND: &'static str = $kind;
            fn id(&self) -> String {
                let $this = self;
                $id
            }
            $(fn keys(&self) -> Vec<(&'static str, String)> {
                let $this = self;
                $keys
            })?
        })*

        /// The record kinds that this crate keeps.
        pub fn kinds(kinds: lath_store::Kinds) -> lath_store::Kinds {
            kinds.with::<crate::region::Region>()$(.with::<$record>())*
        }
    };
}

records! {
    ServiceNetwork "lattice.service-network" |this| this.id.to_string()
        => vec![("auth", format!("{:?}", this.auth_type)), ("name", this.name.clone())];
    Service "lattice.service" |this| this.id.to_string()
        => vec![
            ("auth", format!("{:?}", this.auth_type)),
            ("name", this.name.clone()),
            ("address", this.address.to_string()),
            unsettled(this.status != Status::Active),
        ];
    Listener "lattice.listener" |this| key(&this.service, &this.id)
        => {
            let protocol = ("protocol", format!("{:?}", this.protocol));
            [protocol].into_iter().chain(gateway::index_key(this)).collect()
        };
    GeneratedCertificate "lattice.generated-certificate" |_this| GENERATED.to_owned();
    WorkloadAuthority "lattice.workload-authority" |_this| GENERATED.to_owned();
    Rule "lattice.rule" |this| key(&this.listener, &this.id)
        => {
            let groups = crate::action::groups_of(this);
            let mut keys: Vec<_> = groups.map(|id| ("group", id.to_string())).collect();
            let state = |canary: &Canary| match canary.is_running() {
                true => canary::RUNNING,
                false => canary::OVER,
            };
            keys.extend(this.canary.iter().map(|it| ("canary", state(it).to_owned())));
            keys
        };
    TargetGroup "lattice.target-group" |this| this.id.to_string()
        => vec![("name", this.name.clone()), unsettled(this.status != Status::Active)];
    Target "lattice.target" |this| target_key(&this.group, &this.id, this.port)
        => vec![unsettled(this.draining_since.is_some())];
    VpcAssociation "lattice.vpc-association" |this| this.id.to_string()
        => vec![
            ("vpc", this.vpc.to_string()),
            ("network", this.network.to_string()),
            // The other region may withdraw its side at any time.
            unsettled(this.status != VpcAssociationStatus::Active || this.foreign_network.is_some()),
        ];
    ServiceAssociation "lattice.service-association" |this| this.id.to_string()
        => vec![
            ("network", this.network.to_string()),
            ("service", this.service.to_string()),
            unsettled(
                this.status != Status::Active
                    || this.foreign_network.is_some()
                    || this.foreign_service.is_some()
            ),
        ];
    AccessLogSubscription "lattice.access-log-subscription" |this| this.id.to_string()
        => vec![("source", this.source.key())];
    ForeignCertificate "lattice.foreign-certificate" |this| this.service.to_string();
    ForeignAddress "lattice.foreign-address" |this| this.service.to_string()
        => vec![("address", this.address.to_string())];
    ResourceGateway "lattice.resource-gateway" |this| this.id.to_string()
        => vec![
            ("name", this.name.clone()),
            unsettled(this.status != VpcAssociationStatus::Active),
        ];
    ResourceConfiguration "lattice.resource-configuration" |this| this.id.to_string()
        => {
            let mut keys = vec![
                ("name", this.name.clone()),
                ("gateway", this.gateway.to_string()),
                unsettled(this.status != VpcAssociationStatus::Active),
            ];
            keys.extend(this.group.iter().map(|it| ("parent", it.to_string())));
            keys.extend(this.verification.iter().map(|it| ("verification", it.to_string())));
            keys.extend(this.custom_domain_name.iter().map(|it| ("domain", it.clone())));
            keys
        };
    ResourceAssociation "lattice.resource-association" |this| this.id.to_string()
        => {
            let mut keys = vec![
                ("network", this.network.to_string()),
                ("configuration", this.configuration.to_string()),
                ("address", this.address.to_string()),
                unsettled(this.status != ResourceAssociationStatus::Active),
            ];
            keys.extend(this.parent.iter().map(|it| ("parent", it.to_string())));
            keys
        };
    ResourceEndpointAssociation "lattice.resource-endpoint-association" |this| this.id.to_string()
        => vec![
            ("configuration", this.configuration.to_string()),
            ("endpoint", this.endpoint.to_string()),
        ];
    DomainVerification "lattice.domain-verification" |this| this.id.to_string()
        => vec![("domain", this.domain_name.clone())];
    AuthPolicy "lattice.auth-policy" |this| this.resource.clone();
    ResourcePolicy "lattice.resource-policy" |this| this.resource.clone();
}

lath_service::tagged! {
    ServiceNetwork, Service, Listener, Rule, TargetGroup, VpcAssociation, ServiceAssociation,
    AccessLogSubscription, ResourceGateway, ResourceConfiguration, ResourceAssociation,
    ResourceEndpointAssociation, DomainVerification,
}

/// The one certificate of a region.
pub(crate) const GENERATED: &str = "generated";

/// The index of what reconcilers look at: [`UNSETTLED`] is what something may have to be done about.
fn unsettled(is: bool) -> (&'static str, String) {
    ("state", if is { UNSETTLED } else { "settled" }.to_owned())
}

/// See [`unsettled`].
pub(crate) const UNSETTLED: &str = "unsettled";

/// The key of a listener in its service or of a rule in its listener: parents list their children by
/// prefix.
pub(crate) fn key(parent: impl std::fmt::Display, child: impl std::fmt::Display) -> String {
    format!("{parent}/{child}")
}

/// The key of a target in its group.
pub(crate) fn target_key(group: &TargetGroupId, id: &str, port: u16) -> String {
    format!("{group}/{id}/{port}")
}

/// How the wire names a health check's version.
impl From<HealthCheckProtocolVersion> for ProtocolVersion {
    fn from(version: HealthCheckProtocolVersion) -> Self {
        match version {
            HealthCheckProtocolVersion::Http1 => Self::Http1,
            HealthCheckProtocolVersion::Http2 => Self::Http2,
        }
    }
}
