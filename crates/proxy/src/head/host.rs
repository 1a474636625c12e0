//! The host that a request names.

use http::header::HeaderValue;
use http::{Request, Version, header};

use super::HeaderScan;
use crate::refusal::Refusal;

/// The host that the client names, without the port: `:authority` or the absolute form first (RFC 9112 section
/// 3.2.2), else the one Host header.
///
/// # Errors
/// Host is absent, repeated or malformed, or contradicts `:authority`.
pub(crate) fn host<'a, B>(request: &'a Request<B>, scan: &HeaderScan) -> Result<&'a [u8], Refusal> {
    let header = match scan.hosts {
        0 => None,
        1 => request.headers().get(header::HOST),
        _ => return Err(Refusal::bad_request("Host is repeated\n")),
    };
    let header = header.map(HeaderValue::as_bytes);
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let is_http2 = request.version() == Version::HTTP_2;
    let named = match (authority, header) {
        // RFC 9113 section 8.3.1.
        (Some(authority), Some(header)) if is_http2 && !authority.eq_ignore_ascii_case(header) => {
            return Err(Refusal::bad_request(
                "Host contradicts the request's target\n",
            ));
        }
        // RFC 9112 section 3.2: a client that knows HTTP/1.1 sends one, whatever its target says.
        (Some(_), None) if request.version() == Version::HTTP_11 => None,
        (Some(authority), header) => {
            let sound = header.is_none_or(|header| without_port(header).is_some());
            Some(authority).filter(|_| sound)
        }
        (None, header) => header,
    };
    let named = named.ok_or_else(|| Refusal::bad_request("Host is missing\n"))?;
    without_port(named).ok_or_else(|| Refusal::bad_request("Host is malformed\n"))
}

/// The name in `name:port`, without a final dot; `None` when it is no host (RFC 9110 section 7.2), such as a
/// list, an empty one or one with a user's name.
fn without_port(host: &[u8]) -> Option<&[u8]> {
    let end = match host.first()? {
        b'[' => memchr::memchr(b']', host)? + 1,
        _ => memchr::memchr(b':', host).unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    let is_name = match name {
        [b'[', address @ .., b']'] => address
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        _ => name.iter().all(|byte| OF_NAME[usize::from(*byte)]),
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    (is_port && is_name && !name.is_empty()).then_some(name)
}

/// The number may be absent (RFC 3986 section 3.2.3).
fn is_port(digits: &[u8]) -> bool {
    let number = std::str::from_utf8(digits).ok();
    digits.is_empty()
        || (digits.iter().all(u8::is_ascii_digit)
            && number.is_some_and(|number| number.parse::<u16>().is_ok()))
}

/// The octets of names: RFC 3986 section 3.2.2, without the comma, which would make a list of it.
const OF_NAME: [bool; 256] = {
    let (mut of_name, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        of_name[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others = b"-._~%!$&'()*+;=".as_slice();
    while let [byte, rest @ ..] = others {
        of_name[*byte as usize] = true;
        others = rest;
    }
    of_name
};

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn named(version: Version, target: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        let request = request.body(()).unwrap();
        let scan = HeaderScan::of(request.headers());
        check(&request, &scan, false).ok()?;
        let host = host(&request, &scan).ok()?;
        Some(String::from_utf8(host.to_vec()).unwrap())
    }

    #[test]
    fn the_host_is_the_one_that_the_rfc_means() {
        let (http1, http2) = (Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts, want) in [
            (http1, "/", &["a.example"][..], Some("a.example")),
            (http1, "/", &["a.example."], Some("a.example")),
            (http1, "/", &["a.example:80"], Some("a.example")),
            (http1, "/", &["a.example:"], Some("a.example")),
            (http1, "/", &["[::1]:80"], Some("[::1]")),
            (http1, "/", &["a_b.example"], Some("a_b.example")),
            (http1, "/", &[], None),
            (http1, "/", &[""], None),
            (http1, "/", &["."], None),
            (http1, "/", &[":80"], None),
            (http1, "/", &["a.example", "a.example"], None),
            (http1, "/", &["a.example, b.example"], None),
            (http1, "/", &["a.example,b.example"], None),
            (http1, "/", &["user@a.example"], None),
            (http1, "/", &["user:1@a.example"], None),
            (http1, "/", &["a.example:80:80"], None),
            (http1, "/", &["a.example:65536"], None),
            (http1, "/", &["a.example:+80"], None),
            (http1, "/", &["a.example:8o"], None),
            (http1, "/", &["a.example/x"], None),
            (http1, "/", &["a b"], None),
            (http1, "/", &["::1"], None),
            (http1, "/", &["[::1"], None),
            (http1, "/", &["[::1]x"], None),
            (
                http1,
                "http://a.example/",
                &["b.example"],
                Some("a.example"),
            ),
            (
                http1,
                "http://a.example:81/",
                &["b.example:82"],
                Some("a.example"),
            ),
            (http1, "http://a.example/", &[], None),
            (
                Version::HTTP_10,
                "http://a.example/",
                &[],
                Some("a.example"),
            ),
            (http1, "http://a.example/", &["b.example,c"], None),
            (http1, "http://user@a.example/", &["a.example"], None),
            (http1, "https://a.example/", &["a.example"], None),
            (http1, "ftp://a.example/", &["a.example"], None),
            (http1, "*", &["a.example"], None),
            (http2, "http://a.example/", &[], Some("a.example")),
            (http2, "https://a.example/", &[], Some("a.example")),
            (http2, "ftp://a.example/", &[], None),
            (
                http2,
                "http://a.example/",
                &["A.example"],
                Some("a.example"),
            ),
            (http2, "http://a.example/", &["b.example"], None),
        ] {
            let got = named(version, target, hosts);
            assert_eq!(got.as_deref(), want, "{version:?} {target} {hosts:?}");
        }
    }
}
