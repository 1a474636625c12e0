//! The canonical request and the string to sign.

use http::HeaderMap;

use crate::claim::incomplete;
use crate::{Algorithm, Scope, SigError, key, uri};

/// The parts of a request that a signature covers, as on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as sent, still percent-encoded.
    pub path: &'a str,
    /// The query as sent, without `?`; may be empty.
    pub query: &'a str,
    /// All headers, including `host` (HTTP/2: from `:authority`).
    pub headers: &'a HeaderMap,
    /// The body as sent, before any decompression.
    pub body: Payload<'a>,
}

/// The body, or a substitute for it.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// The body's SHA-256 in lower-case hexadecimal.
    Hash(&'a str),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
}

impl Payload<'_> {
    pub(crate) fn hash(&self) -> String {
        match self {
            Self::Bytes(bytes) => key::sha256_hex(bytes),
            Self::Hash(hash) => (*hash).to_owned(),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
        }
    }
}

/// Builds the canonical request over the named headers.
pub(crate) fn request(
    request: &Request<'_>,
    signed_headers: &[String],
    payload_hash: &str,
    normalize: bool,
) -> Result<String, SigError> {
    let mut names: Vec<String> = signed_headers.iter().map(|n| n.to_lowercase()).collect();
    names.sort();
    let mut lines = String::new();
    for name in &names {
        lines.push_str(&format!(
            "{name}:{}\n",
            header_value(request.headers, name)?
        ));
    }
    Ok(format!(
        "{}\n{}\n{}\n{lines}\n{}\n{payload_hash}",
        request.method,
        uri::canonical_path(request.path, normalize),
        uri::canonical_query(request.query),
        names.join(";"),
    ))
}

fn header_value(headers: &HeaderMap, name: &str) -> Result<String, SigError> {
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| collapsed(&String::from_utf8_lossy(value.as_bytes())))
        .collect();
    if values.is_empty() {
        return Err(incomplete(&format!(
            "'{name}' is named as a SignedHeader, but it does not exist in the HTTP request."
        )));
    }
    Ok(values.join(","))
}

/// Trims the value and replaces each inner run of white space by one space.
fn collapsed(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Builds the string to sign.
pub(crate) fn string_to_sign(
    algorithm: Algorithm,
    date: &str,
    scope: &Scope,
    canonical: &str,
) -> String {
    let hash = key::sha256_hex(canonical.as_bytes());
    let (name, scope) = (algorithm.name(), scope.text(algorithm));
    format!("{name}\n{date}\n{scope}\n{hash}")
}

/// Whether the service normalizes paths. All but S3 do.
pub(crate) fn normalizes(service: &str) -> bool {
    service != "s3"
}
