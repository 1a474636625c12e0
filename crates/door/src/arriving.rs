//! A request's body on its way in.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use lath_net::accept::{Busy, Slot};

/// Keeps a connection's slot while a request is worked on: from when it is whole. Until then the client
/// could leave it half sent for ever, so that its connection counts as idle.
#[derive(Debug)]
pub(crate) struct Work {
    slot: Arc<Slot>,
    busy: Mutex<Option<Busy>>,
}

impl Work {
    fn begin(&self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.get_or_insert_with(|| self.slot.busy());
        self.slot.set_grace(Duration::ZERO);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.slot.set_grace(Duration::ZERO);
    }
}

/// A body that tells when there is progress, and when it is whole.
#[derive(Debug)]
pub(crate) struct Arriving {
    body: Incoming,
    work: Arc<Work>,
}

impl Arriving {
    /// The body of a request on the connection that has `slot`, and the work that begins with its end.
    ///
    /// `deadline` is what the body's reader grants.
    pub(crate) fn new(body: Incoming, slot: &Arc<Slot>, deadline: Duration) -> (Self, Arc<Work>) {
        let work = Arc::new(Work {
            slot: Arc::clone(slot),
            busy: Mutex::default(),
        });
        slot.touch();
        slot.set_grace(deadline);
        if body.is_end_stream() {
            work.begin();
        }
        let same = Arc::clone(&work);
        (Self { body, work: same }, work)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(_) => self.work.slot.touch(),
            None => self.work.begin(),
        }
        if self.body.is_end_stream() {
            self.work.begin();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
