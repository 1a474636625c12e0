//! Passwords of the image registry: what a caller proved once by a signature, sealed for OCI clients, which cannot sign.

use std::net::IpAddr;
use std::time::Duration;

use lath_model::Timestamp;
use lath_session::Purpose;
use lath_sigv4::Credentials as _;
use lath_wire::Caller;
use serde::{Deserialize, Serialize};

use crate::Judge;

/// The service that requests with a password are for.
const SERVICE: &str = "ecr";

#[derive(Serialize, Deserialize)]
struct Password {
    key: String,
    session: Option<String>,
    expires: Timestamp,
}

impl Judge {
    /// A password with which OCI clients act as this caller, and when it ends: after `life`, or with the caller's session;
    /// `None` if that session is not known any more. A key that is deactivated takes its passwords along.
    pub fn registry_login(&self, caller: &Caller, life: Duration) -> Option<(String, Timestamp)> {
        let mut expires = self.now().plus(life);
        let mut session = None;
        if caller.access_key_id.starts_with("ASIA") {
            let of_caller = self.sessions.of(&caller.access_key_id)?;
            expires = expires.min(of_caller.expires);
            session = Some(of_caller.seal(&self.seal));
        }
        let password = Password {
            key: caller.access_key_id.clone(),
            session,
            expires,
        };
        let plain = serde_json::to_vec(&password).expect("plain data always serialises");
        Some((self.seal.seal(Purpose::Registry, &plain), expires))
    }

    /// Who has this password; `None` if it is none, or counts no more.
    pub fn registry_caller(
        &self,
        password: &str,
        region: &str,
        source: Option<IpAddr>,
    ) -> Option<Caller> {
        let plain = self.seal.open(Purpose::Registry, password)?;
        let password: Password = serde_json::from_slice(&plain).ok()?;
        if password.expires <= self.now() {
            return None;
        }
        let owner = self.lookup(&password.key, password.session.as_deref());
        let owner = owner.ok()?.owner;
        Some(Caller {
            account: owner.account,
            region: region.to_owned(),
            service: SERVICE.to_owned(),
            principal: owner.principal,
            access_key_id: password.key,
            request_id: uuid::Uuid::new_v4().to_string(),
            source_ip: source,
            from_vpc: None,
        })
    }

    /// A text that proves that this installation made it.
    pub fn registry_seal(&self, plain: &str) -> String {
        self.seal.seal(Purpose::Registry, plain.as_bytes())
    }

    /// What was sealed.
    pub fn registry_open(&self, sealed: &str) -> Option<String> {
        String::from_utf8(self.seal.open(Purpose::Registry, sealed)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_secrets::RootKey;

    #[test]
    fn a_password_is_its_callers_until_it_ends() {
        let judge = Judge::new(RootKey::random().unwrap(), "123456789012");
        let key = judge.root_key().access_key_id.clone();
        let mut caller = Caller::nobody("us-east-1", "ecr", "id", None);
        caller.access_key_id = key.clone();
        let life = Duration::from_secs(3600);
        let (password, _) = judge.registry_login(&caller, life).unwrap();
        let known = judge.registry_caller(&password, "us-east-1", None);
        let known = known.unwrap();
        assert_eq!(known.principal, judge.root());
        assert_eq!((known.access_key_id, known.service), (key, "ecr".into()));
        let ended = judge.registry_login(&caller, Duration::ZERO).unwrap().0;
        let ticket = judge.registry_seal("1 /v2/");
        for other in ["", "x", &ended, &ticket] {
            assert!(judge.registry_caller(other, "r", None).is_none());
        }
        assert_eq!(judge.registry_open(&ticket).as_deref(), Some("1 /v2/"));
        caller.access_key_id = "ASIANOBODY".into();
        assert!(judge.registry_login(&caller, life).is_none());
    }
}
