use std::net::Ipv4Addr;
use std::time::Duration;

use lath_model::lattice::{Action, ListenerProtocol, TargetProtocol, WeightedTargetGroup};
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
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice,
        nat_gateways: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        network_acls: BTreeMap::new(),
        peerings: BTreeMap::new(),
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
        workloads_only: false,
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
        matched: Vec::new(),
        traffic: Default::default(),
        mutual_tls: None,
        gateway: None,
    };
    Service {
        id: id("svc", number),
        arn: String::new(),
        name: String::new(),
        domain_name: String::new(),
        custom_domain_name: None,
        certificate: None,
        routes: Vec::new(),
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
        balancing: None,
        tls: None,
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

fn resource_gateway(number: u64, vpc: u64) -> ResourceGateway {
    ResourceGateway {
        id: id("rgw", number),
        vpc: id("vpc", vpc),
        interfaces: BTreeMap::new(),
        security_groups: BTreeSet::new(),
    }
}

fn resource(number: u64, gateway: u64) -> Resource {
    Resource {
        id: id("rcfg", number),
        arn: String::new(),
        gateway: id("rgw", gateway),
        target: ResourceTarget::Address(Ipv4Addr::new(10, 0, 0, 9)),
        ports: vec![(5432, 5432)],
        access_logs: Vec::new(),
    }
}

/// The network has the resource of this number.
fn resource_association(number: u64, network: u64) -> ResourceAssociation {
    ResourceAssociation {
        id: id("snra", number),
        network: id("sn", network),
        network_arn: String::new(),
        resource: id("rcfg", number),
        address: Ipv4Addr::new(129, 224, 0, 5),
        domain_name: String::new(),
        private_name: None,
        access_logs: Vec::new(),
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
        match self.below(12) {
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
            8 => put!(
                resource_associations,
                id("snra", number),
                resource_association(number, other)
            ),
            9 => put!(resources, id("rcfg", number), resource(number, other)),
            10 => put!(
                resource_gateways,
                id("rgw", number),
                resource_gateway(number, other)
            ),
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

/// A service network with a service in each of two VPCs; the service in the second one is `far`'s alone.
fn two_sides(change: impl FnOnce(&mut ServiceNetwork, &mut Service)) -> Arc<Snapshot> {
    let mut snapshot = Snapshot {
        region: "us-east-1".into(),
        version: 1,
        callers: Arc::new(CallerBook {
            managed: BTreeMap::from([("arn".to_owned(), "{}".to_owned())]),
            ..CallerBook::default()
        }),
        lattice_certificate: Some(Arc::new(Certificate {
            chain: "chain".into(),
            key: Hidden("key".into()),
        })),
        ..Snapshot::default()
    };
    let far = MANY - 1;
    let (mut its_network, mut its_service) = (network(far, [far]), service(far, far));
    change(&mut its_network, &mut its_service);
    let networks = [network(0, [0]), its_network];
    let services = [service(0, 0), its_service];
    for number in [0, far] {
        let vpc = vpc(number, Some(number));
        snapshot.vpcs.insert(vpc.id.clone(), Arc::new(vpc));
    }
    for network in networks {
        let id = network.id.clone();
        snapshot.service_networks.insert(id, Arc::new(network));
    }
    for service in services {
        let id = service.id.clone();
        snapshot.services.insert(id, Arc::new(service));
    }
    Arc::new(snapshot)
}

#[test]
fn secrets_go_to_nodes_alone_that_need_them() {
    let asking = || Auth::AwsIam { policy: None };
    let https = |service: &mut Service| {
        for listener in service.listeners.values_mut() {
            listener.protocol = ListenerProtocol::Https;
        }
    };
    type Change = Box<dyn Fn(&mut ServiceNetwork, &mut Service)>;
    let cases: [(&str, Change, bool, bool); 4] = [
        ("nothing asks", Box::new(|_, _| {}), false, false),
        (
            "a network asks",
            Box::new(move |it, _| it.auth = asking()),
            true,
            false,
        ),
        (
            "a service asks",
            Box::new(move |_, it| it.auth = asking()),
            true,
            false,
        ),
        (
            "a service ends TLS",
            Box::new(move |_, it| https(it)),
            false,
            true,
        ),
    ];
    for (name, change, callers, certificate) in cases {
        let whole = two_sides(change);
        let far = slicer(&node("far")).follow(&whole);
        assert_eq!(far.services.len(), 1, "{name}");
        assert_eq!(*far.callers != CallerBook::default(), callers, "{name}");
        assert_eq!(far.lattice_certificate.is_some(), certificate, "{name}");
        let near = slicer(&NodeId::default()).follow(&whole);
        assert_eq!(*near.callers, CallerBook::default(), "{name}");
        assert_eq!(near.lattice_certificate, None, "{name}");
    }
    // What no node needs any more is taken back, and what is taken back once is no change the next time.
    let mut following = slicer(&node("far"));
    let asked = two_sides(|it, _| it.auth = asking());
    let with = following.follow(&asked);
    assert!(Arc::ptr_eq(&with.callers, &asked.callers));
    let without = following.follow(&two_sides(|_, _| {}));
    assert_eq!(*without.callers, CallerBook::default());
    let again = following.follow(&two_sides(|_, _| {}));
    assert!(Arc::ptr_eq(&without.callers, &again.callers));
    // A cluster's control plane asks too.
    let mut planes = Snapshot::clone(&two_sides(|_, _| {}));
    let plane = workload(1, MANY - 1);
    planes
        .workloads
        .insert(plane.id.clone(), Arc::new(plane.clone()));
    planes
        .control_planes
        .insert(plane.id.clone(), Arc::new(control_plane(plane.id)));
    let planes = Arc::new(planes);
    let callers = |of: &NodeId| Arc::clone(&slicer(of).follow(&planes).callers);
    assert!(Arc::ptr_eq(&callers(&node("far")), &planes.callers));
    assert_eq!(*callers(&NodeId::default()), CallerBook::default());
}

#[test]
fn the_authority_of_workloads_goes_to_nodes_with_instances() {
    let mut snapshot = Snapshot::clone(&two_sides(|_, _| {}));
    snapshot.workload_authority = Some(Arc::new(WorkloadAuthority {
        certificate: Certificate {
            chain: "chain".into(),
            key: Hidden("key".into()),
        },
        trust_domain: "test".into(),
    }));
    let without = Arc::new(snapshot.clone());
    let till = instance(1, MANY - 1);
    snapshot.instances.insert(till.id.clone(), Arc::new(till));
    let with = Arc::new(snapshot);
    let (mut far, mut near) = (slicer(&node("far")), slicer(&NodeId::default()));
    for (whole, wanted) in [(&without, false), (&with, true), (&without, false)] {
        assert_eq!(far.follow(whole).workload_authority.is_some(), wanted);
        assert_eq!(near.follow(whole).workload_authority, None);
    }
}

fn instance(number: u64, vpc: u64) -> Instance {
    Instance {
        id: id("i", number),
        vpc: id("vpc", vpc),
        power: Power::On,
        boot: 1,
        root: RootSource::Host,
        capacity: Default::default(),
        hostname: String::new(),
        resource_name: None,
        user_data: Vec::new(),
        metadata: InstanceMetadata {
            image: id("ami", 1),
            instance_type: String::new(),
            reservation: id("r", 1),
            launch_index: 0,
            launched_at: lath_model::Timestamp::from_millis(0),
            key: None,
            availability_zone: String::new(),
            tags: None,
            tokens_required: true,
            hop_limit: 1,
            enabled: true,
            profile: None,
        },
        kind: Default::default(),
        cluster: None,
    }
}

fn control_plane(id: ManagedId) -> ControlPlane {
    ControlPlane {
        id,
        name: String::new(),
        arn: String::new(),
        version: String::new(),
        boot: 1,
        addresses: Vec::new(),
        service_cidr: "172.20.0.0/16".parse().unwrap(),
        keys: ClusterKeys {
            authority: String::new(),
            authority_key: Hidden(String::new()),
            service_accounts: Hidden(String::new()),
        },
        issuer: String::new(),
        public_endpoint: None,
        logging: BTreeSet::new(),
        access: ClusterAccess::default(),
        addons: BTreeMap::new(),
        pod_identities: Vec::new(),
        unreachable_seconds: None,
        identity_provider: None,
        scales: false,
    }
}

#[test]
fn resources_are_where_endpoints_lead_to_them() {
    let mut snapshot = Snapshot::clone(&two_sides(|_, _| {}));
    let (resource, gateway) = (resource(1, 1), resource_gateway(1, 0));
    let at = (snapshot.vpcs.keys())
        .find(|it| slicer(&node("far")).has(it))
        .cloned();
    let mut vpc = Vpc::clone(&snapshot.vpcs[&at.unwrap()]);
    let endpoint: VpcEndpointId = id("vpce", 1);
    let leads = EndpointResource {
        association: None,
        addresses: BTreeMap::new(),
        private_name: None,
    };
    vpc.endpoints.insert(
        endpoint.clone(),
        VpcEndpoint {
            id: endpoint.clone(),
            service_network: None,
            addresses: BTreeMap::new(),
            security_groups: BTreeSet::new(),
            names: BTreeMap::new(),
            resources: BTreeMap::from([(resource.id.clone(), leads)]),
        },
    );
    snapshot
        .resources
        .insert(resource.id.clone(), Arc::new(resource));
    snapshot
        .resource_gateways
        .insert(gateway.id.clone(), Arc::new(gateway));
    let without = Arc::new(snapshot.clone());
    snapshot.vpcs.insert(vpc.id.clone(), Arc::new(vpc));
    let with = Arc::new(snapshot);
    let has = |slice: &Snapshot| (slice.resources.len(), slice.resource_gateways.len());
    let (mut far, mut near) = (slicer(&node("far")), slicer(&NodeId::default()));
    for (whole, want) in [(&without, (0, 0)), (&with, (1, 1)), (&without, (0, 0))] {
        assert_eq!(has(&far.follow(whole)), want);
        // The gateway's own VPC is there.
        assert_eq!(has(&near.follow(whole)), (0, 1));
    }
}

#[test]
fn what_no_vpc_reaches_is_on_one_node_and_resources_are_where_their_networks_are() {
    let mut snapshot = Snapshot::clone(&two_sides(|_, _| {}));
    let far = MANY - 1;
    let lone = network(2, [2]);
    snapshot
        .service_networks
        .insert(lone.id.clone(), Arc::new(lone));
    for number in [2, 3] {
        let service = service(number, number);
        let id = service.id.clone();
        snapshot.services.insert(id, Arc::new(service));
    }
    for (number, network, gateway) in [(0, 0, 0), (1, far, 1), (2, 2, 2)] {
        let association = resource_association(number, network);
        let resource = resource(number, gateway);
        let at = resource_gateway(gateway, if number == 1 { 0 } else { number });
        snapshot
            .resource_associations
            .insert(association.id.clone(), Arc::new(association));
        snapshot
            .resources
            .insert(resource.id.clone(), Arc::new(resource));
        snapshot
            .resource_gateways
            .insert(at.id.clone(), Arc::new(at));
    }
    let whole = Arc::new(snapshot);
    let slices = [NodeId::default(), node("far")].map(|it| slicer(&it).follow(&whole));
    let numbers = |slice: &Snapshot| {
        let last = |id: &str| u64::from_str_radix(&id[id.len() - 1..], 16).unwrap();
        [
            slice
                .service_networks
                .keys()
                .map(|it| last(it.as_str()))
                .collect(),
            slice.services.keys().map(|it| last(it.as_str())).collect(),
            slice
                .resource_associations
                .keys()
                .map(|it| last(it.as_str()))
                .collect(),
            slice.resources.keys().map(|it| last(it.as_str())).collect(),
            slice
                .resource_gateways
                .keys()
                .map(|it| last(it.as_str()))
                .collect::<Vec<_>>(),
        ]
    };
    let [near, away] = slices.each_ref().map(|it| numbers(it));
    // Of the gateways, its own VPCs' too.
    assert_eq!(
        near,
        [
            vec![0, 2],
            vec![0, 2, 3],
            vec![0, 2],
            vec![0, 2],
            vec![0, 1, 2]
        ]
    );
    assert_eq!(away, [vec![far], vec![far], vec![1], vec![1], vec![1]]);
}
