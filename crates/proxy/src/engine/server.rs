//! Clients' connections.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn;
use hyper::service::service_fn;

use super::client_io::ClientIo;
use super::{Error, Source};
use crate::connection::{Connection, Order};
use crate::meter::Meter;
use crate::stream::Stream;

/// The stream, when it rests between requests; nothing when the connection is over.
pub(crate) type Spoken = Result<Option<Stream>, Error>;

/// A request is always answered.
type Answer<B> = Result<Response<B>, Infallible>;

/// Answers requests of HTTP/1.1 by `service`, of which `first` is the beginning.
///
/// # Errors
/// The connection broke.
pub(crate) async fn http1<S, F, B>(
    connection: Rc<Connection>,
    stream: Stream,
    first: Vec<u8>,
    service: S,
) -> Spoken
where
    S: Fn(Request<Source>) -> (Rc<Meter>, F),
    F: Future<Output = Answer<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _left = Left(Rc::clone(&connection));
    let io = ClientIo::http1(stream, first, Rc::clone(&connection));
    let service = service_fn(move |request: Request<Incoming>| service(request.map(Source)).1);
    let mut serving = http1_builder().serve_connection(io, service);
    let mut ordered = false;
    let ended = obeying(&connection, |cx, finish| {
        if finish && !std::mem::replace(&mut ordered, true) {
            Pin::new(&mut serving).graceful_shutdown();
        }
        connection.wire.look();
        match Pin::new(&mut serving).poll(cx) {
            Poll::Pending if connection.may_rest() => Poll::Ready(Ok(Turn::Rest)),
            polled => polled.map_ok(|()| Turn::Over),
        }
    })
    .await;
    if !matches!(ended.transpose()?, Some(Turn::Rest)) {
        if let Some(onwards) = connection.take_onwards() {
            let parts = serving.into_parts();
            // What hyper may not have written would be lost, and what was taken for a request is not what it was.
            if let Some((stream, mut came)) = parts.io.into_rest() {
                drop(came.splice(..0, parts.read_buf));
                onwards.carry(stream, came).await;
            }
        }
        return Ok(None);
    }
    let parts = serving.into_parts();
    // Nothing but empty lines, which mean nothing, can be left with hyper, see `Wire::is_at_rest`. Anything else
    // would not begin a request.
    let nothing = parts.read_buf.iter().all(|byte| b"\r\n".contains(byte));
    Ok(nothing.then(|| parts.io.into_stream()))
}

/// Drops what a connection was to switch to, should it end before: that holds the connection in turn.
struct Left(Rc<Connection>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.take_onwards();
    }
}

/// What came of a poll of an HTTP/1.1 connection.
enum Turn {
    Over,
    Rest,
}

/// As [`http1`], for HTTP/2. `most`: of streams at once.
///
/// # Errors
/// The connection broke.
pub(crate) async fn http2<S, F, B>(
    connection: Rc<Connection>,
    stream: Stream,
    first: Vec<u8>,
    most: u32,
    service: S,
) -> Spoken
where
    S: Fn(Request<Source>) -> (Rc<Meter>, F),
    F: Future<Output = Answer<B>> + 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = ClientIo::http2(stream, &first, Rc::clone(&connection));
    let begun = Begun::default();
    let builder = http2_builder(Streams(Rc::clone(&begun)), most);
    let service = service_fn(move |request: Request<Incoming>| {
        let (meter, answer) = service(request.map(Source));
        begun.set(Some(meter));
        answer
    });
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut ordered = false;
    let ended = obeying(&connection, |cx, finish| {
        if finish && !std::mem::replace(&mut ordered, true) {
            serving.as_mut().graceful_shutdown();
        }
        serving.as_mut().poll(cx)
    })
    .await;
    ended.transpose()?;
    Ok(None)
}

fn http1_builder() -> conn::http1::Builder {
    let mut builder = conn::http1::Builder::new();
    // Deadlines are the registry's; the buffer holds the largest head that is allowed.
    builder.header_read_timeout(None).max_buf_size(128 * 1024);
    builder
}

fn http2_builder(streams: Streams, most: u32) -> conn::http2::Builder<Streams> {
    let mut builder = conn::http2::Builder::new(streams);
    // The list is somewhat longer than what is allowed, so that the refusal is ours: a 400. The windows bound
    // what of requests waits unread by targets.
    builder
        .max_header_list_size(96 * 1024)
        .max_concurrent_streams(most)
        .max_send_buf_size(64 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024);
    builder
}

/// Runs the streams of a client's HTTP/2 connection, each until it is over or its client is cut off.
#[derive(Clone)]
struct Streams(Begun);

/// The exchange that hyper began last, until its stream is run.
type Begun = Rc<Cell<Option<Rc<Meter>>>>;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        // hyper begins the exchange, then has its stream run.
        let Some(meter) = self.0.take() else {
            tokio::task::spawn_local(stream);
            return;
        };
        // Boxed, because a task is moved several times before it runs.
        let mut stream = Box::pin(stream);
        tokio::task::spawn_local(poll_fn(move |cx| match meter.is_cut(cx) {
            // Dropped unfinished, the stream is reset.
            true => Poll::Ready(()),
            false => stream.as_mut().poll(cx),
        }));
    }
}

/// Polls until it is ready, or until the connection has the order to end: then `None`. The argument of `poll` says whether
/// the connection should finish.
async fn obeying<T>(
    connection: &Connection,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
) -> Option<T> {
    poll_fn(|cx| match connection.order(cx) {
        Order::Abort => Poll::Ready(None),
        order => poll(cx, order != Order::Serve).map(Some),
    })
    .await
}
