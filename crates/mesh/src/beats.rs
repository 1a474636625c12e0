//! Heartbeats, on a road and a thread of their own: neither a large value nor a busy process delays them.
//!
//! Both ends doubt the other after a silence; a connection that stays silent is given up for a fresh one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use lath_net::Throttle;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::carry::{GIVE_UP, HEARTBEAT, SILENCE};
use crate::frame::{Frame, Malformed};
use crate::peers::Peers;
use crate::road::{Road, Talk};

/// A process whose runtime did not turn for this long is as good as dead: it says no more that it lives.
const STALLED: Duration = Duration::from_secs(2);
/// Minimise delay (RFC 1349): the kernel's queues let such packets pass.
const LOW_DELAY: u32 = 0x10;
/// Heartbeats are short.
const BUFFER: usize = 4096;

/// The runtime that does the work, as the thread of the heartbeats sees it.
#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    /// When the runtime turned last, in milliseconds since then.
    turned: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            turned: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Turns with the runtime that runs it.
    pub(crate) async fn turn(&self) {
        let mut often = interval(HEARTBEAT);
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            often.tick().await;
            self.turned.store(self.now(), Ordering::Relaxed);
        }
    }

    fn is_alive(&self) -> bool {
        let still = self
            .now()
            .saturating_sub(self.turned.load(Ordering::Relaxed));
        Duration::from_millis(still) < STALLED
    }
}

/// One cell's heartbeats.
#[derive(Clone)]
pub(crate) struct Beats {
    pub(crate) own: String,
    pub(crate) peers: Peers,
    pub(crate) pulse: Arc<Pulse>,
}

impl Beats {
    /// Starts the thread, which ends with `stop`.
    ///
    /// # Errors
    /// When there is no thread or runtime to be had.
    pub(crate) fn start(self, road: Road, stop: CancellationToken) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = move || {
            let beating = stop.run_until_cancelled(road.keep(self));
            runtime.block_on(beating);
        };
        std::thread::Builder::new()
            .name("lath-beats".into())
            .spawn(run)
            .map(drop)
    }

    async fn listen(&self, peer: &str, mut read: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        let (mut greeted, mut heard) = (false, Instant::now());
        loop {
            while let Some(frame) = Frame::take(&mut buffer).map_err(invalid)? {
                greeted = self.hear(peer, &frame, greeted)?;
            }
            buffer.reserve(BUFFER);
            let patience = if heard.elapsed() < SILENCE {
                SILENCE
            } else {
                GIVE_UP
            };
            let left = patience.saturating_sub(heard.elapsed());
            match timeout(left, read.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    read?;
                    heard = Instant::now();
                    if greeted {
                        self.peers.connected(peer, true);
                    }
                }
                Err(_) if heard.elapsed() >= GIVE_UP => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => self.peers.connected(peer, false),
            }
        }
    }

    /// Whether the greeting was said.
    fn hear(&self, peer: &str, frame: &Frame, greeted: bool) -> io::Result<bool> {
        match frame {
            Frame::Hello(name) if name == peer => {
                self.peers.connected(peer, true);
                Ok(true)
            }
            Frame::Beat if greeted => Ok(true),
            _ => Err(invalid("another cell, or none, speaks")),
        }
    }

    async fn speak(&self, mut write: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hello = Frame::Hello(self.own.clone()).head();
        write.write_all(&hello).await?;
        loop {
            beat.tick().await;
            if self.pulse.is_alive() {
                write.write_all(&Frame::Beat.head()).await?;
            }
        }
    }
}

impl Talk for Beats {
    async fn converse(&self, peer: &str, stream: TcpStream) {
        // It only delays heartbeats.
        let _slower = stream.set_nodelay(true);
        let _without_precedence = SockRef::from(&stream).set_tos_v4(LOW_DELAY);
        let (read, write) = stream.into_split();
        let ended = tokio::select! {
            ended = self.listen(peer, read) => ended,
            ended = self.speak(write) => ended,
        };
        self.peers.connected(peer, false);
        match ended {
            Err(error) if is_another_version(&error) => {
                if let Some(times) = ANOTHER_VERSION.due() {
                    tracing::error!(
                        peer,
                        times,
                        "this region's process and that one's are of different versions of Lath and do not talk: restart both \
                         with one"
                    );
                }
            }
            Err(error) => tracing::debug!(peer, %error, "a connection of heartbeats ended"),
            Ok(()) => {}
        }
    }
}

static ANOTHER_VERSION: Throttle = Throttle::new();

fn is_another_version(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(inner, Some(Malformed::Version))
}

pub(crate) fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_from_other_errors() {
        assert!(is_another_version(&invalid(Malformed::Version)));
        assert!(!is_another_version(&invalid(Malformed::Unknown)));
        assert!(!is_another_version(&io::ErrorKind::TimedOut.into()));
    }
}
