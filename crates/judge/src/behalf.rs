//! In whose name a service of this process acts: for who asked it to, or with a role of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_iam::records::Role;
use lath_iam::{trusts_service, unique};
use lath_service::App as _;
use lath_session::{Holder, Session};
use lath_wire::{ApiError, Caller, Principal};

use crate::Judge;

/// How long a service uses one session of its role.
const LIFE: Duration = Duration::from_secs(3600);

impl Judge {
    /// The token of a caller's session, sealed as the caller holds it; `None` for one with a long-lived key. With it
    /// [`Self::recalls`] knows the session again after a restart.
    pub fn session_token(&self, caller: &Caller) -> Option<String> {
        let session = self.sessions.of(&caller.access_key_id)?;
        Some(session.seal(&self.seal))
    }

    /// Whether a session is in force; from now on it is known by its access key.
    pub fn recalls(&self, access_key_id: &str, token: &str) -> bool {
        let session = self
            .sessions
            .open(&self.seal, access_key_id, token, self.now());
        session.is_some_and(|it| it.expires > self.now())
    }

    /// The unique id of a role that trusts a service now.
    ///
    /// # Errors
    /// There is no such role, or it does not trust the service.
    pub fn trusted(&self, service: &str, role_arn: &str) -> Result<String, ApiError> {
        self.trusting(service, role_arn)
            .map(|it| it.unique_id.clone())
    }

    fn trusting(&self, service: &str, role_arn: &str) -> Result<Arc<Role>, ApiError> {
        let role = self.role_by_arn(&self.view(), role_arn);
        let role = role.filter(|it| trusts_service(self.owner(), it, service, "sts:AssumeRole"));
        role.ok_or_else(|| {
            let text = format!("Role {role_arn} is invalid or cannot be assumed");
            ApiError::new("ValidationError", 400, text)
        })
    }

    /// A new session of a role for a service that the role trusts: its principal, access key and token.
    ///
    /// # Errors
    /// There is no such role, or it does not trust the service.
    pub fn assume_for(
        &self,
        service: &str,
        role_arn: &str,
        session: &str,
    ) -> Result<(Principal, String, String), ApiError> {
        let role = self.trusting(service, role_arn)?;
        let now = self.now();
        let held = Session {
            key: unique::access_key_id("ASIA"),
            secret: unique::secret(),
            issued: now,
            expires: now.plus(LIFE),
            holder: Holder::Role {
                name: role.name.clone(),
                unique_id: role.unique_id.clone(),
                session: session.to_owned(),
            },
            policy: None,
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive: Vec::new(),
            source_identity: None,
            instance: None,
            federation: BTreeMap::new(),
        };
        let token = held.seal(&self.seal);
        self.sessions.open(&self.seal, &held.key, &token, now);
        let principal = Principal {
            arn: self
                .owner()
                .arn("sts", format!("assumed-role/{}/{session}", role.name)),
            user_id: format!("{}:{session}", role.unique_id),
        };
        Ok((principal, held.key, token))
    }
}
