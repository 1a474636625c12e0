//! Addresses of names, for the data plane itself: what a VPC's resolver or the public DNS would answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use lath_feed::SnapshotReceiver;
use lath_model::id::VpcId;
use lath_net::Place;
use lath_net::accept::Source;
use lath_zones::Random;

use crate::Query;
use crate::answer_cache::AnswerCache;
use crate::forward::Forwarder;
use crate::resolve::{resolve, resolve_public};
use crate::shares::Shares;
use crate::zone_state::ZoneState;

/// Answers without sockets, from what the resolvers answer from.
#[derive(Clone)]
pub struct Lookup {
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) zone_state: ZoneState,
    pub(crate) shares: Arc<Shares>,
    /// What other resolvers said: they know no VPCs.
    pub(crate) cache: Arc<AnswerCache>,
}

impl Lookup {
    /// The IPv4 addresses of a name: as the resolver of a VPC answers, or without one as the public DNS does.
    ///
    /// # Errors
    /// `NotFound` when there is no such name or no resolver; `TimedOut` when no resolver answered; `QuotaExceeded` when too
    /// many questions are out.
    pub async fn addresses(&self, vpc: Option<&VpcId>, name: &str) -> io::Result<Vec<Ipv4Addr>> {
        let mut name = Name::from_ascii(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        name.set_fqdn(true);
        let query = Query {
            id: 0,
            name,
            kind: RecordType::A,
            class: DNSClass::IN,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            extension: None,
        };
        let found = {
            let snapshot = Arc::clone(&self.snapshots.borrow());
            let (zones, health) = (self.zone_state.zones(), self.zone_state.health());
            let mut random = Random::new(rand::random());
            match vpc {
                Some(vpc) => {
                    let known = snapshot.vpcs.get(vpc);
                    if known.is_none_or(|vpc| !vpc.dns_support) {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    resolve(&snapshot, &zones, &health, vpc, &query, &mut random)
                }
                None => resolve_public(&snapshot, &zones, &health, &query, &mut random),
            }
        };
        let Some(name) = found.ask else {
            return addresses(found.code, &found.answers);
        };
        if let Some(known) = self.cache.fresh(&name, Instant::now()) {
            return Ok(known);
        }
        let query = Query { name, ..query };
        match self.ask(vpc, &query).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let known = self.cache.stale(&query.name, Instant::now());
                known.ok_or(error)
            }
            answered => answered,
        }
    }

    /// Asks the host's resolvers.
    async fn ask(&self, vpc: Option<&VpcId>, query: &Query) -> io::Result<Vec<Ipv4Addr>> {
        let place = vpc.map_or(Place::Host, |vpc| Place::Vpc(vpc.clone()));
        let source = Source::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let slot = self.shares.questions.admit(&place, source).await;
        let slot = slot.ok_or(io::ErrorKind::QuotaExceeded)?;
        let _waiting = slot.busy();
        let reply = self.forwarder.ask(query).await;
        let reply = Message::from_vec(&reply).map_err(|_| io::ErrorKind::InvalidData)?;
        let found = addresses(reply.metadata.response_code, &reply.answers);
        let ttl = reply.answers.iter().map(|record| record.ttl).min();
        let keep = |known: &[Ipv4Addr]| {
            let ttl = ttl.unwrap_or(0);
            self.cache.keep(&query.name, known, ttl, Instant::now());
        };
        match &found {
            Ok(found) => keep(found),
            // A name that is no more has nothing to be known by.
            Err(error) if error.kind() == io::ErrorKind::NotFound => keep(&[]),
            Err(_) => {}
        }
        found
    }
}

fn addresses(code: ResponseCode, records: &[Record]) -> io::Result<Vec<Ipv4Addr>> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(address.0),
        RData::Unknown {
            code: RecordType::A,
            rdata,
        } => <[u8; 4]>::try_from(&rdata.anything[..])
            .ok()
            .map(Ipv4Addr::from),
        _ => None,
    };
    match code {
        ResponseCode::NoError => Ok(records.iter().filter_map(address).collect()),
        ResponseCode::NXDomain => Err(io::ErrorKind::NotFound.into()),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use lath_net::HostNetwork;
    use tokio::sync::watch;

    use super::*;
    use crate::testing::snapshot;
    use crate::{Dns, Upstreams};

    /// A resolver that answers every question with 192.0.2.7 and counts them, for so many questions.
    fn upstream(ttl: u32, times: usize) -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (at, asked) = (socket.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for _ in 0..times {
                let mut buffer = [0; 512];
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                let end = 12 + buffer[12..length].iter().position(|b| *b == 0).unwrap() + 5;
                let mut reply = buffer[..end].to_vec();
                reply[2..4].copy_from_slice(&[0x81, 0x80]);
                reply[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
                reply.extend([0xc0, 12, 0, 1, 0, 1]);
                reply.extend(ttl.to_be_bytes());
                reply.extend([0, 4, 192, 0, 2, 7]);
                count.fetch_add(1, SeqCst);
                socket.send_to(&reply, from).unwrap();
            }
        });
        (at, asked)
    }

    fn lookup(upstream: SocketAddr) -> (Lookup, watch::Sender<Arc<lath_feed::Snapshot>>) {
        let (feed, snapshots) = watch::channel(Arc::new(snapshot("us-east-1")));
        let upstreams = Upstreams::fixed([upstream]);
        let dns = Dns::new(Arc::new(HostNetwork), snapshots, upstreams);
        (dns.lookup(), feed)
    }

    /// A connection to a resource asks each time: another resolver is not asked for what it said a moment ago, and what it
    /// said stands while it is silent.
    #[tokio::test]
    async fn what_another_resolver_said_holds() {
        let want = vec![Ipv4Addr::new(192, 0, 2, 7)];
        for (ttl, questions) in [(60, 1), (0, 2)] {
            let (at, asked) = upstream(ttl, questions);
            let (lookup, _feed) = lookup(at);
            for _ in 0..questions {
                let got = lookup.addresses(None, "db.elsewhere.test").await;
                assert_eq!(got.unwrap(), want, "{ttl}");
            }
            // The resolver is gone now.
            for _ in 0..2 {
                let got = lookup.addresses(None, "DB.elsewhere.test").await;
                assert_eq!(got.unwrap(), want, "{ttl}");
            }
            assert_eq!(asked.load(SeqCst), questions, "{ttl}");
            let got = lookup.addresses(None, "other.elsewhere.test").await;
            assert_eq!(got.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }
}
