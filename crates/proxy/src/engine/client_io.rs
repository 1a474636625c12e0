//! A client's bytes, as hyper reads and writes them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Connection;
use crate::framing::Guard;
use crate::http2::{Http2Guard, Out};
use crate::scratch::with_scratch;
use crate::stream::Stream;

/// A client's stream whose first bytes were read already.
pub(super) struct ClientIo {
    stream: Stream,
    first: Vec<u8>,
    connection: Rc<Connection>,
    /// Of an HTTP/1.1 connection.
    guard: Option<Guard>,
    /// Of an HTTP/2 connection.
    http2: Option<Box<Http2Guard>>,
    /// Whether hyper was not told that the client has ended its side.
    hidden: bool,
}

impl ClientIo {
    pub(super) fn http1(stream: Stream, mut first: Vec<u8>, connection: Rc<Connection>) -> Self {
        let mut guard = Guard::default();
        guard.inspect(&mut first);
        Self {
            stream,
            first,
            connection,
            guard: Some(guard),
            http2: None,
            hidden: false,
        }
    }

    pub(super) fn http2(stream: Stream, came: &[u8], connection: Rc<Connection>) -> Self {
        let (mut guard, mut first) = (Box::<Http2Guard>::default(), Vec::new());
        guard.follow(came, &mut first);
        Self {
            stream,
            first,
            connection,
            guard: None,
            http2: Some(guard),
            hidden: false,
        }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// The stream, and what came that hyper did not get, when HTTP is over on it. `None`: something may be held back, or what
    /// came was overwritten.
    pub(super) fn into_rest(self) -> Option<(Stream, Vec<u8>)> {
        let whole = !self.connection.seam.is_blocked() && !self.has_offended();
        whole.then_some((self.stream, self.first))
    }
}

/// How long a refused client may go on sending.
const LINGER: Duration = Duration::from_secs(2);

/// What AWS answers where hyper says 431.
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

impl ClientIo {
    /// Whether hyper itself refuses a head that is too long: then nothing of a target is in the bytes, and
    /// they are few enough to be written at once.
    fn is_hypers_431(&self, bytes: &[u8]) -> bool {
        self.has_offended() && !self.connection.is_active() && bytes.starts_with(b"HTTP/1.1 431 ")
    }

    /// Whether the client has said all it has to say, but not got its answer yet: hyper would take the end of
    /// its side for the end of the connection. A reset is not hidden.
    fn hides_end(&mut self) -> bool {
        let connection = &self.connection;
        let answering = connection.is_active() || connection.seam.is_unflushed();
        let between = |guard: &Guard| guard.is_between_messages();
        self.hidden = answering && self.guard.as_ref().is_some_and(between);
        self.hidden
    }

    /// Gives hyper what is there for it already.
    fn hand_over(&mut self, cursor: &mut ReadBufCursor<'_>) {
        let count = self.first.len().min(cursor.remaining());
        cursor.put_slice(&self.first[..count]);
        self.first.drain(..count);
        if self.first.is_empty() {
            self.first = Vec::new();
        }
    }

    /// Reads until there is something that hyper may have, or the client has ended its side.
    fn read_http2(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        with_scratch(|scratch| {
            let before = cursor.remaining();
            let room = before.min(scratch.len());
            loop {
                let mut buffer = ReadBuf::new(&mut scratch[..room]);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let Some(guard) = self.http2.as_mut().filter(|_| !buffer.filled().is_empty())
                else {
                    return Poll::Ready(Ok(()));
                };
                let rest = &mut self.first;
                guard.pass(buffer.filled(), &mut Handed { cursor, rest });
                if cursor.remaining() < before {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    fn has_offended(&self) -> bool {
        self.guard
            .as_ref()
            .is_some_and(|guard| guard.offence().is_some())
    }
}

/// What hyper may have, and what it has no room for yet.
struct Handed<'a, 'b> {
    cursor: &'a mut ReadBufCursor<'b>,
    rest: &'a mut Vec<u8>,
}

impl Out for Handed<'_, '_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = match self.rest.is_empty() {
            true => self.cursor.remaining().min(bytes.len()),
            false => 0,
        };
        let (now, later) = bytes.split_at(room);
        self.cursor.put_slice(now);
        self.rest.extend_from_slice(later);
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            this.hand_over(&mut cursor);
            return Poll::Ready(Ok(()));
        }
        if this.http2.is_some() {
            return this.read_http2(cx, &mut cursor);
        }
        with_scratch(|scratch| {
            let room = cursor.remaining().min(scratch.len());
            let mut buffer = ReadBuf::new(&mut scratch[..room]);
            let wire = &this.connection.wire;
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer);
            if read.is_pending() {
                let between = |guard: &Guard| guard.is_between_messages();
                wire.ran_dry(this.guard.as_ref().is_some_and(between));
                return Poll::Pending;
            }
            wire.came();
            ready!(read)?;
            if buffer.filled().is_empty() && this.hides_end() {
                return Poll::Pending;
            }
            if let Some(guard) = &mut this.guard {
                guard.inspect(buffer.filled_mut());
            }
            cursor.put_slice(buffer.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl Write for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_hypers_431(bytes) {
            ready!(Pin::new(&mut self.stream).poll_write(cx, BAD_REQUEST))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let this = &mut *self;
        let connection = &this.connection;
        let written = connection.seam.poll_write(&mut this.stream, cx, bytes);
        connection.wire.wrote(|| connection.now(), written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let connection = &this.connection;
        let flushed = connection.seam.poll_flush(&mut this.stream, cx);
        let flushed = connection.wire.wrote(|| connection.now(), flushed);
        if flushed.is_pending() {
            return flushed;
        }
        connection.wire.flushed();
        if this.hidden && !connection.is_active() {
            this.hidden = false;
            cx.waker().wake_by_ref();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.wire.closes();
        ready!(self.as_mut().poll_flush(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.linger(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.first().is_some_and(|first| self.is_hypers_431(first)) {
            ready!(Pin::new(&mut self.stream).poll_write(cx, BAD_REQUEST))?;
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let this = &mut *self;
        let connection = &this.connection;
        let seam = &connection.seam;
        let written = seam.poll_write_vectored(&mut this.stream, cx, bufs);
        connection.wire.wrote(|| connection.now(), written)
    }
}

impl ClientIo {
    /// After a refusal, reads on for a moment: a socket closed with bytes unread resets the connection, and
    /// the client would never see why.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_offended() && !self.connection.lingers.get() {
            return Poll::Ready(Ok(()));
        }
        self.connection.finish(Instant::now() + LINGER);
        with_scratch(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }
}
