//! What a `CONNECT` may ask for.

use std::net::{IpAddr, SocketAddr};

use lath_feed::{Snapshot, TargetGroup};
use lath_model::id::VpcId;

const SUFFIX: &str = ".target.lath";
/// A name has at most 253 characters, a port 5.
const LONGEST: usize = 260;
/// How many VPCs are tried for a service.
const WAYS: usize = 3;

/// Asks for a target: its address in a VPC of the gateway's region.
pub fn target_authority(vpc: &VpcId, target: SocketAddr) -> String {
    // A colon ends a host.
    let address = target.ip().to_string().replace(':', "-");
    format!("{address}.{vpc}{SUFFIX}:{}", target.port())
}

/// Asks for a service by its generated or custom name.
pub fn service_authority(name: &str, port: u16) -> String {
    format!("{}:{port}", name.trim_end_matches('.'))
}

/// Where an authority leads: the addresses that are tried one after the other, each in a VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) ways: Vec<(VpcId, SocketAddr)>,
}

/// Where an authority leads, as far as the snapshot names it; otherwise why not.
pub(crate) fn resolve(snapshot: &Snapshot, authority: &str) -> Result<Destination, &'static str> {
    if authority.len() > LONGEST {
        return Err("the name is too long");
    }
    let (host, port) = authority.rsplit_once(':').ok_or("the port is missing")?;
    let port = port.parse().map_err(|_| "the port is no number")?;
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.strip_suffix(SUFFIX) {
        Some(target) => resolve_target(snapshot, target, port),
        None => resolve_service(snapshot, &host, port),
    }
}

fn resolve_target(
    snapshot: &Snapshot,
    target: &str,
    port: u16,
) -> Result<Destination, &'static str> {
    let (address, vpc) = target.rsplit_once('.').ok_or("the VPC is missing")?;
    let vpc: VpcId = vpc.parse().map_err(|_| "that is no VPC")?;
    let address: IpAddr = address
        .replace('-', ":")
        .parse()
        .map_err(|_| "that is no address")?;
    let is_here = |group: &TargetGroup| {
        let here = group.region.as_ref();
        group.vpc == vpc && here.is_none_or(|region| *region == snapshot.region)
    };
    let mut groups = snapshot
        .target_groups
        .values()
        .filter(|group| is_here(group));
    if groups.any(|group| has(group, address, port)) {
        let ways = vec![(vpc, SocketAddr::new(address, port))];
        return Ok(Destination { ways });
    }
    Err("no target group of this region has that target")
}

fn has(group: &TargetGroup, address: IpAddr, port: u16) -> bool {
    let checked = group.health_check.as_ref().and_then(|check| check.port);
    group.targets.iter().any(|(key, target)| {
        target.address == Some(address) && (key.port == port || checked == Some(port))
    })
}

fn resolve_service(
    snapshot: &Snapshot,
    host: &str,
    port: u16,
) -> Result<Destination, &'static str> {
    let is_named = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(host);
    let service = snapshot
        .services
        .values()
        .find(|service| {
            let custom = service.custom_domain_name.as_deref();
            is_named(&service.domain_name) || custom.is_some_and(is_named)
        })
        .ok_or("this region has no such service")?;
    if !service
        .listeners
        .values()
        .any(|listener| listener.port == port)
    {
        return Err("the service has no listener at that port");
    }
    let at = SocketAddr::new(service.address.into(), port);
    let ways: Vec<_> = snapshot
        .vpcs
        .values()
        .filter(|vpc| {
            let network = vpc.lattice.as_ref().map(|known| &known.service_network);
            let network = network.and_then(|id| snapshot.service_networks.get(id));
            network.is_some_and(|network| network.services.contains(&service.id))
        })
        .take(WAYS)
        .map(|vpc| (vpc.id.clone(), at))
        .collect();
    if ways.is_empty() {
        return Err("the service is in no service network with a VPC of this region");
    }
    Ok(Destination { ways })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use lath_feed::{
        Auth, HealthCheck, LatticeAssociation, Listener, Service, ServiceNetwork, Target,
        TargetKey, Vpc,
    };
    use lath_model::lattice::{Action, ListenerProtocol, ProtocolVersion, TargetProtocol};

    const VPCS: [&str; 2] = ["vpc-00000000000000001", "vpc-00000000000000002"];

    fn insert_groups(snapshot: &mut Snapshot) {
        let check = HealthCheck {
            protocol: TargetProtocol::Http,
            protocol_version: ProtocolVersion::Http1,
            port: Some(9090),
            path: "/".into(),
            matcher: vec![(200, 200)],
            interval: std::time::Duration::from_secs(5),
            timeout: std::time::Duration::from_secs(1),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        };
        for (id, region, address) in [
            ("tg-00000000000000001", None, Some("10.0.1.10")),
            ("tg-00000000000000002", Some("here"), Some("fd00::10")),
            ("tg-00000000000000003", Some("elsewhere"), Some("10.0.1.11")),
            ("tg-00000000000000004", None, None),
        ] {
            let key = TargetKey {
                id: "a target".into(),
                port: 8080,
            };
            let target = Target {
                address: address.map(|text| text.parse().unwrap()),
                draining_since: None,
            };
            let group = TargetGroup {
                id: id.parse().unwrap(),
                arn: String::new(),
                name: String::new(),
                vpc: VPCS[0].parse().unwrap(),
                region: region.map(String::from),
                protocol: TargetProtocol::Http,
                protocol_version: None,
                health_check: Some(check.clone()),
                balancing: None,
                tls: None,
                in_use: true,
                targets: [(key, target)].into(),
            };
            snapshot
                .target_groups
                .insert(group.id.clone(), Arc::new(group));
        }
    }

    fn insert_service(snapshot: &mut Snapshot, id: &str, name: &str, custom: Option<&str>) {
        let listener = Listener {
            id: "listener-00000000000000001".parse().unwrap(),
            arn: String::new(),
            protocol: ListenerProtocol::Http,
            port: 80,
            rules: Vec::new(),
            default_rule: "rule-00000000000000001".parse().unwrap(),
            default_action: Action::FixedResponse(404),
            matched: Vec::new(),
            traffic: Default::default(),
            mutual_tls: None,
            gateway: None,
        };
        let service = Service {
            id: id.parse().unwrap(),
            arn: String::new(),
            name: String::new(),
            domain_name: name.into(),
            custom_domain_name: custom.map(String::from),
            certificate: None,
            routes: Vec::new(),
            address: "169.254.171.5".parse().unwrap(),
            auth: Auth::None,
            idle_timeout: std::time::Duration::from_secs(60),
            listeners: [(listener.id.clone(), listener)].into(),
            access_logs: Vec::new(),
        };
        snapshot
            .services
            .insert(service.id.clone(), Arc::new(service));
    }

    /// Two VPCs, of which the second has a service network with the first of two services.
    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot {
            region: "here".into(),
            ..Snapshot::default()
        };
        insert_groups(&mut snapshot);
        insert_service(
            &mut snapshot,
            "svc-00000000000000001",
            "web.on.aws",
            Some("App.Example"),
        );
        insert_service(&mut snapshot, "svc-00000000000000002", "lone.on.aws", None);
        let network = ServiceNetwork {
            id: "sn-00000000000000001".parse().unwrap(),
            arn: String::new(),
            name: String::new(),
            auth: Auth::None,
            services: ["svc-00000000000000001".parse().unwrap()].into(),
            access_logs: Vec::new(),
            workloads_only: false,
        };
        for (index, id) in VPCS.iter().enumerate() {
            let lattice = LatticeAssociation {
                id: "snva-00000000000000001".parse().unwrap(),
                service_network: network.id.clone(),
                security_groups: [].into(),
            };
            let vpc = Vpc {
                id: id.parse().unwrap(),
                owner: String::new(),
                cidrs: Vec::new(),
                dns_support: true,
                dns_hostnames: true,
                dhcp_options: None,
                subnets: BTreeMap::new(),
                route_tables: BTreeMap::new(),
                internet_gateway: None,
                interfaces: BTreeMap::new(),
                lattice: (index == 1).then_some(lattice),
                nat_gateways: BTreeMap::new(),
                endpoints: BTreeMap::new(),
                network_acls: BTreeMap::new(),
                peerings: BTreeMap::new(),
            };
            snapshot.vpcs.insert(vpc.id.clone(), Arc::new(vpc));
        }
        snapshot
            .service_networks
            .insert(network.id.clone(), Arc::new(network));
        snapshot
    }

    #[test]
    fn only_what_the_snapshot_names_is_reached() {
        let target = |at: &str| target_authority(&VPCS[0].parse().unwrap(), at.parse().unwrap());
        let service = Some((VPCS[1], "169.254.171.5:80"));
        let long = format!("{}:80", "a".repeat(300));
        for (name, authority, want) in [
            (
                "its own port",
                target("10.0.1.10:8080"),
                Some((VPCS[0], "10.0.1.10:8080")),
            ),
            (
                "the check's port",
                target("10.0.1.10:9090"),
                Some((VPCS[0], "10.0.1.10:9090")),
            ),
            (
                "IPv6",
                target("[fd00::10]:8080"),
                Some((VPCS[0], "[fd00::10]:8080")),
            ),
            ("another port", target("10.0.1.10:22"), None),
            ("another region's target", target("10.0.1.11:8080"), None),
            ("nobody's address", target("0.0.0.0:8080"), None),
            (
                "another VPC",
                format!("10.0.1.10.{}.target.lath:8080", VPCS[1]),
                None,
            ),
            (
                "generated name",
                service_authority("web.on.aws", 80),
                service,
            ),
            ("any case, with a dot", "WEB.on.aws.:80".into(), service),
            (
                "custom name",
                service_authority("app.example.", 80),
                service,
            ),
            (
                "no listener there",
                service_authority("web.on.aws", 443),
                None,
            ),
            ("in no VPC", service_authority("lone.on.aws", 80), None),
            ("no port", "web.on.aws".into(), None),
            ("a large port", "web.on.aws:65536".into(), None),
            ("too long", long, None),
            ("nothing", String::new(), None),
        ] {
            let got = resolve(&snapshot(), &authority).ok();
            let want = want.map(|(vpc, at)| Destination {
                ways: vec![(vpc.parse().unwrap(), at.parse().unwrap())],
            });
            assert_eq!(got, want, "{name}");
        }
    }
}
