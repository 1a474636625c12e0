//! The client's body on its way to a target.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::engine::{Error, Source};
use crate::fields;
use crate::interim;
use crate::meter::{Meter, Side};
use crate::payload::Upload;
use crate::seam::{Pause, Seam};
use crate::target_io::TargetSocket;

/// The client's body on its way to a target.
pub(crate) struct RequestBody {
    /// `None`: a body that is known to be empty, or is over, or is kept.
    incoming: Option<Source>,
    /// What is sent a second time, before anything else.
    ahead: VecDeque<Upload>,
    /// Where the rest comes from, and what went of it, while it may have to be sent once more.
    kept: Option<Rc<ReplayBody>>,
    /// What of it waits for the target; there is none until the first piece.
    left: Option<Arc<AtomicUsize>>,
    /// Trailers that are written when everything before them is.
    trailers: Option<(HeaderMap, Pause)>,
    /// The HTTP/1.1 connection that it goes over.
    socket: Option<Rc<TargetSocket>>,
    /// Those that want a copy of it when all of it has gone.
    copies: Option<Box<Copies>>,
    meter: Rc<Meter>,
}

/// What has gone of a body, for those that want a copy of all of it.
#[derive(Default)]
struct Copies {
    pieces: Vec<Bytes>,
    size: usize,
    wanted: Vec<oneshot::Sender<Vec<Bytes>>>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Source, meter: Rc<Meter>) -> Self {
        if incoming.is_end_stream() {
            meter.request_complete();
        }
        Self {
            incoming: Some(incoming),
            ..Self::empty(meter)
        }
    }

    /// The body of a request that has none.
    pub(crate) fn empty(meter: Rc<Meter>) -> Self {
        Self {
            incoming: None,
            ahead: VecDeque::new(),
            kept: None,
            left: None,
            trailers: None,
            socket: None,
            copies: None,
            meter,
        }
    }

    /// A body of these pieces.
    pub(crate) fn of(pieces: Vec<Bytes>, meter: Rc<Meter>) -> Self {
        let left = Arc::<AtomicUsize>::default();
        let pieces = pieces.into_iter();
        Self {
            ahead: pieces.map(|it| Upload::new(it, &left)).collect(),
            ..Self::empty(meter)
        }
    }

    /// All of the body, once it has gone to its target, if it is not long and comes whole.
    pub(crate) fn copy(&mut self) -> oneshot::Receiver<Vec<Bytes>> {
        let (sender, receiver) = oneshot::channel();
        self.copies.get_or_insert_default().wanted.push(sender);
        receiver
    }

    fn note_copy(&mut self, bytes: &Bytes) {
        let Some(copies) = &mut self.copies else {
            return;
        };
        copies.size += bytes.len();
        // Those that wait for it may have given up: then nothing bounds how many bodies are kept.
        let in_vain = copies.wanted.iter().all(oneshot::Sender::is_closed);
        if in_vain || copies.size > KEPT || copies.pieces.len() >= MOST_PIECES {
            self.copies = None;
        } else {
            copies.pieces.push(lasting(bytes));
        }
    }

    /// The body is whole.
    fn hand_copies(&mut self) {
        if let Some(copies) = self.copies.take() {
            for wanted in copies.wanted {
                let _ = wanted.send(copies.pieces.clone());
            }
        }
    }

    /// From now on keeps a copy of what it gives, in case that the target does not look at it.
    pub(crate) fn keep(&mut self) -> Rc<ReplayBody> {
        let source = match self.kept.take() {
            Some(before) => before.source.take(),
            None => self.incoming.take(),
        };
        let kept = Rc::new(ReplayBody {
            source: RefCell::new(source),
            pieces: RefCell::default(),
            size: Cell::new(0),
            forgotten: Cell::new(false),
            left: Arc::clone(self.left.get_or_insert_default()),
            meter: Rc::clone(&self.meter),
        });
        self.kept = Some(Rc::clone(&kept));
        kept
    }

    /// The next frame from the client.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut kept = self.kept.as_ref().map(|kept| kept.source.borrow_mut());
        let source = match &mut kept {
            Some(source) => source.as_mut(),
            None => self.incoming.as_mut(),
        };
        source.map_or(Poll::Ready(None), |source| Pin::new(source).poll_frame(cx))
    }

    /// What the client has not sent yet.
    fn with_rest<T>(&self, look: impl FnOnce(Option<&Source>) -> T) -> T {
        match &self.kept {
            Some(kept) => look(kept.source.borrow().as_ref()),
            None => look(self.incoming.as_ref()),
        }
    }

    /// The body is over.
    fn finish(&mut self) {
        self.incoming = None;
        if let Some(kept) = &self.kept {
            kept.source.take();
        }
    }

    /// The connection was chosen.
    pub(crate) fn goes_over(&mut self, socket: &Rc<TargetSocket>) {
        self.socket = Some(Rc::clone(socket));
    }

    /// Of trailers, what only Lath may say is left out.
    fn end_with(&mut self, mut trailers: HeaderMap) -> Option<Frame<Upload>> {
        self.meter.request_complete();
        self.hand_copies();
        fields::clean_request_trailers(&mut trailers);
        if let Some(kept) = &self.kept {
            // Trailers are not kept: the rest would end without them.
            kept.forget();
        }
        if trailers.is_empty() {
            self.finish();
            return None;
        }
        if self.socket.is_none() {
            return Some(Frame::trailers(trailers));
        }
        self.trailers = Some((trailers, Pause::default()));
        None
    }

    fn charged(&mut self, bytes: Bytes) -> Upload {
        let left = self.left.get_or_insert_default();
        if let Some(kept) = &self.kept {
            kept.note(&bytes);
        }
        let upload = Upload::new(bytes, left);
        self.meter.owe_target(left);
        upload
    }

    fn poll_trailers(&mut self, cx: &Context<'_>) -> Poll<()> {
        if let (Some((trailers, pause)), Some(socket)) = (&mut self.trailers, &self.socket) {
            let seam: &Seam = &socket.seam;
            ready!(pause.poll(Some(seam), cx));
            seam.end_with(interim::lines(trailers));
        }
        self.trailers = None;
        self.finish();
        Poll::Ready(())
    }
}

impl http_body::Body for RequestBody {
    type Data = Upload;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Upload>, Error>>> {
        let this = &mut *self;
        // What is only kept gives way where room is short, before anything waits for room.
        if let Some(kept) = this
            .kept
            .as_ref()
            .filter(|_| this.meter.is_short(Side::Target))
        {
            kept.forget();
        }
        ready!(this.meter.poll_room(Side::Target, cx));
        if this.trailers.is_some() {
            return this.poll_trailers(cx).map(|()| None);
        }
        if this.meter.is_expecting() {
            // What lets it go polls the connection, and that polls this.
            return Poll::Pending;
        }
        if let Some(piece) = this.ahead.pop_front() {
            if let Some(kept) = &this.kept {
                kept.note(piece.bytes());
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(this.poll_incoming(cx));
        this.meter.touch();
        match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => match this.end_with(trailers) {
                    None if this.trailers.is_some() => self.poll_frame(cx),
                    frame => Poll::Ready(frame.map(Ok)),
                },
                Err(frame) => {
                    if let Some(data) = frame.data_ref() {
                        this.meter.received(data.len() as u64);
                        this.note_copy(data);
                    }
                    if this.is_end_stream() {
                        this.meter.request_complete();
                        this.hand_copies();
                    }
                    Poll::Ready(Some(Ok(frame.map_data(|data| this.charged(data)))))
                }
            },
            Some(Err(error)) => {
                this.meter.client_failed.set(true);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.meter.request_complete();
                this.hand_copies();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
            && self.ahead.is_empty()
            && self.with_rest(|rest| rest.is_none_or(http_body::Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        let rest = self.with_rest(|rest| rest.map_or_else(none, http_body::Body::size_hint));
        let ahead: usize = self.ahead.iter().map(Buf::remaining).sum();
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(rest + ahead as u64),
            None => rest,
        }
    }
}

/// A body that may have to be sent once more: the client's, and copies of what went of it.
pub(crate) struct ReplayBody {
    source: RefCell<Option<Source>>,
    pieces: RefCell<Vec<Upload>>,
    size: Cell<usize>,
    /// Whether pieces are missing.
    forgotten: Cell<bool>,
    left: Arc<AtomicUsize>,
    meter: Rc<Meter>,
}

/// As much of a body is kept, in bytes: as much as a target's first window takes (RFC 9113 section 6.9.2).
const KEPT: usize = 64 * 1024;
/// In this many pieces at most: each has its cost beside its bytes.
const MOST_PIECES: usize = 128;
/// Pieces below this, in bytes, are copied: they hold the whole buffer that they were read into otherwise.
const SMALL: usize = 4096;

/// A piece as it is kept.
fn lasting(bytes: &Bytes) -> Bytes {
    match bytes.len() < SMALL {
        true => Bytes::copy_from_slice(bytes),
        false => bytes.clone(),
    }
}

impl ReplayBody {
    fn note(&self, bytes: &Bytes) {
        if self.forgotten.get() {
            return;
        }
        self.size.set(self.size.get() + bytes.len());
        if self.size.get() > KEPT || self.pieces.borrow().len() >= MOST_PIECES {
            return self.forget();
        }
        // Charged as what waits for the target: it stays in memory as long.
        let piece = Upload::new(lasting(bytes), &self.left);
        self.pieces.borrow_mut().push(piece);
    }

    /// It will not be sent again.
    pub(crate) fn forget(&self) {
        self.forgotten.set(true);
        self.pieces.take();
    }

    /// The body from its beginning, if all of it is there.
    pub(crate) fn again(&self) -> Option<RequestBody> {
        if self.forgotten.replace(true) {
            return None;
        }
        Some(RequestBody {
            incoming: self.source.take(),
            ahead: self.pieces.take().into(),
            left: Some(Arc::clone(&self.left)),
            ..RequestBody::empty(Rc::clone(&self.meter))
        })
    }
}

/// The most of a refused request's body that is read so that the connection can go on, in bytes.
const LEFTOVER: usize = 64 * 1024;
/// How often a body that has nothing at the moment is asked again.
const TURNS: usize = 3;

/// Reads what has arrived already of a body that nothing wants.
pub(crate) async fn use_up(mut body: Source, meter: &Meter) {
    let (mut turns, mut left) = (TURNS, LEFTOVER);
    std::future::poll_fn(|cx| {
        loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let count = frame.data_ref().map_or(0, Bytes::len);
                    meter.received(count as u64);
                    let Some(rest) = left.checked_sub(count) else {
                        return Poll::Ready(());
                    };
                    left = rest;
                    if body.is_end_stream() {
                        meter.request_complete();
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(None) => {
                    meter.request_complete();
                    return Poll::Ready(());
                }
                Poll::Pending if turns > 0 => {
                    // The connection that reads it is polled in between.
                    turns -= 1;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(_))) | Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_piece_does_not_hold_the_buffer_that_it_came_in() {
        let buffer = Bytes::from(vec![7; 2 * SMALL]);
        let small = buffer.slice(..1);
        assert_eq!(lasting(&small), small);
        assert_ne!(lasting(&small).as_ptr(), small.as_ptr());
        let large = buffer.slice(..SMALL);
        assert_eq!(lasting(&large).as_ptr(), large.as_ptr());
    }
}
