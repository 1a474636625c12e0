//! Health checks.

use super::*;

use lath_feed::{CheckObserved, Judge, ObserverReport};
use lath_model::Timestamp;

const NAME: &str = "<FullyQualifiedDomainName>web.example.com</FullyQualifiedDomainName>";

#[tokio::test]
async fn configurations_are_checked_and_completed() {
    let http = |more: &str| format!("<Type>HTTP</Type>{NAME}{more}");
    let regions = |list: &[&str]| -> String {
        let list: String = list
            .iter()
            .map(|r| format!("<Region>{r}</Region>"))
            .collect();
        format!("<Regions>{list}</Regions>")
    };
    for (config, want) in [
        (http(""), Ok("/ 80 30 3")),
        (http("<ResourcePath>health?x=1</ResourcePath><Port>8080</Port><RequestInterval>10</RequestInterval><FailureThreshold>1</FailureThreshold>"), Ok("/health?x=1 8080 10 1")),
        (format!("<Type>HTTPS</Type>{NAME}"), Ok("/ 443 30 3")),
        ("<Type>TCP</Type><IPAddress>8.8.8.8</IPAddress><Port>53</Port>".into(), Ok("/ 53 30 3")),
        (format!("<Type>HTTP_STR_MATCH</Type>{NAME}<SearchString>ok</SearchString>"), Ok("/ 80 30 3")),
        ("<Type>HTTP</Type>".into(), Err("Either IPAddress or FullyQualifiedDomainName")),
        (format!("<Type>TCP</Type>{NAME}"), Err("must have a port")),
        (format!("<Type>TCP</Type><IPAddress>8.8.8.8</IPAddress><Port>1</Port>{NAME}"), Err("TCP health checks that have IP address must not have a fully qualified domain name specified.")),
        (format!("<Type>TCP</Type><Port>1</Port>{NAME}<ResourcePath>/</ResourcePath>"), Err("resource path")),
        (format!("<Type>HTTP_STR_MATCH</Type>{NAME}"), Err("must have a search string")),
        (http("<SearchString>x</SearchString>"), Err("Only string match")),
        (http("<RequestInterval>20</RequestInterval>"), Err("10 or 30")),
        (http("<FailureThreshold>11</FailureThreshold>"), Err("less than or equal to 10")),
        (http("<Port>0</Port>"), Err("greater than or equal to 1")),
        (http("<MeasureLatency>true</MeasureLatency>"), Err("MeasureLatency")),
        (http("<MeasureLatency>false</MeasureLatency>"), Ok("/ 80 30 3")),
        (http("<EnableSNI>true</EnableSNI>"), Err("EnableSNI")),
        (http("<IPAddress>10.1.2.3</IPAddress>"), Err("private")),
        (http("<IPAddress>169.254.171.1</IPAddress>"), Err("local")),
        (http("<IPAddress>100.64.0.1</IPAddress>"), Err("nonroutable")),
        (http("<IPAddress>::1</IPAddress>"), Err("local")),
        (http("<IPAddress>1.2.3</IPAddress>"), Err("regular expression")),
        (http("<FullyQualifiedDomainName>a</FullyQualifiedDomainName>"), Err("")),
        (http(&regions(&["us-east-1", "us-west-2"])), Err("greater than or equal to 3")),
        (http(&regions(&["us-east-1", "us-west-2", "eu-north-1"])), Err("eu-north-1")),
        (http(&regions(&["us-east-1", "us-west-2", "eu-west-1"])), Ok("/ 80 30 3")),
        (http("<AlarmIdentifier><Region>us-east-1</Region><Name>n</Name></AlarmIdentifier>"), Err("Basic health checks must not have an metric region specified.")),
        ("<Type>CLOUDWATCH_METRIC</Type>".into(), Err("CLOUDWATCH_METRIC")),
        ("<Type>RECOVERY_CONTROL</Type>".into(), Err("RECOVERY_CONTROL")),
        ("<Type>CALCULATED</Type>".into(), Err("health threshold")),
        ("<Type>CALCULATED</Type><HealthThreshold>1</HealthThreshold><Port>1</Port>".into(), Err("endpoint")),
        ("<Type>CALCULATED</Type><HealthThreshold>257</HealthThreshold>".into(), Err("256")),
        ("<Type>CALCULATED</Type><HealthThreshold>1</HealthThreshold><ChildHealthChecks><ChildHealthCheck>x</ChildHealthCheck></ChildHealthChecks>".into(), Err("does not exist")),
    ] {
        let world = World::new();
        let answer = world.create_check(&config).await;
        match want {
            Err(text) => {
                assert_eq!(answer.status, 400, "{config}: {answer:?}");
                assert!(answer.text("Error/Message").contains(text), "{config}: {answer:?}");
            }
            Ok(want) => {
                assert_eq!(answer.status, 201, "{config}: {answer:?}");
                let id = answer.text("HealthCheck/Id");
                let check = &world.snapshot().health_checks[&id.parse().unwrap()];
                let Judge::Endpoint(endpoint) = &check.judge else {
                    panic!("{check:?}");
                };
                let seconds = endpoint.interval.as_secs();
                let got = format!("{} {} {seconds} {}", endpoint.path, endpoint.port, endpoint.threshold);
                assert_eq!(got, want, "{config}");
            }
        }
    }
}

#[tokio::test]
async fn an_extended_cell_probes_private_addresses() {
    let world = World::extended();
    world
        .check("<Type>HTTP</Type><IPAddress>10.1.2.3</IPAddress>")
        .await;
}

#[tokio::test]
async fn a_caller_reference_is_for_one_check() {
    let world = World::new();
    let create = |port: u16| {
        let body = format!(
            "<CallerReference>r</CallerReference><HealthCheckConfig><Type>HTTP</Type>{NAME}<Port>{port}</Port></HealthCheckConfig>"
        );
        let world = &world;
        async move { world.post("healthcheck", "CreateHealthCheck", &body).await }
    };
    let first = create(80).await.text("HealthCheck/Id");
    assert_eq!(create(80).await.text("HealthCheck/Id"), first);
    create(81)
        .await
        .fails(409, "HealthCheckAlreadyExists", "caller reference");
    world
        .call("DELETE", &format!("healthcheck/{first}"), "")
        .await
        .succeeds();
    create(80)
        .await
        .fails(409, "HealthCheckAlreadyExists", "deleted");
    world
        .get(&format!("healthcheck/{first}"))
        .await
        .fails(404, "NoSuchHealthCheck", &first);
}

#[tokio::test]
async fn updates_raise_the_version() {
    let world = World::new();
    let id = world
        .check(&format!(
            "<Type>HTTP</Type>{NAME}<ResourcePath>/a</ResourcePath>"
        ))
        .await;
    let path = format!("healthcheck/{id}");
    let update = |body: &'static str| {
        let (world, path) = (&world, path.clone());
        async move { world.post(&path, "UpdateHealthCheck", body).await }
    };
    let done = update("<HealthCheckVersion>1</HealthCheckVersion><FailureThreshold>5</FailureThreshold><Inverted>true</Inverted>").await;
    assert_eq!(done.text("HealthCheck/HealthCheckVersion"), "2");
    assert_eq!(
        done.text("HealthCheck/HealthCheckConfig/ResourcePath"),
        "/a"
    );
    let stale = update("<HealthCheckVersion>1</HealthCheckVersion>").await;
    stale.fails(409, "HealthCheckVersionMismatch", "HealthCheckVersion");
    let reset = update("<ResetElements><ResettableElementName>ResourcePath</ResettableElementName></ResetElements>").await;
    assert_eq!(
        reset
            .succeeds()
            .text("HealthCheck/HealthCheckConfig/ResourcePath"),
        ""
    );
    update("<IPAddress>8.8.8.8</IPAddress>").await.fails(
        400,
        "InvalidInput",
        "without an IP address",
    );
    let fed = world.snapshot().health_checks[&id.parse().unwrap()].clone();
    assert_eq!((fed.version, fed.inverted, fed.disabled), (3, true, false));
}

#[tokio::test]
async fn a_child_is_not_deleted_before_its_parent() {
    let world = World::new();
    let child = world.check(&format!("<Type>HTTP</Type>{NAME}")).await;
    let config = format!(
        "<Type>CALCULATED</Type><HealthThreshold>1</HealthThreshold><ChildHealthChecks><ChildHealthCheck>{child}</ChildHealthCheck></ChildHealthChecks>"
    );
    let parent = world.check(&config).await;
    let nested = config.replace(&child, &parent);
    world
        .create_check(&nested)
        .await
        .fails(400, "InvalidInput", "calculated");
    world
        .call("DELETE", &format!("healthcheck/{child}"), "")
        .await
        .fails(400, "HealthCheckInUse", &parent);
    world
        .get(&format!("healthcheck/{parent}/status"))
        .await
        .fails(400, "InvalidInput", "calculated");
    let Judge::Calculated {
        threshold,
        children,
    } = world.snapshot().health_checks[&parent.parse().unwrap()]
        .judge
        .clone()
    else {
        panic!("not calculated");
    };
    assert_eq!((threshold, children.len()), (1, 1));
    world
        .call("DELETE", &format!("healthcheck/{parent}"), "")
        .await
        .succeeds();
    world
        .call("DELETE", &format!("healthcheck/{child}"), "")
        .await
        .succeeds();
    assert_eq!(
        world.get("healthcheckcount").await.text("HealthCheckCount"),
        "0"
    );
}

#[tokio::test]
async fn observers_are_quoted() {
    let world = World::new();
    let id = world.check(&format!("<Type>HTTP</Type>{NAME}")).await;
    let list = "HealthCheckObservations/HealthCheckObservation";
    let path = format!("healthcheck/{id}/status");
    assert!(world.get(&path).await.all(list, "Region").is_empty());
    let now = Timestamp::from_millis(1_700_000_000_000);
    let report = |version| ObserverReport {
        healthy: true,
        success: true,
        status: "Success: HTTP Status Code 200, OK".into(),
        checked: now,
        last_failure: Some(("Failure: Connection timed out".into(), now)),
        address: None,
        version,
    };
    let observers = BTreeMap::from([
        ("us-east-1".to_owned(), report(1)),
        ("us-west-2".to_owned(), report(0)),
    ]);
    world.observe(|observed| {
        let seen = CheckObserved {
            healthy: true,
            since: now,
            quorum: true,
            observers,
        };
        observed.health_checks.insert(id.parse().unwrap(), seen);
    });
    let status = world.get(&path).await;
    assert_eq!(status.all(list, "Region"), ["us-east-1"]);
    assert_eq!(status.all(list, "IPAddress"), ["127.0.0.1"]);
    assert!(status.raw.contains("<Status>Success: HTTP Status Code 200, OK</Status><CheckedTime>2023-11-14T22:13:20Z</CheckedTime>"), "{}", status.raw);
    let reason = world
        .get(&format!("healthcheck/{id}/lastfailurereason"))
        .await;
    assert!(reason.raw.contains("Failure: Connection timed out"));
    let ranges = world.get("checkeripranges").await;
    assert!(
        ranges
            .raw
            .contains("<CheckerIpRanges><member>127.0.0.1/32</member></CheckerIpRanges>")
    );
}
