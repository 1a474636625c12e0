//! The client's body on its way to a target.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::engine::{Error, Source};
use crate::fields;
use crate::interim;
use crate::meter::{Meter, Side};
use crate::payload::Upload;
use crate::seam::{Pause, Seam};
use crate::target_io::TargetSocket;

/// The client's body on its way to a target.
pub(crate) struct RequestBody {
    /// `None`: a body that is known to be empty, or is over.
    incoming: Option<Source>,
    /// What of it waits for the target; there is none until the first piece.
    left: Option<Arc<AtomicUsize>>,
    /// Trailers that are written when everything before them is.
    trailers: Option<(HeaderMap, Pause)>,
    /// The HTTP/1.1 connection that it goes over.
    socket: Option<Rc<TargetSocket>>,
    meter: Rc<Meter>,
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
            left: None,
            trailers: None,
            socket: None,
            meter,
        }
    }

    /// The connection was chosen.
    pub(crate) fn goes_over(&mut self, socket: &Rc<TargetSocket>) {
        self.socket = Some(Rc::clone(socket));
    }

    /// Of trailers, what only Lath may say is left out.
    fn end_with(&mut self, mut trailers: HeaderMap) -> Option<Frame<Upload>> {
        self.meter.request_complete();
        fields::clean_request_trailers(&mut trailers);
        if trailers.is_empty() {
            self.incoming = None;
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
        self.incoming = None;
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
        ready!(self.meter.poll_room(Side::Target, cx));
        let this = &mut *self;
        if this.trailers.is_some() {
            return this.poll_trailers(cx).map(|()| None);
        }
        if this.meter.is_expecting() {
            // What lets it go polls the connection, and that polls this.
            return Poll::Pending;
        }
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
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
                    }
                    if this.is_end_stream() {
                        this.meter.request_complete();
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
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
            && self
                .incoming
                .as_ref()
                .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
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
