use std::net::Ipv4Addr;
use std::time::Duration;

use lath_model::lattice::{ListenerProtocol, TargetProtocol, WeightedTargetGroup};
use lath_model::{ManagedKind, WorkloadId};

use super::*;

/// How many of each kind there may be.
const MANY: u64 = 6;

fn id<T: std::str::FromStr>(prefix: &str, number: u64) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("{prefix}-{number:017x}").parse().unwrap()
}

fn vpc(number: u64, network: Option<u64>) -> Vpc {
    let lattice = network.map(|network| LatticeAssociation {
        id: id("snva", number),
        service_network: id("sn", network),
        security_groups: BTreeSet::new(),
    });
    Vpc {
        id: id("vpc", number),
        owner: "123456789012".into(),
        cidrs: Vec::new(),
        dns_support: true,
        dns_hostnames: true,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice,
        nat_gateways: BTreeMap::new(),
        endpoints: BTreeMap::new(),
    }
}

fn network(number: u64, services: impl IntoIterator<Item = u64>) -> ServiceNetwork {
    ServiceNetwork {
        id: id("sn", number),
        arn: String::new(),
        name: String::new(),
        auth: Auth::None,
        services: services.into_iter().map(|it| id("svc", it)).collect(),
        access_logs: Vec::new(),
    }
}

fn service(number: u64, group: u64) -> Service {
    let forward = WeightedTargetGroup {
        target_group: id("tg", group),
        weight: 1,
    };
    let listener = Listener {
        id: id("listener", number),
        arn: String::new(),
        protocol: ListenerProtocol::Http,
        port: 80,
        rules: Vec::new(),
        default_rule: id("rule", number),
        default_action: Action::Forward(vec![forward]),
    };
    Service {
        id: id("svc", number),
        arn: String::new(),
        name: String::new(),
        domain_name: String::new(),
        custom_domain_name: None,
        certificate: None,
        address: Ipv4Addr::new(169, 254, 171, 1),
        auth: Auth::None,
        idle_timeout: Duration::from_secs(60),
        listeners: BTreeMap::from([(listener.id.clone(), listener)]),
        access_logs: Vec::new(),
    }
}

fn group(number: u64, vpc: u64) -> TargetGroup {
    TargetGroup {
        id: id("tg", number),
        arn: String::new(),
        name: String::new(),
        vpc: id("vpc", vpc),
        region: None,
        protocol: TargetProtocol::Http,
        protocol_version: None,
        health_check: None,
        in_use: true,
        targets: BTreeMap::new(),
    }
}

fn security_group(number: u64, vpc: u64) -> SecurityGroup {
    SecurityGroup {
        id: id("sg", number),
        name: String::new(),
        vpc: id("vpc", vpc),
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

fn plane(number: u64) -> ManagedId {
    ManagedId::new(ManagedKind::ControlPlane, &format!("c{number}")).unwrap()
}

fn workload(number: u64, vpc: u64) -> ManagedWorkload {
    ManagedWorkload {
        id: plane(number),
        vpc: id("vpc", vpc),
        namespace: NamespaceOrigin::Fabric,
    }
}

/// Joins the VPCs, each with a route of its own.
fn gateway(number: u64, vpcs: impl IntoIterator<Item = u64>) -> TransitGateway {
    let table: TransitGatewayRouteTableId = id("tgw-rtb", number);
    let (mut attachments, mut routes) = (BTreeMap::new(), BTreeMap::new());
    for vpc in vpcs {
        let attachment: TransitGatewayAttachmentId = id("tgw-attach", number * MANY + vpc);
        let to = TransitPeer::Vpc {
            vpc: id("vpc", vpc),
            subnets: BTreeSet::new(),
        };
        let block = format!("10.{vpc}.0.0/16").parse().unwrap();
        routes.insert(block, TransitTarget::Attachment(attachment.clone()));
        let of_table = TransitAttachment {
            id: attachment.clone(),
            to,
            route_table: Some(table.clone()),
        };
        attachments.insert(attachment, of_table);
    }
    let route_table = TransitRouteTable {
        id: table.clone(),
        routes,
    };
    TransitGateway {
        id: id("tgw", number),
        attachments,
        route_tables: BTreeMap::from([(table, route_table)]),
    }
}

fn zone_id(number: u64) -> HostedZoneId {
    format!("Z{number:012}").parse().unwrap()
}

fn zone(number: u64, vpc: Option<u64>) -> HostedZone {
    let seen_by = |vpc| BTreeSet::from([("us-east-1".to_owned(), id("vpc", vpc))]);
    HostedZone {
        id: zone_id(number),
        name: format!("z{number}."),
        vpcs: vpc.map(seen_by),
        name_servers: Vec::new(),
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// Half of the VPCs are on the node `far`.
fn placement() -> Placement {
    let far = (MANY / 2..MANY).map(|number| (id("vpc", number), node("far")));
    Placement::Vpcs(far.collect())
}

fn slicer(of: &NodeId) -> Slicer {
    Slicer::new(of.clone(), placement())
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }

    fn some(&mut self) -> Vec<u64> {
        (0..self.below(4)).map(|_| self.below(MANY)).collect()
    }

    /// Makes, changes or removes something.
    fn change(&mut self, snapshot: &mut Snapshot) {
        let (number, other) = (self.below(MANY), self.below(MANY));
        let gone = self.below(3) == 0;
        macro_rules! put {
            ($map:ident, $key:expr, $item:expr) => {
                if gone {
                    drop(snapshot.$map.remove(&$key))
                } else {
                    drop(snapshot.$map.insert($key, Arc::new($item)))
                }
            };
        }
        let maybe = (self.below(2) == 0).then_some(other);
        match self.below(9) {
            0 => put!(vpcs, id("vpc", number), vpc(number, maybe)),
            1 => put!(
                service_networks,
                id("sn", number),
                network(number, self.some())
            ),
            2 => put!(services, id("svc", number), service(number, other)),
            3 => put!(target_groups, id("tg", number), group(number, other)),
            4 => put!(
                security_groups,
                id("sg", number),
                security_group(number, other)
            ),
            5 => put!(workloads, plane(number), workload(number, other)),
            6 => put!(
                transit_gateways,
                id("tgw", number),
                gateway(number, self.some())
            ),
            7 => put!(hosted_zones, zone_id(number), zone(number, maybe)),
            _ => {
                let name = (zone_id(number), format!("n{other}."));
                let sets = BTreeMap::from([("A".to_owned(), Vec::new())]);
                put!(records, name, sets);
            }
        }
        snapshot.version += 1;
    }
}

#[test]
fn a_slice_that_follows_is_the_slice_made_of_nothing() {
    let mut random = Random(7);
    let nodes = [NodeId::default(), node("far")];
    let mut following = nodes.each_ref().map(slicer);
    let mut snapshot = Snapshot {
        region: "us-east-1".into(),
        ..Snapshot::default()
    };
    for _ in 0..3000 {
        for _ in 0..=random.below(3) {
            random.change(&mut snapshot);
        }
        let next = Arc::new(snapshot.clone());
        for (node, following) in nodes.iter().zip(&mut following) {
            let slice = following.follow(&next);
            assert_eq!(slice, slicer(node).follow(&next), "{node}");
        }
    }
}

#[test]
fn a_node_gets_what_its_vpcs_need() {
    let mut snapshot = Snapshot {
        region: "us-east-1".into(),
        version: 3,
        ..Snapshot::default()
    };
    let far = MANY - 1;
    for (number, network) in [(0, 0), (far, far)] {
        let vpc = vpc(number, Some(network));
        snapshot.vpcs.insert(vpc.id.clone(), Arc::new(vpc));
    }
    for number in [0, far] {
        let network = network(number, [number]);
        snapshot
            .service_networks
            .insert(network.id.clone(), Arc::new(network));
        let service = service(number, number);
        snapshot
            .services
            .insert(service.id.clone(), Arc::new(service));
        // Its targets are in the other node's VPC.
        let group = group(number, far - number);
        snapshot
            .target_groups
            .insert(group.id.clone(), Arc::new(group));
        let guard = security_group(number, number);
        snapshot
            .security_groups
            .insert(guard.id.clone(), Arc::new(guard));
        let workload = workload(number, number);
        snapshot
            .workloads
            .insert(workload.id.clone(), Arc::new(workload));
        let records = BTreeMap::from([("A".to_owned(), Vec::new())]);
        snapshot.add_zone(
            zone(number, Some(number)),
            [(format!("n.z{number}."), records)],
        );
    }
    snapshot.add_zone(zone(2, None), []);
    let gateway = gateway(1, [0, far]);
    snapshot
        .transit_gateways
        .insert(gateway.id.clone(), Arc::new(gateway));
    let whole = Arc::new(snapshot);
    let slice = slicer(&node("far")).follow(&whole);
    assert_eq!(slice.version, 3);
    let only = |prefix: &str| id::<VpcId>(prefix, far);
    assert_eq!(slice.vpcs.keys().collect::<Vec<_>>(), [&only("vpc")]);
    let networks: Vec<_> = slice.service_networks.keys().collect();
    assert_eq!(networks, [&id::<ServiceNetworkId>("sn", far)]);
    assert_eq!(
        slice.services.keys().collect::<Vec<_>>(),
        [&id::<ServiceId>("svc", far)]
    );
    assert_eq!(slice.target_groups.len(), 2, "its service's, and its VPC's");
    assert_eq!(slice.security_groups.len(), 1);
    let workloads: Vec<_> = slice.all_workloads().collect();
    assert_eq!(workloads, [WorkloadId::from(plane(far))]);
    let zones: Vec<_> = slice.hosted_zones.keys().collect();
    assert_eq!(zones, [&zone_id(2), &zone_id(far)]);
    assert_eq!(slice.records.len(), 1);
    let gateway = &slice.transit_gateways[&id("tgw", 1)];
    assert_eq!(gateway.attachments.len(), 1);
    let routes: Vec<_> = gateway
        .route_tables
        .values()
        .flat_map(|it| it.routes.values())
        .collect();
    assert!(matches!(
        routes[..],
        [TransitTarget::Blackhole, TransitTarget::Attachment(_)]
    ));

    // One node alone gets what there is, itself.
    let mut alone = Slicer::new(NodeId::default(), Placement::default());
    assert!(Arc::ptr_eq(&alone.follow(&whole), &whole));
    // Where it is decided later, what concerns it is the same.
    alone.place(placement());
    assert_eq!(
        alone.follow(&whole),
        slicer(&NodeId::default()).follow(&whole)
    );
}
