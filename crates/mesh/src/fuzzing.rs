//! Entry points for the targets in `fuzz/` only.

use bytes::{BufMut as _, BytesMut};

use crate::frame::Frame;
use crate::gateway;
use crate::values::Incoming;

/// Reads frames that arrive in pieces of `cut` bytes, and writes what was read again; `None` when they are
/// none.
pub fn frames(bytes: &[u8], cut: usize) -> Option<Vec<u8>> {
    let (mut buffer, mut again) = (BytesMut::new(), Vec::new());
    let mut incoming = Incoming::default();
    for piece in bytes.chunks(cut.max(1)) {
        buffer.put_slice(piece);
        while let Some(frame) = Frame::take(&mut buffer).ok()? {
            again.extend_from_slice(&frame.head());
            if let Frame::Part { bytes, .. } = &frame {
                again.extend_from_slice(bytes);
            }
            if !matches!(frame, Frame::Hello(_)) {
                incoming.hear(frame).ok()?;
            }
        }
    }
    Some(again)
}

/// What a `CONNECT` head asks for and its length: `Ok(None)` while it is not whole, else the status of the
/// refusal.
pub fn authority(bytes: &[u8]) -> Result<Option<(&str, usize)>, u16> {
    gateway::authority_of(bytes).map_err(|(status, _)| status)
}

/// How many ways lead to what an authority asks for.
pub fn ways(snapshot: &lath_feed::Snapshot, authority: &str) -> usize {
    gateway::resolve(snapshot, authority).map_or(0, |gateway::Destination { ways }| ways.len())
}
