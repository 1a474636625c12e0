//! What a request claims about who signed it, before anything is proved.

use http::HeaderMap;

use crate::canonical::Request;
use crate::{ALGORITHM, SigError, uri};

/// The scope of a credential: `date/region/service/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    /// The region signed for.
    pub region: String,
    /// The signing name of the service.
    pub service: String,
}

impl Scope {
    pub(crate) fn text(&self) -> String {
        format!(
            "{}/{}/{}/aws4_request",
            self.date, self.region, self.service
        )
    }
}

/// An unproved claim. Use it to choose the service whose error format to speak, no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The access key's id.
    pub access_key_id: String,
    /// What it was signed for.
    pub scope: Scope,
    /// The names in `SignedHeaders`, as sent.
    pub signed_headers: Vec<String>,
    /// The signature, in hexadecimal.
    pub signature: String,
    /// The session token, if one was sent.
    pub session_token: Option<String>,
    /// The text of the signature's date.
    pub date: String,
    /// `X-Amz-Expires` of a presigned request, in seconds.
    pub expires: Option<u64>,
}

/// Longest `Authorization` header or query that is looked at, in bytes.
const MAX_LENGTH: usize = 32 * 1024;

impl Claim {
    /// Reads the claim of a request from its header or its query.
    ///
    /// # Errors
    /// [`SigError::Missing`] for an unsigned request, [`SigError::Incomplete`] for a malformed one or
    /// for one that is signed both ways.
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
        let rest = text.trim().strip_prefix(ALGORITHM).ok_or_else(|| {
            incomplete(
                "Unsupported algorithm: the Authorization header must begin with AWS4-HMAC-SHA256.",
            )
        })?;
        let parts = header_parts(rest)?;
        let (access_key_id, scope) = credential(parts.credential)?;
        Ok(Self {
            access_key_id,
            scope,
            signed_headers: parts.signed_headers.split(';').map(str::to_owned).collect(),
            signature: parts.signature.to_owned(),
            session_token: header(headers, "x-amz-security-token"),
            date: header_date(headers)?,
            expires: None,
        })
    }

    fn from_query(algorithm: &str, query: &str) -> Result<Self, SigError> {
        if query.len() > MAX_LENGTH {
            return Err(incomplete("The query string is too long."));
        }
        if algorithm != ALGORITHM {
            return Err(incomplete(
                "Unsupported X-Amz-Algorithm; use AWS4-HMAC-SHA256.",
            ));
        }
        let need = |name: &str| {
            query_value(query, name).ok_or_else(|| {
                incomplete(&format!("AWS query-string parameters must include '{name}'. Re-examine the query-string parameters."))
            })
        };
        let (access_key_id, scope) = credential(&need("X-Amz-Credential")?)?;
        Ok(Self {
            access_key_id,
            scope,
            signed_headers: need("X-Amz-SignedHeaders")?
                .split(';')
                .map(str::to_owned)
                .collect(),
            signature: need("X-Amz-Signature")?,
            session_token: query_value(query, "X-Amz-Security-Token"),
            date: need("X-Amz-Date")?,
            expires: Some(expires(&need("X-Amz-Expires")?)?),
        })
    }

    /// Whether the request was presigned (signed in its query).
    pub fn is_presigned(&self) -> bool {
        self.expires.is_some()
    }
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

fn credential(text: &str) -> Result<(String, Scope), SigError> {
    let parts: Vec<&str> = text.split('/').collect();
    let [key, date, region, service, "aws4_request"] = parts.as_slice() else {
        return Err(incomplete(&format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/aws4_request, got '{}'",
            text.chars().take(128).collect::<String>()
        )));
    };
    let scope = Scope {
        date: (*date).to_owned(),
        region: (*region).to_owned(),
        service: (*service).to_owned(),
    };
    Ok(((*key).to_owned(), scope))
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
