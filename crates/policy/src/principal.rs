/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// An unauthenticated caller.
    Anonymous,
    /// An account's root user.
    Root {
        /// Twelve digits.
        account: String,
        /// `arn:PARTITION:iam::ACCOUNT:root`.
        arn: String,
    },
    /// A user.
    User {
        /// Twelve digits.
        account: String,
        /// `arn:PARTITION:iam::ACCOUNT:user/PATH/NAME`.
        arn: String,
    },
    /// A session of a role.
    Session {
        /// Twelve digits.
        account: String,
        /// `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
        role: String,
        /// `arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION`.
        arn: String,
    },
    /// A service, such as `ec2.amazonaws.com`.
    Service(String),
    /// An identity provider: its ARN or its name.
    Federated(String),
}

impl Principal {
    /// An account's root user.
    pub fn root(account: impl Into<String>, arn: impl Into<String>) -> Self {
        Self::Root {
            account: account.into(),
            arn: arn.into(),
        }
    }

    /// A user.
    pub fn user(account: impl Into<String>, arn: impl Into<String>) -> Self {
        Self::User {
            account: account.into(),
            arn: arn.into(),
        }
    }

    /// A session of a role.
    pub fn session(
        account: impl Into<String>,
        role: impl Into<String>,
        arn: impl Into<String>,
    ) -> Self {
        Self::Session {
            account: account.into(),
            role: role.into(),
            arn: arn.into(),
        }
    }

    /// The account, if it belongs to one.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Root { account, .. }
            | Self::User { account, .. }
            | Self::Session { account, .. } => Some(account),
            Self::Anonymous | Self::Service(_) | Self::Federated(_) => None,
        }
    }

    /// The ARN (or name) for messages.
    pub fn arn(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::Root { arn, .. } | Self::User { arn, .. } | Self::Session { arn, .. } => {
                arn.clone()
            }
            Self::Service(name) | Self::Federated(name) => name.clone(),
        }
    }

    /// The value of `aws:PrincipalType`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "Anonymous",
            Self::Root { .. } => "Account",
            Self::User { .. } => "User",
            Self::Session { .. } => "AssumedRole",
            Self::Service(_) => "Service",
            Self::Federated(_) => "FederatedUser",
        }
    }
}

/// How closely a statement names the principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Not at all.
    No,
    /// By its account, whose identity policies must also allow.
    Account,
    /// By the role of the session: boundaries and session policies still limit it.
    Role,
    /// By itself, or by `*`.
    Exact,
}

/// The value of `Principal` or `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrincipalSet {
    pub(crate) everybody: bool,
    /// Account ids, ARNs, unique ids.
    pub(crate) aws: Vec<String>,
    pub(crate) services: Vec<String>,
    pub(crate) federated: Vec<String>,
}

impl PrincipalSet {
    /// How closely the set names `who`.
    pub fn names(&self, who: &Principal) -> Match {
        if self.everybody {
            return Match::Exact;
        }
        let exact = |hit: bool| if hit { Match::Exact } else { Match::No };
        match who {
            Principal::Anonymous => Match::No,
            Principal::Service(name) => exact(self.services.contains(name)),
            Principal::Federated(name) => exact(self.federated.contains(name)),
            Principal::Root { account, arn } => exact(self.has_account(account, arn)),
            Principal::User { account, arn } => self.closest(account, arn, None),
            Principal::Session { account, role, arn } => self.closest(account, arn, Some(role)),
        }
    }

    /// The ARNs, account ids and unique ids of `AWS`.
    pub fn aws(&self) -> &[String] {
        &self.aws
    }

    /// The ARNs and names of `Federated`.
    pub fn federated(&self) -> &[String] {
        &self.federated
    }

    fn closest(&self, account: &str, arn: &str, role: Option<&String>) -> Match {
        if self.aws.iter().any(|named| named == arn) {
            Match::Exact
        } else if role.is_some_and(|role| self.aws.contains(role)) {
            Match::Role
        } else if self.has_account(account, arn) {
            Match::Account
        } else {
            Match::No
        }
    }

    /// Whether the set names the account by its number or its root. The number counts in any partition; the
    /// root's ARN must have the partition of the principal's `arn`.
    fn has_account(&self, account: &str, arn: &str) -> bool {
        let partition = arn.split(':').nth(1).unwrap_or_default();
        let mut named = self.aws.iter();
        named.any(|named| named == account || root(partition, named) == Some(account))
    }
}

/// The account of a root's ARN in this partition.
fn root<'a>(partition: &str, arn: &'a str) -> Option<&'a str> {
    let rest = arn.strip_prefix("arn:")?.strip_prefix(partition)?;
    rest.strip_prefix(":iam::")?.strip_suffix(":root")
}
