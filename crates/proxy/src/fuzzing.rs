//! Doors for the targets in `fuzz/`, and for nobody else.

use http::{HeaderName, HeaderValue, Request};

use crate::fields::Field;
use crate::head::{Provenance, Survey, check, host, towards_target};

/// What Lath says of a request's origin, here always the same.
pub const SAID: &str = "said-by-lath";

/// The host that a client names and the head that a target gets; `None` when the request is refused.
pub fn to_target(request: Request<()>, to_http2: bool) -> Option<(Vec<u8>, http::request::Parts)> {
    let survey = Survey::of(request.headers());
    check(&request, &survey, false).ok()?;
    let host = host(&request, &survey).ok()?.to_vec();
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
    towards_target(&mut head, said, to_http2, &survey);
    if to_http2 {
        from.add_to(&mut head.headers, &survey);
    } else {
        let mut lines = Vec::new();
        from.write_to(&mut lines, &survey);
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
