use hickory_proto::rr::rdata::{A, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use lath_feed::Snapshot;
use lath_model::id::VpcId;

use crate::Query;
use crate::zones::{Place, What, locate};

/// Seconds that an answer may be kept: what a snapshot changes is seen everywhere a minute later.
const TTL: u32 = 60;

/// Seconds that "no such name" may be kept (RFC 2308): short, because names appear when things are
/// created, and whoever waits for one asks too early at first.
const NEGATIVE_TTL: u32 = 5;

/// What a VPC's resolver says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These records.
    Found(Vec<Record>),
    /// The name is there, but has no record of that type. With the zone's SOA.
    Empty(Box<Record>),
    /// There is no such name. With the zone's SOA.
    NoSuchName(Box<Record>),
    /// Not a thing that a resolver does.
    Refused,
    /// The name is not ours: ask the host's resolvers.
    Forward,
}

/// Answers a question that was asked inside a VPC. A pure function of the snapshot.
pub fn answer(snapshot: &Snapshot, vpc: &VpcId, query: &Query) -> Answer {
    let transfer = matches!(query.kind, RecordType::AXFR | RecordType::IXFR);
    let class = matches!(query.class, DNSClass::IN | DNSClass::ANY);
    let Some(vpc) = snapshot.vpcs.get(vpc).filter(|_| class && !transfer) else {
        return Answer::Refused;
    };
    let mut name = query.name.to_ascii();
    name.make_ascii_lowercase();
    locate(snapshot, vpc, name.trim_end_matches('.'))
        .map_or(Answer::Forward, |place| at(place, snapshot, query))
}

fn at(place: Place, snapshot: &Snapshot, query: &Query) -> Answer {
    let Some(soa) = soa(&place.zone, snapshot.version) else {
        return Answer::Refused; // a region that is no label of a name
    };
    let (kind, data) = match place.what {
        What::Missing => return Answer::NoSuchName(Box::new(soa)),
        What::Inner if asks_for(query, RecordType::SOA) && soa.name == query.name => {
            return Answer::Found(vec![soa]);
        }
        What::Inner => return Answer::Empty(Box::new(soa)),
        What::Address(address) => (RecordType::A, RData::A(A(address))),
        What::Host(host) => match Name::from_ascii(&host) {
            Ok(host) => (RecordType::PTR, RData::PTR(PTR(fully(host)))),
            Err(_) => return Answer::Refused,
        },
    };
    if asks_for(query, kind) {
        Answer::Found(vec![Record::from_rdata(query.name.clone(), TTL, data)])
    } else {
        Answer::Empty(Box::new(soa))
    }
}

fn asks_for(query: &Query, kind: RecordType) -> bool {
    query.kind == kind || query.kind == RecordType::ANY
}

fn soa(zone: &str, version: u64) -> Option<Record> {
    let name = fully(Name::from_ascii(zone).ok()?);
    let server = name.prepend_label("ns").ok()?;
    let mailbox = name.prepend_label("hostmaster").ok()?;
    // Serials wrap around by design (RFC 1982).
    let serial = u32::try_from(version & u64::from(u32::MAX)).ok()?;
    let data = SOA::new(server, mailbox, serial, 3600, 600, 86_400, NEGATIVE_TTL);
    Some(Record::from_rdata(name, NEGATIVE_TTL, RData::SOA(data)))
}

fn fully(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}
