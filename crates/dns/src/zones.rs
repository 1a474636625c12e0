//! The names that Lath owns, as text: which zone a name is in, and which address it is made of.

use std::net::Ipv4Addr;

use lath_feed::{ControlPlane, Snapshot, Vpc};
use lath_model::id::VpcId;
use lath_model::{Partition, WorkloadId};

/// A name in one of Lath's zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameInZone {
    /// The zone, without a trailing dot.
    pub(crate) zone: String,
    /// What is there.
    pub(crate) what: What,
}

/// What is at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An address.
    Address(Ipv4Addr),
    /// Several.
    Addresses(Vec<Ipv4Addr>),
    /// A host's name, for reverse names.
    Host(String),
    /// Names below it, but nothing itself; or the zone itself.
    Inner,
    /// Nothing.
    Missing,
}

/// Where a name (in lower case, without a trailing dot) is; `None` when it is not ours to answer.
pub(crate) fn locate(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<NameInZone> {
    lattice(snapshot, name)
        .or_else(|| private(snapshot, vpc, name))
        .or_else(|| public(snapshot, vpc, name))
        .or_else(|| issuer(snapshot, vpc, name))
        .or_else(|| reverse(snapshot, vpc, name))
}

/// A VPC endpoint's name, which is a zone by itself.
pub(crate) fn of_endpoint(name: &str, addresses: Vec<Ipv4Addr>) -> NameInZone {
    NameInZone {
        zone: name.to_owned(),
        what: What::Addresses(addresses),
    }
}

/// Whether a zone that Lath generates is one of those that only VPCs have. Others are public ones, in AWS.
pub(crate) fn is_autodefined(zone: &str) -> bool {
    matches!(zone, "ec2.internal" | "compute.internal") || zone.ends_with(".in-addr.arpa")
}

/// Generated names of Lattice services and resources, also those at VPC endpoints: the same answer in every VPC, as they are
/// public names in AWS. Custom names of services are their owners' to serve.
fn lattice(snapshot: &Snapshot, name: &str) -> Option<NameInZone> {
    let zone = ["vpc-lattice-svcs", "vpc-lattice-rsc"]
        .map(|label| format!("{label}.{}.on.aws", snapshot.region))
        .into_iter()
        .find(|zone| is_within(name, zone));
    let found = generated(snapshot).find(|(known, _)| known.eq_ignore_ascii_case(name));
    match (found, zone) {
        (Some((_, address)), zone) => Some(NameInZone {
            zone: zone.unwrap_or_else(|| name.to_owned()),
            what: What::Address(address),
        }),
        (None, Some(zone)) => {
            let at_endpoint = snapshot.names.get(name);
            let what = match at_endpoint {
                Some(addresses) => What::Addresses(addresses.iter().copied().collect()),
                None => inner_or_missing(snapshot, name, &zone),
            };
            Some(NameInZone { zone, what })
        }
        (None, None) => None,
    }
}

/// The generated names and their addresses.
fn generated(snapshot: &Snapshot) -> impl Iterator<Item = (&str, Ipv4Addr)> {
    let services = snapshot.services.values();
    let services = services.map(|it| (it.domain_name.as_str(), it.address));
    let resources = snapshot.resource_associations.values();
    services.chain(resources.map(|it| (it.domain_name.as_str(), it.address)))
}

fn inner_or_missing(snapshot: &Snapshot, name: &str, zone: &str) -> What {
    let is_above = |below: &str| is_within(&below.to_ascii_lowercase(), name);
    let mut others = snapshot.names.keys();
    let is_known = generated(snapshot).any(|(known, _)| is_above(known));
    if name == zone || is_known || others.any(|known| is_above(known)) {
        What::Inner
    } else {
        What::Missing
    }
}

/// The user's own name of a resource, in the VPCs that private DNS gives it to: at one of the VPC's endpoints, else by its
/// association with a service network. It is a zone by itself, as specific as a private zone can be.
pub(crate) fn private_resource(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<NameInZone> {
    let mut at_endpoints = vpc.endpoints.values().flat_map(|it| it.resources.values());
    if let Some(at) = at_endpoints.find(|it| it.private_name.as_deref() == Some(name)) {
        return Some(of_endpoint(name, at.addresses.values().copied().collect()));
    }
    let mut all = snapshot.resource_associations.values();
    let found = all.find(|it| {
        let private = it.private_name.as_ref();
        private.is_some_and(|it| it.name == name && it.vpcs.contains(&vpc.id))
    })?;
    Some(NameInZone {
        zone: name.to_owned(),
        what: What::Address(found.address),
    })
}

/// Names of instances and addresses inside the VPC. Such names of other regions exist nowhere and
/// are not asked upstream.
fn private(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<NameInZone> {
    let zone = ["ec2.internal", "compute.internal"]
        .into_iter()
        .find(|zone| is_within(name, zone))?;
    let ours = private_zone(&snapshot.region);
    let what = if name == zone || name == ours {
        What::Inner
    } else {
        name.strip_suffix(ours.as_str())
            .and_then(|label| label.strip_suffix('.'))
            .and_then(|label| private_host(vpc, label))
            .or_else(|| named_instance(snapshot, vpc, name))
            .map_or(What::Missing, What::Address)
    };
    let zone = zone.to_owned();
    Some(NameInZone { zone, what })
}

fn private_host(vpc: &Vpc, label: &str) -> Option<Ipv4Addr> {
    let address = dashed(label.strip_prefix("ip-")?)?;
    addresses(vpc)
        .any(|(private, _)| private == address)
        .then_some(address)
}

/// An instance by the name made of its id, such as `i-....ec2.internal`, where that name has an A record.
fn named_instance(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<Ipv4Addr> {
    let is_named = |instance: &lath_feed::Instance| {
        let known = instance.resource_name.as_deref();
        instance.vpc == vpc.id && known.is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    let mut instances = snapshot.instances.values();
    let instance = instances.find(|instance| is_named(instance))?;
    let workload = WorkloadId::from(instance.id.clone());
    vpc.interfaces
        .values()
        .find(|interface| interface.device_at(&workload) == Some(0))
        .and_then(|interface| Some(interface.addresses.first()?.private))
}

/// Public names of instances: inside their VPC, and in those that a Transit Gateway with DNS support joins to it, they
/// lead to the private address, elsewhere to the public one. Those of addresses that are not Lath's are real names of real hosts, and not ours.
fn public(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<NameInZone> {
    let zone = Partition::public_hosts(&snapshot.region);
    let label = name.strip_suffix(zone.as_str())?.strip_suffix('.')?;
    let address = dashed(label.strip_prefix("ec2-")?)?;
    let (owner, private) = owner_of_public(snapshot, address)?;
    let what = if !owner.dns_hostnames {
        What::Missing
    } else if owner.id == vpc.id || is_private_here(snapshot, vpc, &owner.id) {
        What::Address(private)
    } else {
        What::Address(address)
    };
    Some(NameInZone { zone, what })
}

/// The host of issuers of service account tokens, in VPCs where a cluster is: programs there verify its tokens with what is
/// served at it. Elsewhere it is a real name of a real host.
fn issuer(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<NameInZone> {
    let is_here = |plane: &ControlPlane| {
        let managed = snapshot.workloads.get(&plane.id);
        managed.is_some_and(|it| it.vpc == vpc.id)
    };
    let has_name =
        |plane: &ControlPlane| plane.issuer_place().is_some_and(|(host, _)| host == name);
    let mut planes = snapshot.control_planes.values();
    planes.find(|plane| has_name(plane) && is_here(plane))?;
    Some(NameInZone {
        zone: name.to_owned(),
        what: What::Address(lath_net::API_ADDRESS),
    })
}

/// Whether a Transit Gateway or a peering connection that shares names joins the two VPCs.
fn is_private_here(snapshot: &Snapshot, here: &Vpc, owner: &VpcId) -> bool {
    let mut peers = here.peerings.values();
    if peers.any(|peer| peer.vpc == *owner && peer.shares_names) {
        return true;
    }
    let gateways_of = |vpc: &VpcId| snapshot.name_sharing.get(vpc);
    let (Some(here), Some(there)) = (gateways_of(&here.id), gateways_of(owner)) else {
        return false;
    };
    here.intersection(there).next().is_some()
}

/// The reverse of addresses. Private and link-local ranges are never asked for outside.
fn reverse(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Option<NameInZone> {
    let octets = reverse_octets(name)?;
    let zone = match octets[..] {
        [10, ..] => "10.in-addr.arpa".to_owned(),
        [first, second, ..] => format!("{second}.{first}.in-addr.arpa"),
        _ => return None,
    };
    let what = match octets[..] {
        [a, b, c, d] => host_at(snapshot, vpc, Ipv4Addr::new(a, b, c, d))?,
        [a, ref rest @ ..] => {
            let b = rest.first().copied().unwrap_or(0);
            let c = rest.get(1).copied().unwrap_or(0);
            is_private(Ipv4Addr::new(a, b, c, 0)).then_some(What::Inner)?
        }
        [] => return None,
    };
    Some(NameInZone { zone, what })
}

fn host_at(snapshot: &Snapshot, vpc: &Vpc, address: Ipv4Addr) -> Option<What> {
    if addresses(vpc).any(|(private, _)| private == address) {
        let zone = private_zone(&snapshot.region);
        return Some(What::Host(format!("ip-{}.{zone}", with_dashes(address))));
    }
    if owner_of_public(snapshot, address).is_some_and(|(owner, _)| owner.dns_hostnames) {
        let zone = Partition::public_hosts(&snapshot.region);
        return Some(What::Host(format!("ec2-{}.{zone}", with_dashes(address))));
    }
    let ours = is_private(address) || vpc.cidrs.iter().any(|cidr| cidr.contains(&address));
    ours.then_some(What::Missing)
}

/// `ec2.internal` in us-east-1, `REGION.compute.internal` elsewhere.
fn private_zone(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

/// Every private address of a VPC with its public one.
fn addresses(vpc: &Vpc) -> impl Iterator<Item = (Ipv4Addr, Option<Ipv4Addr>)> + '_ {
    let of_interface = |interface: &'_ lath_feed::Interface| interface.addresses.clone();
    vpc.interfaces
        .values()
        .flat_map(of_interface)
        .map(|address| (address.private, address.public))
}

fn owner_of_public(snapshot: &Snapshot, public: Ipv4Addr) -> Option<(&Vpc, Ipv4Addr)> {
    snapshot.vpcs.values().find_map(|vpc| {
        let found = addresses(vpc).find(|(_, mapped)| *mapped == Some(public))?;
        Some((&**vpc, found.0))
    })
}

fn is_private(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10: shared address space (RFC 6598), private in VPCs too.
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    address.is_private() || address.is_link_local() || shared
}

/// Whether `name` is `zone` or below it.
fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `10-0-1-10` as an address; nothing else than what [`with_dashes`] writes.
fn dashed(text: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = text.replace('-', ".").parse().ok()?;
    (with_dashes(address) == text).then_some(address)
}

fn with_dashes(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

/// The octets of a reverse name, the highest first: one to four of them.
fn reverse_octets(name: &str) -> Option<Vec<u8>> {
    let labels = name.strip_suffix(".in-addr.arpa")?;
    let mut octets = labels
        .split('.')
        .map(|label| {
            label
                .parse()
                .ok()
                .filter(|octet: &u8| octet.to_string() == label)
        })
        .collect::<Option<Vec<u8>>>()?;
    octets.reverse();
    (octets.len() <= 4).then_some(octets)
}
