//! What a function answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

/// As many headers are read, and as many bytes of them: what the proxy takes of other targets.
const HEADERS: usize = 100;
const HEAD_BYTES: usize = 64 * 1024;

/// A response out of a function's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// `{isBase64Encoded, statusCode, statusDescription, headers, body}`; `None` where that is no response. The description
    /// is not sent: HTTP/2 has none, and nothing may depend on it (RFC 9112 section 4).
    pub(crate) fn read(text: &str) -> Option<Self> {
        let Value::Object(mut members) = serde_json::from_str(text).ok()? else {
            return None;
        };
        let status = status(members.get("statusCode")?)?;
        let mut headers = HeaderMap::new();
        for place in ["headers", "multiValueHeaders"] {
            match members.remove(place) {
                None | Some(Value::Null) => {}
                Some(Value::Object(given)) => add(&mut headers, given)?,
                Some(_) => return None,
            }
        }
        let size = headers.iter();
        let size: usize = size
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if size > HEAD_BYTES {
            return None;
        }
        let is_base64 = match members.get("isBase64Encoded") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(is_base64)) => *is_base64,
            Some(_) => return None,
        };
        let body = match members.remove("body") {
            None | Some(Value::Null) => Bytes::new(),
            Some(Value::String(text)) if is_base64 => STANDARD.decode(text).ok()?.into(),
            Some(Value::String(text)) => text.into(),
            Some(_) => return None,
        };
        Some(Self {
            status,
            headers,
            body,
        })
    }
}

/// A final one.
fn status(value: &Value) -> Option<StatusCode> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let number = u16::try_from(number)
        .ok()
        .filter(|it| (200..600).contains(it))?;
    StatusCode::from_u16(number).ok()
}

fn add(headers: &mut HeaderMap, given: Map<String, Value>) -> Option<()> {
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            if headers.len() >= HEADERS {
                return None;
            }
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(is_so) => is_so.to_string(),
                Value::Array(_) | Value::Object(_) => return None,
            };
            headers.append(name.clone(), HeaderValue::from_str(text.trim()).ok()?);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_responses() {
        let text = r#"{"isBase64Encoded":true,"statusCode":201,"statusDescription":"201 Created",
            "headers":{"X-One":"1","x-many":["a","b"],"x-number":7},"body":"AP8="}"#;
        let reply = Reply::read(text).unwrap();
        assert_eq!(reply.status, StatusCode::CREATED);
        assert_eq!(reply.headers["x-one"], "1");
        assert_eq!(reply.headers["x-number"], "7");
        let many: Vec<_> = reply.headers.get_all("x-many").iter().collect();
        assert_eq!(many, ["a", "b"]);
        assert_eq!(&reply.body[..], b"\x00\xff");
        let reply = Reply::read(r#"{"statusCode":"204"}"#).unwrap();
        assert!(reply.status == StatusCode::NO_CONTENT && reply.body.is_empty());
    }

    #[test]
    fn what_is_no_response_is_none() {
        for text in [
            "",
            "null",
            "\"hello\"",
            "{}",
            r#"{"statusCode":99}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":true}"#,
            r#"{"statusCode":200,"headers":[]}"#,
            r#"{"statusCode":200,"headers":{"a b":"1"}}"#,
            r#"{"statusCode":200,"headers":{"a":"1\r\nb: 2"}}"#,
            r#"{"statusCode":200,"headers":{"a":{}}}"#,
            r#"{"statusCode":200,"body":{"x":1}}"#,
            r#"{"statusCode":200,"isBase64Encoded":true,"body":"?"}"#,
            r#"{"statusCode":200,"isBase64Encoded":"yes"}"#,
        ] {
            assert!(Reply::read(text).is_none(), "{text}");
        }
    }
}
