//! Desired state of Lattice: service networks, services, target groups.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lath_model::Timestamp;
use lath_model::balancing::LoadBalancing;
use lath_model::id::*;
use lath_model::lattice::{Action, ListenerProtocol, ProtocolVersion, Rule, TargetProtocol};
use lath_model::matching::MoreMatch;
use lath_model::traffic::TrafficPolicy;
use serde::{Deserialize, Serialize};

use crate::Hidden;

/// A Lattice service network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNetwork {
    /// Its id.
    pub id: ServiceNetworkId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Who may call.
    pub auth: Auth,
    /// The services associated with it.
    pub services: BTreeSet<ServiceId>,
    /// Where its access logs go.
    pub access_logs: Vec<AccessLogDestination>,
    /// Whether identified workloads alone may call, and targets under TLS are shown who does.
    #[serde(default)]
    pub workloads_only: bool,
}

/// A Lattice service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The generated name, such as `web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-east-1.on.aws`.
    pub domain_name: String,
    /// The user's own name for it.
    pub custom_domain_name: Option<String>,
    /// What its HTTPS listeners present to clients that ask for the user's own name.
    #[serde(default)]
    pub certificate: Option<Certificate>,
    /// The link-local address (169.254.171.0/24) that its name answers, the same in every VPC.
    pub address: Ipv4Addr,
    /// Who may call.
    pub auth: Auth,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// Its listeners.
    pub listeners: BTreeMap<ListenerId, Listener>,
    /// The gateways' listeners that its rules are reached by too.
    #[serde(default)]
    pub routes: Vec<GatewayRoute>,
    /// Where its access logs go.
    pub access_logs: Vec<AccessLogDestination>,
}

/// A certificate with its private key, as a listener presents it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The certificate and those that lead from it to a root, as PEM.
    pub chain: String,
    /// Its private key (PKCS #8), as PEM.
    pub key: Hidden,
}

/// What certifies the workloads of a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadAuthority {
    /// The authority's certificate below the installation's root, and its key.
    pub certificate: Certificate,
    /// The trust domain of the names that it certifies (SPIFFE).
    pub trust_domain: String,
}

/// Who may call a service or through a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// Everyone.
    None,
    /// Whom the policy allows; without one, no caller.
    AwsIam {
        /// The policy document.
        policy: Option<String>,
    },
}

/// Where access logs go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLogDestination {
    /// The subscription.
    pub id: AccessLogSubscriptionId,
    /// A log group's ARN, without a trailing `:*`.
    pub destination_arn: String,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its id.
    pub id: ListenerId,
    /// Its ARN.
    pub arn: String,
    /// Its protocol.
    pub protocol: ListenerProtocol,
    /// The port on the service's address.
    pub port: u16,
    /// Its rules by ascending priority, without the default one.
    pub rules: Vec<Rule>,
    /// The default rule's id.
    pub default_rule: RuleId,
    /// What is done when no rule matches.
    pub default_action: Action,
    /// Rules with conditions that VPC Lattice has not, which are tried in one order with the others. They stand apart, so that a
    /// node of an earlier version leaves them out and does not take one for a rule without those conditions.
    #[serde(default)]
    pub matched: Vec<MatchedRule>,
    /// The traffic policies of those rules that have one, the default rule included.
    #[serde(default)]
    pub traffic: BTreeMap<RuleId, TrafficPolicy>,
    /// How clients are asked for certificates; `None`: they are not.
    #[serde(default)]
    pub mutual_tls: Option<MutualTls>,
    /// Set when it is an entrance to the services that are attached to it; what none of them takes is its own. A node of an
    /// earlier version takes it for a listener like others.
    #[serde(default)]
    pub gateway: Option<Gateway>,
}

/// A listener as an entrance to other services: the listeners of a Gateway (Kubernetes' Gateway API) that have its port and
/// protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// They have different names and different hosts. The first one's first certificate is presented to clients that name no
    /// server, or one that none is for.
    pub listeners: Vec<GatewayListener>,
    /// What targets under TLS are shown that ask who calls, of requests that came in here.
    #[serde(default)]
    pub client_certificate: Option<Certificate>,
    /// Whether it carries TCP: a connection is joined to a target's before a byte of it is read. Only where the protocol is
    /// `TlsPassthrough`, of one listener that takes all hosts. A node of an earlier version reads a ClientHello and refuses what is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayListener {
    /// Its name.
    pub name: String,
    /// The host that it takes, in small letters: one, or `*.` and what follows one or more labels. `None`: all.
    pub hostname: Option<String>,
    /// What an HTTPS listener presents.
    pub certificates: Vec<GatewayCertificate>,
}

/// A certificate of a gateway's listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// The names that it is for.
    pub names: Vec<String>,
}

/// A gateway's listener by which a service is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRoute {
    /// The listener, which need not be there.
    pub listener: ListenerId,
    /// Which of the gateway's listeners it is ([`GatewayListener::name`]).
    pub name: String,
    /// For which hosts, as of [`GatewayListener::hostname`]; none: for all that the gateway's listener takes.
    pub hosts: Vec<String>,
    /// Decides between rules of services that are equally specific: the first one in the order of texts wins.
    pub order: String,
}

/// A rule with conditions that VPC Lattice has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedRule {
    /// The rule.
    pub rule: Rule,
    /// What must hold beside its own conditions.
    pub more: MoreMatch,
}

/// How an HTTPS listener asks clients for certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutualTls {
    /// Whether they are verified.
    pub mode: MutualTlsMode,
    /// The certificates of the authorities that are trusted, PEM. Where there are none, no client is admitted.
    pub anchors: Vec<String>,
    /// Whether certificates that have ended will do.
    pub ignore_expiry: bool,
    /// What authorities revoked.
    pub revoked: Vec<Revoked>,
    /// The names that one authority alone may certify.
    #[serde(default)]
    pub reserved: Option<Reserved>,
}

/// Names that one authority alone may certify: those of the installation's workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// The trust domain of the names (SPIFFE).
    pub trust_domain: String,
    /// The authority's certificate, PEM.
    pub authority: String,
}

/// Whether the certificates of clients are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MutualTlsMode {
    /// Targets are told what clients present, if they present something.
    Passthrough,
    /// Clients without a certificate of a trusted authority are refused.
    Verify,
}

/// What an authority revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The authority's certificate, PEM.
    pub authority: String,
    /// Serial numbers, hexadecimal.
    pub serials: BTreeSet<String>,
}

impl Listener {
    /// Its rules without the default one, in no order.
    pub fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        let matched = self.matched.iter().map(|it| &it.rule);
        self.rules.iter().chain(matched)
    }

    /// The groups that requests or copies of them go to, repeated as often as they are named.
    pub fn groups(&self) -> impl Iterator<Item = &TargetGroupId> {
        let actions = self.all_rules().map(|rule| &rule.action);
        let forwards = actions.chain([&self.default_action]).flat_map(|action| {
            let groups = match action {
                Action::Forward(groups) => groups.as_slice(),
                Action::FixedResponse(_) => &[],
            };
            groups.iter().map(|group| &group.target_group)
        });
        let policies = self.traffic.values();
        let mirrors = policies.flat_map(TrafficPolicy::mirrored);
        forwards.chain(mirrors)
    }
}

impl Service {
    /// What other regions are told of it: private keys stay in their own.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        self.certificate = None;
        let listeners = self.listeners.values_mut();
        let gateways = listeners.filter_map(|it| it.gateway.as_mut());
        for gateway in gateways {
            gateway.client_certificate = None;
            for listener in &mut gateway.listeners {
                listener.certificates.clear();
            }
        }
        self
    }
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its id.
    pub id: TargetGroupId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The VPC its targets are in.
    pub vpc: VpcId,
    /// The region its targets are in, when it is not this one: they are reached through that region's
    /// gateway ([`Topology::gateway`](crate::Topology::gateway)).
    #[serde(default)]
    pub region: Option<String>,
    /// How targets are spoken to.
    pub protocol: TargetProtocol,
    /// The HTTP version; `None` for TCP.
    pub protocol_version: Option<ProtocolVersion>,
    /// Health checks; `None` when disabled.
    pub health_check: Option<HealthCheck>,
    /// Its circuit breakers and outlier detection.
    #[serde(default)]
    pub balancing: Option<LoadBalancing>,
    /// How targets that speak TLS prove who they are; `None`: any certificate will do. A node of an earlier version takes any.
    #[serde(default)]
    pub tls: Option<TargetTls>,
    /// Whether any listener uses the group: checks run only then, as in AWS (state UNUSED otherwise).
    pub in_use: bool,
    /// Its targets.
    pub targets: BTreeMap<TargetKey, Target>,
}

/// How targets prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTls {
    /// The server's name that targets are asked for (SNI). Their certificates must be for it where `names` has none.
    pub hostname: String,
    /// The certificates of the authorities that are trusted, PEM.
    pub anchors: Vec<String>,
    /// Whether those are trusted, too, that the node's operating system trusts.
    pub system: bool,
    /// Instead of `hostname`: certificates must have one of these among their alternative names.
    pub names: Vec<TargetName>,
    /// What health checks show targets that ask who calls.
    #[serde(default)]
    pub check_certificate: Option<Certificate>,
}

/// An alternative name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetName {
    /// A host.
    Dns(String),
    /// A URI, as it stands there.
    Uri(String),
}

impl TargetGroup {
    /// What other regions are told of it: private keys stay in their own.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.check_certificate = None;
        }
        self
    }
}

/// A target group whose target is a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionGroup {
    /// Its id.
    pub id: TargetGroupId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The event structure that the function gets.
    pub events: EventVersion,
    /// The function; `None` while none is registered, or when it is gone.
    pub function: Option<TargetFunction>,
}

/// The structure of events
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html#receive-event-from-service>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventVersion {
    /// One value for each header and parameter.
    V1,
    /// Lists of values, and who calls.
    V2,
}

/// A function as a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFunction {
    /// Its name.
    pub name: String,
    /// Whether its policy lets the group invoke it.
    pub permitted: bool,
}

/// A target's identity in its group: what was registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    /// An address or an instance id.
    pub id: String,
    /// The port.
    pub port: u16,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where it is reached; `None` while its instance has no address.
    pub address: Option<IpAddr>,
    /// Set when it was deregistered: no new requests; the node finishes those in flight.
    pub draining_since: Option<Timestamp>,
}

/// How targets are probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// HTTP or HTTPS (TCP: connect only).
    pub protocol: TargetProtocol,
    /// HTTP1 or HTTP2.
    pub protocol_version: ProtocolVersion,
    /// `None`: the port on which the target receives traffic.
    pub port: Option<u16>,
    /// Path and query.
    pub path: String,
    /// Status codes that mean healthy: inclusive ranges.
    pub matcher: Vec<(u16, u16)>,
    /// Between the starts of two probes.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// Consecutive successes that make an unhealthy target healthy.
    pub healthy_threshold: u32,
    /// Consecutive failures that make a healthy target unhealthy.
    pub unhealthy_threshold: u32,
}
