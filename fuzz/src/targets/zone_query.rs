//! Questions to the authoritative server: the reply is the question's, fits what the client takes, and can be
//! read by somebody else's parser.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hickory_proto::op::Message;
use lath_dns::{decode_query, fuzzing};
use lath_feed::{HostedZone, RecordAnswer, RecordSet, Routing, Snapshot};
use lath_zones::Zones;

static ZONES: LazyLock<Zones> = LazyLock::new(|| Zones::new(&world()));

pub(crate) fn run(bytes: &[u8]) {
    for stream in [false, true] {
        let Some(reply) = fuzzing::authoritative(&ZONES, bytes, stream) else {
            assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0, "only nonsense gets no reply");
            continue;
        };
        assert_eq!(reply[..2], bytes[..2]);
        assert!(reply[2] & 0x80 != 0, "a reply must not be taken for a question");
        Message::from_vec(&reply).expect("a reply can be read");
        let slipped = fuzzing::slipped(reply.clone());
        let slipped_message = Message::from_vec(&slipped).expect("a slipped reply can be read");
        assert!(slipped_message.metadata.truncation && slipped.len() <= bytes.len());
        if let Ok(query) = decode_query(bytes) {
            assert!(stream || reply.len() <= query.udp_limit());
        }
    }
}

/// `a.` with a bit of everything.
fn world() -> Snapshot {
    let long = format!("\"{}\"", "x".repeat(250));
    let long = long.as_str();
    let records = [
        ("a.", "SOA", vec!["ns.a. b.a. 1 2 3 4 5"]),
        ("a.", "NS", vec!["ns.a.", "ns.b."]),
        ("ns.a.", "A", vec!["192.0.2.1"]),
        ("b.a.", "CNAME", vec!["c.a."]),
        ("c.a.", "A", vec!["192.0.2.2", "192.0.2.3"]),
        ("d.a.", "TXT", vec![long; 20]),
        ("e.a.", "NS", vec!["ns.e.a."]),
        ("ns.e.a.", "AAAA", vec!["2001:db8::1"]),
        ("f.a.", "MX", vec!["10 c.a.", "20 d.b."]),
        ("\\052.g.a.", "HTTPS", vec!["1 . alpn=h2 port=443"]),
    ];
    let mut all: BTreeMap<String, BTreeMap<String, Vec<RecordSet>>> = BTreeMap::new();
    for (name, kind, values) in records {
        let set = RecordSet {
            set_identifier: None,
            routing: Routing::Simple,
            health_check: None,
            answer: RecordAnswer::Values {
                ttl: 60,
                values: values.into_iter().map(str::to_owned).collect(),
            },
        };
        all.entry(name.into()).or_default().insert(kind.into(), vec![set]);
    }
    let zone = HostedZone {
        id: "ZA".parse().expect("an id"),
        name: "a.".into(),
        vpcs: None,
        name_servers: Vec::new(),
    };
    let mut snapshot = Snapshot {
        region: "us-east-1".into(),
        ..Snapshot::default()
    };
    snapshot.add_zone(zone, all);
    snapshot
}
