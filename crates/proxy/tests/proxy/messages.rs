//! What is made of odd messages of both sides: nothing is cut, lost or let through silently.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lath_proxy::ProxyConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::target::Deed;
use crate::lab::world::HOST;
use crate::lab::*;

type Frames = StreamBody<
    futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>,
>;

fn frames(data: &'static [u8], trailers: &[(&'static str, &'static str)]) -> Frames {
    let mut frames = vec![Ok(Frame::data(Bytes::from_static(data)))];
    if !trailers.is_empty() {
        let pairs = trailers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        frames.push(Ok(Frame::trailers(HeaderMap::from_iter(pairs))));
    }
    StreamBody::new(futures::stream::iter(frames))
}

async fn http2_client(world: &World) -> http2::SendRequest<Frames> {
    let stream = TcpStream::connect(world.at).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn http2_request(method: &str, path: &str, body: Frames) -> http::Request<Frames> {
    http::Request::builder()
        .method(method)
        .uri(format!("http://{HOST}{path}"))
        .body(body)
        .unwrap()
}

/// Answers with what the path says in hexadecimal, and closes if it begins with `/close/`.
fn spoken(path: &str) -> Deed {
    let (close, text) = match path.strip_prefix("/close/") {
        Some(text) => (true, text),
        None => (false, &path[1..]),
    };
    let bytes = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    let answer = (0..text.len()).step_by(2).map(bytes).collect();
    match close {
        true => Deed::AnswerAndClose(answer),
        false => Deed::Answer(answer),
    }
}

fn path_of(close: bool, answer: &str) -> String {
    let start = if close { "/close/" } else { "/" };
    answer
        .bytes()
        .fold(start.to_owned(), |path, byte| format!("{path}{byte:02x}"))
}

#[tokio::test]
async fn an_answer_whose_end_is_ambiguous_is_a_bad_gateway_and_its_connection_ends() {
    let target = Target::start(|got| spoken(got.path())).await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, answer) in [
        ("both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello!!".to_owned()),
        ("a lost coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n".to_owned()),
        ("obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a broken chunk right after the head", format!("{chunked}zz\r\n")),
    ] {
        for _ in 0..5 {
            let connections = target.connections.load(Ordering::Relaxed);
            let mut client = Client::connect(world.at).await;
            let answer = client.get(HOST, &path_of(false, &answer)).await;
            let answer = answer.unwrap_or_else(|| panic!("{name}: no answer at all"));
            assert_eq!(answer.status, 502, "{name}: {answer:?}");
            // The client's own connection is sound; the target's was not used again.
            let fine = path_of(false, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
            assert_eq!(client.get(HOST, &fine).await.unwrap().body, "fine", "{name}");
            let more = target.connections.load(Ordering::Relaxed) - connections;
            assert!(more >= 1, "{name}: the target's connection was used again");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_seen_as_cut_after_its_head() {
    let target = Target::start(|got| spoken(got.path())).await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut http2 = http2_client(&world).await;
    for (name, answer) in [
        (
            "length",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        ),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "a later chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        ),
    ] {
        for _ in 0..20 {
            let path = path_of(true, answer);
            let got = get(world.at, HOST, &path).await;
            assert_eq!(got.status, 200, "{name}: {got:?}");
            assert!(got.body.contains("hello"), "{name}: {got:?}");
            assert!(!got.body.ends_with("0\r\n\r\n"), "{name}: {got:?}");

            let request = http2_request("GET", &path, frames(b"", &[]));
            let response = http2.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200, "{name}");
            assert!(response.into_body().collect().await.is_err(), "{name}");
        }
    }
}

#[tokio::test]
async fn the_head_of_a_short_answer_that_is_cut_says_that_the_connection_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let target = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        // Later than the proxy read the beginning.
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    let (world, _) = World::forwarding(&[at]);
    let patient = ProxyConfig {
        short_body_wait: Duration::from_secs(600),
        ..config()
    };
    let _lab = Lab::start(patient, &world).await;
    let mut client = TcpStream::connect(world.at).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    target.await.unwrap();
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    assert!(
        got.to_lowercase().contains("connection: close\r\n"),
        "{got}"
    );
    assert!(got.ends_with("hello"), "{got}");
}

#[tokio::test]
async fn bodies_of_any_method_reach_the_target() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut http2 = http2_client(&world).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "QUERY"] {
        let text = format!(
            "{method} / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        assert_eq!(send_raw(world.at, text.as_bytes()).await.status, 200);
        assert_eq!(target.last().body, b"hello", "{method} in chunks");
        let request = http2_request(method, "/", frames(b"hello", &[]));
        assert_eq!(http2.send_request(request).await.unwrap().status(), 200);
        assert_eq!(target.last().body, b"hello", "{method} over HTTP/2");
    }
}

#[tokio::test]
async fn nothing_that_only_lath_may_say_passes_in_heads_or_trailers() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let forged = "X_Amzn_Lattice_Identity: root\r\nx-amzn-lattice-identity: root\r\n\
                  X_Forwarded_For: root\r\nX_Amzn_Source_Vpc: root\r\n";
    let text = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nX_Under: 1\r\n{forged}Proxy-Authorization: root\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-Amzn-Lattice-Identity\r\nConnection: close\r\n\r\n\
         5\r\nhello\r\n0\r\n{forged}X-Sum: 42\r\nContent-Length: 3\r\n\r\n"
    );
    assert_eq!(send_raw(world.at, text.as_bytes()).await.status, 200);
    let got = target.last();
    assert!(!got.head.contains("root"), "{}", got.head);
    assert_eq!(got.header("x_under"), Some("1"));
    assert_eq!(got.header("trailer"), None);
    assert_eq!(got.trailers, ["x-sum: 42"]);

    let trailers = [
        ("x-amzn-lattice-identity", "root"),
        ("x-sum", "42"),
        ("x_amzn_lattice_identity", "root"),
    ];
    let mut request = http2_request("POST", "/", frames(b"hello", &trailers));
    request
        .headers_mut()
        .insert("x_amzn_lattice_identity", HeaderValue::from_static("root"));
    let mut http2 = http2_client(&world).await;
    assert_eq!(http2.send_request(request).await.unwrap().status(), 200);
    let got = target.last();
    assert!(!got.head.contains("root"), "{}", got.head);
    assert_eq!(got.trailers, ["x-sum: 42"]);
}

#[tokio::test]
async fn trailers_of_answers_arrive_whether_they_were_announced_or_not() {
    let target = Target::start(|got| {
        let declared = if got.path() == "/declared" { "Trailer: X-Sum\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{declared}\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\nX_Amzn_RequestId: 1\r\n\r\n"
        );
        Deed::Answer(answer.into())
    })
    .await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut http2 = http2_client(&world).await;
    for path in ["/declared", "/undeclared"] {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        );
        let answer = send_raw(world.at, text.as_bytes()).await;
        let ends = answer.body.matches("5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n");
        assert_eq!(ends.count(), 2, "{path}: {answer:?}");
        assert_eq!(answer.header("trailer"), None);

        let request = http2_request("GET", path, frames(b"", &[]));
        let body = http2.send_request(request).await.unwrap().into_body();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(
            (trailers.len(), &trailers["x-sum"]),
            (1, &HeaderValue::from_static("42"))
        );
    }
    let text = format!("GET /undeclared HTTP/1.0\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(send_raw(world.at, text.as_bytes()).await.body, "hello");
}

#[tokio::test]
async fn early_hints_come_before_the_answer() {
    let target = Target::start(|_| {
        Deed::Answer(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: 1\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
        )
    })
    .await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let text = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    );
    let answer = send_raw(world.at, text.as_bytes()).await;
    let all = format!("{}\r\n\r\n{}", answer.head, answer.body);
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert_eq!(all.matches(hints).count(), 2, "{all}");
    assert_eq!(all.matches("HTTP/1.1 ").count(), 4, "{all}");
    // A client of HTTP/1.0 knows no interim responses.
    let text = format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n");
    let answer = send_raw(world.at, text.as_bytes()).await;
    assert!(answer.head.starts_with("HTTP/1.0 200"), "{answer:?}");
}

/// A target that reads a head, says this, reads the body that follows only if it said 100, and then answers.
async fn expecting_target(
    says: &'static str,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let early = bytes.ends_with(b"hello");
            let _ = stream.write_all(says.as_bytes()).await;
            if says.is_empty() || says.contains(" 100 ") {
                while !bytes.ends_with(b"hello") {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let text = format!(
                    "early {early} expect {}",
                    String::from_utf8_lossy(&bytes).contains("100-continue")
                );
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    (at, task)
}

#[tokio::test]
async fn the_target_decides_about_an_expectation() {
    for (says, status, body) in [
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            200,
            "early false expect true",
        ),
        ("", 200, "early false expect true"),
        (
            "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
            417,
            "",
        ),
        (
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
            413,
            "big",
        ),
    ] {
        let (at, target) = expecting_target(says).await;
        let (world, _) = World::forwarding(&[at]);
        let _lab = Lab::start(config(), &world).await;
        let mut stream = TcpStream::connect(world.at).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !got.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{says}");
        }
        let text = String::from_utf8_lossy(&got).into_owned();
        if status == 200 {
            assert_eq!(text, "HTTP/1.1 100 Continue\r\n\r\n", "{says}");
            stream.write_all(b"hello").await.unwrap();
            got.clear();
            while !got.ends_with(body.as_bytes()) {
                assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{says}");
            }
            assert!(got.starts_with(b"HTTP/1.1 200 "), "{says}: {text}");
        } else {
            // Without its body the connection cannot go on, and says so.
            stream.read_to_end(&mut got).await.unwrap();
            let text = String::from_utf8_lossy(&got).into_owned();
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{says}: {text}"
            );
            assert!(text.contains("\r\nconnection: close\r\n"), "{says}: {text}");
            assert!(text.ends_with(body), "{says}: {text}");
        }
        target.abort();
    }
}

#[tokio::test]
async fn an_answer_to_an_unread_request_says_that_the_connection_ends() {
    let target = Target::start(|got| match got.path() {
        "/close" => Deed::Close,
        _ => ok("fine"),
    })
    .await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let lab = Lab::start(config(), &world).await;
    // Of a body that is there already nothing is left unread, and the connection goes on.
    let mut client = Client::connect(world.at).await;
    for path in ["/close", "/"] {
        let text =
            format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello");
        let answer = client.ask(&text).await.unwrap();
        assert_eq!(answer.header("connection"), None, "{answer:?}");
    }
    world.default_action(lath_model::lattice::Action::FixedResponse(404));
    lab.apply(&mut world).await;
    for _ in 0..3 {
        let text = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello");
        let answer = client.ask(&text).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (404, None));
    }
    // One that is still to come is not waited for.
    for framing in [
        "Content-Length: 500000",
        "Transfer-Encoding: chunked",
        "Content-Length: 5\r\nExpect: 100-continue",
    ] {
        let mut client = Client::connect(world.at).await;
        let text = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n");
        let answer = client.ask(&text).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (404, Some("close")),
            "{framing}"
        );
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_gets_its_answer() {
    let (go, started) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let (gate, begun) = (std::sync::Arc::clone(&go), std::sync::Arc::clone(&started));
    let target = Target::start(move |_| {
        begun.notify_one();
        Deed::When(
            std::sync::Arc::clone(&gate),
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate".to_vec(),
        )
    })
    .await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut stream = TcpStream::connect(world.at).await.unwrap();
    let text = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    started.notified().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    go.notify_one();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.ends_with("\r\n\r\nlate"), "{answer}");
}

#[tokio::test]
async fn the_edges_of_requests_are_decided() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let ask = |text: String| async move { send_raw(world.at, text.as_bytes()).await };
    let end = "Connection: close\r\n\r\n";
    let answer = ask(format!(
        "GET http://{HOST}/abs?q=1 HTTP/1.1\r\nHost: ignored.example\r\n{end}"
    ))
    .await;
    assert_eq!(answer.status, 200, "the absolute form wins");
    let got = target.last();
    assert!(
        got.head.starts_with("GET /abs?q=1 HTTP/1.1\r\n"),
        "{}",
        got.head
    );
    assert_eq!(got.header("host"), Some(HOST));
    let answer = ask(format!("TRACE / HTTP/1.1\r\nHost: {HOST}\r\n{end}")).await;
    assert_eq!(answer.status, 405);
    let answer = ask(format!("OPTIONS * HTTP/1.1\r\nHost: {HOST}\r\n{end}")).await;
    assert_eq!(answer.status, 200);
    assert!(target.last().head.starts_with("OPTIONS * HTTP/1.1\r\n"));
    assert_eq!(target.count(), 2);
    let answer = ask(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nVia: 1.1 inner\r\n{end}"
    ))
    .await;
    assert_eq!(
        (answer.status, target.last().header("via")),
        (200, Some("1.1 inner"))
    );
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GET / of the service, and a field that is to be remembered.
fn header_block(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let (authority, name, value) = (text(HOST), text(name), text(value));
    [
        &[0x82, 0x86, 0x84, 0x01],
        &authority[..],
        &[0x40],
        &name,
        &value,
    ]
    .concat()
}

#[tokio::test]
async fn a_malformed_field_ends_its_stream_and_not_the_connection() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let end = 0x5;
    for (name, value) in [
        ("X-Upper", "1"),
        ("x a", "1"),
        ("x-a", "a\r\nb"),
        ("x-a", " 1"),
        ("x-a", "1 "),
        (":bogus", "1"),
        ("connection", "close"),
    ] {
        let mut stream = TcpStream::connect(world.at).await.unwrap();
        let mut bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &frame(4, 0, 0, b"")[..],
        ]
        .concat();
        bytes.extend(frame(1, end, 1, &header_block(name, value)));
        bytes.extend(frame(1, end, 3, &header_block("x-good", "1")));
        // What the third request says is remembered by the fourth.
        bytes.extend(frame(
            1,
            end,
            5,
            &[&header_block("x-good", "2")[..], &[0xbe]].concat(),
        ));
        // Trailers with a pseudo-header.
        bytes.extend(frame(1, 0x4, 7, &header_block("x-good", "3")));
        bytes.extend(frame(1, end, 7, &[0x84]));
        stream.write_all(&bytes).await.unwrap();
        let (mut reset, mut answered) = (Vec::new(), Vec::new());
        while answered.len() < 2 || reset.len() < 2 {
            let mut head = [0; 9];
            let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut head))
                .await
                .unwrap();
            read.unwrap_or_else(|error| {
                panic!("{name}: {error}, answered {answered:?}, reset {reset:?}")
            });
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(head[3], 7, "{name}: GOAWAY {payload:?}");
            match head[3] {
                1 => answered.push(head[8]),
                3 => reset.push((head[8], payload[3])),
                _ => {}
            }
        }
        answered.sort_unstable();
        reset.sort_unstable();
        assert_eq!(answered, [3, 5], "{name}");
        assert_eq!(reset, [(1, 1), (7, 1)], "{name}: PROTOCOL_ERROR");
    }
    let seen = target.seen.lock().unwrap().clone();
    let twice = seen
        .iter()
        .filter(|got| got.head.matches("x-good: 2").count() == 2);
    assert_eq!(twice.count(), 7, "what was remembered");
    assert!(seen.iter().all(|got| !got.head.contains("upper")));
}
