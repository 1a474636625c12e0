//! DNS by TCP (RFC 7766): each message has its length in two bytes before it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::listener::Resolver;
use crate::query::MAX_QUERY;

/// How many connections a VPC may hold open; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a connection may take for its next question, and for taking a reply.
const IDLE: Duration = Duration::from_secs(10);

/// A pause after a failed accept (out of descriptors, mostly), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, resolver: Arc<Resolver>) {
    let conversation = |stream, _| converse(stream, Arc::clone(&resolver));
    accept(listener, CONNECTIONS, conversation).await;
}

/// Accepts connections for ever, at most `most` at a time: more wait in the kernel.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    most: usize,
    conversation: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= most {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                connections.spawn(conversation(stream, from));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers one question after the other until the client is silent, gone, or talks nonsense.
async fn converse(mut stream: TcpStream, resolver: Arc<Resolver>) {
    while let Ok(Ok(query)) = timeout(IDLE, read_message(&mut stream, MAX_QUERY)).await {
        let Some(reply) = resolver.reply(&query, usize::from(u16::MAX)).await else {
            return;
        };
        let written = timeout(IDLE, write_message(&mut stream, &reply)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next message.
///
/// # Errors
/// `InvalidData` when it is longer than `limit`; otherwise what reading said.
pub(crate) async fn read_message(stream: &mut TcpStream, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length, in one piece.
///
/// # Errors
/// `InvalidInput` when it is longer than 65,535 bytes; otherwise what writing said.
pub(crate) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream
        .write_all(&[&length.to_be_bytes(), message].concat())
        .await
}
