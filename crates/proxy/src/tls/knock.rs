//! The beginning of a client's connection to a port where TLS is spoken.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use lath_net::accept::Slot;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::Tls;
use crate::client_hello::{ClientHello, Flaw, Greeting, HANDSHAKE, LONGEST};

/// Says what becomes of connections to a port.
pub(crate) trait Door {
    /// Whether a client may speak HTTP in the clear here.
    fn takes_plain(&self) -> bool;

    /// Whether a client that gets nowhere is left without a word.
    fn is_silent(&self) -> bool;

    /// Where a client gets that asks for this name, or for none.
    fn way(&self, server_name: Option<&str>) -> Option<Way>;
}

/// Where a client gets.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// To a listener that ends TLS with this.
    Ended(Arc<ServerConfig>),
    /// To a listener that passes TLS on.
    Passed,
}

/// A connection of which nothing is known yet.
pub(crate) struct Knock {
    socket: Option<TcpStream>,
    door: Rc<dyn Door>,
    slot: Option<Box<Slot>>,
    came: Vec<u8>,
    /// How many bytes there must be before it is worth another look.
    needs: usize,
}

/// What a connection turned out to be.
pub(crate) enum Opened {
    /// HTTP in the clear, of which nothing was read.
    Plain(TcpStream),
    /// TLS that ends here.
    Tls(Box<Tls>),
    /// TLS that is to be passed on: what came of it, and the name that it asks for.
    Passed(Box<Passed>),
}

/// A connection that is to be passed on.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) socket: TcpStream,
    pub(crate) came: Vec<u8>,
    /// `None`: it is no TLS, as far as is known.
    pub(crate) server_name: Option<String>,
}

impl Knock {
    pub(crate) fn new(socket: TcpStream, door: Rc<dyn Door>, slot: Slot) -> Self {
        Self {
            socket: Some(socket),
            door,
            slot: Some(Box::new(slot)),
            came: Vec::new(),
            needs: 1,
        }
    }

    /// Ready when it is known what the connection is. Then this is of no further use.
    ///
    /// # Errors
    /// The client hung up or asks for what is not here, which it was told.
    pub(crate) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Opened>> {
        held(self.slot.as_deref(), cx)?;
        if self.came.is_empty()
            && let Some(socket) = &self.socket
            && self.door.takes_plain()
        {
            let mut first = [0];
            ready!(socket.poll_peek(cx, &mut ReadBuf::new(&mut first)))?;
            if first != [HANDSHAKE] {
                return Poll::Ready(self.gone().map(Opened::Plain));
            }
        }
        loop {
            let Some(socket) = &self.socket else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if self.came.len() >= self.needs {
                match Greeting::read(&self.came) {
                    Greeting::Partial(needs) => self.needs = needs,
                    Greeting::Malformed(flaw) => {
                        return Poll::Ready(Err(self.refuse(alert(flaw))));
                    }
                    Greeting::Whole(hello) => return Poll::Ready(self.open(hello)),
                }
                continue;
            }
            ready!(socket.poll_read_ready(cx))?;
            let room = LONGEST.saturating_sub(self.came.len()).min(4096);
            let before = self.came.len();
            self.came.resize(before + room, 0);
            let read = socket.try_read(&mut self.came[before..]);
            self.came.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn gone(&mut self) -> io::Result<TcpStream> {
        self.socket
            .take()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn open(&mut self, hello: ClientHello) -> io::Result<Opened> {
        match self.door.way(hello.server_name.as_deref()) {
            None if self.door.is_silent() => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "refused: no route",
            )),
            // Many services have the same port, so that none is meant (RFC 8446 section 9.2).
            None if hello.server_name.is_none() => {
                Err(self.refuse(AlertDescription::MissingExtension))
            }
            None => Err(self.refuse(AlertDescription::UnrecognisedName)),
            Some(Way::Ended(_)) if hello.falls_back => {
                Err(self.refuse(AlertDescription::InappropriateFallback))
            }
            Some(Way::Ended(config)) => {
                let socket = self.gone()?;
                let tls = Tls::of_client(socket, config, &self.came, self.slot.take())?;
                Ok(Opened::Tls(Box::new(tls)))
            }
            Some(Way::Passed) => Ok(Opened::Passed(Box::new(Passed {
                socket: self.gone()?,
                came: std::mem::take(&mut self.came),
                server_name: Some(hello.server_name.unwrap_or_default()),
            }))),
        }
    }

    /// Tells the client why it gets nowhere, if it can be told at once.
    fn refuse(&self, why: AlertDescription) -> io::Error {
        const ALERT: u8 = 21;
        const FATAL: u8 = 2;
        if let Some(socket) = &self.socket {
            let _ = socket.try_write(&[ALERT, 3, 3, 0, 2, FATAL, u8::from(why)]);
        }
        io::Error::new(io::ErrorKind::InvalidData, format!("refused: {why:?}"))
    }
}

/// Whether the handshake still has its slot.
///
/// # Errors
/// It was given to another one.
pub(super) fn held(slot: Option<&Slot>, cx: &Context<'_>) -> io::Result<()> {
    let Some(slot) = slot else {
        return Ok(());
    };
    slot.wake_when_evicted(cx.waker());
    match slot.is_evicted() {
        true => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "shed: too many clients shake hands",
        )),
        false => Ok(()),
    }
}

/// The alert that a client gets (RFC 8446 section 5).
fn alert(flaw: Flaw) -> AlertDescription {
    match flaw {
        Flaw::OtherRecord => AlertDescription::UnexpectedMessage,
        Flaw::LongRecord => AlertDescription::RecordOverflow,
        Flaw::Unreadable => AlertDescription::DecodeError,
    }
}

impl std::fmt::Debug for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knock").finish_non_exhaustive()
    }
}
