use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_feed::{Items, NamedRecords, RecordName, Snapshot, Topology};
use lath_model::id::{HostedZoneId, VpcId};

use crate::external::{External, externals};
use crate::name::suffixes;
use crate::zone::Zone;
use crate::{Client, Name};

/// The zones that may answer a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Public zones. Of several zones with the same name the one with the smallest id answers, because all delegation
    /// sets share one server address.
    Public,
    /// Private zones associated with this VPC (with its region).
    Vpc(&'a (String, VpcId)),
    /// This zone.
    Zone(&'a HostedZoneId),
}

/// All hosted zones, compiled, with the other data that answers depend on.
#[derive(Debug)]
pub struct Zones {
    version: u64,
    /// What they were compiled of.
    records: Items<RecordName, NamedRecords>,
    by_id: HashMap<HostedZoneId, Arc<Zone>>,
    by_name: HashMap<Name, Vec<Arc<Zone>>>,
    externals: HashMap<Name, External>,
    region_addresses: RegionAddresses,
}

/// The addresses of each region.
#[derive(Debug)]
struct RegionAddresses {
    here: String,
    blocks: Vec<(Ipv4Net, String)>,
}

impl Zones {
    /// Compiles the zones of a snapshot.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self::compile(snapshot, None)
    }

    /// Compiles the zones of a snapshot. Reuses the unchanged zones of `self`.
    #[must_use]
    pub fn renewed(&self, snapshot: &Snapshot) -> Self {
        Self::compile(snapshot, Some(self))
    }

    fn compile(snapshot: &Snapshot, before: Option<&Self>) -> Self {
        let mut by_id = HashMap::new();
        let mut by_name: HashMap<Name, Vec<Arc<Zone>>> = HashMap::new();
        let changed = before.map(|before| changed_names(&before.records, &snapshot.records));
        for (id, source) in &snapshot.hosted_zones {
            let known = before.and_then(|before| before.by_id.get(id));
            let known = known.filter(|zone| Arc::ptr_eq(&zone.source, source));
            let changed = changed.as_ref().and_then(|changed| changed.get(id));
            let zone = match (known, changed) {
                (Some(known), None) => Some(Arc::clone(known)),
                _ => {
                    let kept = |name: &str| changed.is_none_or(|names| !names.contains(name));
                    let before = known.map(|zone| &**zone);
                    Zone::new(source, snapshot.records_of(id), before, kept).map(Arc::new)
                }
            };
            let Some(zone) = zone else {
                continue;
            };
            let namesakes = by_name.entry(zone.name.clone()).or_default();
            namesakes.push(Arc::clone(&zone));
            by_id.insert(id.clone(), zone);
        }
        Self {
            version: snapshot.version,
            records: snapshot.records.clone(),
            by_id,
            by_name,
            externals: externals(snapshot),
            region_addresses: RegionAddresses::new(&snapshot.topology, &snapshot.region),
        }
    }

    /// The snapshot's version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A client by its address or prefix. An address in no region's pool counts as nearest to the region that
    /// answers.
    pub fn client(&self, prefix: IpNet) -> Client {
        Client::near(prefix, self.region_addresses.region_of(prefix.addr()))
    }

    /// The name of the most specific zone that contains a name.
    pub fn zone_name(&self, name: &Name, scope: Scope<'_>) -> Option<Name> {
        self.zone_of(name.as_wire(), scope)
            .map(|zone| zone.name.clone())
    }

    /// The addresses of a Lattice service's or VPC endpoint's name.
    pub fn external_addresses(&self, name: &Name) -> Option<Vec<std::net::Ipv4Addr>> {
        let external = self.externals.get(name)?;
        let address = |value: &Arc<crate::Value>| {
            <[u8; 4]>::try_from(&*value.wire)
                .ok()
                .map(std::net::Ipv4Addr::from)
        };
        Some(external.addresses.iter().filter_map(address).collect())
    }

    pub(crate) fn external(&self, name: &Name) -> Option<&External> {
        self.externals.get(name)
    }

    pub(crate) fn by_id(&self, id: &HostedZoneId) -> Option<&Zone> {
        self.by_id.get(id).map(|zone| &**zone)
    }

    /// The most specific zone of the scope that contains a name.
    pub(crate) fn zone_of(&self, name: &[u8], scope: Scope<'_>) -> Option<&Zone> {
        if let Scope::Zone(id) = scope {
            let zone = self.by_id(id)?;
            let within = suffixes(name).any(|suffix| suffix == zone.name.as_wire());
            return within.then_some(zone);
        }
        suffixes(name).find_map(|suffix| {
            let namesakes = self.by_name.get(suffix)?;
            namesakes
                .iter()
                .find(|zone| scope.sees(zone))
                .map(|zone| &**zone)
        })
    }
}

/// The names whose record sets differ, by zone.
fn changed_names<'a>(
    old: &'a Items<RecordName, NamedRecords>,
    new: &'a Items<RecordName, NamedRecords>,
) -> HashMap<&'a HostedZoneId, HashSet<&'a str>> {
    let mut changed: HashMap<_, HashSet<_>> = HashMap::new();
    for ((zone, name), _) in old.changes(new) {
        changed.entry(zone).or_default().insert(name.as_str());
    }
    changed
}

impl Scope<'_> {
    fn sees(&self, zone: &Zone) -> bool {
        match (self, &zone.source.vpcs) {
            (Self::Public, vpcs) => vpcs.is_none(),
            (Self::Vpc(vpc), Some(vpcs)) => vpcs.contains(*vpc),
            (Self::Vpc(_), None) => false,
            (Self::Zone(id), _) => zone.source.id == **id,
        }
    }
}

impl RegionAddresses {
    fn new(topology: &Topology, here: &str) -> Self {
        let blocks = topology.regions.iter().flat_map(|(name, place)| {
            let host = |address| Ipv4Net::from(address);
            [place.public_pool, host(place.underlay), host(place.link)]
                .map(|block| (block, name.clone()))
        });
        Self {
            here: here.to_owned(),
            blocks: blocks.collect(),
        }
    }

    fn region_of(&self, address: IpAddr) -> &str {
        let IpAddr::V4(address) = address else {
            return &self.here;
        };
        self.blocks
            .iter()
            .filter(|(block, _)| block.contains(&address) && !address.is_loopback())
            .max_by_key(|(block, _)| block.prefix_len())
            .map_or(&self.here, |(_, region)| region)
    }
}
