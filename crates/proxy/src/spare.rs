//! Requests kept for a second try.
//!
//! Nearly none is ever needed, so keeping one must cost next to nothing: its headers are written one after
//! another into a buffer that is used again and again, and only a second try takes them apart.

use std::cell::RefCell;

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::core::Core;

/// As many buffers as each thread keeps.
const KEPT: usize = 64;
/// A buffer that grew larger than this (in bytes) is not kept.
const LARGEST: usize = 16 * 1024;

/// The buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Buffers(RefCell<Vec<Vec<u8>>>);

/// The head of a request that has no body.
#[derive(Debug)]
pub(crate) struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    /// For each header the lengths of its name and value (four bytes each), the name, the value.
    headers: Vec<u8>,
}

impl Spare {
    pub(crate) fn of<B>(core: &Core, request: &Request<B>) -> Self {
        let mut headers = core.spares.0.borrow_mut().pop().unwrap_or_default();
        for (name, value) in request.headers() {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            let lengths = (name.len() as u64) << 32 | value.len() as u64;
            headers.extend_from_slice(&lengths.to_be_bytes());
            headers.extend_from_slice(name);
            headers.extend_from_slice(value);
        }
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers,
        }
    }

    /// Whether the request may be sent twice.
    pub(crate) fn is_safe(&self) -> bool {
        is_safe(&self.method)
    }

    /// It was not needed.
    pub(crate) fn give_back(self, core: &Core) {
        let mut buffers = core.spares.0.borrow_mut();
        let mut buffer = self.headers;
        if buffers.len() < KEPT && buffer.capacity() <= LARGEST {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// The request anew.
    pub(crate) fn request<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        let mut rest = &self.headers[..];
        while let Some((name, value)) = next(&mut rest) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                request.headers_mut().append(name, value);
            }
        }
        request
    }
}

/// Whether a request by this method may be sent twice (RFC 9110 section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (name, after) = rest.split_first_chunk::<4>()?;
    let (value, after) = after.split_first_chunk::<4>()?;
    let length =
        |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
    let (name, after) = after.split_at_checked(length(name))?;
    let (value, after) = after.split_at_checked(length(value))?;
    *rest = after;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_went_repeated_and_empty_ones_too() {
        let headers = [
            ("host", "a"),
            ("cookie", ""),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-long", &"v".repeat(70_000)),
        ];
        let mut bytes = Vec::new();
        for (name, value) in headers {
            let lengths = (name.len() as u64) << 32 | value.len() as u64;
            bytes.extend_from_slice(&lengths.to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        let spare = Spare {
            method: Method::HEAD,
            uri: Uri::from_static("/x?y"),
            version: Version::HTTP_11,
            headers: bytes,
        };
        let request = spare.request(());
        let back: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("-")))
            .collect();
        assert_eq!(back, headers);
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::HEAD, "/x")
        );
    }
}
