//! The auth policies of service networks and services, read once.

use std::sync::Arc;

use lath_feed::Auth;
use lath_policy::lattice::{self, Level};
use lath_policy::{Grammar, Policy};

/// A network's or service's switch, with its policy read once.
#[derive(Debug, Clone)]
pub(crate) enum Gate {
    Open,
    /// Without a policy, every caller is refused.
    Guarded(Option<Arc<Policy>>),
}

impl Gate {
    pub(crate) fn of(auth: &Auth, arn: &str) -> Self {
        let Auth::AwsIam { policy } = auth else {
            return Self::Open;
        };
        let read = |text: &String| {
            let policy = Policy::parse(text, Grammar::Resource).inspect_err(|error| {
                tracing::error!(resource.arn = arn, %error, "the auth policy cannot be read, so that it allows no caller");
            });
            policy.ok().map(Arc::new)
        };
        Self::Guarded(policy.as_ref().and_then(read))
    }

    pub(crate) fn auth(&self) -> lattice::Auth<'_> {
        match self {
            Self::Open => lattice::Auth::None,
            Self::Guarded(policy) => lattice::Auth::AwsIam(policy.as_deref()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// Whose policy denied, as the access log says it.
pub(crate) fn denier(level: Level) -> &'static str {
    match level {
        Level::Network => "Network",
        Level::Service => "Service",
        Level::Identity => "Identity",
    }
}
