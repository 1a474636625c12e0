//! What is stored. Names are unique without regard to case, so ids are names in lower case.

use std::collections::{BTreeMap, BTreeSet};

use lath_model::{Owner, Timestamp};
use lath_store::{Kinds, Record};
use serde::{Deserialize, Serialize};

/// Keys and values, as AWS's tags are.
pub type Tags = BTreeMap<String, String>;

/// The policies of a role, user or group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
    /// Documents by name.
    pub inline: BTreeMap<String, String>,
    /// The managed policy that limits the others; groups have none.
    pub boundary: Option<String>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// `AROA...`, never used again.
    pub unique_id: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Free text.
    pub description: Option<String>,
    /// Who may assume it, as it was written: [`crate::trust_in_force`] is what counts.
    pub trust: String,
    /// The unique ids of the users and roles that it names, by what named them when it was saved.
    #[serde(default)]
    pub trusted: BTreeMap<String, String>,
    /// Longest session, in seconds: 3600 to 43200.
    pub max_session: u32,
    /// What it may do.
    pub policies: Policies,
    /// Its tags.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// `AIDA...`, never used again.
    pub unique_id: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// What it may do.
    pub policies: Policies,
    /// The groups it is in, by id (name in lower case).
    pub groups: BTreeSet<String>,
    /// Its tags.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// `AGPA...`, never used again.
    pub unique_id: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// What its users may do.
    pub policies: Policies,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A user's access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// `AKIA...`.
    pub id: String,
    /// 40 characters.
    pub secret: String,
    /// The user's name.
    pub user: String,
    /// Whether it may be used.
    pub active: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A managed policy of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// `ANPA...`, never used again.
    pub unique_id: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Free text.
    pub description: Option<String>,
    /// Documents by version number; at most five.
    pub versions: BTreeMap<u32, Version>,
    /// The version in force.
    pub default: u32,
    /// The next version's number.
    pub next: u32,
    /// Its tags.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The document.
    pub document: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What hands a role to instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceProfile {
    /// Its name.
    pub name: String,
    /// `AIPA...`, never used again.
    pub unique_id: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// The role's name.
    pub role: Option<String>,
    /// Its tags.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An identity provider that speaks OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcProvider {
    /// Its URL without `https://`: what its tokens say as `iss`.
    pub url: String,
    /// Whom its tokens may be for.
    pub client_ids: Vec<String>,
    /// SHA-1 of certificates that its server may have although no authority vouches for it, in lower case.
    pub thumbprints: Vec<String>,
    /// Its tags.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Record for OidcProvider {
    const KIND: &'static str = "iam.oidc-provider";
    fn id(&self) -> String {
        self.url.clone()
    }
}

impl OidcProvider {
    /// `arn:PARTITION:iam::ACCOUNT:oidc-provider/URL`.
    pub fn arn(&self, owner: Owner<'_>) -> String {
        owner.arn("iam", format!("oidc-provider/{}", self.url))
    }
}

/// The id of a record with this name.
pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

macro_rules! named {
    ($($record:ty = $kind:literal;)*) => {
        $(impl Record for $record {
            const KIND: &'static str = $kind;
            fn id(&self) -> String {
                key(&self.name)
            }
        })*
    };
}

named! {
    Role = "iam.role";
    User = "iam.user";
    Group = "iam.group";
    InstanceProfile = "iam.instance-profile";
}

impl Record for ManagedPolicy {
    const KIND: &'static str = "iam.policy";
    fn id(&self) -> String {
        self.arn.clone()
    }
}

impl Record for AccessKey {
    const KIND: &'static str = "iam.access-key";
    fn id(&self) -> String {
        self.id.clone()
    }
}

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    kinds
        .with::<Role>()
        .with::<User>()
        .with::<Group>()
        .with::<AccessKey>()
        .with::<ManagedPolicy>()
        .with::<InstanceProfile>()
        .with::<OidcProvider>()
}

impl Role {
    /// `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
    pub fn arn(&self, owner: Owner<'_>) -> String {
        owner.arn("iam", format!("role{}{}", self.path, self.name))
    }
}

impl User {
    /// `arn:PARTITION:iam::ACCOUNT:user/PATH/NAME`.
    pub fn arn(&self, owner: Owner<'_>) -> String {
        owner.arn("iam", format!("user{}{}", self.path, self.name))
    }
}

impl Group {
    /// `arn:PARTITION:iam::ACCOUNT:group/PATH/NAME`.
    pub fn arn(&self, owner: Owner<'_>) -> String {
        owner.arn("iam", format!("group{}{}", self.path, self.name))
    }
}

impl InstanceProfile {
    /// `arn:PARTITION:iam::ACCOUNT:instance-profile/PATH/NAME`.
    pub fn arn(&self, owner: Owner<'_>) -> String {
        let Self { path, name, .. } = self;
        owner.arn("iam", format!("instance-profile{path}{name}"))
    }
}

impl ManagedPolicy {
    /// The document in force.
    pub fn document(&self) -> Option<&str> {
        let version = self.versions.get(&self.default)?;
        Some(&version.document)
    }
}
