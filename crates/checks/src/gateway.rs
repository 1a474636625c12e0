//! Through another region's gateway: HTTP `CONNECT` over the encrypted link.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use lath_net::{Network, Place};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest head of the gateway's answer.
const MAX_HEAD: usize = 4096;

/// A stream to `authority` (`NAME:PORT`) behind a gateway.
///
/// # Errors
/// `TimedOut`; `ConnectionRefused` when the gateway refuses; otherwise what the sockets said.
pub(crate) async fn connect(
    network: &Arc<dyn Network>,
    gateway: SocketAddrV4,
    authority: &str,
    timeout: Duration,
) -> Result<TcpStream> {
    let through = async {
        let place = Place::Underlay;
        let mut stream = lath_net::connect(network, &place, None, gateway.into(), timeout).await?;
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        accepted(&mut stream).await.map(|()| stream)
    };
    tokio::time::timeout(timeout, through)
        .await
        .map_err(|_| Error::from(ErrorKind::TimedOut))?
}

/// Reads the head byte by byte: what follows it is not the gateway's.
async fn accepted(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::with_capacity(128);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    let accepted = head.starts_with(b"HTTP/1.1 2") || head.starts_with(b"HTTP/1.0 2");
    accepted.then_some(()).ok_or_else(|| {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or(&[]);
        let line = String::from_utf8_lossy(line).into_owned();
        Error::new(
            ErrorKind::ConnectionRefused,
            format!("the gateway said {line}"),
        )
    })
}
