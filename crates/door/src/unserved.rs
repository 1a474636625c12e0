//! Services and operations that Lath does not have, said by the code that AWS's protocols have for it.
//!
//! The gap is named before credentials are looked at: who asks for a service that is not there learns nothing but that.

use bytes::Bytes;
use http::Request;

use lath_wire::format::form;
use lath_wire::{ApiError, Envelope, Protocol, Service};

/// Signing names whose protocol the shape of a request does not tell: it is taken for JSON otherwise.
const REST_XML: &[&str] = &[
    "s3",
    "s3express",
    "s3-object-lambda",
    "s3-outposts",
    "cloudfront",
];

/// Operations of STS that AWS takes unsigned: a token of somebody else proves who calls
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).
const UNSIGNED_ACTIONS: &[&str] = &["AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"];

/// Services that AWS takes unsigned requests to: by the prefix of `X-Amz-Target`, or a label of the host.
const UNSIGNED_TARGETS: &[(&str, &str)] = &[
    ("AWSCognitoIdentityProviderService", "cognito-idp"),
    ("AWSCognitoIdentityService", "cognito-identity"),
];
const UNSIGNED_HOSTS: &[(&str, &str)] = &[("s3", "s3"), ("oidc", "sso-oauth")];

/// The service that an unsigned request seems meant for, where AWS would take it and Lath has no such service.
pub(crate) fn unsigned(request: &Request<Bytes>) -> Option<&'static str> {
    let named = |table: &[(&str, &'static str)], text: &str| {
        let found = table.iter().find(|(label, _)| *label == text);
        found.map(|(_, service)| *service)
    };
    if let Some(target) = header(request, "x-amz-target") {
        let prefix = target.split('.').next().unwrap_or_default();
        return named(UNSIGNED_TARGETS, prefix);
    }
    let host = header(request, "host")?;
    let name = host.split(':').next().unwrap_or_default();
    name.split('.')
        .find_map(|label| named(UNSIGNED_HOSTS, label))
}

/// The operation that AWS takes unsigned, and this service does not have.
pub(crate) fn unsigned_action(service: &Service, request: &Request<Bytes>) -> Option<String> {
    if service.info().signing_name != "sts" {
        return None;
    }
    let action = action(request)?;
    let known = UNSIGNED_ACTIONS.contains(&action.as_str());
    (known && !service.has(&action)).then_some(action)
}

/// How a service that is not here is worded: by what it speaks, or by the request's shape.
pub(crate) fn envelope(service: &str, request: &Request<Bytes>, request_id: &str) -> Envelope {
    let shaped = Envelope::anonymous(request, request_id);
    match REST_XML.iter().find(|name| **name == service) {
        None => shaped,
        Some(model) => shaped.of_rest_xml(model),
    }
}

/// The service is not here.
pub(crate) fn error(service: &str, envelope: &Envelope, request: &Request<Bytes>) -> ApiError {
    let shown: String = service.chars().take(64).collect();
    let asked = operation(request).map_or_else(String::new, |name| format!(" (asked for {name})"));
    let text = format!("Lath does not have the service '{shown}'{asked}.");
    let (code, status) = match envelope.protocol() {
        Protocol::Ec2Query | Protocol::Query => ("InvalidAction", 400),
        Protocol::RestXml => ("NotImplemented", 501),
        Protocol::RestJson | Protocol::RpcV2Cbor => ("UnknownOperationException", 404),
        Protocol::Json10 | Protocol::Json11 => ("UnknownOperationException", 400),
    };
    ApiError::new(code, status, text)
}

/// The operation's name, where the request says it.
fn operation(request: &Request<Bytes>) -> Option<String> {
    let target = header(request, "x-amz-target");
    let target = target.and_then(|it| it.rsplit_once('.').map(|(_, name)| name.to_owned()));
    let name = target.or_else(|| action(request))?;
    Some(name.chars().take(128).collect())
}

pub(crate) fn action(request: &Request<Bytes>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    [query, request.body()].into_iter().find_map(|text| {
        let mut pairs = form::pairs(text).ok()?.into_iter();
        pairs.find(|(name, _)| name == "Action").map(|(_, it)| it)
    })
}

fn header<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
