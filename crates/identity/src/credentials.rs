use lath_wire::Principal;

use crate::{RootKey, Secret};

/// The identities of an account: today its root, with one key.
#[derive(Debug, Clone)]
pub struct Identity {
    account: String,
    key: RootKey,
}

impl Identity {
    /// An account of twelve digits and its root key.
    pub fn new(key: RootKey, account: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            key,
        }
    }

    /// Twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The key that the owner of the machine signs with.
    pub fn root_key(&self) -> &RootKey {
        &self.key
    }

    /// The secret and the owner of an access key; `None` when nobody has it.
    pub fn lookup(&self, access_key_id: &str) -> Option<(Secret, Principal)> {
        (access_key_id == self.key.access_key_id)
            .then(|| (self.key.secret_access_key.clone(), self.root()))
    }

    /// The account's root. Its user id is the account itself, as
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html> shows it.
    pub fn root(&self) -> Principal {
        Principal {
            arn: format!("arn:aws:iam::{}:root", self.account),
            user_id: self.account.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_key_is_known() {
        let key = RootKey::random().unwrap();
        let identity = Identity::new(key.clone(), "123456789012");
        let (secret, principal) = identity.lookup(&key.access_key_id).unwrap();
        assert_eq!(secret, key.secret_access_key);
        assert_eq!(principal.arn, "arn:aws:iam::123456789012:root");
        assert_eq!(identity.lookup("AKIAIOSFODNN7EXAMPLE"), None);
        assert_eq!(identity.lookup(""), None);
    }
}
