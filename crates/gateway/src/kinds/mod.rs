//! The kinds that the controller reads, as far as it reads them. A field that it does not know is no error: what matters
//! of those is kept as JSON, so that its presence can be reported.

mod backend_tls;
mod gateways;

use std::collections::BTreeMap;

use kube::core::{ApiResource, Object};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use backend_tls::{AncestorStatus, BackendTlsSpec, PolicyStatus, SectionRef};
pub(crate) use gateways::{
    Address, AllowedNamespaces, ClassStatus, ClientValidation, GatewayClassSpec, GatewaySpec,
    GatewayStatus, GroupKind, Listener, ListenerSetSpec, ListenerSetStatus, ListenerStatus,
    Requirement,
};

/// The group of the Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The group of AWS's controller: its own kinds, its annotations, its tags.
pub(crate) const AWS_GROUP: &str = "application-networking.k8s.aws";

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

pub(crate) type GatewayClass = Object<GatewayClassSpec, ClassStatus>;
pub(crate) type Gateway = Object<GatewaySpec, GatewayStatus>;
pub(crate) type ListenerSet = Object<ListenerSetSpec, ListenerSetStatus>;
pub(crate) type Route = Object<RouteSpec, RouteStatus>;
pub(crate) type ReferenceGrant = Object<ReferenceGrantSpec, Value>;
pub(crate) type ServiceExport = Object<Option<ServiceExportSpec>, Value>;
pub(crate) type ServiceImport = Object<Option<Value>, Value>;
pub(crate) type Policy = Object<PolicySpec, Status>;
pub(crate) type BackendTls = Object<BackendTlsSpec, PolicyStatus>;

pub(crate) fn gateway_class() -> ApiResource {
    resource(GATEWAY_GROUP, "v1", "GatewayClass", "gatewayclasses")
}

pub(crate) fn gateway() -> ApiResource {
    resource(GATEWAY_GROUP, "v1", "Gateway", "gateways")
}

pub(crate) fn listener_set() -> ApiResource {
    resource(GATEWAY_GROUP, "v1", "ListenerSet", "listenersets")
}

pub(crate) fn backend_tls_policy() -> ApiResource {
    resource(
        GATEWAY_GROUP,
        "v1",
        "BackendTLSPolicy",
        "backendtlspolicies",
    )
}

pub(crate) fn reference_grant() -> ApiResource {
    resource(
        GATEWAY_GROUP,
        "v1beta1",
        "ReferenceGrant",
        "referencegrants",
    )
}

pub(crate) fn service_export() -> ApiResource {
    resource(AWS_GROUP, "v1alpha1", "ServiceExport", "serviceexports")
}

pub(crate) fn service_import() -> ApiResource {
    resource(AWS_GROUP, "v1alpha1", "ServiceImport", "serviceimports")
}

/// The Kubernetes project's group for Services across clusters.
pub(crate) const MCS_GROUP: &str = "multicluster.x-k8s.io";
/// The versions that its kinds are served in, the best first.
const MCS_VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];

pub(crate) type McsExport = Object<Option<Value>, Status>;
pub(crate) type McsImport = Object<Option<Value>, McsImportStatus>;

/// What an import says: the clusters that export it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Value")]
pub(crate) struct McsImportStatus {
    pub(crate) clusters: Vec<Value>,
    pub(crate) conditions: Vec<Condition>,
}

impl From<Value> for McsImportStatus {
    fn from(value: Value) -> Self {
        Self {
            clusters: field(&value, "clusters", &mut Vec::new()).unwrap_or_default(),
            conditions: Status::from(value).conditions,
        }
    }
}

/// The forms of the exports.
pub(crate) fn mcs_exports() -> Vec<ApiResource> {
    let forms = MCS_VERSIONS.iter();
    forms
        .map(|it| resource(MCS_GROUP, it, "ServiceExport", "serviceexports"))
        .collect()
}

/// The form of exports, where it is not known which one is served.
pub(crate) fn mcs_export() -> ApiResource {
    resource(MCS_GROUP, "v1beta1", "ServiceExport", "serviceexports")
}

/// The forms of the imports.
pub(crate) fn mcs_imports() -> Vec<ApiResource> {
    let forms = MCS_VERSIONS.iter();
    forms
        .map(|it| resource(MCS_GROUP, it, "ServiceImport", "serviceimports"))
        .collect()
}

/// The form of imports, where it is not known which one is served.
pub(crate) fn mcs_import() -> ApiResource {
    resource(MCS_GROUP, "v1beta1", "ServiceImport", "serviceimports")
}

/// What a kind is remembered by: its plural name, with its group where another has kinds of the same names.
pub(crate) fn known_as(form: &ApiResource) -> String {
    match form.group.as_str() {
        MCS_GROUP => format!("{}.{MCS_GROUP}", form.plural),
        _ => form.plural.clone(),
    }
}

/// A service network of its name.
pub(crate) type ServiceNetwork = Object<Option<Value>, ServiceNetworkStatus>;

pub(crate) fn service_network() -> ApiResource {
    resource(AWS_GROUP, "v1alpha1", "ServiceNetwork", "servicenetworks")
}

/// The kind of external-dns.
pub(crate) fn dns_endpoint() -> ApiResource {
    resource(
        "externaldns.k8s.io",
        "v1alpha1",
        "DNSEndpoint",
        "dnsendpoints",
    )
}

pub(crate) fn target_group_policy() -> ApiResource {
    resource(
        AWS_GROUP,
        "v1alpha1",
        "TargetGroupPolicy",
        "targetgrouppolicies",
    )
}

/// What kinds of routes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    Http,
    Grpc,
    Tls,
    /// At Gateways with an address.
    Tcp,
}

impl RouteKind {
    pub(crate) const ALL: [Self; 4] = [Self::Http, Self::Grpc, Self::Tls, Self::Tcp];

    /// The kind's name in Kubernetes, and in the tag `SourceTypeKey`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
            Self::Tcp => "TCPRoute",
        }
    }

    /// The value of the tag `RouteType`.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }

    /// The finalizer of AWS's controller, which has no TCPRoutes.
    pub(crate) fn finalizer(self) -> &'static str {
        match self {
            Self::Http => "httproute.k8s.aws/resources",
            Self::Grpc => "grpcroute.k8s.aws/resources",
            Self::Tls => "tlsroute.k8s.aws/resources",
            Self::Tcp => "tcproute.k8s.aws/resources",
        }
    }

    /// Whether it routes connections, of which a Gateway knows a name at most, and not requests.
    pub(crate) fn is_of_connections(self) -> bool {
        match self {
            Self::Http | Self::Grpc => false,
            Self::Tls | Self::Tcp => true,
        }
    }

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Http => "httproutes",
            Self::Grpc => "grpcroutes",
            Self::Tls => "tlsroutes",
            Self::Tcp => "tcproutes",
        }
    }

    /// The resource in one of the versions that servers have it in.
    pub(crate) fn resource(self, version: &str) -> ApiResource {
        resource(GATEWAY_GROUP, version, self.kind(), self.plural())
    }
}

/// The policies that attach something to a service network or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PolicyKind {
    Vpc,
    Auth,
    Log,
}

impl PolicyKind {
    pub(crate) const ALL: [Self; 3] = [Self::Vpc, Self::Auth, Self::Log];

    /// The kind's name in Kubernetes.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Vpc => "VpcAssociationPolicy",
            Self::Auth => "IAMAuthPolicy",
            Self::Log => "AccessLogPolicy",
        }
    }

    /// The finalizer of AWS's controller.
    pub(crate) fn finalizer(self) -> &'static str {
        match self {
            Self::Vpc => "vpcassociationpolicies.application-networking.k8s.aws/resources",
            Self::Auth => "application-networking.k8s.aws/iam-auth-policy",
            Self::Log => "accesslogpolicy.k8s.aws/resources",
        }
    }

    /// The annotation that says to what the policy is attached: AWS's controller has one for auth policies.
    pub(crate) fn record(self) -> &'static str {
        match self {
            Self::Auth => "iam-auth-policy-resource-id",
            Self::Vpc | Self::Log => "lattice-resource-id",
        }
    }

    pub(crate) fn resource(self) -> ApiResource {
        let plural = match self {
            Self::Vpc => "vpcassociationpolicies",
            Self::Auth => "iamauthpolicies",
            Self::Log => "accesslogpolicies",
        };
        resource(AWS_GROUP, "v1alpha1", self.kind(), plural)
    }
}

/// A field of an object of JSON, when it can be read. What is there and cannot be is noted.
fn field<T: DeserializeOwned>(of: &Value, name: &str, unread: &mut Vec<String>) -> Option<T> {
    let value = of.get(name).filter(|it| !it.is_null())?;
    match serde_json::from_value(value.clone()) {
        Ok(value) => Some(value),
        Err(error) => {
            unread.push(format!("{name}: {error}"));
            None
        }
    }
}

/// A status of conditions alone. Those that cannot be read are as good as none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Value")]
pub(crate) struct Status {
    pub(crate) conditions: Vec<Condition>,
}

impl From<Value> for Status {
    fn from(value: Value) -> Self {
        let conditions: Vec<Value> =
            field(&value, "conditions", &mut Vec::new()).unwrap_or_default();
        let conditions = conditions.into_iter();
        Self {
            conditions: conditions
                .filter_map(|it| serde_json::from_value(it).ok())
                .collect(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ServiceNetworkStatus {
    #[serde(rename = "serviceNetworkARN", skip_serializing_if = "Option::is_none")]
    pub(crate) arn: Option<String>,
    #[serde(rename = "serviceNetworkID", skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}

/// A condition, as Kubernetes has them everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) observed_generation: i64,
    #[serde(default)]
    pub(crate) last_transition_time: String,
}

/// The specification of any kind of route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteSpec {
    #[serde(default)]
    pub(crate) parent_refs: Vec<ParentRef>,
    #[serde(default)]
    pub(crate) hostnames: Vec<String>,
    #[serde(default)]
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParentRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) section_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<i32>,
}

/// A rule of any kind of route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(default)]
    pub(crate) matches: Vec<Match>,
    #[serde(default)]
    pub(crate) filters: Vec<Filter>,
    #[serde(default)]
    pub(crate) backend_refs: Vec<BackendRef>,
    pub(crate) timeouts: Option<Value>,
    pub(crate) retry: Option<Value>,
    pub(crate) session_persistence: Option<Value>,
}

impl Rule {
    /// The backends that get its requests, or copies of them.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &BackendRef> {
        let mirrors = self.filters.iter().filter_map(|it| it.mirror.as_ref());
        self.backend_refs
            .iter()
            .chain(mirrors.map(|it| &it.backend_ref))
    }
}

/// A match of any kind of route: the method is a word with HTTP, and an object with gRPC.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Match {
    pub(crate) path: Option<TypedValue>,
    #[serde(default)]
    pub(crate) headers: Vec<NamedMatch>,
    #[serde(default)]
    pub(crate) query_params: Vec<NamedMatch>,
    pub(crate) method: Option<Method>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Method {
    Http(String),
    Grpc(GrpcMethod),
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct GrpcMethod {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) method: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct TypedValue {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) value: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct NamedMatch {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Filter {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(rename = "requestMirror")]
    pub(crate) mirror: Option<RequestMirror>,
    /// What it says under its own name.
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

/// What gets copies of requests, and of how many: of all, of so many in a hundred, or of a share.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestMirror {
    pub(crate) backend_ref: BackendRef,
    pub(crate) percent: Option<i32>,
    pub(crate) fraction: Option<Fraction>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Fraction {
    pub(crate) numerator: i32,
    pub(crate) denominator: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct BackendRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) weight: Option<i32>,
    #[serde(default)]
    pub(crate) filters: Vec<Filter>,
}

/// Of the entries of parents, only those of this controller are understood: the others stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct RouteStatus {
    #[serde(default)]
    pub(crate) parents: Vec<Value>,
}

/// An entry of this controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParentStatus {
    pub(crate) parent_ref: ParentRef,
    pub(crate) controller_name: String,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ReferenceGrantSpec {
    #[serde(default)]
    pub(crate) from: Vec<GrantFrom>,
    #[serde(default)]
    pub(crate) to: Vec<GrantTo>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct GrantFrom {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct GrantTo {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceExportSpec {
    #[serde(default)]
    pub(crate) exported_ports: Vec<ExportedPort>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportedPort {
    pub(crate) port: i32,
    /// `HTTP`, `GRPC` or `TLS`.
    #[serde(default)]
    pub(crate) route_type: String,
}

/// What the controller reads of policies. Each field is read by itself: a policy that says who may call must not be
/// overlooked because something else in it cannot be read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Value")]
pub(crate) struct PolicySpec {
    pub(crate) target_ref: TargetRef,
    pub(crate) protocol: Option<String>,
    pub(crate) protocol_version: Option<String>,
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) associate_with_vpc: Option<bool>,
    pub(crate) security_group_ids: Vec<String>,
    /// The document of an IAMAuthPolicy.
    pub(crate) policy: Option<String>,
    pub(crate) destination_arn: Option<String>,
    /// The fields that are there and cannot be read.
    pub(crate) unread: Vec<String>,
}

impl From<Value> for PolicySpec {
    fn from(value: Value) -> Self {
        let mut unread = Vec::new();
        Self {
            target_ref: field(&value, "targetRef", &mut unread).unwrap_or_default(),
            protocol: field(&value, "protocol", &mut unread),
            protocol_version: field(&value, "protocolVersion", &mut unread),
            health_check: field(&value, "healthCheck", &mut unread),
            associate_with_vpc: field(&value, "associateWithVpc", &mut unread),
            security_group_ids: field(&value, "securityGroupIds", &mut unread).unwrap_or_default(),
            policy: field(&value, "policy", &mut unread),
            destination_arn: field(&value, "destinationArn", &mut unread),
            unread,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct TargetRef {
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HealthCheck {
    pub(crate) enabled: Option<bool>,
    pub(crate) interval_seconds: Option<i32>,
    pub(crate) timeout_seconds: Option<i32>,
    pub(crate) healthy_threshold_count: Option<i32>,
    pub(crate) unhealthy_threshold_count: Option<i32>,
    pub(crate) status_match: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) protocol: Option<String>,
    pub(crate) protocol_version: Option<String>,
}
