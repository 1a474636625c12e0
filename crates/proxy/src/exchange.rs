//! One exchange, as a list: this is the data plane.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};

use crate::connection::Connection;
use crate::core::Core;
use crate::engine::Source;
use crate::flight::Flight;
use crate::forward::{Outbound, Refused, forward};
use crate::function::Call;
use crate::head::{self, Survey};
use crate::meter::Meter;
use crate::refusal::Refusal;
use crate::relay::Body;
use crate::routing::route;
use crate::upload::use_up;

/// Answers one request, and says how it gets on. What is counted and logged of it is in its [`Flight`], whatever
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
        Ok(answered.unwrap_or_else(|(refusal, mut flight)| refuse(refusal, &mut flight)))
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
    let survey = Survey::of(request.headers());
    let mut flight = Flight::begin(core, connection, &request, &survey);
    let vpc = connection.listening.vpc(&core.state);
    match route(core, connection, &vpc, &request, &mut flight) {
        Ok(route) => {
            if let Some(group) = route.function() {
                let call = Call::new(connection, &vpc, (route, group), request, flight);
                let call = call.map(|call| Onward::Function(Box::new(call)));
                return call.map_err(|refused| (refused, None));
            }
            let outbound = Outbound::new(connection, &vpc, route, request, flight);
            let outbound = outbound.map(Onward::Target);
            outbound.map_err(|refused| (refused, None))
        }
        Err(refusal) => {
            // Asking a client that waits for 100 (Continue) for its body would be a lie.
            let wanted = flight.meter().unread.get() && !flight.survey.expect && !refusal.close;
            let unread = (wanted && !flight.is_http2()).then(|| request.into_body());
            Err(((refusal, flight), unread))
        }
    }
}

fn refuse(refusal: Refusal, flight: &mut Flight) -> Response<Body> {
    flight.refused(refusal.status, refusal.failure);
    let close = refusal.close;
    let mut response = response(refusal.status, refusal.body);
    let headers = response.headers_mut();
    if let Some(own) = refusal.headers {
        headers.extend(*own);
    }
    headers.insert(head::REQUEST_ID, flight.request_id().clone());
    flight.close_if(close, headers);
    flight.sent(
        http_body::Body::size_hint(response.body())
            .exact()
            .unwrap_or(0),
    );
    flight.sent_head(response.headers());
    flight.finish();
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
