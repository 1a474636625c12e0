//! A target's body on its way to a client: nothing is gathered, each frame is passed on when the client takes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::context::RequestContext;
use crate::engine::{Ended, Reset, Source};
use crate::fields;
use crate::interim;
use crate::meter::Side;
use crate::payload::Payload;
use crate::refusal::Failure;
use crate::seam::Pause;
use crate::upstream::{Cause, Lease};

/// A body towards the client.
pub(crate) enum Body {
    /// Made here.
    Full(Bytes),
    /// A function's, which is whole.
    Answer(Option<Payload>),
    /// A target's.
    Relay(Box<Relay>),
}

/// A target's body and what must be done when it ends.
pub(crate) struct Relay {
    incoming: Source,
    /// The first frames, which were read before the head was answered.
    first: Ahead,
    ending: Option<Ending>,
    lease: Option<Lease>,
    context: Box<RequestContext>,
    /// How the target ended its stream of HTTP/2, if it did before the end.
    reset: Option<Reset>,
}

/// Frames in their order. Mostly there is one, which needs no room of its own.
#[derive(Default)]
struct Ahead {
    next: Option<Frame<Payload>>,
    others: VecDeque<Frame<Payload>>,
}

impl Ahead {
    fn push(&mut self, frame: Frame<Payload>) {
        match self.next {
            None => self.next = Some(frame),
            Some(_) => self.others.push_back(frame),
        }
    }

    fn pop(&mut self) -> Option<Frame<Payload>> {
        std::mem::replace(&mut self.next, self.others.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    fn len(&self) -> usize {
        usize::from(self.next.is_some()) + self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Frame<Payload>> {
        self.next.iter().chain(&self.others)
    }
}

/// How a body ends, once everything before it is written.
struct Ending {
    how: How,
    pause: Pause,
}

enum How {
    BrokenOff(BrokenOff),
    Trailers(HeaderMap),
}

/// As many frames are looked at before the head is answered, if they are there.
const LOOK_AHEAD: usize = 2;

/// A body that is announced and has no more bytes left than this is waited for before its head is answered.
const SHORT: u64 = 16 << 10;

/// As many pieces of a short body are waited for.
const SHORT_PIECES: usize = 64;

/// The target's body broke off; the client's connection, or its stream of HTTP/2, must end so that it notices.
#[derive(Debug, thiserror::Error)]
#[error("the target's response broke off")]
pub(crate) struct BrokenOff(#[source] Option<Ended>);

impl Body {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }

    pub(crate) fn answer(payload: Payload) -> Self {
        Self::Answer(Some(payload).filter(|it| it.remaining() > 0))
    }

    /// A target's body, begun with what is there already, and whether it is known to break off. The rest of a short
    /// body is waited for, for `short_wait` at most.
    ///
    /// # Errors
    /// It is broken from the start, so that the head can still be replaced.
    pub(crate) async fn relay(
        incoming: Source,
        lease: Lease,
        context: Box<RequestContext>,
        short_wait: Duration,
    ) -> Result<(Self, bool), (Failure, Box<RequestContext>)> {
        let mut relay = Box::new(Relay {
            incoming,
            first: Ahead::default(),
            ending: None,
            lease: Some(lease),
            context,
            reset: None,
        });
        if relay.incoming.is_end_stream() {
            relay.end();
            return Ok((Self::Full(Bytes::new()), false));
        }
        let mut seen = std::future::poll_fn(|cx| Poll::Ready(relay.look_ahead(cx))).await;
        if seen.is_none() && relay.is_short() {
            let rest = std::future::poll_fn(|cx| relay.poll_short(cx));
            seen = tokio::time::timeout(short_wait, rest).await.ok().flatten();
        }
        match seen {
            Some(failure) if relay.first.is_empty() => Err((failure, relay.context)),
            Some(failure) => {
                relay.break_off(failure);
                Ok((Self::Relay(relay), true))
            }
            None if relay.is_over() => Ok((Self::Full(Bytes::new()), false)),
            None => Ok((Self::Relay(relay), false)),
        }
    }
}

impl http_body::Body for Body {
    type Data = Payload;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Payload>, BrokenOff>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = Payload::free(std::mem::take(bytes));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Answer(payload) => Poll::Ready(payload.take().map(|it| Ok(Frame::data(it)))),
            Self::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Answer(payload) => payload.is_none(),
            Self::Relay(relay) => relay.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Answer(payload) => {
                let left = payload.as_ref().map_or(0, Payload::remaining);
                SizeHint::with_exact(left as u64)
            }
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Payload>, BrokenOff>>> {
        if let Some(frame) = self.first.pop() {
            return self.pass(frame, cx);
        }
        if let Some(ending) = &mut self.ending {
            let http1 = !self.context.is_http2();
            let seam = http1.then_some(&self.context.connection().seam);
            ready!(ending.pause.poll(seam, cx));
            return Poll::Ready(self.ended());
        }
        match ready!(self.poll_target(cx)) {
            Some(Ok(frame)) => self.pass(frame, cx),
            Some(Err(cause)) => {
                let failure = self.failure_of(cause);
                self.break_off(failure);
                self.poll(cx)
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    /// Takes the first frames that are there already; returns why the body broke off, if it did.
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        while self.first.len() < LOOK_AHEAD {
            match self.poll_target(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => {
                    let last = frame.is_trailers() || self.incoming.is_end_stream();
                    self.first.push(frame);
                    if last {
                        break;
                    }
                }
                Poll::Ready(Some(Err(cause))) => return Some(self.failure_of(cause)),
                Poll::Ready(None) => {
                    self.end();
                    break;
                }
            }
        }
        None
    }

    /// Whether little is left of a body that is announced and on its way.
    fn is_short(&self) -> bool {
        let left = http_body::Body::size_hint(&self.incoming).exact();
        let more = left.is_some_and(|left| (1..=SHORT).contains(&left));
        more && self.lease.is_some() && self.first.len() < SHORT_PIECES
    }

    /// Ready when nothing is left of a short body, or it broke off.
    fn poll_short(&mut self, cx: &mut Context<'_>) -> Poll<Option<Failure>> {
        while self.is_short() {
            match ready!(self.poll_target(cx)) {
                Some(Ok(frame)) => self.first.push(frame),
                Some(Err(cause)) => return Poll::Ready(Some(self.failure_of(cause))),
                None => self.end(),
            }
        }
        Poll::Ready(None)
    }

    /// Hands a frame over.
    fn pass(
        &mut self,
        frame: Frame<Payload>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Payload>, BrokenOff>>> {
        match frame.into_trailers() {
            Ok(trailers) => self.end_with(trailers, cx),
            Err(frame) => {
                let last = self.first.is_empty() && self.ending.is_none();
                if last && self.lease.is_some() && self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// The next frame from the target.
    fn poll_target(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Payload>, Cause>>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        let meter = Rc::clone(self.context.meter());
        if meter.is_late() {
            return Poll::Ready(Some(Err(Cause::Timeout)));
        }
        ready!(meter.poll_room(Side::Client, cx));
        let polled = ready!(lease.poll_body(&mut self.incoming, &meter, cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.context.sent(data.len() as u64);
        }
        let charged = |frame: Frame<Bytes>| frame.map_data(|data| Payload::charged(data, &meter));
        Poll::Ready(polled.map(|frame| frame.map(charged)))
    }

    /// The target's connection is of no use any more.
    fn failure_of(&mut self, cause: Cause) -> Failure {
        self.lease = None;
        if let Cause::Reset(reset) = cause {
            self.reset = Some(reset);
        }
        match cause {
            Cause::Protocol => Failure::TargetProtocolError,
            _ if self.context.meter().expired.get() => Failure::TargetDataTimeout,
            _ => Failure::TargetConnectionClosed,
        }
    }

    /// Of trailers, what only Lath may say is left out.
    fn end_with(
        &mut self,
        mut trailers: HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Payload>, BrokenOff>>> {
        fields::clean_response_trailers(&mut trailers);
        self.context.note_grpc_status(&trailers);
        self.end();
        match () {
            () if trailers.is_empty() => Poll::Ready(None),
            () if self.context.is_http2() => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            () => {
                self.pause_before(How::Trailers(trailers));
                self.poll(cx)
            }
        }
    }

    /// hyper forgets what it has not written yet when a body fails: lets it write that first.
    fn pause_before(&mut self, how: How) {
        let pause = Pause::default();
        self.ending = Some(Ending { how, pause });
    }

    fn break_off(&mut self, failure: Failure) {
        self.context.fail(failure);
        self.context.finish();
        let broken = BrokenOff(self.reset.map(Reset::into_error));
        self.pause_before(How::BrokenOff(broken));
    }

    fn ended(&mut self) -> Option<Result<Frame<Payload>, BrokenOff>> {
        match self.ending.take()?.how {
            How::BrokenOff(broken) => Some(Err(broken)),
            How::Trailers(trailers) => {
                let seam = &self.context.connection().seam;
                seam.end_with(interim::lines(&trailers));
                None
            }
        }
    }

    /// The last byte was handed over: the connection is free for others, the request is done.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
        self.context.finish();
    }

    fn is_over(&self) -> bool {
        self.lease.is_none() && self.first.is_empty() && self.ending.is_none()
    }

    /// Of what is left.
    fn size_hint(&self) -> SizeHint {
        let hint = http_body::Body::size_hint(&self.incoming);
        let first = self.first.iter().filter_map(Frame::data_ref);
        let first: u64 = first.map(|data| data.remaining() as u64).sum();
        match hint.exact() {
            _ if self.lease.is_none() && self.ending.is_none() => SizeHint::with_exact(first),
            Some(rest) => SizeHint::with_exact(first + rest),
            None => hint,
        }
    }
}
