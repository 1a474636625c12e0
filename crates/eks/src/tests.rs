//! Requests as clients send them, on a network that EC2 made; the observations are given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use lath_clock::ManualClock;
use lath_control::{Cell, Mode, compile};
use lath_ec2::Ec2;
use lath_ec2_records::{Instance, InstanceState, NetworkInterface, SecurityGroup};
use lath_feed::{
    ClusterNodeObserved, ClusterObserved, Condition, InstanceObserved, InstancePhase, Observed,
    Snapshot,
};
use lath_iam::records::{Policies, Role};
use lath_kubernetes::Binaries;
use lath_kubernetes::binaries::BinariesError;
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use lath_store::{StoreError, Tx};
use lath_wire::{Caller, Principal, Service};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::reconcile::Reconciler;
use crate::record::control_plane;
use crate::{CONTRIBUTIONS, Eks, Platform};

/// A region with a VPC of two zones, and roles.
pub(crate) struct Lab {
    pub(crate) app: Arc<Eks>,
    pub(crate) hands: ManualClock,
    service: Service,
    ec2: Service,
    observed: watch::Sender<Arc<Observed>>,
    reconciler: Reconciler,
    pub(crate) subnets: Vec<String>,
}

const ACCOUNT: &str = "123456789012";
pub(crate) const CLUSTER_ROLE: &str = "arn:aws:iam::123456789012:role/cluster";
pub(crate) const NODE_ROLE: &str = "arn:aws:iam::123456789012:role/node";

fn caller(service: &str) -> Caller {
    Caller {
        account: ACCOUNT.into(),
        region: "us-east-1".into(),
        service: service.into(),
        principal: Principal {
            arn: "arn:aws:sts::123456789012:assumed-role/dev/ann".into(),
            user_id: "AROA:ann".into(),
        },
        access_key_id: "AKIATEST".into(),
        request_id: "r".into(),
        source_ip: None,
        from_vpc: None,
    }
}

fn role(name: &str, path: &str, trusted: &str) -> Role {
    Role {
        name: name.into(),
        unique_id: format!("AROA{name}"),
        path: path.into(),
        description: None,
        trust: format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"Service":"{trusted}"}},"Action":"sts:AssumeRole"}}}}"#
        ),
        trusted: BTreeMap::new(),
        max_session: 3600,
        policies: Policies::default(),
        tags: BTreeMap::new(),
        created_at: Timestamp::default(),
    }
}

fn installed() -> Result<Binaries, BinariesError> {
    Ok(Binaries {
        directory: PathBuf::from("/kubernetes"),
        version: "v1.37.2".into(),
    })
}

impl Lab {
    /// A region whose host has Kubernetes.
    pub(crate) async fn new() -> Self {
        Self::with(installed, Mode::Strict).await
    }

    pub(crate) async fn extended() -> Self {
        Self::with(installed, Mode::Extended).await
    }

    async fn with(
        find: impl Fn() -> Result<Binaries, BinariesError> + Send + Sync + 'static,
        mode: Mode,
    ) -> Self {
        let hands = ManualClock::at(Timestamp::from_millis(1_767_225_600_000));
        let (mut cell, observed) = Cell::for_test_at(hands.clock());
        cell.mode = mode;
        // A port that something listens on is passed over.
        let platform = Platform::new(find, |port| port != 16443);
        let app = Arc::new(Eks {
            cell: cell.clone(),
            platform,
        });
        let mut lab = Self {
            service: crate::service(&app),
            ec2: lath_ec2::service(&Arc::new(Ec2 { cell })),
            reconciler: Reconciler::new(Arc::clone(&app)),
            app,
            hands,
            observed,
            subnets: Vec::new(),
        };
        lab.write(|tx| {
            tx.put(role("cluster", "/", "eks.amazonaws.com"));
            tx.put(role("node", "/", "ec2.amazonaws.com"));
            tx.put(role("dev", "/teams/", "nobody.amazonaws.com"));
        })
        .await;
        let vpc = lab
            .ec2("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId")
            .await;
        for (index, zone) in ["a", "b"].into_iter().enumerate() {
            let form = format!(
                "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.{index}.0/24&AvailabilityZone=us-east-1{zone}"
            );
            let subnet = lab.ec2(&form, "subnetId").await;
            lab.subnets.push(subnet);
        }
        lab
    }

    pub(crate) async fn write<T: Send>(&self, f: impl FnOnce(&mut Tx) -> T + Send) -> T {
        let written = self.app.cell.db.write(|tx| Ok::<_, StoreError>(f(tx)));
        written.await.unwrap()
    }

    /// A member of EC2's answer.
    pub(crate) async fn ec2(&self, form: &str, member: &str) -> String {
        let body = Bytes::from(format!("{form}&Version=2016-11-15"));
        let request = Request::builder()
            .method("POST")
            .uri("/")
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = self
            .ec2
            .respond(&request.body(body).unwrap(), &caller("ec2"))
            .await;
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert_eq!(answer.status(), 200, "{body}");
        let rest = body.split(&format!("<{member}>")).nth(1).unwrap_or(&body);
        rest.split('<').next().unwrap_or_default().to_owned()
    }

    /// An answer's status, and what it says.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        let answer = self
            .service
            .respond(&request.body(body).unwrap(), &caller("eks"))
            .await;
        let text = answer.body().to_vec();
        let value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        (answer.status().as_u16(), value)
    }

    /// What a successful request answers.
    pub(crate) async fn get(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, value) = self.ask(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {value}");
        value
    }

    /// Status and message of a request that fails.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, value) = self.ask(method, path, body).await;
        assert_ne!(status, 200, "{method} {path}: {value}");
        (
            status,
            value["message"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub(crate) fn cluster(&self) -> Value {
        json!({
            "name": "prod",
            "version": "1.29",
            "roleArn": CLUSTER_ROLE,
            "resourcesVpcConfig": {"subnetIds": self.subnets},
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let all = [&lath_ec2::CONTRIBUTIONS[..], &CONTRIBUTIONS].concat();
        compile(&self.app.cell, &self.app.cell.db.view(), &all)
    }

    /// The node has obeyed all that there is: control planes are ready, and so are the nodes, but for those named.
    pub(crate) async fn obey(&self, but: &[InstanceId], drained: bool) {
        let snapshot = self.snapshot();
        let mut observed = Observed {
            applied_version: snapshot.version,
            ..Observed::default()
        };
        for (id, instance) in &snapshot.instances {
            observed.instances.insert(
                id.clone(),
                InstanceObserved {
                    state: InstancePhase::Running,
                    boot: instance.boot,
                    since: self.app.cell.now(),
                },
            );
        }
        for id in snapshot.control_planes.keys() {
            let nodes = snapshot.instances.keys().map(|instance| {
                let node = ClusterNodeObserved {
                    ready: !but.contains(instance),
                    reason: None,
                    pods: 2,
                    drained,
                    configured: true,
                    idle: false,
                };
                (instance.clone(), node)
            });
            let seen = ClusterObserved {
                condition: Condition::Ready {
                    version: snapshot.version,
                },
                version: Some("v1.37.2".into()),
                nodes: nodes.collect(),
                refused_addons: Default::default(),
                identity_provider: None,
                identity_provider_known: true,
                waiting: Vec::new(),
                branches: None,
            };
            observed.clusters.insert(id.clone(), seen);
        }
        self.observed.send_replace(Arc::new(observed));
    }

    /// Observations and their consequences, until nothing changes any more.
    pub(crate) async fn settle(&self, drained: bool) {
        for _ in 0..12 {
            self.obey(&[], drained).await;
            self.pass().await;
            let view = self.app.cell.db.view();
            // EC2's own reconcilers: started instances run, ended ones are gone.
            let all: Vec<Arc<Instance>> = view.list::<Instance>().collect();
            self.write(|tx| {
                for it in &all {
                    let state = match it.state {
                        InstanceState::Pending => InstanceState::Running,
                        InstanceState::ShuttingDown => InstanceState::Terminated,
                        _ => continue,
                    };
                    tx.update::<Instance>(it.id.as_str(), |it| it.state = state);
                }
            })
            .await;
        }
    }

    /// What one pass launches is younger than what an earlier one did.
    pub(crate) async fn pass(&self) {
        self.hands.advance(Duration::from_millis(1));
        self.reconciler.pass().await.unwrap();
    }

    /// A pass that many seconds later.
    pub(crate) async fn pass_after(&self, seconds: u64) {
        self.hands.advance(Duration::from_secs(seconds));
        self.pass().await;
    }

    pub(crate) fn observe(&self, observed: Observed) {
        self.observed.send_replace(Arc::new(observed));
    }

    /// A cluster that is active.
    pub(crate) async fn active(&self) {
        self.get("POST", "/clusters", self.cluster()).await;
        self.settle(false).await;
    }

    pub(crate) async fn status(&self, path: &str, member: &str) -> String {
        let (status, value) = self.ask("GET", path, Value::Null).await;
        if status == 404 {
            return "gone".into();
        }
        value[member]["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

#[tokio::test]
async fn a_cluster_is_active_when_its_api_server_answers_and_gone_when_the_node_lets_it_go() {
    let lab = Lab::new().await;
    let made = lab.get("POST", "/clusters", lab.cluster()).await;
    let cluster = &made["cluster"];
    assert_eq!(cluster["status"], "CREATING");
    assert_eq!(
        cluster["version"], "1.37",
        "what runs, not what was asked for"
    );
    assert_eq!(cluster.get("endpoint").filter(|it| !it.is_null()), None);
    let snapshot = lab.snapshot();
    let id = control_plane("prod");
    let plane = &snapshot.control_planes[&id];
    assert_eq!(plane.service_cidr.to_string(), "172.20.0.0/16");
    assert_eq!(plane.addresses.len(), 2);
    assert_eq!(plane.public_endpoint.as_ref().unwrap().listen.port(), 16444);
    assert_eq!(
        plane.access.creator.as_deref(),
        Some("arn:aws:iam::123456789012:role/teams/dev")
    );
    assert!(plane.addons.contains_key("coredns"));
    assert!(snapshot.workloads.contains_key(&id));
    lab.settle(false).await;
    let shown = lab.get("GET", "/clusters/prod", Value::Null).await;
    assert_eq!(shown["cluster"]["status"], "ACTIVE");
    assert_eq!(shown["cluster"]["endpoint"], "https://127.0.0.1:16444");
    assert!(shown["cluster"]["certificateAuthority"]["data"].is_string());
    let answer = lab.get("DELETE", "/clusters/prod", Value::Null).await;
    assert_eq!(answer["cluster"]["status"], "DELETING");
    lab.pass().await;
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "DELETING");
    lab.settle(false).await;
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "gone");
    let view = lab.app.cell.db.view();
    assert_eq!(view.list::<NetworkInterface>().count(), 0);
    assert_eq!(
        view.list::<SecurityGroup>()
            .filter(|it| !it.is_default())
            .count(),
        0
    );
}

#[tokio::test]
async fn a_host_without_kubernetes_says_what_it_needs() {
    let lab = Lab::with(|| Err(BinariesError::NotNamed), Mode::Strict).await;
    let (status, text) = lab.refused("POST", "/clusters", lab.cluster()).await;
    assert_eq!(status, 400);
    assert!(text.contains("LATH_KUBERNETES_BIN"), "{text}");
    assert_eq!(lab.app.cell.db.view().list::<NetworkInterface>().count(), 0);
}

#[tokio::test]
async fn bad_clusters_are_refused_in_aws_words() {
    let lab = Lab::new().await;
    let one_zone = json!({"subnetIds": [lab.subnets[0]]});
    let unknown = json!({"subnetIds": [lab.subnets[0], "subnet-00000000"]});
    for (member, value, want) in [
        ("name", json!("a.b"), "contains invalid characters"),
        (
            "roleArn",
            json!(NODE_ROLE),
            "could not be assumed because it does not exist",
        ),
        ("version", json!("2.1"), "unsupported Kubernetes version"),
        (
            "resourcesVpcConfig",
            one_zone,
            "must be in at least two different AZs",
        ),
        ("resourcesVpcConfig", unknown, "does not exist"),
        (
            "outpostConfig",
            json!({"outpostArns": ["o"], "controlPlaneInstanceType": "m5.large"}),
            "outpostConfig",
        ),
        (
            "kubernetesNetworkConfig",
            json!({"serviceIpv4Cidr": "10.0.0.0/16"}),
            "overlaps",
        ),
        (
            "kubernetesNetworkConfig",
            json!({"serviceIpv4Cidr": "8.8.0.0/16"}),
            "not valid",
        ),
        ("tags", json!({"aws:x": "y"}), "aws:"),
    ] {
        let mut request = lab.cluster();
        request[member] = value;
        let (status, text) = lab.refused("POST", "/clusters", request).await;
        assert_eq!(status, 400, "{member}: {text}");
        assert!(text.contains(want), "{member}: {text}");
    }
    lab.active().await;
    let (status, text) = lab.refused("POST", "/clusters", lab.cluster()).await;
    assert_eq!(
        (status, text.as_str()),
        (409, "Cluster already exists with name: prod")
    );
}

#[tokio::test]
async fn an_update_is_over_when_the_node_obeyed_it() {
    let lab = Lab::new().await;
    lab.active().await;
    let logging = json!({"logging": {"clusterLogging": [{"types": ["api"], "enabled": true}]}});
    let path = "/clusters/prod/update-config";
    let update = lab.get("POST", path, logging.clone()).await;
    let id = update["update"]["id"].as_str().unwrap().to_owned();
    assert_eq!(update["update"]["type"], "LoggingUpdate");
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "UPDATING");
    let (status, _) = lab.refused("POST", path, logging.clone()).await;
    assert_eq!(status, 409, "one change at a time");
    lab.settle(false).await;
    let path_of_update = format!("/clusters/prod/updates/{id}");
    assert_eq!(lab.status(&path_of_update, "update").await, "Successful");
    assert_eq!(lab.status("/clusters/prod", "cluster").await, "ACTIVE");
    let (_, text) = lab.refused("POST", path, logging).await;
    assert_eq!(text, "No changes needed for the logging config provided");
    let (_, text) = lab
        .refused("POST", "/clusters/prod/updates", json!({"version": "1.38"}))
        .await;
    assert!(text.contains("installed here is 1.37"), "{text}");
}

#[tokio::test]
async fn entries_count_once_the_api_knows_them() {
    let lab = Lab::new().await;
    lab.active().await;
    let entries = "/clusters/prod/access-entries";
    let (status, text) = lab.refused("GET", entries, Value::Null).await;
    assert_eq!(status, 400);
    assert!(text.contains("authentication mode"), "{text}");
    let mode = json!({"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}});
    lab.get("POST", "/clusters/prod/update-config", mode).await;
    lab.settle(false).await;
    let creator = "arn:aws:iam::123456789012:role/teams/dev";
    let listed = lab.get("GET", entries, Value::Null).await;
    assert_eq!(listed["accessEntries"], json!([creator]));
    let plane = &lab.snapshot().control_planes[&control_plane("prod")];
    assert!(plane.access.entries_count);
    assert_eq!(plane.access.creator, None, "its entry says it");
    let entry = &plane.access.entries[creator];
    assert_eq!(entry.policies[0].name, "AmazonEKSClusterAdminPolicy");
    assert_eq!(
        entry.unique_id.as_deref(),
        Some("AROA"),
        "of who created it"
    );
    let encoded = creator.replace(':', "%3A").replace('/', "%2F");
    let policies = format!("{entries}/{encoded}/access-policies");
    let view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
    let scope = json!({"type": "namespace", "namespaces": ["shop"]});
    let request = json!({"policyArn": view, "accessScope": scope});
    lab.get("POST", &policies, request).await;
    let listed = lab.get("GET", &policies, Value::Null).await;
    assert_eq!(
        listed["associatedAccessPolicies"].as_array().unwrap().len(),
        2
    );
    lab.get("POST", entries, json!({"principalArn": NODE_ROLE}))
        .await;
    let plane = &lab.snapshot().control_planes[&control_plane("prod")];
    let id = plane.access.entries[NODE_ROLE].unique_id.as_deref();
    assert_eq!(id, Some("AROAnode"));
    let encoded_node = NODE_ROLE.replace(':', "%3A").replace('/', "%2F");
    lab.get("DELETE", &format!("{entries}/{encoded_node}"), Value::Null)
        .await;
    let unknown = json!({"principalArn": "arn:aws:iam::123456789012:role/none"});
    let (_, text) = lab.refused("POST", entries, unknown).await;
    assert!(text.contains("principalArn is invalid"), "{text}");
    lab.get("DELETE", &format!("{entries}/{encoded}"), Value::Null)
        .await;
    let plane = &lab.snapshot().control_planes[&control_plane("prod")];
    assert!(plane.access.entries.is_empty());
}

#[tokio::test]
async fn addons_and_pod_identities_reach_the_control_plane() {
    let lab = Lab::new().await;
    lab.active().await;
    let of = async |version: &str| {
        let path =
            format!("/addons/supported-versions?addonName=coredns&kubernetesVersion={version}");
        lab.get("GET", &path, Value::Null).await["addons"].clone()
    };
    let compatible = of("1.29").await[0]["addonVersions"][0]["compatibilities"][0].clone();
    assert_eq!(compatible["clusterVersion"], "1.29");
    assert_eq!(of("1.9").await, json!([]));
    let agent = json!({"addonName": "eks-pod-identity-agent"});
    lab.get("POST", "/clusters/prod/addons", agent).await;
    let plane = Arc::clone(&lab.snapshot().control_planes[&control_plane("prod")]);
    assert!(plane.has_pod_identity_agent());
    for (name, owner) in [
        ("metrics-server", "community"),
        ("aws-ebs-csi-driver", "aws"),
    ] {
        let request = json!({"addonName": name});
        let made = lab.get("POST", "/clusters/prod/addons", request).await;
        assert_eq!(made["addon"]["owner"], owner);
        let plane = Arc::clone(&lab.snapshot().control_planes[&control_plane("prod")]);
        assert!(plane.addons.contains_key(name));
    }
    let proxy = json!({"addonName": "kube-proxy"});
    let made = lab
        .get("POST", "/clusters/prod/addons", proxy.clone())
        .await;
    assert_eq!(made["addon"]["status"], "CREATING");
    lab.settle(false).await;
    let path = "/clusters/prod/addons/kube-proxy";
    assert_eq!(lab.status(path, "addon").await, "ACTIVE");
    let (status, _) = lab.refused("POST", "/clusters/prod/addons", proxy).await;
    assert_eq!(status, 409);
    let bad = json!({"addonName": "coredns", "configurationValues": "{\"replicas\": 1}"});
    let (_, text) = lab.refused("POST", "/clusters/prod/addons", bad).await;
    assert!(text.contains("replicas"), "{text}");
    let associations = "/clusters/prod/pod-identity-associations";
    let request = json!({"namespace": "shop", "serviceAccount": "cart", "roleArn": NODE_ROLE});
    let made = lab.get("POST", associations, request.clone()).await;
    let id = made["association"]["associationId"]
        .as_str()
        .unwrap()
        .to_owned();
    let (status, _) = lab.refused("POST", associations, request).await;
    assert_eq!(status, 409);
    let plane = Arc::clone(&lab.snapshot().control_planes[&control_plane("prod")]);
    assert!(plane.addons.contains_key("kube-proxy"));
    assert_eq!(plane.pod_identities[0].service_account, "cart");
    lab.get("DELETE", &format!("{associations}/{id}"), Value::Null)
        .await;
    lab.get("DELETE", path, Value::Null).await;
    lab.settle(false).await;
    assert_eq!(lab.status(path, "addon").await, "gone");
    let plane = Arc::clone(&lab.snapshot().control_planes[&control_plane("prod")]);
    assert!(plane.pod_identities.is_empty());
    assert!(!plane.addons.contains_key("kube-proxy"));
}

#[tokio::test]
async fn tags_are_found_by_arn() {
    let lab = Lab::new().await;
    lab.active().await;
    let arn = "arn%3Aaws%3Aeks%3Aus-east-1%3A123456789012%3Acluster%2Fprod";
    let path = format!("/tags/{arn}");
    lab.get("POST", &path, json!({"tags": {"env": "test"}}))
        .await;
    let tags = lab.get("GET", &path, Value::Null).await;
    assert_eq!(tags["tags"], json!({"env": "test"}));
    lab.get("DELETE", &format!("{path}?tagKeys=env"), Value::Null)
        .await;
    let (status, _) = lab
        .refused("GET", &path.replace("prod", "none"), Value::Null)
        .await;
    assert_eq!(status, 404);
}
