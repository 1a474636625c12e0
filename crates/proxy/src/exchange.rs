//! One exchange, as a list: this is the data plane.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};

use crate::connection::Connection;
use crate::context::RequestContext;
use crate::core::Core;
use crate::engine::Source;
use crate::forward::{Outbound, Refused, forward};
use crate::function::Call;
use crate::head::{self, HeaderScan};
use crate::meter::Meter;
use crate::refusal::Refusal;
use crate::relay::Body;
use crate::routing::route;
use crate::upload::use_up;

/// Answers one request, and says how it gets on. What is counted and logged of it is in its [`RequestContext`], whatever
/// happens.
///
/// Everything up to the target is done before the future is made, and what the future carries is boxed: it is
/// moved several times before it is polled.
pub(crate) fn exchange(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    request: Request<Source>,
) -> (
    Rc<Meter>,
    impl Future<Output = Result<Response<Body>, Infallible>> + use<>,
) {
    let decided = decide(core, connection, request);
    let meter = match &decided {
        Ok(Onward::Target(outbound)) => outbound.meter(),
        Ok(Onward::Function(call)) => call.meter(),
        Err((refused, _)) => refused.1.meter(),
    };
    let meter = Rc::clone(meter);
    let answer = async move {
        let answered = match decided {
            Ok(Onward::Target(outbound)) => forward(outbound).await,
            // Boxed, because it is rare.
            Ok(Onward::Function(call)) => Box::pin(call.run()).await,
            Err((refused, unread)) => {
                if let Some(body) = unread {
                    Box::pin(use_up(body, refused.1.meter())).await;
                }
                Err(refused)
            }
        };
        Ok(answered.unwrap_or_else(|(refusal, mut context)| refuse(refusal, &mut context)))
    };
    (meter, answer)
}

/// A request on its way.
enum Onward {
    Target(Outbound),
    Function(Box<Call>),
}

/// The request for a target, or the refusal, with the body if reading it lets the connection go on.
fn decide(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    request: Request<Source>,
) -> Result<Onward, (Refused, Option<Source>)> {
    let scan = HeaderScan::of(request.headers());
    let mut context = RequestContext::begin(core, connection, &request, &scan);
    let vpc = connection.listening.vpc(&core.state);
    match route(core, connection, &vpc, &request, &mut context) {
        Ok(route) => {
            if let Some(group) = route.function() {
                let call = Call::new(connection, &vpc, (route, group), request, context);
                let call = call.map(|call| Onward::Function(Box::new(call)));
                return call.map_err(|refused| (refused, None));
            }
            let outbound = Outbound::new(connection, &vpc, route, request, context);
            let outbound = outbound.map(Onward::Target);
            outbound.map_err(|refused| (refused, None))
        }
        Err(refusal) => {
            // Asking a client that waits for 100 (Continue) for its body would be a lie.
            let wanted = context.meter().unread.get() && !context.scan.expect && !refusal.close;
            let unread = (wanted && !context.is_http2()).then(|| request.into_body());
            Err(((refusal, context), unread))
        }
    }
}

fn refuse(refusal: Refusal, context: &mut RequestContext) -> Response<Body> {
    context.refused(refusal.status, refusal.failure);
    let close = refusal.close;
    let mut response = response(refusal.status, refusal.body);
    let headers = response.headers_mut();
    if let Some(own) = refusal.headers {
        headers.extend(*own);
    }
    headers.insert(head::REQUEST_ID, context.request_id().clone());
    context.close_if(close, headers);
    context.sent(
        http_body::Body::size_hint(response.body())
            .exact()
            .unwrap_or(0),
    );
    context.sent_head(response.headers());
    context.finish();
    debug_assert_ne!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    response
}

/// An answer of Lath's own.
fn response(status: StatusCode, body: Bytes) -> Response<Body> {
    let length = body.len();
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if length > 0 {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}
