//! A stub resolver without a cache: every request sends a query.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The time before a query is sent again.
const TRY: Duration = Duration::from_millis(500);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 4096;

/// Resolves a name to its sorted addresses; empty when it has none.
///
/// # Errors
/// When the resolver answers with an error. The caller must bound the time.
pub(crate) async fn addresses(resolver: SocketAddr, name: &str) -> io::Result<Vec<Ipv4Addr>> {
    let id: u16 = rand::random();
    let question = question(id, name)?;
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(resolver).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        socket.send(&question).await?;
        while let Ok(received) = timeout(TRY, socket.recv(&mut buffer)).await {
            if let Some(answer) = read_answer(&buffer[..received?], id) {
                return answer;
            }
        }
    }
}

fn question(id: u16, name: &str) -> io::Result<Vec<u8>> {
    let name = Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().map_err(io::Error::other)
}

/// The A records of the response with this id; `None` for another message.
pub fn read_answer(bytes: &[u8], id: u16) -> Option<io::Result<Vec<Ipv4Addr>>> {
    let message = Message::from_vec(bytes).ok()?;
    if message.metadata.id != id {
        return None;
    }
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Some(Err(io::Error::other(format!("the resolver says {code}"))));
    }
    let mut addresses: Vec<Ipv4Addr> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect();
    addresses.sort();
    Some(Ok(addresses))
}
