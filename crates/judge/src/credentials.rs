use std::sync::Arc;

use lath_clock::Clock;
use lath_control::Cell;
use lath_iam::records::{AccessKey, Role, User};
use lath_iam::{Directory, LastUsed};
use lath_model::{Owner, Partition, Timestamp};
use lath_secrets::{RootKey, SealingKey};
use lath_service::App;
use lath_session::{Holder, Session, Sessions};
use lath_sigv4::{Credential, Credentials, LookupError, Secret};
use lath_store::View;
use lath_wire::{KeyOwner, Principal};

/// Knows the identities of an account, its root and the users and roles in IAM, and judges their calls.
pub struct Judge {
    account: String,
    partition: Partition,
    clock: Clock,
    key: RootKey,
    pub(crate) seal: SealingKey,
    pub(crate) cell: Option<Cell>,
    pub(crate) last_used: Arc<LastUsed>,
    pub(crate) directory: Directory,
    pub(crate) sessions: Sessions,
    pub(crate) resource_policy: Option<ResourcePolicy>,
}

/// The policy of the resource that an ARN names, where it has one.
pub type ResourcePolicy = fn(&View, &str) -> Option<String>;

impl Judge {
    /// An account (twelve digits) in the partition `aws` with its root key, without users and roles. It goes by
    /// the machine's clock until it gets the users and roles of a cell, and with them the cell's.
    pub fn new(key: RootKey, account: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            partition: Partition::default(),
            clock: Clock::system(),
            key,
            seal: SealingKey::random(),
            cell: None,
            last_used: Arc::default(),
            directory: Directory::default(),
            sessions: Sessions::default(),
            resource_policy: None,
        }
    }

    /// Sets where the policies of resources are looked up, which are judged together with those of the caller.
    #[must_use]
    pub fn with_resource_policies(mut self, find: ResourcePolicy) -> Self {
        self.resource_policy = Some(find);
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn in_partition(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self
    }

    /// Adds the users and roles in a cell's state, in its partition and by its clock, and sessions sealed with the installation's key.
    #[must_use]
    pub fn with_iam(mut self, seal: SealingKey, cell: Cell) -> Self {
        self.seal = seal;
        self.partition = cell.partition();
        self.clock = cell.db.clock().clone();
        self.cell = Some(cell);
        self
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The key that seals the tokens of sessions.
    pub fn seal(&self) -> &SealingKey {
        &self.seal
    }

    /// The policies in IAM, read once each.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The last use of each key in this process.
    pub fn last_used(&self) -> Arc<LastUsed> {
        Arc::clone(&self.last_used)
    }

    /// The account: twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The account in its partition.
    pub fn owner(&self) -> Owner<'_> {
        Owner {
            partition: self.partition,
            account: &self.account,
        }
    }

    /// The root access key, for the owner of the machine.
    pub fn root_key(&self) -> &RootKey {
        &self.key
    }

    /// The account's root. Its user id is the account id, as in
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>.
    pub fn root(&self) -> Principal {
        Principal {
            arn: self.owner().arn("iam", "root"),
            user_id: self.account.clone(),
        }
    }

    fn owned(&self, secret: Secret, principal: Principal) -> Credential<KeyOwner> {
        Credential {
            secret,
            owner: KeyOwner {
                account: self.account.clone(),
                principal,
            },
        }
    }

    fn of_user(&self, user: &User) -> Principal {
        Principal {
            arn: user.arn(self.owner()),
            user_id: user.unique_id.clone(),
        }
    }

    fn long_lived(&self, id: &str) -> Option<Credential<KeyOwner>> {
        let view = self.view();
        let key = view.get::<AccessKey>(id).filter(|key| key.active)?;
        let user = self.directory.user(&view, &key.user)?;
        Some(self.owned(Secret::new(key.secret.clone()), self.of_user(&user)))
    }

    fn temporary(&self, id: &str, token: &str) -> Result<Credential<KeyOwner>, LookupError> {
        let now = self.now();
        let session = self
            .sessions
            .open(&self.seal, id, token, now)
            .ok_or(LookupError::BadToken)?;
        if session.expires <= now {
            return Err(LookupError::ExpiredToken);
        }
        let principal = self.of_session(&session).ok_or(LookupError::UnknownKey)?;
        Ok(self.owned(Secret::new(session.secret.clone()), principal))
    }

    /// The principal of a session; `None` when its user or role was deleted.
    fn of_session(&self, session: &Session) -> Option<Principal> {
        match &session.holder {
            Holder::Root => Some(self.root()),
            Holder::User { unique_id } => {
                let user = self.user_by_id(&self.view(), unique_id)?;
                Some(self.of_user(&user))
            }
            Holder::Role {
                name,
                unique_id,
                session,
            } => {
                let role = self.role_by_id(&self.view(), name, unique_id)?;
                let resource = format!("assumed-role/{}/{session}", role.name);
                Some(Principal {
                    arn: self.owner().arn("sts", resource),
                    user_id: format!("{unique_id}:{session}"),
                })
            }
        }
    }

    pub(crate) fn user_by_id(&self, view: &View, unique_id: &str) -> Option<Arc<User>> {
        view.list::<User>().find(|user| user.unique_id == unique_id)
    }

    pub(crate) fn role_by_id(&self, view: &View, name: &str, unique_id: &str) -> Option<Arc<Role>> {
        let role = self.directory.role(view, name);
        role.filter(|role| role.unique_id == unique_id)
    }
}

impl App for Judge {
    fn view(&self) -> Arc<View> {
        match &self.cell {
            Some(cell) => cell.db.view(),
            None => Arc::default(),
        }
    }
}

impl Credentials for Judge {
    type Owner = KeyOwner;

    /// Only keys that begin with `ASIA` have a session: a token with another key is invalid.
    fn lookup(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Credential<KeyOwner>, LookupError> {
        match session_token {
            Some(token) if access_key_id.starts_with("ASIA") => {
                self.temporary(access_key_id, token)
            }
            Some(_) => Err(LookupError::BadToken),
            None if access_key_id == self.key.access_key_id => {
                Ok(self.owned(self.key.secret_access_key.clone(), self.root()))
            }
            None => self
                .long_lived(access_key_id)
                .ok_or(LookupError::UnknownKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_key_is_known_and_without_a_session() {
        let key = RootKey::random().unwrap();
        let judge = Judge::new(key.clone(), "123456789012");
        let found = judge.lookup(&key.access_key_id, None).unwrap();
        assert_eq!(found.secret.reveal(), key.secret_access_key.reveal());
        let arn = found.owner.principal.arn;
        assert_eq!(arn, "arn:aws:iam::123456789012:root");
        for (id, token, want) in [
            ("AKIAIOSFODNN7EXAMPLE", None, LookupError::UnknownKey),
            ("", None, LookupError::UnknownKey),
            (key.access_key_id.as_str(), Some("t"), LookupError::BadToken),
            ("ASIAIOSFODNN7EXAMPLE", Some("t"), LookupError::BadToken),
        ] {
            assert_eq!(judge.lookup(id, token).unwrap_err(), want, "{id:?}");
        }
    }
}
