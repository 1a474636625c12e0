//! WebSockets (RFC 6455 section 4, RFC 9110 section 7.8): a request of HTTP/1.1 that asks for them at a gateway's entrance is handed
//! on as it is, and when the target switches protocols, both connections are joined.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use http_body::Body;

use crate::connection::{Onwards, Order};
use crate::context::RequestContext;
use crate::lane::{Broken, Lane};
use crate::refusal::Failure;
use crate::stream::Stream;
use crate::upstream::Switched;

/// Whether one of a header's values, with commas between, is this word.
fn has_token(headers: &HeaderMap, name: HeaderName, word: &[u8]) -> bool {
    let values = headers.get_all(name);
    let mut words = values
        .iter()
        .flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
    words.any(|it| it.trim_ascii().eq_ignore_ascii_case(word))
}

/// Whether nothing but WebSockets is asked for or agreed on.
fn names_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let first = values.next().filter(|_| values.next().is_none());
    first.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && has_token(headers, header::CONNECTION, b"upgrade")
}

/// Whether a client asks for WebSockets.
pub(crate) fn is_asked<B: Body>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && names_websocket(request.headers())
}

/// Whether a target's answer, a 101, agrees.
pub(crate) fn is_agreed(headers: &HeaderMap) -> bool {
    names_websocket(headers)
}

/// Says in a head, from which what belongs to one connection was removed, that the protocol is or was switched.
pub(crate) fn write_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// A target's connection that speaks another protocol by now, and the request that led there.
pub(crate) struct Tunnel {
    target: Switched,
    context: Box<RequestContext>,
}

impl Tunnel {
    pub(crate) fn new(target: Switched, context: Box<RequestContext>) -> Self {
        // What follows takes as long as it takes; silence ends it.
        context.meter().end_at(None);
        Self { target, context }
    }

    async fn join(mut self, mut client: Stream, came: Vec<u8>) {
        let read = self.target.read.to_vec();
        let (mut onwards, mut back) = (Lane::after(came), Lane::after(read));
        let meter = Rc::clone(self.context.meter());
        let connection = Rc::clone(self.context.connection());
        meter.renew();
        let carried = || meter.touch();
        let socket = Rc::clone(&self.target.socket);
        let joined = poll_fn(|cx| {
            if connection.order(cx) == Order::Abort {
                return Poll::Ready(Err(Failure::ConnectionDurationExceeded));
            }
            if meter.lost.get() {
                return Poll::Ready(Err(Failure::TargetConnectionClosed));
            }
            // Neither end has said anything for as long as the service lets connections be idle.
            if meter.expired.get() {
                return Poll::Ready(Ok(()));
            }
            meter.wait(cx);
            socket.with_stream(|target| {
                let to_target = onwards.poll(&mut client, target, &carried, cx);
                let to_client = back.poll(target, &mut client, &carried, cx);
                over(to_target, to_client)
            })
        });
        let joined = joined.await;
        meter.received(onwards.carried);
        self.context.sent(back.carried);
        if let Err(failure) = joined {
            self.context.fail(failure);
        }
        self.context.finish();
    }
}

/// What both directions come to.
fn over(
    to_target: Poll<Result<(), Broken>>,
    to_client: Poll<Result<(), Broken>>,
) -> Poll<Result<(), Failure>> {
    match (to_target, to_client) {
        (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => {
            Poll::Ready(Err(Failure::ClientConnectionClosed))
        }
        (Poll::Ready(Err(Broken::Sink)), _) | (_, Poll::Ready(Err(Broken::Source))) => {
            Poll::Ready(Err(Failure::TargetConnectionClosed))
        }
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}

impl Onwards for Tunnel {
    fn carry(self: Box<Self>, client: Stream, came: Vec<u8>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin((*self).join(client, came))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn websockets_are_asked_for_by_a_get_of_http11_without_a_body() {
        let request = |method: &str, connection: &str, upgrade: &[&str], body: &str| {
            let mut request = Request::builder()
                .method(method)
                .header("connection", connection);
            for it in upgrade {
                request = request.header("upgrade", *it);
            }
            request
                .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
                .unwrap()
        };
        let good = request("GET", "keep-alive, Upgrade", &["WebSocket"], "");
        assert!(is_asked(&good));
        for bad in [
            request("POST", "upgrade", &["websocket"], ""),
            request("GET", "keep-alive", &["websocket"], ""),
            request("GET", "upgrade", &["h2c"], ""),
            request("GET", "upgrade", &["websocket, h2c"], ""),
            request("GET", "upgrade", &["websocket", "websocket"], ""),
            request("GET", "upgrade", &[], ""),
            request("GET", "upgrade", &["websocket"], "a"),
        ] {
            assert!(!is_asked(&bad), "{bad:?}");
        }
        let mut old = good;
        *old.version_mut() = Version::HTTP_10;
        assert!(!is_asked(&old));
    }
}
