//! Pieces of bodies, charged for as long as they wait in memory.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Buf, Bytes};

use crate::meter::Meter;

/// A piece of a body on its way to a client.
pub(crate) struct Payload {
    bytes: Bytes,
    owed: Option<Owed>,
}

/// Settled when it is dropped: the piece was written, or is not wanted any more.
struct Owed {
    meter: Rc<Meter>,
    size: usize,
}

impl Payload {
    /// A piece that is Lath's own and small.
    pub(crate) fn free(bytes: Bytes) -> Self {
        Self { bytes, owed: None }
    }

    pub(crate) fn charged(bytes: Bytes, meter: &Rc<Meter>) -> Self {
        let size = bytes.len();
        meter.owe_client(size);
        let meter = Rc::clone(meter);
        Self {
            bytes,
            owed: Some(Owed { meter, size }),
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.meter.settle_client(self.size);
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(owed) = &self.owed {
            owed.meter.drained();
        }
    }
}

/// A piece of a body on its way to a target. hyper wants such pieces to be able to change threads, so what is
/// left of them is counted in a cell of its own, which the exchange reads.
pub(crate) struct Upload {
    bytes: Bytes,
    size: usize,
    left: Arc<AtomicUsize>,
}

impl Upload {
    pub(crate) fn new(bytes: Bytes, left: &Arc<AtomicUsize>) -> Self {
        let size = bytes.len();
        left.fetch_add(size, Relaxed);
        let left = Arc::clone(left);
        Self { bytes, size, left }
    }

    /// What is left of it.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.left.fetch_sub(self.size, Relaxed);
    }
}

impl Buf for Upload {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
