//! Raw bytes both ways.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that has carried nothing for so long is closed: no listener's idle timeout is longer than
/// 10 minutes.
const IDLE: Duration = Duration::from_secs(660);
const BUFFER: usize = 64 * 1024;

/// Carries bytes until both ends have said all, one is gone, or nothing moves. `early` goes to `inner` first.
pub(crate) async fn pump(outer: TcpStream, inner: TcpStream, early: &[u8]) -> io::Result<()> {
    let moved = AtomicU64::new(0);
    let (outer_read, outer_write) = outer.into_split();
    let (inner_read, mut inner_write) = inner.into_split();
    inner_write.write_all(early).await?;
    let inwards = one_way(outer_read, inner_write, &moved);
    let outwards = one_way(inner_read, outer_write, &moved);
    let both = async { tokio::try_join!(inwards, outwards).map(drop) };
    tokio::select! {
        done = both => done,
        () = idle(&moved, IDLE) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

async fn idle(moved: &AtomicU64, limit: Duration) {
    let mut known = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(limit).await;
        let now = moved.load(Ordering::Relaxed);
        if now == known {
            return;
        }
        known = now;
    }
}
