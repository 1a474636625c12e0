//! What VPCs reach of Lattice.

use std::collections::{BTreeMap, BTreeSet};

use lath_model::id::*;
use lath_model::lattice::ListenerProtocol;

use super::{changed, step};
use crate::*;

/// How often each thing is needed by others of a slice.
#[derive(Debug)]
pub(super) struct Needs<K: Ord>(BTreeMap<K, usize>);

impl<K: Ord> Default for Needs<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Needs<K> {
    pub(super) fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Something that needed `before` needs `now`. Adds all of both to `touched`.
    pub(super) fn change(
        &mut self,
        before: BTreeSet<K>,
        now: BTreeSet<K>,
        touched: &mut BTreeSet<K>,
    ) {
        for key in &now {
            *self.0.entry(key.clone()).or_default() += 1;
        }
        for key in &before {
            let left = self.0.get(key).map_or(0, |count| count - 1);
            match left {
                0 => drop(self.0.remove(key)),
                left => drop(self.0.insert(key.clone(), left)),
            }
        }
        touched.extend(before);
        touched.extend(now);
    }
}

/// Follows snapshots with what some VPCs reach: the networks that they are joined with, the services in those, and the target
/// groups that these lead to.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) vpcs: Items<VpcId, Vpc>,
    networks: Items<ServiceNetworkId, ServiceNetwork>,
    services: Items<ServiceId, Service>,
    joined: Needs<ServiceNetworkId>,
    offered: Needs<ServiceId>,
    forwards: Needs<TargetGroupId>,
    /// Networks and services whose policies ask who calls.
    asking: usize,
    /// Services with listeners that end TLS.
    ending_tls: usize,
}

/// What may be reached otherwise than before.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) networks: BTreeSet<ServiceNetworkId>,
    pub(super) services: BTreeSet<ServiceId>,
    pub(super) groups: BTreeSet<TargetGroupId>,
}

impl Touched {
    pub(super) fn extend(&mut self, other: Self) {
        self.networks.extend(other.networks);
        self.services.extend(other.services);
        self.groups.extend(other.groups);
    }
}

impl Reach {
    /// Follows the VPCs for which `has` holds.
    pub(super) fn follow(
        &mut self,
        old: &Snapshot,
        next: &Snapshot,
        has: impl Fn(&VpcId) -> bool,
    ) -> Touched {
        let mut touched = Touched {
            networks: changed(&old.service_networks, &next.service_networks),
            services: changed(&old.services, &next.services),
            groups: changed(&old.target_groups, &next.target_groups),
        };
        let now = |id: &VpcId| next.vpcs.get(id).filter(|_| has(id)).cloned();
        let vpcs = changed(&old.vpcs, &next.vpcs);
        step(&mut self.vpcs, vpcs, now, |before, now| {
            let (before, now) = (networks_of(before), networks_of(now));
            self.joined.change(before, now, &mut touched.networks);
        });
        let (joined, all) = (&self.joined, &next.service_networks);
        let now = |id: &ServiceNetworkId| all.get(id).filter(|_| joined.has(id)).cloned();
        let networks = touched.networks.clone();
        step(&mut self.networks, networks, now, |before, now| {
            count(&mut self.asking, before, now, |it| asks(&it.auth));
            let services = |it: Option<&ServiceNetwork>| it.map(|it| it.services.clone());
            let before = services(before).unwrap_or_default();
            let now = services(now).unwrap_or_default();
            self.offered.change(before, now, &mut touched.services);
        });
        let (offered, all) = (&self.offered, &next.services);
        let now = |id: &ServiceId| all.get(id).filter(|_| offered.has(id)).cloned();
        let services = touched.services.clone();
        step(&mut self.services, services, now, |before, now| {
            count(&mut self.asking, before, now, |it| asks(&it.auth));
            count(&mut self.ending_tls, before, now, ends_tls);
            let (before, now) = (groups_of(before), groups_of(now));
            self.forwards.change(before, now, &mut touched.groups);
        });
        touched
    }

    pub(super) fn has_network(&self, id: &ServiceNetworkId) -> bool {
        self.joined.has(id)
    }

    pub(super) fn has_service(&self, id: &ServiceId) -> bool {
        self.offered.has(id)
    }

    pub(super) fn has_group(&self, id: &TargetGroupId) -> bool {
        self.forwards.has(id)
    }

    /// Whether a policy asks who calls.
    pub(super) fn asks_who_calls(&self) -> bool {
        self.asking > 0
    }

    /// Whether TLS of generated names ends at a listener.
    pub(super) fn ends_tls(&self) -> bool {
        self.ending_tls > 0
    }
}

/// Keeps the number of those that are so.
fn count<V>(number: &mut usize, before: Option<&V>, now: Option<&V>, is: impl Fn(&V) -> bool) {
    *number += usize::from(now.is_some_and(&is));
    *number -= usize::from(before.is_some_and(&is));
}

fn asks(auth: &Auth) -> bool {
    matches!(auth, Auth::AwsIam { .. })
}

fn ends_tls(service: &Service) -> bool {
    let mut listeners = service.listeners.values();
    listeners.any(|it| it.protocol == ListenerProtocol::Https)
}

fn networks_of(vpc: Option<&Vpc>) -> BTreeSet<ServiceNetworkId> {
    let Some(vpc) = vpc else {
        return BTreeSet::new();
    };
    let associated = vpc.lattice.iter().map(|it| &it.service_network);
    let endpoints = vpc.endpoints.values();
    let endpoints = endpoints.filter_map(|it| it.service_network.as_ref());
    associated.chain(endpoints).cloned().collect()
}

fn groups_of(service: Option<&Service>) -> BTreeSet<TargetGroupId> {
    let listeners = service.into_iter().flat_map(|it| it.listeners.values());
    listeners.flat_map(Listener::groups).cloned().collect()
}
