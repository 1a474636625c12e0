//! Sessions: what a token says, and which were seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Purpose, SealingKey};

/// What is sealed into a session token: all that a region needs to know, so that none has to be asked.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// `ASIA...`.
    pub key: String,
    /// The secret access key.
    pub secret: String,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Whose it is.
    pub holder: Holder,
    /// Inline session policy.
    pub policy: Option<String>,
    /// Managed session policies.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// Those of the tags that a further session keeps.
    pub transitive: Vec<String>,
    /// Who the caller said to be, before it took the role.
    pub source_identity: Option<String>,
    /// The instance that EC2 took the role for.
    #[serde(default)]
    pub instance: Option<SourceInstance>,
}

/// The instance that a session's keys were handed to.
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
    /// What conditions of policies may ask about it: keys and values
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

/// Whose session it is. Unique ids make sure that a namesake made later is somebody else.
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
    /// The token.
    pub fn seal(&self, key: &SealingKey) -> String {
        let plain = serde_json::to_vec(self).expect("plain data always serialises");
        key.seal(Purpose::Session, &plain)
    }

    fn open(key: &SealingKey, token: &str) -> Option<Self> {
        serde_json::from_slice(&key.open(Purpose::Session, token)?).ok()
    }
}

/// Most sessions that are remembered.
const MOST: usize = 10_000;

/// Sessions by key, with their tokens: opened once, found again by the handlers of a request.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, (String, Arc<Session>)>>);

impl Sessions {
    /// The session of a key and token; `None` when they do not belong together or are not ours.
    pub fn open(&self, key: &SealingKey, id: &str, token: &str) -> Option<Arc<Session>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((had, session)) = known.get(id)
            && had == token
        {
            return Some(Arc::clone(session));
        }
        let session = Session::open(key, token).filter(|session| session.key == id)?;
        if known.len() >= MOST {
            let now = Timestamp::now();
            known.retain(|_, (_, session)| session.expires > now);
            if known.len() >= MOST {
                known.clear();
            }
        }
        let session = Arc::new(session);
        known.insert(id.to_owned(), (token.to_owned(), Arc::clone(&session)));
        Some(session)
    }

    /// The session of a key that was just proved.
    pub fn of(&self, id: &str) -> Option<Arc<Session>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map(|(_, session)| Arc::clone(session))
    }
}
