//! Quotas, tokens, pages, and many callers at once.

use lath_control::Mode;

use super::*;

#[tokio::test]
async fn strict_mode_keeps_quotas_and_extended_mode_has_none() {
    for (mode, want) in [(Mode::Strict, 402), (Mode::Extended, 201)] {
        let world = World::with(|cell| cell.mode = mode).await;
        let service = world.active_service("web").await;
        for port in [80, 81] {
            let name = format!("port-{port}");
            world
                .listener(&service, &name, port, fixed(404))
                .await
                .is(201, "");
        }
        let third = world.listener(&service, "third", 82, fixed(404)).await;
        assert_eq!(third.status.as_u16(), want);
        if mode == Mode::Strict {
            third.is(402, "ServiceQuotaExceededException");
            assert_eq!(third.text("quotaCode"), "L-D64E952E");
            assert_eq!(third.text("serviceCode"), "vpc-lattice");
            assert_eq!(third.text("resourceType"), "LISTENER");
            let list = world.get(&format!("/services/{service}/listeners")).await;
            assert_eq!(list.body["items"].as_array().unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn ten_rules_beside_the_default_one() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let listener = world.listener(&service, "http", 80, fixed(404)).await.id();
    let path = format!("/services/{service}/listeners/{listener}/rules");
    for priority in 1..=11 {
        let rule = json!({
            "name": format!("rule{priority}"), "priority": priority, "action": fixed(500),
            "match": { "httpMatch": { "method": "GET" } }
        });
        let want = if priority <= 10 { 201 } else { 402 };
        assert_eq!(world.post(&path, rule).await.status.as_u16(), want);
    }
}

#[tokio::test]
async fn a_group_serves_one_service() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    let (one, two) = (
        world.active_service("one").await,
        world.active_service("two").await,
    );
    world
        .listener(&one, "http", 80, forward(&group))
        .await
        .is(201, "");
    world
        .listener(&one, "more", 81, forward(&group))
        .await
        .is(201, "");
    let second = world.listener(&two, "http", 80, forward(&group)).await;
    second.is(409, "ConflictException");
    let shown = world.get(&format!("/targetgroups/{group}")).await;
    assert_eq!(
        shown.body["serviceArns"],
        json!([format!("{ARN}service/{one}")])
    );
}

#[tokio::test]
async fn http2_groups_need_https_listeners() {
    let world = World::new().await;
    let config = json!({ "protocol": "HTTP", "protocolVersion": "HTTP2", "vpcIdentifier": VPC_A });
    let group = json!({ "name": "h2c", "type": "IP", "config": config });
    let made = world.post("/targetgroups", group).await;
    assert_eq!(made.body["config"]["healthCheck"]["enabled"], false);
    world.settle().await;
    let service = world.active_service("web").await;
    let got = world
        .listener(&service, "http", 80, forward(&made.id()))
        .await;
    got.is(400, "ValidationException");
}

#[tokio::test]
async fn a_repeated_token_makes_nothing_new() {
    let world = World::new().await;
    let body = json!({ "name": "web", "clientToken": "t1", "tags": { "a": "b" } });
    let first = world.post("/services", body.clone()).await;
    let again = world.post("/services", body).await;
    assert_eq!((again.status, again.id()), (first.status, first.id()));
    let other = json!({ "name": "api", "clientToken": "t1" });
    world
        .post("/services", other)
        .await
        .is(409, "ConflictException");
    let elsewhere = json!({ "name": "web", "clientToken": "t1" });
    world.post("/servicenetworks", elsewhere).await.is(201, "");
    assert_eq!(
        world.get("/services").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn pages_join_to_the_whole() {
    let world = World::new().await;
    for n in 0..7 {
        world.network(&format!("net-{n}")).await;
    }
    let (mut names, mut path) = (Vec::new(), "/servicenetworks?maxResults=3".to_owned());
    loop {
        let page = world.get(&path).await;
        page.is(200, "");
        let items = page.body["items"].as_array().unwrap().clone();
        names.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        let token = page.text("nextToken");
        if token.is_empty() {
            break;
        }
        path = format!("/servicenetworks?maxResults=3&nextToken={token}");
    }
    names.sort();
    assert_eq!(
        names,
        (0..7).map(|n| format!("net-{n}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn of_many_callers_with_one_name_one_wins() {
    let world = Arc::new(World::new().await);
    let calls = (0..16).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            world
                .post("/services", json!({ "name": "web" }))
                .await
                .status
        })
    });
    let mut created = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap().as_u16() {
            201 => created += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn a_custom_name_occurs_once_in_a_network() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    for (name, want) in [("one", 200), ("two", 409)] {
        let body = json!({ "name": name, "customDomainName": "App.example.com" });
        let service = world.post("/services", body).await.id();
        world.settle().await;
        let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
        let got = world.post("/servicenetworkserviceassociations", body).await;
        assert_eq!(got.status.as_u16(), want, "{got:?}");
    }
}

#[tokio::test]
async fn health_check_members_are_kept_changed_and_set_back() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    let path = format!("/targetgroups/{group}");
    let defaults = json!({
        "enabled": true, "protocol": "HTTP", "protocolVersion": "HTTP1", "path": "/",
        "healthCheckIntervalSeconds": 30, "healthCheckTimeoutSeconds": 5,
        "healthyThresholdCount": 5, "unhealthyThresholdCount": 2, "matcher": { "httpCode": "200" }
    });
    let shown = world.get(&path).await;
    assert_eq!(shown.body["config"]["healthCheck"], defaults);
    for (change, member, want) in [
        (
            json!({ "path": "/health", "port": 9090 }),
            "path",
            json!("/health"),
        ),
        (
            json!({ "healthyThresholdCount": 2 }),
            "path",
            json!("/health"),
        ),
        (
            json!({ "healthyThresholdCount": 0 }),
            "healthyThresholdCount",
            json!(5),
        ),
        (json!({ "path": "" }), "path", json!("/")),
        (json!({ "port": 0 }), "port", Value::Null),
        (json!({ "enabled": false }), "enabled", json!(false)),
    ] {
        let got = world.patch(&path, json!({ "healthCheck": change })).await;
        got.is(200, "");
        assert_eq!(got.body["config"]["healthCheck"][member], want);
    }
}
