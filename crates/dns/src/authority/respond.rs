//! From the bytes of a question to the bytes of a reply.

use std::net::IpAddr;

use ipnet::IpNet;
use lath_zones::{Answer, HealthView, Question, Random, Rcode, Scope, Zones};

use super::question::{Asked, Edns, code, read};
use super::write::{Section, Writer};
use crate::query::{LARGEST_UDP, MAX_QUERY};

/// What we can take by UDP, and the most that we give.
const OUR_SIZE: u16 = LARGEST_UDP;

const PLAIN: u16 = 512;

const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;

/// Transfers are not for strangers: AXFR and IXFR.
const TRANSFERS: [u16; 2] = [252, 251];

/// What answers are made of, at one moment.
pub(crate) struct Responder<'a> {
    pub(crate) zones: &'a Zones,
    pub(crate) health: &'a dyn HealthView,
    pub(crate) random: &'a mut Random,
}

/// Writes the reply to `bytes` into `out`; false when none is due. `stream` is true by TCP.
pub(crate) fn respond(
    responder: &mut Responder<'_>,
    bytes: &[u8],
    from: IpAddr,
    stream: bool,
    out: &mut Vec<u8>,
) -> bool {
    let Some(header) = bytes.first_chunk::<12>() else {
        return false;
    };
    let (id, flags) = (
        [header[0], header[1]],
        u16::from_be_bytes([header[2], header[3]]),
    );
    if flags & QR != 0 {
        return false; // answers to answers make loops
    }
    // The opcode and RD come back.
    let flags = QR | (flags & (0x7800 | RD));
    if flags & 0x7800 != 0 {
        Writer::new(out, id, flags | code::NOTIMP, &[]);
        return true;
    }
    let asked = match read(bytes) {
        Ok(asked) if bytes.len() <= MAX_QUERY => asked,
        _ => {
            Writer::new(out, id, flags | code::FORMERR, &[]);
            return true;
        }
    };
    let question = bytes.get(12..asked.end).unwrap_or(&[]);
    if let Some(refusal) = refusal(&asked) {
        let mut writer = Writer::new(out, id, flags | (refusal & 0xf), question);
        if let Some(edns) = &asked.edns {
            writer.opt(OUR_SIZE, (refusal >> 4) as u8, edns.dnssec_ok, &[]);
        }
        return true;
    }
    let writer = Writer::new(out, id, flags, question);
    answer(responder, writer, &asked, from, stream);
    true
}

fn refusal(asked: &Asked) -> Option<u16> {
    let version = asked.edns.as_ref().map_or(0, |edns| edns.version);
    match asked {
        _ if version > 0 => Some(code::BADVERS),
        Asked { class: 1 | 255, .. } if !TRANSFERS.contains(&asked.kind.0) => None,
        _ => Some(code::REFUSED),
    }
}

fn answer(
    responder: &mut Responder<'_>,
    writer: Writer<'_>,
    asked: &Asked,
    from: IpAddr,
    stream: bool,
) {
    let subnet = asked.edns.as_ref().and_then(|edns| edns.subnet);
    // A prefix of no bits hides the client: then the resolver stands for it.
    let prefix = subnet.filter(|net| net.prefix_len() > 0);
    let client = responder
        .zones
        .client(prefix.unwrap_or_else(|| IpNet::from(from)));
    let question = Question {
        name: asked.name.clone(),
        kind: asked.kind,
    };
    let found = responder.zones.answer(
        &question,
        Scope::Public,
        responder.health,
        &client,
        responder.random,
    );
    let scope = found.as_ref().map_or(0, |answer| answer.scope_prefix);
    let echo = subnet.map_or_else(Vec::new, |net| echo(net, scope.min(net.prefix_len())));
    let room = asked.edns.as_ref().map_or(0, |_| 11 + echo.len());
    let limit = limit(asked.edns.as_ref(), stream);
    let mut writer = writer.limit(limit - room, &asked.name);
    match found {
        Some(answer) => write(&mut writer, &answer),
        None => writer.set_flag(code::REFUSED),
    }
    if let Some(edns) = &asked.edns {
        writer.opt(OUR_SIZE, 0, edns.dnssec_ok, &echo);
    }
    debug_assert!(
        writer.len() <= limit,
        "a reply is longer than its client can take"
    );
}

fn limit(edns: Option<&Edns>, stream: bool) -> usize {
    match edns {
        _ if stream => usize::from(u16::MAX),
        Some(edns) => edns.size.clamp(PLAIN, OUR_SIZE).into(),
        None => PLAIN.into(),
    }
}

/// RFC 2181, 9: TC says that something needed is missing. Addresses of servers are only a kindness.
fn write(writer: &mut Writer<'_>, answer: &Answer) {
    if answer.authoritative {
        writer.set_flag(AA);
    }
    match answer.rcode {
        Rcode::NoError => {}
        Rcode::NxDomain => writer.set_flag(code::NXDOMAIN),
        Rcode::ServFail => return writer.set_flag(code::SERVFAIL),
    }
    if !writer.all(Section::Answer, &answer.records) {
        return writer.set_flag(TC);
    }
    let is_needed = answer.records.is_empty();
    let fits = writer.all(Section::Authority, &answer.authority);
    if !fits && is_needed {
        return writer.set_flag(TC);
    }
    for record in &answer.additional {
        if !fits || !writer.all(Section::Additional, std::slice::from_ref(record)) {
            return;
        }
    }
}

/// RFC 7871, 7.2.1: the client's option comes back, with how much of it mattered.
fn echo(net: IpNet, scope: u8) -> Vec<u8> {
    let (family, octets) = match net.addr() {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let length = net.prefix_len();
    let kept = &octets[..usize::from(length).div_ceil(8).min(octets.len())];
    let size = u8::try_from(kept.len() + 4).unwrap_or(0);
    let mut option = vec![0, 8, 0, size, 0, family, length, scope];
    option.extend(kept);
    option
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hickory_proto::op::Message;
    use lath_feed::{HostedZone, RecordAnswer, RecordSet, Routing, Snapshot};
    use lath_zones::AllHealthy;
    use proptest::prelude::*;

    use super::*;

    /// `d.a. TXT`, with a client subnet.
    const QUERY: &[u8] =
        b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01d\x01a\x00\x00\x10\x00\x01\
        \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0b\x00\x08\x00\x07\x00\x01\x18\x00\xc6\x12\x01";

    fn zones() -> Zones {
        let long = format!("\"{}\"", "x".repeat(200));
        let records = [
            ("a.", "SOA", vec!["ns.a. b.a. 1 2 3 4 5".to_owned()]),
            ("a.", "NS", vec!["ns.a.".to_owned(), "ns.b.".to_owned()]),
            ("ns.a.", "A", vec!["192.0.2.1".to_owned()]),
            ("b.a.", "CNAME", vec!["ns.a.".to_owned()]),
            ("d.a.", "TXT", vec![long; 30]),
            ("e.a.", "NS", vec!["ns.e.a.".to_owned()]),
            ("ns.e.a.", "A", vec!["192.0.2.2".to_owned()]),
        ];
        let mut all: BTreeMap<String, BTreeMap<String, Vec<RecordSet>>> = BTreeMap::new();
        for (name, kind, values) in records {
            let set = RecordSet {
                set_identifier: None,
                routing: Routing::Simple,
                health_check: None,
                answer: RecordAnswer::Values { ttl: 60, values },
            };
            let kinds = all.entry(name.to_owned()).or_default();
            kinds.insert(kind.to_owned(), vec![set]);
        }
        let zone = HostedZone {
            id: "ZA".parse().unwrap(),
            name: "a.".into(),
            vpcs: None,
            name_servers: Vec::new(),
        };
        let mut snapshot = Snapshot {
            region: "us-east-1".into(),
            ..Snapshot::default()
        };
        snapshot.add_zone(zone, all);
        Zones::new(&snapshot)
    }

    fn reply(zones: &Zones, bytes: &[u8], stream: bool) -> Option<Vec<u8>> {
        let mut responder = Responder {
            zones,
            health: &AllHealthy,
            random: &mut Random::new(1),
        };
        let mut out = Vec::new();
        respond(
            &mut responder,
            bytes,
            [192, 0, 2, 9].into(),
            stream,
            &mut out,
        )
        .then_some(out)
    }

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = b"\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.extend([0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn replies_are_read_by_another_parser() {
        let zones = zones();
        for (name, bytes, stream, code, flags, counts) in [
            (
                "address",
                query("ns.a.", 1),
                false,
                "No Error",
                "aa",
                (1, 2, 1),
            ),
            (
                "CNAME",
                query("b.a.", 1),
                false,
                "No Error",
                "aa",
                (2, 2, 1),
            ),
            (
                "nothing",
                query("x.a.", 1),
                false,
                "Non-Existent Domain",
                "aa",
                (0, 1, 0),
            ),
            (
                "no type",
                query("ns.a.", 16),
                false,
                "No Error",
                "aa",
                (0, 1, 0),
            ),
            (
                "referral",
                query("x.e.a.", 1),
                false,
                "No Error",
                "",
                (0, 1, 1),
            ),
            (
                "foreign",
                query("b.", 1),
                false,
                "Query Refused",
                "",
                (0, 0, 0),
            ),
            (
                "too large",
                query("d.a.", 16),
                false,
                "No Error",
                "aa tc",
                (0, 0, 0),
            ),
            (
                "large by TCP",
                query("d.a.", 16),
                true,
                "No Error",
                "aa",
                (30, 2, 1),
            ),
            (
                "1232 bytes",
                QUERY.to_vec(),
                false,
                "No Error",
                "aa tc",
                (0, 0, 0),
            ),
        ] {
            let message = Message::from_vec(&reply(&zones, &bytes, stream).unwrap()).unwrap();
            let metadata = &message.metadata;
            assert_eq!(metadata.response_code.to_string(), code, "{name}");
            let found = [
                metadata.authoritative.then_some("aa"),
                metadata.truncation.then_some("tc"),
            ];
            let found: Vec<&str> = found.into_iter().flatten().collect();
            assert_eq!(found.join(" "), flags, "{name}");
            let found = (
                message.answers.len(),
                message.authorities.len(),
                message.additionals.len(),
            );
            assert_eq!(found, counts, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_change_to_a_query_brings_it_down(
            changes in prop::collection::vec((0..QUERY.len(), any::<u8>()), 0..4),
            cut in 0..QUERY.len(),
            stream: bool,
        ) {
            let mut bytes = QUERY.to_vec();
            for (place, octet) in changes {
                bytes[place] = octet;
            }
            bytes.truncate(QUERY.len() - cut / 4);
            if let Some(reply) = reply(&zones(), &bytes, stream) {
                prop_assert_eq!(&reply[..2], &bytes[..2]);
                prop_assert!(reply[2] & 0x80 != 0);
                prop_assert!(stream || reply.len() <= 1232);
                prop_assert!(Message::from_vec(&reply).is_ok(), "{:?}", reply);
            }
        }
    }
}
