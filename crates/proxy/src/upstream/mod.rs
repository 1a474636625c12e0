//! Connections to targets: pools of each thread's own, over the engine.
//!
//! An idle HTTP/1.1 connection is looked at when it is taken out of the pool.

mod connect;
mod link;
mod pools;
mod serials;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};

use crate::engine::client::Http2;
use crate::engine::{Error, Source};
use crate::framing::Interim;
use crate::meter::Meter;
use crate::slot::{GroupSlot, TargetSlot};
use crate::spare;
use crate::upload::RequestBody;
use pools::Usable;

pub(crate) use connect::connect_for_one;
pub(crate) use link::{Open, Room};
pub(crate) use pools::Pools;

/// The right to use a connection for one exchange.
pub(crate) struct Lease {
    pools: Rc<Pools>,
    target: Arc<TargetSlot>,
    kind: Usable,
    /// Whether an exchange went over the connection before.
    pub(crate) reused: bool,
}

/// What the exchange that sends a request has to say, and wants to know meanwhile.
pub(crate) trait Exchange {
    fn meter(&self) -> &Rc<Meter>;

    /// The request goes over HTTP/1.1. Writes the field lines that its head ends with, each with CR LF.
    fn goes_over_http1(&self, request: &Request<RequestBody>, lines: &mut Vec<u8>);

    /// Interim responses came. Returns whether the body may flow from now on.
    fn pass_on(&self, interim: Vec<Interim>) -> bool;
}

/// Why no response came.
pub(crate) struct NotSent {
    /// The request, when no byte of it was written.
    pub(crate) request: Option<Box<Request<RequestBody>>>,
    /// Its head, if it was kept: bytes of it may have been written.
    pub(crate) spare: Option<Box<Request<()>>>,
    pub(crate) cause: Cause,
}

/// What went wrong with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It hung up.
    Closed,
    /// It does not speak HTTP.
    Protocol,
    /// It was silent for too long.
    Timeout,
    /// Its host or the link to its region is gone.
    Unreachable,
}

impl Lease {
    /// An idle connection, if there is one.
    pub(crate) fn idle(pools: &Rc<Pools>, target: &Arc<TargetSlot>) -> Option<Self> {
        let kind = pools.take(target)?;
        Some(Self::of(pools, target, kind, true))
    }

    /// A new connection.
    ///
    /// # Errors
    /// What connecting said.
    pub(crate) async fn connect(
        pools: &Rc<Pools>,
        group: &Arc<GroupSlot>,
        target: &Arc<TargetSlot>,
        room: Room,
    ) -> std::io::Result<Self> {
        let kind = connect::connect(pools, group, target, room).await?;
        Ok(Self::of(pools, target, kind, false))
    }

    fn of(pools: &Rc<Pools>, target: &Arc<TargetSlot>, kind: Usable, reused: bool) -> Self {
        Self {
            pools: Rc::clone(pools),
            target: Arc::clone(target),
            kind,
            reused,
        }
    }

    /// Sends the request and waits for the response's head. Interim responses are passed on meanwhile. `keeps`: its
    /// head is kept, should it have to be sent once more.
    ///
    /// # Errors
    /// The target hung up, was silent, or does not speak HTTP.
    pub(crate) async fn send(
        &mut self,
        request: Box<Request<RequestBody>>,
        keeps: bool,
        exchange: &impl Exchange,
    ) -> Result<Response<Source>, NotSent> {
        match &mut self.kind {
            Usable::Http1(link) => {
                let sent = link.send(request, keeps, exchange).await;
                if sent.is_ok() {
                    link.socket.forget_head();
                }
                sent.map_err(|failed| NotSent {
                    spare: link.socket.take_head().and_then(|head| spare::read(&head)),
                    ..failed
                })
            }
            Usable::Http2(shared) => {
                let kept = (keeps && spare::is_safe(request.method())).then(|| head_of(&request));
                let sent = Box::pin(send_shared(shared, request, exchange.meter())).await;
                sent.map_err(|failed| NotSent {
                    spare: kept,
                    ..failed
                })
            }
        }
    }

    /// Whether the target may have seen a byte of the request.
    pub(crate) fn is_written(&self) -> bool {
        match &self.kind {
            Usable::Http1(link) => link.socket.is_written(),
            Usable::Http2(_) => true,
        }
    }

    /// The next frame of the response's body.
    pub(crate) fn poll_body(
        &mut self,
        source: &mut Source,
        meter: &Meter,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let polled = match &mut self.kind {
            Usable::Http1(link) => link.poll_body(source, cx),
            Usable::Http2(_) => Pin::new(source)
                .poll_frame(cx)
                .map_err(|error| Cause::of(&error)),
        };
        match polled {
            Poll::Ready(frame) => {
                meter.touch();
                Poll::Ready(frame)
            }
            Poll::Pending if meter.expired.get() => Poll::Ready(Some(Err(Cause::Timeout))),
            Poll::Pending if meter.lost.get() => Poll::Ready(Some(Err(Cause::Unreachable))),
            Poll::Pending => {
                meter.wait(cx);
                Poll::Pending
            }
        }
    }

    /// The exchange is over: keeps the connection for others, if it can carry another exchange.
    pub(crate) fn release(self) {
        let Usable::Http1(mut link) = self.kind else {
            return;
        };
        let now = self.pools.clock.get();
        let lifetime = self.pools.config.max_connection_lifetime;
        let old = now.saturating_duration_since(link.born) > lifetime;
        if !old && !self.target.is_gone() && link.rests() {
            link.idle_since = now;
            self.pools.put(&self.target, link);
        }
    }
}

impl Cause {
    fn of(error: &Error) -> Self {
        match () {
            () if error.is_parse() => Self::Protocol,
            () if error.is_timed_out() => Self::Unreachable,
            () => Self::Closed,
        }
    }
}

impl NotSent {
    fn because(cause: Cause) -> Self {
        Self {
            request: None,
            spare: None,
            cause,
        }
    }
}

async fn send_shared(
    shared: &mut Http2<RequestBody>,
    request: Box<Request<RequestBody>>,
    meter: &Meter,
) -> Result<Response<Source>, NotSent> {
    let sent = shared.send(*request, |cx| given_up(meter, false, cx));
    match sent.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err((error, request))) => Err(NotSent {
            request,
            ..NotSent::because(Cause::of(&error))
        }),
        Err(cause) => Err(NotSent::because(cause)),
    }
}

/// Why a response is not waited for any longer; if it is, the meter wakes `cx` when it is to be asked again.
fn given_up(meter: &Meter, finished: bool, cx: &Context<'_>) -> Option<Cause> {
    match () {
        () if meter.expired.get() => Some(Cause::Timeout),
        () if meter.lost.get() => Some(Cause::Unreachable),
        () if finished => Some(Cause::Closed),
        () => {
            meter.wait(cx);
            None
        }
    }
}

/// A copy of the request's head.
fn head_of(request: &Request<RequestBody>) -> Box<Request<()>> {
    let mut head = Request::new(());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    *head.version_mut() = request.version();
    head.headers_mut().clone_from(request.headers());
    Box::new(head)
}
