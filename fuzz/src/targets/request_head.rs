//! What targets get to see: lines of method and target, then headers. The first byte says whether the
//! client speaks HTTP/2 and whether the target does.

use http::{HeaderName, HeaderValue, Request, Version, header};
use lath_proxy::fuzzing::{SAID, to_target};

pub(crate) fn run(bytes: &[u8]) {
    let Some((&kinds, bytes)) = bytes.split_first() else {
        return;
    };
    let (from_http2, to_http2) = (kinds & 1 != 0, kinds & 2 != 0);
    let Some(request) = request(bytes, from_http2) else {
        return;
    };
    let method = request.method().clone();
    let Some((host, head)) = to_target(request, to_http2) else {
        return;
    };
    assert!(!host.is_empty() && !host.contains(&b',') && !host.contains(&b'@'));
    assert_eq!(head.method, method);
    for name in [
        "connection",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "trailer",
        "proxy-authorization",
    ] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    for (name, value) in &head.headers {
        // As CGI and WSGI would read it.
        let variable: String = name
            .as_str()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        assert!(!variable.starts_with("x_amzn_mtls_"), "{name}: no certificate was presented");
        if variable.starts_with("x_amzn_lattice_")
            || [
                "x_amzn_source_vpc",
                "x_amzn_requestid",
                "x_forwarded_port",
                "x_forwarded_proto",
            ]
            .contains(&variable.as_str())
        {
            assert_eq!(value, SAID, "{name}");
        }
    }
    let one = |name: &str| head.headers.get_all(name).iter().count();
    assert_eq!(one("x-forwarded-for"), 1);
    assert!(
        head.headers["x-forwarded-for"]
            .as_bytes()
            .ends_with(SAID.as_bytes())
    );
    for name in [
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-amzn-source-vpc",
        "x-amzn-requestid",
    ] {
        assert_eq!(
            (one(name), &head.headers[name]),
            (1, &HeaderValue::from_static(SAID)),
            "{name}"
        );
    }
    assert!(!to_http2 && !from_http2 || !head.headers.contains_key(header::EXPECT));
    if to_http2 {
        assert!(head.uri.authority().is_some() || !head.headers.contains_key(header::HOST));
        assert!(
            head.headers
                .get(header::TE)
                .is_none_or(|te| te == "trailers")
        );
    } else {
        assert_eq!(one("host"), 1);
        assert!(head.uri.authority().is_none(), "{}", head.uri);
        assert!(!from_http2 || one("cookie") <= 1);
    }
}

fn request(bytes: &[u8], http2: bool) -> Option<Request<()>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = line.split_once(' ')?;
    let version = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .version(version)
        .body(())
        .ok()?;
    for line in lines.take(200) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}
