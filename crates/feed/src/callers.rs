//! Who may sign requests to Lattice services, and what they may do: all that a node needs to decide without
//! asking anybody.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A secret as text. It does not print, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden(pub String);

impl Drop for Hidden {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// The keys that an installation makes for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallationKeys {
    /// The id of the account's root key.
    pub root_id: String,
    /// The root key's secret.
    pub root_secret: Hidden,
    /// What seals session tokens: base64 of 32 bytes.
    pub sealing: Hidden,
}

/// The callers that signatures prove. Empty while nothing in the snapshot has the auth type `AWS_IAM`: a
/// node gets secrets only when it needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerBook {
    /// The installation's own keys.
    pub installation: Option<InstallationKeys>,
    /// Active access keys of users, by id.
    pub keys: BTreeMap<String, UserKey>,
    /// Users by unique id (`AIDA...`).
    pub users: BTreeMap<String, KnownCaller>,
    /// Roles by unique id (`AROA...`), whose sessions call.
    pub roles: BTreeMap<String, KnownCaller>,
    /// Documents in force of the account's managed policies, and of AWS's that somebody holds, by ARN. Sessions
    /// may name any of the account's.
    pub managed: BTreeMap<String, String>,
}

/// A long-lived access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserKey {
    /// The secret access key.
    pub secret: Hidden,
    /// The user's unique id.
    pub user: String,
}

/// A user or a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownCaller {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// ARNs of the managed policies that it holds, groups' included. One that is not among the documents
    /// allows nothing.
    pub attached: Vec<String>,
    /// Its own documents, and its groups'.
    pub inline: Vec<String>,
    /// The managed policy that limits the others.
    pub boundary: Option<String>,
}
