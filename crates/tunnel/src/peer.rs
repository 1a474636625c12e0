//! The peer: WireGuard's protocol state, and the time of the last packet from it.
//!
//! WireGuard itself is silent without traffic and takes 15 seconds to notice a dead peer. Here each end sends
//! an empty packet when it has been idle for the keepalive time. When it has heard nothing for 3.5 times as
//! long, it begins a handshake every second, so that the end that comes back first is answered.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use lath_clock::Clock;
use lath_feed::PrivateKey;
use lath_model::Timestamp;

use crate::batch::Batch;

/// The pause between attempts at a handshake.
const AGAIN: Duration = Duration::from_secs(1);
/// The age at which a session gets new keys. The ends use different ages, so that only one starts the handshake.
const REKEY: [Duration; 2] = [Duration::from_secs(110), Duration::from_secs(120)];
/// The length of a handshake message; the encryption overhead of a packet is 32 bytes.
const HANDSHAKE: usize = 148;
const SEAL: usize = 32;
/// The types (first byte) of messages that prove that the peer is alive and has its keys: handshake response
/// and data. A handshake initiation may be a replay.
const PROOFS: [u8; 2] = [2, 4];

pub(crate) struct Peer {
    tunn: Tunn,
    address: IpAddr,
    keepalive: Duration,
    clock: Clock,
    rekey: Duration,
    last_heard: Option<Instant>,
    sent: Instant,
    tried: Option<Instant>,
    pub(crate) handshake: Option<Timestamp>,
    pub(crate) received: u64,
    pub(crate) sealed: u64,
}

/// The result of opening a datagram.
pub(crate) enum Opened {
    /// The buffer contains a packet of this length.
    Packet(usize),
    /// Nothing for the device.
    Nothing,
}

impl Peer {
    pub(crate) fn new(
        private: &PrivateKey,
        public: [u8; 32],
        address: IpAddr,
        keepalive: Duration,
        clock: Clock,
    ) -> Self {
        let private = StaticSecret::from(private.0);
        let is_earlier = PublicKey::from(&private).as_bytes() < &public;
        // The library builds session indices from 24 bits that we choose and 8 of its own.
        let number = rand::random::<u32>() >> 8;
        let tunn = Tunn::new(private, PublicKey::from(public), None, None, number, None);
        Self {
            tunn,
            address,
            keepalive,
            clock,
            rekey: REKEY[usize::from(!is_earlier)],
            last_heard: None,
            sent: Instant::now(),
            tried: None,
            handshake: None,
            received: 0,
            sealed: 0,
        }
    }

    /// Whether the peer has sent something recently.
    pub(crate) fn is_connected(&self, now: Instant) -> bool {
        let patience = self.keepalive * 3 + self.keepalive / 2;
        self.last_heard
            .is_some_and(|last_heard| now.saturating_duration_since(last_heard) < patience)
    }

    /// Encrypts a packet. Returns false if the batch is full and must be sent first.
    pub(crate) fn seal(&mut self, packet: &[u8], batch: &mut Batch, now: Instant) -> bool {
        let Some(room) = batch.room((packet.len() + SEAL).max(HANDSHAKE)) else {
            return false;
        };
        if let TunnResult::WriteToNetwork(datagram) = self.tunn.encapsulate(packet, room) {
            let length = datagram.len();
            batch.added(length);
            self.sent = now;
            self.sealed += length as u64;
        }
        true
    }

    /// Decrypts a datagram into `packet`, which must be at least as long. Adds replies to `batch`.
    pub(crate) fn open(
        &mut self,
        datagram: &[u8],
        packet: &mut [u8],
        batch: &mut Batch,
        now: Instant,
    ) -> Opened {
        let proves = datagram.first().is_some_and(|kind| PROOFS.contains(kind));
        let (length, answer) = match self.tunn.decapsulate(Some(self.address), datagram, packet) {
            TunnResult::Err(_) => return Opened::Nothing,
            TunnResult::WriteToTunnelV4(opened, _) | TunnResult::WriteToTunnelV6(opened, _) => {
                (Some(opened.len()), None)
            }
            TunnResult::WriteToNetwork(answer) => (None, Some(answer.len())),
            TunnResult::Done => (None, None),
        };
        if proves {
            self.last_heard = Some(now);
            self.received += datagram.len() as u64;
        }
        if let Some(answer) = answer {
            self.put(packet.get(..answer).unwrap_or_default(), batch, now);
            self.send_queued(packet, batch, now);
        }
        length.map_or(Opened::Nothing, Opened::Packet)
    }

    /// Sends the packets that were queued before there was a session.
    fn send_queued(&mut self, scratch: &mut [u8], batch: &mut Batch, now: Instant) {
        // The length of the library's queue.
        for _ in 0..256 {
            let TunnResult::WriteToNetwork(datagram) = self.tunn.decapsulate(None, &[], scratch)
            else {
                return;
            };
            let length = datagram.len();
            self.put(scratch.get(..length).unwrap_or_default(), batch, now);
        }
    }

    fn put(&mut self, datagram: &[u8], batch: &mut Batch, now: Instant) {
        if let Some(room) = batch.room(datagram.len()) {
            room[..datagram.len()].copy_from_slice(datagram);
            batch.added(datagram.len());
            self.sent = now;
            self.sealed += datagram.len() as u64;
        }
    }

    /// Runs the timers. Called several times a second.
    pub(crate) fn tick(&mut self, batch: &mut Batch, now: Instant) {
        let mut scratch = [0; 2 * HANDSHAKE];
        // The library logs each attempt and each expired session as an error. Hide that: the state shows a dead peer.
        let timers = || match self.tunn.update_timers(&mut scratch) {
            TunnResult::WriteToNetwork(datagram) => datagram.len(),
            _ => 0,
        };
        let length = tracing::dispatcher::with_default(&tracing::Dispatch::none(), timers);
        if length > 0 {
            self.put(&scratch[..length], batch, now);
        }
        let age = self.tunn.time_since_last_handshake();
        self.note_handshake(age);
        let is_stale = age.is_none_or(|age| age > self.rekey) || !self.is_connected(now);
        if is_stale && self.tried.is_none_or(|tried| now - tried >= AGAIN) {
            self.tried = Some(now);
            self.begin_handshake(batch, now);
        } else if age.is_some() && now - self.sent >= self.keepalive {
            self.seal(&[], batch, now);
        }
    }

    fn begin_handshake(&mut self, batch: &mut Batch, now: Instant) {
        let mut scratch = [0; HANDSHAKE];
        let begun = self.tunn.format_handshake_initiation(&mut scratch, true);
        if let TunnResult::WriteToNetwork(datagram) = begun {
            let length = datagram.len();
            self.put(&scratch[..length], batch, now);
        }
    }

    /// Records the last handshake. Its age is exact only to the tick: smaller differences do not count.
    fn note_handshake(&mut self, age: Option<Duration>) {
        let Some(age) = age.and_then(|age| i64::try_from(age.as_millis()).ok()) else {
            return;
        };
        let at = Timestamp::from_millis(self.clock.now().as_millis() - age);
        let is_new = |known: Timestamp| at.since(known) > Duration::from_secs(1);
        if self.handshake.is_none_or(is_new) {
            self.handshake = Some(at);
        }
    }
}
