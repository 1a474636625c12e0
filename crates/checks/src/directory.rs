//! How an observer gets to an endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use lath_feed::{Service, Snapshot, Topology};
use lath_model::id::{ServiceId, VpcId};
use lath_net::Place;
use lath_zones::{Client, HealthVerdicts, Kind, Name, Question, Random, Rcode, Scope, Zones};

use crate::told::Names;

/// How many CNAMEs from zone to zone are followed.
const HOPS: usize = 8;

/// The way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// One of these addresses, from there.
    Direct(Place, Vec<IpAddr>),
    /// What another region's gateway calls it.
    Gateway(SocketAddrV4, String),
    /// A name that only the host's resolvers know; then from there.
    Resolver(Place, String),
    /// There is no such name.
    Nowhere,
}

/// What an observer knows of names.
#[derive(Debug)]
pub(crate) struct Directory {
    topology: Arc<Topology>,
    zones: Arc<Zones>,
    verdicts: Arc<HealthVerdicts>,
    /// Names of this region's services and endpoints: in the router of a VPC.
    ours: BTreeMap<String, (VpcId, Vec<IpAddr>)>,
    /// Further names with their addresses.
    addresses: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// Names of other regions: the region, and what its gateway calls them.
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
            ours: ours(snapshot),
            addresses: snapshot.names.clone(),
            elsewhere,
        }
    }

    /// For the witness, which is told addresses.
    pub(crate) fn told(
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
            .ours
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
        if let Some((vpc, addresses)) = self.ours.get(name) {
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
            return None; // delegated to somebody else
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

    /// Where everything is reached that is in no VPC.
    fn outside(&self) -> Place {
        match self.topology.underlay {
            Some(_) => Place::Underlay,
            None => Place::Host,
        }
    }

    /// The addresses that the witness must be told for a name.
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

/// Lattice's own addresses lead to a service only inside a VPC.
fn is_service(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[..3] == [169, 254, 171])
}

/// Services in a VPC that is associated with one of their networks, or else behind an endpoint of it; and
/// endpoints.
fn ours(snapshot: &Snapshot) -> BTreeMap<String, (VpcId, Vec<IpAddr>)> {
    let mut ours = BTreeMap::new();
    let mut behind = BTreeMap::new();
    for vpc in snapshot.vpcs.values() {
        for endpoint in vpc.endpoints.values() {
            let addresses = endpoint.addresses.values();
            let addresses: Vec<_> = addresses.map(|(_, address)| IpAddr::V4(*address)).collect();
            let way = (vpc.id.clone(), addresses);
            for (service, name) in &endpoint.names {
                ours.insert(name.to_ascii_lowercase(), way.clone());
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
                ours.insert(name.to_ascii_lowercase(), way.clone());
            }
        }
    }
    ours
}

/// This region's own services. Those of others may be in a snapshot as well, and are their region's to tell.
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

/// The names that this region's gateway reaches, and what it calls them.
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
