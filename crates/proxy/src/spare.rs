//! Requests kept for a second try.
//!
//! Nearly none is ever needed, so keeping one must cost next to nothing: the head is copied as it is written to the
//! target, in one piece, and only a second try takes it apart again.

use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// Whether a request by this method may be sent twice (RFC 9110 section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request by this method means the same when it comes twice (RFC 9110 section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    is_safe(method) || matches!(*method, Method::PUT | Method::DELETE)
}

/// The head of a request without a body, as HTTP/1.1 writes it, read back. `None`: it is no such head, as when it was
/// written in pieces.
pub(crate) fn read(head: &[u8]) -> Option<Box<Request<()>>> {
    let lines = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut line = lines.next()?.split(|byte| *byte == b' ');
    let (method, target) = (line.next()?, line.next()?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(target).ok()?;
    for line in lines {
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        let value = HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?;
        let name = HeaderName::from_bytes(name).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(Box::new(request))
}

/// A copy of a request's head.
pub(crate) fn head_of<B>(request: &Request<B>) -> Box<Request<()>> {
    let mut head = Request::new(());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    *head.version_mut() = request.version();
    head.headers_mut().clone_from(request.headers());
    Box::new(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_went_with_repeated_and_empty_fields() {
        let long = "v".repeat(70_000);
        let headers = [
            ("host", "a"),
            ("cookie", ""),
            ("x-a", "1: 2"),
            ("x-a", "2"),
            ("x-long", &long),
        ];
        let mut text = "HEAD /x?y HTTP/1.1\r\n".to_owned();
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let request = read(text.as_bytes()).expect("a head");
        let back: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("-")))
            .collect();
        assert_eq!(back, headers);
        assert_eq!(request.method(), Method::HEAD);
        assert_eq!(request.uri(), "/x?y");
        assert!(read(&text.as_bytes()[..text.len() - 1]).is_none());
    }

    #[test]
    fn the_asterisk_is_a_target() {
        let request = read(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").expect("a head");
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::OPTIONS, "*")
        );
    }
}
