//! A connection's bytes, whatever carries them.
//!
//! Everything above reads and writes octets of HTTP here. A connection in the clear is a socket; the octets of one under
//! TLS come out of records. Made from a client's socket in the clear as it is, or by [`Stream::knocking`] or [`Stream::opaque`],
//! from a target's by [`Stream::connected`], and nowhere else.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::Version;
use lath_net::accept::Slot;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::{Door, Knock, Opened, Outward, Passed, Secured, Tls};

/// One end of a connection to a client or a target.
#[derive(Debug)]
pub(crate) enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<Tls>),
    /// Of a client, of which it is not known yet what it speaks.
    Knocking(Box<Knock>),
    /// Of a client whose TLS does not end here: nothing can be read.
    Passed(Box<Passed>),
}

impl Stream {
    /// What came of a socket that a listener accepted where TLS is spoken; `slot` is the handshake's.
    pub(crate) fn knocking(socket: TcpStream, door: Rc<dyn Door>, slot: Slot) -> Self {
        Self::Knocking(Box::new(Knock::new(socket, door, slot)))
    }

    /// What came of a socket that a listener accepted where TCP is carried: it is passed on as it is.
    pub(crate) fn opaque(socket: TcpStream) -> Self {
        Self::Passed(Box::new(Passed {
            socket,
            came: Vec::new(),
            server_name: None,
        }))
    }

    /// What came of a socket that is connected to a target, or to the gateway of its region; under TLS if `tls` is given.
    ///
    /// # Errors
    /// The target does not speak TLS as this end does.
    pub(crate) async fn connected(socket: TcpStream, tls: Option<Outward>) -> io::Result<Self> {
        let Some(outward) = tls else {
            return Ok(Self::Plain(socket));
        };
        let mut tls = Box::new(Tls::to_target(socket, outward)?);
        std::future::poll_fn(|cx| tls.poll_shaken(cx)).await?;
        Ok(Self::Tls(tls))
    }

    /// The version of HTTP that both ends agreed on before the first request (ALPN, RFC 7301). `None`: its first
    /// bytes tell.
    pub(crate) fn agreed_version(&self) -> Option<Version> {
        match self {
            Self::Tls(tls) => tls.agreed_version(),
            Self::Plain(_) | Self::Knocking(_) | Self::Passed(_) => None,
        }
    }

    /// Whether it is not known yet what comes of it: the client did not say, or shakes hands.
    pub(crate) fn is_opening(&self) -> bool {
        match self {
            Self::Knocking(_) => true,
            Self::Tls(tls) => tls.secured().is_none(),
            Self::Plain(_) | Self::Passed(_) => false,
        }
    }

    /// What the handshake came to, once it is over.
    pub(crate) fn secured(&self) -> Option<Secured> {
        match self {
            Self::Tls(tls) => tls.secured(),
            Self::Plain(_) | Self::Knocking(_) | Self::Passed(_) => None,
        }
    }

    /// Ready when [`Self::try_read`] may find something; else `cx` is woken when it may. A client's handshake happens
    /// meanwhile. Ready also when what the client says is to be passed on.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self {
                Self::Plain(socket) => return socket.poll_read_ready(cx),
                Self::Tls(tls) => return tls.poll_readable(cx),
                Self::Passed(_) => return Poll::Ready(Ok(())),
                Self::Knocking(knock) => {
                    *self = match ready!(knock.poll_open(cx))? {
                        Opened::Plain(socket) => Self::Plain(socket),
                        Opened::Tls(tls) => Self::Tls(tls),
                        Opened::Passed(passed) => Self::Passed(passed),
                    };
                }
            }
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is there. Else what the kernel says, or what is wrong with the peer's records.
    pub(crate) fn try_read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(room),
            Self::Tls(tls) => tls.try_read(room),
            Self::Knocking(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Passed(_) => Err(opaque()),
        }
    }

    /// Whether nothing came from the other end that was not read: no byte, no end, no error. The kernel is asked,
    /// because the reactor knows no more than it was told last.
    pub(crate) fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(socket) => {
                let seen = SockRef::from(&*socket).peek(&mut [MaybeUninit::uninit()]);
                seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(tls) => tls.is_quiet(),
            Self::Knocking(_) | Self::Passed(_) => false,
        }
    }
}

/// Only a connection in the clear or one whose handshake was begun can be read and written.
fn opaque() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(tls) => tls.poll_read(cx, buffer),
            Self::Knocking(_) | Self::Passed(_) => Poll::Ready(Err(opaque())),
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
            Self::Tls(tls) => tls.poll_write(cx, |writer| io::Write::write(writer, bytes)),
            Self::Knocking(_) | Self::Passed(_) => Poll::Ready(Err(opaque())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(tls) => {
                tls.poll_write(cx, |writer| io::Write::write_vectored(writer, pieces))
            }
            Self::Knocking(_) | Self::Passed(_) => Poll::Ready(Err(opaque())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(_) => true,
            Self::Knocking(_) | Self::Passed(_) => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => tls.poll_flush(cx),
            Self::Knocking(_) | Self::Passed(_) => Poll::Ready(Err(opaque())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_shutdown(cx),
            Self::Knocking(_) | Self::Passed(_) => Poll::Ready(Err(opaque())),
        }
    }
}
