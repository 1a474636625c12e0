//! Zones written as text, for tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lath_feed::{HostedZone, Location, NamedRecords, RecordAnswer, RecordSet, Routing, Snapshot};
use lath_model::id::HealthCheckId;

use crate::{HealthVerdicts, Kind, Name};

/// The check with this number.
pub(crate) fn check(number: u32) -> HealthCheckId {
    format!("00000000-0000-4000-8000-{number:012}")
        .parse()
        .unwrap()
}

/// A view in which the numbered checks are unhealthy.
pub(crate) fn down(numbers: &[u32]) -> HealthVerdicts {
    let checks: HashMap<_, _> = numbers.iter().map(|n| (check(*n), false)).collect();
    HealthVerdicts { checks }
}

/// Lines of `name type routing [hc=N] ttl=T value, value` or `... [eth] alias=ZONE/name`; ids by place.
/// Routings: `simple`, `w=N`, `latency=REGION`, `primary`, `secondary`, `geo=*|EU|DE|US-WA` (two letters: a
/// continent where it is one of `CONTINENTS`, else a country), `multi`, `cidr=LOCATION:a/b+c/d`,
/// `near=REGION:BIAS`.
pub(crate) fn zone(id: &str, name: &str, vpcs: Option<&[(&str, &str)]>, lines: &str) -> Filled {
    let mut records: BTreeMap<String, BTreeMap<String, Vec<RecordSet>>> = BTreeMap::new();
    let usual = format!(
        "{name} NS simple ttl=172800 ns1.awsdns.test., ns2.awsdns.test.\n\
         {name} SOA simple ttl=900 ns1.awsdns.test. hostmaster.test. 1 7200 900 1209600 86400"
    );
    let all = usual.lines().chain(lines.lines());
    for (place, line) in all.filter(|line| !line.trim().is_empty()).enumerate() {
        let (owner, kind, set) = record(line.trim(), place);
        let owner = Name::from_text(&owner).unwrap().to_string();
        records
            .entry(owner)
            .or_default()
            .entry(kind)
            .or_default()
            .push(set);
    }
    let pair = |(region, vpc): &(&str, &str)| ((*region).to_owned(), vpc.parse().unwrap());
    let zone = HostedZone {
        id: id.parse().unwrap(),
        name: Name::from_text(name).unwrap().to_string(),
        vpcs: vpcs.map(|vpcs| vpcs.iter().map(pair).collect::<BTreeSet<_>>()),
        name_servers: vec!["ns1.awsdns.test".into()],
    };
    (zone, records)
}

/// A zone with its record sets by name.
pub(crate) type Filled = (HostedZone, BTreeMap<String, NamedRecords>);

fn record(line: &str, place: usize) -> (String, String, RecordSet) {
    let mut words = line.splitn(4, ' ');
    let owner = words.next().unwrap().to_owned();
    let kind = words.next().unwrap().to_owned();
    assert!(kind.parse::<Kind>().is_ok(), "{line}");
    let routing = routing(words.next().unwrap());
    let mut rest = words.next().unwrap();
    let mut health_check = None;
    let mut evaluate = false;
    let answer = loop {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Some(number) = word.strip_prefix("hc=") {
            health_check = Some(check(number.parse().unwrap()));
        } else if word == "eth" {
            evaluate = true;
        } else if let Some(target) = word.strip_prefix("alias=") {
            let (zone, name) = target.split_once('/').unwrap();
            break RecordAnswer::Alias {
                zone: zone.into(),
                name: name.into(),
                evaluate_target_health: evaluate,
            };
        } else {
            break RecordAnswer::Values {
                ttl: word.strip_prefix("ttl=").unwrap().parse().unwrap(),
                values: after.split(", ").map(str::to_owned).collect(),
            };
        }
        rest = after;
    };
    let set = RecordSet {
        set_identifier: (routing != Routing::Simple).then(|| place.to_string()),
        routing,
        health_check,
        answer,
    };
    (owner, kind, set)
}

const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

fn routing(text: &str) -> Routing {
    let (word, value) = text.split_once('=').unwrap_or((text, ""));
    match word {
        "simple" => Routing::Simple,
        "w" => Routing::Weighted(value.parse().unwrap()),
        "latency" => Routing::Latency(value.into()),
        "primary" => Routing::FailoverPrimary,
        "secondary" => Routing::FailoverSecondary,
        "multi" => Routing::Multivalue,
        "geo" => Routing::Geolocation(match value.split_once('-') {
            Some((country, part)) => Location::Subdivision(country.into(), part.into()),
            None if value == "*" => Location::Default,
            None if CONTINENTS.contains(&value) => Location::Continent(value.into()),
            None => Location::Country(value.into()),
        }),
        "cidr" => {
            let (location, blocks) = value.split_once(':').unwrap();
            Routing::Cidr {
                location: location.into(),
                blocks: blocks
                    .split('+')
                    .filter(|block| !block.is_empty())
                    .map(|block| block.parse().unwrap())
                    .collect(),
            }
        }
        "near" => {
            let (region, bias) = value.split_once(':').unwrap();
            Routing::Geoproximity {
                region: Some(region.into()),
                coordinates: None,
                bias: bias.parse().unwrap(),
            }
        }
        other => panic!("{other} is no routing"),
    }
}

/// A snapshot of us-east-1 with these zones.
pub(crate) fn snapshot(zones: Vec<Filled>) -> Snapshot {
    let mut snapshot = Snapshot {
        version: 1,
        region: "us-east-1".into(),
        ..Snapshot::default()
    };
    for (zone, records) in zones {
        snapshot.add_zone(zone, records);
    }
    snapshot
}
