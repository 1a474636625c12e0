//! Signing, for clients: the CLI and tests.

use std::time::{Duration, SystemTime};

use crate::{ALGORITHM, Request, Scope, Secret, canonical, date, key, uri};

/// Who signs, and for what.
#[derive(Debug, Clone, Copy)]
pub struct SigningKey<'a> {
    /// The access key's id.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a Secret,
    /// The session's token, for temporary keys.
    pub session_token: Option<&'a str>,
    /// The region to sign for.
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

/// Signs all headers of `request`; returns the headers to add: the date, the token if there is one,
/// and `authorization` as the last. `request.headers` must hold `host`.
pub fn sign(
    request: &Request<'_>,
    by: &SigningKey<'_>,
    now: SystemTime,
) -> Vec<(&'static str, String)> {
    let date = date::print(now);
    let mut added = vec![("x-amz-date", date.clone())];
    if let Some(token) = by.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    let mut headers = request.headers.clone();
    for (name, value) in &added {
        if let Ok(value) = value.parse() {
            headers.insert(*name, value);
        }
    }
    let mut names: Vec<String> = headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort();
    let signature = signature(
        &Request {
            headers: &headers,
            ..*request
        },
        by,
        &date,
        &names,
    );
    let scope = by.scope(&date).text();
    added.push((
        "authorization",
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            by.access_key_id,
            names.join(";")
        ),
    ));
    added
}

/// Signs the query; returns the whole query of the presigned request, without `?`.
pub fn presign(
    request: &Request<'_>,
    by: &SigningKey<'_>,
    now: SystemTime,
    expires: Duration,
) -> String {
    let date = date::print(now);
    let mut names: Vec<String> = request
        .headers
        .keys()
        .map(|n| n.as_str().to_owned())
        .collect();
    names.sort();
    let credential = format!("{}/{}", by.access_key_id, by.scope(&date).text());
    let mut parts = vec![
        ("X-Amz-Algorithm", ALGORITHM.to_owned()),
        ("X-Amz-Credential", credential),
        ("X-Amz-Date", date.clone()),
        ("X-Amz-Expires", expires.as_secs().to_string()),
        ("X-Amz-SignedHeaders", names.join(";")),
    ];
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
    let signature = signature(
        &Request {
            query: &query,
            ..*request
        },
        by,
        &date,
        &names,
    );
    format!("{query}&X-Amz-Signature={signature}")
}

fn signature(request: &Request<'_>, by: &SigningKey<'_>, date: &str, names: &[String]) -> String {
    let announced = request
        .headers
        .get("x-amz-content-sha256")
        .and_then(|v| v.to_str().ok());
    let hash = announced.map_or_else(|| request.body.hash(), str::to_owned);
    let canonical = canonical::request(request, names, &hash, canonical::normalizes(by.service))
        .expect("the names were taken from the headers themselves");
    let scope = by.scope(date);
    let text = canonical::string_to_sign(date, &scope, &canonical);
    key::signature(by.secret, &scope, &text)
}
