//! Coalesces consecutive TCP segments into one frame, like the kernel's generic receive offload, so that the kernel
//! handles them at once: the reverse of [`crate::segment`].

use crate::checksum::{fold, pseudo, sum};
use crate::vnet::{Header, LENGTH};

const TCP: u8 = 6;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x08;
/// The largest IPv4 packet, in bytes.
const LARGEST: usize = 65_535;

/// Collects packets and emits frames for a TUN device, in order.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    /// The header and the packet.
    frame: Vec<u8>,
    run: Option<Run>,
}

/// The run of segments in the frame.
#[derive(Debug, Clone, Copy)]
struct Run {
    transport: usize,
    payload: usize,
    /// The payload length of the first segment.
    piece: usize,
    segments: usize,
    next: u32,
}

impl Coalescer {
    /// Adds a packet. Calls `write` with each frame that this completes.
    pub(crate) fn push(&mut self, packet: &[u8], write: &mut impl FnMut(&[u8])) {
        let candidate = candidate(packet);
        if let (Some(run), Some(new)) = (self.run, candidate)
            && self.continues(&run, packet, &new)
        {
            self.append(run, packet, &new);
            if new.piece < run.piece || packet[new.transport + 13] & PUSH != 0 {
                self.flush(write);
            }
            return;
        }
        self.flush(write);
        self.frame.clear();
        self.frame.resize(LENGTH, 0);
        self.frame.extend_from_slice(packet);
        match candidate {
            Some(run) if packet[run.transport + 13] & PUSH == 0 => self.run = Some(run),
            _ => write(&self.frame),
        }
    }

    /// Writes the pending frame.
    pub(crate) fn flush(&mut self, write: &mut impl FnMut(&[u8])) {
        let Some(run) = self.run.take() else {
            return;
        };
        if run.segments > 1 {
            self.close(&run);
        }
        write(&self.frame);
    }

    fn continues(&self, run: &Run, packet: &[u8], new: &Run) -> bool {
        let held = &self.frame[LENGTH..];
        let number = new.next.wrapping_sub(new.piece as u32);
        let at = run.transport;
        // Version, type of service; lifetime, protocol; addresses; ports; acknowledgement, offset.
        let equal = [
            0..2,
            6..10,
            12..20,
            at..at + 4,
            at + 8..at + 13,
            at + 14..at + 16,
        ];
        number == run.next
            && (run.transport, run.payload) == (new.transport, new.payload)
            && new.piece <= run.piece
            && held.len() + new.piece <= LARGEST
            && equal
                .into_iter()
                .all(|part| held[part.clone()] == packet[part])
            && held[at + 20..run.payload] == packet[at + 20..run.payload]
    }

    fn append(&mut self, run: Run, packet: &[u8], new: &Run) {
        self.frame.extend_from_slice(&packet[new.payload..]);
        self.frame[LENGTH + run.transport + 13] |= packet[new.transport + 13] & PUSH;
        self.run = Some(Run {
            segments: run.segments + 1,
            next: new.next,
            ..run
        });
    }

    /// Writes the headers of the coalesced packet.
    fn close(&mut self, run: &Run) {
        let packet = &mut self.frame[LENGTH..];
        let length = packet.len();
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        packet[10..12].fill(0);
        let total = !fold(sum(&packet[..run.transport]));
        packet[10..12].copy_from_slice(&total.to_be_bytes());
        let partial = pseudo(packet, TCP, length - run.transport).map_or(0, fold);
        let field = run.transport + 16;
        packet[field..field + 2].copy_from_slice(&partial.to_be_bytes());
        let (ip, headers) = (run.transport as u16, run.payload as u16);
        let header = Header::coalesced(ip, headers, run.piece as u16);
        self.frame[..LENGTH].copy_from_slice(&header);
    }
}

/// Parses a packet that may begin or continue a run: TCP over IPv4 without fragments or IP options, with a payload, a
/// correct checksum and no flags but ACK and PSH.
fn candidate(packet: &[u8]) -> Option<Run> {
    let header = packet.get(..40)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_whole = header[6] & 0x3f == 0 && header[7] == 0;
    if header[0] != 0x45 || header[9] != TCP || !is_whole || length != packet.len() {
        return None;
    }
    let (transport, payload) = (20, 20 + usize::from(header[32] >> 4) * 4);
    if payload < 40 || payload >= length || header[33] & !PUSH != ACK {
        return None;
    }
    let total = sum(&packet[transport..]) + pseudo(packet, TCP, length - transport)?;
    let whole = fold(total) == 0xffff && fold(sum(&packet[..20])) == 0xffff;
    let number = u32::from_be_bytes([header[24], header[25], header[26], header[27]]);
    let piece = length - payload;
    whole.then_some(Run {
        transport,
        payload,
        piece,
        segments: 1,
        next: number.wrapping_add(piece as u32),
    })
}
