//! Session persistence: requests of one client go to one target
//! (<https://gateway-api.sigs.k8s.io/geps/gep-1619/>).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PolicyError;
use super::check::{is_token, unalterable, wrong};

/// How requests of one session are known, and how long it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPersistence {
    /// Where clients keep it.
    pub kind: SessionKind,
    /// The name of the cookie or header; absent: `lath-` and the digits of the rule's id.
    pub name: Option<String>,
    /// A session ends this long after it began.
    pub absolute_timeout: Option<Duration>,
    /// A session ends when it is not used for this long.
    pub idle_timeout: Option<Duration>,
    /// Whether clients keep the cookie when they end.
    pub permanent: bool,
    /// Whether it holds to the group of the target, whatever the rule's weights say.
    pub target_group: bool,
    /// What cookies are sealed with: the same in all regions and in all rules of the service, for as long as one of them has
    /// sessions.
    pub key: SessionKey,
}

/// Where clients keep a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionKind {
    /// In a cookie.
    Cookie,
    /// In a header, which they send as responses have it.
    Header,
}

/// A key as base64 of 32 bytes. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionKey(pub String);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// Of a session's name.
const LONGEST_NAME: usize = 64;
/// Of session timeouts.
pub const SESSIONS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(604_800));

impl SessionPersistence {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if let Some(name) = &self.name {
            let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_token);
            if !fits {
                return wrong(
                    "sessionPersistence.sessionName",
                    format!(
                        "{name:?} is no name of a cookie or header of up to {LONGEST_NAME} characters"
                    ),
                );
            }
            let is_taken =
                name.eq_ignore_ascii_case("cookie") || name.eq_ignore_ascii_case("set-cookie");
            if self.kind == SessionKind::Header && (is_taken || unalterable(name).is_some()) {
                return wrong(
                    "sessionPersistence.sessionName",
                    format!("{name:?} is a header with another meaning"),
                );
            }
        }
        for (name, timeout) in [
            ("absoluteTimeout", self.absolute_timeout),
            ("idleTimeout", self.idle_timeout),
        ] {
            if timeout.is_some_and(|it| it < SESSIONS.0 || it > SESSIONS.1) {
                return wrong(
                    format!("sessionPersistence.{name}"),
                    "give a duration from 1s to 168h",
                );
            }
        }
        if self.permanent && self.kind == SessionKind::Header {
            return wrong(
                "sessionPersistence.cookieConfig",
                "a session in a header has no cookie",
            );
        }
        if self.permanent && self.absolute_timeout.is_none() {
            return wrong(
                "sessionPersistence.absoluteTimeout",
                "a permanent cookie needs it",
            );
        }
        match self.key.0.len() {
            44 => Ok(()),
            _ => wrong("sessionPersistence", "its key is none"),
        }
    }
}
