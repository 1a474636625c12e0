//! The unverified claim of a request about its signer.

use http::HeaderMap;

use crate::canonical::Request;
use crate::{Algorithm, SigError, uri};

/// The scope of a credential: `date/region/service/aws4_request`. SigV4A omits the region, as it has a region set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    /// The region; empty with SigV4A.
    pub region: String,
    /// The signing name of the service.
    pub service: String,
}

impl Scope {
    pub(crate) fn text(&self, algorithm: Algorithm) -> String {
        let Self {
            date,
            region,
            service,
        } = self;
        match algorithm {
            Algorithm::HmacSha256 => format!("{date}/{region}/{service}/aws4_request"),
            Algorithm::EcdsaP256Sha256 => format!("{date}/{service}/aws4_request"),
        }
    }
}

/// An unverified claim. Use it only to choose the service and its error format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The access key's id.
    pub access_key_id: String,
    /// The credential scope.
    pub scope: Scope,
    /// SigV4A's `X-Amz-Region-Set`: region names with wildcards, separated by commas.
    pub region_set: Option<String>,
    /// The names in `SignedHeaders`, as sent.
    pub signed_headers: Vec<String>,
    /// The signature in hexadecimal; with SigV4A in DER.
    pub signature: String,
    /// The session token, if one was sent.
    pub session_token: Option<String>,
    /// The signature's date as text.
    pub date: String,
    /// Whether the request is presigned: signed in its query.
    pub presigned: bool,
    /// `X-Amz-Expires` of a presigned request, in seconds, if present: only S3 requires it.
    pub expires: Option<u64>,
}

/// The longest `Authorization` header or query that is parsed, in bytes.
const MAX_LENGTH: usize = 32 * 1024;

impl Claim {
    /// Parses the claim of a request from its header or its query.
    ///
    /// # Errors
    /// [`SigError::Missing`] for an unsigned request, [`SigError::Incomplete`] for a malformed one or one that
    /// is signed in both places.
    pub fn read(request: &Request<'_>) -> Result<Self, SigError> {
        let authorization = request.headers.get(http::header::AUTHORIZATION);
        let presigned = query_value(request.query, "X-Amz-Algorithm");
        match (authorization, presigned) {
            (None, None) => Err(SigError::Missing),
            (Some(_), Some(_)) => Err(incomplete(
                "Only one of the Authorization header and the X-Amz-Algorithm query parameter may be given.",
            )),
            (Some(value), None) => {
                let text = value
                    .to_str()
                    .map_err(|_| incomplete("The Authorization header is not text."))?;
                Self::from_header(text, request.headers)
            }
            (None, Some(algorithm)) => Self::from_query(&algorithm, request.query),
        }
    }

    fn from_header(text: &str, headers: &HeaderMap) -> Result<Self, SigError> {
        if text.len() > MAX_LENGTH {
            return Err(incomplete("The Authorization header is too long."));
        }
        let text = text.trim();
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let algorithm = Algorithm::named(name).ok_or_else(|| {
            incomplete(
                "Unsupported algorithm: the Authorization header must begin with AWS4-HMAC-SHA256.",
            )
        })?;
        let parts = header_parts(rest)?;
        let (access_key_id, scope) = credential(algorithm, parts.credential)?;
        Ok(Self {
            algorithm,
            access_key_id,
            scope,
            region_set: header(headers, "x-amz-region-set"),
            signed_headers: parts.signed_headers.split(';').map(str::to_owned).collect(),
            signature: parts.signature.to_owned(),
            session_token: header(headers, "x-amz-security-token"),
            date: header_date(headers)?,
            presigned: false,
            expires: None,
        })
    }

    fn from_query(algorithm: &str, query: &str) -> Result<Self, SigError> {
        if query.len() > MAX_LENGTH {
            return Err(incomplete("The query string is too long."));
        }
        let algorithm = Algorithm::named(algorithm)
            .ok_or_else(|| incomplete("Unsupported X-Amz-Algorithm; use AWS4-HMAC-SHA256."))?;
        let need = |name: &str| {
            query_value(query, name).ok_or_else(|| {
                incomplete(&format!("AWS query-string parameters must include '{name}'. Re-examine the query-string parameters."))
            })
        };
        let (access_key_id, scope) = credential(algorithm, &need("X-Amz-Credential")?)?;
        let given = match query_value(query, "X-Amz-Expires") {
            None if scope.service == "s3" => Some(need("X-Amz-Expires")?),
            given => given,
        };
        Ok(Self {
            algorithm,
            access_key_id,
            scope,
            region_set: query_value(query, "X-Amz-Region-Set"),
            signed_headers: need("X-Amz-SignedHeaders")?
                .split(';')
                .map(str::to_owned)
                .collect(),
            signature: need("X-Amz-Signature")?,
            session_token: query_value(query, "X-Amz-Security-Token"),
            date: need("X-Amz-Date")?,
            presigned: true,
            expires: given.as_deref().map(expires).transpose()?,
        })
    }

    /// Whether the scope or region set covers this region.
    pub fn covers_region(&self, region: &str) -> bool {
        match self.algorithm {
            Algorithm::HmacSha256 => self.scope.region == region,
            Algorithm::EcdsaP256Sha256 => {
                let mut set = self.region_set.iter().flat_map(|set| set.split(','));
                set.any(|pattern| matches(pattern.trim(), region))
            }
        }
    }
}

/// Matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether a query has signature parameters.
pub fn is_presigned(query: &str) -> bool {
    query_value(query, "X-Amz-Algorithm").is_some()
}

fn expires(text: &str) -> Result<u64, SigError> {
    text.parse()
        .ok()
        .filter(|seconds| (1..=604_800).contains(seconds))
        .ok_or_else(|| {
            incomplete("X-Amz-Expires must be a number of seconds between 1 and 604800.")
        })
}

struct HeaderParts<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

fn header_parts(text: &str) -> Result<HeaderParts<'_>, SigError> {
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for part in text.split(',') {
        let Some((name, value)) = part.trim().split_once('=') else {
            return Err(incomplete(&format!(
                "'{}' not a valid key=value pair (missing equal-sign) in Authorization header.",
                part.trim()
            )));
        };
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(incomplete(&format!(
                "Authorization header repeats '{name}'."
            )));
        }
    }
    Ok(HeaderParts {
        credential: present(credential, "Credential")?,
        signed_headers: present(signed_headers, "SignedHeaders")?,
        signature: present(signature, "Signature")?,
    })
}

fn present<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str, SigError> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| {
        incomplete(&format!(
            "Authorization header requires '{name}' parameter."
        ))
    })
}

fn credential(algorithm: Algorithm, text: &str) -> Result<(String, Scope), SigError> {
    let parts: Vec<&str> = text.split('/').collect();
    let (key, date, region, service) = match (algorithm, parts.as_slice()) {
        (Algorithm::HmacSha256, [key, date, region, service, "aws4_request"]) => {
            (key, date, *region, service)
        }
        (Algorithm::EcdsaP256Sha256, [key, date, service, "aws4_request"]) => {
            (key, date, "", service)
        }
        _ => return Err(bad_credential(algorithm, text)),
    };
    let scope = Scope {
        date: (*date).to_owned(),
        region: region.to_owned(),
        service: (*service).to_owned(),
    };
    Ok(((*key).to_owned(), scope))
}

fn bad_credential(algorithm: Algorithm, text: &str) -> SigError {
    let (count, example) = match algorithm {
        Algorithm::HmacSha256 => (5, "keyid/date/region/service/aws4_request"),
        Algorithm::EcdsaP256Sha256 => (4, "keyid/date/service/aws4_request"),
    };
    let shown: String = text.chars().take(128).collect();
    incomplete(&format!(
        "Credential must have exactly {count} slash-delimited elements, e.g. {example}, got '{shown}'"
    ))
}

fn header_date(headers: &HeaderMap) -> Result<String, SigError> {
    header(headers, "x-amz-date")
        .or_else(|| header(headers, "date"))
        .ok_or_else(|| {
            incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

fn query_value(query: &str, wanted: &str) -> Option<String> {
    uri::pairs(query)
        .find(|(name, _)| uri::percent_decode(name) == wanted.as_bytes())
        .and_then(|(_, value)| String::from_utf8(uri::percent_decode(value)).ok())
}

pub(crate) fn incomplete(text: &str) -> SigError {
    SigError::Incomplete(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn region_sets_have_wildcards() {
        let table = [
            ("*", "us-east-1", true),
            ("us-east-1", "us-east-1", true),
            ("us-east-1", "us-east-11", false),
            ("us-*", "us-east-1", true),
            ("us-*-1", "us-west-1", true),
            ("us-*-1", "us-1", false),
            ("eu-*", "us-east-1", false),
            ("*-east-*", "us-gov-east-1", true),
            ("", "us-east-1", false),
        ];
        for (pattern, region, want) in table {
            assert_eq!(matches(pattern, region), want, "{pattern} {region}");
        }
    }
}
