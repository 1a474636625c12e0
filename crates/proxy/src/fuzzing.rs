//! Doors for the targets in `fuzz/`, and for nobody else.

use http::{HeaderValue, Request};

use crate::head::{Provenance, Survey, check, host, towards_target};

/// What Lath says of a request's origin, here always the same.
pub const SAID: &str = "said-by-lath";

/// The host that a client names and the head that a target gets; `None` when the request is refused.
pub fn to_target(request: Request<()>, to_http2: bool) -> Option<(Vec<u8>, http::request::Parts)> {
    let survey = Survey::of(request.headers());
    check(&request, &survey).ok()?;
    let host = host(&request, &survey).ok()?.to_vec();
    let said = &HeaderValue::from_static(SAID);
    let from = Provenance {
        client: said,
        port: said,
        proto: said,
        network: said,
        vpc: said,
        target: said,
        request_id: said,
    };
    let (mut head, ()) = request.into_parts();
    towards_target(&mut head, &from, to_http2, &survey);
    Some((host, head))
}
