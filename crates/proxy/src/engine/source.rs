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
        let mut source = std::error::Error::source(&self.0);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return error.kind() == io::ErrorKind::TimedOut;
            }
            source = error.source();
        }
        false
    }
}

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
