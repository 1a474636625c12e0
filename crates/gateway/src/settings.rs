//! A controller's settings.

use lath_clock::Clock;

/// The name under which this controller knows classes of its own.
pub const OWN_CONTROLLER: &str = "lath.dev/gateway-api-controller";
/// The name of AWS's controller, whose classes this one serves as well.
pub const AWS_CONTROLLER: &str = "application-networking.k8s.aws/gateway-api-controller";

/// A controller's settings. The environment variables of AWS's controller have the same meanings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The controller names whose GatewayClasses are served.
    pub controller_names: Vec<String>,
    /// The cluster's name (`CLUSTER_NAME`).
    pub cluster_name: String,
    /// The VPC of the cluster's pods (`CLUSTER_VPC_ID`).
    pub vpc_id: String,
    /// The account (`AWS_ACCOUNT_ID`).
    pub account_id: String,
    /// The region (`REGION`).
    pub region: String,
    /// Where AWS's API is; `None` for AWS itself, or what `AWS_ENDPOINT_URL` says.
    pub endpoint_url: Option<String>,
    /// A service network that is made at the start, and is associated with the VPC (`DEFAULT_SERVICE_NETWORK`).
    pub default_service_network: Option<String>,
    /// Whether all Gateways stand for that network (`ENABLE_SERVICE_NETWORK_OVERRIDE`).
    pub service_network_override: bool,
    /// Whether the API is a Lath's in extended mode, which has means for filters, timeouts, retries and sessions of routes (`LATH_EXTENDED`).
    pub extended: bool,
    /// Whether Gateways of [`OWN_CONTROLLER`] have an address of their own, at which all of their routes are; only with `extended`
    /// (`LATH_GATEWAY_ADDRESSES`).
    pub gateway_addresses: bool,
    /// Whether one of several controllers is elected to write.
    pub leader_elect: bool,
    /// The namespace of the Lease that says which.
    pub lease_namespace: String,
    /// How many objects are worked on at once.
    pub workers: usize,
    /// Where metrics and probes are served: `ADDRESS:PORT`, `:PORT`, or `0` for nowhere; `None` for `:8080` if it is free.
    pub metrics_address: Option<String>,
    /// Where the webhook is served that writes readiness gates into pods: `ADDRESS:PORT` or `:PORT`; `None` for nowhere.
    pub webhook_address: Option<String>,
    /// The MutatingWebhookConfiguration that says so to the API server, and gets the webhook's certificates.
    pub webhook_configuration: String,
    /// Which Services are exposed without an annotation that says so: labels, their values, and whether they are to be so.
    pub discover_selector: Vec<(String, Option<String>, bool)>,
    /// The service networks that Services may ask for, besides the default one; `*` is all.
    pub discover_networks: Vec<String>,
    /// The private zones, by name or id, in which Services may have names.
    pub discover_zones: Vec<String>,
    /// The controllers, by the value of their tag `ManagedBy`, from which routes may take services over; `*` is all.
    pub takeover_from: Vec<String>,
    /// The ClusterSet that the cluster is in, which exports to and imports from the other clusters of it; `None` for none.
    pub cluster_set: Option<String>,
    /// The other regions that clusters of the ClusterSet are in.
    pub cluster_set_regions: Vec<String>,
    /// The kubeconfig's context; its default where there is none.
    pub context: Option<String>,
    /// The wall clock: the times of conditions and of the Lease, and what certificates are valid from.
    pub clock: Clock,
}

impl Settings {
    /// The value of the tag `ManagedBy`, by which a controller knows what is its own.
    pub(crate) fn managed_by(&self) -> String {
        format!("{}/{}/{}", self.account_id, self.cluster_name, self.vpc_id)
    }

    /// The time now, as conditions have it (RFC 3339).
    pub(crate) fn now(&self) -> String {
        self.clock.now().iso8601_seconds()
    }

    /// Whether a controller name is one that this controller answers to.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.controller_names.iter().any(|it| it == name)
    }

    /// Whether routes may take over services of the controller whose resources have this tag `ManagedBy`.
    pub(crate) fn may_take_over(&self, from: &str) -> bool {
        self.takeover_from.iter().any(|it| it == "*" || it == from)
    }

    /// Whether Gateways have addresses, and routes what goes with them.
    pub(crate) fn has_addresses(&self) -> bool {
        self.extended && self.gateway_addresses
    }

    /// Whether Gateways of a controller name have an address of their own.
    pub(crate) fn has_entrances(&self, controller: &str) -> bool {
        self.has_addresses() && controller == OWN_CONTROLLER
    }

    /// The name of the service network that a Gateway stands for.
    pub(crate) fn network_of<'a>(&'a self, gateway: &'a str) -> &'a str {
        match &self.default_service_network {
            Some(network) if self.service_network_override => network,
            _ => gateway,
        }
    }
}
