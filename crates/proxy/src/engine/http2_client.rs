//! HTTP/2 connections to targets, each shared by exchanges of one thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::client::{Outgoing, unsent};
use super::{Error, LocalExecutor, Source};
use crate::framing::MAX_RESPONSE_HEAD;
use crate::stream::Stream;

/// What a target may send on one stream before its client has taken any of it, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;

/// How many turns the end of a connection is held back, so that each stream learns before it what became of it: the
/// error goes from the connection to the stream, and from there to the exchange.
const TURNS: u8 = 4;

/// An HTTP/2 connection, as one of those who share it sees it. It has a task of its own.
pub(crate) struct Http2<B: Outgoing + Unpin> {
    sender: http2::SendRequest<B>,
    connection: Rc<RefCell<Engine<B>>>,
    line: Rc<Line>,
}

type Engine<B> = http2::Connection<TokioIo<Watched>, B, LocalExecutor>;

/// What is known of a connection.
struct Line {
    /// Exchanges that use it.
    users: Cell<usize>,
    /// When the last one left.
    idle_since: Cell<Instant>,
    /// Whether the target has said that it takes no more streams.
    leaving: Cell<bool>,
    /// Whether the bytes from the target have ended.
    ended: Cell<bool>,
    /// Told when bytes came, and when the connection is over.
    stirred: Notify,
}

/// The right to one exchange over a connection.
pub(crate) struct Seat<B: Outgoing + Unpin>(Http2<B>);

/// Why no response came over a connection that is shared.
pub(crate) struct Lost<B> {
    pub(crate) error: Error,
    /// The request, when no byte of it was written.
    pub(crate) request: Option<Box<Request<B>>>,
    /// Whether the target did not look at the request: it was not written, or the target says so (RFC 9113 sections 6.8
    /// and 8.7).
    pub(crate) unseen: bool,
}

impl<B: Outgoing + Unpin> Clone for Http2<B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            connection: Rc::clone(&self.connection),
            line: Rc::clone(&self.line),
        }
    }
}

impl<B: Outgoing + Unpin> Http2<B> {
    /// Over a stream that is connected, once the target has said how many streams it takes; it is waited for that long.
    /// `open` is dropped when the connection has ended.
    ///
    /// # Errors
    /// The target hung up.
    pub(crate) async fn over<T: 'static>(
        stream: Stream,
        open: T,
        now: Instant,
        patience: Duration,
    ) -> io::Result<Self> {
        let line = Rc::new(Line {
            users: Cell::new(0),
            idle_since: Cell::new(now),
            leaving: Cell::new(false),
            ended: Cell::new(false),
            stirred: Notify::new(),
        });
        let watched = Watched {
            stream,
            turns: TURNS,
            line: Rc::clone(&line),
        };
        // All clients share the connection: one of them that does not read must not use its window up.
        let shaken = http2::Builder::new(LocalExecutor)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(256 * STREAM_WINDOW)
            .initial_max_send_streams(0)
            .max_header_list_size(u32::try_from(MAX_RESPONSE_HEAD).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(watched))
            .await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        let connection = Rc::new(RefCell::new(connection));
        let driven = Rc::clone(&connection);
        let watched = Rc::clone(&line);
        tokio::task::spawn_local(async move {
            let _open = open;
            let ended = poll_fn(|cx| Pin::new(&mut *driven.borrow_mut()).poll(cx)).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP/2 connection to a target ended");
            }
            watched.leaving.set(true);
            watched.stirred.notify_one();
        });
        let shared = Self {
            sender,
            connection,
            line,
        };
        // Who does not say anything in time is found out by the first exchange.
        let _ = tokio::time::timeout(patience, shared.introduced()).await;
        Ok(shared)
    }

    /// Ready when the target's settings are there, which are the first that it says (RFC 9113 section 3.4), or it has
    /// gone.
    async fn introduced(&self) {
        while self.most() == 0 && self.is_usable() {
            self.line.stirred.notified().await;
        }
    }

    /// How many streams the target takes at once.
    fn most(&self) -> usize {
        self.connection.borrow().current_max_send_streams()
    }

    /// Whether it can carry another exchange, now or when one of its exchanges is over.
    pub(crate) fn is_usable(&self) -> bool {
        !self.line.leaving.get() && !self.sender.is_closed()
    }

    /// A seat, if one is free. There is always one where nothing goes on.
    pub(crate) fn seat(&self) -> Option<Seat<B>> {
        let taken = self.line.users.get();
        (taken < self.most().max(1)).then(|| {
            self.line.users.set(taken + 1);
            Seat(self.clone())
        })
    }

    /// For how long nothing has gone over it; `None` while something does.
    pub(crate) fn idle(&self, now: Instant) -> Option<Duration> {
        let since = self.line.idle_since.get();
        (self.line.users.get() == 0).then(|| now.saturating_duration_since(since))
    }
}

impl<B: Outgoing + Unpin> Seat<B> {
    /// As [`super::client::Http1::send`], where `wait` returns a reason to give up.
    ///
    /// # Errors
    /// What went wrong, or the reason of `wait`.
    pub(crate) async fn send<T>(
        &mut self,
        request: Request<B>,
        mut wait: impl FnMut(&mut Context<'_>) -> Option<T>,
    ) -> Result<Result<Response<Source>, Lost<B>>, T> {
        let Http2 { sender, line, .. } = &mut self.0;
        let mut reply = pin!(sender.try_send_request(request));
        poll_fn(|cx| match reply.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(Ok(response.map(Source)))),
            Poll::Ready(Err(error)) => {
                let (error, request) = unsent(error);
                // Before the bytes have ended, this is said only of streams that the target did not look at.
                let passed_over = error.is_go_away() && !line.ended.get();
                line.leaving.set(line.leaving.get() || passed_over);
                Poll::Ready(Ok(Err(Lost {
                    unseen: passed_over || error.is_refused_stream() || request.is_some(),
                    error,
                    request,
                })))
            }
            Poll::Pending => match wait(cx) {
                Some(reason) => Poll::Ready(Err(reason)),
                None => Poll::Pending,
            },
        })
        .await
    }

    /// The exchange is over.
    pub(crate) fn leave(&self, now: Instant) {
        self.0.line.idle_since.set(now);
    }
}

impl<B: Outgoing + Unpin> Drop for Seat<B> {
    fn drop(&mut self) {
        let users = &self.0.line.users;
        users.set(users.get().saturating_sub(1));
    }
}

/// A target's bytes, whose end comes a little later than it did.
struct Watched {
    stream: Stream,
    turns: u8,
    line: Rc<Line>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer));
        this.line.stirred.notify_one();
        let is_end = read.is_err() || buffer.filled().len() == before;
        if !is_end {
            return Poll::Ready(Ok(()));
        }
        // What a read fails with is said once: then the end says as much.
        if read.is_ok() && this.turns > 0 {
            this.turns -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.line.ended.set(true);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.line
            .ended
            .set(self.line.ended.get() || written.is_err());
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces));
        self.line
            .ended
            .set(self.line.ended.get() || written.is_err());
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
