use std::sync::Arc;

use lath_judge::Judge;
use lath_service::{App, operations};
use lath_session::Purpose;
use lath_store::View;
use lath_wire::{ApiError, Caller, Protocol, Service, ServiceInfo};
use serde::{Deserialize, Serialize};

use crate::{Issuers, PodIdentities, assume_role, web_identity};

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "sts",
    model: "sts",
    version: "2011-06-15",
    xmlns: "https://sts.amazonaws.com/doc/2011-06-15/",
    target_prefix: "",
    protocols: &[Protocol::Query],
};

/// Gives out sessions: the Security Token Service, and EKS Auth for pods.
pub struct Sts {
    pub(crate) judge: Arc<Judge>,
    pub(crate) issuers: Issuers,
    pub(crate) pods: Option<Arc<dyn PodIdentities>>,
}

impl Sts {
    /// Gives out sessions that `judge` knows. It knows no issuers of web identities and no clusters.
    pub fn new(judge: Arc<Judge>) -> Self {
        Self {
            judge,
            issuers: Issuers::default(),
            pods: None,
        }
    }

    /// Sets where the keys of issuers of web identities are found.
    #[must_use]
    pub fn with_issuers(mut self, issuers: Issuers) -> Self {
        self.issuers = issuers;
        self
    }

    /// Sets where clusters and the roles of their service accounts are looked up.
    #[must_use]
    pub fn with_pods(mut self, pods: Arc<dyn PodIdentities>) -> Self {
        self.pods = Some(pods);
        self
    }
}

impl App for Sts {
    fn view(&self) -> Arc<View> {
        self.judge.view()
    }
}

lath_authz::authorized!(Sts, |app| app.view(), app.judge.owner());

/// The Security Token Service.
pub fn sts_service(app: &Arc<Sts>) -> Service {
    let service = Service::new(INFO)
        .held_to(&crate::bounds::sts::CONSTRAINTS)
        .validating_first();
    let service = assume_role::register(register(service, app), app);
    web_identity::register(service, app)
}

operations! {
    for Sts as "sts";
    read GetCallerIdentity -> CallerIdentity = caller_identity, caller => free();
    read GetAccessKeyInfo -> AccessKeyInfo = key_info => any();
    read DecodeAuthorizationMessage -> DecodedMessage = decode => any();
}

/// Returns the caller. Needs no permission.
#[derive(Debug, Clone, Deserialize)]
pub struct GetCallerIdentity {}

/// The response of [`GetCallerIdentity`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallerIdentity {
    /// The account for a root, `AIDA...` for a user, `AROA...:session` for a role's session.
    pub user_id: Option<String>,
    /// The account: twelve digits.
    pub account: Option<String>,
    /// The ARN of the principal.
    pub arn: Option<String>,
}

fn caller_identity(
    _app: &Sts,
    _view: &View,
    caller: &Caller,
    _op: &GetCallerIdentity,
) -> Result<CallerIdentity, ApiError> {
    Ok(CallerIdentity {
        user_id: Some(caller.principal.user_id.clone()),
        account: Some(caller.account.clone()),
        arn: Some(caller.principal.arn.clone()),
    })
}

/// Returns the account of an access key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetAccessKeyInfo {
    access_key_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AccessKeyInfo {
    account: Option<String>,
}

/// Every key of this installation belongs to its account. As in AWS, the answer does not show whether the key exists.
fn key_info(app: &Sts, _view: &View, op: &GetAccessKeyInfo) -> Result<AccessKeyInfo, ApiError> {
    let id = &op.access_key_id;
    let known = id.starts_with("AKIA") || id.starts_with("ASIA");
    let fits = (16..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if !known || !fits {
        let text = "The access key ID is not valid.";
        return Err(ApiError::new("ValidationError", 400, text));
    }
    Ok(AccessKeyInfo {
        account: Some(app.judge.account().to_owned()),
    })
}

/// Decodes the encoded reason at the end of EC2's refusals.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DecodeAuthorizationMessage {
    encoded_message: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DecodedMessage {
    decoded_message: Option<String>,
}

fn decode(
    app: &Sts,
    _view: &View,
    op: &DecodeAuthorizationMessage,
) -> Result<DecodedMessage, ApiError> {
    let plain = app.judge.seal().open(Purpose::Refusal, &op.encoded_message);
    let text = plain.and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded_message = Some(text.ok_or_else(|| {
        let text = "Invalid authorization message";
        ApiError::new("InvalidAuthorizationMessageException", 400, text)
    })?);
    Ok(DecodedMessage { decoded_message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_secrets::RootKey;

    #[test]
    fn root_sees_itself() {
        let judge = Judge::new(RootKey::random().unwrap(), "123456789012");
        let caller = Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "sts".into(),
            principal: judge.root(),
            access_key_id: judge.root_key().access_key_id.clone(),
            request_id: "r".into(),
            source_ip: None,
            from_vpc: None,
        };
        let sts = Sts::new(Arc::new(judge));
        let view = View::default();
        let answer = caller_identity(&sts, &view, &caller, &GetCallerIdentity {}).unwrap();
        assert_eq!(answer.user_id.as_deref(), Some("123456789012"));
        assert_eq!(answer.account.as_deref(), Some("123456789012"));
        let arn = answer.arn.as_deref();
        assert_eq!(arn, Some("arn:aws:iam::123456789012:root"));
    }
}
