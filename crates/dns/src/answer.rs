use hickory_proto::rr::rdata::{A, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use lath_feed::Snapshot;
use lath_model::id::VpcId;

use crate::Query;
use crate::zones::{NameInZone, What, locate};

/// Seconds that an answer may be kept: what a snapshot changes is seen everywhere a minute later.
const TTL: u32 = 60;

/// Seconds that "no such name" may be kept (RFC 2308): short, because names appear when things are
/// created, and a client that waits for one asks too early at first.
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

pub(crate) fn at(place: NameInZone, snapshot: &Snapshot, query: &Query) -> Answer {
    let Some(soa) = soa(&place.zone, snapshot.version) else {
        return Answer::Refused; // a region that is no label of a name
    };
    let (kind, data) = match place.what {
        What::Missing => return Answer::NoSuchName(Box::new(soa)),
        What::Inner if asks_for(query, RecordType::SOA) && soa.name == query.name => {
            return Answer::Found(vec![soa]);
        }
        What::Inner => return Answer::Empty(Box::new(soa)),
        What::Address(address) => (RecordType::A, vec![RData::A(A(address))]),
        What::Addresses(addresses) => {
            let data = addresses.into_iter().map(|address| RData::A(A(address)));
            (RecordType::A, data.collect())
        }
        What::Host(host) => match Name::from_ascii(&host) {
            Ok(host) => (RecordType::PTR, vec![RData::PTR(PTR(fully(host)))]),
            Err(_) => return Answer::Refused,
        },
    };
    if asks_for(query, kind) {
        let record = |data| Record::from_rdata(query.name.clone(), TTL, data);
        Answer::Found(data.into_iter().map(record).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use lath_feed::{
        ClusterAccess, ClusterKeys, ControlPlane, Hidden, ManagedWorkload, NamespaceOrigin,
    };
    use lath_model::{ManagedId, ManagedKind};

    use crate::testing::{FIRST, SECOND, snapshot};

    fn ask(region: &str, vpc: &str, name: &str, kind: RecordType) -> String {
        ask_in(&snapshot(region), vpc, name, kind)
    }

    fn ask_in(snapshot: &Snapshot, vpc: &str, name: &str, kind: RecordType) -> String {
        let query = Query {
            id: 1,
            name: Name::from_ascii(name).unwrap(),
            kind,
            class: DNSClass::IN,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            extension: None,
        };
        match answer(snapshot, &vpc.parse().unwrap(), &query) {
            Answer::Found(records) => {
                let data: Vec<_> = records.iter().map(|found| found.data.to_string()).collect();
                data.join(" ")
            }
            Answer::Empty(soa) => format!("empty in {}", soa.name),
            Answer::NoSuchName(soa) => format!("none in {}", soa.name),
            Answer::Refused => "refused".into(),
            Answer::Forward => "forward".into(),
        }
    }

    const WEB: &str = "web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-east-1.on.aws.";
    const LATTICE: &str = "vpc-lattice-svcs.us-east-1.on.aws.";

    #[test]
    fn names_are_answered_by_the_snapshot() {
        use RecordType::{A, AAAA, ANY, AXFR, MX, PTR, SOA, TXT};
        let upper = WEB.to_uppercase();
        let none_in_lattice = format!("none in {LATTICE}");
        let empty_in_lattice = format!("empty in {LATTICE}");
        let above = WEB.split_once('.').unwrap().1;
        let unknown = format!("nope.{above}");
        let below = format!("x.{WEB}");
        for (name, vpc, asked, kind, want) in [
            ("service", FIRST, WEB, A, "169.254.171.10"),
            ("service, elsewhere", SECOND, WEB, A, "169.254.171.10"),
            ("service, upper case", FIRST, &upper, A, "169.254.171.10"),
            ("service, any", FIRST, WEB, ANY, "169.254.171.10"),
            ("service, AAAA", FIRST, WEB, AAAA, &empty_in_lattice),
            ("service, TXT", FIRST, WEB, TXT, &empty_in_lattice),
            ("service, unknown", FIRST, &unknown, A, &none_in_lattice),
            ("below a service", FIRST, &below, A, &none_in_lattice),
            ("above services", FIRST, above, A, &empty_in_lattice),
            ("the zone itself", FIRST, LATTICE, A, &empty_in_lattice),
            ("custom domain", FIRST, "web.example.com.", A, "forward"),
            (
                "another region's service",
                FIRST,
                "a.7d67968.vpc-lattice-svcs.us-west-2.on.aws.",
                A,
                "forward",
            ),
            (
                "a resource",
                FIRST,
                "a.vpc-lattice-rsc.us-east-1.on.aws.",
                A,
                "none in vpc-lattice-rsc.us-east-1.on.aws.",
            ),
            (
                "private",
                FIRST,
                "ip-10-0-1-10.ec2.internal.",
                A,
                "10.0.1.10",
            ),
            (
                "private, secondary",
                FIRST,
                "ip-10-0-1-11.ec2.internal.",
                A,
                "10.0.1.11",
            ),
            (
                "private, AAAA",
                FIRST,
                "ip-10-0-1-10.ec2.internal.",
                AAAA,
                "empty in ec2.internal.",
            ),
            (
                "private, nobody there",
                FIRST,
                "ip-10-0-1-12.ec2.internal.",
                A,
                "none in ec2.internal.",
            ),
            (
                "private, odd spelling",
                FIRST,
                "ip-10-00-1-10.ec2.internal.",
                A,
                "none in ec2.internal.",
            ),
            (
                "private, another VPC's",
                SECOND,
                "ip-10-0-1-10.ec2.internal.",
                A,
                "none in ec2.internal.",
            ),
            (
                "private, another region's",
                FIRST,
                "ip-10-0-1-10.eu-west-1.compute.internal.",
                A,
                "none in compute.internal.",
            ),
            (
                "private zone",
                FIRST,
                "ec2.internal.",
                SOA,
                "ns.ec2.internal. hostmaster.ec2.internal. 7 3600 600 86400 5",
            ),
            (
                "private zone, MX",
                FIRST,
                "EC2.internal.",
                MX,
                "empty in ec2.internal.",
            ),
            ("not quite the zone", FIRST, "xec2.internal.", A, "forward"),
            (
                "resource name",
                FIRST,
                "i-0123456789abcdef0.ec2.internal.",
                A,
                "10.0.1.10",
            ),
            (
                "public, inside",
                FIRST,
                "ec2-203-0-113-5.compute-1.amazonaws.com.",
                A,
                "10.0.1.10",
            ),
            (
                "public, outside",
                SECOND,
                "ec2-203-0-113-5.compute-1.amazonaws.com.",
                A,
                "203.0.113.5",
            ),
            (
                "public, no host names",
                FIRST,
                "ec2-203-0-113-9.compute-1.amazonaws.com.",
                A,
                "none in compute-1.amazonaws.com.",
            ),
            (
                "public, not ours",
                FIRST,
                "ec2-198-51-100-1.compute-1.amazonaws.com.",
                A,
                "forward",
            ),
            (
                "reverse",
                FIRST,
                "10.1.0.10.in-addr.arpa.",
                PTR,
                "ip-10-0-1-10.ec2.internal.",
            ),
            (
                "reverse, A",
                FIRST,
                "10.1.0.10.in-addr.arpa.",
                A,
                "empty in 10.in-addr.arpa.",
            ),
            (
                "reverse, nobody",
                FIRST,
                "12.1.0.10.in-addr.arpa.",
                PTR,
                "none in 10.in-addr.arpa.",
            ),
            (
                "reverse, of 192.168",
                FIRST,
                "1.1.168.192.in-addr.arpa.",
                PTR,
                "none in 168.192.in-addr.arpa.",
            ),
            (
                "reverse, link-local",
                FIRST,
                "10.171.254.169.in-addr.arpa.",
                PTR,
                "none in 254.169.in-addr.arpa.",
            ),
            (
                "reverse, shared",
                FIRST,
                "1.0.64.100.in-addr.arpa.",
                PTR,
                "none in 64.100.in-addr.arpa.",
            ),
            (
                "reverse, a public block of the VPC",
                SECOND,
                "9.0.51.198.in-addr.arpa.",
                PTR,
                "none in 51.198.in-addr.arpa.",
            ),
            (
                "reverse, a range",
                FIRST,
                "0.10.in-addr.arpa.",
                PTR,
                "empty in 10.in-addr.arpa.",
            ),
            (
                "reverse, public",
                FIRST,
                "5.113.0.203.in-addr.arpa.",
                PTR,
                "ec2-203-0-113-5.compute-1.amazonaws.com.",
            ),
            (
                "reverse, public, no host names",
                FIRST,
                "9.113.0.203.in-addr.arpa.",
                PTR,
                "forward",
            ),
            (
                "reverse, not ours",
                FIRST,
                "8.8.8.8.in-addr.arpa.",
                PTR,
                "forward",
            ),
            (
                "reverse, a public range",
                FIRST,
                "8.8.in-addr.arpa.",
                PTR,
                "forward",
            ),
            (
                "reverse, five octets",
                FIRST,
                "1.10.1.0.10.in-addr.arpa.",
                PTR,
                "forward",
            ),
            (
                "reverse, no octets",
                FIRST,
                "x.10.in-addr.arpa.",
                PTR,
                "forward",
            ),
            ("anything", FIRST, "example.com.", A, "forward"),
            ("the root", FIRST, ".", A, "forward"),
            ("a transfer", FIRST, "ec2.internal.", AXFR, "refused"),
            ("an unknown VPC", "vpc-00000000000000009", WEB, A, "refused"),
        ] {
            assert_eq!(ask("us-east-1", vpc, asked, kind), want, "{name}");
        }
    }

    #[test]
    fn regions_have_their_own_zones() {
        use RecordType::{A, PTR};
        for (name, asked, kind, want) in [
            (
                "private",
                "ip-10-0-1-10.eu-west-1.compute.internal.",
                A,
                "10.0.1.10",
            ),
            (
                "private of us-east-1",
                "ip-10-0-1-10.ec2.internal.",
                A,
                "none in ec2.internal.",
            ),
            (
                "above",
                "eu-west-1.compute.internal.",
                A,
                "empty in compute.internal.",
            ),
            (
                "public",
                "ec2-203-0-113-5.eu-west-1.compute.amazonaws.com.",
                A,
                "10.0.1.10",
            ),
            (
                "reverse",
                "10.1.0.10.in-addr.arpa.",
                PTR,
                "ip-10-0-1-10.eu-west-1.compute.internal.",
            ),
        ] {
            assert_eq!(ask("eu-west-1", FIRST, asked, kind), want, "{name}");
        }
    }

    #[test]
    fn public_names_are_private_where_a_gateway_joins_the_vpcs() {
        const NAME: &str = "ec2-203-0-113-5.compute-1.amazonaws.com.";
        let mut snapshot = snapshot("us-east-1");
        assert_eq!(
            ask_in(&snapshot, SECOND, NAME, RecordType::A),
            "203.0.113.5"
        );
        let gateways = ["tgw-00000000000000001", "tgw-00000000000000002"];
        for (first, second, want) in [
            (&gateways[..1], &gateways[1..], "203.0.113.5"),
            (&gateways[..1], &gateways[..0], "203.0.113.5"),
            (&gateways[..1], &gateways[..1], "10.0.1.10"),
            (&gateways[..1], &gateways[..], "10.0.1.10"),
        ] {
            for (vpc, shares) in [(FIRST, first), (SECOND, second)] {
                let shares = shares.iter().map(|id| id.parse().unwrap()).collect();
                snapshot.name_sharing.insert(vpc.parse().unwrap(), shares);
            }
            let answer = ask_in(&snapshot, SECOND, NAME, RecordType::A);
            assert_eq!(answer, want, "{first:?} {second:?}");
        }
    }

    /// A cluster in a VPC.
    fn cluster(id: &ManagedId, vpc: &str) -> (ControlPlane, ManagedWorkload) {
        let hidden = || Hidden(String::new());
        let plane = ControlPlane {
            id: id.clone(),
            name: "blue".into(),
            arn: "arn".into(),
            version: "1.37".into(),
            boot: 1,
            addresses: Vec::new(),
            service_cidr: "172.20.0.0/16".parse().unwrap(),
            keys: ClusterKeys {
                authority: String::new(),
                authority_key: hidden(),
                service_accounts: hidden(),
            },
            issuer: "https://oidc.eks.us-east-1.amazonaws.com/id/ABC".into(),
            public_endpoint: None,
            logging: BTreeSet::new(),
            access: ClusterAccess::default(),
            addons: BTreeMap::new(),
            pod_identities: Vec::new(),
            unreachable_seconds: None,
            identity_provider: None,
            scales: false,
        };
        let workload = ManagedWorkload {
            id: id.clone(),
            vpc: vpc.parse().unwrap(),
            namespace: NamespaceOrigin::HandedOver,
        };
        (plane, workload)
    }

    #[test]
    fn issuers_of_clusters_are_in_the_vpcs_of_their_clusters() {
        let mut snapshot = snapshot("us-east-1");
        let id = ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap();
        let (plane, workload) = cluster(&id, FIRST);
        snapshot.control_planes.insert(id.clone(), Arc::new(plane));
        snapshot.workloads.insert(id, Arc::new(workload));
        use RecordType::{A, AAAA};
        let host = "oidc.eks.us-east-1.amazonaws.com.";
        let empty = format!("empty in {host}");
        for (vpc, name, kind, want) in [
            (FIRST, host, A, "169.254.170.24"),
            (
                FIRST,
                "OIDC.eks.us-east-1.amazonaws.com.",
                A,
                "169.254.170.24",
            ),
            (FIRST, host, AAAA, &empty),
            (FIRST, "eks.us-east-1.amazonaws.com.", A, "forward"),
            (FIRST, "oidc.eks.eu-west-1.amazonaws.com.", A, "forward"),
            (SECOND, host, A, "forward"),
        ] {
            let got = ask_in(&snapshot, vpc, name, kind);
            assert_eq!(got, want, "{vpc} {name} {kind}");
        }
    }
}
