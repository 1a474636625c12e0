//! VPC Lattice through AWS's SDK: what is there is compared with what should be, and the difference is asked for.
//!
//! What was read once is remembered, so that a change costs the calls that it needs. The memory is only ever a shortcut:
//! a resource that is not what is remembered makes a call fail, which forgets it, and all of it is forgotten now and then.

mod auth;
mod certificates;
mod entrance;
mod group;
mod issued;
mod listener;
mod network;
mod policy;
mod rules;
mod service;
mod shape;
pub(crate) mod shared;
mod targets;
mod verified;

pub(crate) use self::auth::Guarded;
pub(crate) use self::certificates::is_refused;
#[cfg(test)]
pub(crate) use self::group::AGAIN as LOOKS;
pub(crate) use self::service::Deployed;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as Lock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_vpclattice::Client;
use aws_sdk_vpclattice::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_vpclattice::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_vpclattice::error::{BoxError, ProvideErrorMetadata, SdkError};
use lath_clock::Clock;
use tokio::sync::Mutex;

use crate::desired::{Action, Condition, MANAGED_BY, Tags, key};
use crate::guards::Guard;
use crate::lease::Term;
use crate::metrics::{Counted, Metrics};
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
    /// Lattice cannot be reached, has too many requests, or fails: the same request may do later.
    #[error("{0}")]
    Unanswered(String),
    /// Lattice refuses.
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
            "ConflictException" | "InvalidChangeBatch" => Self::Conflict(message),
            "ThrottlingException"
            | "TooManyRequestsException"
            | "Throttling"
            | "PriorRequestNotComplete"
            | "InternalServerException"
            | "ServiceUnavailableException" => Self::Unanswered(message),
            // Without an answer that says anything; what was not even sent is another matter.
            "" if !matches!(error, SdkError::ConstructionFailure(_)) => Self::Unanswered(message),
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

/// What is remembered of a service. Whose it is is not: that is looked up before every change.
#[derive(Clone, Debug)]
struct KnownService {
    id: String,
    arn: String,
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

/// What is remembered of all target groups.
#[derive(Debug, Default)]
struct KnownGroups {
    /// By name.
    all: BTreeMap<String, KnownGroup>,
    /// Whether this controller has made and deleted none since the list was read.
    fresh: bool,
}

/// What is remembered between looks at the groups of all clusters.
#[derive(Debug, Default)]
struct Looks {
    /// By name.
    all: BTreeMap<String, KnownGroup>,
    count: usize,
}

/// Lets nothing be sent when the Lease is no longer held, however late a worker notices.
#[derive(Debug)]
pub(crate) struct Fence(Arc<Term>);

impl Intercept for Fence {
    fn name(&self) -> &'static str {
        "Fence"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match self.0.lasts() {
            true => Ok(()),
            false => Err("this controller does not hold the Lease any more".into()),
        }
    }
}

/// Conditions and actions, as far as this controller makes such, by ARN.
type Contents = HashMap<String, (Option<Condition>, Option<Action>, Option<String>)>;

/// Long texts in tags, by ARN and name.
type Texts = HashMap<(String, String), Option<String>>;

/// VPC Lattice, and what is remembered of it.
pub(crate) struct Lattice {
    client: Client,
    clock: Clock,
    metrics: Arc<Metrics>,
    managed_by: String,
    account: String,
    vpc: String,
    /// Whether rules may have traffic policies.
    extended: bool,
    /// Whether Gateways have addresses.
    addresses: bool,
    acm: aws_sdk_acm::Client,
    /// Certificates of Secrets that were imported; `None` before they are listed.
    certificates: Mutex<Option<certificates::KnownCertificates>>,
    /// Certificates that are issued, as they were listed last.
    issued: Mutex<issued::Known>,
    /// Long texts in tags, by ARN and name.
    texts: Lock<Texts>,
    /// By name.
    services: Mutex<Option<HashMap<String, KnownService>>>,
    groups: Mutex<KnownGroups>,
    /// What looks at the groups of all clusters found.
    looks: Mutex<Looks>,
    /// What guards resources, by their ids. While it is locked, nothing else changes who may call what.
    guards: Mutex<HashMap<String, Guard>>,
    /// Conditions and actions of rules, and actions of listeners, by ARN.
    rules: Lock<Contents>,
}

/// How AWS's APIs are reached: with the credentials of the environment.
pub(crate) async fn shared_config(
    region: &str,
    endpoint_url: Option<&str>,
) -> aws_config::SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
    let mut config = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        .timeout_config(timeouts);
    if !region.is_empty() {
        config = config.region(Region::new(region.to_owned()));
    }
    if let Some(url) = endpoint_url {
        config = config.endpoint_url(url);
    }
    config.load().await
}

/// How Lattice is reached.
pub(crate) async fn config(
    region: &str,
    endpoint_url: Option<&str>,
) -> aws_sdk_vpclattice::config::Builder {
    aws_sdk_vpclattice::config::Builder::from(&shared_config(region, endpoint_url).await)
}

impl Lattice {
    /// A client with the credentials of the environment, which sends nothing outside of the term.
    pub(crate) async fn new(settings: &Settings, term: Arc<Term>) -> Self {
        let sdk = shared_config(&settings.region, settings.endpoint_url.as_deref()).await;
        let acm = aws_sdk_acm::config::Builder::from(&sdk);
        let lattice = aws_sdk_vpclattice::config::Builder::from(&sdk);
        Self::with((lattice, acm), settings, term)
    }

    fn with(
        (config, acm): (
            aws_sdk_vpclattice::config::Builder,
            aws_sdk_acm::config::Builder,
        ),
        settings: &Settings,
        term: Arc<Term>,
    ) -> Self {
        let metrics = Arc::<Metrics>::default();
        let acm = acm
            .interceptor(Fence(Arc::clone(&term)))
            .interceptor(Counted(Arc::clone(&metrics)));
        let config = config
            .interceptor(Fence(term))
            .interceptor(Counted(Arc::clone(&metrics)));
        Self {
            client: Client::from_conf(config.build()),
            clock: settings.clock.clone(),
            metrics,
            managed_by: settings.managed_by(),
            account: settings.account_id.clone(),
            vpc: settings.vpc_id.clone(),
            extended: settings.extended,
            addresses: settings.has_addresses(),
            acm: aws_sdk_acm::Client::from_conf(acm.build()),
            certificates: Mutex::default(),
            issued: Mutex::default(),
            texts: Lock::default(),
            services: Mutex::new(None),
            groups: Mutex::default(),
            looks: Mutex::default(),
            guards: Mutex::default(),
            rules: Lock::default(),
        }
    }

    /// A client of a server of tests, which always holds its Lease.
    #[cfg(test)]
    pub(crate) fn for_tests(url: &str, settings: &Settings) -> Self {
        Self::in_term(url, settings, Arc::new(Term::endless()))
    }

    #[cfg(test)]
    pub(crate) fn in_term(url: &str, settings: &Settings, term: Arc<Term>) -> Self {
        use aws_sdk_vpclattice::config::{Config, Credentials};
        let credentials = Credentials::new("key", "secret", None, None, "tests");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials.clone())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url);
        let acm = aws_sdk_acm::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url);
        Self::with((config, acm), settings, term)
    }

    /// Where requests are counted.
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Forgets all that is remembered, so that what others changed is seen.
    pub(crate) async fn forget(&self) {
        *self.services.lock().await = None;
        *self.groups.lock().await = KnownGroups::default();
        self.looks.lock().await.all.clear();
        self.guards.lock().await.clear();
        self.remembered().clear();
        *self.certificates.lock().await = None;
        *self.issued.lock().await = None;
        self.texts().clear();
    }

    fn texts(&self) -> std::sync::MutexGuard<'_, Texts> {
        self.texts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether an ARN is one of the controller's account: lists have also what others share with it.
    fn is_of_account(&self, arn: &str) -> bool {
        arn.split(':').nth(4) == Some(&self.account)
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

    /// The same of what may have gone since it was listed.
    async fn tags_if_there(&self, arn: Option<&str>) -> Result<Option<Tags>, Fault> {
        match self.tags_of(arn.unwrap_or_default()).await {
            Ok(tags) => Ok(Some(tags)),
            Err(Fault::NotFound(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether a resource is this controller's.
    fn is_own(&self, tags: &Tags) -> bool {
        tags.get(&key(MANAGED_BY)) == Some(&self.managed_by)
    }
}
