//! The service as callers meet it: requests through the wire layer, a simulated node behind the feed.

mod authorization;
mod balancing;
mod canaries;
mod endpoints;
mod feed;
mod lifecycle;
mod limits;
mod lists;
mod model;
mod mutual;
mod policies;
mod refusals;
mod regions;
mod resources;
mod target_tls;
mod tls;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use lath_clock::ManualClock;
use lath_control::Cell;
use lath_ec2_records::{
    CidrBlock, Instance, InstanceState, MetadataOptions, NetworkInterface, PrivateAddress,
    SecurityGroup, ShutdownBehavior, Volume, Vpc,
};
use lath_feed::{Condition, Observed, RootSource, Snapshot, TargetHealth, TargetObserved};
use lath_model::Timestamp;
use lath_store::{Record, Tx};
use lath_wire::{ApiError, Caller, Principal, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::reconcile::Reconciler;
use crate::{CONTRIBUTIONS, CanaryWatch, Lattice, service};

/// When tests begin.
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

const VPC_A: &str = "vpc-0aaaaaaaaaaaaaaaa";
const VPC_B: &str = "vpc-0bbbbbbbbbbbbbbbb";
const SG_A: &str = "sg-0aaaaaaaaaaaaaaaa";
const SG_A2: &str = "sg-0aaaaaaaaaaaaaaa2";
const SG_B: &str = "sg-0bbbbbbbbbbbbbbbb";
const INSTANCE: &str = "i-0aaaaaaaaaaaaaaaa";
const LOG_GROUP: &str = "arn:aws:logs:us-east-1:123456789012:log-group:/lattice/web";
const ARN: &str = "arn:aws:vpc-lattice:us-east-1:123456789012:";

/// What CloudWatch Logs keeps, as far as Lattice looks at it.
#[derive(Serialize, Deserialize)]
struct LogGroup {
    name: String,
}

impl Record for LogGroup {
    const KIND: &'static str = "logs.group";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// What public zones hold: the proofs of domains.
#[derive(Clone, Serialize, Deserialize)]
struct Proof {
    name: String,
    value: String,
}

impl Record for Proof {
    const KIND: &'static str = "test.proof";
    fn id(&self) -> String {
        self.name.clone()
    }
}

fn proofs(_: &Cell, view: &lath_store::View, name: &str, kind: &str) -> Vec<String> {
    let known = view.get::<Proof>(name).filter(|_| kind == "TXT");
    known.iter().map(|it| format!("\"{}\"", it.value)).collect()
}

/// An answer: its status, its error code (or nothing) and its body.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    code: String,
    body: Value,
}

impl Answer {
    /// A member of the body as text; empty when it is not there.
    fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_default().to_owned()
    }

    fn id(&self) -> String {
        assert!(self.status.is_success(), "{self:?}");
        self.text("id")
    }

    #[track_caller]
    fn is(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code.as_str()),
            (status, code),
            "{self:?}"
        );
    }
}

/// A region with two VPCs, and a node that reports everything as ready.
struct World {
    cell: Cell,
    hands: ManualClock,
    app: Arc<Lattice>,
    service: Service,
    reconciler: Reconciler,
    node: watch::Sender<Arc<Observed>>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Cell)) -> Self {
        let hands = ManualClock::at(START);
        let (mut cell, node) = Cell::for_test_at(hands.clock());
        change(&mut cell);
        let app = Arc::new(Lattice {
            cell: cell.clone(),
            records: proofs,
            canaries: Arc::new(CanaryWatch::new(hands.clock())),
        });
        let world = Self {
            cell,
            hands,
            app: Arc::clone(&app),
            service: service(&app),
            reconciler: Reconciler::new(app),
            node,
        };
        world.write(furnish).await;
        world
    }

    async fn write(&self, f: impl FnOnce(&mut Tx) + Send) {
        let written = self.cell.db.write(|tx| {
            f(tx);
            Ok::<_, ApiError>(())
        });
        written.await.unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = match body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let response = self.service.respond(&request, &caller()).await;
        let code = response.headers().get("x-amzn-errortype");
        Answer {
            status: response.status(),
            code: code.map_or_else(String::new, |code| code.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(response.body()).unwrap_or_default(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, Value::Null).await
    }

    fn snapshot(&self) -> Snapshot {
        let view = self.cell.db.view();
        let mut snapshot = Snapshot {
            version: view.revision(),
            ..Snapshot::default()
        };
        for vpc in view.list::<Vpc>() {
            let id = vpc.id.clone();
            snapshot.vpcs.insert(id, Arc::new(feed_vpc(&vpc)));
        }
        lath_control::derive_into(&self.cell, &CONTRIBUTIONS, &view, &mut snapshot);
        snapshot
    }

    /// A pass, after that long.
    async fn pass_after(&self, by: Duration) {
        self.hands.advance(by);
        self.pass().await;
    }

    async fn pass(&self) {
        self.reconciler.pass().await.unwrap();
    }

    /// The node obeys the newest snapshot, and control takes over what it says, until nothing changes.
    async fn settle(&self) {
        for _ in 0..3 {
            self.node.send_replace(Arc::new(obeyed(&self.snapshot())));
            self.pass().await;
        }
    }

    async fn network(&self, name: &str) -> String {
        let made = self.post("/servicenetworks", json!({ "name": name })).await;
        made.id()
    }

    async fn active_service(&self, name: &str) -> String {
        let id = self.post("/services", json!({ "name": name })).await.id();
        self.settle().await;
        id
    }

    /// An active IP group in VPC A.
    async fn active_group(&self, name: &str) -> String {
        let config = json!({ "protocol": "HTTP", "port": 8080, "vpcIdentifier": VPC_A });
        let group = json!({ "name": name, "type": "IP", "config": config });
        let id = self.post("/targetgroups", group).await.id();
        self.settle().await;
        id
    }

    async fn listener(&self, service: &str, name: &str, port: u16, action: Value) -> Answer {
        let body = json!({
            "name": name, "protocol": "HTTP", "port": port, "defaultAction": action
        });
        self.post(&format!("/services/{service}/listeners"), body)
            .await
    }
}

fn fixed(status: u16) -> Value {
    json!({ "fixedResponse": { "statusCode": status } })
}

fn forward(group: &str) -> Value {
    json!({ "forward": { "targetGroups": [{ "targetGroupIdentifier": group }] } })
}

/// An identifier as one path segment.
fn segment(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

fn caller() -> Caller {
    Caller {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        service: "vpc-lattice".into(),
        principal: Principal {
            arn: "arn:aws:iam::123456789012:root".into(),
            user_id: "123456789012".into(),
        },
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        request_id: "4fa1c6ea-0000-4000-8000-000000000000".into(),
        source_ip: None,
        from_vpc: None,
    }
}

fn furnish(tx: &mut Tx) {
    tx.put(LogGroup {
        name: "/lattice/web".into(),
    });
    tx.put(vpc(VPC_A, "10.0.0.0/16"));
    tx.put(vpc(VPC_B, "10.1.0.0/16"));
    for (id, vpc) in [(SG_A, VPC_A), (SG_A2, VPC_A), (SG_B, VPC_B)] {
        tx.put(SecurityGroup {
            id: id.parse().unwrap(),
            vpc: vpc.parse().unwrap(),
            owner: "123456789012".into(),
            name: id.into(),
            description: String::new(),
            rules: Vec::new(),
        });
    }
    tx.put(instance());
    tx.put(interface());
}

fn vpc(id: &str, cidr: &str) -> Vpc {
    Vpc {
        id: id.parse().unwrap(),
        owner: "123456789012".into(),
        cidrs: vec![CidrBlock::new(cidr.parse().unwrap())],
        is_default: false,
        dhcp_options: Some(lath_model::id::DhcpOptionsId::random()),
        network_acl: lath_model::id::NetworkAclId::random(),
        dns_support: true,
        dns_hostnames: false,
        available: true,
        created_at: Timestamp::default(),
    }
}

fn interface() -> NetworkInterface {
    NetworkInterface {
        id: "eni-0aaaaaaaaaaaaaaaa".parse().unwrap(),
        vpc: VPC_A.parse().unwrap(),
        subnet: "subnet-0aaaaaaaaaaaaaaaa".parse().unwrap(),
        availability_zone: "us-east-1a".into(),
        owner: "123456789012".into(),
        description: String::new(),
        mac: "02:00:0a:00:01:0a".into(),
        addresses: vec![PrivateAddress {
            private: "10.0.1.10".parse().unwrap(),
            public: None,
        }],
        groups: Vec::new(),
        source_dest_check: true,
        attachment: None,
        last_attachment: None,
        manager: None,
        prefixes: Vec::new(),
    }
}

fn instance() -> Instance {
    Instance {
        cluster: None,
        for_kubernetes: false,
        id: INSTANCE.parse().unwrap(),
        owner: "123456789012".into(),
        reservation: lath_model::id::ReservationId::random(),
        launch_index: 0,
        image: lath_model::id::ImageId::random(),
        root: RootSource::Host,
        root_volume: Volume {
            id: lath_model::id::VolumeId::random(),
            device: "/dev/xvda".into(),
            size: 8,
            kind: "gp3".into(),
            iops: None,
            throughput: None,
            encrypted: false,
            snapshot: None,
            created_at: Timestamp::default(),
        },
        volumes: Vec::new(),
        names: Default::default(),
        options: Default::default(),
        architecture: "x86_64".into(),
        instance_type: "t3.medium".into(),
        key: None,
        vpc: VPC_A.parse().unwrap(),
        subnet: "subnet-0aaaaaaaaaaaaaaaa".parse().unwrap(),
        availability_zone: "us-east-1a".into(),
        primary_interface: Some("eni-0aaaaaaaaaaaaaaaa".parse().unwrap()),
        private_ip: Some("10.0.1.10".parse().unwrap()),
        wants_public_ip: false,
        user_data: None,
        state: InstanceState::Running,
        state_after: 0,
        boot: 1,
        state_reason: None,
        transition_reason: String::new(),
        launched_at: Timestamp::default(),
        terminated_at: None,
        client_token: None,
        metadata: MetadataOptions {
            enabled: true,
            tokens_required: false,
            hop_limit: 1,
            tags: false,
        },
        on_shutdown: ShutdownBehavior::Stop,
        termination_protected: false,
        stop_protected: false,
        skips_shutdown: false,
    }
}

fn feed_vpc(vpc: &Vpc) -> lath_feed::Vpc {
    lath_feed::Vpc {
        id: vpc.id.clone(),
        owner: vpc.owner.clone(),
        cidrs: vpc.cidrs.iter().map(|block| block.cidr).collect(),
        dns_support: true,
        dns_hostnames: false,
        dhcp_options: None,
        subnets: Default::default(),
        route_tables: Default::default(),
        internet_gateway: None,
        interfaces: Default::default(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    }
}

/// What a node that obeyed a snapshot says: everything works, every target is healthy or drained.
fn obeyed(snapshot: &Snapshot) -> Observed {
    let ready = Condition::Ready {
        version: snapshot.version,
    };
    let associations = snapshot
        .vpcs
        .values()
        .filter_map(|vpc| vpc.lattice.as_ref());
    Observed {
        applied_version: snapshot.version,
        vpc_associations: associations
            .map(|it| (it.id.clone(), ready.clone()))
            .collect(),
        resource_gateways: snapshot
            .resource_gateways
            .keys()
            .map(|id| (id.clone(), ready.clone()))
            .collect(),
        resource_associations: snapshot
            .resource_associations
            .keys()
            .map(|id| (id.clone(), ready.clone()))
            .collect(),
        services: snapshot
            .services
            .keys()
            .map(|id| (id.clone(), ready.clone()))
            .collect(),
        targets: snapshot
            .target_groups
            .iter()
            .map(|(id, group)| (id.clone(), observed_targets(group)))
            .collect(),
        ..Observed::default()
    }
}

fn observed_targets(
    group: &lath_feed::TargetGroup,
) -> std::collections::BTreeMap<lath_feed::TargetKey, TargetObserved> {
    let see = |target: &lath_feed::Target| TargetObserved {
        health: match target.draining_since {
            Some(_) => TargetHealth::Drained,
            None if !group.in_use => TargetHealth::Unused,
            None => TargetHealth::Healthy,
        },
        reason: None,
        ejection: None,
        since: target.draining_since.unwrap_or_default(),
        in_flight: 0,
    };
    let targets = group.targets.iter();
    targets
        .map(|(key, target)| (key.clone(), see(target)))
        .collect()
}
