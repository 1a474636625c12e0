//! Frames: four bytes of length (big-endian), then so many bytes of CBOR, which unlike JSON has maps with
//! keys of any kind, and unlike most compact encodings still reads what an older or newer Lath wrote.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest body of a frame, in bytes: some hundred thousand items.
pub const MAX_FRAME: usize = 256 << 20;
const HEAD: usize = 4;

/// Bytes that are no frame of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes exceeds the limit")]
    TooLong(usize),
    /// Not what was expected, or something behind it.
    #[error("a frame cannot be read: {0}")]
    Malformed(String),
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A message with its head.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEAD];
    ciborium::into_writer(message, &mut frame)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    let length = frame.len() - HEAD;
    let head = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME)
        .ok_or(FrameError::TooLong(length))?;
    frame[..HEAD].copy_from_slice(&head.to_be_bytes());
    Ok(frame)
}

/// The message that a whole body is.
pub(crate) fn decode<T: DeserializeOwned>(mut body: &[u8]) -> Result<T, FrameError> {
    let message = ciborium::from_reader(&mut body)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    if body.is_empty() {
        return Ok(message);
    }
    let rest = body.len();
    Err(FrameError::Malformed(format!("{rest} bytes follow it")))
}

/// How long the body behind this head is.
pub(crate) fn body_length(head: [u8; HEAD]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    Ok(length)
}

/// The next message. Not to be cancelled halfway.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    Ok(decode(&read_body(stream, MAX_FRAME).await?)?)
}

/// The next message's body, which has no more bytes than `most`. Not to be cancelled halfway.
pub(crate) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Vec<u8>> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let length = body_length(head)?;
    if length > most {
        return Err(FrameError::TooLong(length).into());
    }
    // Memory is taken as bytes arrive, not as they are announced.
    let mut body = Vec::new();
    let announced = u64::try_from(length).unwrap_or(u64::MAX);
    stream.take(announced).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

/// Writes a message. Not to be cancelled halfway.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    send(stream, &encode(message)?).await
}

/// Writes a message with its head to its last byte: TLS says that it took bytes which still wait for room in the socket, and
/// without another message nothing would move them on. Not to be cancelled halfway.
pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}
