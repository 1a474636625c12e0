//! One direction of two connections that are joined to each other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scratch::with_scratch;

/// What may wait for the other end, in bytes.
const PIECE: usize = 16 * 1024;

/// Which end broke.
pub(crate) enum Broken {
    Source,
    Sink,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Lane {
    /// What the other end did not take yet.
    waiting: Vec<u8>,
    /// Whether the sink may hold something back.
    unflushed: bool,
    pub(crate) carried: u64,
    ended: bool,
    shut: bool,
}

impl Lane {
    /// One whose source has said this already.
    pub(crate) fn after(came: Vec<u8>) -> Self {
        Self {
            waiting: came,
            ..Self::default()
        }
    }

    /// Carries what can be carried, and says so to `carried`. Ready when the source has ended and its sink was told.
    pub(crate) fn poll(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
        carried: &impl Fn(),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            while !self.waiting.is_empty() {
                let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.waiting));
                self.took(written)?;
                carried();
            }
            self.waiting = Vec::new();
            if self.unflushed {
                ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(|_| Broken::Sink)?;
                self.unflushed = false;
            }
            if self.ended {
                if !self.shut {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_| Broken::Sink)?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let count = with_scratch(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..PIECE]);
                ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer))?;
                self.waiting.extend_from_slice(buffer.filled());
                Poll::Ready(io::Result::Ok(buffer.filled().len()))
            });
            let count = ready!(count).map_err(|_| Broken::Source)?;
            self.ended = count == 0;
        }
    }

    fn took(&mut self, written: io::Result<usize>) -> Result<(), Broken> {
        let written = written.ok().filter(|written| *written > 0);
        let written = written.ok_or(Broken::Sink)?;
        self.waiting.drain(..written);
        self.unflushed = true;
        self.carried += written as u64;
        Ok(())
    }
}
