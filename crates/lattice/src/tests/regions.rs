//! Two regions that tell one another what they have.

use std::collections::BTreeMap;
use std::time::Duration;

use lath_control::{Mode, exchange};
use lath_feed::{Auth, Mesh, PeerState, Topology};
use lath_model::lattice::Action;
use tokio::task::JoinSet;

use super::*;

const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";

/// Two worlds with a link between them.
struct Pair {
    east: World,
    west: World,
    _tasks: JoinSet<()>,
}

fn topology(region: &str) -> Arc<Topology> {
    let mut topology = Topology::single(EAST);
    let mut west = topology.regions[EAST].clone();
    west.link = [100, 65, 1, 1].into();
    topology.regions.insert(WEST.to_owned(), west);
    topology.region = region.to_owned();
    Arc::new(topology)
}

async fn world(region: &'static str, mode: Mode) -> World {
    World::with(|cell| {
        cell.region = region.to_owned();
        cell.mode = mode;
        cell.topology = topology(region);
    })
    .await
}

impl Pair {
    async fn new(mode: Mode) -> Self {
        let (east, west) = (world(EAST, mode).await, world(WEST, mode).await);
        let mut tasks = JoinSet::new();
        let (mesh_east, carrier_east) = Mesh::new();
        let (mesh_west, carrier_west) = Mesh::new();
        for (told, peers, region) in [
            (carrier_east.told, carrier_west.peers, EAST),
            (carrier_west.told, carrier_east.peers, WEST),
        ] {
            tasks.spawn(carry(told, peers, region));
        }
        for (world, mesh) in [(&east, mesh_east), (&west, mesh_west)] {
            tasks.spawn(exchange(world.cell.clone(), vec![crate::SECTION], mesh));
        }
        Self {
            east,
            west,
            _tasks: tasks,
        }
    }
}

async fn carry(
    mut told: watch::Receiver<lath_feed::Values>,
    peers: watch::Sender<Arc<BTreeMap<String, PeerState>>>,
    region: &'static str,
) {
    loop {
        let state = PeerState {
            connected: true,
            since: Timestamp::default(),
            values: told.borrow_and_update().clone(),
        };
        peers.send_replace(Arc::new(BTreeMap::from([(region.to_owned(), state)])));
        if told.changed().await.is_err() {
            return;
        }
    }
}

/// Repeats a call until its answer is as wanted: the other region's news take a moment.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn arn(region: &str, kind: &str, id: &str) -> String {
    format!("arn:aws:vpc-lattice:{region}:123456789012:{kind}/{id}")
}

async fn service_with(world: &World, name: &str, action: Value) -> String {
    let service = world.active_service(name).await;
    world
        .listener(&service, "http", 80, action)
        .await
        .is(201, "");
    world.settle().await;
    service
}

/// A group with one target.
async fn group_with(world: &World, name: &str) -> String {
    let group = world.active_group(name).await;
    let targets = json!({ "targets": [{ "id": "10.0.1.10" }] });
    let path = format!("/targetgroups/{group}/registertargets");
    world.post(&path, targets).await.is(200, "");
    group
}

#[tokio::test(start_paused = true)]
async fn a_vpc_joins_another_regions_network_with_all_its_services() {
    let Pair { east, west, _tasks } = Pair::new(Mode::Extended).await;
    let network = east.network("mesh").await;
    let network_arn = arn(EAST, "servicenetwork", &network);
    let auth = json!({ "authType": "AWS_IAM" });
    east.patch(&format!("/servicenetworks/{network}"), auth)
        .await
        .is(200, "");
    let document = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#;
    let path = format!("/authpolicy/{network}");
    let put = east.call("PUT", &path, json!({ "policy": document }));
    put.await.is(200, "");
    let group = group_with(&east, "web").await;
    let service = service_with(&east, "web", forward(&group)).await;
    let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
    east.post("/servicenetworkserviceassociations", body)
        .await
        .is(200, "");
    // The west has a service of its own, so that addresses could clash.
    let own = west.active_service("own").await;

    let join = json!({ "serviceNetworkIdentifier": network_arn, "vpcIdentifier": VPC_B });
    let mut association = String::new();
    until("the west knows the network", async || {
        let made = west
            .post("/servicenetworkvpcassociations", join.clone())
            .await;
        association = made.text("id");
        made.status.is_success()
    })
    .await;
    until("the service is served in the west", async || {
        west.snapshot()
            .services
            .contains_key(&service.parse().unwrap())
    })
    .await;
    let snapshot = west.snapshot();
    let seen = &snapshot.service_networks[&network.parse().unwrap()];
    assert_eq!(
        seen.auth,
        Auth::AwsIam {
            policy: Some(document.to_owned())
        }
    );
    assert_eq!(seen.arn, network_arn);
    let seen = &snapshot.services[&service.parse().unwrap()];
    assert!(seen.domain_name.contains(EAST), "{}", seen.domain_name);
    assert_ne!(
        seen.address,
        snapshot.services[&own.parse().unwrap()].address
    );
    let seen = &snapshot.target_groups[&group.parse().unwrap()];
    assert_eq!((seen.region.as_deref(), seen.in_use), (Some(EAST), true));
    assert_eq!(seen.targets.len(), 1);

    west.settle().await;
    let got = west
        .get(&format!("/servicenetworkvpcassociations/{association}"))
        .await;
    assert_eq!(
        (got.text("status"), got.text("serviceNetworkArn")),
        ("ACTIVE".into(), network_arn)
    );
    assert_eq!(got.text("serviceNetworkName"), "mesh");
    // The east sees who uses its network, and keeps it for them.
    let path = format!("/servicenetworks/{network}");
    until("the east counts the VPC", async || {
        east.get(&path).await.body["numberOfAssociatedVPCs"] == 1
    })
    .await;
    let listed = east
        .get(&format!(
            "/servicenetworkvpcassociations?serviceNetworkIdentifier={network}"
        ))
        .await;
    assert_eq!(
        listed.body["items"][0]["arn"],
        arn(WEST, "servicenetworkvpcassociation", &association)
    );
    east.delete(&path).await.is(409, "ConflictException");

    west.delete(&format!("/servicenetworkvpcassociations/{association}"))
        .await
        .is(200, "");
    west.settle().await;
    until("the east counts none", async || {
        east.get(&path).await.body["numberOfAssociatedVPCs"] == 0
    })
    .await;
    assert!(west.snapshot().service_networks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_regions_service_is_given_a_certificate_of_the_region_and_nothing_else() {
    let Pair { east, west, _tasks } = Pair::new(Mode::Extended).await;
    let body = json!({ "name": "web", "customDomainName": "web.example.test" });
    let service = east.post("/services", body).await.id();
    east.settle().await;
    let its_arn = arn(EAST, "service", &service);
    let path = format!("/services/{}", its_arn.replace('/', "%2F"));
    until("the west knows the service", async || {
        west.patch(&path, json!({})).await.status.is_success()
    })
    .await;
    let shown = west.patch(&path, json!({ "certificateArn": "" })).await;
    shown.is(200, "");
    assert_eq!(
        (shown.text("arn"), shown.text("customDomainName")),
        (its_arn, "web.example.test".into())
    );
    for refused in [
        json!({ "authType": "AWS_IAM" }),
        json!({ "certificateArn": "arn:aws:acm:us-west-2:123456789012:certificate/00000000-0000-4000-8000-000000000000" }),
    ] {
        west.patch(&path, refused)
            .await
            .is(400, "ValidationException");
    }
    let nothing = arn(EAST, "service", "svc-00000000000000000");
    let path = format!("/services/{}", nothing.replace('/', "%2F"));
    west.patch(&path, json!({}))
        .await
        .is(404, "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn rules_forward_to_another_regions_group_which_is_kept_for_them() {
    let Pair { east, west, _tasks } = Pair::new(Mode::Extended).await;
    let far = group_with(&west, "web").await;
    let far_arn = arn(WEST, "targetgroup", &far);
    let near = group_with(&east, "web").await;
    let service = east.active_service("web").await;
    let action = json!({ "forward": { "targetGroups": [
        { "targetGroupIdentifier": near, "weight": 100 },
        { "targetGroupIdentifier": far_arn, "weight": 0 },
    ] } });
    let mut listener = String::new();
    until("the east knows the group", async || {
        let made = east.listener(&service, "http", 80, action.clone()).await;
        listener = made.text("id");
        made.status.is_success()
    })
    .await;
    let shown = east
        .get(&format!("/services/{service}/listeners/{listener}"))
        .await;
    let groups = &shown.body["defaultAction"]["forward"]["targetGroups"];
    assert_eq!(groups[0]["targetGroupIdentifier"], near.as_str());
    assert_eq!(groups[1]["targetGroupIdentifier"], far_arn.as_str());
    let snapshot = east.snapshot();
    let seen = &snapshot.target_groups[&far.parse().unwrap()];
    assert_eq!((seen.region.as_deref(), seen.in_use), (Some(WEST), true));
    let Action::Forward(groups) = &snapshot.services[&service.parse().unwrap()].listeners
        [&listener.parse().unwrap()]
        .default_action
    else {
        panic!("the default action forwards");
    };
    assert_eq!(groups[1].weight, 0);

    let path = format!("/targetgroups/{far}");
    until("the west knows who uses its group", async || {
        west.get(&path).await.body["serviceArns"][0] == arn(EAST, "service", &service)
    })
    .await;
    assert!(west.snapshot().target_groups[&far.parse().unwrap()].in_use);
    let deregister = json!({ "targets": [{ "id": "10.0.1.10" }] });
    west.post(&format!("{path}/deregistertargets"), deregister)
        .await
        .is(200, "");
    west.settle().await;
    let refused = west.delete(&path).await;
    refused.is(409, "ConflictException");
    assert!(refused.text("message").contains("in use by"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_joins_another_regions_network() {
    let Pair { east, west, _tasks } = Pair::new(Mode::Extended).await;
    let network = east.network("mesh").await;
    let service = service_with(&west, "pay", fixed(404)).await;
    let body = json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A });
    east.post("/servicenetworkvpcassociations", body)
        .await
        .is(200, "");
    let service_arn = arn(WEST, "service", &service);
    let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service_arn });
    let mut made = None;
    until("the east knows the service", async || {
        let answer = east
            .post("/servicenetworkserviceassociations", body.clone())
            .await;
        let good = answer.status.is_success();
        made = Some(answer);
        good
    })
    .await;
    let made = made.unwrap();
    assert!(
        made.body["dnsEntry"]["domainName"]
            .as_str()
            .unwrap()
            .contains(WEST)
    );
    east.settle().await;
    let path = format!("/servicenetworkserviceassociations/{}", made.text("id"));
    let got = east.get(&path).await;
    assert_eq!(
        (got.text("status"), got.text("serviceArn")),
        ("ACTIVE".into(), service_arn)
    );
    let listed = east
        .get(&format!(
            "/servicenetworkserviceassociations?serviceNetworkIdentifier={network}"
        ))
        .await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    until("the west keeps its service", async || {
        west.delete(&format!("/services/{service}")).await.status == StatusCode::CONFLICT
    })
    .await;

    // Deleted all the same, as if the west had not heard of it: the east says so.
    west.write(|tx| {
        tx.delete::<crate::record::Service>(&service);
    })
    .await;
    until("the east says that it is gone", async || {
        east.settle().await;
        let got = east.get(&path).await;
        got.text("status") == "CREATE_FAILED"
            && got.text("failureCode") == "ResourceNotFoundException"
    })
    .await;
    assert!(
        !east
            .snapshot()
            .services
            .contains_key(&service.parse().unwrap())
    );
    east.delete(&path).await.is(200, "");
}

#[tokio::test(start_paused = true)]
async fn in_strict_mode_other_regions_are_unknown() {
    let Pair { east, west, _tasks } = Pair::new(Mode::Strict).await;
    let network = east.network("mesh").await;
    let join = json!({
        "serviceNetworkIdentifier": arn(EAST, "servicenetwork", &network), "vpcIdentifier": VPC_B
    });
    west.post("/servicenetworkvpcassociations", join)
        .await
        .is(404, "ResourceNotFoundException");
    let group = east.active_group("web").await;
    let service = west.active_service("web").await;
    let action = forward(&arn(EAST, "targetgroup", &group));
    west.listener(&service, "http", 80, action)
        .await
        .is(404, "ResourceNotFoundException");
    let told = lath_control::derive_all(&east.cell, crate::SECTION.export, &east.cell.db.view());
    assert!(told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn probes_more_often_than_awss_are_asked_for_by_a_tag() {
    let config = json!({ "protocol": "HTTP", "port": 8080, "vpcIdentifier": VPC_A });
    let with = |value: &str| {
        json!({ "name": format!("g{value}"), "type": "IP", "config": config,
                "tags": { "lath:health-check-interval-ms": value } })
    };
    let strict = World::new().await;
    let refused = strict.post("/targetgroups", with("500")).await;
    refused.is(400, "ValidationException");
    assert!(
        refused.text("message").contains("--extended"),
        "{refused:?}"
    );
    let world = World::with(|cell| cell.mode = Mode::Extended).await;
    for (value, good) in [
        ("100", true),
        ("300000", true),
        ("99", false),
        ("1e3", false),
        ("", false),
    ] {
        let got = world.post("/targetgroups", with(value)).await;
        assert_eq!(got.status.is_success(), good, "{value}");
    }
    let id = world.post("/targetgroups", with("500")).await.id();
    world.settle().await;
    let check = || {
        let groups = world.snapshot().target_groups;
        groups[&id.parse().unwrap()].health_check.clone().unwrap()
    };
    assert_eq!(
        (check().interval, check().timeout),
        (Duration::from_millis(500), Duration::from_millis(500))
    );
    let tags = format!("/tags/{}", segment(&arn(EAST, "targetgroup", &id)));
    world
        .post(
            &tags,
            json!({ "tags": { "lath:health-check-interval-ms": "50" } }),
        )
        .await
        .is(400, "ValidationException");
    world
        .delete(&format!("{tags}?tagKeys=lath%3Ahealth-check-interval-ms"))
        .await
        .is(200, "");
    assert_eq!(
        (check().interval, check().timeout),
        (Duration::from_secs(30), Duration::from_secs(5))
    );
}
