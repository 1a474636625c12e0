//! Passwords of clients of the registry, and tickets for single blobs.

use std::net::IpAddr;
use std::time::Duration;

use lath_model::Timestamp;
use lath_wire::{Authorize, Caller};

/// How long a password counts.
pub(crate) const PASSWORD_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long a blob's address counts.
pub(crate) const TICKET_LIFE: Duration = Duration::from_secs(3600);

/// A password that was made.
#[derive(Clone)]
pub struct Login {
    /// The password.
    pub password: String,
    /// When it ends to count.
    pub expires: Timestamp,
}

/// Makes passwords and finds out whose they are. Identities are another service's.
pub trait Logins: Send + Sync + 'static {
    /// A password with which OCI clients act as this caller, for at most so long; `None` if the caller's session is not
    /// known any more.
    fn login(&self, caller: &Caller, life: Duration) -> Option<Login>;

    /// Who has this password, for requests to a service in a region; `None` if it is none, or counts no more.
    fn caller(&self, password: &str, region: &str, source: Option<IpAddr>) -> Option<Caller>;

    /// A text that proves that this server made it.
    fn seal(&self, plain: &str) -> String;

    /// What was sealed.
    fn open(&self, sealed: &str) -> Option<String>;

    /// Who decides what callers may do.
    fn judge(&self) -> &dyn Authorize;
}

/// The client that a caller is where clients have shares: all sessions of a role are one, since callers name their sessions.
pub(crate) fn client(caller: &Caller) -> String {
    let id = &caller.principal.user_id;
    id.split_once(':')
        .map_or(id.as_str(), |(id, _)| id)
        .to_owned()
}
