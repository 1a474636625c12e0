//! The requests and answers of the API, exactly as its model names them.

use std::collections::BTreeMap;

use lath_wire::Blob;
use serde::{Deserialize, Serialize};

/// Structures of the wire.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name {
            $($(#[$attr])* pub(crate) $member: $type,)*
        }
    )*};
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PackageType {
    Zip,
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Architecture {
    #[serde(rename = "x86_64")]
    X86,
    #[serde(rename = "arm64")]
    Arm,
}

impl Architecture {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "arm64",
        }
    }

    /// Of this machine, where functions run.
    pub(crate) fn here() -> Self {
        match cfg!(target_arch = "aarch64") {
            true => Self::Arm,
            false => Self::X86,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TracingMode {
    Active,
    PassThrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SnapStartApplyOn {
    PublishedVersions,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogFormat {
    #[serde(rename = "JSON")]
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Pending,
    Active,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LastUpdateStatus {
    Successful,
    Failed,
    InProgress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StateReasonCode {
    Creating,
    InternalError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LastUpdateStatusReasonCode {
    InternalError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InvocationType {
    Event,
    RequestResponse,
    DryRun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogType {
    None,
    Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FunctionVersion {
    #[serde(rename = "ALL")]
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FunctionVersionLatestPublished {
    #[serde(rename = "LATEST_PUBLISHED")]
    LatestPublished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FunctionUrlAuthType {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "AWS_IAM")]
    AwsIam,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TenantIsolationMode {
    #[serde(rename = "PER_TENANT")]
    PerTenant,
}

/// A blob as a member that may be missing: it does not print.
pub(crate) type Bytes = Option<Blob>;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FunctionCode {
    pub(crate) zip_file: Bytes,
    pub(crate) s3_bucket: Option<String>,
    pub(crate) s3_key: Option<String>,
    pub(crate) s3_object_version: Option<String>,
    pub(crate) image_uri: Option<String>,
    #[serde(rename = "SourceKMSKeyArn")]
    pub(crate) source_kms_key_arn: Option<String>,
}

wire! {
    VpcConfig {
        subnet_ids: Option<Vec<String>>,
        security_group_ids: Option<Vec<String>>,
        ipv6_allowed_for_dual_stack: Option<bool>,
    }
    DeadLetterConfig { target_arn: Option<String>, }
    Environment { variables: Option<BTreeMap<String, String>>, }
    TracingConfig { mode: Option<TracingMode>, }
    FileSystemConfig { arn: String, local_mount_path: String, }
    ImageConfig {
        entry_point: Option<Vec<String>>,
        command: Option<Vec<String>>,
        working_directory: Option<String>,
    }
    EphemeralStorage { size: i32, }
    SnapStart { apply_on: Option<SnapStartApplyOn>, }
    LoggingConfig {
        log_format: Option<LogFormat>,
        application_log_level: Option<String>,
        system_log_level: Option<String>,
        log_group: Option<String>,
    }
    LambdaManagedInstancesCapacityProviderConfig {
        capacity_provider_arn: String,
        per_execution_environment_max_concurrency: Option<i32>,
        #[serde(rename = "ExecutionEnvironmentMemoryGiBPerVCpu")]
        memory_per_cpu: Option<f64>,
    }
    CapacityProviderConfig {
        lambda_managed_instances_capacity_provider_config: LambdaManagedInstancesCapacityProviderConfig,
    }
    DurableConfig { retention_period_in_days: Option<i32>, execution_timeout: Option<i32>, }
    TenancyConfig { tenant_isolation_mode: Option<TenantIsolationMode>, }
    CreateFunction {
        function_name: String,
        runtime: Option<String>,
        role: String,
        handler: Option<String>,
        code: FunctionCode,
        description: Option<String>,
        timeout: Option<i32>,
        memory_size: Option<i32>,
        publish: Option<bool>,
        vpc_config: Option<VpcConfig>,
        package_type: Option<PackageType>,
        dead_letter_config: Option<DeadLetterConfig>,
        environment: Option<Environment>,
        #[serde(rename = "KMSKeyArn")]
        kms_key_arn: Option<String>,
        tracing_config: Option<TracingConfig>,
        tags: Option<BTreeMap<String, String>>,
        layers: Option<Vec<String>>,
        file_system_configs: Option<Vec<FileSystemConfig>>,
        image_config: Option<ImageConfig>,
        code_signing_config_arn: Option<String>,
        architectures: Option<Vec<Architecture>>,
        ephemeral_storage: Option<EphemeralStorage>,
        snap_start: Option<SnapStart>,
        logging_config: Option<LoggingConfig>,
        capacity_provider_config: Option<CapacityProviderConfig>,
        publish_to: Option<FunctionVersionLatestPublished>,
        durable_config: Option<DurableConfig>,
        tenancy_config: Option<TenancyConfig>,
    }
    UpdateFunctionCode {
        function_name: String,
        zip_file: Bytes,
        s3_bucket: Option<String>,
        s3_key: Option<String>,
        s3_object_version: Option<String>,
        image_uri: Option<String>,
        publish: Option<bool>,
        dry_run: Option<bool>,
        revision_id: Option<String>,
        architectures: Option<Vec<Architecture>>,
        #[serde(rename = "SourceKMSKeyArn")]
        source_kms_key_arn: Option<String>,
        publish_to: Option<FunctionVersionLatestPublished>,
    }
    UpdateFunctionConfiguration {
        function_name: String,
        role: Option<String>,
        handler: Option<String>,
        description: Option<String>,
        timeout: Option<i32>,
        memory_size: Option<i32>,
        vpc_config: Option<VpcConfig>,
        environment: Option<Environment>,
        runtime: Option<String>,
        dead_letter_config: Option<DeadLetterConfig>,
        #[serde(rename = "KMSKeyArn")]
        kms_key_arn: Option<String>,
        tracing_config: Option<TracingConfig>,
        revision_id: Option<String>,
        layers: Option<Vec<String>>,
        file_system_configs: Option<Vec<FileSystemConfig>>,
        image_config: Option<ImageConfig>,
        ephemeral_storage: Option<EphemeralStorage>,
        snap_start: Option<SnapStart>,
        logging_config: Option<LoggingConfig>,
        capacity_provider_config: Option<CapacityProviderConfig>,
        durable_config: Option<DurableConfig>,
    }
    EnvironmentError { error_code: Option<String>, message: Option<String>, }
    EnvironmentResponse { variables: Option<BTreeMap<String, String>>, error: Option<EnvironmentError>, }
    TracingConfigResponse { mode: Option<TracingMode>, }
    SnapStartResponse { apply_on: Option<SnapStartApplyOn>, optimization_status: Option<String>, }
    /// What most operations answer of a function.
    FunctionConfiguration {
        function_name: Option<String>,
        function_arn: Option<String>,
        runtime: Option<String>,
        role: Option<String>,
        handler: Option<String>,
        code_size: Option<i64>,
        description: Option<String>,
        timeout: Option<i32>,
        memory_size: Option<i32>,
        last_modified: Option<String>,
        code_sha256: Option<String>,
        version: Option<String>,
        environment: Option<EnvironmentResponse>,
        tracing_config: Option<TracingConfigResponse>,
        revision_id: Option<String>,
        state: Option<State>,
        state_reason: Option<String>,
        state_reason_code: Option<StateReasonCode>,
        last_update_status: Option<LastUpdateStatus>,
        last_update_status_reason: Option<String>,
        last_update_status_reason_code: Option<LastUpdateStatusReasonCode>,
        package_type: Option<PackageType>,
        architectures: Option<Vec<Architecture>>,
        ephemeral_storage: Option<EphemeralStorage>,
        snap_start: Option<SnapStartResponse>,
        logging_config: Option<LoggingConfig>,
    }
    GetFunction { function_name: String, qualifier: Option<String>, }
    FunctionCodeLocation { repository_type: Option<String>, location: Option<String>, }
    Concurrency { reserved_concurrent_executions: Option<i32>, }
    GetFunctionResponse {
        configuration: Option<FunctionConfiguration>,
        code: Option<FunctionCodeLocation>,
        tags: Option<BTreeMap<String, String>>,
        concurrency: Option<Concurrency>,
    }
    GetFunctionConfiguration { function_name: String, qualifier: Option<String>, }
    ListFunctions {
        master_region: Option<String>,
        function_version: Option<FunctionVersion>,
        marker: Option<String>,
        max_items: Option<i32>,
    }
    ListFunctionsResponse { next_marker: Option<String>, functions: Option<Vec<FunctionConfiguration>>, }
    DeleteFunction { function_name: String, qualifier: Option<String>, }
    DeleteFunctionResponse { status_code: Option<i32>, }
    Invoke {
        function_name: String,
        #[serde(rename = "X-Amz-Invocation-Type")]
        invocation_type: Option<InvocationType>,
        #[serde(rename = "X-Amz-Log-Type")]
        log_type: Option<LogType>,
        #[serde(rename = "X-Amz-Client-Context")]
        client_context: Option<String>,
        payload: Bytes,
        qualifier: Option<String>,
    }
    InvocationResponse {
        status_code: Option<i32>,
        #[serde(rename = "X-Amz-Function-Error")]
        function_error: Option<String>,
        #[serde(rename = "X-Amz-Log-Result")]
        log_result: Option<String>,
        payload: Bytes,
        #[serde(rename = "X-Amz-Executed-Version")]
        executed_version: Option<String>,
    }
    PutFunctionConcurrency { function_name: String, reserved_concurrent_executions: i32, }
    GetFunctionConcurrency { function_name: String, }
    GetFunctionConcurrencyResponse { reserved_concurrent_executions: Option<i32>, }
    DeleteFunctionConcurrency { function_name: String, }
    AddPermission {
        function_name: String,
        statement_id: String,
        action: String,
        principal: String,
        source_arn: Option<String>,
        source_account: Option<String>,
        event_source_token: Option<String>,
        qualifier: Option<String>,
        revision_id: Option<String>,
        #[serde(rename = "PrincipalOrgID")]
        principal_org_id: Option<String>,
        function_url_auth_type: Option<FunctionUrlAuthType>,
        invoked_via_function_url: Option<bool>,
    }
    AddPermissionResponse { statement: Option<String>, }
    RemovePermission {
        function_name: String,
        statement_id: String,
        qualifier: Option<String>,
        revision_id: Option<String>,
    }
    GetPolicy { function_name: String, qualifier: Option<String>, }
    GetPolicyResponse { policy: Option<String>, revision_id: Option<String>, }
    TagResource { resource: String, tags: BTreeMap<String, String>, }
    UntagResource {
        resource: String,
        #[serde(rename = "tagKeys")]
        tag_keys: Vec<String>,
    }
    ListTags { resource: String, }
    ListTagsResponse { tags: Option<BTreeMap<String, String>>, }
    GetAccountSettings {}
    AccountLimit {
        total_code_size: Option<i64>,
        code_size_unzipped: Option<i64>,
        code_size_zipped: Option<i64>,
        concurrent_executions: Option<i32>,
        unreserved_concurrent_executions: Option<i32>,
    }
    AccountUsage { total_code_size: Option<i64>, function_count: Option<i64>, }
    GetAccountSettingsResponse { account_limit: Option<AccountLimit>, account_usage: Option<AccountUsage>, }
}
