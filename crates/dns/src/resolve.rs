//! The order in which a VPC's resolver looks for a name: private zones, Lath's own names, endpoints, public
//! zones of Lath, and then the host's resolvers. CNAMEs lead from one to the other.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use lath_feed::{Snapshot, Vpc};
use lath_model::id::VpcId;
use lath_zones::{Client, HealthView, Kind, Question, Random, Rcode, Scope, Zones};

use crate::answer::{Answer, at};
use crate::zones::{NameInZone, locate, of_endpoint};
use crate::{Query, zones};

/// How many CNAMEs are followed from zone to zone.
const HOPS: usize = 8;

/// The most records of one answer.
const RECORDS: usize = 1000;

/// What a resolver found out without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(crate) code: ResponseCode,
    /// CNAMEs that were followed, and what they led to.
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    /// A name that the host's resolvers must be asked for.
    pub(crate) ask: Option<Name>,
}

impl Resolution {
    fn code(code: ResponseCode) -> Self {
        Self {
            code,
            answers: Vec::new(),
            authorities: Vec::new(),
            ask: None,
        }
    }
}

/// Looks for a name as the resolver of a VPC does. A pure function of what it is given.
pub(crate) fn resolve(
    snapshot: &Snapshot,
    zones: &Zones,
    health: &dyn HealthView,
    vpc: &VpcId,
    query: &Query,
    random: &mut Random,
) -> Resolution {
    let transfer = matches!(query.kind, RecordType::AXFR | RecordType::IXFR);
    let class = matches!(query.class, DNSClass::IN | DNSClass::ANY);
    let Some(network) = snapshot.vpcs.get(vpc).filter(|_| class && !transfer) else {
        return Resolution::code(ResponseCode::Refused);
    };
    let here = (snapshot.region.clone(), vpc.clone());
    let mut search = Search {
        snapshot,
        zones,
        health,
        here: Some((network, &here)),
        random,
        found: Resolution::code(ResponseCode::NoError),
    };
    search.run(query)
}

/// Looks for a name as the public DNS does.
pub(crate) fn resolve_public(
    snapshot: &Snapshot,
    zones: &Zones,
    health: &dyn HealthView,
    query: &Query,
    random: &mut Random,
) -> Resolution {
    let mut search = Search {
        snapshot,
        zones,
        health,
        here: None,
        random,
        found: Resolution::code(ResponseCode::NoError),
    };
    search.run(query)
}

struct Search<'a> {
    snapshot: &'a Snapshot,
    zones: &'a Zones,
    health: &'a dyn HealthView,
    /// The VPC whose resolver this is, also with its region; nothing for the public DNS.
    here: Option<(&'a Vpc, &'a (String, VpcId))>,
    random: &'a mut Random,
    found: Resolution,
}

/// What the search for one name came to.
enum Next {
    Done,
    Follow(lath_zones::Name),
    Ask,
}

impl Search<'_> {
    fn run(&mut self, query: &Query) -> Resolution {
        let mut query = query.clone();
        for _ in 0..HOPS {
            let Some(name) = wire(&query.name) else {
                return Resolution::code(ResponseCode::FormErr);
            };
            match self.one(&name, &query) {
                Next::Done => return self.finish(None),
                Next::Ask => return self.finish(Some(query.name)),
                Next::Follow(next) => match from_wire(&next) {
                    Some(next) => query.name = next,
                    None => break,
                },
            }
            if self.found.answers.len() > RECORDS {
                break;
            }
        }
        Resolution::code(ResponseCode::ServFail)
    }

    fn finish(&mut self, ask: Option<Name>) -> Resolution {
        let mut found = std::mem::replace(&mut self.found, Resolution::code(ResponseCode::NoError));
        found.ask = ask;
        found
    }

    fn one(&mut self, name: &lath_zones::Name, query: &Query) -> Next {
        let text = name.without_dot();
        let Some((vpc, here)) = self.here else {
            if let Some(place) = self.endpoint(name, &text) {
                return self.at_place(place, query);
            }
            return self.in_zone(name, query, Scope::Public);
        };
        let private = Scope::Vpc(here);
        // AWS uses private zones only where both DNS attributes of the VPC are on; without support there is
        // no resolver at all.
        let zones = Some(self.zones).filter(|_| vpc.dns_hostnames);
        let zone = zones.and_then(|zones| zones.zone_name(name, private));
        if let Some(place) = zones::private_resource(self.snapshot, vpc, &text) {
            return self.at_place(place, query);
        }
        let place = locate(self.snapshot, vpc, &text);
        if let Some(zone) = &zone
            && place.as_ref().is_none_or(|place| yields(place, zone))
        {
            // No fall-through: what a private zone does not have is not there.
            return self.in_zone(name, query, private);
        }
        if let Some(place) = place.or_else(|| self.endpoint(name, &text)) {
            return self.at_place(place, query);
        }
        self.in_zone(name, query, Scope::Public)
    }

    /// A VPC endpoint's name, of this region or another.
    fn endpoint(&mut self, name: &lath_zones::Name, text: &str) -> Option<NameInZone> {
        let mut addresses = self.zones.external_addresses(name)?;
        addresses.sort();
        Some(of_endpoint(text, addresses))
    }

    fn at_place(&mut self, place: NameInZone, query: &Query) -> Next {
        match at(place, self.snapshot, query) {
            Answer::Found(records) => self.found.answers.extend(records),
            Answer::Empty(soa) => self.found.authorities.push(*soa),
            Answer::NoSuchName(soa) => {
                self.found.code = ResponseCode::NXDomain;
                self.found.authorities.push(*soa);
            }
            Answer::Refused => self.found.code = ResponseCode::Refused,
            Answer::Forward => return Next::Ask,
        }
        Next::Done
    }

    fn in_zone(&mut self, name: &lath_zones::Name, query: &Query, scope: Scope<'_>) -> Next {
        let question = Question {
            name: name.clone(),
            kind: Kind(query.kind.into()),
        };
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
        let client = Client::near(anywhere, &self.snapshot.region);
        let answer = self
            .zones
            .answer(&question, scope, self.health, &client, self.random);
        let Some(answer) = answer else {
            return Next::Ask;
        };
        self.found
            .answers
            .extend(answer.records.iter().filter_map(record));
        if !answer.authoritative {
            return Next::Ask; // delegated to servers that are not ours
        }
        if let Some(next) = answer.next {
            return Next::Follow(next);
        }
        self.found.code = match answer.rcode {
            Rcode::NoError => ResponseCode::NoError,
            Rcode::NxDomain => ResponseCode::NXDomain,
            Rcode::ServFail => ResponseCode::ServFail,
        };
        let soa = answer.authority.iter().filter(|r| r.kind == Kind::SOA);
        self.found.authorities.extend(soa.filter_map(record));
        Next::Done
    }
}

/// Whether a name that Lath generates gives way to a private zone: to one that is at least as specific, and a public
/// name to any.
fn yields(place: &NameInZone, zone: &lath_zones::Name) -> bool {
    let labels = |name: &str| name.split('.').filter(|label| !label.is_empty()).count();
    let is_public = !zones::is_autodefined(&place.zone);
    is_public || labels(&zone.without_dot()) >= labels(&place.zone)
}

fn wire(name: &Name) -> Option<lath_zones::Name> {
    let mut wire = Vec::with_capacity(64);
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend(label);
    }
    wire.push(0);
    lath_zones::Name::from_wire(&wire)
}

fn from_wire(name: &lath_zones::Name) -> Option<Name> {
    use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
    Name::read(&mut BinDecoder::new(name.as_wire())).ok()
}

/// A record with its value as it is, whatever its type.
fn record(record: &lath_zones::Record) -> Option<Record> {
    let data = RData::Unknown {
        code: RecordType::from(record.kind.0),
        rdata: NULL::with(record.value.wire.to_vec()),
    };
    Some(Record::from_rdata(
        from_wire(&record.name)?,
        record.ttl,
        data,
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use std::sync::Arc;

    use lath_feed::{
        EndpointResource, HostedZone, NamedRecords, RecordAnswer, RecordSet, Routing, VpcEndpoint,
    };
    use lath_model::id::{ResourceConfigurationId, SubnetId, VpcEndpointId};
    use lath_zones::AllHealthy;

    use super::*;
    use crate::testing::{FIRST, SECOND, snapshot};

    const SERVICE: &str = "web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-east-1.on.aws";

    /// Lines of `name type value`; an alias has the value `alias NAME`.
    fn zone(snapshot: &mut Snapshot, id: &str, name: &str, vpcs: Option<&[&str]>, lines: &[&str]) {
        let mut records: BTreeMap<String, NamedRecords> = BTreeMap::new();
        let soa = format!("{name} SOA ns. admin. 1 2 3 4 5");
        for line in lines.iter().copied().chain([soa.as_str()]) {
            let mut words = line.splitn(3, ' ');
            let (owner, kind) = (words.next().unwrap(), words.next().unwrap());
            let value = words.next().unwrap();
            let answer = match value.strip_prefix("alias ") {
                Some(target) => RecordAnswer::Alias {
                    zone: "ZSERVICE".into(),
                    name: target.into(),
                    evaluate_target_health: true,
                },
                None => RecordAnswer::Values {
                    ttl: 5,
                    values: vec![value.into()],
                },
            };
            let set = RecordSet {
                set_identifier: None,
                routing: Routing::Simple,
                health_check: None,
                answer,
            };
            let kinds = records.entry(owner.to_owned()).or_default();
            kinds.entry(kind.to_owned()).or_default().push(set);
        }
        let vpc = |vpc: &&str| ("us-east-1".to_owned(), vpc.parse().unwrap());
        let zone = HostedZone {
            id: id.parse().unwrap(),
            name: name.into(),
            vpcs: vpcs.map(|vpcs| vpcs.iter().map(vpc).collect::<BTreeSet<_>>()),
            name_servers: Vec::new(),
        };
        snapshot.add_zone(zone, records);
    }

    /// Id, name, VPCs (none: public) and records of a zone.
    type Zone<'a> = (&'a str, &'a str, Option<&'a [&'a str]>, &'a [&'a str]);

    fn world() -> Snapshot {
        let zones: [Zone<'_>; 6] = [
            (
                "ZPUBLIC",
                "example.com.",
                None,
                &[
                    "www.example.com. A 192.0.2.1",
                    "only.example.com. A 192.0.2.2",
                    "sub.example.com. NS ns.elsewhere.test.",
                ],
            ),
            (
                "ZPRIVATE",
                "example.com.",
                Some(&[FIRST]),
                &[
                    "www.example.com. A 10.0.0.80",
                    &format!("service.example.com. A alias {SERVICE}."),
                    &format!("named.example.com. CNAME {SERVICE}."),
                    "away.example.com. CNAME host.elsewhere.test.",
                    "deep.example.com. CNAME www.example.org.",
                ],
            ),
            (
                "ZORG",
                "example.org.",
                None,
                &["www.example.org. A 192.0.2.3"],
            ),
            (
                "ZINTERNAL",
                "internal.",
                Some(&[FIRST]),
                &["x.internal. A 10.0.0.81"],
            ),
            (
                "ZEC2",
                "us.ec2.internal.",
                Some(&[FIRST]),
                &["x.us.ec2.internal. A 10.0.0.82"],
            ),
            (
                "ZAWS",
                "amazonaws.com.",
                Some(&[FIRST, SECOND]),
                &["ec2-203-0-113-5.compute-1.amazonaws.com. A 10.9.9.9"],
            ),
        ];
        let mut snapshot = snapshot("us-east-1");
        for (id, name, vpcs, lines) in zones {
            zone(&mut snapshot, id, name, vpcs, lines);
        }
        snapshot.names.insert(
            "a.vpce-svc.us-west-2.vpce.amazonaws.com".to_owned(),
            BTreeSet::from([Ipv4Addr::new(10, 1, 0, 5), Ipv4Addr::new(10, 1, 1, 5)]),
        );
        snapshot.names.insert(
            AT_ENDPOINT.to_owned(),
            BTreeSet::from([Ipv4Addr::new(10, 0, 1, 50)]),
        );
        let first: VpcId = FIRST.parse().unwrap();
        let mut vpc = Vpc::clone(&snapshot.vpcs[&first]);
        let endpoint = endpoint_to("db.example.com");
        vpc.endpoints.insert(endpoint.id.clone(), endpoint);
        snapshot.vpcs.insert(first, Arc::new(vpc));
        snapshot
    }

    /// The name of a service at an endpoint of this region.
    const AT_ENDPOINT: &str = "vpce-1-snsa-1.7d67968.vpc-lattice-svcs.us-east-1.on.aws";

    /// An endpoint that leads to a resource, which has this name in the VPC.
    fn endpoint_to(private_name: &str) -> VpcEndpoint {
        let at = EndpointResource {
            association: None,
            addresses: BTreeMap::from([(SubnetId::random(), Ipv4Addr::new(10, 0, 1, 51))]),
            private_name: Some(private_name.to_owned()),
        };
        VpcEndpoint {
            id: VpcEndpointId::random(),
            service_network: None,
            addresses: BTreeMap::new(),
            security_groups: BTreeSet::new(),
            names: BTreeMap::new(),
            resources: BTreeMap::from([(ResourceConfigurationId::random(), at)]),
        }
    }

    fn ask(vpc: &str, name: &str, kind: RecordType) -> String {
        let snapshot = world();
        let zones = Zones::new(&snapshot);
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
        let (vpc, mut random) = (vpc.parse().unwrap(), Random::new(1));
        let found = resolve(&snapshot, &zones, &AllHealthy, &vpc, &query, &mut random);
        let mut words: Vec<String> = found.answers.iter().map(|r| value(&r.data)).collect();
        words.extend(found.ask.map(|name| format!("? {name}")));
        if words.is_empty() {
            words.push(format!("{:?} {}", found.code, found.authorities.len()));
        }
        words.join(" ")
    }

    fn value(data: &RData) -> String {
        match data {
            RData::Unknown {
                code: RecordType::A,
                rdata,
            } => {
                let octets: [u8; 4] = rdata.anything[..].try_into().unwrap();
                Ipv4Addr::from(octets).to_string()
            }
            RData::Unknown { code, .. } => code.to_string(),
            other => other.to_string(),
        }
    }

    #[test]
    fn names_are_looked_for_in_the_right_order() {
        use RecordType::{A, AXFR, TXT};
        const ENDPOINT: &str = "a.vpce-svc.us-west-2.vpce.amazonaws.com";
        const HOST: &str = "ec2-203-0-113-5.compute-1.amazonaws.com";
        for (name, vpc, asked, kind, want) in [
            ("private", FIRST, "www.example.com.", A, "10.0.0.80"),
            (
                "private, in another case",
                FIRST,
                "WWW.Example.com.",
                A,
                "10.0.0.80",
            ),
            (
                "private, another type",
                FIRST,
                "www.example.com.",
                TXT,
                "NoError 1",
            ),
            (
                "no fall-through",
                FIRST,
                "only.example.com.",
                A,
                "NXDomain 1",
            ),
            (
                "public elsewhere",
                SECOND,
                "only.example.com.",
                A,
                "192.0.2.2",
            ),
            ("public, none", SECOND, "nope.example.com.", A, "NXDomain 1"),
            (
                "delegated",
                SECOND,
                "a.sub.example.com.",
                A,
                "? a.sub.example.com.",
            ),
            (
                "alias to a service",
                FIRST,
                "service.example.com.",
                A,
                "169.254.171.10",
            ),
            (
                "CNAME to a service",
                FIRST,
                "named.example.com.",
                A,
                "CNAME 169.254.171.10",
            ),
            (
                "CNAME to the world",
                FIRST,
                "away.example.com.",
                A,
                "CNAME ? host.elsewhere.test.",
            ),
            (
                "CNAME to a public zone",
                FIRST,
                "deep.example.com.",
                A,
                "CNAME 192.0.2.3",
            ),
            (
                "autodefined, more specific",
                FIRST,
                "ip-10-0-1-10.ec2.internal.",
                A,
                "10.0.1.10",
            ),
            (
                "less specific than autodefined",
                FIRST,
                "x.internal.",
                A,
                "10.0.0.81",
            ),
            (
                "more specific than autodefined",
                FIRST,
                "x.us.ec2.internal.",
                A,
                "10.0.0.82",
            ),
            (
                "a private zone over a public name",
                FIRST,
                HOST,
                A,
                "10.9.9.9",
            ),
            (
                "no private zone without host names",
                SECOND,
                HOST,
                A,
                "203.0.113.5",
            ),
            ("the public name", FIRST, SERVICE, A, "169.254.171.10"),
            (
                "an endpoint elsewhere",
                SECOND,
                ENDPOINT,
                A,
                "10.1.0.5 10.1.1.5",
            ),
            (
                "an endpoint, another type",
                SECOND,
                ENDPOINT,
                TXT,
                "NoError 1",
            ),
            (
                "an endpoint of this region",
                SECOND,
                AT_ENDPOINT,
                A,
                "10.0.1.50",
            ),
            (
                "above it",
                SECOND,
                "7d67968.vpc-lattice-svcs.us-east-1.on.aws",
                A,
                "NoError 1",
            ),
            (
                "no endpoint",
                SECOND,
                "vpce-2-snsa-1.7d67968.vpc-lattice-svcs.us-east-1.on.aws",
                A,
                "NXDomain 1",
            ),
            (
                "a resource by its private name, before a private zone",
                FIRST,
                "db.example.com.",
                A,
                "10.0.1.51",
            ),
            (
                "not in another VPC",
                SECOND,
                "db.example.com.",
                A,
                "NXDomain 1",
            ),
            ("nobody's", FIRST, "example.net.", A, "? example.net."),
            ("a transfer", FIRST, "example.com.", AXFR, "Refused 0"),
        ] {
            assert_eq!(ask(vpc, asked, kind), want, "{name}");
        }
    }
}
