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
