//! What of requests is checked beyond their types.

use std::collections::BTreeMap;

use lath_service::{Bounds, Refuses, Violation, detected};
use lath_wire::ApiError;

use crate::fault;
use crate::shape::*;

/// How long environment variables may be in all, in bytes.
const ENVIRONMENT: usize = 4096;
/// How many tags there may be.
const TAGS: usize = 50;

/// The names that Lambda sets itself
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>).
const RESERVED: [&str; 20] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_METADATA_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Runtimes that nodes have: custom ones, and those of Python for which the machine's own interpreter stands.
const RUNTIMES: [&str; 7] = [
    "provided.al2023",
    "provided.al2",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3.9",
];

/// Holds a function's timeout, in seconds, and its memory, in MB, to what functions may have; the model's ends are those of other
/// kinds of functions (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
///
/// # Errors
/// `ValidationException` with what is too much.
pub(crate) fn limits(timeout: Option<i32>, memory: Option<i32>) -> Result<(), ApiError> {
    let members = [("timeout", timeout, 900), ("memorySize", memory, 10_240)];
    let broken = members.into_iter().filter_map(|(member, value, most)| {
        let value = value?;
        let rule = Bounds::value(0, most).broken_by(value.into())?;
        Some(Violation::new(member, value.to_string(), rule))
    });
    let broken: Vec<Violation> = broken.collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(ApiError::new("ValidationException", 400, detected(&broken)))
}

/// # Errors
/// `InvalidParameterValueException` for a runtime that is not there.
pub(crate) fn runtime(runtime: &str) -> Result<(), ApiError> {
    if RUNTIMES.contains(&runtime) {
        return Ok(());
    }
    let shown: String = runtime.chars().take(64).collect();
    Err(fault::invalid(format!(
        "The runtime {shown} is not available here: use one of {}.",
        RUNTIMES.join(", ")
    )))
}

/// # Errors
/// `InvalidParameterValueException` for variables that a process cannot have.
pub(crate) fn environment(variables: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let reserved = variables
        .keys()
        .filter(|it| RESERVED.contains(&it.as_str()));
    let reserved: Vec<&str> = reserved.map(String::as_str).collect();
    if !reserved.is_empty() {
        return Err(fault::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    if let Some((key, _)) = variables.iter().find(|(_, value)| value.contains('\0')) {
        return Err(fault::invalid(format!(
            "The value of {key} has a zero byte."
        )));
    }
    let size = variables.iter();
    let size: usize = size.map(|(key, value)| key.len() + value.len()).sum();
    if size > ENVIRONMENT {
        return Err(fault::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {size} bytes."
        )));
    }
    Ok(())
}

/// # Errors
/// `InvalidParameterValueException`.
pub(crate) fn tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > TAGS {
        return Err(fault::invalid(
            "Number of tags exceeds function tag limit of 50",
        ));
    }
    let fits = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && !key.starts_with("aws:")
    };
    if !tags.iter().all(fits) {
        let text = "Tag keys have 1 to 128 characters and do not begin with aws:, tag values have at most 256.";
        return Err(fault::invalid(text));
    }
    Ok(())
}

/// # Errors
/// `InvalidParameterValueException` for another machine's architecture.
pub(crate) fn architecture(given: Option<&[Architecture]>) -> Result<Architecture, ApiError> {
    let here = Architecture::here();
    match given {
        None => Ok(here),
        Some([one]) if *one == here => Ok(here),
        Some([one]) => Err(fault::invalid(format!(
            "This machine runs {} functions, and no {} ones.",
            here.name(),
            one.name()
        ))),
        Some(_) => Err(fault::invalid("Architectures has exactly one member.")),
    }
}

type Refused = Vec<(&'static str, bool)>;

fn refuse(all: Refused) -> Result<(), ApiError> {
    match all.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((member, _)) => Err(fault::unsupported(member)),
    }
}

fn names(all: Refused) -> Vec<String> {
    all.into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn has<T>(given: Option<&Vec<T>>) -> bool {
    given.is_some_and(|it| !it.is_empty())
}

fn vpc(given: Option<&VpcConfig>) -> bool {
    given.is_some_and(|it| has(it.subnet_ids.as_ref()) || has(it.security_group_ids.as_ref()))
}

fn letters(given: Option<&DeadLetterConfig>) -> bool {
    let arn = given.and_then(|it| it.target_arn.as_ref());
    arn.is_some_and(|it| !it.is_empty())
}

fn logging(given: Option<&LoggingConfig>) -> bool {
    given.is_some_and(|it| {
        it.log_format == Some(LogFormat::Json)
            || it.application_log_level.is_some()
            || it.system_log_level.is_some()
    })
}

fn storage(given: Option<&EphemeralStorage>) -> bool {
    given.is_some_and(|it| it.size != 512)
}

fn snaps(given: Option<&SnapStart>) -> bool {
    given.is_some_and(|it| it.apply_on == Some(SnapStartApplyOn::PublishedVersions))
}

fn traces(given: Option<&TracingConfig>) -> bool {
    given.is_some_and(|it| it.mode == Some(TracingMode::Active))
}

impl CreateFunction {
    fn refused(&self) -> Refused {
        vec![
            ("Code.S3Bucket", self.code.s3_bucket.is_some()),
            ("Code.S3Key", self.code.s3_key.is_some()),
            (
                "Code.S3ObjectVersion",
                self.code.s3_object_version.is_some(),
            ),
            ("Code.ImageUri", self.code.image_uri.is_some()),
            (
                "Code.SourceKMSKeyArn",
                self.code.source_kms_key_arn.is_some(),
            ),
            (
                "PackageType: Image",
                self.package_type == Some(PackageType::Image),
            ),
            ("Publish", self.publish == Some(true)),
            ("PublishTo", self.publish_to.is_some()),
            ("VpcConfig", vpc(self.vpc_config.as_ref())),
            (
                "DeadLetterConfig",
                letters(self.dead_letter_config.as_ref()),
            ),
            (
                "KMSKeyArn",
                self.kms_key_arn.as_ref().is_some_and(|it| !it.is_empty()),
            ),
            (
                "TracingConfig.Mode: Active",
                traces(self.tracing_config.as_ref()),
            ),
            ("Layers", has(self.layers.as_ref())),
            ("FileSystemConfigs", has(self.file_system_configs.as_ref())),
            ("ImageConfig", self.image_config.is_some()),
            (
                "CodeSigningConfigArn",
                self.code_signing_config_arn.is_some(),
            ),
            (
                "EphemeralStorage.Size: other than 512",
                storage(self.ephemeral_storage.as_ref()),
            ),
            (
                "SnapStart.ApplyOn: PublishedVersions",
                snaps(self.snap_start.as_ref()),
            ),
            (
                "LoggingConfig.LogFormat: JSON",
                logging(self.logging_config.as_ref()),
            ),
            (
                "CapacityProviderConfig",
                self.capacity_provider_config.is_some(),
            ),
            ("DurableConfig", self.durable_config.is_some()),
            ("TenancyConfig", self.tenancy_config.is_some()),
        ]
    }
}

impl Refuses for CreateFunction {
    fn names() -> Vec<String> {
        names(Self::default().refused())
    }

    fn refuse(&self) -> Result<(), ApiError> {
        refuse(self.refused())
    }
}

impl UpdateFunctionCode {
    fn refused(&self) -> Refused {
        vec![
            ("S3Bucket", self.s3_bucket.is_some()),
            ("S3Key", self.s3_key.is_some()),
            ("S3ObjectVersion", self.s3_object_version.is_some()),
            ("ImageUri", self.image_uri.is_some()),
            ("SourceKMSKeyArn", self.source_kms_key_arn.is_some()),
            ("Publish", self.publish == Some(true)),
            ("PublishTo", self.publish_to.is_some()),
        ]
    }
}

impl Refuses for UpdateFunctionCode {
    fn names() -> Vec<String> {
        names(Self::default().refused())
    }

    fn refuse(&self) -> Result<(), ApiError> {
        refuse(self.refused())
    }
}

impl UpdateFunctionConfiguration {
    fn refused(&self) -> Refused {
        vec![
            ("VpcConfig", vpc(self.vpc_config.as_ref())),
            (
                "DeadLetterConfig",
                letters(self.dead_letter_config.as_ref()),
            ),
            (
                "KMSKeyArn",
                self.kms_key_arn.as_ref().is_some_and(|it| !it.is_empty()),
            ),
            (
                "TracingConfig.Mode: Active",
                traces(self.tracing_config.as_ref()),
            ),
            ("Layers", has(self.layers.as_ref())),
            ("FileSystemConfigs", has(self.file_system_configs.as_ref())),
            ("ImageConfig", self.image_config.is_some()),
            (
                "EphemeralStorage.Size: other than 512",
                storage(self.ephemeral_storage.as_ref()),
            ),
            (
                "SnapStart.ApplyOn: PublishedVersions",
                snaps(self.snap_start.as_ref()),
            ),
            (
                "LoggingConfig.LogFormat: JSON",
                logging(self.logging_config.as_ref()),
            ),
            (
                "CapacityProviderConfig",
                self.capacity_provider_config.is_some(),
            ),
            ("DurableConfig", self.durable_config.is_some()),
        ]
    }
}

impl Refuses for UpdateFunctionConfiguration {
    fn names() -> Vec<String> {
        names(Self::default().refused())
    }

    fn refuse(&self) -> Result<(), ApiError> {
        refuse(self.refused())
    }
}

impl Invoke {
    fn refused(&self) -> Refused {
        vec![(
            "X-Amz-Invocation-Type: Event",
            self.invocation_type == Some(InvocationType::Event),
        )]
    }
}

impl Refuses for Invoke {
    fn names() -> Vec<String> {
        names(Self::default().refused())
    }

    fn refuse(&self) -> Result<(), ApiError> {
        match self.invocation_type {
            Some(InvocationType::Event) => Err(fault::invalid(
                "Lath keeps no queue of events: invoke the function with the type RequestResponse.",
            )),
            _ => Ok(()),
        }
    }
}

impl AddPermission {
    fn refused(&self) -> Refused {
        vec![
            ("EventSourceToken", self.event_source_token.is_some()),
            ("PrincipalOrgID", self.principal_org_id.is_some()),
            ("FunctionUrlAuthType", self.function_url_auth_type.is_some()),
            (
                "InvokedViaFunctionUrl",
                self.invoked_via_function_url == Some(true),
            ),
        ]
    }
}

impl Refuses for AddPermission {
    fn names() -> Vec<String> {
        names(Self::default().refused())
    }

    fn refuse(&self) -> Result<(), ApiError> {
        refuse(self.refused())
    }
}
