use std::sync::Arc;

use lath_service::operations;
use lath_store::View;
use lath_wire::{ApiError, Caller, Protocol, Service, ServiceInfo};
use serde::{Deserialize, Serialize};

use crate::{Identity, assume_role, web_identity};
use lath_session::Purpose;

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
    let service = Service::new(INFO)
        .held_to(&crate::bounds::sts::CONSTRAINTS)
        .validating_first();
    let service = assume_role::register(register(service, app), app);
    web_identity::register(service, app)
}

operations! {
    for Identity as "sts";
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
    _app: &Identity,
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
fn key_info(
    app: &Identity,
    _view: &View,
    op: &GetAccessKeyInfo,
) -> Result<AccessKeyInfo, ApiError> {
    let id = &op.access_key_id;
    let known = id.starts_with("AKIA") || id.starts_with("ASIA");
    let fits = (16..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if !known || !fits {
        let text = "The access key ID is not valid.";
        return Err(ApiError::new("ValidationError", 400, text));
    }
    Ok(AccessKeyInfo {
        account: Some(app.account().to_owned()),
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
    app: &Identity,
    _view: &View,
    op: &DecodeAuthorizationMessage,
) -> Result<DecodedMessage, ApiError> {
    let plain = app.seal.open(Purpose::Refusal, &op.encoded_message);
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
    use crate::RootKey;

    #[test]
    fn root_sees_itself() {
        let identity = Identity::new(RootKey::random().unwrap(), "123456789012");
        let caller = Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "sts".into(),
            principal: identity.root(),
            access_key_id: identity.root_key().access_key_id.clone(),
            request_id: "r".into(),
            source_ip: None,
            from_vpc: None,
        };
        let view = View::default();
        let answer = caller_identity(&identity, &view, &caller, &GetCallerIdentity {}).unwrap();
        assert_eq!(answer.user_id.as_deref(), Some("123456789012"));
        assert_eq!(answer.account.as_deref(), Some("123456789012"));
        let arn = answer.arn.as_deref();
        assert_eq!(arn, Some("arn:aws:iam::123456789012:root"));
    }
}
