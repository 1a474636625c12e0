//! What goes over the wire: heads, bodies, versions, limits and what is refused.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lath_model::lattice::ProtocolVersion;
use lath_proxy::ProxyConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::target::Deed;
use crate::lab::world::HOST;
use crate::lab::*;

#[tokio::test]
async fn the_target_learns_who_asks_and_clients_cannot_forge_it() {
    let target = Target::named("x").await;
    let (world, group) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let forged = "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Proto: https\r\n\
                  x-amzn-lattice-identity: Principal=root\r\nX-Amzn-Lattice-Network: a\r\n\
                  x-amzn-source-vpc: vpc-1\r\nx-amzn-requestid: mine\r\nConnection: x-secret\r\n\
                  X-Secret: 1\r\nKeep-Alive: 5\r\nUpgrade: websocket\r\nTE: trailers\r\nX-Kept: 1\r\n";
    let answer = request(world.at, HOST, "GET", "/a?b=c", forged).await;
    let got = target.last();
    let services = &world.snapshot.services[&world.service];
    let network = &world.snapshot.service_networks[&world.network];
    let group = &world.snapshot.target_groups[&group];
    let vpc = &world.vpc;
    for (name, want) in [
        ("host", Some(HOST.to_owned())),
        (
            "x-forwarded-for",
            Some("198.51.100.7, 127.0.0.1".to_owned()),
        ),
        ("x-forwarded-port", Some(world.at.port().to_string())),
        ("x-forwarded-proto", Some("http".to_owned())),
        ("x-amzn-lattice-identity", None),
        (
            "x-amzn-lattice-network",
            Some(format!(
                "SourceVpcArn=arn:aws:ec2:us-east-1:111122223333:vpc/{vpc}"
            )),
        ),
        (
            "x-amzn-lattice-target",
            Some(format!(
                "ServiceArn={}; ServiceNetworkArn={}; TargetGroupArn={}",
                services.arn, network.arn, group.arn
            )),
        ),
        ("x-amzn-source-vpc", Some(vpc.to_string())),
        ("x-amzn-requestid", Some("mine".to_owned())),
        ("x-secret", None),
        ("keep-alive", None),
        ("upgrade", None),
        ("te", None),
        ("x-kept", Some("1".to_owned())),
    ] {
        assert_eq!(got.header(name).map(str::to_owned), want, "{name}");
    }
    assert!(
        got.head.starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{}",
        got.head
    );
    assert_eq!(got.head.matches("x-amzn-lattice-network").count(), 1);
    assert_eq!(answer.header("x-amzn-requestid"), Some("mine"));
}

#[tokio::test]
async fn a_new_request_id_is_a_uuid_and_a_long_one_is_cut() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let answer = get(world.at, HOST, "/").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(target.last().header("x-amzn-requestid"), Some(id));
    let long = format!("x-amzn-requestid: {}\r\n", "a".repeat(600));
    let answer = request(world.at, HOST, "GET", "/", &long).await;
    assert_eq!(answer.header("x-amzn-requestid").unwrap().len(), 512);
}

#[tokio::test]
async fn ambiguous_and_oversized_requests_are_refused_and_the_connection_ends() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let post = |headers: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n{body}GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        )
    };
    let cases = [
        (
            "both lengths",
            post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "both, turned",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "two lengths",
            post("Content-Length: 0\r\nContent-Length: 44\r\n", ""),
        ),
        (
            "the same length twice",
            post("Content-Length: 0\r\nContent-Length: 0\r\n", ""),
        ),
        ("length list", post("Content-Length: 0, 0\r\n", "")),
        ("signed length", post("Content-Length: +0\r\n", "")),
        (
            "unknown coding",
            post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ),
        (
            "coding list",
            post("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"),
        ),
        (
            "two codings",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "space before colon",
            post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ),
        ("obs-fold", post("X: a\r\n b\r\n", "")),
        (
            "folded coding",
            post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        ),
        ("bare line feed", post("X: a\nContent-Length: 44\r\n", "")),
        ("bare carriage return", post("X: a\rY: b\r\n", "")),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (
            "two hosts",
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n"),
        ),
        (
            "host list",
            format!("GET / HTTP/1.1\r\nHost: {HOST}, {HOST}\r\n\r\n"),
        ),
        (
            "host with a user",
            format!("GET / HTTP/1.1\r\nHost: user@{HOST}\r\n\r\n"),
        ),
        (
            "host with an endless port",
            format!("GET / HTTP/1.1\r\nHost: {HOST}:99999\r\n\r\n"),
        ),
        (
            "foreign scheme",
            format!("GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        ),
        (
            "asterisk",
            format!("GET * HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        ),
        (
            "connect",
            format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        ),
        (
            "authority alone",
            format!("GET {HOST} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        ),
        (
            "coding in 1.0",
            format!(
                "POST / HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        ("no version", "GET /\r\n\r\n".to_owned()),
        ("garbage", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned()),
        (
            "101 headers",
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n",
                "a: b\r\n".repeat(100)
            ),
        ),
        (
            "500 headers",
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n",
                "a: b\r\n".repeat(500)
            ),
        ),
        (
            "61 KB header",
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\na: {}\r\n\r\n",
                "x".repeat(61 << 10)
            ),
        ),
        (
            "200 KB header",
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\na: {}\r\n\r\n",
                "x".repeat(200 << 10)
            ),
        ),
        (
            "100 KB path",
            format!(
                "GET /{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
                "x".repeat(100 << 10)
            ),
        ),
    ];
    for (name, text) in cases {
        let answer = send_raw(world.at, text.as_bytes()).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert!(
            !answer.body.contains("HTTP/1.1"),
            "{name}: one answer only: {answer:?}"
        );
    }
    assert_eq!(target.count(), 0, "{:?}", target.seen.lock().unwrap());
    let most = "a: b\r\n".repeat(97);
    assert_eq!(request(world.at, HOST, "GET", "/", &most).await.status, 200);
    let big = format!("a: {}\r\n", "x".repeat(58 << 10));
    assert_eq!(request(world.at, HOST, "GET", "/", &big).await.status, 200);
}

#[tokio::test]
async fn malformed_chunks_never_reach_the_next_request() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    for (name, body) in [
        ("no number", "x\r\n\r\n"),
        ("prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("too long", "5\r\nhello!\r\n0\r\n\r\n"),
        ("bare line feed", "5\nhello\n0\n\n"),
        ("overflow", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("negative", "-5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let text = format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
             GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        );
        let answer = send_raw(world.at, text.as_bytes()).await;
        assert!(
            answer.status == 400 || answer.status == 0,
            "{name}: {answer:?}"
        );
    }
    assert!(
        target
            .seen
            .lock()
            .unwrap()
            .iter()
            .all(|got| got.path() != "/smuggled")
    );
}

#[tokio::test]
async fn bodies_cross_in_both_directions() {
    let target = Target::start(|got| {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in got.body.chunks(1000) {
            answer.extend(format!("{:x}\r\n", piece.len()).bytes());
            answer.extend(piece);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        Deed::AnswerAndClose(answer)
    })
    .await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let body = "0123456789".repeat(200_000);
    let stream = TcpStream::connect(world.at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for chunked in [false, true] {
        let frames = body.as_bytes().chunks(50_000).map(Bytes::copy_from_slice);
        let frames: Vec<_> = frames
            .map(|b| Ok::<_, std::convert::Infallible>(Frame::data(b)))
            .collect();
        let stream = StreamBody::new(futures_stream(frames));
        let mut request = http::Request::post("/").header("host", HOST);
        if !chunked {
            request = request.header("content-length", body.len());
        }
        sender.ready().await.unwrap();
        let response = sender
            .send_request(request.body(stream).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let got = response.into_body().collect().await.unwrap().to_bytes();
        assert!(
            got == body.as_bytes(),
            "chunked {chunked}: {} bytes",
            got.len()
        );
        let length = target.last().header("content-length").map(str::to_owned);
        assert_eq!(length.is_none(), chunked);
    }
}

fn futures_stream<T: Unpin>(items: Vec<T>) -> impl futures::Stream<Item = T> {
    futures::stream::iter(items)
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection_in_step() {
    let target = Target::start(|got| {
        Deed::Answer(match got.path() {
            "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(),
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n".to_vec(),
            "/103" => b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast".to_vec(),
        })
    })
    .await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut stream = TcpStream::connect(world.at).await.unwrap();
    let ask =
        |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut all = String::new();
    for (method, path, end) in [
        ("HEAD", "/head", "\r\n\r\n"),
        ("GET", "/204", "\r\n\r\n"),
        ("GET", "/304", "\r\n\r\n"),
        ("GET", "/103", "ok"),
        ("GET", "/", "last"),
    ] {
        stream
            .write_all(ask(method, path).as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        while !answer.ends_with(end) {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "{path}: closed after {answer}");
            answer += &String::from_utf8_lossy(&buffer[..count]);
        }
        all += &answer;
    }
    assert!(
        all.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n"),
        "{all}"
    );
    assert_eq!(
        target
            .connections
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_told_to() {
    let target = Target::start(|got| ok(std::str::from_utf8(&got.body).unwrap())).await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut stream = TcpStream::connect(world.at).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("hello") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{answer}");
        answer += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert_eq!(target.last().header("expect"), Some("100-continue"));
}

async fn http2_client(world: &World) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(world.at).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn http2_request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(format!("http://{HOST}{path}"))
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_carried_to_http1_targets() {
    let target = Target::start(|got| ok(std::str::from_utf8(&got.body).unwrap())).await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut client = http2_client(&world).await;
    let request = http2_request("POST", "/a?b")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"hello")))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("x-amzn-requestid"));
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    let got = target.last();
    assert!(
        got.head.starts_with("POST /a?b HTTP/1.1\r\n"),
        "{}",
        got.head
    );
    assert_eq!(got.header("host"), Some(HOST));
    assert_eq!(got.header("cookie"), Some("a=1; b=2"));
    assert_eq!(got.header("te"), None);

    let many = (0..50).map(|index| {
        let mut client = client.clone();
        async move {
            let request = http2_request("GET", &format!("/{index}"))
                .body(Full::default())
                .unwrap();
            client.send_request(request).await.unwrap().status()
        }
    });
    assert!(
        futures::future::join_all(many)
            .await
            .into_iter()
            .all(|status| status == 200)
    );

    let mut oversized = http2_request("GET", "/");
    for index in 0..101 {
        oversized = oversized.header(format!("a-{index}"), "b");
    }
    let request = oversized.body(Full::default()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 400);
}

#[tokio::test]
async fn versions_are_converted_as_the_table_says() {
    use ProtocolVersion::*;
    let plain = Target::named("1").await;
    let (mut world, group) = World::forwarding(&[plain.at]);
    let lab = Lab::start(config(), &world).await;
    let http2_target = http2_echo().await;
    for (version, method, kind, from_http1, from_http2) in [
        (Http1, "GET", "text/plain", 200, 200),
        (Http1, "POST", "application/grpc", 200, 400),
        (Http2, "GET", "text/plain", 400, 200),
        (Grpc, "GET", "text/plain", 400, 400),
        (Grpc, "POST", "application/grpc", 400, 200),
    ] {
        let at = if version == Http1 {
            plain.at
        } else {
            http2_target
        };
        let replaced = world.group(&[at]);
        world.target_group(&replaced).protocol_version = Some(version);
        let action =
            lath_model::lattice::Action::Forward(vec![lath_model::lattice::WeightedTargetGroup {
                target_group: replaced,
                weight: 1,
            }]);
        world.default_action(action);
        lab.apply(&mut world).await;
        let headers = format!("Content-Type: {kind}\r\n");
        let answer = request(world.at, HOST, method, "/", &headers).await;
        assert_eq!(
            answer.status, from_http1,
            "HTTP/1.1 {method} {kind} to {version:?}"
        );
        let mut client = http2_client(&world).await;
        let request = http2_request(method, "/")
            .header("content-type", kind)
            .body(Full::default())
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        let status = response.status();
        if version != Http1 && status == 200 {
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
            assert_eq!(body.to_bytes(), "2");
        }
        assert_eq!(status, from_http2, "HTTP/2 {method} {kind} to {version:?}");
    }
    drop(group);
}

/// An HTTP/2 target that answers 200 with trailers.
async fn http2_echo() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(
                |request: http::Request<hyper::body::Incoming>| async move {
                    assert_eq!(request.uri().authority().unwrap(), HOST);
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                    let frames = [
                        Frame::data(Bytes::from_static(b"2")),
                        Frame::trailers(trailers),
                    ];
                    let frames = Vec::from(frames.map(Ok::<_, std::convert::Infallible>));
                    Ok::<_, std::convert::Infallible>(http::Response::new(StreamBody::new(
                        futures_stream(frames),
                    )))
                },
            );
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    at
}

#[tokio::test]
async fn failures_of_targets_have_their_statuses() {
    let target = Target::start(|got| match got.path() {
        "/close" => Deed::Close,
        "/garbage" => Deed::AnswerAndClose(b"NOT HTTP AT ALL\r\n\r\n".to_vec()),
        "/silence" => Deed::Silence,
        "/upgrade" => Deed::Answer(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
                .to_vec(),
        ),
        _ => ok("fine"),
    })
    .await;
    let (mut world, _) = World::forwarding(&[target.at]);
    world.service().idle_timeout = Duration::from_millis(300);
    let _lab = Lab::start(config(), &world).await;
    for (path, want) in [
        ("/", 200),
        ("/close", 502),
        ("/garbage", 502),
        ("/upgrade", 502),
        ("/silence", 504),
        ("/", 200),
    ] {
        assert_eq!(get(world.at, HOST, path).await.status, want, "{path}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_target_closed_costs_no_request() {
    let target = Target::start(|_| {
        Deed::AnswerAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec())
    })
    .await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    for _ in 0..200 {
        assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn idle_and_old_connections_are_ended() {
    let target = Target::named("x").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    world.service().idle_timeout = Duration::from_millis(200);
    let short = ProxyConfig {
        max_connection_lifetime: Duration::from_secs(3600),
        lifetime_grace: Duration::from_millis(200),
        ..config()
    };
    let _lab = Lab::start(short, &world).await;
    let mut idle = Client::connect(world.at).await;
    idle.get(HOST, "/").await.unwrap();
    idle.closed().await;

    let (mut world, _) = World::forwarding(&[target.at]);
    world.service().idle_timeout = Duration::from_secs(60);
    let short = ProxyConfig {
        max_connection_lifetime: Duration::from_millis(300),
        ..config()
    };
    let _lab = Lab::start(short, &world).await;
    let mut busy = Client::connect(world.at).await;
    let mut said_close = false;
    while let Some(answer) = busy.get(HOST, "/").await {
        said_close |= answer.header("connection") == Some("close");
    }
    let _ = said_close;
    assert!(target.count() > 0);
}

#[tokio::test]
async fn a_request_that_breaks_off_is_not_completed_for_the_target() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    for head in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut stream = TcpStream::connect(world.at).await.unwrap();
        let text = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{head}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let before = target
            .connections
            .load(std::sync::atomic::Ordering::Relaxed);
        eventually("the target is connected", || {
            target
                .connections
                .load(std::sync::atomic::Ordering::Relaxed)
                >= before.max(1)
        })
        .await;
        drop(stream);
    }
    assert_eq!(get(world.at, HOST, "/").await.status, 200);
    assert_eq!(target.count(), 1, "only the whole request counts");
}
