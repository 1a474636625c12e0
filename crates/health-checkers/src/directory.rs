//! The routes from an observer to endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use lath_feed::{Service, Snapshot, Topology};
use lath_model::id::{ServiceId, VpcId};
use lath_net::Place;
use lath_zones::{Client, HealthVerdicts, Kind, Name, Question, Random, Rcode, Scope, Zones};

use crate::messages::Names;

/// CNAMEs from zone to zone that are followed at most.
const HOPS: usize = 8;

/// The route to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Connect to one of these addresses from this network.
    Direct(Place, Vec<IpAddr>),
    /// Connect through another region's gateway, which knows the endpoint by this authority.
    Gateway(SocketAddrV4, String),
    /// Resolve the name with the host's resolvers, then connect from this network.
    Resolver(Place, String),
    /// The name does not exist.
    Nowhere,
}

/// The names that an observer can resolve.
#[derive(Debug)]
pub(crate) struct Directory {
    topology: Arc<Topology>,
    zones: Arc<Zones>,
    verdicts: Arc<HealthVerdicts>,
    /// Names of this region's services and endpoints, which are reached from the router of a VPC.
    local: BTreeMap<String, (VpcId, Vec<IpAddr>)>,
    /// Other names with their addresses.
    addresses: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// Names in other regions: the region, and the authority at its gateway.
    elsewhere: BTreeMap<String, (String, String)>,
}

impl Directory {
    pub(crate) fn new(
        topology: Arc<Topology>,
        snapshot: &Snapshot,
        zones: Arc<Zones>,
        verdicts: Arc<HealthVerdicts>,
        elsewhere: BTreeMap<String, (String, String)>,
    ) -> Self {
        Self {
            topology,
            zones,
            verdicts,
            local: local(snapshot),
            addresses: snapshot
                .names
                .iter()
                .map(|(name, addresses)| (name.clone(), addresses.clone()))
                .collect(),
            elsewhere,
        }
    }

    /// A directory for the witness, which gets addresses from nodes.
    pub(crate) fn for_witness(
        topology: Arc<Topology>,
        addresses: BTreeMap<String, BTreeSet<Ipv4Addr>>,
        elsewhere: BTreeMap<String, (String, String)>,
    ) -> Self {
        let snapshot = Snapshot::default();
        let zones = Arc::new(Zones::new(&snapshot));
        Self {
            addresses,
            ..Self::new(topology, &snapshot, zones, Arc::default(), elsewhere)
        }
    }

    pub(crate) fn to_address(&self, address: IpAddr) -> Route {
        let own = self
            .local
            .values()
            .find(|(_, all)| is_service(&address) && all.contains(&address));
        match own {
            Some((vpc, _)) => Route::Direct(Place::Vpc(vpc.clone()), vec![address]),
            None => Route::Direct(self.outside(), vec![address]),
        }
    }

    pub(crate) fn to_name(&self, name: &str) -> Route {
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        for _ in 0..HOPS {
            if let Some(route) = self.known(&name) {
                return route;
            }
            match self.in_zones(&name) {
                None => return Route::Resolver(self.outside(), name),
                Some(Found::Addresses(found)) => return self.to_addresses(found),
                Some(Found::Next(next)) => name = next.without_dot(),
            }
        }
        Route::Nowhere
    }

    fn known(&self, name: &str) -> Option<Route> {
        if let Some((vpc, addresses)) = self.local.get(name) {
            return Some(Route::Direct(Place::Vpc(vpc.clone()), addresses.clone()));
        }
        if let Some((region, authority)) = self.elsewhere.get(name)
            && let Some(gateway) = self.topology.gateway(region)
        {
            return Some(Route::Gateway(gateway, authority.clone()));
        }
        let addresses = self.addresses.get(name)?;
        let addresses = addresses.iter().copied().map(IpAddr::V4).collect();
        Some(Route::Direct(self.outside(), addresses))
    }

    fn to_addresses(&self, found: Vec<IpAddr>) -> Route {
        match found.iter().find(|address| is_service(address)) {
            Some(address) => self.to_address(*address),
            None if found.is_empty() => Route::Nowhere,
            None => Route::Direct(self.outside(), found),
        }
    }

    fn in_zones(&self, name: &str) -> Option<Found> {
        let question = Question {
            name: Name::from_text(name).ok()?,
            kind: Kind::A,
        };
        let prefix = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
        let client = Client::near(prefix, &self.topology.region);
        let mut random = Random::new(rand::random());
        let view = &*self.verdicts;
        let answer = self
            .zones
            .answer(&question, Scope::Public, view, &client, &mut random)?;
        if !answer.authoritative {
            return None; // delegated to another name server
        }
        if let Some(next) = answer.next {
            return Some(Found::Next(next));
        }
        let usable = answer.rcode == Rcode::NoError;
        let records = answer
            .records
            .iter()
            .filter(|r| usable && r.kind == Kind::A);
        let address = |octets: &[u8]| <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
        let found = records.filter_map(|record| address(&record.value.wire));
        Some(Found::Addresses(found.collect()))
    }

    /// The network from which endpoints outside of VPCs are reached.
    fn outside(&self) -> Place {
        match self.topology.underlay {
            Some(_) => Place::Underlay,
            None => Place::Host,
        }
    }

    /// The addresses of a name that the witness needs from a node.
    pub(crate) fn public_addresses(&self, name: &str) -> Option<BTreeSet<Ipv4Addr>> {
        let Route::Direct(place, addresses) = self.to_name(name) else {
            return None;
        };
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        (place == self.outside()).then(|| v4.collect())
    }
}

enum Found {
    Addresses(Vec<IpAddr>),
    Next(Name),
}

/// Whether this is a Lattice address, which reaches a service only from a VPC.
fn is_service(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[..3] == [169, 254, 171])
}

/// Endpoints, and services with a VPC from which they are reached: an associated VPC, or else one with an endpoint.
fn local(snapshot: &Snapshot) -> BTreeMap<String, (VpcId, Vec<IpAddr>)> {
    let mut local = BTreeMap::new();
    let mut behind = BTreeMap::new();
    for vpc in snapshot.vpcs.values() {
        for endpoint in vpc.endpoints.values() {
            let addresses = endpoint.addresses.values();
            let addresses: Vec<_> = addresses.map(|(_, address)| IpAddr::V4(*address)).collect();
            let way = (vpc.id.clone(), addresses);
            for (service, name) in &endpoint.names {
                local.insert(name.to_ascii_lowercase(), way.clone());
                behind.insert(service.clone(), way.clone());
            }
        }
    }
    for service in services_here(snapshot) {
        let direct = vpc_of(snapshot, &service.id);
        let direct = direct.map(|vpc| (vpc.clone(), vec![IpAddr::V4(service.address)]));
        if let Some(way) = direct.or_else(|| behind.get(&service.id).cloned()) {
            let custom = service.custom_domain_name.as_ref();
            for name in custom.into_iter().chain([&service.domain_name]) {
                local.insert(name.to_ascii_lowercase(), way.clone());
            }
        }
    }
    local
}

/// This region's services. A snapshot may contain services of other regions, whose names those regions announce.
fn services_here(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Service>> {
    snapshot.services.values().filter(|service| {
        let region = service.arn.split(':').nth(3);
        region.is_none_or(|region| region.is_empty() || region == snapshot.region)
    })
}

fn vpc_of<'a>(snapshot: &'a Snapshot, service: &ServiceId) -> Option<&'a VpcId> {
    let offers = |vpc: &&Arc<lath_feed::Vpc>| {
        let network = vpc.lattice.as_ref().map(|lattice| &lattice.service_network);
        let network = network.and_then(|id| snapshot.service_networks.get(id));
        network.is_some_and(|network| network.services.contains(service))
    };
    snapshot.vpcs.values().find(offers).map(|vpc| &vpc.id)
}

/// The names that this region's gateway reaches, with the authority of each.
pub(crate) fn names(snapshot: &Snapshot) -> Names {
    let mut names = Names::new();
    for service in services_here(snapshot) {
        let own = service.domain_name.to_ascii_lowercase();
        if let Some(custom) = &service.custom_domain_name {
            names.insert(custom.to_ascii_lowercase(), own.clone());
        }
        names.insert(own.clone(), own);
    }
    for endpoint in snapshot
        .vpcs
        .values()
        .flat_map(|vpc| vpc.endpoints.values())
    {
        for (service, name) in &endpoint.names {
            if let Some(service) = snapshot.services.get(service) {
                let own = service.domain_name.to_ascii_lowercase();
                names.insert(name.to_ascii_lowercase(), own);
            }
        }
    }
    names
}
