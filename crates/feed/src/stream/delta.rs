//! What changed between two snapshots, item by item. That an item is the same is seen by its `Arc`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::OrdMap;
use lath_model::ManagedId;
use lath_model::id::*;
use serde::{Deserialize, Serialize};

use crate::*;

/// What changed of one map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change<K: Ord, V> {
    put: BTreeMap<K, Arc<V>>,
    gone: BTreeSet<K>,
}

impl<K: Ord, V> Default for Change<K, V> {
    /// Nothing changed: what another version's end says of a map that it does not know.
    fn default() -> Self {
        Self {
            put: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone, V: Eq> Change<K, V> {
    fn between(old: &Items<K, V>, new: &Items<K, V>) -> Self {
        let mut change = Self::default();
        for (key, item) in old.changes(new) {
            match item {
                Some(item) => drop(change.put.insert(key.clone(), Arc::clone(item))),
                None => drop(change.gone.insert(key.clone())),
            }
        }
        change
    }

    /// Items that are equal keep their `Arc`s.
    fn apply(self, items: &mut Items<K, V>) {
        for key in &self.gone {
            items.remove(key);
        }
        for (key, item) in self.put {
            if items.get(&key) != Some(&item) {
                items.insert(key, item);
            }
        }
    }
}

/// A list of the snapshot's maps. A new member of [`Snapshot`] does not compile until it stands here.
macro_rules! delta {
    ($($(#[$attribute:meta])* $map:ident: $key:ty => $item:ty),* $(,)?) => {
        /// The way from one snapshot to the next.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Delta {
            /// Whether it starts from nothing, and not from what was sent before.
            whole: bool,
            /// Whether control takes [`super::Report`]s; one of the version before takes whole observations alone.
            #[serde(default)]
            takes_reports: bool,
            version: u64,
            region: String,
            account: String,
            $($(#[$attribute])* $map: Change<$key, $item>,)*
            names: Option<OrdMap<String, BTreeSet<Ipv4Addr>>>,
            #[serde(default)]
            cut: Option<BTreeSet<InstanceId>>,
            #[serde(default)]
            name_sharing: Option<OrdMap<VpcId, BTreeSet<TransitGatewayId>>>,
            #[serde(default)]
            callers: Option<Arc<CallerBook>>,
            /// A list of one, so that "none any more" is not read as "no change".
            #[serde(default)]
            lattice_certificate: Option<(Option<Arc<Certificate>>,)>,
            /// The same of the workloads' authority.
            #[serde(default)]
            workload_authority: Option<(Option<Arc<WorkloadAuthority>>,)>,
            topology: Option<Arc<Topology>>,
            #[serde(default)]
            authority: Option<Arc<str>>,
            #[serde(default)]
            nodes: Option<u32>,
        }

        impl Delta {
            /// From `old`, or from nothing.
            pub(crate) fn between(old: Option<&Snapshot>, new: &Snapshot) -> Self {
                let whole = old.is_none();
                let nothing = Snapshot::default();
                let old = old.unwrap_or(&nothing);
                let Snapshot {
                    version, region, account, $($map,)* names, cut, name_sharing, callers,
                    lattice_certificate, workload_authority, topology, authority, nodes
                } = new;
                Self {
                    whole,
                    takes_reports: true,
                    version: *version,
                    region: region.clone(),
                    account: account.clone(),
                    $($map: Change::between(&old.$map, $map),)*
                    names: (whole || old.names != *names).then(|| names.clone()),
                    cut: (whole || old.cut != *cut).then(|| cut.clone()),
                    name_sharing: (whole || old.name_sharing != *name_sharing)
                        .then(|| name_sharing.clone()),
                    callers: (whole || !Arc::ptr_eq(&old.callers, callers))
                        .then(|| Arc::clone(callers)),
                    lattice_certificate: (whole || old.lattice_certificate != *lattice_certificate)
                        .then(|| (lattice_certificate.clone(),)),
                    workload_authority: (whole || old.workload_authority != *workload_authority)
                        .then(|| (workload_authority.clone(),)),
                    topology: (whole || !Arc::ptr_eq(&old.topology, topology))
                        .then(|| Arc::clone(topology)),
                    authority: (whole || old.authority != *authority)
                        .then(|| Arc::clone(authority)),
                    nodes: (whole || old.nodes != *nodes).then_some(*nodes),
                }
            }

            /// The snapshot after `known`. Items that are equal keep their `Arc`s.
            pub(crate) fn apply(self, known: &Snapshot) -> Snapshot {
                let mut next = if self.whole { Snapshot::default() } else { known.clone() };
                next.version = self.version;
                next.region = self.region;
                next.account = self.account;
                $(self.$map.apply(&mut next.$map);)*
                if let Some(names) = self.names {
                    next.names = names;
                }
                if let Some(cut) = self.cut {
                    next.cut = cut;
                }
                if let Some(name_sharing) = self.name_sharing {
                    next.name_sharing = name_sharing;
                }
                if let Some(callers) = self.callers {
                    next.callers = callers;
                }
                if let Some((certificate,)) = self.lattice_certificate {
                    next.lattice_certificate = certificate;
                }
                if let Some((authority,)) = self.workload_authority {
                    next.workload_authority = authority;
                }
                if let Some(topology) = self.topology {
                    next.topology = topology;
                }
                if let Some(authority) = self.authority {
                    next.authority = authority;
                }
                if let Some(nodes) = self.nodes {
                    next.nodes = nodes;
                }
                if self.whole {
                    next.share_with(known);
                }
                next
            }

            /// Whether control takes what changed of observations.
            pub(crate) fn takes_reports(&self) -> bool {
                self.takes_reports
            }

            /// Whether a node that has nothing yet can obey it.
            pub(crate) fn is_whole(&self) -> bool {
                self.whole
            }
        }
    };
}

delta! {
    vpcs: VpcId => Vpc,
    prefix_lists: PrefixListId => PrefixList,
    security_groups: SecurityGroupId => SecurityGroup,
    instances: InstanceId => Instance,
    // An end of the version before knows none. All other maps are missing only where bytes are damaged.
    #[serde(default)]
    workloads: ManagedId => ManagedWorkload,
    #[serde(default)]
    control_planes: ManagedId => ControlPlane,
    #[serde(default)]
    functions: String => Function,
    service_networks: ServiceNetworkId => ServiceNetwork,
    services: ServiceId => Service,
    target_groups: TargetGroupId => TargetGroup,
    #[serde(default)]
    function_groups: TargetGroupId => FunctionGroup,
    #[serde(default)]
    resource_gateways: ResourceGatewayId => ResourceGateway,
    #[serde(default)]
    resources: ResourceConfigurationId => Resource,
    #[serde(default)]
    resource_associations: ServiceNetworkResourceAssociationId => ResourceAssociation,
    transit_gateways: TransitGatewayId => TransitGateway,
    hosted_zones: HostedZoneId => HostedZone,
    #[serde(default)]
    records: RecordName => NamedRecords,
    health_checks: HealthCheckId => Route53HealthCheck,
}
