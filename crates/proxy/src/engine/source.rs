//! Bodies as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

/// The body of a client's request or of a target's response, as far as it has come.
#[derive(Debug)]
pub(crate) struct Source(pub(super) Incoming);

/// Why an engine cannot go on with a message or a connection.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Error(#[from] hyper::Error);

impl Error {
    /// Whether the other side does not speak HTTP.
    pub(crate) fn is_parse(&self) -> bool {
        self.0.is_parse()
    }

    /// Whether the kernel gave the connection up because the other host does not answer.
    pub(crate) fn is_timed_out(&self) -> bool {
        let error = self.cause::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether the other side has ended a connection of HTTP/2, with this stream not looked at or not finished.
    pub(crate) fn is_go_away(&self) -> bool {
        let error = self.cause::<h2::Error>();
        error.is_some_and(|error| error.is_go_away() && error.is_remote())
    }

    /// Whether the other side has ended the stream without a look at it (RFC 9113 section 8.7).
    pub(crate) fn is_refused_stream(&self) -> bool {
        self.reset() == Some(Reset(h2::Reason::REFUSED_STREAM))
    }

    /// How the other side ended the stream, if that is what it did.
    pub(crate) fn reset(&self) -> Option<Reset> {
        let error = self.cause::<h2::Error>();
        let error = error.filter(|error| error.is_reset() && error.is_remote())?;
        error.reason().map(Reset)
    }

    fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        let mut source = std::error::Error::source(&self.0);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref() {
                return Some(error);
            }
            source = error.source();
        }
        None
    }
}

/// What a stream of HTTP/2 was ended with before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reset(h2::Reason);

impl Reset {
    /// The error of a body that has the engine end the client's stream in the same way, if that means the same there:
    /// what else a target says is about its own connection.
    pub(crate) fn into_error(self) -> Ended {
        Ended(match self.0 {
            h2::Reason::CANCEL | h2::Reason::ENHANCE_YOUR_CALM => self.0.into(),
            _ => h2::Reason::INTERNAL_ERROR.into(),
        })
    }
}

/// A body's stream of HTTP/2 was ended, and the client's is to be in the same way.
#[derive(Debug, thiserror::Error)]
#[error("the stream was ended")]
pub(crate) struct Ended(#[source] h2::Error);

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(Error)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.0)
    }
}
