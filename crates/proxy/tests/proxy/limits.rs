//! What clients may use of the process: idle connections, clients that do not read.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lath_net::accept::ConnectionLimits;
use lath_proxy::{Limits, ProxyConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::world::HOST;
use crate::lab::*;

/// Rests at the first tick; nothing stalls unless a test says so.
fn limited(limits: Limits) -> ProxyConfig {
    ProxyConfig {
        tick: Duration::from_millis(5),
        limits,
        ..config()
    }
}

fn resting() -> Limits {
    Limits {
        park_after: Duration::ZERO,
        ..Limits::default()
    }
}

/// A value of the proxy's own metrics.
fn metric(lab: &Lab, name: &str) -> u64 {
    let text = lab.handle.prometheus();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn idle_connections_rest_without_buffers_and_answer_again() {
    let target = Target::start(|got| ok(&format!("{} {}", got.path(), got.body.len()))).await;
    let (world, _) = World::forwarding(&[target.at]);
    let lab = Lab::start(limited(resting()), &world).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(world.at).await;
        assert_eq!(client.get(HOST, "/first").await.unwrap().body, "/first 0");
        clients.push(client);
    }
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for round in 0..3 {
        eventually("all rest", || {
            metric(&lab, "lath_proxy_connections_resting") == 100
        })
        .await;
        for client in &mut clients {
            let pipelined = ask("/a") + &ask("/b");
            assert_eq!(
                client.ask(&pipelined).await.unwrap().body,
                "/a 0",
                "round {round}"
            );
            assert_eq!(client.read().await.unwrap().body, "/b 0", "round {round}");
        }
        // A body, and an empty line after it, as some clients send.
        for client in &mut clients {
            let post =
                format!("POST /c HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello\r\n");
            assert_eq!(
                client.ask(&post).await.unwrap().body,
                "/c 5",
                "round {round}"
            );
        }
    }
    assert_eq!(metric(&lab, "lath_proxy_connections_total"), 100);
    drop(clients);
    eventually("all are closed", || {
        metric(&lab, "lath_proxy_connections_open") == 0
    })
    .await;
    assert_eq!(metric(&lab, "lath_proxy_connection_errors_total"), 0);
}

#[tokio::test]
async fn half_a_request_is_never_lost_whenever_it_comes() {
    let target = Target::start(|got| ok(&format!("{} {}", got.path(), got.body.len()))).await;
    let (world, _) = World::forwarding(&[target.at]);
    let lab = Lab::start(limited(resting()), &world).await;
    let mut client = Client::connect(world.at).await;
    let request = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello");
    // Pauses from none to more than a tick, between every two pieces, at every cut.
    for cut in 1..request.len() {
        let pause = Duration::from_micros((cut as u64 * 997) % 7000);
        tokio::time::sleep(pause).await;
        client.send(&request[..cut]).await;
        tokio::time::sleep(pause).await;
        let answer = client.ask(&request[cut..]).await;
        assert_eq!(answer.unwrap().body, "/a 5", "cut at {cut}");
    }
    eventually("it rests", || {
        metric(&lab, "lath_proxy_connections_resting") == 1
    })
    .await;
    // Half a request does not rest, and comes to its end.
    client.send(&request[..40]).await;
    eventually("it is awake", || {
        metric(&lab, "lath_proxy_connections_resting") == 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(metric(&lab, "lath_proxy_connections_resting"), 0);
    assert_eq!(client.ask(&request[40..]).await.unwrap().body, "/a 5");
    assert_eq!(metric(&lab, "lath_proxy_connections_total"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended() {
    let big = "x".repeat(32 << 20);
    let target = Target::start(move |_| ok(&big)).await;
    let (world, _) = World::forwarding(&[target.at]);
    let stall = Duration::from_millis(200);
    let lab = Lab::start(limited(Limits { stall, ..resting() }), &world).await;
    let mut client = Client::connect(world.at).await;
    client
        .send(&format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    eventually("it is ended", || {
        metric(&lab, "lath_proxy_stalled_total") == 1
    })
    .await;
    eventually("nothing is left of it", || {
        metric(&lab, "lath_proxy_connections_open") == 0
            && metric(&lab, "lath_proxy_buffered_bytes") == 0
            && metric(&lab, "lath_proxy_requests_in_flight") == 0
    })
    .await;
}

/// An HTTP/2 connection from this address, whose streams take so much unread.
async fn http2_from(address: &str, world: &World, window: u32) -> http2::SendRequest<Empty<Bytes>> {
    let stream = connect_from(address, world.at).await;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(1 << 30)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn http2_get(path: &str) -> http::Request<Empty<Bytes>> {
    let uri = format!("http://{HOST}{path}");
    http::Request::get(uri).body(Empty::new()).unwrap()
}

fn big_or_small() -> impl Fn(&target::Got) -> target::Deed + Send + Sync + 'static {
    let big = "x".repeat(1 << 20);
    move |got| match got.path() {
        "/big" => ok(&big),
        _ => ok("small"),
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_its_connection_lives() {
    let target = Target::start(big_or_small()).await;
    let (world, _) = World::forwarding(&[target.at]);
    let stall = Duration::from_millis(200);
    let lab = Lab::start(limited(Limits { stall, ..resting() }), &world).await;
    let mut client = http2_from("127.0.0.1", &world, 65_535).await;
    let unread = client.send_request(http2_get("/big")).await.unwrap();
    eventually("it is cut off", || {
        metric(&lab, "lath_proxy_stalled_total") == 1
    })
    .await;
    let small = client.send_request(http2_get("/small")).await.unwrap();
    assert_eq!(
        small.into_body().collect().await.unwrap().to_bytes(),
        "small"
    );
    let error = unread.into_body().collect().await.unwrap_err();
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    // One that is read takes its time.
    let mut slow = client
        .send_request(http2_get("/big"))
        .await
        .unwrap()
        .into_body();
    let mut read = 0;
    while let Some(frame) = slow.frame().await {
        read += frame.unwrap().into_data().map_or(0, |data| data.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(read, 1 << 20);
    assert_eq!(metric(&lab, "lath_proxy_connections_total"), 1);
}

#[tokio::test]
async fn what_waits_for_one_client_is_bounded_and_others_are_served() {
    let target = Target::start(big_or_small()).await;
    let (world, _) = World::forwarding(&[target.at]);
    let limits = Limits {
        client_buffer: 1 << 20,
        connection_buffer: 1 << 20,
        pressed_stall: Duration::from_secs(3600),
        ..resting()
    };
    let lab = Lab::start(limited(limits), &world).await;
    let mut greedy = http2_from("127.0.0.2", &world, 65_535).await;
    let mut unread = Vec::new();
    // What its windows still take makes room for a moment, so refusals come and go until then.
    while unread.len() < 100 {
        let response = greedy.send_request(http2_get("/big")).await.unwrap();
        match response.status().as_u16() {
            200 => unread.push(response),
            503 => break,
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(unread.len() < 100, "it is refused");
    let mut other = http2_from("127.0.0.3", &world, 65_535).await;
    let answer = other.send_request(http2_get("/big")).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes().len(),
        1 << 20
    );
    // One piece more than allowed: what was read before the limit was met.
    eventually("what waits is bounded", || {
        let waiting = metric(&lab, "lath_proxy_buffered_bytes");
        (512 << 10..(1 << 20) + (128 << 10)).contains(&waiting)
    })
    .await;
    // What was held up goes on when the client reads, and all is settled.
    for response in unread {
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 1 << 20);
    }
    assert_eq!(
        greedy
            .send_request(http2_get("/small"))
            .await
            .unwrap()
            .status(),
        200
    );
    eventually("nothing waits", || {
        metric(&lab, "lath_proxy_buffered_bytes") == 0
    })
    .await;
}

#[tokio::test]
async fn the_stalled_are_ended_early_where_memory_is_short() {
    let target = Target::start(big_or_small()).await;
    let (world, _) = World::forwarding(&[target.at]);
    let limits = Limits {
        client_buffer: 512 << 10,
        pressed_stall: Duration::from_millis(100),
        ..resting()
    };
    let lab = Lab::start(limited(limits), &world).await;
    let mut greedy = http2_from("127.0.0.2", &world, 65_535).await;
    let mut unread = Vec::new();
    while metric(&lab, "lath_proxy_stalled_total") == 0 {
        unread.push(greedy.send_request(http2_get("/big")).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eventually("it is served again", || {
        metric(&lab, "lath_proxy_buffered_bytes") < 512 << 10
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_its_target_does_not_read_waits_at_the_client() {
    let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (world, _) = World::forwarding(&[target.local_addr().unwrap()]);
    let lab = Lab::start(limited(resting()), &world).await;
    let mut stream = TcpStream::connect(world.at).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        1 << 30
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (deaf, _) = target.accept().await.unwrap();
    let piece = vec![0; 1 << 16];
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), stream.write(&piece)).await
    {
        sent += written.unwrap();
        assert!(sent < 256 << 20, "nothing holds the client up");
    }
    let waiting = metric(&lab, "lath_proxy_buffered_bytes");
    assert!((1..512 << 10).contains(&waiting), "{waiting}");
    drop(deaf);
    eventually("nothing waits", || {
        metric(&lab, "lath_proxy_buffered_bytes") == 0
    })
    .await;
}

#[tokio::test]
async fn a_connection_may_have_128_streams() {
    let (world, _) = World::forwarding(&[]);
    let _lab = Lab::start(config(), &world).await;
    let mut stream = TcpStream::connect(world.at).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS");
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
    assert_eq!(streams.unwrap()[2..], 128_u32.to_be_bytes());
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones_and_no_client_shuts_out_another() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let connections = ConnectionLimits {
        total: 40,
        per_place: 40,
        per_source: 30,
        idle: PATIENCE,
    };
    let connections = Some(connections);
    let lab = Lab::start(
        limited(Limits {
            connections,
            ..resting()
        }),
        &world,
    )
    .await;
    let mut first = Client::from("127.0.0.2", world.at).await;
    assert_eq!(first.get(HOST, "/").await.unwrap().body, "x");
    // Far more than there may be, silent ones and half requests, from two addresses.
    let mut silent = Vec::new();
    for number in 0..100 {
        let address = ["127.0.0.3", "127.0.0.4"][number % 2];
        let mut client = Client::from(address, world.at).await;
        if number % 3 == 0 {
            client.send("GET / HT").await;
        }
        silent.push(client);
    }
    eventually("the share is used", || {
        metric(&lab, "lath_proxy_connections_total") >= 90
    })
    .await;
    assert!(metric(&lab, "lath_proxy_connections_open") <= 40);
    // A client with a connection keeps it; a client without one gets one.
    assert_eq!(first.get(HOST, "/").await.unwrap().body, "x");
    let mut late = Client::from("127.0.0.5", world.at).await;
    assert_eq!(late.get(HOST, "/").await.unwrap().body, "x");
    // The newest of the many is served as well: an older one of its own gave way.
    let newest = &mut silent[98];
    let answer = newest.get(HOST, "/").await.unwrap();
    assert_eq!(answer.body, "x", "{answer:?}");
    drop(silent);
    eventually("two are left", || {
        metric(&lab, "lath_proxy_connections_open") == 2
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_to_a_target_rests_and_is_used_again() {
    let target = Target::start(|got| ok(&format!("{} {}", got.path(), got.body.len()))).await;
    let (world, _) = World::forwarding(&[target.at]);
    let lab = Lab::start(limited(resting()), &world).await;
    let mut client = Client::connect(world.at).await;
    for round in 0..2 {
        assert_eq!(client.get(HOST, "/a").await.unwrap().body, "/a 0");
        let post = format!("POST /b HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.ask(&post).await.unwrap().body, "/b 5");
        eventually("it rests", || {
            metric(&lab, "lath_target_group_connections_resting{") == 1
        })
        .await;
        assert_eq!(
            metric(&lab, "lath_target_group_connections_open{"),
            1,
            "{round}"
        );
    }
    assert_eq!(
        target
            .connections
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
    drop(target);
    eventually("its end is seen", || {
        metric(&lab, "lath_target_group_connections_open{") == 0
    })
    .await;
}

#[tokio::test]
async fn connections_to_targets_are_bounded_and_idle_ones_give_way() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let held = std::sync::Arc::clone(&go);
    let slow = move |got: &target::Got| match (got.path(), ok("x")) {
        ("/slow", target::Deed::Answer(answer)) => target::Deed::When(held.clone(), answer),
        (_, answer) => answer,
    };
    let (one, two) = (Target::start(slow).await, Target::named("x").await);
    let (mut world, group) = World::forwarding(&[one.at]);
    let target_connections = Some(1);
    let lab = Lab::start(
        limited(Limits {
            target_connections,
            ..resting()
        }),
        &world,
    )
    .await;
    let mut waits = Client::connect(world.at).await;
    waits
        .send(&format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    eventually("it has the connection", || one.count() == 1).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 503);
    go.notify_one();
    assert_eq!(waits.read().await.unwrap().body, "x");
    // In turn to two targets: each time the other one's idle connection is closed.
    world.register(&group, two.at);
    lab.apply(&mut world).await;
    for _ in 0..6 {
        assert_eq!(waits.get(HOST, "/").await.unwrap().body, "x");
    }
    assert_eq!(metric(&lab, "lath_target_group_connections_open{"), 1);
    assert!(two.count() > 0 && one.count() > 1);
}

/// An HTTP/2 target with the answers of [`big_or_small`].
async fn http2_target() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(
                |request: http::Request<hyper::body::Incoming>| async move {
                    let body = match request.uri().path() {
                        "/big" => Bytes::from(vec![b'x'; 4 << 20]),
                        _ => Bytes::from_static(b"small"),
                    };
                    let body = http_body_util::Full::new(body);
                    Ok::<_, std::convert::Infallible>(http::Response::new(body))
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
async fn unread_streams_leave_an_http2_target_to_other_clients() {
    let (mut world, group) = World::forwarding(&[http2_target().await]);
    let version = lath_model::lattice::ProtocolVersion::Http2;
    world.target_group(&group).protocol_version = Some(version);
    let stall = Duration::from_secs(3600);
    let _lab = Lab::start(limited(Limits { stall, ..resting() }), &world).await;
    let mut deaf = http2_from("127.0.0.2", &world, 65_535).await;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(deaf.send_request(http2_get("/big")).await.unwrap());
    }
    // As much as the target may send on these is on its way or here.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut other = http2_from("127.0.0.3", &world, 65_535).await;
    let answer = tokio::time::timeout(PATIENCE, other.send_request(http2_get("/small")));
    let body = answer.await.unwrap().unwrap().into_body();
    let body = tokio::time::timeout(PATIENCE, body.collect())
        .await
        .unwrap();
    assert_eq!(body.unwrap().to_bytes(), "small");
}
