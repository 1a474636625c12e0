//! The head of a `CONNECT` request (RFC 9110 section 9.3.6, RFC 9112).

/// The largest head.
pub(crate) const LARGEST_HEAD: usize = 8 * 1024;

/// Why a head is refused: a status and words.
pub(crate) type HeadError = (u16, &'static str);

/// What the head asks for, and how long it is; `None` while it is not whole.
pub(crate) fn authority(bytes: &[u8]) -> Result<Option<(&str, usize)>, HeadError> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() >= LARGEST_HEAD {
            return Err((431, "the head is too large"));
        }
        return Ok(None);
    };
    if end > LARGEST_HEAD {
        return Err((431, "the head is too large"));
    }
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| (400, "the head is no text"))?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, authority, version) = (words.next(), words.next(), words.next());
    if words.next().is_some() || version != Some("HTTP/1.1") {
        return Err((400, "that is no request of HTTP/1.1"));
    }
    if method != Some("CONNECT") {
        return Err((405, "only CONNECT is served here"));
    }
    if !lines.all(is_field) {
        return Err((400, "a header field is none"));
    }
    match authority {
        Some(authority) if is_authority(authority) => Ok(Some((authority, end + 4))),
        _ => Err((400, "that is no authority")),
    }
}

fn is_authority(text: &str) -> bool {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    !text.is_empty() && text.bytes().all(is_host)
}

/// Fields are checked and then ignored: `CONNECT` has no content, and what follows belongs to the tunnel.
fn is_field(line: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    line.split_once(':').is_some_and(|(name, value)| {
        !name.is_empty() && name.bytes().all(is_token) && !value.contains(['\r', '\n', '\0'])
    })
}

/// The text of a status.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_or_refused() {
        let long = format!("CONNECT a:1 HTTP/1.1\r\nx: {}", "y".repeat(LARGEST_HEAD));
        for (name, head, want) in [
            (
                "plain",
                "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nrest",
                Ok(Some(("a:1", 35))),
            ),
            (
                "no fields",
                "CONNECT a.b-c:80 HTTP/1.1\r\n\r\n",
                Ok(Some(("a.b-c:80", 29))),
            ),
            ("not whole", "CONNECT a:1 HTTP/1.1\r\n", Ok(None)),
            ("nothing", "", Ok(None)),
            ("another method", "GET / HTTP/1.1\r\n\r\n", Err(405)),
            ("another version", "CONNECT a:1 HTTP/1.0\r\n\r\n", Err(400)),
            ("a word too much", "CONNECT a:1 HTTP/1.1 \r\n\r\n", Err(400)),
            ("no authority", "CONNECT  HTTP/1.1\r\n\r\n", Err(400)),
            ("a path", "CONNECT /a HTTP/1.1\r\n\r\n", Err(400)),
            ("no field", "CONNECT a:1 HTTP/1.1\r\nx\r\n\r\n", Err(400)),
            (
                "bare line feed",
                "CONNECT a:1 HTTP/1.1\r\nx: y\nz: a\r\n\r\n",
                Err(400),
            ),
            ("too large", long.as_str(), Err(431)),
        ] {
            let got = authority(head.as_bytes()).map_err(|(status, _)| status);
            assert_eq!(got, want, "{name}");
        }
    }
}
