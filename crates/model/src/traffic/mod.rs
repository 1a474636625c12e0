//! What a rule does with requests and responses beside choosing a target: an extension to VPC Lattice.
//!
//! Values of these types are made by the control plane out of what users write, which [`TrafficPolicy::check`] judges.
//! The data plane asks it again before it obeys: what comes from another region was checked by that region alone.

pub(crate) mod check;
mod cors;
mod limits;
mod session;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TargetGroupId;

pub use check::*;
pub use cors::*;
pub use limits::*;
pub use session::*;

/// The traffic policy of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrafficPolicy {
    /// What is changed in requests on their way to targets.
    pub request_headers: HeaderEdits,
    /// What is changed in responses on their way to clients.
    pub response_headers: HeaderEdits,
    /// Answers requests instead of the rule's action.
    pub redirect: Option<Redirect>,
    /// What targets see instead of the request's URL.
    pub rewrite: Option<Rewrite>,
    /// How long requests may take.
    pub timeouts: Timeouts,
    /// Whether and when requests are sent again.
    pub retry: Option<Retry>,
    /// Groups that get copies of requests.
    pub mirrors: Vec<Mirror>,
    /// Whether requests of one session go to one target.
    #[serde(default)]
    pub session: Option<SessionPersistence>,
    /// How many requests are taken.
    #[serde(default)]
    pub limits: Vec<RateLimit>,
    /// A share of requests that is answered without a target.
    #[serde(default)]
    pub failure: Option<FailureShare>,
    /// What is done besides with what goes to some of the action's groups.
    #[serde(default)]
    pub groups: Vec<GroupFilters>,
    /// Which pages of other origins browsers let read the answers.
    #[serde(default)]
    pub cors: Option<Cors>,
}

/// A share of requests beside those of target groups: a backend that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureShare {
    /// As of target groups: its share is this over the sum of all weights. 1 to 999.
    pub weight: u32,
    /// What is answered, 400 to 599.
    pub status: u16,
}

/// What is done with requests that go to one of the action's groups, after what is done with all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFilters {
    /// The group. Without it in the action, nothing is done.
    pub target_group: TargetGroupId,
    /// As of the policy.
    pub request_headers: HeaderEdits,
    /// As of the policy.
    pub response_headers: HeaderEdits,
    /// As of the policy.
    pub rewrite: Option<Rewrite>,
    /// As of the policy.
    pub mirrors: Vec<Mirror>,
}

/// Changes of a head: removals first, then what is set, then what is added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeaderEdits {
    /// Replace what is there under the name.
    pub set: Vec<(String, String)>,
    /// Come after what is there under the name.
    pub add: Vec<(String, String)>,
    /// Names that go.
    pub remove: Vec<String>,
}

/// The URL of a redirect. A part that is absent is taken from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// A name without a port.
    pub hostname: Option<String>,
    /// The port. Absent: the one of `scheme` if that is there, else the listener's.
    pub port: Option<u16>,
    /// What becomes of the path; the query stays.
    pub path: Option<PathChange>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The scheme of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URL begins.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that URLs with this scheme leave out.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Another URL that targets see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rewrite {
    /// Instead of the client's Host, without a port.
    pub hostname: Option<String>,
    /// What becomes of the path; the query stays.
    pub path: Option<PathChange>,
}

/// A change of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathChange {
    /// Another path.
    Full(String),
    /// Another beginning, in whole segments: `/a` is one of `/a` and `/a/b`, not of `/ab`. ASCII case does not count:
    /// whether it does is the rule's to say. A path that begins otherwise stays.
    Prefix {
        /// What goes, without a slash at its end; empty: nothing, so that `to` comes before every path.
        from: String,
        /// What comes, without a slash at its end; empty: nothing.
        to: String,
    },
}

impl PathChange {
    /// The path after the change. `None`: it stays as it is.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<String> {
        match self {
            Self::Full(to) => Some(to.clone()),
            Self::Prefix { from, to } => {
                let (begin, rest) = path.split_at_checked(from.len())?;
                let is_whole = rest.is_empty() || rest.starts_with('/');
                if !is_whole || !begin.eq_ignore_ascii_case(from) {
                    return None;
                }
                match (to.as_str(), rest) {
                    ("", "") => Some("/".to_owned()),
                    (to, rest) => Some(format!("{to}{rest}")),
                }
            }
        }
    }
}

/// How long things may take. Absent: as without a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeouts {
    /// From a request's head to the end of its response, all tries included.
    pub request: Option<Duration>,
    /// From the choice of a target to the end of its response.
    pub backend_request: Option<Duration>,
}

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How often at most, beside the first time.
    pub attempts: u8,
    /// Statuses of responses that are not passed on while a try is left.
    pub codes: Vec<u16>,
    /// How long it is waited before the first retry at least; before each further one twice as long, up to ten times.
    pub backoff: Duration,
    /// The share of requests, in percent, that retries may add.
    pub budget_percent: u8,
}

/// A group that gets copies of requests. Its answers are thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// The group.
    pub target_group: TargetGroupId,
    /// The share of requests that are copied, in percent.
    pub percent: u8,
}

impl HeaderEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

impl TrafficPolicy {
    /// Whether it says anything of requests that targets get: what neither a redirect nor a fixed response has.
    #[must_use]
    pub fn concerns_targets(&self) -> bool {
        !self.request_headers.is_empty()
            || self.rewrite.is_some()
            || self.timeouts != Timeouts::default()
            || self.retry.is_some()
            || !self.mirrors.is_empty()
            || self.session.is_some()
            || self.failure.is_some()
            || !self.groups.is_empty()
            || self.cors.is_some()
    }

    /// The groups that get copies of requests, repeated as often as they are named.
    pub fn mirrored(&self) -> impl Iterator<Item = &TargetGroupId> {
        let of_groups = self.groups.iter().flat_map(|it| &it.mirrors);
        self.mirrors
            .iter()
            .chain(of_groups)
            .map(|it| &it.target_group)
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests;
