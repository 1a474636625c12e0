//! What concerns one node of several: the part of a region's snapshot that its VPCs need.

mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use lath_model::ManagedId;
use lath_model::id::*;

use self::reach::{Needs, Reach};
use crate::*;

/// Which node has which VPC. A VPC's router is on one machine, and all its workloads are with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Placement {
    /// Each node has all VPCs: there is one node.
    #[default]
    Whole,
    /// The node of each VPC; one that is not named here is on the node [`NodeId::default`].
    Vpcs(OrdMap<VpcId, NodeId>),
}

impl Placement {
    /// The nodes that have VPCs, where it names them.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        match self {
            Self::Whole => BTreeSet::new(),
            Self::Vpcs(nodes) => nodes.values().cloned().chain([NodeId::default()]).collect(),
        }
    }

    fn places(&self, vpc: &VpcId, node: &NodeId) -> bool {
        match self {
            Self::Whole => true,
            Self::Vpcs(nodes) => match nodes.get(vpc) {
                Some(its) => its == node,
                None => *node == NodeId::default(),
            },
        }
    }
}

/// Follows snapshots with what concerns a node. What a next one costs is what changed, and what that touches.
#[derive(Debug)]
pub(crate) struct Slicer {
    node: NodeId,
    placement: Placement,
    /// What was followed last.
    whole: Arc<Snapshot>,
    slice: Snapshot,
    /// What the node's VPCs reach of Lattice.
    near: Reach,
    /// What those of other nodes do; followed on the node that has what no node reaches.
    far: Reach,
    resources: Needs<ResourceConfigurationId>,
    gateways: Needs<ResourceGatewayId>,
    /// For a node that does not need the callers: the same each time, so that it is no change.
    nobody: Arc<CallerBook>,
}

impl Slicer {
    pub(crate) fn new(node: NodeId, placement: Placement) -> Self {
        Self {
            node,
            placement,
            whole: Arc::default(),
            slice: Snapshot::default(),
            near: Reach::default(),
            far: Reach::default(),
            resources: Needs::default(),
            gateways: Needs::default(),
            nobody: Arc::default(),
        }
    }

    /// Begins anew with another placement.
    pub(crate) fn place(&mut self, placement: Placement) {
        if placement != self.placement {
            *self = Self::new(self.node.clone(), placement);
        }
    }

    /// What concerns the node.
    pub(crate) fn follow(&mut self, next: &Arc<Snapshot>) -> Arc<Snapshot> {
        if self.placement == Placement::Whole {
            return Arc::clone(next);
        }
        let old = std::mem::replace(&mut self.whole, Arc::clone(next));
        self.follow_lattice(&old, next);
        self.follow_vpcs(&old, next);
        self.follow_workloads(&old, next);
        self.follow_gateways(&old, next);
        self.follow_zones(&old, next);
        let slice = self.slice.clone();
        // A cluster's control plane asks whose tokens are shown to it.
        let asks = self.near.asks_who_calls() || !slice.control_planes.is_empty();
        let ends_tls = self.near.ends_tls();
        let has_instances = !slice.instances.is_empty();
        Arc::new(Snapshot {
            vpcs: slice.vpcs,
            security_groups: slice.security_groups,
            service_networks: slice.service_networks,
            services: slice.services,
            target_groups: slice.target_groups,
            name_sharing: slice.name_sharing,
            instances: slice.instances,
            workloads: slice.workloads,
            control_planes: slice.control_planes,
            cut: slice.cut,
            transit_gateways: slice.transit_gateways,
            hosted_zones: slice.hosted_zones,
            records: slice.records,
            resource_gateways: slice.resource_gateways,
            resources: slice.resources,
            resource_associations: slice.resource_associations,
            // They are in no VPC, and run where what no VPC places is.
            functions: match self.node == NodeId::default() {
                true => next.functions.clone(),
                false => Items::new(),
            },
            // Secrets go where something asks for them, and nowhere else.
            callers: Arc::clone(if asks { &next.callers } else { &self.nobody }),
            lattice_certificate: next.lattice_certificate.clone().filter(|_| ends_tls),
            nodes: u32::try_from(self.placement.nodes().len()).unwrap_or(u32::MAX),
            workload_authority: next.workload_authority.clone().filter(|_| has_instances),
            // What is not of VPCs is for all nodes.
            ..Snapshot::clone(next)
        })
    }

    fn has(&self, vpc: &VpcId) -> bool {
        self.placement.places(vpc, &self.node)
    }

    /// What the node's VPCs reach of Lattice. What no VPC reaches is where VPCs are that are not named: somebody has to say
    /// that it works.
    fn follow_lattice(&mut self, old: &Snapshot, next: &Snapshot) {
        let (placement, node) = (&self.placement, &self.node);
        let has = |vpc: &VpcId| placement.places(vpc, node);
        let has_rest = *node == NodeId::default();
        let mut touched = self.near.follow(old, next, has);
        if has_rest {
            touched.extend(self.far.follow(old, next, |vpc| !has(vpc)));
        }
        let (near, far) = (&self.near, &self.far);
        let has_network =
            |id: &ServiceNetworkId| near.has_network(id) || (has_rest && !far.has_network(id));
        let has_service =
            |id: &ServiceId| near.has_service(id) || (has_rest && !far.has_service(id));
        let vpcs_before = std::mem::replace(&mut self.slice.vpcs, near.vpcs.clone());

        let mut associations = changed(&old.resource_associations, &next.resource_associations);
        if !touched.networks.is_empty() {
            let of_touched =
                |it: &&Arc<ResourceAssociation>| touched.networks.contains(&it.network);
            for all in [
                &next.resource_associations,
                &self.slice.resource_associations,
            ] {
                associations.extend(all.values().filter(of_touched).map(|it| it.id.clone()));
            }
        }
        let all = &next.service_networks;
        let now = |id: &ServiceNetworkId| all.get(id).filter(|_| has_network(id)).cloned();
        let networks = &mut self.slice.service_networks;
        step(networks, touched.networks, now, |_, _| {});
        let now = |id: &ServiceId| next.services.get(id).filter(|_| has_service(id)).cloned();
        step(&mut self.slice.services, touched.services, now, |_, _| {});
        // Also those that other regions' services forward to, through this region's gateway.
        let needed = |it: &&Arc<TargetGroup>| near.has_group(&it.id) || has(&it.vpc);
        let now = |id: &TargetGroupId| next.target_groups.get(id).filter(needed).cloned();
        step(
            &mut self.slice.target_groups,
            touched.groups,
            now,
            |_, _| {},
        );

        // Resources are where their networks and endpoints are, and gateways with them and with their VPCs.
        let mut resources = changed(&old.resources, &next.resources);
        for id in changed(&vpcs_before, &self.slice.vpcs) {
            let of = |vpcs: &Items<VpcId, Vpc>| vpcs.get(&id).map(|it| led_to(it));
            let (before, now) = (of(&vpcs_before), of(&self.slice.vpcs));
            let (before, now) = (before.unwrap_or_default(), now.unwrap_or_default());
            self.resources.change(before, now, &mut resources);
        }
        let mut gateways = changed(&old.resource_gateways, &next.resource_gateways);
        let all = &next.resource_associations;
        let needed = |it: &&Arc<ResourceAssociation>| has_network(&it.network);
        let now = |id: &ServiceNetworkResourceAssociationId| all.get(id).filter(needed).cloned();
        let slice = &mut self.slice.resource_associations;
        step(slice, associations, now, |before, now| {
            let of = |it: Option<&ResourceAssociation>| it.map(|it| it.resource.clone());
            let (before, now) = (of(before), of(now));
            let (before, now) = (before.into_iter().collect(), now.into_iter().collect());
            self.resources.change(before, now, &mut resources);
        });
        let (needs, all) = (&self.resources, &next.resources);
        let now = |id: &ResourceConfigurationId| all.get(id).filter(|_| needs.has(id)).cloned();
        step(&mut self.slice.resources, resources, now, |before, now| {
            let of = |it: Option<&Resource>| it.map(|it| it.gateway.clone());
            let (before, now) = (of(before), of(now));
            let (before, now) = (before.into_iter().collect(), now.into_iter().collect());
            self.gateways.change(before, now, &mut gateways);
        });
        let (needs, all) = (&self.gateways, &next.resource_gateways);
        let needed = |it: &&Arc<ResourceGateway>| needs.has(&it.id) || has(&it.vpc);
        let now = |id: &ResourceGatewayId| all.get(id).filter(needed).cloned();
        step(&mut self.slice.resource_gateways, gateways, now, |_, _| {});
    }

    /// What guards VPCs, and whose names they share.
    fn follow_vpcs(&mut self, old: &Snapshot, next: &Snapshot) {
        let (placement, node) = (&self.placement, &self.node);
        let has = |vpc: &VpcId| placement.places(vpc, node);
        let groups = changed(&old.security_groups, &next.security_groups);
        let all = &next.security_groups;
        let now = |id: &SecurityGroupId| all.get(id).filter(|it| has(&it.vpc)).cloned();
        step(&mut self.slice.security_groups, groups, now, |_, _| {});
        for item in old.name_sharing.diff(&next.name_sharing) {
            let (vpc, gateways) = parts(item);
            match gateways.filter(|_| has(vpc)) {
                Some(its) => drop(self.slice.name_sharing.insert(vpc.clone(), its.clone())),
                None => drop(self.slice.name_sharing.remove(vpc)),
            }
        }
    }

    fn follow_workloads(&mut self, old: &Snapshot, next: &Snapshot) {
        let (placement, node) = (&self.placement, &self.node);
        let has = |vpc: &VpcId| placement.places(vpc, node);
        let all = &next.instances;
        let now = |id: &InstanceId| all.get(id).filter(|it| has(&it.vpc)).cloned();
        let instances = changed(&old.instances, all);
        step(&mut self.slice.instances, instances, now, |_, _| {});
        let all = &next.workloads;
        let now = |id: &ManagedId| all.get(id).filter(|it| has(&it.vpc)).cloned();
        let workloads = changed(&old.workloads, all);
        let mut planes = changed(&old.control_planes, &next.control_planes);
        planes.extend(workloads.iter().cloned());
        step(&mut self.slice.workloads, workloads, now, |_, _| {});
        let workloads = &self.slice.workloads;
        let all = &next.control_planes;
        let now = |id: &ManagedId| all.get(id).filter(|_| workloads.contains_key(id)).cloned();
        step(&mut self.slice.control_planes, planes, now, |_, _| {});
        let instances = &self.slice.instances;
        let cut = next.cut.iter().filter(|id| instances.contains_key(id));
        self.slice.cut = cut.cloned().collect();
    }

    /// Transit Gateways, each with what joins VPCs of this node. One that joins no VPC is where VPCs are that are not named.
    fn follow_gateways(&mut self, old: &Snapshot, next: &Snapshot) {
        let gateways = changed(&old.transit_gateways, &next.transit_gateways);
        let concerns = |gateway: &TransitGateway| {
            let mut vpcs = gateway.attachments.values().filter_map(vpc_of).peekable();
            match vpcs.peek() {
                Some(_) => vpcs.any(|vpc| self.has(vpc)),
                None => self.node == NodeId::default(),
            }
        };
        let is_far = |it: &TransitAttachment| vpc_of(it).is_some_and(|vpc| !self.has(vpc));
        let mut near = BTreeMap::new();
        for id in &gateways {
            let gateway = next.transit_gateways.get(id).filter(|it| concerns(it));
            near.insert(id.clone(), gateway.map(|it| without(it, is_far)));
        }
        let now = |id: &TransitGatewayId| near.get(id).cloned().flatten();
        step(&mut self.slice.transit_gateways, gateways, now, |_, _| {});
    }

    /// Public zones, and private ones that a VPC of this node sees.
    fn follow_zones(&mut self, old: &Snapshot, next: &Snapshot) {
        let region = &next.region;
        let sees = |zone: &HostedZone| match &zone.vpcs {
            None => true,
            Some(vpcs) => {
                let mut own = vpcs.iter().filter(|(its, _)| its == region);
                own.any(|(_, vpc)| self.has(vpc))
            }
        };
        let mut shown = BTreeMap::new();
        let zones = changed(&old.hosted_zones, &next.hosted_zones);
        for id in &zones {
            let zone = next.hosted_zones.get(id).filter(|zone| sees(zone));
            shown.insert(id.clone(), zone.cloned());
        }
        let mut records = changed(&old.records, &next.records);
        for (id, now) in &shown {
            // One that comes or goes does with all that is in it.
            if now.is_some() != self.slice.hosted_zones.contains_key(id) {
                for snapshot in [next, &self.slice] {
                    let names = snapshot.records_of(id).map(|(name, _)| name.to_owned());
                    records.extend(names.map(|name| (id.clone(), name)));
                }
            }
        }
        let now = |id: &HostedZoneId| shown.get(id).cloned().flatten();
        step(&mut self.slice.hosted_zones, zones, now, |_, _| {});
        let zones = &self.slice.hosted_zones;
        let now = |name: &RecordName| {
            let records = next.records.get(name);
            records.filter(|_| zones.contains_key(&name.0)).cloned()
        };
        step(&mut self.slice.records, records, now, |_, _| {});
    }
}

/// The keys of items that differ.
fn changed<K: Ord + Clone, V: Eq>(old: &Items<K, V>, next: &Items<K, V>) -> BTreeSet<K> {
    old.changes(next).map(|(key, _)| key.clone()).collect()
}

/// Makes items be what they are `now`, and tells of each that differs what it was and is.
fn step<K: Ord + Clone, V: Eq>(
    items: &mut Items<K, V>,
    keys: BTreeSet<K>,
    now: impl Fn(&K) -> Option<Arc<V>>,
    mut differs: impl FnMut(Option<&V>, Option<&V>),
) {
    for key in keys {
        let (before, now) = (items.get(&key).cloned(), now(&key));
        if before == now {
            continue;
        }
        differs(before.as_deref(), now.as_deref());
        match now {
            Some(item) => drop(items.insert(key, item)),
            None => drop(items.remove(&key)),
        }
    }
}

fn parts<'a, K, V>(item: DiffItem<'a, 'a, K, V>) -> (&'a K, Option<&'a V>) {
    match item {
        DiffItem::Add(key, value) => (key, Some(value)),
        DiffItem::Update { new, .. } => (new.0, Some(new.1)),
        DiffItem::Remove(key, _) => (key, None),
    }
}

/// The resources that a VPC's endpoints lead to.
fn led_to(vpc: &Vpc) -> BTreeSet<ResourceConfigurationId> {
    let endpoints = vpc.endpoints.values();
    endpoints
        .flat_map(|it| it.resources.keys().cloned())
        .collect()
}

fn vpc_of(attachment: &TransitAttachment) -> Option<&VpcId> {
    match &attachment.to {
        TransitPeer::Vpc { vpc, .. } => Some(vpc),
        _ => None,
    }
}

/// A gateway without some of its attachments: what is routed to them is dropped.
fn without(
    gateway: &Arc<TransitGateway>,
    is_far: impl Fn(&TransitAttachment) -> bool,
) -> Arc<TransitGateway> {
    let far = gateway.attachments.values().filter(|it| is_far(it));
    let far: BTreeSet<_> = far.map(|it| it.id.clone()).collect();
    if far.is_empty() {
        return Arc::clone(gateway);
    }
    let mut near = TransitGateway::clone(gateway);
    near.attachments.retain(|id, _| !far.contains(id));
    let tables = near.route_tables.values_mut();
    for target in tables.flat_map(|table| table.routes.values_mut()) {
        if matches!(target, TransitTarget::Attachment(id) if far.contains(id)) {
            *target = TransitTarget::Blackhole;
        }
    }
    Arc::new(near)
}

#[cfg(test)]
mod tests;
