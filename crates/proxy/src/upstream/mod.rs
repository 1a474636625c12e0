//! Connections to targets: pools of each thread's own, over the engine.
//!
//! An idle HTTP/1.1 connection is looked at when it is taken out of the pool.

mod connect;
mod dialing;
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
use lath_model::lattice::ProtocolVersion;

use crate::breaker::Load;
use crate::engine::http2_client::Seat;
use crate::engine::{Error, Reset, Source};
use crate::framing::Interim;
use crate::meter::Meter;
use crate::shown::ShownIdentity;
use crate::slot::{GroupSlot, TargetSlot};
use crate::spare;
use crate::target_io::TargetSocket;
use crate::upload::RequestBody;
use pools::Usable;

pub(crate) use connect::{Aim, connect_for_one};
pub(crate) use link::{Open, Room};
pub(crate) use pools::Pools;

/// The right to use a connection for one exchange.
pub(crate) struct Lease {
    pools: Rc<Pools>,
    target: Arc<TargetSlot>,
    /// In whose name it was connected.
    caller: Option<ShownIdentity>,
    kind: Usable,
    /// Whether an exchange went over the connection before.
    pub(crate) reused: bool,
    /// Says so when the connection is free, where their number has a limit.
    freed: Option<Freed>,
}

/// A connection that speaks another protocol than HTTP by now.
pub(crate) struct Switched {
    pub(crate) socket: Rc<TargetSocket>,
    /// What was read of it already.
    pub(crate) read: Bytes,
    _open: Open,
    _freed: Option<Freed>,
}

/// Tells those that wait that a connection of this thread is free.
struct Freed(Arc<Load>, usize);

impl Drop for Freed {
    fn drop(&mut self) {
        self.0.freed(self.1);
    }
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
    /// The request, when no byte of it was written, or the target did not look at it.
    pub(crate) request: Option<Box<Request<RequestBody>>>,
    /// Whether the target says that it did not look at the request, and may say so again.
    pub(crate) unseen: bool,
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
    /// It ended the stream.
    Reset(Reset),
}

impl Lease {
    /// An idle connection, if there is one.
    pub(crate) fn idle(pools: &Rc<Pools>, (target, caller): Aim<'_>) -> Option<Self> {
        let kind = pools.take(target, caller)?;
        Some(Self::of(pools, (target, caller), kind, true))
    }

    /// A new connection.
    ///
    /// # Errors
    /// What connecting said.
    pub(crate) async fn connect(
        pools: &Rc<Pools>,
        group: &Arc<GroupSlot>,
        (target, caller): Aim<'_>,
        room: Room,
    ) -> std::io::Result<Self> {
        let kind = match group.version {
            ProtocolVersion::Http1 => {
                connect::connect(pools, group, (target, caller), room).await?
            }
            ProtocolVersion::Http2 | ProtocolVersion::Grpc => {
                connect::join(pools, group, (target, caller), room).await?
            }
        };
        Ok(Self::of(pools, (target, caller), kind, false))
    }

    fn of(pools: &Rc<Pools>, (target, caller): Aim<'_>, kind: Usable, reused: bool) -> Self {
        Self {
            pools: Rc::clone(pools),
            target: Arc::clone(target),
            caller: caller.cloned(),
            kind,
            reused,
            freed: None,
        }
    }

    /// The group's connections have a limit.
    pub(crate) fn limited(mut self, load: &Arc<Load>) -> Self {
        self.freed = Some(Freed(Arc::clone(load), self.pools.thread));
        self
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
                Box::pin(send_shared(shared, request, keeps, exchange.meter())).await
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

    /// The connection, when the response has switched protocols.
    pub(crate) fn switched(self) -> Option<Switched> {
        let Usable::Http1(link) = self.kind else {
            return None;
        };
        let (socket, read, open) = link.switched()?;
        Some(Switched {
            socket,
            read,
            _open: open,
            _freed: self.freed,
        })
    }

    /// The exchange is over: keeps the connection for others, if it can carry another exchange.
    pub(crate) fn release(self) {
        let now = self.pools.clock.get();
        // Dropped last, so that a request that is woken finds the connection.
        let _freed = self.freed;
        let mut link = match self.kind {
            Usable::Http1(link) => link,
            Usable::Http2(seat) => return seat.leave(now),
        };
        let lifetime = self.pools.config.max_connection_lifetime;
        let old = now.saturating_duration_since(link.born) > lifetime;
        if !old && !self.target.is_gone() && !link.is_wanted_elsewhere() && link.rests() {
            link.idle_since = now;
            self.pools.put(&self.target, self.caller.as_ref(), link);
        }
    }
}

impl Cause {
    fn of(error: &Error) -> Self {
        match () {
            () if error.is_parse() => Self::Protocol,
            () if error.is_timed_out() => Self::Unreachable,
            () => error.reset().map_or(Self::Closed, Self::Reset),
        }
    }
}

impl NotSent {
    /// Whether it is the target's fault. A connection that was idle may have been closed meanwhile, and who waits for the rest
    /// of a client's body has nothing to answer yet.
    pub(crate) fn speaks_against_target(&self, reused: bool, meter: &Meter) -> bool {
        let is_stale = reused && self.cause == Cause::Closed;
        let awaits_client = self.cause == Cause::Timeout && meter.awaits_client();
        !(self.unseen || is_stale || awaits_client || meter.client_failed.get())
    }

    fn because(cause: Cause) -> Self {
        Self {
            request: None,
            unseen: false,
            spare: None,
            cause,
        }
    }
}

/// Until the target has answered, what was sent is kept, should it say that it did not look at it.
async fn send_shared(
    shared: &mut Seat<RequestBody>,
    mut request: Box<Request<RequestBody>>,
    keeps: bool,
    meter: &Meter,
) -> Result<Response<Source>, NotSent> {
    let head = spare::head_of(&request);
    let kept = request.body_mut().keep();
    let sent = shared.send(*request, |cx| given_up(meter, false, cx)).await;
    let lost = match sent {
        Ok(Ok(response)) => {
            kept.forget();
            return Ok(response);
        }
        Ok(Err(lost)) => lost,
        Err(cause) => return Err(NotSent::because(cause)),
    };
    let failed = NotSent::because(Cause::of(&lost.error));
    if lost.unseen {
        let again = || kept.again().map(|body| Box::new(head.map(|()| body)));
        return Err(NotSent {
            request: lost.request.or_else(again),
            unseen: true,
            ..failed
        });
    }
    Err(NotSent {
        spare: (keeps && spare::is_safe(head.method())).then_some(head),
        ..failed
    })
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
