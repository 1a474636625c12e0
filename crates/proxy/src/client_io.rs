//! A client's socket, as hyper reads and writes it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::framing::Guard;
use crate::http2::{Http2Guard, Out};

/// A socket whose first bytes were read already.
pub(crate) struct ClientIo {
    stream: TcpStream,
    first: Vec<u8>,
    connection: Rc<Connection>,
    /// Of an HTTP/1.1 connection.
    guard: Option<Guard>,
    /// Of an HTTP/2 connection.
    http2: Option<Box<Http2Guard>>,
    /// Whether hyper was not told that the client has ended its side.
    hidden: bool,
}

/// What a socket's owner sees of it while hyper has it.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Whether nothing of a request was read that hyper has not got, and no part of one.
    between: Cell<bool>,
    /// Whether the last attempt to read found nothing.
    dry: Cell<bool>,
    /// Whether hyper has nothing to write.
    flushed: Cell<bool>,
    closing: Cell<bool>,
    /// Since when the kernel has taken nothing of what is to be written.
    blocked: Cell<Option<Instant>>,
}

impl Wire {
    /// Before hyper is polled.
    pub(crate) fn look(&self) {
        self.dry.set(false);
    }

    /// After hyper was polled: whether it holds nothing but its buffers. It flushes whenever its own buffer is
    /// empty, and reads while it waits for a request.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.between.get() && self.dry.get() && self.flushed.get() && !self.closing.get()
    }

    /// For how long nothing could be written.
    pub(crate) fn blocked_for(&self, now: Instant) -> Duration {
        let since = self.blocked.get();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn wrote<T>(&self, connection: &Connection, polled: Poll<T>) -> Poll<T> {
        self.flushed.set(false);
        match polled {
            Poll::Ready(_) => self.blocked.set(None),
            Poll::Pending if self.blocked.get().is_none() => {
                self.blocked.set(Some(connection.now()));
            }
            Poll::Pending => {}
        }
        polled
    }
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Box<[u8]>> =
        std::cell::RefCell::new(vec![0; 64 * 1024].into_boxed_slice());
}

/// Lends the thread's own room.
pub(crate) fn with_scratch<T>(look: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| look(scratch))
}

impl ClientIo {
    pub(crate) fn http1(stream: TcpStream, mut first: Vec<u8>, connection: Rc<Connection>) -> Self {
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

    pub(crate) fn http2(stream: TcpStream, came: &[u8], connection: Rc<Connection>) -> Self {
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

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
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
        SCRATCH.with_borrow_mut(|scratch| {
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
        SCRATCH.with_borrow_mut(|scratch| {
            let room = cursor.remaining().min(scratch.len());
            let mut buffer = ReadBuf::new(&mut scratch[..room]);
            let wire = &this.connection.wire;
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer);
            wire.dry.set(read.is_pending());
            if read.is_pending() {
                let between = |guard: &Guard| guard.is_between_messages();
                wire.between.set(this.guard.as_ref().is_some_and(between));
            }
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
        let seam = &this.connection.seam;
        let written = seam.poll_write(&mut this.stream, cx, bytes);
        this.connection.wire.wrote(&this.connection, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let connection = &this.connection;
        let flushed = connection.seam.poll_flush(&mut this.stream, cx);
        let flushed = connection.wire.wrote(connection, flushed);
        if flushed.is_pending() {
            return flushed;
        }
        connection.wire.flushed.set(true);
        if this.hidden && !connection.is_active() {
            this.hidden = false;
            cx.waker().wake_by_ref();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.wire.closing.set(true);
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
        let seam = &this.connection.seam;
        let written = seam.poll_write_vectored(&mut this.stream, cx, bufs);
        this.connection.wire.wrote(&this.connection, written)
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
        SCRATCH.with_borrow_mut(|scratch| {
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
