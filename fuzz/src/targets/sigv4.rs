//! Claims of SigV4 and SigV4A in headers and queries: the first line is the query, the second the `Authorization` header.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use lath_sigv4::{Credential, Credentials, LookupError, Payload, Request, Secret, verify, verify_any};

use crate::text;

struct Keys;

impl Credentials for Keys {
    type Owner = ();
    fn lookup(&self, _: &str, _: Option<&str>) -> Result<Credential<()>, LookupError> {
        Ok(Credential {
            secret: Secret::new("secret"),
            owner: (),
        })
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let (query, authorization) = text.split_once('\n').unwrap_or((text, ""));
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("x-amz-region-set", HeaderValue::from_static("us-*,eu-west-1"));
    headers.insert("x-amz-date", HeaderValue::from_static("20150830T123600Z"));
    if let Ok(value) = HeaderValue::from_str(authorization)
        && !authorization.is_empty()
    {
        headers.insert("authorization", value);
    }
    let request = Request {
        method: "GET",
        path: query,
        query,
        headers: &headers,
        body: Payload::Bytes(b""),
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    assert!(
        verify(&request, &Keys, now).is_err(),
        "a signature was guessed"
    );
    let proved = verify_any(&request, &Keys, now);
    assert!(proved.is_err(), "a signature of either kind was guessed");
    if let Ok(claim) = lath_sigv4::Claim::read(&request) {
        claim.covers_region("us-east-1");
    }
}
