//! DNS by TCP (RFC 7766): each message has its length in two bytes before it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lath_net::Place;
use lath_net::accept::{Acceptor, Slot, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::listener::Resolver;
use crate::query::MAX_QUERY;
use crate::shares::IDLE;

/// Accepts the connections of a VPC for ever.
pub(crate) async fn serve(listener: TcpListener, resolver: Arc<Resolver>) {
    let place = Place::Vpc(resolver.vpc.clone());
    let source = |address| resolver.source(address);
    let conversation =
        |stream, from: SocketAddr, slot| converse(stream, from, slot, Arc::clone(&resolver));
    let acceptor = &resolver.shares.connections;
    accept(listener, acceptor, &place, source, conversation).await;
}

/// Accepts connections for ever, each for as long as it has its slot.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    acceptor: &Acceptor,
    place: &Place,
    source: impl Fn(IpAddr) -> Source,
    conversation: impl Fn(TcpStream, SocketAddr, Arc<Slot>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, from, slot) = acceptor.accept_from(&listener, place, &source).await;
        let slot = Arc::new(slot);
        let conversation = conversation(stream, from, Arc::clone(&slot));
        connections.spawn(async move {
            tokio::select! {
                () = conversation => {}
                () = slot.ended() => {}
            }
        });
    }
}

/// Answers one question after the other until the client is silent, gone, or talks nonsense.
async fn converse(
    mut stream: TcpStream,
    from: SocketAddr,
    slot: Arc<Slot>,
    resolver: Arc<Resolver>,
) {
    while let Ok(Ok(query)) = timeout(IDLE, read_message(&mut stream, MAX_QUERY)).await {
        let at_work = slot.busy();
        let limit = usize::from(u16::MAX);
        let Some(reply) = resolver.reply(&query, from.ip(), limit).await else {
            return;
        };
        drop(at_work);
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
