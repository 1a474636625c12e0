//! Targets that close kept connections without a word cost no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

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
