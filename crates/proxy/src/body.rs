//! Bodies on their way: nothing is gathered, each frame is passed on when the other side takes it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::flight::Flight;
use crate::meter::{Meter, Side};
use crate::payload::{Payload, Upload};
use crate::refusal::Failure;
use crate::upstream::Lease;

/// A body towards the client.
pub(crate) enum Body {
    /// Made here.
    Full(Bytes),
    /// A target's.
    Relay(Box<Relay>),
}

/// A target's body and what must be done when it ends.
pub(crate) struct Relay {
    incoming: Incoming,
    lease: Option<Lease>,
    flight: Box<Flight>,
}

/// The target's body broke off; the client's connection must end so that it notices.
#[derive(Debug, thiserror::Error)]
#[error("the target's response broke off")]
pub(crate) struct BrokenOff;

impl Body {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }

    /// A target's body. One that is empty ends here and now.
    pub(crate) fn relay(incoming: Incoming, lease: Lease, flight: Box<Flight>) -> Self {
        let mut relay = Box::new(Relay {
            incoming,
            lease: Some(lease),
            flight,
        });
        if http_body::Body::is_end_stream(&relay.incoming) {
            relay.end();
            return Self::Full(Bytes::new());
        }
        Self::Relay(relay)
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
            Self::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Relay(relay) => relay.lease.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Payload>, BrokenOff>>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        let meter = Rc::clone(self.flight.meter());
        ready!(meter.poll_room(Side::Client, cx));
        match ready!(lease.poll_body(&mut self.incoming, self.flight.meter(), cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.flight.sent(data.len() as u64);
                }
                let frame = frame.map_data(|bytes| Payload::charged(bytes, &meter));
                if http_body::Body::is_end_stream(&self.incoming) {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) if self.flight.meter().expired.get() => {
                self.fail(Failure::TargetDataTimeout)
            }
            Some(Err(_)) => self.fail(Failure::TargetConnectionClosed),
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Payload>, BrokenOff>>> {
        self.lease = None;
        self.flight.fail(failure);
        self.flight.finish();
        Poll::Ready(Some(Err(BrokenOff)))
    }

    /// The last byte was handed over: the connection is free for others, the request is done.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
        self.flight.finish();
    }
}

/// The client's body on its way to a target.
pub(crate) struct RequestBody {
    /// `None`: a body that is known to be empty.
    incoming: Option<Incoming>,
    /// What of it waits for the target; there is none until the first piece.
    left: Option<Arc<AtomicUsize>>,
    meter: Rc<Meter>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, meter: Rc<Meter>) -> Self {
        if http_body::Body::is_end_stream(&incoming) {
            meter.request_complete();
        }
        Self {
            incoming: Some(incoming),
            left: None,
            meter,
        }
    }

    /// The body of a request that has none.
    pub(crate) fn empty(meter: Rc<Meter>) -> Self {
        Self {
            incoming: None,
            left: None,
            meter,
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Upload;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Upload>, hyper::Error>>> {
        ready!(self.meter.poll_room(Side::Target, cx));
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        self.meter.touch();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.meter.received(data.len() as u64);
                }
                if self.is_end_stream() {
                    self.meter.request_complete();
                }
            }
            Some(Err(_)) => self.meter.client_failed.set(true),
            None => self.meter.request_complete(),
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| self.charged(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl RequestBody {
    fn charged(&mut self, bytes: Bytes) -> Upload {
        let left = self.left.get_or_insert_default();
        let upload = Upload::new(bytes, left);
        self.meter.owe_target(left);
        upload
    }
}

/// For polls whose progress is driven by the poll of the connection beside them.
pub(crate) fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
