//! The tables: (records, health, client) -> answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_feed::{RegionPlace, Topology};

use crate::testing::{down, snapshot, zone};
use crate::{Answer, Client, Name, Question, Random, Rcode, Scope, Zones};

const ZONE: &str = "ZAAAA";

/// The answers to a hundred equal questions: every different set of values, each sorted, joined by `|`.
fn outcomes(lines: &str, asked: &str, dead: &[u32], near: &str) -> String {
    let zones = Zones::new(&snapshot(vec![zone(ZONE, "example.com", None, lines)]));
    let client = Client::near("192.0.2.1/32".parse().unwrap(), near);
    let mut random = Random::new(1);
    let mut all = BTreeMap::<String, usize>::new();
    for _ in 0..100 {
        let question = question(asked);
        let answer = zones
            .answer(&question, Scope::Public, &down(dead), &client, &mut random)
            .unwrap();
        *all.entry(show(&answer)).or_default() += 1;
    }
    all.into_keys().collect::<Vec<_>>().join(" | ")
}

fn question(asked: &str) -> Question {
    let (name, kind) = asked.split_once(' ').unwrap_or((asked, "A"));
    Question {
        name: Name::from_text(name).unwrap(),
        kind: kind.parse().unwrap(),
    }
}

fn show(answer: &Answer) -> String {
    let mut values: Vec<String> = answer
        .records
        .iter()
        .map(|record| record.value.text.to_string())
        .collect();
    values.sort();
    let code = match answer.rcode {
        Rcode::NoError if values.is_empty() && !answer.authoritative => "referral",
        Rcode::NoError if values.is_empty() => "nodata",
        Rcode::NoError => "",
        Rcode::NxDomain => "nxdomain",
        Rcode::ServFail => "servfail",
    };
    let next = answer.next.as_ref().map(|next| format!("-> {next}"));
    let words = values.into_iter().chain([code.to_owned()]).chain(next);
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

const FAILOVER: &str = "a.example.com A primary hc=1 ttl=5 1.1.1.1
a.example.com A secondary hc=2 ttl=5 2.2.2.2";
const FAILOVER_UNCHECKED: &str = "a.example.com A primary hc=1 ttl=5 1.1.1.1
a.example.com A secondary ttl=5 2.2.2.2";
const WEIGHTED_ZERO: &str = "a.example.com A w=1 hc=1 ttl=5 1.1.1.1
a.example.com A w=0 ttl=5 2.2.2.2";
const WEIGHTED: &str = "a.example.com A w=1 hc=1 ttl=5 1.1.1.1
a.example.com A w=1 ttl=5 2.2.2.2
a.example.com A w=1 hc=3 ttl=5 3.3.3.3";
const WEIGHTED_NOTHING: &str = "a.example.com A w=0 hc=1 ttl=5 1.1.1.1
a.example.com A w=0 hc=2 ttl=5 2.2.2.2";
const TREE: &str = "a.example.com A latency=us-east-1 eth alias=ZAAAA/east.example.com.
a.example.com A latency=us-west-2 eth alias=ZAAAA/west.example.com.
east.example.com A w=10 hc=1 ttl=5 1.1.1.1
east.example.com A w=10 hc=2 ttl=5 2.2.2.2
west.example.com A w=10 hc=3 ttl=5 3.3.3.3";
const STUBBORN: &str = "a.example.com A latency=us-east-1 alias=ZAAAA/east.example.com.
a.example.com A latency=us-west-2 eth alias=ZAAAA/west.example.com.
east.example.com A w=10 hc=1 ttl=5 1.1.1.1
west.example.com A w=10 hc=3 ttl=5 3.3.3.3";
const LATENCY: &str = "a.example.com A latency=us-east-1 hc=1 ttl=5 1.1.1.1
a.example.com A latency=eu-west-1 hc=2 ttl=5 2.2.2.2
a.example.com A latency=ap-southeast-2 hc=3 ttl=5 3.3.3.3";
const GEO: &str = "a.example.com A geo=US-VA hc=1 ttl=5 1.1.1.1
a.example.com A geo=US hc=2 ttl=5 2.2.2.2
a.example.com A geo=NA hc=3 ttl=5 3.3.3.3
a.example.com A geo=* hc=4 ttl=5 4.4.4.4";
const GEO_NO_DEFAULT: &str = "a.example.com A geo=DE ttl=5 1.1.1.1";
const CIDR: &str = "a.example.com A cidr=office:192.0.2.0/24+198.51.100.0/24 hc=1 ttl=5 1.1.1.1
a.example.com A cidr=city:192.0.0.0/16 hc=2 ttl=5 2.2.2.2
a.example.com A cidr=*: ttl=5 3.3.3.3";
const CIDR_NO_DEFAULT: &str = "a.example.com A cidr=office:198.51.100.0/24 ttl=5 1.1.1.1";
const NEAR: &str = "a.example.com A near=us-east-1:0 hc=1 ttl=5 1.1.1.1
a.example.com A near=us-west-2:0 hc=2 ttl=5 2.2.2.2";
const NEAR_BIASED: &str = "a.example.com A near=us-east-1:-90 ttl=5 1.1.1.1
a.example.com A near=us-west-2:90 ttl=5 2.2.2.2";
const NAMES: &str = "example.com A simple ttl=60 1.0.0.1
www.example.com CNAME simple ttl=60 a.b.example.com.
a.b.example.com A simple ttl=60 1.0.0.2, 1.0.0.3
*.example.com A simple ttl=60 1.0.0.4
*.b.example.com TXT simple ttl=60 \"wild\"
out.example.com CNAME simple ttl=60 elsewhere.test.
circle.example.com CNAME simple ttl=60 elcric.example.com.
elcric.example.com CNAME simple ttl=60 circle.example.com.
dead.example.com CNAME simple ttl=60 nothing.b.example.com.
loop.example.com A simple eth alias=ZAAAA/pool.example.com.
pool.example.com A simple eth alias=ZAAAA/loop.example.com.
alias.example.com A simple alias=ZAAAA/a.b.example.com.
calias.example.com CNAME simple alias=ZAAAA/out.example.com.
void.example.com A simple alias=ZAAAA/b.example.com.
child.example.com NS simple ttl=60 ns.child.example.com.
ns.child.example.com A simple ttl=60 1.0.0.9
child.example.com DS simple ttl=60 1 2 3 abcd
mail.example.com MX simple ttl=60 10 example.com.";

#[test]
fn answers_follow_policy_health_and_client() {
    let multi = |count: u32| {
        let line = |n: u32| format!("a.example.com A multi hc={n} ttl=5 1.1.1.{n}\n");
        (1..=count).map(line).collect::<String>()
    };
    let (three, east, west) = (multi(3), "us-east-1", "us-west-2");
    let asked = "a.example.com";
    for (name, lines, dead, near, want) in [
        ("failover", FAILOVER, &[][..], east, "1.1.1.1"),
        ("failover, primary down", FAILOVER, &[1], east, "2.2.2.2"),
        ("failover, secondary down", FAILOVER, &[2], east, "1.1.1.1"),
        ("failover, both down", FAILOVER, &[1, 2], east, "1.1.1.1"),
        (
            "an unchecked secondary",
            FAILOVER_UNCHECKED,
            &[1],
            east,
            "2.2.2.2",
        ),
        ("weight 0 rests", WEIGHTED_ZERO, &[], east, "1.1.1.1"),
        ("weight 0 steps in", WEIGHTED_ZERO, &[1], east, "2.2.2.2"),
        (
            "weights share",
            WEIGHTED,
            &[],
            east,
            "1.1.1.1 | 2.2.2.2 | 3.3.3.3",
        ),
        ("the unchecked one", WEIGHTED, &[1, 3], east, "2.2.2.2"),
        (
            "weights all 0",
            WEIGHTED_NOTHING,
            &[],
            east,
            "1.1.1.1 | 2.2.2.2",
        ),
        (
            "weights all 0, one down",
            WEIGHTED_NOTHING,
            &[1],
            east,
            "2.2.2.2",
        ),
        (
            "weights all 0, all down",
            WEIGHTED_NOTHING,
            &[1, 2],
            east,
            "1.1.1.1 | 2.2.2.2",
        ),
        ("a tree", TREE, &[], east, "1.1.1.1 | 2.2.2.2"),
        ("a tree, one leaf down", TREE, &[1], east, "2.2.2.2"),
        ("a tree, a branch down", TREE, &[1, 2], east, "3.3.3.3"),
        (
            "a tree, all down",
            TREE,
            &[1, 2, 3],
            east,
            "1.1.1.1 | 2.2.2.2",
        ),
        ("a tree, all down, far", TREE, &[1, 2, 3], west, "3.3.3.3"),
        ("a tree, far", TREE, &[], west, "3.3.3.3"),
        (
            "health that does not count",
            STUBBORN,
            &[1],
            east,
            "1.1.1.1",
        ),
        ("latency", LATENCY, &[], east, "1.1.1.1"),
        (
            "latency, Frankfurt",
            LATENCY,
            &[],
            "eu-central-1",
            "2.2.2.2",
        ),
        (
            "latency, Singapore",
            LATENCY,
            &[],
            "ap-southeast-1",
            "3.3.3.3",
        ),
        ("latency, Oregon", LATENCY, &[], west, "1.1.1.1"),
        (
            "latency, Oregon, nearest down",
            LATENCY,
            &[1],
            west,
            "2.2.2.2",
        ),
        (
            "latency, all down",
            LATENCY,
            &[1, 2, 3],
            "eu-north-1",
            "2.2.2.2",
        ),
        ("geolocation, state", GEO, &[], east, "1.1.1.1"),
        ("geolocation, country", GEO, &[], west, "2.2.2.2"),
        (
            "geolocation, continent",
            GEO,
            &[],
            "ca-central-1",
            "3.3.3.3",
        ),
        ("geolocation, default", GEO, &[], "eu-west-1", "4.4.4.4"),
        ("geolocation, state down", GEO, &[1], east, "2.2.2.2"),
        (
            "geolocation, country down too",
            GEO,
            &[1, 2],
            east,
            "3.3.3.3",
        ),
        (
            "geolocation, all but default",
            GEO,
            &[1, 2, 3],
            east,
            "4.4.4.4",
        ),
        ("geolocation, all down", GEO, &[1, 2, 3, 4], east, "1.1.1.1"),
        (
            "geolocation, nothing fits",
            GEO_NO_DEFAULT,
            &[],
            east,
            "nodata",
        ),
        (
            "geolocation, fits",
            GEO_NO_DEFAULT,
            &[],
            "eu-central-1",
            "1.1.1.1",
        ),
        (
            "geolocation, place unknown",
            GEO,
            &[],
            "nowhere-1",
            "4.4.4.4",
        ),
        ("block", CIDR, &[], east, "1.1.1.1"),
        ("block, longest down", CIDR, &[1], east, "2.2.2.2"),
        ("block, both down", CIDR, &[1, 2], east, "3.3.3.3"),
        ("block, none", CIDR_NO_DEFAULT, &[], east, "nodata"),
        ("nearest", NEAR, &[], "us-east-2", "1.1.1.1"),
        ("nearest, down", NEAR, &[1], "us-east-2", "2.2.2.2"),
        ("nearest, all down", NEAR, &[1, 2], "us-west-1", "2.2.2.2"),
        ("nearest, biased", NEAR_BIASED, &[], "us-east-2", "2.2.2.2"),
        ("multivalue", &three, &[], east, "1.1.1.1 1.1.1.2 1.1.1.3"),
        (
            "multivalue, one down",
            &three,
            &[2],
            east,
            "1.1.1.1 1.1.1.3",
        ),
        (
            "multivalue, all down",
            &three,
            &[1, 2, 3],
            east,
            "1.1.1.1 1.1.1.2 1.1.1.3",
        ),
    ] {
        assert_eq!(outcomes(lines, asked, dead, near), want, "{name}");
    }
}

#[test]
fn names_are_found_as_dns_demands() {
    for (name, asked, want) in [
        ("apex", "example.com", "1.0.0.1"),
        ("another type", "example.com AAAA", "nodata"),
        (
            "CNAME, followed",
            "www.example.com",
            "1.0.0.2 1.0.0.3 a.b.example.com.",
        ),
        ("CNAME itself", "www.example.com CNAME", "a.b.example.com."),
        (
            "CNAME to nothing of the type",
            "www.example.com MX",
            "a.b.example.com.",
        ),
        ("wildcard", "x.example.com", "1.0.0.4"),
        ("wildcard, deep", "x.y.z.example.com", "1.0.0.4"),
        ("wildcard, another type", "x.example.com TXT", "nodata"),
        (
            "a name that has only names below",
            "b.example.com",
            "nodata",
        ),
        ("the nearer wildcard only", "x.b.example.com A", "nodata"),
        ("the nearer wildcard", "x.y.b.example.com TXT", "\"wild\""),
        ("no wildcard over a name", "a.b.example.com TXT", "nodata"),
        ("below a name", "x.a.b.example.com", "nxdomain"),
        (
            "CNAME out of the zone",
            "out.example.com",
            "elsewhere.test. -> elsewhere.test.",
        ),
        ("CNAMEs in a circle", "circle.example.com", "servfail"),
        (
            "CNAME to a wildcard of another type",
            "dead.example.com",
            "nothing.b.example.com.",
        ),
        ("aliases in a circle", "loop.example.com", "servfail"),
        ("alias", "alias.example.com", "1.0.0.2 1.0.0.3"),
        ("alias, another type", "alias.example.com TXT", "nodata"),
        (
            "alias of CNAME",
            "calias.example.com",
            "elsewhere.test. -> elsewhere.test.",
        ),
        ("alias to nothing", "void.example.com", "nodata"),
        ("delegated", "child.example.com", "referral"),
        ("below a delegation", "x.y.child.example.com", "referral"),
        ("DS of a delegation", "child.example.com DS", "1 2 3 abcd"),
        ("any", "example.com ANY", "\"RFC8482\" \"\""),
        ("any, no such name", "x.a.b.example.com ANY", "nxdomain"),
        ("any, only names below", "b.example.com ANY", "nodata"),
    ] {
        assert_eq!(outcomes(NAMES, asked, &[], "us-east-1"), want, "{name}");
    }
}

#[test]
fn sections_are_filled() {
    let zones = Zones::new(&snapshot(vec![zone(ZONE, "example.com", None, NAMES)]));
    let ask = |asked: &str| {
        let client = zones.client("192.0.2.1/32".parse().unwrap());
        let mut random = Random::new(1);
        let question = question(asked);
        let answer = zones.answer(&question, Scope::Public, &down(&[]), &client, &mut random);
        let answer = answer.unwrap();
        let list = |records: &[crate::Record]| {
            let line = |r: &crate::Record| format!("{} {} {}", r.name, r.ttl, r.kind);
            records.iter().map(line).collect::<Vec<_>>().join(", ")
        };
        (list(&answer.authority), list(&answer.additional))
    };
    let soa = "example.com. 900 SOA";
    let ns = "example.com. 172800 NS, example.com. 172800 NS";
    for (asked, authority, additional) in [
        ("example.com", ns, ""),
        ("example.com NS", "", ""),
        ("example.com TXT", soa, ""),
        ("x.a.b.example.com", soa, ""),
        ("mail.example.com MX", ns, "example.com. 60 A"),
        (
            "child.example.com",
            "child.example.com. 60 NS",
            "ns.child.example.com. 60 A",
        ),
    ] {
        let want = (authority.to_owned(), additional.to_owned());
        assert_eq!(ask(asked), want, "{asked}");
    }
}

#[test]
fn of_ten_multivalue_sets_eight_answer_whatever_their_health() {
    let line = |n: u32| format!("a.example.com A multi hc={n} ttl=5 1.1.1.{n}\n");
    let lines: String = (1..=10).map(line).collect();
    let zones = Zones::new(&snapshot(vec![zone(ZONE, "example.com", None, &lines)]));
    let client = zones.client("192.0.2.1/32".parse().unwrap());
    let mut random = Random::new(3);
    let all: Vec<u32> = (1..=10).collect();
    for (dead, count) in [(&[][..], 8), (&[1, 2, 3], 7), (&all, 8)] {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let question = question("a.example.com");
            let view = down(dead);
            let answer = zones
                .answer(&question, Scope::Public, &view, &client, &mut random)
                .unwrap();
            assert_eq!(answer.records.len(), count);
            seen.extend(answer.records.iter().map(|r| r.value.text.to_string()));
        }
        let whole = if dead.len() == 3 { 7 } else { 10 };
        assert_eq!(seen.len(), whole, "each has its turn");
    }
}

#[test]
fn weights_are_shares() {
    let lines = "a.example.com A w=1 ttl=5 1.1.1.1\na.example.com A w=3 ttl=5 2.2.2.2";
    let zones = Zones::new(&snapshot(vec![zone(ZONE, "example.com", None, lines)]));
    let client = zones.client("192.0.2.1/32".parse().unwrap());
    let mut random = Random::new(5);
    let mut first = 0;
    for _ in 0..10_000 {
        let answer = zones
            .answer(
                &question("a.example.com"),
                Scope::Public,
                &down(&[]),
                &client,
                &mut random,
            )
            .unwrap();
        first += usize::from(&*answer.records[0].value.text == "1.1.1.1");
    }
    assert!((2_300..2_700).contains(&first), "{first}");
}

#[test]
fn a_private_zone_is_seen_by_its_vpcs_alone_and_shadows() {
    const VPC: &str = "vpc-00000000000000001";
    let zones = Zones::new(&snapshot(vec![
        zone(
            "ZPUBLIC",
            "example.com",
            None,
            "only.example.com A simple ttl=5 1.1.1.1\na.in.example.com A simple ttl=5 1.1.1.2",
        ),
        zone(
            "ZPRIVATE",
            "in.example.com",
            Some(&[("us-west-2", VPC)]),
            "b.in.example.com A simple ttl=5 2.2.2.2",
        ),
        zone(
            "ZSECOND",
            "example.com",
            None,
            "only.example.com A simple ttl=5 9.9.9.9",
        ),
    ]));
    let seen = ("us-west-2".to_owned(), VPC.parse().unwrap());
    let other = ("us-east-1".to_owned(), VPC.parse().unwrap());
    let second = "ZSECOND".parse().unwrap();
    for (name, scope, asked, want) in [
        ("public", Scope::Public, "only.example.com", Some("1.1.1.1")),
        (
            "public, below",
            Scope::Public,
            "a.in.example.com",
            Some("1.1.1.2"),
        ),
        (
            "not public",
            Scope::Public,
            "b.in.example.com",
            Some("nxdomain"),
        ),
        (
            "private",
            Scope::Vpc(&seen),
            "b.in.example.com",
            Some("2.2.2.2"),
        ),
        (
            "no fall-through",
            Scope::Vpc(&seen),
            "a.in.example.com",
            Some("nxdomain"),
        ),
        (
            "no private zone",
            Scope::Vpc(&seen),
            "only.example.com",
            None,
        ),
        (
            "the same VPC id of another region",
            Scope::Vpc(&other),
            "b.in.example.com",
            None,
        ),
        (
            "one of two namesakes",
            Scope::Zone(&second),
            "only.example.com",
            Some("9.9.9.9"),
        ),
        (
            "not in that zone",
            Scope::Zone(&second),
            "example.org",
            None,
        ),
        ("nobody's", Scope::Public, "example.org", None),
    ] {
        let client = zones.client("10.0.0.1/32".parse().unwrap());
        let mut random = Random::new(1);
        let question = question(asked);
        let found = zones.answer(&question, scope, &down(&[]), &client, &mut random);
        assert_eq!(found.as_ref().map(show).as_deref(), want, "{name}");
    }
}

#[test]
fn clients_are_near_the_region_whose_addresses_they_have() {
    let place = |index: u8| RegionPlace {
        underlay: [100, 64, index, 1].into(),
        link: [100, 65, index, 1].into(),
        public_key: [0; 32],
        public_pool: format!("198.18.{}.0/19", 32 * index).parse().unwrap(),
    };
    let mut snapshot = snapshot(vec![zone(ZONE, "example.com", None, LATENCY)]);
    snapshot.topology = Arc::new(Topology {
        regions: BTreeMap::from([
            ("us-east-1".to_owned(), place(0)),
            ("eu-west-1".to_owned(), place(1)),
        ]),
        ..Topology::single("us-east-1")
    });
    let zones = Zones::new(&snapshot);
    for (address, want) in [
        ("198.18.0.9/32", "us-east-1"),
        ("198.18.33.9/32", "eu-west-1"),
        ("198.18.33.0/24", "eu-west-1"),
        ("100.64.1.1/32", "eu-west-1"),
        ("203.0.113.1/32", "us-east-1"),
        ("2001:db8::/56", "us-east-1"),
    ] {
        let region = zones.client(address.parse().unwrap()).region.unwrap();
        assert_eq!(region.name, want, "{address}");
    }
    let client = zones.client("198.18.33.0/24".parse().unwrap());
    let mut random = Random::new(1);
    let answer = zones
        .explain(
            &question("a.example.com"),
            Scope::Public,
            &down(&[2]),
            &client,
            &mut random,
        )
        .unwrap();
    assert_eq!(answer.scope_prefix, 24);
    assert_eq!(show(&answer), "1.1.1.1");
    let why = answer.explanation.join("; ");
    assert!(
        why.contains("is not healthy") && why.contains("Latency(\"us-east-1\")"),
        "{why}"
    );
}

#[test]
fn a_short_client_prefix_matches_no_longer_block() {
    let zones = Zones::new(&snapshot(vec![zone(ZONE, "example.com", None, CIDR)]));
    for (prefix, want) in [
        ("192.0.2.0/24", "1.1.1.1"),
        ("192.0.2.128/25", "1.1.1.1"),
        ("192.0.0.0/20", "2.2.2.2"),
        ("192.0.0.0/8", "3.3.3.3"),
        ("2001:db8::/48", "3.3.3.3"),
    ] {
        let client = zones.client(prefix.parse().unwrap());
        let mut random = Random::new(1);
        let answer = zones
            .answer(
                &question("a.example.com"),
                Scope::Public,
                &down(&[]),
                &client,
                &mut random,
            )
            .unwrap();
        assert_eq!(show(&answer), want, "{prefix}");
    }
}

#[test]
fn an_alias_to_an_endpoint_is_answered_with_its_addresses() {
    let lines = "a.example.com A simple eth alias=ZSERVICE/svc.vpce.amazonaws.com.";
    let mut snapshot = snapshot(vec![zone(ZONE, "example.com", None, lines)]);
    let addresses = [[10, 0, 0, 1].into(), [10, 0, 1, 1].into()];
    let name = "svc.vpce.amazonaws.com".to_owned();
    snapshot.names.insert(name, addresses.into());
    let zones = Zones::new(&snapshot);
    let client = zones.client("10.0.0.9/32".parse().unwrap());
    let mut random = Random::new(1);
    let answer = zones
        .answer(
            &question("a.example.com"),
            Scope::Public,
            &down(&[]),
            &client,
            &mut random,
        )
        .unwrap();
    assert_eq!(show(&answer), "10.0.0.1 10.0.1.1");
    assert_eq!(answer.records[0].ttl, 60);
}

#[test]
fn unchanged_zones_are_not_compiled_again() {
    let mut snapshot = snapshot(vec![zone(ZONE, "example.com", None, NAMES)]);
    let before = Zones::new(&snapshot);
    snapshot.version = 2;
    let (other, records) = zone("ZB", "example.org", None, "");
    snapshot.add_zone(other, records);
    let after = before.renewed(&snapshot);
    let id = ZONE.parse().unwrap();
    assert!(std::ptr::eq(
        before.by_id(&id).unwrap(),
        after.by_id(&id).unwrap()
    ));
    assert_eq!(after.version(), 2);
    let name = Name::from_text("x.example.org").unwrap();
    assert_eq!(
        after.zone_name(&name, Scope::Public).unwrap().to_string(),
        "example.org."
    );
}

#[test]
fn one_record_is_compiled_and_its_neighbours_are_kept() {
    let mut snapshot = snapshot(vec![zone(ZONE, "example.com", None, NAMES)]);
    let before = Zones::new(&snapshot);
    let id: lath_model::id::HostedZoneId = ZONE.parse().unwrap();
    let names: Vec<String> = snapshot
        .records_of(&id)
        .map(|(name, _)| name.to_owned())
        .collect();
    let (first, rest) = names.split_first().unwrap();
    snapshot.records.remove(&(id.clone(), rest[0].clone()));
    let sets = snapshot.records[&(id.clone(), first.clone())]
        .as_ref()
        .clone();
    snapshot
        .records
        .insert((id.clone(), first.clone()), Arc::new(sets));
    let after = before.renewed(&snapshot);
    let fresh = Zones::new(&snapshot);
    let of = |zones: &Zones, name: &str| {
        let zone = zones.by_id(&id).unwrap();
        let node = zone.node(Name::from_text(name).unwrap().as_wire());
        node.map(|node| format!("{node:?}"))
    };
    for name in &names {
        assert_eq!(of(&after, name), of(&fresh, name), "{name}");
    }
    let at = |zones: &Zones| {
        let name = Name::from_text(&rest[1]).unwrap();
        std::ptr::from_ref(zones.by_id(&id).unwrap().node(name.as_wire()).unwrap())
    };
    assert_eq!(at(&before), at(&after), "what did not change is kept");
}
