use std::collections::BTreeMap;

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{wire, words};

words! {
    /// The states of a cluster.
    ClusterStatus {
        Creating = "CREATING",
        Active = "ACTIVE",
        Deleting = "DELETING",
        Failed = "FAILED",
        Updating = "UPDATING",
        Pending = "PENDING",
    }
    /// Where credentials of IAM are looked up.
    AuthenticationMode {
        Api = "API",
        ApiAndConfigMap = "API_AND_CONFIG_MAP",
        ConfigMap = "CONFIG_MAP",
    }
    /// A component of a control plane with logs.
    LogType {
        Api = "api",
        Audit = "audit",
        Authenticator = "authenticator",
        ControllerManager = "controllerManager",
        Scheduler = "scheduler",
    }
    /// A family of addresses.
    IpFamily {
        Ipv4 = "ipv4",
        Ipv6 = "ipv6",
    }
    /// What happens at the end of a version's standard support.
    SupportType {
        Standard = "STANDARD",
        Extended = "EXTENDED",
    }
    /// How large a control plane is.
    ControlPlaneTier {
        Standard = "standard",
        ExtraLarge = "tier-xl",
        TwoExtraLarge = "tier-2xl",
        FourExtraLarge = "tier-4xl",
        EightExtraLarge = "tier-8xl",
    }
    /// Who runs a connected cluster.
    ConnectorProvider {
        EksAnywhere = "EKS_ANYWHERE",
        Anthos = "ANTHOS",
        Gke = "GKE",
        Aks = "AKS",
        Openshift = "OPENSHIFT",
        Tanzu = "TANZU",
        Rancher = "RANCHER",
        Ec2 = "EC2",
        Other = "OTHER",
    }
}

wire! {
    VpcConfigRequest {
        subnet_ids: Option<Vec<String>>,
        security_group_ids: Option<Vec<String>>,
        endpoint_public_access: Option<bool>,
        endpoint_private_access: Option<bool>,
        public_access_cidrs: Option<Vec<String>>,
    }
    VpcConfigResponse {
        subnet_ids: Vec<String>,
        security_group_ids: Vec<String>,
        cluster_security_group_id: Option<String>,
        vpc_id: Option<String>,
        endpoint_public_access: bool,
        endpoint_private_access: bool,
        public_access_cidrs: Vec<String>,
    }
    /// Whether something is switched on.
    Switch { enabled: Option<bool>, }
    KubernetesNetworkConfig {
        service_ipv4_cidr: Option<String>,
        ip_family: Option<IpFamily>,
        elastic_load_balancing: Option<Switch>,
    }
    LogSetup {
        types: Option<Vec<LogType>>,
        enabled: Option<bool>,
    }
    Logging { cluster_logging: Option<Vec<LogSetup>>, }
    EncryptionConfig {
        resources: Option<Vec<String>>,
        provider: Option<Provider>,
    }
    Provider { key_arn: Option<String>, }
    AccessConfig {
        bootstrap_cluster_creator_admin_permissions: Option<bool>,
        authentication_mode: Option<AuthenticationMode>,
    }
    UpdateAccessConfig { authentication_mode: Option<AuthenticationMode>, }
    UpgradePolicy { support_type: Option<SupportType>, }
    RemoteNetwork { cidrs: Option<Vec<String>>, }
    RemoteNetworkConfig {
        remote_node_networks: Option<Vec<RemoteNetwork>>,
        remote_pod_networks: Option<Vec<RemoteNetwork>>,
    }
    ComputeConfig {
        enabled: Option<bool>,
        node_pools: Option<Vec<String>>,
        node_role_arn: Option<String>,
    }
    StorageConfig { block_storage: Option<Switch>, }
    ControlPlaneScalingConfig { tier: Option<ControlPlaneTier>, }
    ControlPlanePlacement { group_name: Option<String>, }
    OutpostConfig {
        outpost_arns: Vec<String>,
        control_plane_instance_type: String,
        control_plane_placement: Option<ControlPlanePlacement>,
    }
    CreateCluster {
        name: String,
        version: Option<String>,
        role_arn: String,
        resources_vpc_config: VpcConfigRequest,
        kubernetes_network_config: Option<KubernetesNetworkConfig>,
        logging: Option<Logging>,
        client_request_token: Option<String>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        #[serde(default)]
        encryption_config: Vec<EncryptionConfig>,
        outpost_config: Option<OutpostConfig>,
        access_config: Option<AccessConfig>,
        bootstrap_self_managed_addons: Option<bool>,
        upgrade_policy: Option<UpgradePolicy>,
        zonal_shift_config: Option<Switch>,
        remote_network_config: Option<RemoteNetworkConfig>,
        compute_config: Option<ComputeConfig>,
        storage_config: Option<StorageConfig>,
        deletion_protection: Option<bool>,
        control_plane_scaling_config: Option<ControlPlaneScalingConfig>,
    }
    DescribeCluster { name: String, }
    DeleteCluster { name: String, }
    DeregisterCluster { name: String, }
    ListClusters {
        max_results: Option<i32>,
        next_token: Option<String>,
        #[serde(default)]
        include: Vec<String>,
    }
    ListClustersResponse {
        clusters: Vec<String>,
        next_token: Option<String>,
    }
    ConnectorConfigResponse {
        activation_id: Option<String>,
        activation_code: Option<String>,
        activation_expiry: Option<Timestamp>,
        provider: Option<String>,
        role_arn: Option<String>,
    }
    UpdateClusterConfig {
        name: String,
        resources_vpc_config: Option<VpcConfigRequest>,
        logging: Option<Logging>,
        client_request_token: Option<String>,
        access_config: Option<UpdateAccessConfig>,
        upgrade_policy: Option<UpgradePolicy>,
        zonal_shift_config: Option<Switch>,
        compute_config: Option<ComputeConfig>,
        kubernetes_network_config: Option<KubernetesNetworkConfig>,
        storage_config: Option<StorageConfig>,
        remote_network_config: Option<RemoteNetworkConfig>,
        deletion_protection: Option<bool>,
        control_plane_scaling_config: Option<ControlPlaneScalingConfig>,
    }
    UpdateClusterVersion {
        name: String,
        version: String,
        client_request_token: Option<String>,
        force: Option<bool>,
    }
    AssociateEncryptionConfig {
        #[serde(rename = "name")]
        cluster_name: String,
        encryption_config: Vec<EncryptionConfig>,
        client_request_token: Option<String>,
    }
    Oidc { issuer: Option<String>, }
    Identity { oidc: Option<Oidc>, }
    Certificate { data: Option<String>, }
    ClusterIssue {
        code: String,
        message: String,
        resource_ids: Vec<String>,
    }
    ClusterHealth { issues: Vec<ClusterIssue>, }
    /// A cluster as answers show it.
    ClusterItem {
        name: Option<String>,
        arn: Option<String>,
        created_at: Option<Timestamp>,
        version: Option<String>,
        endpoint: Option<String>,
        role_arn: Option<String>,
        resources_vpc_config: Option<VpcConfigResponse>,
        kubernetes_network_config: Option<KubernetesNetworkConfig>,
        logging: Option<Logging>,
        identity: Option<Identity>,
        status: Option<ClusterStatus>,
        certificate_authority: Option<Certificate>,
        client_request_token: Option<String>,
        platform_version: Option<String>,
        tags: BTreeMap<String, String>,
        connector_config: Option<ConnectorConfigResponse>,
        health: Option<ClusterHealth>,
        access_config: Option<AccessConfig>,
        upgrade_policy: Option<UpgradePolicy>,
        zonal_shift_config: Option<Switch>,
        compute_config: Option<ComputeConfig>,
        storage_config: Option<StorageConfig>,
        deletion_protection: Option<bool>,
        control_plane_scaling_config: Option<ControlPlaneScalingConfig>,
    }
    OneCluster { cluster: Option<ClusterItem>, }
}

/// `provider` is demanded by the model, and has no default.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisterCluster {
    pub(crate) name: String,
    pub(crate) connector_config: RequiredConnectorConfig,
    pub(crate) client_request_token: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequiredConnectorConfig {
    pub(crate) role_arn: String,
    pub(crate) provider: ConnectorProvider,
}
