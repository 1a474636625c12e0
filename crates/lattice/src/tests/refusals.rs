//! Bad input for every operation, with the code and status that AWS answers.

use super::*;

const SVC: &str = "svc-0123456789abcdef0";
const TG: &str = "tg-0123456789abcdef0";
const SN: &str = "sn-0123456789abcdef0";
const LISTENER: &str = "listener-0123456789abcdef0";
const RULE: &str = "rule-0123456789abcdef0";

const V: (u16, &str) = (400, "ValidationException");
const N: (u16, &str) = (404, "ResourceNotFoundException");
const C: (u16, &str) = (409, "ConflictException");

/// Calls and checks each row: method, path, body, what is wanted.
async fn check(world: &World, rows: Vec<(&str, String, Value, (u16, &str))>) {
    for (method, path, body, want) in rows {
        let got = world.call(method, &path, body.clone()).await;
        let seen = (got.status.as_u16(), got.code.as_str());
        assert_eq!(seen, want, "{method} {path} {body}: {got:?}");
        for member in match want.1 {
            "ValidationException" => vec!["message", "reason"],
            _ => vec!["message", "resourceId", "resourceType"],
        } {
            assert!(!got.text(member).is_empty(), "{method} {path}: {got:?}");
        }
    }
}

fn row<'a>(
    method: &'a str,
    path: impl Into<String>,
    body: Value,
    want: (u16, &'a str),
) -> (&'a str, String, Value, (u16, &'a str)) {
    (method, path.into(), body, want)
}

#[tokio::test]
async fn service_networks() {
    let world = World::new().await;
    world.network("mesh").await;
    let none = Value::Null;
    let tags = json!({ "name": "net", "tags": { "aws:x": "y" } });
    check(
        &world,
        vec![
            row("POST", "/servicenetworks", json!({}), V),
            row("POST", "/servicenetworks", json!({ "name": "A--" }), V),
            row(
                "POST",
                "/servicenetworks",
                json!({ "name": "net", "authType": "X" }),
                V,
            ),
            row("POST", "/servicenetworks", tags, V),
            row("POST", "/servicenetworks", json!({ "name": "mesh" }), C),
            row("GET", "/servicenetworks/sn-1", none.clone(), V),
            row("GET", format!("/servicenetworks/{SN}"), none.clone(), N),
            row("GET", "/servicenetworks?maxResults=0", none.clone(), V),
            row("GET", "/servicenetworks?nextToken=junk", none.clone(), V),
            row("PATCH", format!("/servicenetworks/{SN}"), json!({}), V),
            row(
                "PATCH",
                format!("/servicenetworks/{SN}"),
                json!({ "authType": "NONE" }),
                N,
            ),
            row("DELETE", format!("/servicenetworks/{SN}"), none.clone(), N),
        ],
    )
    .await;
}

#[tokio::test]
async fn services() {
    let world = World::new().await;
    world.active_service("web").await;
    let none = Value::Null;
    let foreign = segment(&format!(
        "arn:aws:vpc-lattice:eu-west-1:123456789012:service/{SVC}"
    ));
    let domain = json!({ "name": "api", "customDomainName": "no spaces" });
    let certificate = "arn:aws:acm:us-east-1:123456789012:certificate/1";
    let certificate = json!({ "name": "api", "certificateArn": certificate });
    check(
        &world,
        vec![
            row("POST", "/services", json!({ "name": "svc-web" }), V),
            row("POST", "/services", json!({ "name": "x".repeat(41) }), V),
            row("POST", "/services", domain, V),
            row("POST", "/services", certificate, V),
            row("POST", "/services", json!({ "name": "web" }), C),
            row("GET", "/services/web", none.clone(), V),
            row("GET", format!("/services/{SVC}"), none.clone(), N),
            row("GET", format!("/services/{foreign}"), none.clone(), N),
            row("GET", "/services?maxResults=101", none.clone(), V),
            row(
                "PATCH",
                format!("/services/{SVC}"),
                json!({ "authType": "NONE" }),
                N,
            ),
            row("DELETE", format!("/services/{SVC}"), none, N),
        ],
    )
    .await;
}

#[tokio::test]
async fn listeners() {
    let world = World::new().await;
    let young = world
        .post("/services", json!({ "name": "young" }))
        .await
        .id();
    let early = world.listener(&young, "http", 80, fixed(404)).await;
    early.is(409, "ConflictException");
    let message = "Invalid resource status for this operation, resource id";
    assert!(early.text("message").starts_with(message), "{early:?}");

    let service = world.active_service("web").await;
    world
        .listener(&service, "http", 80, fixed(404))
        .await
        .is(201, "");
    let at = format!("/services/{service}/listeners");
    let body = |name: &str, protocol: &str, port: u32, action: Value| json!({ "name": name, "protocol": protocol, "port": port, "defaultAction": action });
    let both = json!({ "fixedResponse": { "statusCode": 404 }, "forward": { "targetGroups": [] } });
    let none = Value::Null;
    check(
        &world,
        vec![
            row("POST", &at, json!({}), V),
            row(
                "POST",
                &at,
                body("tls", "TLS_PASSTHROUGH", 443, fixed(404)),
                V,
            ),
            row("POST", &at, body("big", "HTTP", 65536, fixed(404)), V),
            row("POST", &at, body("code", "HTTP", 81, fixed(200)), V),
            row("POST", &at, body("both", "HTTP", 81, both), V),
            row("POST", &at, body("gone", "HTTP", 81, forward(TG)), N),
            row("POST", &at, body("http", "HTTP", 81, fixed(404)), C),
            row("POST", &at, body("other", "HTTP", 80, fixed(404)), C),
            row(
                "POST",
                format!("/services/{SVC}/listeners"),
                body("x-y", "HTTP", 80, fixed(404)),
                N,
            ),
            row("GET", format!("/services/{SVC}/listeners"), none.clone(), N),
            row("GET", format!("{at}/{LISTENER}"), none.clone(), N),
            row("GET", format!("{at}/x"), none.clone(), V),
            row("PATCH", format!("{at}/{LISTENER}"), json!({}), V),
            row(
                "PATCH",
                format!("{at}/{LISTENER}"),
                json!({ "defaultAction": fixed(404) }),
                N,
            ),
            row("DELETE", format!("{at}/{LISTENER}"), none, N),
        ],
    )
    .await;
}

#[tokio::test]
async fn rules() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let listener = world.listener(&service, "http", 80, fixed(404)).await.id();
    let at = format!("/services/{service}/listeners/{listener}/rules");
    let list = world.get(&at).await;
    let default = list.body["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list.body["items"][0]["isDefault"], true);
    let method = json!({ "httpMatch": { "method": "GET" } });
    let body = |name: &str, priority: u32, conditions: &Value| json!({ "name": name, "priority": priority, "match": conditions, "action": fixed(500) });
    world.post(&at, body("one", 1, &method)).await.is(201, "");
    let empty = json!({ "httpMatch": {} });
    let path = json!({ "httpMatch": { "pathMatch": { "match": { "exact": "no-slash" } } } });
    let two = json!({ "httpMatch": { "pathMatch": { "match": { "exact": "/", "prefix": "/" } } } });
    let header = json!({ "name": "x", "match": { "exact": "y" } });
    let headers = json!({ "httpMatch": { "headerMatches": vec![header; 6] } });
    let none = Value::Null;
    let change = json!({ "priority": 7 });
    let batch = json!({ "rules": [{ "ruleIdentifier": RULE, "priority": 0 }] });
    check(
        &world,
        vec![
            row("POST", &at, json!({}), V),
            row("POST", &at, body("two", 0, &method), V),
            row("POST", &at, body("two", 101, &method), V),
            row("POST", &at, body("two", 2001, &method), V),
            row("POST", &at, body("two", 2, &empty), V),
            row("POST", &at, body("two", 2, &path), V),
            row("POST", &at, body("two", 2, &two), V),
            row("POST", &at, body("two", 2, &headers), V),
            row("POST", &at, body("two", 1, &method), C),
            row("POST", &at, body("one", 2, &method), C),
            row("GET", format!("{at}/{RULE}"), none.clone(), N),
            row(
                "GET",
                format!("/services/{service}/listeners/{LISTENER}/rules"),
                none.clone(),
                N,
            ),
            row("PATCH", format!("{at}/{RULE}"), change.clone(), N),
            row("PATCH", format!("{at}/{default}"), change, V),
            row("PATCH", &at, json!({ "rules": [] }), V),
            row("PATCH", &at, batch, V),
            row("DELETE", format!("{at}/{RULE}"), none.clone(), N),
            row("DELETE", format!("{at}/{default}"), none, V),
        ],
    )
    .await;
}

#[tokio::test]
async fn target_groups() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    let at = "/targetgroups";
    let with = |kind: &str, config: Value| json!({ "name": "new", "type": kind, "config": config });
    let http = |more: Value| {
        let mut config = json!({ "protocol": "HTTP", "port": 80, "vpcIdentifier": VPC_A });
        let config_map = config.as_object_mut().unwrap();
        config_map.extend(more.as_object().unwrap().clone());
        config
    };
    let check_of = |check: Value| with("IP", http(json!({ "healthCheck": check })));
    let checked = |more: Value| with("IP", http(more));
    let over_http = json!({ "enabled": true, "protocol": "HTTP" });
    let used = json!({ "name": "web", "type": "IP", "config": http(json!({})) });
    let no_vpc = json!({ "protocol": "HTTP", "vpcIdentifier": "vpc-0123456789abcdef0" });
    let slow = json!({ "healthCheckTimeoutSeconds": 20, "healthCheckIntervalSeconds": 10 });
    let none = Value::Null;
    check(
        &world,
        vec![
            row("POST", at, json!({ "name": "new", "type": "IP" }), V),
            row("POST", at, json!({ "name": "new", "type": "ALB" }), V),
            row(
                "POST",
                at,
                json!({ "name": "new", "type": "LAMBDA", "config": { "port": 80 } }),
                V,
            ),
            row("POST", at, with("ALB", http(json!({}))), V),
            row(
                "POST",
                at,
                with(
                    "IP",
                    http(json!({ "protocol": "TCP", "protocolVersion": "HTTP1" })),
                ),
                V,
            ),
            row(
                "POST",
                at,
                with(
                    "IP",
                    http(json!({ "protocol": "TCP", "healthCheck": { "enabled": true } })),
                ),
                V,
            ),
            row(
                "POST",
                at,
                checked(json!({ "protocol": "TCP", "healthCheck": over_http })),
                V,
            ),
            row(
                "POST",
                at,
                checked(json!({ "protocolVersion": "GRPC", "healthCheck": over_http })),
                V,
            ),
            row(
                "POST",
                at,
                with("IP", http(json!({ "ipAddressType": "IPV6" }))),
                V,
            ),
            row(
                "POST",
                at,
                with("INSTANCE", http(json!({ "ipAddressType": "IPV4" }))),
                V,
            ),
            row("POST", at, with("IP", http(json!({ "port": 0 }))), V),
            row("POST", at, with("IP", json!({ "protocol": "HTTP" })), V),
            row("POST", at, with("IP", no_vpc), N),
            row(
                "POST",
                at,
                check_of(json!({ "matcher": { "httpCode": "600" } })),
                V,
            ),
            row(
                "POST",
                at,
                check_of(json!({ "healthyThresholdCount": 1 })),
                V,
            ),
            row("POST", at, check_of(json!({ "path": "health" })), V),
            row("POST", at, check_of(json!({ "protocol": "TCP" })), V),
            row("POST", at, check_of(slow), V),
            row("POST", at, used, C),
            row("GET", format!("{at}/{TG}"), none.clone(), N),
            row("GET", "/targetgroups?vpcIdentifier=x", none.clone(), V),
            row("GET", "/targetgroups?targetGroupType=X", none.clone(), V),
            row(
                "PATCH",
                format!("{at}/{TG}"),
                json!({ "healthCheck": {} }),
                N,
            ),
            row("PATCH", format!("{at}/{group}"), json!({}), V),
            row("DELETE", format!("{at}/{TG}"), none, N),
        ],
    )
    .await;
}

#[tokio::test]
async fn targets() {
    let world = World::new().await;
    let young = json!({ "protocol": "HTTP", "vpcIdentifier": VPC_A });
    let young = json!({ "name": "young", "type": "INSTANCE", "config": young });
    let young = world.post("/targetgroups", young).await.id();
    let one = json!({ "targets": [{ "id": "10.0.0.9" }] });
    let at = |group: &str, what: &str| format!("/targetgroups/{group}/{what}");
    let early = world
        .post(&at(&young, "registertargets"), one.clone())
        .await;
    early.is(409, "ConflictException");
    world.settle().await;
    let group = world.active_group("web").await;
    let many = json!({ "targets": vec![json!({ "id": "10.0.0.9" }); 101] });
    check(
        &world,
        vec![
            row("POST", at(TG, "registertargets"), one.clone(), N),
            row(
                "POST",
                at(&group, "registertargets"),
                json!({ "targets": [] }),
                V,
            ),
            row("POST", at(&group, "registertargets"), many, V),
            row(
                "POST",
                at(&group, "registertargets"),
                json!({ "targets": [{ "port": 1 }] }),
                V,
            ),
            row("POST", at(TG, "deregistertargets"), one.clone(), N),
            row("POST", at(&group, "deregistertargets"), json!({}), V),
            row("POST", at(TG, "listtargets"), json!({}), N),
            row("POST", at(&group, "listtargets?maxResults=0"), json!({}), V),
        ],
    )
    .await;
    for (group, id, code) in [
        (&group, "10.9.0.1", "UnsupportedTarget"),
        (&group, "fd00::1", "UnsupportedTarget"),
        (&group, "web", "UnsupportedTarget"),
        (&young, "10.0.0.9", "UnsupportedTarget"),
        (&young, "i-0123456789abcdef0", "UnsupportedTarget"),
    ] {
        let body = json!({ "targets": [{ "id": id }] });
        let got = world.post(&at(group, "registertargets"), body).await;
        got.is(200, "");
        assert_eq!(got.body["unsuccessful"][0]["failureCode"], code, "{got:?}");
        assert_eq!(got.body["successful"], json!([]));
    }
    let unknown = world.post(&at(&group, "deregistertargets"), one).await;
    assert_eq!(
        unknown.body["unsuccessful"][0]["failureCode"],
        "TargetNotFound"
    );
    let good = json!({ "targets": [{ "id": INSTANCE }] });
    let good = world.post(&at(&young, "registertargets"), good).await;
    assert_eq!(
        good.body["successful"][0],
        json!({ "id": INSTANCE, "port": 80 })
    );
}

#[tokio::test]
async fn associations() {
    let world = World::new().await;
    let (network, other) = (world.network("mesh").await, world.network("other").await);
    let service = world.active_service("web").await;
    let vpcs = "/servicenetworkvpcassociations";
    let services = "/servicenetworkserviceassociations";
    let endpoints = "/servicenetworkvpcendpointassociations";
    let vpc = |network: &str, vpc: &str, groups: Value| json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": vpc, "securityGroupIds": groups });
    world
        .post(vpcs, vpc(&network, VPC_A, json!([])))
        .await
        .is(200, "");
    let pair = |network: &str, service: &str| json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
    let (none, no_vpc) = (Value::Null, "vpc-0123456789abcdef0");
    let no_group = "sg-0123456789abcdef0";
    let snva = "snva-0123456789abcdef0";
    let snsa = "snsa-0123456789abcdef0";
    check(
        &world,
        vec![
            row("POST", vpcs, json!({}), V),
            row("POST", vpcs, vpc(&network, "vpc-1", json!([])), V),
            row("POST", vpcs, vpc(&network, VPC_B, json!(vec![SG_B; 6])), V),
            row("POST", vpcs, vpc(&network, VPC_B, json!([SG_A])), V),
            row("POST", vpcs, vpc(&network, VPC_B, json!([no_group])), N),
            row("POST", vpcs, vpc(&network, no_vpc, json!([])), N),
            row("POST", vpcs, vpc(SN, VPC_B, json!([])), N),
            row("POST", vpcs, vpc(&other, VPC_A, json!([])), C),
            row("GET", format!("{vpcs}/{snva}"), none.clone(), N),
            row("GET", vpcs, none.clone(), V),
            row(
                "PATCH",
                format!("{vpcs}/{snva}"),
                json!({ "securityGroupIds": [] }),
                V,
            ),
            row(
                "PATCH",
                format!("{vpcs}/{snva}"),
                json!({ "securityGroupIds": [SG_A] }),
                N,
            ),
            row("DELETE", format!("{vpcs}/{snva}"), none.clone(), N),
            row("POST", services, pair(&network, "web"), V),
            row("POST", services, pair(SN, &service), N),
            row("POST", services, pair(&network, SVC), N),
            row("GET", format!("{services}/{snsa}"), none.clone(), N),
            row("GET", services, none.clone(), V),
            row("DELETE", format!("{services}/{snsa}"), none.clone(), N),
            row("GET", endpoints, none.clone(), V),
        ],
    )
    .await;
    let empty = world
        .get(&format!("{endpoints}?serviceNetworkIdentifier={network}"))
        .await;
    assert_eq!(empty.body, json!({ "items": [] }));
}

#[tokio::test]
async fn access_logs() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let service = "svc-0123456789abcdef0";
    let at = "/accesslogsubscriptions";
    let to =
        |destination: &str| json!({ "resourceIdentifier": network, "destinationArn": destination });
    let all = format!("{LOG_GROUP}:*");
    let made = world.post(at, to(&all)).await;
    made.is(201, "");
    assert_eq!(made.text("destinationArn"), all);
    let nowhere = "arn:aws:logs:us-east-1:123456789012:log-group:/nowhere";
    let other = world.network("other").await;
    let absent = json!({ "resourceIdentifier": other, "destinationArn": nowhere });
    let als = "als-0123456789abcdef0";
    let resources = json!({
        "resourceIdentifier": service, "destinationArn": LOG_GROUP, "serviceNetworkLogType": "RESOURCE"
    });
    let none = Value::Null;
    check(
        &world,
        vec![
            row("POST", at, json!({}), V),
            row("POST", at, to("arn:aws:s3:::bucket/and-more"), V),
            row("POST", at, resources, V),
            row(
                "POST",
                at,
                json!({ "resourceIdentifier": TG, "destinationArn": LOG_GROUP }),
                V,
            ),
            row(
                "POST",
                at,
                json!({ "resourceIdentifier": SN, "destinationArn": LOG_GROUP }),
                N,
            ),
            row("POST", at, absent, N),
            row("POST", at, to(LOG_GROUP), C),
            row("GET", at, none.clone(), V),
            row("GET", format!("{at}/{als}"), none.clone(), N),
            row(
                "PATCH",
                format!("{at}/{als}"),
                json!({ "destinationArn": LOG_GROUP }),
                N,
            ),
            row(
                "PATCH",
                format!("{at}/{als}"),
                json!({ "destinationArn": "x" }),
                V,
            ),
            row("DELETE", format!("{at}/{als}"), none, N),
        ],
    )
    .await;
    let foreign = "arn:aws:logs:us-east-1:210987654321:log-group:/lattice/web";
    let foreign = json!({ "resourceIdentifier": other, "destinationArn": foreign });
    world
        .post(at, foreign)
        .await
        .is(403, "AccessDeniedException");
}

#[tokio::test]
async fn tags() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let at = |id: &str| format!("/tags/{}", segment(&format!("{ARN}servicenetwork/{id}")));
    let none = Value::Null;
    check(
        &world,
        vec![
            row("GET", "/tags/x", none.clone(), V),
            row("GET", at(SN), none.clone(), N),
            row("POST", at(SN), json!({ "tags": { "k": "v" } }), N),
            row("POST", at(&network), json!({}), V),
            row("POST", at(&network), json!({ "tags": { "aws:k": "v" } }), V),
            row("DELETE", format!("{}?tagKeys=k", at(SN)), none, N),
        ],
    )
    .await;
    let tags = json!({ "tags": { "a": "1", "b": "2", "c": "3" } });
    world.post(&at(&network), tags).await.is(200, "");
    world
        .delete(&format!("{}?tagKeys=a&tagKeys=b", at(&network)))
        .await
        .is(200, "");
    let left = world.get(&at(&network)).await;
    assert_eq!(left.body, json!({ "tags": { "c": "3" } }));
}

#[tokio::test]
async fn every_failing_member_is_told() {
    let world = World::new().await;
    let body = json!({ "name": "A", "customDomainName": "x y", "clientToken": "" });
    let got = world.post("/services", body).await;
    got.is(400, "ValidationException");
    assert_eq!(got.text("reason"), "fieldValidationFailed");
    let fields = got.body["fieldList"].as_array().unwrap();
    let mut names: Vec<&str> = fields.iter().map(|f| f["name"].as_str().unwrap()).collect();
    names.dedup();
    assert_eq!(names, ["name", "clientToken", "customDomainName"]);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_never_panic() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let at = format!("/services/{service}/listeners");
    let wide =
        json!({ "forward": { "targetGroups": vec![json!({ "targetGroupIdentifier": TG }); 500] } });
    for (path, body) in [
        ("/services".to_owned(), json!([])),
        ("/services".to_owned(), json!({ "name": 7 })),
        (
            "/services".to_owned(),
            json!({ "name": "x".repeat(100_000) }),
        ),
        ("/services".to_owned(), json!({ "name": "é\u{0}\n" })),
        ("/services".to_owned(), json!({ "name": "abc", "tags": [] })),
        (
            at.clone(),
            json!({ "name": "abc", "protocol": "HTTP", "defaultAction": wide }),
        ),
        (
            at.clone(),
            json!({ "name": "abc", "protocol": "HTTP", "port": i64::MAX, "defaultAction": {} }),
        ),
        (
            at.clone(),
            json!({ "name": "abc", "protocol": "HTTP", "port": -1, "defaultAction": "x" }),
        ),
        ("/services/%00/listeners".to_owned(), json!({})),
        (
            "/services/arn%3Aaws%3A%3A%3A%3A/listeners".to_owned(),
            json!({}),
        ),
        ("/targetgroups/%F0%28/registertargets".to_owned(), json!({})),
    ] {
        let got = world.post(&path, body).await;
        assert!(got.status.is_client_error(), "{path}: {got:?}");
    }
}
