use std::sync::Arc;

use lath_wire::{ApiError, Caller, Handle, Operation, Protocol, Service, ServiceInfo};
use serde::{Deserialize, Serialize};

use crate::Identity;

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "sts",
    model: "sts",
    version: "2011-06-15",
    xmlns: "https://sts.amazonaws.com/doc/2011-06-15/",
    target_prefix: "",
    protocols: &[Protocol::Query],
};

/// The Security Token Service.
pub fn sts_service(app: &Arc<Identity>) -> Service {
    Service::new(INFO).on::<GetCallerIdentity>(app)
}

/// Who signed this request. Needs no permission.
#[derive(Debug, Clone, Deserialize)]
pub struct GetCallerIdentity {}

/// The answer of [`GetCallerIdentity`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallerIdentity {
    /// The account for a root, `AIDA...` for a user, `AROA...:session` for a role.
    pub user_id: Option<String>,
    /// Twelve digits.
    pub account: Option<String>,
    /// The principal.
    pub arn: Option<String>,
}

impl Operation for GetCallerIdentity {
    const NAME: &'static str = "GetCallerIdentity";
    type Output = CallerIdentity;
}

impl Handle<GetCallerIdentity> for Identity {
    async fn handle(
        &self,
        caller: &Caller,
        _op: GetCallerIdentity,
    ) -> Result<CallerIdentity, ApiError> {
        Ok(CallerIdentity {
            user_id: Some(caller.principal.user_id.clone()),
            account: Some(caller.account.clone()),
            arn: Some(caller.principal.arn.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RootKey;

    #[tokio::test]
    async fn root_sees_itself() {
        let identity = Identity::new(RootKey::random().unwrap(), "123456789012");
        let caller = Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "sts".into(),
            principal: identity.root(),
            access_key_id: identity.root_key().access_key_id.clone(),
            request_id: "r".into(),
            source_ip: None,
        };
        let answer = identity
            .handle(&caller, GetCallerIdentity {})
            .await
            .unwrap();
        assert_eq!(answer.user_id.as_deref(), Some("123456789012"));
        assert_eq!(answer.account.as_deref(), Some("123456789012"));
        let arn = answer.arn.as_deref();
        assert_eq!(arn, Some("arn:aws:iam::123456789012:root"));
    }
}
