use std::sync::Arc;

use lath_feed::TemporaryKeys;
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

/// That an instance has an instance profile. An instance has at most one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileAssociation {
    /// Such as `iip-assoc-0123456789abcdef0`.
    pub id: String,
    /// The instance.
    pub instance: InstanceId,
    /// The profile's name.
    pub profile: String,
    /// Its ARN.
    pub profile_arn: String,
    /// `AIPA...`: a profile of the same name that is made later is another one.
    pub profile_id: String,
    /// The role's name, where a service of AWS's gave the instance a profile of its own, which the account does not have.
    #[serde(default)]
    pub service_role: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When the role or its keys last changed.
    pub updated: Timestamp,
    /// The profile's role: its name.
    pub role: Option<String>,
    /// Keys of the role; `None` when there is no role, or EC2 may not assume it.
    pub session: Option<RoleSession>,
}

/// A session of a role that EC2 assumed for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSession {
    /// `AROA...`: a role of the same name that is made later is another one.
    pub role_id: String,
    /// When it began.
    pub issued: Timestamp,
    /// Its keys. They do not print.
    pub keys: TemporaryKeys,
}

impl Record for ProfileAssociation {
    const KIND: &'static str = "ec2.profile-association";
    fn id(&self) -> String {
        self.id.clone()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("instance", self.instance.to_string())]
    }
}

impl ProfileAssociation {
    /// The association of an instance.
    pub fn of_instance(view: &View, instance: &super::Instance) -> Option<Arc<Self>> {
        view.by::<Self>("instance", instance.id.as_str()).next()
    }
}
