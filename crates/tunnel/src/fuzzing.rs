//! Doors for the targets in `fuzz/`, and for nobody else.

use crate::glue::Glue;
use crate::segment;

/// The packets that a frame of a TUN device is cut into.
pub fn packets(mut frame: Vec<u8>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    // What was cut before a frame turned out to be malformed counts too.
    let _malformed = segment::packets(&mut frame, &mut Vec::new(), |packet| {
        packets.push(packet.to_vec());
    });
    packets
}

/// The frames that packets are glued into.
pub fn frames(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut glue, mut frames) = (Glue::default(), Vec::new());
    let mut write = |frame: &[u8]| frames.push(frame.to_vec());
    for packet in packets {
        glue.push(packet, &mut write);
    }
    glue.flush(&mut write);
    frames
}
