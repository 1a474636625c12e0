//! What Lath itself writes between the engine's bytes on an HTTP/1.1 connection: interim responses, which hyper's
//! server does not send; trailers, of which hyper sends only those that a `Trailer` header announced; and the header
//! fields that every request to a target gets, which cost less as lines than in the engine's map of headers.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::scratch::with_scratch;

/// A head and a body that are no longer than this together, in bytes, are copied into one piece: for the kernel one
/// piece is less work than a list of two.
const SMALL: usize = 2048;

/// As many pieces are written at once, a head among them.
const PIECES: usize = 8;

/// Room for what is larger than this (in bytes) is not kept.
const LARGEST: usize = 4096;

/// The end of a chunked message as hyper writes it.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The place where what Lath writes is joined to what hyper writes.
#[derive(Debug, Default)]
pub(crate) struct Seam {
    /// Whether there is anything to do beside passing hyper's bytes on.
    armed: Cell<bool>,
    /// What there is. Boxed, because an idle connection has none of it.
    own: RefCell<Option<Box<Own>>>,
    /// Whether the socket takes no more at present, so that hyper or this may hold bytes back.
    blocked: Cell<bool>,
    /// Whether hyper wrote something since it had all written.
    unflushed: Cell<bool>,
}

/// What Lath itself writes.
#[derive(Debug, Default)]
struct Own {
    /// Goes out before hyper's next byte.
    ahead: Vec<u8>,
    /// Trailer lines for the chunked message whose end is the next thing that hyper writes.
    trailers: Vec<u8>,
    /// Field lines for the head that is the next thing that hyper writes.
    fields: Vec<u8>,
}

/// Waits until hyper has written what it holds of a message.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    asked: bool,
}

impl Pause {
    /// Polled from within a body. hyper writes what it has whenever a body is pending, so everything is
    /// written when the body is polled anew and the socket was able to take it.
    pub(crate) fn poll(&mut self, seam: Option<&Seam>, cx: &Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.asked, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Of a blocked socket hyper waits for itself, and then polls the body too.
        match seam {
            Some(seam) if seam.blocked.get() => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

impl Seam {
    /// Writes this before anything else of hyper's; only where a message may begin.
    pub(crate) fn write_ahead(&self, bytes: &[u8]) {
        let mut own = self.own.borrow_mut();
        own.get_or_insert_default().ahead.extend_from_slice(bytes);
        self.armed.set(true);
    }

    /// Ends the head that is written next with the field lines (each with CR LF) that `write` adds.
    pub(crate) fn end_head_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut own = self.own.borrow_mut();
        let fields = &mut own.get_or_insert_default().fields;
        fields.clear();
        write(fields);
        self.armed.set(true);
    }

    /// Gives back the room for what was written.
    pub(crate) fn rest(&self) {
        if !self.armed.get() {
            self.own.take();
        }
    }

    /// Ends the present message with these trailer lines (each with CR LF), if it is chunked. hyper must have
    /// written everything else of it (see [`Pause`]).
    pub(crate) fn end_with(&self, trailers: Vec<u8>) {
        self.own.borrow_mut().get_or_insert_default().trailers = trailers;
        self.armed.set(true);
    }

    /// Whether the socket takes no more at present.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Whether part of what hyper wrote may not have reached the socket.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed.get()
    }

    /// For `poll_write`.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed.set(true);
        if self.armed.get() {
            ready!(self.poll_ahead(stream, cx))?;
            if let Some(written) = self.poll_head(stream, cx, &[io::IoSlice::new(bytes)]) {
                return written;
            }
            let own = self.own.take();
            let trailers = own.map(|own| own.trailers).unwrap_or_default();
            if !trailers.is_empty() && bytes.starts_with(LAST_CHUNK) {
                let (before, after) = LAST_CHUNK.split_at(b"0\r\n".len());
                self.write_ahead(&[before, &trailers, after].concat());
                // What is not taken now goes out before the next byte, or with the flush.
                let _ = self.poll_ahead(stream, cx)?;
                return Poll::Ready(Ok(LAST_CHUNK.len()));
            }
            self.armed.set(false);
        }
        self.noting(Pin::new(stream).poll_write(cx, bytes))
    }

    /// For `poll_write_vectored`.
    pub(crate) fn poll_write_vectored<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed.set(true);
        if self.armed.get() {
            ready!(self.poll_ahead(stream, cx))?;
            if let Some(written) = self.poll_head(stream, cx, bufs) {
                return written;
            }
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(stream, cx, first.map_or(&[], |buf| buf));
        }
        let written = match bufs {
            [only] => Pin::new(stream).poll_write(cx, only),
            [head, body] if head.len() + body.len() <= SMALL => with_scratch(|scratch| {
                let all = head.len() + body.len();
                scratch[..head.len()].copy_from_slice(head);
                scratch[head.len()..all].copy_from_slice(body);
                Pin::new(stream).poll_write(cx, &scratch[..all])
            }),
            _ => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.noting(written)
    }

    /// For `poll_flush` and before `poll_shutdown`.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_ahead(stream, cx))?;
        ready!(self.noting(Pin::new(stream).poll_flush(cx)))?;
        self.unflushed.set(false);
        Poll::Ready(Ok(()))
    }

    /// Writes a head with the fields that it ends with, and as much of what follows it. `None`: there are no fields.
    ///
    /// Part of a head counts as all of it: the rest goes out before the next byte, or with the flush.
    fn poll_head<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Option<Poll<io::Result<usize>>> {
        let mut own = self.own.borrow_mut();
        let own = own.as_mut().filter(|own| !own.fields.is_empty())?;
        let (head, body) = bufs.split_first()?;
        let lines = head.strip_suffix(b"\r\n");
        let Some(lines) = lines.filter(|lines| lines.ends_with(b"\r\n")) else {
            // Without the fields nothing may go out.
            return Some(Poll::Ready(Err(io::ErrorKind::InvalidData.into())));
        };
        let whole = &mut own.ahead;
        whole.clear();
        whole.extend_from_slice(lines);
        whole.extend_from_slice(&own.fields);
        whole.extend_from_slice(b"\r\n");
        let written = self.noting(match body {
            [] => Pin::new(stream).poll_write(cx, whole),
            _ => Pin::new(stream).poll_write_vectored(cx, &after(whole, body)),
        });
        let written = match written {
            Poll::Ready(Ok(written @ 1..)) => written,
            // Nothing of it was taken: the head is put together once more.
            others => {
                whole.clear();
                return Some(others);
            }
        };
        let of_body = written.saturating_sub(whole.len());
        whole.drain(..written.min(whole.len()));
        whole.shrink_to(LARGEST);
        own.fields.clear();
        self.armed
            .set(!own.ahead.is_empty() || !own.trailers.is_empty());
        Some(Poll::Ready(Ok(head.len() + of_body)))
    }

    fn poll_ahead<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut own = self.own.borrow_mut();
        let Some(own) = own.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        while !own.ahead.is_empty() {
            let written = self.noting(Pin::new(&mut *stream).poll_write(cx, &own.ahead));
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            own.ahead.drain(..written);
        }
        own.ahead.shrink_to(LARGEST);
        Poll::Ready(Ok(()))
    }

    fn noting<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.blocked.set(polled.is_pending());
        polled
    }
}

/// The head and the first pieces of what follows it.
fn after<'a>(head: &'a [u8], body: &'a [io::IoSlice<'a>]) -> [io::IoSlice<'a>; PIECES] {
    let mut pieces = [io::IoSlice::new(&[]); PIECES];
    pieces[0] = io::IoSlice::new(head);
    for (piece, of_body) in pieces[1..].iter_mut().zip(body) {
        *piece = io::IoSlice::new(of_body);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes a few bytes, then none until it is asked again.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        full: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.full = !self.full;
            if !self.full {
                return Poll::Pending;
            }
            let count = bytes.len().min(3);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes as hyper does: until all is taken, then flushes.
    fn write(seam: &Seam, socket: &mut Narrow, mut bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        while !bytes.is_empty() {
            if let Poll::Ready(count) = seam.poll_write(socket, &mut cx, bytes) {
                bytes = &bytes[count.unwrap()..];
            }
        }
        while seam.poll_flush(socket, &mut cx).is_pending() {
            assert!(seam.blocked.get());
        }
        assert!(!seam.blocked.get());
    }

    #[test]
    fn what_is_written_between_comes_whole_and_in_order_over_a_narrow_socket() {
        let (seam, mut socket) = (Seam::default(), Narrow::default());
        write(&seam, &mut socket, b"HEAD;5\r\nhello\r\n");
        seam.end_with(b"x-sum: 42\r\n".to_vec());
        write(&seam, &mut socket, b"0\r\n\r\nNEXT;");
        seam.write_ahead(b"HINT;");
        write(&seam, &mut socket, b"LAST;0\r\n\r\n");
        let text = String::from_utf8(socket.taken).unwrap();
        assert_eq!(
            text,
            "HEAD;5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\nNEXT;HINT;LAST;0\r\n\r\n"
        );
    }

    #[test]
    fn a_head_ends_with_the_fields_that_were_asked_for_and_the_next_one_does_not() {
        let (seam, mut socket) = (Seam::default(), Narrow::default());
        seam.end_head_with(|lines| lines.extend_from_slice(b"x-a: 1\r\nx-b: 2\r\n"));
        write(&seam, &mut socket, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        write(&seam, &mut socket, b"GET /b HTTP/1.1\r\n\r\n");
        let text = String::from_utf8(socket.taken).unwrap();
        assert_eq!(
            text,
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-b: 2\r\n\r\nGET /b HTTP/1.1\r\n\r\n"
        );
        assert!(!seam.armed.get());
    }

    #[test]
    fn what_follows_such_a_head_comes_whole_however_little_is_taken() {
        let (seam, mut socket) = (Seam::default(), Narrow::default());
        seam.end_head_with(|lines| lines.extend_from_slice(b"x-a: 1\r\n"));
        let mut left: Vec<&[u8]> = vec![b"POST / HTTP/1.1\r\n\r\n", b"hel", b"lo"];
        let mut cx = Context::from_waker(Waker::noop());
        while !left.is_empty() {
            let pieces: Vec<_> = left.iter().map(|piece| io::IoSlice::new(piece)).collect();
            let Poll::Ready(written) = seam.poll_write_vectored(&mut socket, &mut cx, &pieces)
            else {
                continue;
            };
            let mut written = written.unwrap();
            while let Some(first) = left.first_mut() {
                let of_first = written.min(first.len());
                *first = &first[of_first..];
                written -= of_first;
                if !first.is_empty() {
                    break;
                }
                left.remove(0);
            }
        }
        while seam.poll_flush(&mut socket, &mut cx).is_pending() {}
        let text = String::from_utf8(socket.taken).unwrap();
        assert_eq!(text, "POST / HTTP/1.1\r\nx-a: 1\r\n\r\nhello");
    }

    #[test]
    fn trailers_of_a_message_without_chunks_are_left_out() {
        let (seam, mut socket) = (Seam::default(), Narrow::default());
        seam.end_with(b"x-sum: 42\r\n".to_vec());
        write(&seam, &mut socket, b"HTTP/1.1 200 OK\r\n\r\n");
        write(&seam, &mut socket, b"0\r\n\r\n");
        assert_eq!(socket.taken, b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n");
    }
}
