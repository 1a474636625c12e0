//! Targets that close kept connections without a word cost no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use lath_proxy::ProxyConfig;

use crate::lab::target::{Deed, Got};
use crate::lab::world::HOST;
use crate::lab::*;

/// A target that closes each connection after so many requests. It ends when the runtime does.
async fn closing_after(count: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                for _ in 0..count {
                    while !bytes.ends_with(b"\r\n\r\n") {
                        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                            return;
                        }
                    }
                    bytes.clear();
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

/// How many of so many requests of 16 clients were not answered with 200.
async fn lost(at: std::net::SocketAddr, requests: usize) -> usize {
    let (left, lost) = (
        Arc::new(AtomicUsize::new(requests)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (left, lost) = (Arc::clone(&left), Arc::clone(&lost));
        clients.spawn(async move {
            let mut client = Client::connect(at).await;
            let take = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                match client.get(HOST, "/").await {
                    Some(answer) if answer.status == 200 => {}
                    answer => {
                        lost.fetch_add(1, Ordering::Relaxed);
                        if answer.is_none() {
                            client = Client::connect(at).await;
                        }
                    }
                }
            }
        });
    }
    clients.join_all().await;
    lost.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_close_kept_connections_lose_no_request() {
    for close_after in [1, 7] {
        let target = closing_after(close_after).await;
        let (world, _) = World::forwarding(&[target]);
        let _lab = Lab::start(config(), &world).await;
        assert_eq!(
            lost(world.at, 10_000).await,
            0,
            "closed after {close_after}"
        );
    }
}

/// A target that answers GETs with their paths, and closes when it has read anything else.
async fn answering_gets_only() -> Target {
    Target::start(|got| {
        if got.head.starts_with("GET ") {
            ok(got.path())
        } else {
            Deed::Close
        }
    })
    .await
}

fn methods(target: &Target) -> Vec<String> {
    let seen = target.seen.lock().unwrap();
    let method = |got: &Got| got.head.split(' ').next().unwrap_or("").to_owned();
    seen.iter().map(method).collect()
}

#[tokio::test]
async fn a_request_that_fails_never_brings_an_earlier_one_back() {
    let target = answering_gets_only().await;
    let retrying = ProxyConfig {
        unacknowledged: Some(std::time::Duration::from_secs(5)),
        ..config()
    };
    for config in [config(), retrying] {
        let (world, _) = World::forwarding(&[target.at]);
        let _lab = Lab::start(config, &world).await;
        target.seen.lock().unwrap().clear();
        let mut first = Client::connect(world.at).await;
        // The second is sent on a connection that was used before, so that its head is kept.
        for path in ["/one", "/two"] {
            assert_eq!(first.get(HOST, path).await.unwrap().body, path);
        }
        let post = format!("POST /pay HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\ncash");
        let mut second = Client::connect(world.at).await;
        let answer = second.ask(&post).await.unwrap();
        assert_eq!((answer.status, answer.body.contains("/two")), (502, false));
        assert_eq!(methods(&target), ["GET", "GET", "POST"]);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_never_brings_an_earlier_request_back() {
    let target = answering_gets_only().await;
    let (world, _) = World::forwarding(&[target.at]);
    let _lab = Lab::start(config(), &world).await;
    let mut first = Client::connect(world.at).await;
    for path in ["/one", "/two"] {
        assert_eq!(first.get(HOST, path).await.unwrap().body, path);
    }
    let broken = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ncash\r\nxyz\r\n"
    );
    let answer = send_raw(world.at, broken.as_bytes()).await;
    assert!(matches!(answer.status, 0 | 400), "{answer:?}");
    let gets = methods(&target).iter().filter(|it| *it == "GET").count();
    assert_eq!(gets, 2);
}
