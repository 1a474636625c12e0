//! VPC Lattice through AWS's SDK: what is there is compared with what should be, and the difference is asked for.
//!
//! What was read once is remembered, so that a change costs the calls that it needs. The memory is only ever a shortcut:
//! a resource that is not what is remembered makes a call fail, which forgets it, and all of it is forgotten now and then.

mod group;
mod listener;
mod network;
mod policy;
mod rules;
mod service;
mod shape;

pub(crate) use self::service::Deployed;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex as Lock;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_vpclattice::Client;
use aws_sdk_vpclattice::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::Mutex;

use crate::desired::{Action, Condition, MANAGED_BY, Tags, has_tags, key};
use crate::settings::Settings;

/// How long a call may take, with all of its attempts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why something is not as it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Lattice is at work: what was asked for comes about without more requests.
    #[error("{0}")]
    Waits(String),
    /// It is not there (any more).
    #[error("{0}")]
    NotFound(String),
    /// It is another's, or something is in the way.
    #[error("{0}")]
    Conflict(String),
    /// Lattice refuses, or cannot be reached.
    #[error("{0}")]
    Failed(String),
}

impl<E, R> From<SdkError<E, R>> for Fault
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let code = error.code().unwrap_or_default().to_owned();
        let message = match error.message() {
            Some(message) => format!("{code}: {message}"),
            None => format!("{}", aws_sdk_vpclattice::error::DisplayErrorContext(&error)),
        };
        match code.as_str() {
            "ResourceNotFoundException" => Self::NotFound(message),
            "ConflictException" => Self::Conflict(message),
            _ => Self::Failed(message),
        }
    }
}

/// The SDK leaves out what the service must send: its absence is a failure.
fn sent<T>(value: Option<T>, what: &str) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::Failed(format!("VPC Lattice sent no {what}")))
}

/// The last part of an ARN, or an id as it is.
pub(crate) fn id_of(identifier: &str) -> String {
    identifier
        .rsplit('/')
        .next()
        .unwrap_or(identifier)
        .to_owned()
}

/// What is remembered of a service.
#[derive(Clone, Debug)]
struct KnownService {
    id: String,
    /// Whether its tags were found to be those of its route.
    owned: bool,
}

/// What is remembered of a target group.
#[derive(Clone, Debug, Default)]
struct KnownGroup {
    id: String,
    arn: String,
    vpc: String,
    port: i32,
    protocol: String,
    tags: Tags,
    /// Whether it was seen to be active.
    active: bool,
    health_check: Option<crate::kinds::HealthCheck>,
    targets: Option<std::collections::BTreeSet<(String, i32)>>,
}

/// Conditions and actions, as far as this controller makes such, by ARN.
type Contents = HashMap<String, (Option<Condition>, Option<Action>)>;

/// VPC Lattice, and what is remembered of it.
pub(crate) struct Lattice {
    client: Client,
    managed_by: String,
    vpc: String,
    /// By name.
    services: Mutex<Option<HashMap<String, KnownService>>>,
    /// By name.
    groups: Mutex<Option<BTreeMap<String, KnownGroup>>>,
    /// Conditions and actions of rules, and actions of listeners, by ARN.
    rules: Lock<Contents>,
}

impl Lattice {
    /// A client with the credentials of the environment.
    pub(crate) async fn new(settings: &Settings) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
        let mut config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(4))
            .timeout_config(timeouts);
        if !settings.region.is_empty() {
            config = config.region(Region::new(settings.region.clone()));
        }
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        Self {
            client: Client::new(&config.load().await),
            managed_by: settings.managed_by(),
            vpc: settings.vpc_id.clone(),
            services: Mutex::new(None),
            groups: Mutex::new(None),
            rules: Lock::default(),
        }
    }

    /// Forgets all that is remembered, so that what others changed is seen.
    pub(crate) async fn forget(&self) {
        *self.services.lock().await = None;
        *self.groups.lock().await = None;
        self.remembered().clear();
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.rules
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn tags_of(&self, arn: &str) -> Result<Tags, Fault> {
        let tags = self
            .client
            .list_tags_for_resource()
            .resource_arn(arn)
            .send()
            .await?;
        Ok(tags.tags.unwrap_or_default().into_iter().collect())
    }

    /// Whether a resource is this controller's.
    fn is_own(&self, tags: &Tags) -> bool {
        tags.get(&key(MANAGED_BY)) == Some(&self.managed_by)
    }

    /// Makes a resource this controller's, unless it is another's: what carries no owner's tag is taken over.
    async fn claim(
        &self,
        what: &str,
        arn: &str,
        identity: &Tags,
        wanted: &Tags,
    ) -> Result<(), Fault> {
        let tags = self.tags_of(arn).await?;
        for (key, value) in identity {
            if let Some(other) = tags.get(key)
                && other != value
            {
                return Err(Fault::Conflict(format!(
                    "{what} is another's: {key} is {other}"
                )));
            }
        }
        if !has_tags(&tags, wanted) {
            let wanted = wanted.clone().into_iter().collect();
            let tagged = self
                .client
                .tag_resource()
                .resource_arn(arn)
                .set_tags(Some(wanted));
            tagged.send().await?;
        }
        Ok(())
    }
}
