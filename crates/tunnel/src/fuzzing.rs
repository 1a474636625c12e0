//! Entry points for the targets in `fuzz/` only.

use crate::coalesce::Coalescer;
use crate::segment;

/// Splits a frame of a TUN device into packets.
pub fn packets(mut frame: Vec<u8>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    // Includes the packets before the malformed part of a frame.
    let _malformed = segment::packets(&mut frame, &mut Vec::new(), |packet| {
        packets.push(packet.to_vec());
    });
    packets
}

/// Coalesces packets into frames.
pub fn frames(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut coalescer, mut frames) = (Coalescer::default(), Vec::new());
    let mut write = |frame: &[u8]| frames.push(frame.to_vec());
    for packet in packets {
        coalescer.push(packet, &mut write);
    }
    coalescer.flush(&mut write);
    frames
}
