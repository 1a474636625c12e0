//! The asking end.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use lath_net::{Network, Place};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The largest answer.
const LARGEST: usize = 4 * 1024;

/// A connection through another region's gateway ([`lath_feed::Topology::gateway`]) to what `authority`
/// names ([`super::target_authority`], [`super::service_authority`]). What is written and read from then on
/// is the target's.
///
/// # Errors
/// `TimedOut` after `timeout`, or when the target did not answer the gateway in time; `NotFound` when the
/// other region has no such target or service; `ConnectionRefused` when it cannot be connected there;
/// otherwise what connecting the gateway said.
pub async fn connect(
    network: &Arc<dyn Network>,
    gateway: SocketAddrV4,
    authority: &str,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let work = async {
        let gateway = SocketAddr::V4(gateway);
        let place = Place::Underlay;
        let mut stream = lath_net::connect(network, &place, None, gateway, timeout).await?;
        let request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        judge(&head)?;
        Ok(stream)
    };
    tokio::time::timeout(timeout, work)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Reads a head and not a byte more: what follows is the target's.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = vec![0; 256];
    let there = stream.peek(&mut head).await?;
    // Mostly all of it is there; where not, the rest is read byte by byte.
    let whole = end(&head[..there]).unwrap_or(there);
    head.truncate(whole);
    stream.read_exact(&mut head).await?;
    while end(&head).is_none() {
        if head.len() >= LARGEST {
            return Err(invalid());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

fn invalid() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the gateway's answer is no HTTP",
    )
}

fn judge(head: &[u8]) -> io::Result<()> {
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok())
        .ok_or_else(invalid)?;
    let (kind, text) = match status {
        "200" => return Ok(()),
        "404" => (io::ErrorKind::NotFound, "the region has no such target"),
        "502" => (
            io::ErrorKind::ConnectionRefused,
            "the target cannot be connected",
        ),
        "504" => (io::ErrorKind::TimedOut, "the target did not answer in time"),
        "503" => (
            io::ErrorKind::ResourceBusy,
            "the gateway has too many connections",
        ),
        _ => (io::ErrorKind::InvalidData, "the gateway refused"),
    };
    Err(io::Error::new(kind, format!("{text} (gateway: {status})")))
}
