//! Interim (1xx) responses on their way to a client.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::fields;
use crate::framing::Interim;

/// An interim response as an HTTP/1.1 client gets it.
pub(crate) fn for_client(interim: &Interim) -> Vec<u8> {
    let mut headers = headers(&interim.lines);
    fields::clean_interim(&mut headers);
    let status = StatusCode::from_u16(interim.status).unwrap_or(StatusCode::PROCESSING);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    text.extend_from_slice(&lines(&headers));
    text.extend_from_slice(b"\r\n");
    text
}

/// Headers as HTTP/1.1 writes them, each with CR LF.
pub(crate) fn lines(headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// What is no header line is left out: a status line, the empty line.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_pass_without_what_belongs_to_the_targets_connection() {
        let lines = "HTTP/1.1 103 Early Hints: a\r\nLink: </a.css>; rel=preload\r\nlink:</b>\r\n\
                     Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 5\r\nX_Amzn_RequestId: 1\r\n\r\n";
        let interim = Interim {
            status: 103,
            lines: lines.into(),
        };
        assert_eq!(
            String::from_utf8(for_client(&interim)).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b>\r\n\r\n"
        );
    }
}
