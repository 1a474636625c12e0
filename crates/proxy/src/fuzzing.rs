//! Entry points for the targets in `fuzz/` only.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use lath_feed::{MutualTls, MutualTlsMode};
use lath_model::Timestamp;

use crate::fields::Field;
use crate::head::{HeaderScan, Provenance, check, host, towards_target};
use crate::tls::{Presented, Trust};

/// What Lath says of a request's origin, here always the same.
pub const SAID: &str = "said-by-lath";

/// The host that a client names and the head that a target gets; `None` when the request is refused.
pub fn to_target(request: Request<()>, to_http2: bool) -> Option<(Vec<u8>, http::request::Parts)> {
    let scan = HeaderScan::of(request.headers());
    check(&request, &scan, false).ok()?;
    let host = host(&request, &scan).ok()?.to_vec();
    let said = &HeaderValue::from_static(SAID);
    let from = Provenance {
        client: &Field::forwarded_for(SAID),
        port: &Field::new("x-forwarded-port", SAID),
        proto: &Field::forwarded_proto(SAID),
        network: &Field::lattice_network(SAID),
        vpc: &Field::source_vpc(SAID),
        target: &Field::lattice_target(SAID),
        request_id: said,
    };
    let (mut head, ()) = request.into_parts();
    towards_target(&mut head, said, to_http2, &scan);
    if to_http2 {
        from.add_to(&mut head.headers, &scan);
    } else {
        let mut lines = Vec::new();
        from.write_to(&mut lines, &scan);
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let (name, value) = line.split_at(memchr::memchr(b':', line)?);
            let value = HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?;
            head.headers
                .append(HeaderName::from_bytes(name).ok()?, value);
        }
    }
    Some((host, head))
}

/// What requests carry of a client's certificate.
#[derive(Debug)]
pub struct ToldOfClient {
    /// Whether a listener without authorities admits it.
    pub admitted: bool,
    /// What targets get: all that listeners of either mode say.
    pub headers: Vec<(String, String)>,
    /// The workload that it names.
    pub spiffe_id: Option<String>,
}

/// A client presents this certificate, DER. `None`: it is none.
pub fn client_certificate(der: &[u8]) -> Option<ToldOfClient> {
    let source = |mode| MutualTls {
        mode,
        anchors: Vec::new(),
        ignore_expiry: true,
        revoked: Vec::new(),
        reserved: None,
    };
    let presented = Presented::of(&[der.into()])?;
    let mut headers = HeaderMap::new();
    let modes = [MutualTlsMode::Passthrough, MutualTlsMode::Verify];
    let [passthrough, verify] = modes.map(|it| Arc::new(Trust::of(&source(it))));
    presented.write_to(&passthrough, &mut headers);
    presented.write_to(&verify, &mut headers);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    for key in ["subject/cn", "issuer/cn", "issuer/ou", "san/dns", "san/uri"] {
        presented.fact(&format!("lath:x509{key}"));
    }
    Some(ToldOfClient {
        admitted: presented
            .judged_by(&verify, Timestamp::from_millis(0))
            .is_ok(),
        headers: headers.collect(),
        spiffe_id: presented.spiffe_id().map(str::to_owned),
    })
}

/// The status of the response that a function's answer is, how many headers it has, and how long its body is.
pub fn function_reply(text: &str) -> Option<(u16, usize, usize)> {
    let reply = crate::function::Reply::read(text)?;
    Some((reply.status.as_u16(), reply.headers.len(), reply.body.len()))
}
