//! A snapshot with two VPCs, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::*;

/// 10.0.0.0/16 with an instance of two addresses, one of them public.
pub(crate) const FIRST: &str = "vpc-00000000000000001";

/// 10.0.0.0/16 and 198.51.0.0/24, without public host names.
pub(crate) const SECOND: &str = "vpc-00000000000000002";

const INSTANCE: &str = "i-0123456789abcdef0";

pub(crate) fn snapshot(region: &str) -> Snapshot {
    let vpcs = [
        vpc(
            FIRST,
            &["10.0.0.0/16"],
            &[
                ([10, 0, 1, 10], Some([203, 0, 113, 5])),
                ([10, 0, 1, 11], None),
            ],
        ),
        vpc(
            SECOND,
            &["10.0.0.0/16", "198.51.0.0/24"],
            &[([10, 0, 9, 9], Some([203, 0, 113, 9]))],
        ),
    ];
    Snapshot {
        version: 7,
        region: region.into(),
        account: "123456789012".into(),
        vpcs: vpcs
            .into_iter()
            .map(|vpc| (vpc.id.clone(), Arc::new(vpc)))
            .collect(),
        instances: lath_feed::Items::from([(INSTANCE.parse().unwrap(), Arc::new(instance()))]),
        services: lath_feed::Items::from([service(region)]),
        ..Snapshot::default()
    }
}

fn vpc(id: &str, cidrs: &[&str], addresses: &[([u8; 4], Option<[u8; 4]>)]) -> Vpc {
    let interface = Interface {
        id: "eni-00000000000000001".parse().unwrap(),
        subnet: "subnet-00000000000000001".parse().unwrap(),
        mac: "02:00:0a:00:01:0a".into(),
        addresses: addresses
            .iter()
            .map(|(private, public)| InterfaceAddress {
                private: Ipv4Addr::from(*private),
                public: public.map(Ipv4Addr::from),
            })
            .collect(),
        security_groups: BTreeSet::new(),
        source_dest_check: true,
        attachment: (id == FIRST).then(|| (INSTANCE.parse().unwrap(), 0).into()),
        prefixes: Vec::new(),
        branches: Vec::new(),
    };
    Vpc {
        id: id.parse().unwrap(),
        owner: "123456789012".into(),
        cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        dns_support: true,
        dns_hostnames: id == FIRST,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::from([(interface.id.clone(), interface)]),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    }
}

fn instance() -> Instance {
    Instance {
        id: INSTANCE.parse().unwrap(),
        vpc: FIRST.parse().unwrap(),
        power: Power::On,
        boot: 1,
        root: RootSource::Host,
        capacity: Default::default(),
        hostname: "ip-10-0-1-10.ec2.internal".into(),
        resource_name: Some(format!("{INSTANCE}.ec2.internal")),
        user_data: Vec::new(),
        kind: Default::default(),
        cluster: None,
        metadata: InstanceMetadata {
            image: "ami-00000000000000001".parse().unwrap(),
            instance_type: "t3.micro".into(),
            reservation: "r-00000000000000001".parse().unwrap(),
            launch_index: 0,
            launched_at: lath_model::Timestamp::from_millis(0),
            key: None,
            availability_zone: "us-east-1a".into(),
            tags: None,
            tokens_required: true,
            hop_limit: 1,
            enabled: true,
            profile: None,
        },
    }
}

fn service(region: &str) -> (lath_model::id::ServiceId, Arc<Service>) {
    let id: lath_model::id::ServiceId = "svc-0123456789abcdef0".parse().unwrap();
    let service = Service {
        id: id.clone(),
        arn: "arn".into(),
        name: "web".into(),
        domain_name: format!("web-0123456789abcdef0.7d67968.vpc-lattice-svcs.{region}.on.aws"),
        custom_domain_name: Some("web.example.com".into()),
        certificate: None,
        routes: Vec::new(),
        address: Ipv4Addr::new(169, 254, 171, 10),
        auth: Auth::None,
        idle_timeout: Duration::from_secs(60),
        listeners: BTreeMap::new(),
        access_logs: Vec::new(),
    };
    (id, Arc::new(service))
}
