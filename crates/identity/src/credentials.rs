use lath_sigv4::{Credential, Credentials, LookupError};
use lath_wire::Principal;
use lath_wire::http::KeyOwner;

use crate::RootKey;

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

    /// The account's root. Its user id is the account itself, as
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html> shows it.
    pub fn root(&self) -> Principal {
        Principal {
            arn: format!("arn:aws:iam::{}:root", self.account),
            user_id: self.account.clone(),
        }
    }
}

impl Credentials for Identity {
    type Owner = KeyOwner;

    /// The root key has no session: a token with it is somebody else's.
    fn lookup(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Credential<KeyOwner>, LookupError> {
        if access_key_id != self.key.access_key_id {
            return Err(LookupError::UnknownKey);
        }
        if session_token.is_some() {
            return Err(LookupError::BadToken);
        }
        Ok(Credential {
            secret: self.key.secret_access_key.clone(),
            owner: KeyOwner {
                account: self.account.clone(),
                principal: self.root(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_key_is_known_and_without_a_session() {
        let key = RootKey::random().unwrap();
        let identity = Identity::new(key.clone(), "123456789012");
        let found = identity.lookup(&key.access_key_id, None).unwrap();
        assert_eq!(found.secret.reveal(), key.secret_access_key.reveal());
        let arn = found.owner.principal.arn;
        assert_eq!(arn, "arn:aws:iam::123456789012:root");
        for (id, token, want) in [
            ("AKIAIOSFODNN7EXAMPLE", None, LookupError::UnknownKey),
            ("", None, LookupError::UnknownKey),
            (key.access_key_id.as_str(), Some("t"), LookupError::BadToken),
        ] {
            assert_eq!(identity.lookup(id, token).unwrap_err(), want, "{id:?}");
        }
    }
}
