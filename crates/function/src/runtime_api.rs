//! The Runtime API, as programs in one environment speak it
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lath_feed::function_limits::PAYLOAD;
use lath_model::WorkloadId;
use lath_net::Place;
use lath_net::accept::{Acceptor, ConnectionLimits, Watched};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where programs find it, in their own network.
pub(crate) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9001);

/// Connections of all environments, and of one.
const CONNECTIONS: usize = 4096;
const OF_ONE: usize = 32;
/// What one environment may have said and is not heard yet.
pub(crate) const QUEUE: usize = OF_ONE;
/// How long the head of a request, or an answer's body, may take.
const PATIENCE: Duration = Duration::from_secs(60);
const HEAD_BYTES: usize = 16 << 10;
const PREFIX: &str = "/2018-06-01/runtime/";

/// What the program of an environment asks for or says.
#[derive(Debug)]
pub(crate) enum Word {
    /// It is ready for an event.
    Next(oneshot::Sender<Event>),
    /// The answer to an invocation.
    Answer {
        request: String,
        /// `None`: it is too long.
        body: Option<Bytes>,
        known: oneshot::Sender<bool>,
    },
    /// An invocation failed.
    Failed {
        request: String,
        body: Bytes,
        known: oneshot::Sender<bool>,
    },
    /// It could not begin.
    NotBegun(Bytes),
}

/// An event for the program.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
}

/// Shares of connections for all environments of a node.
pub(crate) fn acceptor() -> Acceptor {
    let limits = ConnectionLimits {
        total: CONNECTIONS,
        per_place: OF_ONE,
        per_source: OF_ONE,
        idle: Duration::MAX,
    };
    Acceptor::new("Runtime API", limits)
}

/// Answers in an environment's network until what it returns is dropped.
pub(crate) fn serve(
    listener: TcpListener,
    environment: WorkloadId,
    acceptor: Acceptor,
    words: mpsc::Sender<Word>,
) -> DropGuard {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let place = Place::Workload(environment);
    let side = Arc::new(Side {
        words,
        reading: Semaphore::new(1),
    });
    tokio::spawn(async move {
        let accepting = async {
            loop {
                let (stream, _, slot) = acceptor.accept(&listener, &place).await;
                let served = converse(Watched::new(stream, &slot), Arc::clone(&side));
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = slot.ended() => {}
                        () = served => {}
                    }
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    });
    guard
}

/// The environment that speaks.
struct Side {
    words: mpsc::Sender<Word>,
    /// One body at a time: it has one invocation, and what is read is memory of the node and not of the environment.
    reading: Semaphore,
}

async fn converse(stream: Watched<tokio::net::TcpStream>, side: Arc<Side>) {
    let service = service_fn(move |request| {
        let side = Arc::clone(&side);
        async move { Ok::<_, Infallible>(answer(request, &side).await) }
    });
    // How a connection ends is the program's affair.
    drop(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn answer(request: Request<Incoming>, side: &Side) -> Response<Full<Bytes>> {
    let words = &side.words;
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix(PREFIX) else {
        return not_found();
    };
    let parts: Vec<&str> = path.split('/').collect();
    let _turn = match *request.method() {
        Method::POST => side.reading.acquire().await.ok(),
        _ => None,
    };
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next(words).await,
        (&Method::POST, ["invocation", id, "response"]) => {
            let request_id = (*id).to_owned();
            let body = match read(request).await {
                Ok(body) => Some(body),
                Err(Unread::TooLong) => None,
                Err(Unread::Broken) => {
                    return fault(
                        StatusCode::BAD_REQUEST,
                        "InvalidRequest",
                        "the body did not arrive",
                    );
                }
            };
            let is_long = body.is_none();
            let (known, is_known) = oneshot::channel();
            let word = Word::Answer {
                request: request_id,
                body,
                known,
            };
            let taken = said(words, word, is_known).await;
            match is_long {
                true => fault(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "RequestEntityTooLarge",
                    &format!("Exceeded maximum allowed payload size ({PAYLOAD} bytes)."),
                ),
                false => taken,
            }
        }
        (&Method::POST, ["invocation", id, "error"]) => {
            let request_id = (*id).to_owned();
            let Ok(body) = read(request).await else {
                return fault(
                    StatusCode::BAD_REQUEST,
                    "InvalidRequest",
                    "the body did not arrive",
                );
            };
            let (known, is_known) = oneshot::channel();
            let word = Word::Failed {
                request: request_id,
                body,
                known,
            };
            said(words, word, is_known).await
        }
        (&Method::POST, ["init", "error"]) => {
            let body = read(request).await.unwrap_or_default();
            let _ = words.send(Word::NotBegun(body)).await;
            accepted()
        }
        _ => not_found(),
    }
}

async fn next(words: &mpsc::Sender<Word>) -> Response<Full<Bytes>> {
    let (ready, event) = oneshot::channel();
    if words.send(Word::Next(ready)).await.is_err() {
        return ending();
    }
    let Ok(Event { headers, body }) = event.await else {
        return ending();
    };
    let mut response = Response::new(Full::new(body.into()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.headers_mut().extend(headers);
    response
}

async fn said(
    words: &mpsc::Sender<Word>,
    word: Word,
    known: oneshot::Receiver<bool>,
) -> Response<Full<Bytes>> {
    if words.send(word).await.is_err() {
        return ending();
    }
    match known.await {
        Ok(true) => accepted(),
        Ok(false) => fault(
            StatusCode::BAD_REQUEST,
            "InvalidRequestID",
            "Invalid request ID",
        ),
        Err(_) => ending(),
    }
}

enum Unread {
    TooLong,
    Broken,
}

/// A body of at most the size of an answer.
async fn read(request: Request<Incoming>) -> Result<Bytes, Unread> {
    let body = Limited::new(request.into_body(), PAYLOAD);
    match tokio::time::timeout(PATIENCE, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLong),
        Ok(Err(_)) | Err(_) => Err(Unread::Broken),
    }
}

fn accepted() -> Response<Full<Bytes>> {
    status(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
}

fn ending() -> Response<Full<Bytes>> {
    let text = "the environment is ending";
    fault(StatusCode::INTERNAL_SERVER_ERROR, "State.Ending", text)
}

fn not_found() -> Response<Full<Bytes>> {
    let text = "the Runtime API has no such path or method";
    fault(StatusCode::NOT_FOUND, "NotFound", text)
}

fn fault(code: StatusCode, kind: &str, text: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "errorMessage": text, "errorType": kind });
    status(code, body.to_string())
}

fn status(code: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    async fn said(to: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Asks for what is not there, until that is said.
    async fn asked(to: SocketAddr) {
        let mut stream = said(to, "GET /none HTTP/1.1\r\nhost: a\r\n\r\n").await;
        stream.read_exact(&mut [0; 12]).await.unwrap();
    }

    /// Only the head and a part of the body of an answer.
    const BEGUN: &str = "POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc";
    const WHOLE: &str = "POST /2018-06-01/runtime/invocation/two/response HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";

    #[tokio::test]
    async fn one_body_is_read_at_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let (words, mut heard) = mpsc::channel(QUEUE);
        let id = lath_model::ManagedId::new(lath_model::ManagedKind::Function, "e-1").unwrap();
        let _door = serve(listener, id.into(), acceptor(), words);
        let mut first = said(to, BEGUN).await;
        // It is being read once a question that came after it is answered; so is the second, if it is not kept waiting.
        asked(to).await;
        let _second = said(to, WHOLE).await;
        asked(to).await;
        first.write_all(&[b'x'; 97]).await.unwrap();
        for want in ["one", "two"] {
            let Some(Word::Answer { request, known, .. }) = heard.recv().await else {
                panic!("no answer came");
            };
            assert_eq!(request, want);
            let _ = known.send(true);
        }
    }
}
