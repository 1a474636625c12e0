//! An HTTP/1.1 connection to a target, used and idle.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;

use super::{Cause, Exchange, NotSent, given_up};
use crate::breaker::Ticket;
use crate::counters::Count;
use crate::engine::client::{Ask, Http1, Wait};
use crate::engine::{Error, Source};
use crate::slot::GroupSlot;
use crate::target_io::TargetSocket;
use crate::upload::RequestBody;

/// An HTTP/1.1 connection.
pub(super) struct Link {
    engine: Http1<RequestBody>,
    pub(super) socket: Rc<TargetSocket>,
    pub(super) born: Instant,
    pub(super) idle_since: Instant,
    open: Open,
}

/// An HTTP/1.1 connection that has been idle for a while: its socket without the engine's buffers.
pub(super) struct Cold {
    pub(super) socket: Rc<TargetSocket>,
    born: Instant,
    pub(super) idle_since: Instant,
    open: Open,
    _resting: Resting,
}

/// Counts a cold connection.
struct Resting {
    group: Arc<GroupSlot>,
    thread: usize,
}

/// Counts an open connection for as long as it lives.
pub(crate) struct Open {
    group: Arc<GroupSlot>,
    thread: usize,
    room: Room,
}

/// The right to have a connection to a target open.
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
    /// Where the group's connections have a limit.
    ticket: Option<Ticket>,
}

impl Room {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: permit,
            ticket: None,
        }
    }

    /// One of so many that the group may have.
    pub(crate) fn with(self, ticket: Option<Ticket>) -> Self {
        Self { ticket, ..self }
    }
}

impl Cold {
    /// As of [`Link::is_wanted_elsewhere`].
    pub(super) fn is_wanted_elsewhere(&self) -> bool {
        self.open.is_wanted_elsewhere()
    }

    /// Ready for an exchange, unless the target has closed it.
    pub(super) fn warm(self) -> Option<Link> {
        let quiet = self.socket.is_quiet();
        let mut link = quiet.then(|| Link::over(self.socket, self.open, self.born))??;
        link.idle_since = self.idle_since;
        Some(link)
    }
}

impl Link {
    /// Over a socket that is connected.
    pub(super) fn over(socket: Rc<TargetSocket>, open: Open, born: Instant) -> Option<Self> {
        Some(Self {
            engine: Http1::over(&socket)?,
            socket,
            born,
            idle_since: born,
            open,
        })
    }

    /// Without the engine: nothing is on its way in either direction.
    pub(super) fn cool(self) -> Cold {
        let resting = Resting::new(&self.open.group, self.open.thread);
        self.socket.take_head();
        self.socket.seam.rest();
        Cold {
            socket: self.socket,
            born: self.born,
            idle_since: self.idle_since,
            open: self.open,
            _resting: resting,
        }
    }

    /// Whether requests of other threads wait for a connection to the group, and none of this thread.
    pub(super) fn is_wanted_elsewhere(&self) -> bool {
        self.open.is_wanted_elsewhere()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.engine.is_ready()
    }

    /// Whether it can carry another exchange, now that one is over. From here on it is noted whether something
    /// happens to it.
    pub(super) fn rests(&mut self) -> bool {
        if self.socket.offence().is_some() {
            return false;
        }
        // Mostly the engine has seen the end of the exchange already, and the socket alone is to be watched.
        if !self.engine.is_ready() {
            return self.is_open() && self.engine.is_ready();
        }
        match self.socket.poll_stirred(&mut self.engine.unattended()) {
            Poll::Pending => true,
            Poll::Ready(_) => self.is_open() && self.engine.is_ready(),
        }
    }

    /// Lets the connection see what happened to it meanwhile.
    pub(super) fn is_open(&mut self) -> bool {
        self.engine.leave()
    }

    /// Whether nothing happened to the connection since [`Self::is_open`] looked at it.
    pub(super) fn is_undisturbed(&self) -> bool {
        !self.engine.is_stirred()
    }

    /// What is left of it when the last response has switched protocols.
    pub(super) fn switched(self) -> Option<(Rc<TargetSocket>, Bytes, Open)> {
        let sound = self.socket.offence().is_none() && !self.socket.seam.is_blocked();
        let read = self.engine.switched().filter(|_| sound)?;
        Some((self.socket, read, self.open))
    }

    fn cause(&self, error: &Error) -> Cause {
        match self.socket.offence() {
            Some(_) => Cause::Protocol,
            None => Cause::of(error),
        }
    }

    pub(super) async fn send(
        &mut self,
        mut request: Box<Request<RequestBody>>,
        keeps: bool,
        exchange: &impl Exchange,
    ) -> Result<Response<Source>, NotSent> {
        let socket = Rc::clone(&self.socket);
        socket.begin(request.method() == Method::HEAD, keeps);
        request.body_mut().goes_over(&socket);
        let seam = &socket.seam;
        seam.end_head_with(|lines| exchange.goes_over_http1(&request, lines));
        let sent = self.engine.send(*request, |ask, cx| match ask {
            // The body may flow now.
            Ask::Driven if exchange.pass_on(socket.take_interim()) => Wait::Again,
            Ask::Driven => Wait::On,
            Ask::Pending { finished } => {
                given_up(exchange.meter(), finished, cx).map_or(Wait::On, Wait::Over)
            }
        });
        match sent.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err((error, request))) => Err(NotSent {
                request,
                ..NotSent::because(self.cause(&error))
            }),
            Err(cause) => Err(NotSent::because(cause)),
        }
    }

    pub(super) fn poll_body(
        &mut self,
        source: &mut Source,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        self.engine.poll_body(source, cx).map(|frame| match frame {
            Some(frame) => frame.map(|frame| frame.map_err(|error| self.cause(&error))),
            None => Some(Err(Cause::Closed)),
        })
    }
}

impl Open {
    pub(super) fn new(
        group: &Arc<GroupSlot>,
        thread: usize,
        version: Option<Count>,
        room: Room,
    ) -> Self {
        let cells = group.counters.of(thread);
        cells.add(Count::ActiveConnections, 1);
        if let Some(version) = version {
            cells.add(version, 1);
        }
        Self {
            group: Arc::clone(group),
            thread,
            room,
        }
    }
}

impl Open {
    fn is_wanted_elsewhere(&self) -> bool {
        let ticket = self.room.ticket.as_ref();
        ticket.is_some_and(|it| it.load().waits_elsewhere(self.thread))
    }
}

impl Resting {
    fn new(group: &Arc<GroupSlot>, thread: usize) -> Self {
        let cells = group.counters.of(thread);
        cells.add(Count::RestingConnections, 1);
        let group = Arc::clone(group);
        Self { group, thread }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        let cells = self.group.counters.of(self.thread);
        cells.subtract(Count::RestingConnections, 1);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.group
            .counters
            .of(self.thread)
            .subtract(Count::ActiveConnections, 1);
    }
}
