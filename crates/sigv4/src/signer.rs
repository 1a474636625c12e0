//! Signing, for clients: the CLI and tests.

use std::time::{Duration, SystemTime};

use crate::{Algorithm, Request, Scope, Secret, asymmetric, canonical, date, key, uri};

/// The signer's key and the scope to sign for.
#[derive(Debug, Clone, Copy)]
pub struct SigningKey<'a> {
    /// The access key's id.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a Secret,
    /// The session token of temporary keys.
    pub session_token: Option<&'a str>,
    /// The region.
    pub region: &'a str,
    /// The signing name of the service.
    pub service: &'a str,
}

impl SigningKey<'_> {
    fn scope(&self, date: &str) -> Scope {
        Scope {
            date: date[..8].to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
        }
    }
}

/// Signs all headers of `request`, which must include `host`. Returns the headers to add: the date, the token
/// if there is one, and `authorization` last.
pub fn sign(
    request: &Request<'_>,
    by: &SigningKey<'_>,
    now: SystemTime,
) -> Vec<(&'static str, String)> {
    signed(Algorithm::HmacSha256, request, by, Vec::new(), now)
}

/// Signs with SigV4A for a region set such as `us-east-1` or `*`, and ignores the region of `by`. Also adds
/// `x-amz-region-set`.
pub fn sign_asymmetric(
    request: &Request<'_>,
    by: &SigningKey<'_>,
    region_set: &str,
    now: SystemTime,
) -> Vec<(&'static str, String)> {
    let added = vec![("x-amz-region-set", region_set.to_owned())];
    signed(Algorithm::EcdsaP256Sha256, request, by, added, now)
}

fn signed(
    algorithm: Algorithm,
    request: &Request<'_>,
    by: &SigningKey<'_>,
    mut added: Vec<(&'static str, String)>,
    now: SystemTime,
) -> Vec<(&'static str, String)> {
    let date = date::print(now);
    added.push(("x-amz-date", date.clone()));
    if let Some(token) = by.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    let mut headers = request.headers.clone();
    for (name, value) in &added {
        if let Ok(value) = value.parse() {
            headers.insert(*name, value);
        }
    }
    let names = sorted_names(&headers);
    let request = Request {
        headers: &headers,
        ..*request
    };
    let signature = signature(algorithm, &request, by, &date, &names);
    added.push((
        "authorization",
        format!(
            "{} Credential={}/{}, SignedHeaders={}, Signature={signature}",
            algorithm.name(),
            by.access_key_id,
            by.scope(&date).text(algorithm),
            names.join(";")
        ),
    ));
    added
}

fn sorted_names(headers: &http::HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort();
    names
}

/// Signs the query. Returns the complete query of the presigned request, without `?`. Services other than S3
/// accept one without an expiry.
pub fn presign(
    request: &Request<'_>,
    by: &SigningKey<'_>,
    now: SystemTime,
    expires: Option<Duration>,
) -> String {
    let date = date::print(now);
    let algorithm = Algorithm::HmacSha256;
    let names = sorted_names(request.headers);
    let scope = by.scope(&date).text(algorithm);
    let credential = format!("{}/{scope}", by.access_key_id);
    let mut parts = vec![
        ("X-Amz-Algorithm", algorithm.name().to_owned()),
        ("X-Amz-Credential", credential),
        ("X-Amz-Date", date.clone()),
        ("X-Amz-SignedHeaders", names.join(";")),
    ];
    if let Some(expires) = expires {
        parts.push(("X-Amz-Expires", expires.as_secs().to_string()));
    }
    if let Some(token) = by.session_token {
        parts.push(("X-Amz-Security-Token", token.to_owned()));
    }
    let mut query = request.query.to_owned();
    for (name, value) in parts {
        let joint = if query.is_empty() { "" } else { "&" };
        query.push_str(&format!(
            "{joint}{name}={}",
            uri::encode(value.as_bytes(), b"")
        ));
    }
    let request = Request {
        query: &query,
        ..*request
    };
    let signature = signature(algorithm, &request, by, &date, &names);
    format!("{query}&X-Amz-Signature={signature}")
}

fn signature(
    algorithm: Algorithm,
    request: &Request<'_>,
    by: &SigningKey<'_>,
    date: &str,
    names: &[String],
) -> String {
    let announced = request
        .headers
        .get("x-amz-content-sha256")
        .and_then(|v| v.to_str().ok());
    let hash = announced.map_or_else(|| request.body.hash(), str::to_owned);
    let canonical = canonical::request(request, names, &hash, canonical::normalizes(by.service))
        .expect("the names were taken from the headers themselves");
    let scope = by.scope(date);
    let text = canonical::string_to_sign(algorithm, date, &scope, &canonical);
    match algorithm {
        Algorithm::HmacSha256 => key::signature(by.secret, &scope, &text),
        Algorithm::EcdsaP256Sha256 => {
            let key = asymmetric::signing_key(by.secret, by.access_key_id)
                .expect("one of 254 candidates is a key, as each misses with 2^-32");
            asymmetric::signature(&key, &text)
        }
    }
}
