//! Lists, filters and updates that succeed.

use super::*;

fn ids(answer: &Answer) -> Vec<String> {
    answer.is(200, "");
    let items = answer.body["items"].as_array().unwrap();
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

#[tokio::test]
async fn associations_are_listed_by_either_side() {
    let world = World::new().await;
    let (one, two) = (world.network("one").await, world.network("two").await);
    let service = world.active_service("web").await;
    let mut pairs = Vec::new();
    for network in [&one, &two] {
        let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
        let made = world.post("/servicenetworkserviceassociations", body).await;
        pairs.push(made.id());
    }
    let body = json!({ "serviceNetworkIdentifier": one, "vpcIdentifier": VPC_A });
    let vpc = world
        .post("/servicenetworkvpcassociations", body)
        .await
        .id();
    world.settle().await;

    let services = "/servicenetworkserviceassociations";
    let by_network = world
        .get(&format!("{services}?serviceNetworkIdentifier={one}"))
        .await;
    assert_eq!(ids(&by_network), pairs[..1]);
    let arn = segment(&format!("{ARN}service/{service}"));
    let by_service = world
        .get(&format!("{services}?serviceIdentifier={arn}"))
        .await;
    assert_eq!(ids(&by_service).len(), 2);
    let vpcs = "/servicenetworkvpcassociations";
    let by_vpc = world.get(&format!("{vpcs}?vpcIdentifier={VPC_A}")).await;
    assert_eq!(ids(&by_vpc), [vpc]);
    let nothing = world.get(&format!("{vpcs}?vpcIdentifier={VPC_B}")).await;
    assert!(ids(&nothing).is_empty());
    let shown = world.get(&format!("/servicenetworks/{one}")).await;
    assert_eq!(shown.body["numberOfAssociatedVPCs"], 1);
    assert_eq!(shown.body["numberOfAssociatedServices"], 1);
}

#[tokio::test]
async fn target_groups_and_targets_are_filtered() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    for (query, want) in [
        (format!("vpcIdentifier={VPC_A}"), 1),
        (format!("vpcIdentifier={VPC_B}"), 0),
        ("targetGroupType=IP".to_owned(), 1),
        ("targetGroupType=INSTANCE".to_owned(), 0),
    ] {
        let list = world.get(&format!("/targetgroups?{query}")).await;
        assert_eq!(ids(&list).len(), want, "{query}");
    }
    let path = format!("/targetgroups/{group}");
    let all = json!({ "targets": [
        { "id": "10.0.0.1" }, { "id": "10.0.0.1", "port": 9090 }, { "id": "10.0.0.2" }
    ] });
    world
        .post(&format!("{path}/registertargets"), all)
        .await
        .is(200, "");
    for (filter, want) in [
        (json!({}), 3),
        (json!({ "targets": [{ "id": "10.0.0.1" }] }), 2),
        (
            json!({ "targets": [{ "id": "10.0.0.1", "port": 9090 }] }),
            1,
        ),
        (json!({ "targets": [{ "id": "10.0.0.3" }] }), 0),
    ] {
        let list = world
            .post(&format!("{path}/listtargets"), filter.clone())
            .await;
        assert_eq!(ids(&list).len(), want, "{filter}");
    }
    let page = world
        .post(&format!("{path}/listtargets?maxResults=2"), json!({}))
        .await;
    assert_eq!(ids(&page).len(), 2);
    let next = format!("{path}/listtargets?nextToken={}", page.text("nextToken"));
    assert_eq!(ids(&world.post(&next, json!({})).await).len(), 1);
}

#[tokio::test]
async fn a_subscription_is_read_moved_and_deleted() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let at = "/accesslogsubscriptions";
    let body = json!({ "resourceIdentifier": service, "destinationArn": LOG_GROUP });
    let id = world.post(at, body.clone()).await.id();
    let shown = world.get(&format!("{at}/{id}")).await;
    assert_eq!(shown.text("resourceArn"), format!("{ARN}service/{service}"));
    assert_eq!(
        ids(&world
            .get(&format!("{at}?resourceIdentifier={service}"))
            .await),
        [id.as_str()]
    );
    let moved = json!({ "destinationArn": format!("{LOG_GROUP}:*") });
    let moved = world.patch(&format!("{at}/{id}"), moved).await;
    assert_eq!(moved.text("destinationArn"), format!("{LOG_GROUP}:*"));
    let seen = world.snapshot().services[&service.parse().unwrap()].clone();
    assert_eq!(seen.access_logs[0].destination_arn, LOG_GROUP);
    world.delete(&format!("{at}/{id}")).await.is(204, "");
    assert!(
        ids(&world
            .get(&format!("{at}?resourceIdentifier={service}"))
            .await)
        .is_empty()
    );

    world
        .delete(&format!("/services/{service}"))
        .await
        .is(200, "");
    world.post(at, body).await.is(409, "ConflictException");
}

#[tokio::test]
async fn updates_change_what_they_name() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let path = format!("/servicenetworks/{network}");
    let changed = world.patch(&path, json!({ "authType": "AWS_IAM" })).await;
    assert_eq!(changed.text("authType"), "AWS_IAM");
    let service = world.active_service("web").await;
    let path = format!("/services/{service}");
    let changed = world.patch(&path, json!({ "authType": "AWS_IAM" })).await;
    assert_eq!(
        (
            changed.text("authType").as_str(),
            changed.text("name").as_str()
        ),
        ("AWS_IAM", "web")
    );
    let listener = world.listener(&service, "http", 80, fixed(404)).await.id();
    let path = format!("{path}/listeners/{listener}");
    let changed = world
        .patch(&path, json!({ "defaultAction": fixed(500) }))
        .await;
    assert_eq!(changed.body["defaultAction"], fixed(500));
    let rule = json!({
        "name": "one", "priority": 1, "action": fixed(404),
        "match": { "httpMatch": { "method": "GET" } }
    });
    let rule = world.post(&format!("{path}/rules"), rule).await.id();
    let change = json!({ "match": { "httpMatch": { "pathMatch": {
        "match": { "prefix": "/a" }, "caseSensitive": true
    } } } });
    let changed = world.patch(&format!("{path}/rules/{rule}"), change).await;
    let path_match = &changed.body["match"]["httpMatch"]["pathMatch"];
    assert_eq!(
        *path_match,
        json!({ "match": { "prefix": "/a" }, "caseSensitive": true })
    );
    assert_eq!(changed.body["priority"], 1);
    assert_eq!(changed.body["action"], fixed(404));
}
