//! What nodes are told.

use lath_feed::Auth;
use lath_model::lattice::Action;

use super::*;

#[tokio::test]
async fn a_whole_mesh_reaches_the_feed() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let group = world.active_group("web").await;
    let service = world.active_service("web").await;
    let listener = world
        .listener(&service, "http", 80, forward(&group))
        .await
        .id();
    let rules = format!("/services/{service}/listeners/{listener}/rules");
    for (name, priority) in [("late", 20), ("early", 10)] {
        let rule = json!({
            "name": name, "priority": priority, "action": fixed(500),
            "match": { "httpMatch": { "headerMatches": [
                { "name": "x-env", "match": { "contains": "prod" }, "caseSensitive": true }
            ] } }
        });
        world.post(&rules, rule).await.is(201, "");
    }
    let target = json!({ "targets": [{ "id": "10.0.1.10", "port": 9090 }] });
    world
        .post(&format!("/targetgroups/{group}/registertargets"), target)
        .await
        .is(200, "");
    let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
    world
        .post("/servicenetworkserviceassociations", body)
        .await
        .is(200, "");
    let body = json!({
        "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_B, "securityGroupIds": [SG_B]
    });
    let association = world
        .post("/servicenetworkvpcassociations", body)
        .await
        .id();
    let body = json!({ "resourceIdentifier": network, "destinationArn": format!("{LOG_GROUP}:*") });
    world
        .post("/accesslogsubscriptions", body)
        .await
        .is(201, "");

    let snapshot = world.snapshot();
    let seen = &snapshot.service_networks[&network.parse().unwrap()];
    assert!(seen.services.contains(&service.parse().unwrap()));
    assert_eq!(seen.access_logs[0].destination_arn, LOG_GROUP);
    assert_eq!(seen.auth, Auth::None);
    let seen = &snapshot.services[&service.parse().unwrap()];
    assert_eq!(seen.address.octets()[..3], [169, 254, 171]);
    let listener = &seen.listeners[&listener.parse().unwrap()];
    let priorities: Vec<u32> = listener.rules.iter().map(|rule| rule.priority).collect();
    assert_eq!(priorities, [10, 20]);
    let Action::Forward(groups) = &listener.default_action else {
        panic!("the default action forwards");
    };
    assert_eq!(
        (groups[0].target_group.as_str(), groups[0].weight),
        (group.as_str(), 100)
    );
    let seen = &snapshot.target_groups[&group.parse().unwrap()];
    assert!(seen.in_use);
    assert_eq!(seen.targets.len(), 1);
    let lattice = snapshot.vpcs[&VPC_B.parse().unwrap()]
        .lattice
        .as_ref()
        .unwrap();
    assert_eq!(lattice.id.as_str(), association);
    assert!(lattice.security_groups.contains(&SG_B.parse().unwrap()));
    assert!(snapshot.vpcs[&VPC_A.parse().unwrap()].lattice.is_none());
}

#[tokio::test]
async fn what_is_being_deleted_is_not_served() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let service = world.active_service("web").await;
    let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
    let pair = world
        .post("/servicenetworkserviceassociations", body)
        .await
        .id();
    let body = json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A });
    let vpc = world
        .post("/servicenetworkvpcassociations", body)
        .await
        .id();
    world.settle().await;
    world
        .delete(&format!("/servicenetworkserviceassociations/{pair}"))
        .await
        .is(200, "");
    world
        .delete(&format!("/servicenetworkvpcassociations/{vpc}"))
        .await
        .is(200, "");
    let snapshot = world.snapshot();
    assert!(
        snapshot.service_networks[&network.parse().unwrap()]
            .services
            .is_empty()
    );
    assert!(snapshot.vpcs[&VPC_A.parse().unwrap()].lattice.is_none());
    assert!(snapshot.services.contains_key(&service.parse().unwrap()));
}

#[tokio::test]
async fn instances_are_reached_at_their_primary_address() {
    let world = World::new().await;
    let config = json!({ "protocol": "HTTP", "port": 8080, "vpcIdentifier": VPC_A });
    let group = json!({ "name": "vms", "type": "INSTANCE", "config": config });
    let group = world.post("/targetgroups", group).await.id();
    world.settle().await;
    let target = json!({ "targets": [{ "id": INSTANCE }] });
    world
        .post(&format!("/targetgroups/{group}/registertargets"), target)
        .await
        .is(200, "");
    let address = || {
        let snapshot = world.snapshot();
        let group = &snapshot.target_groups[&group.parse().unwrap()];
        group.targets.values().next().unwrap().address
    };
    assert_eq!(address(), Some("10.0.1.10".parse().unwrap()));
    world
        .write(|tx| {
            tx.update::<Instance>(INSTANCE, |instance| instance.primary_interface = None);
        })
        .await;
    assert_eq!(address(), None);
}

#[tokio::test]
async fn iam_without_a_policy_is_told_as_such() {
    let world = World::new().await;
    let body = json!({ "name": "mesh", "authType": "AWS_IAM" });
    let network = world.post("/servicenetworks", body).await.id();
    let seen = world.snapshot().service_networks[&network.parse().unwrap()].clone();
    assert_eq!(seen.auth, Auth::AwsIam { policy: None });
}

#[tokio::test]
async fn addresses_avoid_reserved_ones_and_are_shared_when_all_are_taken() {
    let world = World::with(|cell| cell.mode = lath_control::Mode::Extended).await;
    for n in 0..260 {
        world
            .post("/services", json!({ "name": format!("svc{n}") }))
            .await
            .is(201, "");
    }
    let mut counts = std::collections::BTreeMap::<u8, usize>::new();
    for service in world.snapshot().services.values() {
        *counts.entry(service.address.octets()[3]).or_default() += 1;
    }
    assert_eq!(
        (counts.len(), counts.keys().next(), counts.keys().last()),
        (253, Some(&2), Some(&254))
    );
    assert_eq!(counts.values().max(), Some(&2));
}
