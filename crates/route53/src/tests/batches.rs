//! ChangeResourceRecordSets and the feed that it makes.

use super::*;

const LOOKUP: &str = "example.com.";

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let good = values("CREATE", "a.example.com", "A", "", &["192.0.2.1"]);
    let bad = values("CREATE", "b.example.com", "A", "", &["192.0.2"]);
    let foreign = values("CREATE", "b.example.org", "A", "", &["192.0.2.1"]);
    let answer = world.change(&zone, &[good.clone(), bad, foreign]).await;
    answer.fails(400, "InvalidChangeBatch", "[Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with '192.0.2'', RRSet with DNS name b.example.org. is not permitted in zone example.com.]");
    assert_eq!(world.listed(&zone).await.len(), 2);
    let missing = values("DELETE", "c.example.com", "A", "", &["192.0.2.1"]);
    let answer = world.change(&zone, &[good.clone(), missing]).await;
    answer.fails(400, "InvalidChangeBatch", "[Tried to delete resource record set [name='c.example.com.', type='A'] but it was not found]");
    assert_eq!(world.listed(&zone).await.len(), 2);
    let done = world.change(&zone, std::slice::from_ref(&good)).await;
    assert!(
        done.succeeds()
            .text("ChangeInfo/Id")
            .starts_with("/change/C")
    );
    let again = world.change(&zone, &[good]).await;
    again.fails(400, "InvalidChangeBatch", "[Tried to create resource record set [name='a.example.com.', type='A'] but it already exists]");
}

/// Batches that are applied one after another to the zone `example.com`, each to be taken, or refused for
/// a reason.
struct Case {
    name: &'static str,
    batches: Vec<(Vec<String>, Want)>,
}

/// Nothing, or the error's code and a part of its text.
type Want = Result<(), (&'static str, &'static str)>;

fn case(name: &'static str, batches: Vec<(Vec<String>, Want)>) -> Case {
    Case { name, batches }
}

fn a(action: &str, name: &str, more: &str, value: &str) -> String {
    values(action, &format!("{name}.example.com"), "A", more, &[value])
}

fn refused(text: &'static str) -> Want {
    Err(("InvalidChangeBatch", text))
}

fn invalid(text: &'static str) -> Want {
    Err(("InvalidInput", text))
}

fn weighted(action: &str, id: &str, weight: u32) -> String {
    a(
        action,
        "w",
        &set(id, &format!("<Weight>{weight}</Weight>")),
        "192.0.2.1",
    )
}

fn failover(action: &str, id: &str, side: &str, more: &str) -> String {
    let policy = format!("<Failover>{side}</Failover>{more}");
    a(action, "f", &set(id, &policy), "192.0.2.1")
}

fn failover_cases(zone: &str, check: &str) -> Vec<Case> {
    let check = format!("<HealthCheckId>{check}</HealthCheckId>");
    let unchecked =
        || refused("[A non-alias primary ResourceRecordSet must have an associated health check]");
    let target = format!(
        "<Failover>PRIMARY</Failover><AliasTarget><HostedZoneId>{zone}</HostedZoneId><DNSName>f.example.com</DNSName><EvaluateTargetHealth>true</EvaluateTargetHealth></AliasTarget>"
    );
    let text = values(
        "CREATE",
        "f.example.com",
        "TXT",
        &set("p", "<Failover>PRIMARY</Failover>"),
        &["\"owner\""],
    );
    let create = |id, side, more| failover("CREATE", id, side, more);
    vec![
        case(
            "a primary that is no alias has a health check",
            vec![
                (vec![create("p", "PRIMARY", "")], unchecked()),
                (vec![failover("UPSERT", "p", "PRIMARY", "")], unchecked()),
                (vec![text], unchecked()),
                (vec![create("s", "SECONDARY", "")], Ok(())),
                (vec![create("p", "PRIMARY", &check)], Ok(())),
                (vec![failover("UPSERT", "p", "PRIMARY", "")], unchecked()),
                (
                    vec![change("CREATE", "g.example.com", "A", &set("p", &target))],
                    Ok(()),
                ),
            ],
        ),
        case(
            "one primary and one secondary",
            vec![
                (
                    vec![create("p", "PRIMARY", &check), create("s", "SECONDARY", "")],
                    Ok(()),
                ),
                (
                    vec![create("q", "PRIMARY", &check)],
                    refused("a PRIMARY failover set exists"),
                ),
                (
                    vec![create("t", "SECONDARY", "")],
                    refused("a SECONDARY failover set exists"),
                ),
            ],
        ),
    ]
}

fn routing_cases() -> Vec<Case> {
    let simple = || a("CREATE", "w", "", "192.0.2.9");
    let latency = |id: &str, region: &str| {
        a(
            "CREATE",
            "l",
            &set(id, &format!("<Region>{region}</Region>")),
            "192.0.2.1",
        )
    };
    let geo = |id: &str, place: &str| {
        let more = set(id, &format!("<GeoLocation>{place}</GeoLocation>"));
        a("CREATE", "g", &more, "192.0.2.1")
    };
    let multi = |id: &str, list: &[&str]| {
        let more = set(id, "<MultiValueAnswer>true</MultiValueAnswer>");
        values("CREATE", "m.example.com", "A", &more, list)
    };
    vec![
        case(
            "weighted sets share a name",
            vec![
                (
                    vec![weighted("CREATE", "a", 0), weighted("CREATE", "b", 255)],
                    Ok(()),
                ),
                (
                    vec![weighted("CREATE", "a", 1)],
                    refused("set identifier='a'] but it already exists"),
                ),
                (
                    vec![simple()],
                    refused(
                        "RRSet with DNS name w.example.com., type A cannot be created as other RRSets exist with the same name and type.",
                    ),
                ),
                (
                    vec![weighted("CREATE", "c", 256)],
                    invalid("less than or equal to 255"),
                ),
            ],
        ),
        case(
            "weighted after simple",
            vec![
                (vec![simple()], Ok(())),
                (
                    vec![weighted("CREATE", "a", 1)],
                    refused(
                        "SetIdentifier a cannot be created as a non-weighted set exists with the same name and type.",
                    ),
                ),
                (
                    vec![
                        a("DELETE", "w", "", "192.0.2.9"),
                        weighted("CREATE", "a", 1),
                    ],
                    Ok(()),
                ),
            ],
        ),
        case(
            "one latency set per region",
            vec![
                (
                    vec![latency("a", "us-east-1"), latency("b", "us-west-2")],
                    Ok(()),
                ),
                (
                    vec![latency("c", "us-east-1")],
                    refused("the region us-east-1"),
                ),
                (vec![latency("d", "mars-1")], invalid("Invalid Region")),
            ],
        ),
        case(
            "one geolocation set per place",
            vec![
                (
                    vec![
                        geo("d", "<CountryCode>*</CountryCode>"),
                        geo("e", "<ContinentCode>EU</ContinentCode>"),
                        geo(
                            "f",
                            "<CountryCode>US</CountryCode><SubdivisionCode>WA</SubdivisionCode>",
                        ),
                    ],
                    Ok(()),
                ),
                (
                    vec![geo("g", "<ContinentCode>EU</ContinentCode>")],
                    refused("same location exists"),
                ),
                (
                    vec![geo(
                        "h",
                        "<CountryCode>DE</CountryCode><SubdivisionCode>BE</SubdivisionCode>",
                    )],
                    refused("not valid"),
                ),
                (
                    vec![geo("i", "<ContinentCode>XX</ContinentCode>")],
                    refused("not valid"),
                ),
            ],
        ),
        case(
            "multivalue answers have one value each",
            vec![
                (
                    vec![multi("a", &["192.0.2.1"]), multi("b", &["192.0.2.2"])],
                    Ok(()),
                ),
                (
                    vec![multi("c", &["192.0.2.3", "192.0.2.4"])],
                    refused("exactly one value"),
                ),
            ],
        ),
        case(
            "policies and identifiers belong together",
            vec![
                (
                    vec![a("CREATE", "x", "<Weight>1</Weight>", "192.0.2.1")],
                    invalid(
                        "Invalid request: Missing field 'SetIdentifier' in Change with [Action=CREATE, Name=x.example.com, Type=A, SetIdentifier=null]",
                    ),
                ),
                (
                    vec![a("CREATE", "x", &set("s", ""), "192.0.2.1")],
                    invalid(
                        "Expected exactly one of [Weight, Region, Failover, GeoLocation, MultiValueAnswer, GeoProximityLocation, or CidrRoutingConfig], but found none",
                    ),
                ),
                (
                    vec![a(
                        "CREATE",
                        "x",
                        &set("s", "<Weight>1</Weight><Failover>PRIMARY</Failover>"),
                        "192.0.2.1",
                    )],
                    invalid("but found more than one"),
                ),
            ],
        ),
    ]
}

fn name_cases() -> Vec<Case> {
    let cname = |action: &str, name: &str| {
        values(
            action,
            &format!("{name}example.com"),
            "CNAME",
            "",
            &["b.example.net"],
        )
    };
    vec![
        case(
            "a CNAME is alone and not at the apex",
            vec![
                (
                    vec![cname("CREATE", "")],
                    refused(
                        "RRSet of type CNAME with DNS name example.com. is not permitted at apex in zone example.com.",
                    ),
                ),
                (vec![cname("CREATE", "c.")], Ok(())),
                (
                    vec![a("CREATE", "c", "", "192.0.2.1")],
                    refused(
                        "RRSet of type A with DNS name c.example.com. is not permitted because a conflicting RRSet of type CNAME with the same DNS name already exists in zone example.com.",
                    ),
                ),
                (
                    vec![a("CREATE", "d", "", "192.0.2.1"), cname("CREATE", "d.")],
                    refused("RRSet of type CNAME with DNS name d.example.com."),
                ),
                (
                    vec![a("CREATE", "c", "", "192.0.2.1"), cname("DELETE", "c.")],
                    Ok(()),
                ),
            ],
        ),
        case(
            "the apex keeps its NS and SOA",
            vec![
                (
                    vec![values("UPSERT", LOOKUP, "NS", "", &["ns1.example.net."])],
                    Ok(()),
                ),
                (
                    vec![values("DELETE", LOOKUP, "NS", "", &["ns1.example.net."])],
                    refused(
                        "A HostedZone must contain at least one NS record for the zone itself.",
                    ),
                ),
                (
                    vec![values(
                        "CREATE",
                        "sub.example.com",
                        "NS",
                        "",
                        &["ns1.example.net."],
                    )],
                    Ok(()),
                ),
                (
                    vec![values(
                        "CREATE",
                        "sub.example.com",
                        "SOA",
                        "",
                        &["a. b. 1 2 3 4 5"],
                    )],
                    refused("SOA"),
                ),
            ],
        ),
        case(
            "a record set is changed once in a batch",
            vec![
                (vec![a("CREATE", "a", "", "192.0.2.1")], Ok(())),
                (
                    vec![
                        a("UPSERT", "a", "", "192.0.2.2"),
                        a("UPSERT", "a", "", "192.0.2.3"),
                    ],
                    refused(
                        "The request contains an invalid set of changes for a resource record set 'A a.example.com.'",
                    ),
                ),
                (
                    vec![
                        a("DELETE", "a", "", "192.0.2.1"),
                        a("DELETE", "a", "", "192.0.2.1"),
                    ],
                    refused("invalid set of changes"),
                ),
                (
                    vec![
                        a("DELETE", "a", "", "192.0.2.1"),
                        a("CREATE", "a", "", "192.0.2.2"),
                    ],
                    Ok(()),
                ),
                (
                    vec![a("DELETE", "a", "", "192.0.2.1")],
                    refused("but the values provided do not match the current values"),
                ),
                (vec![a("DELETE", "A", "", "192.0.2.2")], Ok(())),
            ],
        ),
        case(
            "values are compared as what they mean",
            vec![
                (
                    vec![values(
                        "CREATE",
                        "m.example.com",
                        "MX",
                        "",
                        &["10 Mail.example.com", "20 b.example.com"],
                    )],
                    Ok(()),
                ),
                (
                    vec![values(
                        "DELETE",
                        "m.example.com",
                        "MX",
                        "",
                        &["20 b.example.com.", "10 mail.example.com."],
                    )],
                    Ok(()),
                ),
                (
                    vec![
                        a("CREATE", "x", "", "192.0.2.1"),
                        values(
                            "CREATE",
                            "d.example.com",
                            "A",
                            "",
                            &["192.0.2.1", "192.0.2.1"],
                        ),
                    ],
                    refused("Duplicate Resource Record: '192.0.2.1'"),
                ),
            ],
        ),
        case(
            "answers are values or an alias",
            vec![
                (
                    vec![change("CREATE", "x.example.com", "A", "")],
                    invalid(
                        "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found none in Change with [Action=CREATE, Name=x.example.com, Type=A, SetIdentifier=null]",
                    ),
                ),
                (
                    vec![change("CREATE", "x.example.com", "A", "<TTL>60</TTL>")],
                    invalid("but found none"),
                ),
                (vec![], invalid("length greater than or equal to 1")),
            ],
        ),
    ]
}

fn alias_cases(zone: &str) -> Vec<Case> {
    let lattice = crate::alias::LATTICE_ZONE;
    let service = "web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-west-2.on.aws";
    vec![
        case(
            "an alias's target is there, with its type",
            vec![
                (
                    vec![alias("CREATE", "x.example.com", "A", zone, "t.example.com")],
                    refused("Tried to create an alias that targets t.example.com., type A in zone"),
                ),
                (
                    vec![
                        alias("CREATE", "x.example.com", "A", zone, "t.example.com"),
                        a("CREATE", "t", "", "192.0.2.1"),
                    ],
                    Ok(()),
                ),
                (
                    vec![alias(
                        "CREATE",
                        "y.example.com",
                        "AAAA",
                        zone,
                        "t.example.com",
                    )],
                    refused("that target was not found"),
                ),
                (
                    vec![alias("CREATE", "y.example.com", "A", zone, "t.example.org")],
                    refused("does not lie within the target zone"),
                ),
                (
                    vec![alias(
                        "CREATE",
                        "y.example.com",
                        "A",
                        "ZUNKNOWN",
                        "t.example.org",
                    )],
                    refused("does not lie within the target zone"),
                ),
                (
                    vec![alias("CREATE", LOOKUP, "A", zone, "x.example.com")],
                    Ok(()),
                ),
                (
                    vec![alias("UPSERT", "x.example.com", "A", zone, "x.example.com")],
                    refused("the alias itself"),
                ),
            ],
        ),
        case(
            "an alias leads to services",
            vec![
                (vec![alias("CREATE", LOOKUP, "A", lattice, service)], Ok(())),
                (
                    vec![alias("CREATE", "s.example.com", "TXT", lattice, service)],
                    refused("does not lie within"),
                ),
                (
                    vec![alias(
                        "CREATE",
                        "s.example.com",
                        "A",
                        lattice,
                        "example.net",
                    )],
                    refused("does not lie within"),
                ),
            ],
        ),
    ]
}

#[tokio::test]
async fn batches_are_taken_or_refused_as_aws_does() {
    let mut cases = routing_cases();
    cases.extend(name_cases());
    for case in cases {
        let world = World::new();
        let zone = world.zone("example.com").await;
        run(&world, &zone, case).await;
    }
    for at in 0..2 {
        let world = World::new();
        let zone = world.zone("example.com").await;
        run(&world, &zone, alias_cases(&zone).swap_remove(at)).await;
    }
    for at in 0..2 {
        let world = World::new();
        let zone = world.zone("example.com").await;
        let check = world
            .check("<Type>HTTP</Type><FullyQualifiedDomainName>a.example.net</FullyQualifiedDomainName>")
            .await;
        run(&world, &zone, failover_cases(&zone, &check).swap_remove(at)).await;
    }
}

async fn run(world: &World, zone: &str, case: Case) {
    for (at, (batch, want)) in case.batches.into_iter().enumerate() {
        let before = world.listed(zone).await;
        let answer = world.change(zone, &batch).await;
        let name = case.name;
        match want {
            Ok(()) => assert_eq!(answer.status, 200, "{name}, batch {at}: {answer:?}"),
            Err((code, text)) => {
                assert_eq!(
                    answer.text("Error/Code"),
                    code,
                    "{name}, batch {at}: {answer:?}"
                );
                let message = answer.text("Error/Message");
                assert!(message.contains(text), "{name}, batch {at}: {message}");
                assert_eq!(world.listed(zone).await, before, "{name}, batch {at}");
            }
        }
    }
}

#[tokio::test]
async fn the_feed_has_what_was_changed() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let check = world
        .check("<Type>HTTP</Type><FullyQualifiedDomainName>a.b</FullyQualifiedDomainName>")
        .await;
    let with = |id: &str, side: &str| {
        let more = set(
            id,
            &format!("<Failover>{side}</Failover><HealthCheckId>{check}</HealthCheckId>"),
        );
        values(
            "CREATE",
            "app.example.com",
            "CNAME",
            &more,
            &["a.example.net"],
        )
    };
    world
        .change(&zone, &[with("p", "PRIMARY"), with("s", "SECONDARY")])
        .await
        .succeeds();
    let wild = values("CREATE", "*.example.com", "TXT", "", &["\"&lt;x&gt;\""]);
    world.change(&zone, &[wild]).await.succeeds();
    let snapshot = world.snapshot();
    let want = BTreeMap::from([("CNAME".to_owned(), vec!["p".to_owned(), "s".to_owned()])]);
    assert_eq!(fed(&snapshot, &zone, "app.example.com."), want);
    assert_eq!(fed(&snapshot, &zone, "\\052.example.com.").len(), 1);
    // A check that is deleted is as none.
    world
        .call("DELETE", &format!("healthcheck/{check}"), "")
        .await
        .succeeds();
    let snapshot = world.snapshot();
    let sets = &snapshot.records[&(zone.parse().unwrap(), "app.example.com.".to_owned())]["CNAME"];
    assert!(sets.iter().all(|set| set.health_check.is_none()));
    let more = set(
        "t",
        &format!("<Failover>PRIMARY</Failover><HealthCheckId>{check}</HealthCheckId>"),
    );
    let refused = world
        .change(&zone, &[a("CREATE", "z", &more, "192.0.2.1")])
        .await;
    refused.fails(404, "NoSuchHealthCheck", &check);
}

#[tokio::test]
async fn weighted_sets_take_the_ttl_that_was_written_last() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    world
        .change(&zone, &[weighted("CREATE", "a", 1)])
        .await
        .succeeds();
    let other = weighted("CREATE", "b", 1).replace("<TTL>60<", "<TTL>5<");
    world.change(&zone, &[other]).await.succeeds();
    let listed = world
        .get(&format!(
            "hostedzone/{zone}/rrset?name=w.example.com&maxitems=2"
        ))
        .await;
    assert_eq!(
        listed.all("ResourceRecordSets/ResourceRecordSet", "TTL"),
        ["5", "5"]
    );
}

#[tokio::test]
async fn an_upsert_counts_twice() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let batch = |action: &str, count: usize| -> Vec<String> {
        (0..count)
            .map(|n| a(action, &format!("n{n}"), "", "192.0.2.1"))
            .collect()
    };
    let text = |action: &str, count: usize| -> Vec<String> {
        let value = format!("\"{}\"", "x".repeat(198));
        (0..count)
            .map(|n| values(action, &format!("t{n}.example.com"), "TXT", "", &[&value]))
            .collect()
    };
    for (batch, want) in [
        (
            batch("CREATE", 1001),
            Some("Number of records limit of 1000 exceeded."),
        ),
        (
            batch("UPSERT", 501),
            Some("Number of records limit of 1000 exceeded."),
        ),
        (batch("UPSERT", 500), None),
        (
            text("UPSERT", 81),
            Some("Number of characters limit of 32000 exceeded."),
        ),
        (text("UPSERT", 80), None),
    ] {
        let answer = world.change(&zone, &batch).await;
        match want {
            Some(text) => answer.fails(400, "InvalidChangeBatch", text),
            None => {
                answer.succeeds();
            }
        }
    }
    let extended = World::extended();
    let zone = extended.zone("example.com").await;
    extended
        .change(&zone, &batch("UPSERT", 1001))
        .await
        .succeeds();
}

#[tokio::test]
async fn a_zone_can_be_asked_what_it_would_answer() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let check = world
        .check("<Type>HTTP</Type><FullyQualifiedDomainName>a.b</FullyQualifiedDomainName>")
        .await;
    let side = |id: &str, side: &str, target: &str| {
        let more = format!("<Failover>{side}</Failover><HealthCheckId>{check}</HealthCheckId>");
        values(
            "CREATE",
            "app.example.com",
            "CNAME",
            &set(id, &more),
            &[target],
        )
    };
    let second = set("s", "<Failover>SECONDARY</Failover>");
    let batch = [
        side("p", "PRIMARY", "one.example.net"),
        values(
            "CREATE",
            "app.example.com",
            "CNAME",
            &second,
            &["two.example.net"],
        ),
        values("CREATE", "a.example.com", "A", "", &["192.0.2.1"]),
    ];
    world.change(&zone, &batch).await.succeeds();
    let ask = |name: &'static str, kind: &'static str| {
        let path = format!("testdnsanswer?hostedzoneid={zone}&recordname={name}&recordtype={kind}");
        let world = &world;
        async move { world.get(&path).await }
    };
    let data = "RecordData/RecordDataEntry";
    let healthy = ask("app.example.com", "CNAME").await;
    assert_eq!(healthy.text(data).trim_end_matches('.'), "one.example.net");
    world.observe(|observed| {
        let seen = lath_feed::CheckObserved {
            healthy: false,
            since: lath_model::Timestamp::default(),
            quorum: true,
            observers: BTreeMap::new(),
        };
        observed.health_checks.insert(check.parse().unwrap(), seen);
    });
    let failed = ask("app.example.com", "CNAME").await;
    assert_eq!(failed.text(data).trim_end_matches('.'), "two.example.net");
    assert_eq!(ask("a.example.com", "A").await.text(data), "192.0.2.1");
    assert_eq!(
        ask("b.example.com", "A").await.text("ResponseCode"),
        "NXDOMAIN"
    );
    assert_eq!(
        ask("a.example.com", "TXT").await.text("ResponseCode"),
        "NOERROR"
    );
    ask("example.org", "A")
        .await
        .fails(400, "InvalidInput", "example.org");
}

#[tokio::test]
async fn strings_are_kept_as_written_and_equal_ones_are_the_same() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let txt = |action: &str, value: &str| values(action, "t.example.com", "TXT", "", &[value]);
    let written = "\"v=DKIM1\\; k=rsa\\;\"";
    world
        .change(&zone, &[txt("CREATE", written)])
        .await
        .succeeds();
    let listed = world.get(&format!("hostedzone/{zone}/rrset")).await;
    assert!(listed.raw.contains("v=DKIM1\\; k=rsa\\;"), "{listed:?}");
    let twice = values(
        "CREATE",
        "u.example.com",
        "TXT",
        "",
        &[written, "\"v=DKIM1; k=rsa;\""],
    );
    world.change(&zone, &[twice]).await.fails(
        400,
        "InvalidChangeBatch",
        "Duplicate Resource Record",
    );
    world
        .change(&zone, &[txt("DELETE", "\"v=DKIM1; k=rsa;\"")])
        .await
        .succeeds();
}
