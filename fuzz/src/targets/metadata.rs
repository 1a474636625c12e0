//! The metadata service: lines of method, path, and headers. Nobody sees another's data, and nothing is
//! seen without a token where one is demanded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lath_feed::{
    Capacity, Instance, InstanceMetadata, Interface, InterfaceAddress, Power, RootSource, Snapshot, Vpc,
};
use lath_instance::fuzzing::metadata;
use lath_model::Timestamp;
use lath_model::id::{ImageId, InstanceId, NetworkInterfaceId, ReservationId, SubnetId, VpcId};

use crate::text;

static WORLD: LazyLock<(Snapshot, VpcId)> = LazyLock::new(world);

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let mut lines = text.lines();
    let method = lines.next().unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    let path = lines.next().unwrap_or("/");
    let headers: HeaderMap = lines.filter_map(header).take(50).collect();
    let (snapshot, vpc) = &*WORLD;
    for host in [10, 11] {
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 1, host));
        let response = metadata(snapshot, vpc, peer, (&method, path, &headers));
        let status = response.status();
        assert!(!status.is_server_error());
        let secret: &[u8] = if host == 10 {
            b"data of 11"
        } else {
            b"data of 10"
        };
        assert!(
            !response
                .body()
                .windows(secret.len())
                .any(|window| window == secret)
        );
        // Tokens cannot be guessed.
        if host == 11 && status == StatusCode::OK {
            assert!(method == Method::PUT && path == "/latest/api/token");
        }
    }
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

fn world() -> (Snapshot, VpcId) {
    let (vpc, subnet) = (VpcId::random(), SubnetId::random());
    let both = [(10, InstanceId::random()), (11, InstanceId::random())];
    let interface = |(host, owner): &(u8, InstanceId)| Interface {
        id: NetworkInterfaceId::random(),
        subnet: subnet.clone(),
        mac: format!("02:00:0a:00:01:{host:02x}"),
        addresses: vec![InterfaceAddress {
            private: Ipv4Addr::new(10, 0, 1, *host),
            public: None,
        }],
        security_groups: BTreeSet::new(),
        source_dest_check: true,
        attachment: Some((owner.clone().into(), 0).into()),
        prefixes: Vec::new(),
        branches: Vec::new(),
    };
    let networks = Vpc {
        id: vpc.clone(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().expect("a block")],
        dns_support: true,
        dns_hostnames: true,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: both
            .iter()
            .map(interface)
            .map(|it| (it.id.clone(), it))
            .collect(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    };
    let instances = both.map(|(host, id)| (id.clone(), Arc::new(instance(host, id, vpc.clone()))));
    let snapshot = Snapshot {
        region: "us-east-1".into(),
        account: "123456789012".into(),
        vpcs: lath_feed::Items::from([(vpc.clone(), Arc::new(networks))]),
        instances: instances.into(),
        ..Snapshot::default()
    };
    (snapshot, vpc)
}

/// Number 10 demands no tokens, number 11 does.
fn instance(host: u8, id: InstanceId, vpc: VpcId) -> Instance {
    Instance {
        id,
        vpc,
        power: Power::On,
        boot: 1,
        capacity: Capacity::default(),
        root: RootSource::Host,
        hostname: format!("ip-10-0-1-{host}.ec2.internal"),
        resource_name: None,
        user_data: format!("data of {host}").into_bytes(),
        kind: Default::default(),
        cluster: None,
        metadata: InstanceMetadata {
            image: ImageId::random(),
            instance_type: "t3.micro".into(),
            reservation: ReservationId::random(),
            launch_index: 0,
            launched_at: Timestamp::from_millis(0),
            key: Some(("key".into(), "ssh-ed25519 AAAA".into())),
            availability_zone: "us-east-1a".into(),
            tags: Some(BTreeMap::from([("a/b".into(), "x".into())])),
            tokens_required: host == 11,
            enabled: true,
            hop_limit: 1,
            profile: None,
        },
    }
}
