//! Addresses of names, for the data plane itself: what a VPC's resolver or the public DNS would answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use lath_feed::SnapshotReceiver;
use lath_model::id::VpcId;
use lath_net::Place;
use lath_net::accept::Source;
use lath_zones::Random;

use crate::Query;
use crate::forward::Forwarder;
use crate::resolve::{resolve, resolve_public};
use crate::shares::Shares;
use crate::truth::Truth;

/// Answers without sockets, from what the resolvers answer from.
#[derive(Clone)]
pub struct Lookup {
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) truth: Truth,
    pub(crate) shares: Arc<Shares>,
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
            let (zones, health) = (self.truth.zones(), self.truth.health());
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
        let place = vpc.map_or(Place::Host, |vpc| Place::Vpc(vpc.clone()));
        let source = Source::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let slot = self.shares.questions.admit(&place, source).await;
        let slot = slot.ok_or(io::ErrorKind::QuotaExceeded)?;
        let _waiting = slot.busy();
        let reply = self.forwarder.ask(&Query { name, ..query }).await;
        let reply = Message::from_vec(&reply).map_err(|_| io::ErrorKind::InvalidData)?;
        addresses(reply.metadata.response_code, &reply.answers)
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
