//! Connections to targets.
//!
//! An HTTP/1.1 connection has no task: the request that uses it drives it, so that a request costs no switch between tasks.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::nudge::Nudge;
use super::{Error, Source};
use crate::framing::MAX_RESPONSE_HEAD;
use crate::target_io::{TargetIo, TargetSocket};

/// A body on its way to a target.
pub(crate) trait Outgoing:
    Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static
{
}

impl<B> Outgoing for B where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static
{
}

/// Why no response came: what went wrong, and the request when no byte of it was written.
pub(crate) type Unsent<B> = (Error, Option<Box<Request<B>>>);

/// An HTTP/1.1 connection.
pub(crate) struct Http1<B: Outgoing> {
    sender: http1::SendRequest<B>,
    connection: Pin<Box<http1::Connection<TokioIo<TargetIo>, B>>>,
    finished: bool,
    nudge: Nudge,
}

/// What a body gives when it is polled.
type Polled = Option<Result<Frame<Bytes>, Error>>;

/// How the wait for a response goes on.
pub(crate) enum Wait<T> {
    /// What came meanwhile lets the request go on: looks at the connection once more.
    Again,
    /// Nothing happened.
    On,
    /// It is given up, for this reason.
    Over(T),
}

impl<B: Outgoing> Http1<B> {
    /// Over a socket that is connected. HTTP/1.1 shakes no hands, so that there is nothing to wait for.
    pub(crate) fn over(socket: &Rc<TargetSocket>) -> Option<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_RESPONSE_HEAD);
        let io = TokioIo::new(TargetIo(Rc::clone(socket)));
        match pin!(builder.handshake(io)).poll(&mut quiet()) {
            Poll::Ready(Ok((sender, connection))) => Some(Self {
                sender,
                connection: Box::pin(connection),
                finished: false,
                nudge: Nudge::new(),
            }),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    /// Reads and writes what can be read and written; `cx` is woken when there is more of it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let mut cx = self.nudge.attended(cx);
        if !self.finished && self.connection.as_mut().poll(&mut cx).is_ready() {
            self.finished = true;
        }
    }

    /// Leaves the connection to itself after a last look at it; whether it is open.
    pub(crate) fn leave(&mut self) -> bool {
        let mut cx = self.nudge.unattended();
        if !self.finished && self.connection.as_mut().poll(&mut cx).is_ready() {
            self.finished = true;
        }
        !self.finished && !self.sender.is_closed()
    }

    /// Leaves the connection to itself where the engine has nothing left to do. To be polled with: what happens to the
    /// connection from now on is noted, see [`Self::is_stirred`].
    pub(crate) fn unattended(&self) -> Context<'_> {
        self.nudge.unattended()
    }

    /// Whether something may have happened to the connection since it was left.
    pub(crate) fn is_stirred(&self) -> bool {
        self.nudge.is_stirred()
    }

    /// What was read beyond the last response, when that has switched protocols: HTTP is over on the connection. `None`: it is not.
    pub(crate) fn switched(self) -> Option<Bytes> {
        let connection = *Pin::into_inner(self.connection);
        self.finished.then(|| connection.into_parts().read_buf)
    }

    /// Whether a request can be sent.
    pub(crate) fn is_ready(&self) -> bool {
        !self.finished && self.sender.is_ready()
    }

    /// Sends a request and drives the connection until its response has come. `wait` is asked after each look at the
    /// connection that brought no response; its argument says whether the connection is over.
    ///
    /// # Errors
    /// What went wrong, or the reason of `wait`.
    pub(crate) async fn send<T>(
        &mut self,
        request: Request<B>,
        mut wait: impl FnMut(Ask, &mut Context<'_>) -> Wait<T>,
    ) -> Result<Result<Response<Source>, Unsent<B>>, T> {
        // Only the connection's own poll makes the reply ready, so the reply needs no waker, and tokio's
        // cooperative budget must not hold it back.
        self.nudge.mute(true);
        let reply = self.sender.try_send_request(request);
        self.nudge.mute(false);
        let mut reply = pin!(tokio::task::unconstrained(reply));
        poll_fn(|cx| {
            self.drive(cx);
            while let Wait::Again = wait(Ask::Driven, cx) {
                self.drive(cx);
            }
            match reply.as_mut().poll(&mut quiet()) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Ok(Ok(response.map(Source)))),
                Poll::Ready(Err(error)) => return Poll::Ready(Ok(Err(unsent(error)))),
                Poll::Pending => {}
            }
            match wait(
                Ask::Pending {
                    finished: self.finished,
                },
                cx,
            ) {
                Wait::Over(reason) => Poll::Ready(Err(reason)),
                Wait::Again | Wait::On => Poll::Pending,
            }
        })
        .await
    }

    /// The next frame of a response's body. `None`: the connection is over before the body.
    pub(crate) fn poll_body(
        &mut self,
        source: &mut Source,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Polled>> {
        let mut source = Pin::new(source);
        for _ in 0..2 {
            self.nudge.mute(true);
            let polled = source.as_mut().poll_frame(&mut quiet());
            self.nudge.mute(false);
            if let Poll::Ready(frame) = polled {
                return Poll::Ready(Some(frame));
            }
            self.drive(cx);
        }
        // The connection was driven after the body was asked: ask once more.
        match source.poll_frame(&mut quiet()) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending if self.finished => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// When [`Http1::send`] asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The connection was driven.
    Driven,
    /// There is no response yet.
    Pending {
        /// Whether the connection is over.
        finished: bool,
    },
}

/// What the engine says of a request that it could not send.
pub(super) fn unsent<B>(mut error: hyper::client::conn::TrySendError<Request<B>>) -> Unsent<B> {
    let request = error.take_message().map(Box::new);
    (error.into_error().into(), request)
}

/// For polls whose progress is driven by the poll of the connection beside them.
fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
