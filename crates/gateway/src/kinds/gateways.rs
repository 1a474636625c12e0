//! Classes, Gateways, and the ListenerSets that join them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, ParentRef, Status, field};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayClassSpec {
    #[serde(default)]
    pub(crate) controller_name: String,
    pub(crate) parameters_ref: Option<Value>,
}

/// What a GatewayClass says. What cannot be read is as good as none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Value")]
pub(crate) struct ClassStatus {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) supported_features: Vec<Value>,
}

impl From<Value> for ClassStatus {
    fn from(value: Value) -> Self {
        let features = field(&value, "supportedFeatures", &mut Vec::new());
        Self {
            conditions: Status::from(value).conditions,
            supported_features: features.unwrap_or_default(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewaySpec {
    #[serde(default)]
    pub(crate) gateway_class_name: String,
    #[serde(default)]
    pub(crate) listeners: Vec<Listener>,
    #[serde(default)]
    pub(crate) addresses: Vec<Value>,
    pub(crate) infrastructure: Option<Value>,
    pub(crate) allowed_listeners: Option<AllowedListeners>,
    pub(crate) tls: Option<GatewayTls>,
}

/// TLS of a whole Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct GatewayTls {
    pub(crate) frontend: Option<FrontendTls>,
    pub(crate) backend: Option<BackendTlsConfig>,
}

/// What targets are shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackendTlsConfig {
    pub(crate) client_certificate_ref: Option<Value>,
}

/// What clients are asked for, at ports of HTTPS.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FrontendTls {
    #[serde(default)]
    pub(crate) default: TlsConfig,
    /// Instead, at some ports.
    #[serde(default)]
    pub(crate) per_port: Vec<PortTls>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct PortTls {
    pub(crate) port: i32,
    #[serde(default)]
    pub(crate) tls: TlsConfig,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct TlsConfig {
    pub(crate) validation: Option<ClientValidation>,
}

/// Which clients' certificates are valid.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ClientValidation {
    #[serde(rename = "caCertificateRefs", default)]
    pub(crate) ca_certificate_refs: Vec<Value>,
    pub(crate) mode: Option<String>,
}

impl ClientValidation {
    /// Whether others get in too. A mode that is not known lets no others in.
    pub(crate) fn is_insecure(&self) -> bool {
        self.mode.as_deref() == Some("AllowInsecureFallback")
    }
}

/// Which ListenerSets a Gateway takes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct AllowedListeners {
    pub(crate) namespaces: Option<AllowedNamespaces>,
}

/// Listeners that join those of a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerSetSpec {
    /// The Gateway.
    #[serde(default)]
    pub(crate) parent_ref: ParentRef,
    #[serde(default)]
    pub(crate) listeners: Vec<Listener>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct ListenerSetStatus {
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
    #[serde(default)]
    pub(crate) listeners: Vec<ListenerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) hostname: Option<String>,
    pub(crate) port: i32,
    pub(crate) protocol: String,
    pub(crate) tls: Option<ListenerTls>,
    pub(crate) allowed_routes: Option<AllowedRoutes>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerTls {
    pub(crate) mode: Option<String>,
    #[serde(default)]
    pub(crate) certificate_refs: Vec<Value>,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct AllowedRoutes {
    pub(crate) namespaces: Option<AllowedNamespaces>,
    #[serde(default)]
    pub(crate) kinds: Vec<GroupKind>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct AllowedNamespaces {
    pub(crate) from: Option<String>,
    pub(crate) selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LabelSelector {
    #[serde(default)]
    pub(crate) match_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Requirement {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(default)]
    pub(crate) values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct GroupKind {
    pub(crate) group: Option<String>,
    pub(crate) kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayStatus {
    #[serde(default)]
    pub(crate) addresses: Vec<Address>,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
    #[serde(default)]
    pub(crate) listeners: Vec<ListenerStatus>,
    /// How many ListenerSets are attached; `None` where there are none to speak of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attached_listener_sets: Option<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Address {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerStatus {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) supported_kinds: Vec<GroupKind>,
    #[serde(default)]
    pub(crate) attached_routes: i32,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}
