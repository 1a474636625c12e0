//! States as a resource goes through its life.

use super::*;

#[tokio::test]
async fn a_service_is_active_when_a_node_has_obeyed_and_gone_when_none_shows_it() {
    let world = World::new().await;
    let made = world.post("/services", json!({ "name": "web" })).await;
    made.is(201, "");
    let (id, path) = (made.id(), format!("/services/{}", made.id()));
    assert_eq!(made.text("status"), "CREATE_IN_PROGRESS");
    let domain = format!(
        "web-{}.7d67968.vpc-lattice-svcs.us-east-1.on.aws",
        &id["svc-".len()..]
    );
    assert_eq!(made.body["dnsEntry"]["domainName"], domain);

    world.pass().await;
    assert_eq!(world.get(&path).await.text("status"), "CREATE_IN_PROGRESS");
    world.settle().await;
    let active = world.get(&path).await;
    assert_eq!(active.text("status"), "ACTIVE");
    assert_eq!(active.text("arn"), format!("{ARN}service/{id}"));
    assert!(active.text("createdAt").ends_with('Z'), "{active:?}");
    let by_arn = format!("/services/{}", segment(&active.text("arn")));
    assert_eq!(world.get(&by_arn).await.id(), id);

    let deleted = world.delete(&path).await;
    assert_eq!(deleted.text("status"), "DELETE_IN_PROGRESS");
    world.pass().await;
    let again = world.delete(&path).await;
    assert_eq!(again.text("status"), "DELETE_IN_PROGRESS");
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_vpc_association_lives_with_its_vpc_and_holds_it() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let body = json!({
        "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A, "securityGroupIds": [SG_A]
    });
    let made = world.post("/servicenetworkvpcassociations", body).await;
    made.is(200, "");
    assert_eq!(made.text("status"), "CREATE_IN_PROGRESS");
    let path = format!("/servicenetworkvpcassociations/{}", made.id());
    let update = json!({ "securityGroupIds": [SG_A2] });
    world
        .patch(&path, update.clone())
        .await
        .is(409, "ConflictException");
    world.delete(&path).await.is(409, "ConflictException");
    assert_eq!(held(&world, VPC_A), 1);
    assert_eq!(held(&world, SG_A), 1);

    world.settle().await;
    assert_eq!(world.get(&path).await.text("status"), "ACTIVE");
    let updated = world.patch(&path, update).await;
    assert_eq!(updated.text("status"), "UPDATE_IN_PROGRESS");
    assert_eq!((held(&world, SG_A), held(&world, SG_A2)), (0, 1));
    world.settle().await;
    let active = world.get(&path).await;
    assert_eq!(active.text("status"), "ACTIVE");
    assert_eq!(active.body["securityGroupIds"], json!([SG_A2]));

    let network = format!("/servicenetworks/{network}");
    let blocked = world.delete(&network).await;
    blocked.is(409, "ConflictException");
    assert!(blocked.text("message").contains("has VPC(s) associated"));
    world.delete(&path).await.is(200, "");
    assert_eq!(world.get(&path).await.text("status"), "DELETE_IN_PROGRESS");
    world.delete(&network).await.is(409, "ConflictException");
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
    assert_eq!((held(&world, VPC_A), held(&world, SG_A2)), (0, 0));
    world.delete(&network).await.is(204, "");
}

#[tokio::test]
async fn a_target_group_holds_its_vpc_until_nothing_of_it_is_left() {
    let world = World::new().await;
    let body = json!({ "name": "web", "type": "IP", "config": {
        "port": 80, "protocol": "HTTP", "vpcIdentifier": VPC_A
    } });
    let path = format!(
        "/targetgroups/{}",
        world.post("/targetgroups", body).await.id()
    );
    assert_eq!(held(&world, VPC_A), 1);
    world.settle().await;
    assert_eq!(world.get(&path).await.text("status"), "ACTIVE");
    world.delete(&path).await.is(200, "");
    assert_eq!(held(&world, VPC_A), 1);
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
    assert_eq!(held(&world, VPC_A), 0);
}

fn held(world: &World, resource: &str) -> usize {
    lath_control::claims_on(&world.cell.db.view(), resource).len()
}

#[tokio::test]
async fn a_service_association_keeps_its_service_and_goes_before_it() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let service = world.active_service("web").await;
    let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
    let made = world
        .post("/servicenetworkserviceassociations", body.clone())
        .await;
    assert_eq!(made.text("status"), "CREATE_IN_PROGRESS");
    let path = format!("/servicenetworkserviceassociations/{}", made.id());
    let again = world.post("/servicenetworkserviceassociations", body).await;
    again.is(409, "ConflictException");
    world.delete(&path).await.is(409, "ConflictException");
    world.settle().await;
    let active = world.get(&path).await;
    assert_eq!(active.text("status"), "ACTIVE");
    assert_eq!(active.text("serviceName"), "web");
    assert_eq!(active.text("serviceNetworkName"), "mesh");

    let service = format!("/services/{service}");
    world.delete(&service).await.is(409, "ConflictException");
    let deleted = world.delete(&path).await;
    assert_eq!(deleted.text("status"), "DELETE_IN_PROGRESS");
    world.delete(&service).await.is(409, "ConflictException");
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
    world.delete(&service).await.is(200, "");
}

#[tokio::test]
async fn what_keeps_failing_for_long_has_failed_with_the_reason() {
    use crate::record::VpcAssociation;
    let world = World::new().await;
    let network = world.network("mesh").await;
    let body = json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A });
    let id = world
        .post("/servicenetworkvpcassociations", body)
        .await
        .id();
    let mut seen = obeyed(&world.snapshot());
    let reason = "port 80 is taken".to_owned();
    seen.vpc_associations
        .insert(id.parse().unwrap(), Condition::Failed { reason });
    world.node.send_replace(Arc::new(seen));
    world.pass().await;
    let path = format!("/servicenetworkvpcassociations/{id}");
    assert_eq!(world.get(&path).await.text("status"), "CREATE_IN_PROGRESS");
    world.pass_after(Duration::from_secs(61)).await;
    let failed = world.get(&path).await;
    assert_eq!(failed.text("status"), "CREATE_FAILED");
    assert_eq!(failed.text("failureMessage"), "port 80 is taken");
    assert!(!failed.text("failureCode").is_empty());
    assert!(world.cell.db.view().get::<VpcAssociation>(&id).is_some());
    world.delete(&path).await.is(200, "");
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn an_old_observation_makes_nothing_active() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let before = obeyed(&world.snapshot());
    let body = json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A });
    let id = world
        .post("/servicenetworkvpcassociations", body)
        .await
        .id();
    let mut stale = before.clone();
    let version = before.applied_version;
    stale
        .vpc_associations
        .insert(id.parse().unwrap(), Condition::Ready { version });
    world.node.send_replace(Arc::new(stale));
    world.pass().await;
    let path = format!("/servicenetworkvpcassociations/{id}");
    assert_eq!(world.get(&path).await.text("status"), "CREATE_IN_PROGRESS");
}

#[tokio::test]
async fn a_target_group_waits_for_its_targets_to_drain() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    let service = world.active_service("web").await;
    let listener = world
        .listener(&service, "http", 80, forward(&group))
        .await
        .id();
    let path = format!("/targetgroups/{group}");
    let one = json!({ "targets": [{ "id": "10.0.1.10" }] });
    let put = world
        .post(&format!("{path}/registertargets"), one.clone())
        .await;
    assert_eq!(
        put.body["successful"],
        json!([{ "id": "10.0.1.10", "port": 8080 }])
    );
    assert_eq!(statuses(&world, &path).await, ["INITIAL"]);
    world.settle().await;
    assert_eq!(statuses(&world, &path).await, ["HEALTHY"]);

    let used = world.delete(&path).await;
    used.is(409, "ConflictException");
    assert!(used.text("message").contains("is in use by"), "{used:?}");
    world
        .delete(&format!("/services/{service}/listeners/{listener}"))
        .await
        .is(204, "");
    assert_eq!(statuses(&world, &path).await, ["UNUSED"]);
    world.delete(&path).await.is(409, "ConflictException");
    world
        .post(&format!("{path}/deregistertargets"), one)
        .await
        .is(200, "");
    assert_eq!(statuses(&world, &path).await, ["DRAINING"]);
    world.delete(&path).await.is(409, "ConflictException");
    world.settle().await;
    assert!(statuses(&world, &path).await.is_empty());
    let deleted = world.delete(&path).await;
    assert_eq!(deleted.text("status"), "DELETE_IN_PROGRESS");
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
}

async fn statuses(world: &World, group: &str) -> Vec<String> {
    let list = world.post(&format!("{group}/listtargets"), json!({})).await;
    let items = list.body["items"].as_array().unwrap();
    let status = |item: &Value| item["status"].as_str().unwrap().to_owned();
    items.iter().map(status).collect()
}

#[tokio::test]
async fn registering_again_ends_draining_and_the_drain_time_ends_without_a_node() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    let path = format!("/targetgroups/{group}");
    let one = json!({ "targets": [{ "id": "10.0.1.10", "port": 9090 }] });
    world
        .post(&format!("{path}/registertargets"), one.clone())
        .await
        .is(200, "");
    world
        .post(&format!("{path}/deregistertargets"), one.clone())
        .await
        .is(200, "");
    world.pass().await;
    assert_eq!(statuses(&world, &path).await, ["DRAINING"]);
    world
        .post(&format!("{path}/registertargets"), one.clone())
        .await
        .is(200, "");
    assert_eq!(statuses(&world, &path).await, ["UNUSED"]);

    world
        .post(&format!("{path}/deregistertargets"), one)
        .await
        .is(200, "");
    world.pass_after(Duration::from_secs(59)).await;
    assert_eq!(statuses(&world, &path).await, ["DRAINING"]);
    world.pass_after(Duration::from_secs(1)).await;
    assert!(statuses(&world, &path).await.is_empty());
}

#[tokio::test]
async fn listeners_and_rules_go_with_their_service() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let listener = world.listener(&service, "http", 80, fixed(404)).await;
    let (id, path) = (listener.id(), format!("/services/{service}/listeners"));
    let rule = json!({
        "name": "api", "priority": 10, "action": fixed(500),
        "match": { "httpMatch": { "pathMatch": { "match": { "prefix": "/api" } } } }
    });
    let rule = world.post(&format!("{path}/{id}/rules"), rule).await;
    rule.is(201, "");
    assert_eq!(rule.body["match"]["httpMatch"]["headerMatches"], json!([]));
    let rules = world.get(&format!("{path}/{id}/rules")).await;
    assert_eq!(rules.body["items"].as_array().unwrap().len(), 2);
    world
        .delete(&format!("/services/{service}"))
        .await
        .is(200, "");
    world.settle().await;
    let view = world.cell.db.view();
    assert_eq!(view.list::<crate::record::Listener>().count(), 0);
    assert_eq!(view.list::<crate::record::Rule>().count(), 0);
}

#[tokio::test]
async fn a_batch_swaps_priorities_and_tells_what_it_cannot_change() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let listener = world.listener(&service, "http", 80, fixed(404)).await.id();
    let path = format!("/services/{service}/listeners/{listener}/rules");
    let mut ids = Vec::new();
    for (name, priority) in [("one", 1), ("two", 2), ("three", 3)] {
        let rule = json!({
            "name": name, "priority": priority, "action": fixed(500),
            "match": { "httpMatch": { "method": "GET" } }
        });
        ids.push(world.post(&path, rule).await.id());
    }
    let swap = json!({ "rules": [
        { "ruleIdentifier": ids[0], "priority": 2 },
        { "ruleIdentifier": ids[1], "priority": 1 },
        { "ruleIdentifier": "rule-0123456789abcdef0", "priority": 9 }
    ] });
    let swapped = world.patch(&path, swap).await;
    swapped.is(200, "");
    assert_eq!(swapped.body["successful"].as_array().unwrap().len(), 2);
    let failed = &swapped.body["unsuccessful"][0];
    assert_eq!(failed["failureCode"], "ResourceNotFoundException");
    let clash = json!({ "rules": [
        { "ruleIdentifier": ids[0], "priority": 3 },
        { "ruleIdentifier": ids[1], "priority": 2 }
    ] });
    let clashed = world.patch(&path, clash).await;
    assert_eq!(clashed.body["successful"], json!([]), "{clashed:?}");
    assert_eq!(clashed.body["unsuccessful"].as_array().unwrap().len(), 2);
    let first = world.get(&format!("{path}/{}", ids[0])).await;
    assert_eq!(first.body["priority"], 2);
}
