//! Connections under TLS.
//!
//! A client's connection begins with a [`Knock`]: its ClientHello is read, a [`Door`] says what becomes of it, and only
//! then anything is answered. What follows are records, which a [`Tls`] turns into the octets that they carry.

mod client;
mod knock;
mod offer;
mod trust;

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Version;
use lath_feed::telemetry::Word;
use lath_net::accept::Slot;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, IoState, ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::io::{AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

pub(crate) use client::Presented;
pub(crate) use knock::{Door, Knock, Opened, Passed, Way};
pub(crate) use offer::{Mutual, Offer, Offered, make};
pub(crate) use trust::Trust;

/// What a peer may send before a handshake is over; a client's part is the size of its ClientHello, a target's that of
/// its certificates.
const LONGEST_HANDSHAKE: usize = 64 * 1024;

/// What may wait to be sent, in bytes: all else stays with the writer.
const UNSENT: usize = 32 * 1024;

/// A connection under TLS, of a client or to a target.
pub(crate) struct Tls {
    socket: TcpStream,
    session: Connection,
    records: Records,
    /// Bytes that came before the handshake was over.
    shaking: usize,
    /// Octets that came and were not read yet.
    unread: usize,
    /// Whether none follow them: the peer said so, or hung up.
    ended: bool,
    /// Whether the peer was told that none follow.
    closed: bool,
    /// Of a client's handshake, until that is over.
    slot: Option<Box<Slot>>,
}

/// How a target is spoken to.
pub(crate) struct Outward {
    pub(crate) config: Arc<ClientConfig>,
    /// The server that is asked for; an address is not said (RFC 6066 section 3).
    pub(crate) name: ServerName<'static>,
}

/// Whether a handshake failed because of the peer's certificate, or for want of one.
pub(crate) fn is_about_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}

/// Whether a handshake failed because the peer refused what this end presented or asked for.
pub(crate) fn is_peers_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

/// What a handshake came to.
#[derive(Debug, Clone)]
pub(crate) struct Secured {
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) version: Word,
    /// As OpenSSL names it.
    pub(crate) cipher: Word,
    /// The server's name as the client gave it.
    pub(crate) server_name: Option<String>,
    /// What the client presented.
    pub(crate) client: Option<Rc<Presented>>,
}

impl Tls {
    /// Of a client that sent these bytes so far; `slot` is the handshake's.
    ///
    /// # Errors
    /// The configuration is of no use.
    pub(crate) fn of_client(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        came: &[u8],
        slot: Option<Box<Slot>>,
    ) -> io::Result<Self> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut this = Self::over(socket, session.into());
        this.slot = slot;
        let mut left = came;
        while !left.is_empty() {
            this.session.read_tls(&mut left)?;
            this.process()?;
        }
        this.records.advance(came);
        this.shaking = came.len();
        Ok(this)
    }

    /// To a target.
    ///
    /// # Errors
    /// The configuration is of no use.
    pub(crate) fn to_target(socket: TcpStream, outward: Outward) -> io::Result<Self> {
        let Outward { config, name } = outward;
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self::over(socket, session.into()))
    }

    fn over(socket: TcpStream, mut session: Connection) -> Self {
        session.set_buffer_limit(Some(UNSENT));
        Self {
            socket,
            session,
            records: Records::default(),
            shaking: 0,
            unread: 0,
            ended: false,
            closed: false,
            slot: None,
        }
    }

    /// What the handshake came to; `None` before it is over.
    pub(crate) fn secured(&self) -> Option<Secured> {
        let session = &self.session;
        let suite = session.negotiated_cipher_suite()?;
        let version = session.protocol_version()?;
        let server_name = match session {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        let chain = match session {
            Connection::Server(server) => server.peer_certificates(),
            Connection::Client(_) => None,
        };
        (!session.is_handshaking()).then(|| Secured {
            client: chain.and_then(Presented::of).map(Rc::new),
            version: offer::version_name(version),
            cipher: offer::openssl_name(suite.suite()),
            server_name,
        })
    }

    /// What both ends agreed on; HTTP/1.1 where the client offered nothing. `None` before the handshake is over.
    pub(crate) fn agreed_version(&self) -> Option<Version> {
        let over = !self.session.is_handshaking();
        over.then(|| match self.session.alpn_protocol() {
            Some(offer::HTTP2) => Version::HTTP_2,
            _ => Version::HTTP_11,
        })
    }

    /// Completes the handshake.
    ///
    /// # Errors
    /// The peer hung up, or does not speak TLS as this end does.
    pub(crate) fn poll_shaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            // What cannot be sent now is waited for, but what comes meanwhile is read.
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(self.socket.poll_read_ready(cx))?;
            self.take_in(Reactor::Notified)?;
        }
        self.poll_send(cx)
    }

    /// As [`crate::stream::Stream::poll_readable`].
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        knock::held(self.slot.as_deref(), cx)?;
        while self.unread == 0 && !self.ended {
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(self.socket.poll_read_ready(cx))?;
            self.take_in(Reactor::Notified)?;
        }
        Poll::Ready(Ok(()))
    }

    /// As [`crate::stream::Stream::try_read`].
    pub(crate) fn try_read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.unread == 0 && !self.ended {
            if !self.take_in(Reactor::Notified)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        self.read_out(room)
    }

    fn read_out(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.unread == 0 {
            return Ok(0);
        }
        let count = self.session.reader().read(room)?;
        self.unread -= count;
        Ok(count)
    }

    /// As [`crate::stream::Stream::is_quiet`]: tickets and the like may have come, but no part of an octet.
    pub(crate) fn is_quiet(&mut self) -> bool {
        loop {
            if self.unread > 0 || self.ended {
                return false;
            }
            match self.take_in(Reactor::Unasked) {
                Ok(true) => {}
                Ok(false) => return self.records.is_between(),
                Err(_) => return false,
            }
        }
    }

    /// Takes in what the kernel has, a few KB at a time. `false`: it has nothing.
    fn take_in(&mut self, reactor: Reactor) -> io::Result<bool> {
        let mut source = Source {
            socket: &self.socket,
            records: &mut self.records,
            reactor,
        };
        match self.session.read_tls(&mut source) {
            Ok(0) if self.session.is_handshaking() => Err(io::ErrorKind::UnexpectedEof.into()),
            // Whether the peer said so or not: what it sends says by itself whether it is complete.
            Ok(0) => {
                self.ended = true;
                Ok(true)
            }
            Ok(count) => {
                if self.session.is_handshaking() {
                    self.shaking += count;
                    if self.shaking > LONGEST_HANDSHAKE {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                self.process()?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn process(&mut self) -> io::Result<()> {
        match self.session.process_new_packets() {
            Ok(state) => {
                self.unread = state.plaintext_bytes_to_read();
                if !self.session.is_handshaking() {
                    self.slot = None;
                }
                self.ended |= IoState::peer_has_closed(&state);
                Ok(())
            }
            Err(error) => {
                // The peer gets an alert, if it can be written at once.
                let mut sink = Sink(&self.socket);
                let _ = self.session.write_tls(&mut sink);
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Sends what waits to be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Sink(&self.socket)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_readable(cx))?;
        let count = self.read_out(buffer.initialize_unfilled())?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Writes what `write` is given room for. What was encrypted before is sent first, so that no more waits here than
    /// what one call wrote.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let written = write(&mut self.session.writer())?;
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(written)),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closed, true) {
            self.session.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Where records have their ends.
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    have: usize,
    left: usize,
}

impl Records {
    fn advance(&mut self, mut came: &[u8]) {
        while !came.is_empty() {
            if self.left > 0 {
                let of_this = self.left.min(came.len());
                self.left -= of_this;
                came = &came[of_this..];
                continue;
            }
            let wanted = (self.header.len() - self.have).min(came.len());
            self.header[self.have..self.have + wanted].copy_from_slice(&came[..wanted]);
            self.have += wanted;
            came = &came[wanted..];
            if self.have == self.header.len() {
                self.left = u16::from_be_bytes([self.header[3], self.header[4]]).into();
                self.have = 0;
            }
        }
    }

    /// Whether nothing of the next one came.
    fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

/// Whether the reactor said that there may be something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reactor {
    /// It did, or is to be told when there is nothing.
    Notified,
    /// The kernel is asked, because the reactor knows no more than it was told last.
    Unasked,
}

struct Source<'a> {
    socket: &'a TcpStream,
    records: &'a mut Records,
    reactor: Reactor,
}

impl Read for Source<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut read = || (&*SockRef::from(self.socket)).read(room);
        let count = match self.reactor {
            Reactor::Notified => self.socket.try_io(Interest::READABLE, read),
            Reactor::Unasked => read(),
        }?;
        self.records.advance(&room[..count]);
        Ok(count)
    }
}

struct Sink<'a>(&'a TcpStream);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_records_are_found_however_reads_cut_them() {
        let bytes = [
            &[23, 3, 3, 0, 3][..],
            b"abc",
            &[23, 3, 3, 0, 0],
            &[21, 3, 3, 1, 0],
            &[7; 256],
        ]
        .concat();
        let ends = [0, 8, 13, 18 + 256];
        for cut in 1..20 {
            let mut records = Records::default();
            let mut at = 0;
            for part in bytes.chunks(cut) {
                records.advance(part);
                at += part.len();
                assert_eq!(records.is_between(), ends.contains(&at), "{at} by {cut}");
            }
        }
    }
}
