//! A connection's bytes, whatever carries them.
//!
//! Everything above reads and writes octets of HTTP here. A connection in the clear is a socket; one under TLS will be
//! another variant, whose octets come out of records. Made from a client's socket by [`Stream::accepted`], from a
//! target's by [`Stream::connected`], and nowhere else.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Version;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One end of a connection to a client or a target.
#[derive(Debug)]
pub(crate) enum Stream {
    /// In the clear.
    Plain(TcpStream),
}

impl Stream {
    /// What came of a socket that a listener accepted.
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    /// What came of a socket that is connected to a target, or to the gateway of its region.
    pub(crate) fn connected(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    /// The version of HTTP that both ends agreed on before the first request (ALPN, RFC 7301). `None`: its first
    /// bytes tell.
    pub(crate) fn agreed_version(&self) -> Option<Version> {
        match self {
            Self::Plain(_) => None,
        }
    }

    /// Ready when [`Self::try_read`] may find something; else `cx` is woken when it may.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is there. Else what the kernel says.
    pub(crate) fn try_read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(room),
        }
    }

    /// Whether nothing came from the other end that was not read: no byte, no end, no error. The kernel is asked,
    /// because the reactor knows no more than it was told last.
    pub(crate) fn is_quiet(&self) -> bool {
        let Self::Plain(socket) = self;
        let seen = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
        seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
