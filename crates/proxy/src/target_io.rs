//! A target's HTTP/1.1 stream, as the engine reads and writes it, and as its owner sees it meanwhile.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::framing::{Guard, Interim, Offence};
use crate::seam::Seam;
use crate::stream::Stream;

/// Room for a head that is larger than this (in bytes) is given back when the head is forgotten.
const LARGEST: usize = 16 * 1024;

/// The stream, which the engine's connection and its owner share.
#[derive(Debug)]
pub(crate) struct TargetSocket {
    stream: RefCell<Stream>,
    guard: RefCell<Guard>,
    /// Whether a byte was written since the last request began.
    written: Cell<bool>,
    keeping: Cell<Keeping>,
    /// The head of the request under way while `keeping` is `Kept`, else empty.
    head: RefCell<Vec<u8>>,
    pub(crate) seam: Seam,
}

/// Whether the head of the request under way is kept. A head never outlives its request: the next request on
/// this connection is another client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    No,
    /// The next bytes that are written are the head, and are kept.
    Awaited,
    ReplayBody,
}

/// The engine's share of it.
#[derive(Debug)]
pub(crate) struct TargetIo(pub(crate) Rc<TargetSocket>);

impl TargetSocket {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream: RefCell::new(stream),
            guard: RefCell::new(Guard::over_responses()),
            written: Cell::new(false),
            keeping: Cell::new(Keeping::No),
            head: RefCell::default(),
            seam: Seam::default(),
        }
    }

    /// A request begins. `is_head`: it is a HEAD. `keeps`: it may have to be sent once more, see
    /// [`Self::take_head`].
    pub(crate) fn begin(&self, is_head: bool, keeps: bool) {
        self.guard.borrow_mut().expect_response(is_head);
        self.written.set(false);
        self.forget_head();
        if keeps {
            self.keeping.set(Keeping::Awaited);
        }
    }

    /// The head of the request under way as it was written, or tried to be, if it was to be kept. Nothing of it is
    /// left here.
    pub(crate) fn take_head(&self) -> Option<Vec<u8>> {
        let head = self.head.take();
        (self.keeping.replace(Keeping::No) == Keeping::ReplayBody).then_some(head)
    }

    /// The request under way is not sent once more.
    pub(crate) fn forget_head(&self) {
        self.keeping.set(Keeping::No);
        let mut head = self.head.borrow_mut();
        head.clear();
        head.shrink_to(LARGEST);
    }

    fn keep(&self, head: &[u8]) {
        if self.keeping.get() == Keeping::Awaited {
            self.keeping.set(Keeping::ReplayBody);
            self.head.borrow_mut().extend_from_slice(head);
        }
    }

    /// Whether a byte of the request was written.
    pub(crate) fn is_written(&self) -> bool {
        self.written.get()
    }

    /// What is wrong with the target's bytes.
    pub(crate) fn offence(&self) -> Option<Offence> {
        self.guard.borrow().offence()
    }

    /// The interim responses that came since this was asked last.
    pub(crate) fn take_interim(&self) -> Vec<Interim> {
        self.guard.borrow_mut().take_interim()
    }

    /// Ready when the thread was told of something from the target; else `cx` is woken when it is.
    pub(crate) fn poll_stirred(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.borrow_mut().poll_readable(cx)
    }

    /// Does something with the stream, when HTTP is over on it.
    pub(crate) fn with_stream<T>(&self, with: impl FnOnce(&mut Stream) -> T) -> T {
        with(&mut self.stream.borrow_mut())
    }

    /// Whether the kernel has nothing from the target: no byte, no end, no error. Between requests there
    /// must be nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.borrow_mut().is_quiet()
    }
}

impl AsyncRead for TargetIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut guard = self.0.guard.borrow_mut();
        if let Some(offence) = guard.offence() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, offence)));
        }
        let before = buffer.filled().len();
        let mut stream = self.0.stream.borrow_mut();
        ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
        let sound = guard.advance(&buffer.filled()[before..]);
        buffer.set_filled(before + sound);
        match guard.offence() {
            // What precedes the offence is delivered first; nothing would mean the end.
            Some(offence) if sound == 0 => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, offence)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl TargetIo {
    fn noting(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.0.written.set(true);
        }
        written
    }
}

impl AsyncWrite for TargetIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.keep(bytes);
        let mut stream = self.0.stream.borrow_mut();
        self.noting(self.0.seam.poll_write(&mut *stream, cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The whole head is in the first piece.
        self.0.keep(bufs.first().map_or(&[], |head| head));
        let mut stream = self.0.stream.borrow_mut();
        self.noting(self.0.seam.poll_write_vectored(&mut *stream, cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.seam.poll_flush(&mut *self.0.stream.borrow_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.0.stream.borrow_mut();
        ready!(self.0.seam.poll_flush(&mut *stream, cx))?;
        Pin::new(&mut *stream).poll_shutdown(cx)
    }
}
