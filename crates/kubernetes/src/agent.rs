//! The agent of pod identities as data: what pods ask it, what it asks `eks-auth`, and how it words answers, as AWS's does
//! (<https://github.com/aws/eks-pod-identity-agent>).

use http::StatusCode;
use lath_net::POD_IDENTITY_ADDRESS;
use lath_oidc::Token;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The path that credentials are at.
pub const PATH: &str = "/v1/credentials";
/// The longest token, in bytes.
const LONGEST: usize = 8 << 10;
/// The most of an error's text that is passed on, in characters.
const TEXT: usize = 1024;

/// A refusal: its status, and its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {text}")]
pub struct AgentError {
    /// The status.
    pub status: StatusCode,
    /// The text.
    pub text: String,
}

impl AgentError {
    /// A refusal.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// Credentials, as SDKs read them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Given {
    /// `ASIA...`.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token.
    pub token: String,
    /// The account of the role.
    pub account_id: String,
    /// When they end, as ISO 8601 has it.
    pub expiration: String,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given(..)")
    }
}

/// Credentials, and what they follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The credentials.
    pub given: Given,
    /// When they end, in seconds since the epoch.
    pub ends: i64,
    /// The id of the association.
    pub association: String,
}

/// The token in a request, which may be proved. `now` is in seconds since the epoch.
///
/// # Errors
/// What the agent answers where the request is none.
pub fn token<'a>(
    host: &str,
    authorization: Option<&'a [u8]>,
    now: i64,
) -> Result<&'a str, AgentError> {
    // A page in a browser must not reach the agent by a name that leads here.
    let bare = host.strip_suffix(":80").unwrap_or(host);
    if bare != POD_IDENTITY_ADDRESS.to_string() {
        let shown: String = bare.chars().take(64).collect();
        let text = format!(
            "Access Denied. Called agent through invalid address, please use {POD_IDENTITY_ADDRESS} not {shown}"
        );
        return Err(AgentError::new(StatusCode::FORBIDDEN, text));
    }
    let bad = |text: &str| {
        let text = format!("Service account token {text}");
        AgentError::new(StatusCode::BAD_REQUEST, text)
    };
    let text = authorization.filter(|it| !it.is_empty());
    let text = text.ok_or_else(|| bad("cannot be empty"))?;
    if text.len() > LONGEST {
        return Err(bad("cannot be parsed: it is too long"));
    }
    let text = std::str::from_utf8(text).map_err(|_| bad("cannot be parsed: it is no text"))?;
    let token = Token::parse(text).map_err(|it| bad(&format!("cannot be parsed: {it}")))?;
    let failed = |why: &str| bad(&format!("failed basic claim validations: {why}"));
    match token.claims().check_time(now) {
        Err(missing) => Err(failed(&missing.to_string())),
        Ok(Err(_)) => Err(failed("token is expired, or not valid yet")),
        Ok(Ok(())) => Ok(text),
    }
}

/// The body of `AssumeRoleForPodIdentity`.
pub fn body(token: &str) -> String {
    json!({"token": token}).to_string()
}

/// The path of `AssumeRoleForPodIdentity`.
pub fn path(cluster: &str) -> String {
    format!("/clusters/{cluster}/assume-role-for-pod-identity")
}

/// What `eks-auth` answered; `code` and `request_id` are those of its headers.
///
/// # Errors
/// Its refusal, as the agent words it.
pub fn answer(
    status: StatusCode,
    (code, request_id): (&str, &str),
    body: &[u8],
) -> Result<Answer, AgentError> {
    let read: Option<Value> = serde_json::from_slice(body).ok();
    let read = read.unwrap_or_default();
    if status.is_success() {
        let broken =
            || AgentError::new(StatusCode::INTERNAL_SERVER_ERROR, "EKS Auth cannot be read");
        return credentials(&read).ok_or_else(broken);
    }
    let text = read["message"]
        .as_str()
        .or_else(|| read["Message"].as_str());
    let text: String = text.unwrap_or_default().chars().take(TEXT).collect();
    let fault = if status.is_server_error() {
        "server"
    } else {
        "client"
    };
    let code = code.split(':').next().unwrap_or_default();
    let text = format!("[{request_id}]: ({code}): {text}, fault: {fault}");
    Err(AgentError::new(status, text))
}

fn credentials(read: &Value) -> Option<Answer> {
    let keys = &read["credentials"];
    let text = |it: &Value| it.as_str().map(str::to_owned);
    let arn = read["assumedRoleUser"]["arn"].as_str()?;
    // Whole seconds are enough.
    let millis = lath_model::Timestamp::from_millis((keys["expiration"].as_f64()? * 1000.0) as i64);
    Some(Answer {
        given: Given {
            access_key_id: text(&keys["accessKeyId"])?,
            secret_access_key: text(&keys["secretAccessKey"])?,
            token: text(&keys["sessionToken"])?,
            account_id: arn.split(':').nth(4)?.to_owned(),
            expiration: millis.iso8601_seconds(),
        },
        ends: millis.as_millis() / 1000,
        association: text(&read["podIdentityAssociation"]["associationId"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn jwt(claims: &Value) -> String {
        let encode = |it: &Value| URL_SAFE_NO_PAD.encode(it.to_string());
        let head = encode(&json!({"alg": "ES256", "kid": "k"}));
        format!("{head}.{}.{}", encode(claims), URL_SAFE_NO_PAD.encode("s"))
    }

    #[test]
    fn requests_are_looked_at_before_anybody_is_asked() {
        let good = jwt(&json!({"exp": 2000, "iat": 1000}));
        let old = jwt(&json!({"exp": 1400, "iat": 1000}));
        let host = "169.254.170.23";
        for (host, authorization, want) in [
            (host, Some(good.as_str()), Ok(good.as_str())),
            ("169.254.170.23:80", Some(&good), Ok(&good)),
            ("agent.example", Some(&good), Err(403)),
            (host, None, Err(400)),
            (host, Some(""), Err(400)),
            (host, Some("a.b"), Err(400)),
            (host, Some(&old), Err(400)),
            (host, Some(&"a".repeat(9000)), Err(400)),
        ] {
            let got = token(host, authorization.map(str::as_bytes), 1500);
            let got = got.map_err(|it| it.status.as_u16());
            assert_eq!(got, want, "{host} {authorization:?}");
        }
    }

    #[test]
    fn answers_are_worded_as_the_agents() {
        let body = json!({
            "assumedRoleUser": {"arn": "arn:aws:sts::123456789012:assumed-role/cart/eks-x"},
            "podIdentityAssociation": {"associationId": "a-1"},
            "credentials": {"accessKeyId": "ASIA1", "secretAccessKey": "s", "sessionToken": "t",
                            "expiration": 1_700_000_000.5},
        });
        let body = body.to_string();
        let got = answer(StatusCode::OK, ("", "r"), body.as_bytes()).unwrap();
        let shown = serde_json::to_value(&got.given).unwrap();
        let want = json!({
            "AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t", "AccountId": "123456789012",
            "Expiration": "2023-11-14T22:13:20Z",
        });
        assert_eq!((shown, got.ends), (want, 1_700_000_000));
        let refused = answer(
            StatusCode::NOT_FOUND,
            ("ResourceNotFoundException", "r"),
            br#"{"message":"No association."}"#,
        );
        let text = "[r]: (ResourceNotFoundException): No association., fault: client";
        assert_eq!(refused.unwrap_err().text, text);
        let broken = answer(StatusCode::OK, ("", "r"), b"{}").unwrap_err();
        assert_eq!(broken.status, 500);
    }
}
