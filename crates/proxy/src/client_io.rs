//! A client's socket, as hyper reads and writes it.

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

/// A socket whose first bytes were read already.
pub(crate) struct ClientIo {
    stream: TcpStream,
    first: Vec<u8>,
    /// Of an HTTP/1.1 connection.
    http1: Option<Http1>,
}

struct Http1 {
    guard: Guard,
    connection: Rc<Connection>,
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Box<[u8]>> =
        std::cell::RefCell::new(vec![0; 64 * 1024].into_boxed_slice());
}

impl ClientIo {
    pub(crate) fn http1(stream: TcpStream, mut first: Vec<u8>, connection: Rc<Connection>) -> Self {
        let mut guard = Guard::default();
        guard.inspect(&mut first);
        let http1 = Some(Http1 { guard, connection });
        Self {
            stream,
            first,
            http1,
        }
    }

    pub(crate) fn http2(stream: TcpStream, first: Vec<u8>) -> Self {
        Self {
            stream,
            first,
            http1: None,
        }
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
        let offended =
            |http1: &Http1| http1.guard.offence().is_some() && !http1.connection.is_active();
        self.http1.as_ref().is_some_and(offended) && bytes.starts_with(b"HTTP/1.1 431 ")
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
            let count = this.first.len().min(cursor.remaining());
            cursor.put_slice(&this.first[..count]);
            this.first.drain(..count);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let room = cursor.remaining().min(scratch.len());
            let mut buffer = ReadBuf::new(&mut scratch[..room]);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer))?;
            if let Some(http1) = &mut this.http1 {
                http1.guard.inspect(buffer.filled_mut());
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

impl ClientIo {
    /// After a refusal, reads on for a moment: a socket closed with bytes unread resets the connection, and
    /// the client would never see why.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(http1) = self
            .http1
            .as_ref()
            .filter(|http1| http1.guard.offence().is_some())
        else {
            return Poll::Ready(Ok(()));
        };
        http1.connection.finish(Instant::now() + LINGER);
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
