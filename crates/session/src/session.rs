//! Sessions: the contents of a token, and a cache of opened tokens.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Purpose, SealingKey};

/// The contents of a session token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// `ASIA...`.
    pub key: String,
    /// The secret access key.
    pub secret: String,
    /// The time of issue.
    pub issued: Timestamp,
    /// The time of expiry.
    pub expires: Timestamp,
    /// The holder.
    pub holder: Holder,
    /// Inline session policy.
    pub policy: Option<String>,
    /// Managed session policies.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// The keys of tags that pass on to a chained session.
    pub transitive: Vec<String>,
    /// The source identity that the caller set when it assumed the role.
    pub source_identity: Option<String>,
    /// The instance for which EC2 assumed the role.
    #[serde(default)]
    pub instance: Option<SourceInstance>,
    /// The condition keys that the identity provider gave the session whose token it was made for.
    #[serde(default)]
    pub federation: BTreeMap<String, String>,
}

/// The instance that received a session's keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct SourceInstance {
    /// Its ARN.
    pub arn: String,
    /// The VPC it is in.
    pub vpc: String,
    /// Its primary private address.
    pub private_ip: Option<String>,
}

impl SourceInstance {
    /// The condition keys of this instance, with values
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("ec2:SourceInstanceARN", self.arn.clone()),
            ("aws:Ec2InstanceSourceVpc", self.vpc.clone()),
        ];
        let ip = self.private_ip.clone();
        facts.extend(ip.map(|ip| ("aws:Ec2InstanceSourcePrivateIPv4", ip)));
        facts
    }
}

/// The holder of a session. Unique ids distinguish it from a later principal with the same name.
#[derive(Clone, Serialize, Deserialize)]
pub enum Holder {
    /// The account's root.
    Root,
    /// A user.
    User {
        /// `AIDA...`.
        unique_id: String,
    },
    /// A role.
    Role {
        /// Its name.
        name: String,
        /// `AROA...`.
        unique_id: String,
        /// The session's name.
        session: String,
    },
}

impl Session {
    /// The session as a token.
    pub fn seal(&self, key: &SealingKey) -> String {
        let plain = serde_json::to_vec(self).expect("plain data always serialises");
        key.seal(Purpose::Session, &plain)
    }

    fn open(key: &SealingKey, token: &str) -> Option<Self> {
        serde_json::from_slice(&key.open(Purpose::Session, token)?).ok()
    }
}

/// The number of cached sessions at most.
const MOST: usize = 10_000;

/// A cache of sessions by key, with their tokens: a request opens its token once, and its handlers find the session.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, (String, Arc<Session>)>>);

impl Sessions {
    /// The session of a key and token; `None` when they do not belong together or the token is not from this
    /// installation. Whether it has ended is for the caller to judge; `now` only tells which sessions to forget first.
    pub fn open(
        &self,
        key: &SealingKey,
        id: &str,
        token: &str,
        now: Timestamp,
    ) -> Option<Arc<Session>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((had, session)) = known.get(id)
            && had == token
        {
            return Some(Arc::clone(session));
        }
        let session = Session::open(key, token).filter(|session| session.key == id)?;
        if known.len() >= MOST {
            known.retain(|_, (_, session)| session.expires > now);
            if known.len() >= MOST {
                known.clear();
            }
        }
        let session = Arc::new(session);
        known.insert(id.to_owned(), (token.to_owned(), Arc::clone(&session)));
        Some(session)
    }

    /// The cached session of a verified key.
    pub fn of(&self, id: &str) -> Option<Arc<Session>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map(|(_, session)| Arc::clone(session))
    }
}
