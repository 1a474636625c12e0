//! Desired state: what a node must make true.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::OrdMap;
use lath_model::id::*;
use lath_model::{ManagedId, WorkloadId};
use serde::{Deserialize, Serialize};

use crate::{
    CallerBook, Certificate, ControlPlane, Function, FunctionGroup, HostedZone, Instance,
    InstanceKind, Interface, Items, ManagedWorkload, NamedRecords, NamespaceOrigin, PrefixList,
    RecordName, Resource, ResourceAssociation, ResourceGateway, Route53HealthCheck, SecurityGroup,
    Service, ServiceNetwork, TargetGroup, Topology, TransitGateway, Vpc, WorkloadAuthority,
};

/// All that a node must do. Self-contained: nothing else is needed to obey it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows with every change, never goes back: the store's revision.
    pub version: u64,
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// VPCs with all that is networking in them.
    pub vpcs: Items<VpcId, Vpc>,
    /// Prefix lists that rules and routes refer to, Lattice's own included.
    pub prefix_lists: Items<PrefixListId, PrefixList>,
    /// Security groups.
    pub security_groups: Items<SecurityGroupId, SecurityGroup>,
    /// Instances that should exist, running or stopped. One that is absent should not exist.
    pub instances: Items<InstanceId, Instance>,
    /// Workloads that are no instances, such as control planes of clusters.
    #[serde(default)]
    pub workloads: Items<ManagedId, ManagedWorkload>,
    /// Control planes of clusters; each is also a workload.
    #[serde(default)]
    pub control_planes: Items<ManagedId, ControlPlane>,
    /// Functions, by their names.
    #[serde(default)]
    pub functions: Items<String, Function>,
    /// Instances that end at once when they end, without a word to their processes.
    #[serde(default)]
    pub cut: BTreeSet<InstanceId>,
    /// By VPC, the Transit Gateways that share names with it: public names of one VPC lead to private addresses in
    /// another that has a gateway in common with it. A membership is said once, so that a gateway of a thousand VPCs
    /// takes a thousand entries and not a million.
    #[serde(default)]
    pub name_sharing: OrdMap<VpcId, BTreeSet<TransitGatewayId>>,
    /// Lattice service networks.
    pub service_networks: Items<ServiceNetworkId, ServiceNetwork>,
    /// Lattice services.
    pub services: Items<ServiceId, Service>,
    /// Lattice target groups.
    pub target_groups: Items<TargetGroupId, TargetGroup>,
    /// Lattice target groups of functions.
    #[serde(default)]
    pub function_groups: Items<TargetGroupId, FunctionGroup>,
    /// Lattice resource gateways.
    #[serde(default)]
    pub resource_gateways: Items<ResourceGatewayId, ResourceGateway>,
    /// Lattice resources.
    #[serde(default)]
    pub resources: Items<ResourceConfigurationId, Resource>,
    /// Service networks' associations with resources.
    #[serde(default)]
    pub resource_associations: Items<ServiceNetworkResourceAssociationId, ResourceAssociation>,
    /// Transit Gateways.
    pub transit_gateways: Items<TransitGatewayId, TransitGateway>,
    /// Hosted zones of Route 53: every public one, and the private ones.
    pub hosted_zones: Items<HostedZoneId, HostedZone>,
    /// The record sets of hosted zones: an item for each name, so that a change of one does not cost the zone.
    #[serde(default)]
    pub records: Items<RecordName, NamedRecords>,
    /// Health checks of Route 53.
    pub health_checks: Items<HealthCheckId, Route53HealthCheck>,
    /// Further public names and their addresses, such as other regions' VPC endpoints: lower case, without
    /// the trailing dot.
    pub names: OrdMap<String, BTreeSet<Ipv4Addr>>,
    /// Who may sign requests to services, where a policy asks who calls.
    #[serde(default)]
    pub callers: Arc<CallerBook>,
    /// What HTTPS listeners present to clients that ask for a generated name; `None` while no service has one.
    #[serde(default)]
    pub lattice_certificate: Option<Arc<Certificate>>,
    /// What certifies the workloads of this region; `None` where they get no certificates.
    #[serde(default)]
    pub workload_authority: Option<Arc<WorkloadAuthority>>,
    /// Where the regions are.
    pub topology: Arc<Topology>,
    /// The root certificate of the installation's authority, PEM, which workloads trust; empty where there is none.
    #[serde(default)]
    pub authority: Arc<str>,
    /// Nodes of the region that have VPCs.
    #[serde(default = "one")]
    pub nodes: u32,
}

fn one() -> u32 {
    1
}

impl Default for Snapshot {
    /// Nothing, in a region without a name.
    fn default() -> Self {
        Self {
            version: 0,
            region: String::new(),
            account: String::new(),
            vpcs: Items::new(),
            prefix_lists: Items::new(),
            security_groups: Items::new(),
            instances: Items::new(),
            workloads: Items::new(),
            control_planes: Items::new(),
            functions: Items::new(),
            cut: BTreeSet::new(),
            name_sharing: OrdMap::new(),
            service_networks: Items::new(),
            services: Items::new(),
            target_groups: Items::new(),
            function_groups: Items::new(),
            resource_gateways: Items::new(),
            resources: Items::new(),
            resource_associations: Items::new(),
            transit_gateways: Items::new(),
            hosted_zones: Items::new(),
            records: Items::new(),
            health_checks: Items::new(),
            names: OrdMap::new(),
            callers: Arc::default(),
            lattice_certificate: None,
            workload_authority: None,
            topology: Arc::new(Topology::single("")),
            authority: Arc::default(),
            nodes: one(),
        }
    }
}

impl Snapshot {
    /// The VPC of a workload, and where its network namespace comes from; `None` when it should not exist.
    pub fn placement(&self, workload: &WorkloadId) -> Option<(&VpcId, NamespaceOrigin)> {
        match workload {
            WorkloadId::Instance(id) => {
                let instance = self.instances.get(id)?;
                let origin = match instance.kind {
                    // Its processes are started in a namespace that is there.
                    InstanceKind::Ordinary => NamespaceOrigin::Fabric,
                    InstanceKind::Node => NamespaceOrigin::HandedOver,
                };
                Some((&instance.vpc, origin))
            }
            WorkloadId::Managed(id) => {
                let managed = self.workloads.get(id)?;
                Some((&managed.vpc, managed.namespace))
            }
        }
    }

    /// Every workload that should exist.
    pub fn all_workloads(&self) -> impl Iterator<Item = WorkloadId> {
        let instances = self.instances.keys().cloned().map(WorkloadId::Instance);
        instances.chain(self.workloads.keys().cloned().map(WorkloadId::Managed))
    }

    /// The interface that owns an address of a VPC.
    pub fn interface_at(&self, vpc: &VpcId, address: Ipv4Addr) -> Option<&Interface> {
        let mut interfaces = self.vpcs.get(vpc)?.interfaces.values();
        interfaces.find(|interface| interface.owns(address))
    }

    /// The names of a zone and their record sets.
    pub fn records_of(
        &self,
        zone: &HostedZoneId,
    ) -> impl Iterator<Item = (&str, &Arc<NamedRecords>)> {
        let from = (zone.clone(), String::new());
        let of_zone = self.records.range(from..);
        let of_zone = of_zone.take_while(move |((of, _), _)| of == zone);
        of_zone.map(|((_, name), records)| (name.as_str(), records))
    }

    /// Adds a zone with all its record sets by name.
    pub fn add_zone(
        &mut self,
        zone: HostedZone,
        records: impl IntoIterator<Item = (String, NamedRecords)>,
    ) {
        let named = records.into_iter();
        self.records
            .extend(named.map(|(name, sets)| ((zone.id.clone(), name), Arc::new(sets))));
        self.hosted_zones.insert(zone.id.clone(), Arc::new(zone));
    }

    /// The resource gateways of a VPC.
    pub fn gateways_in(&self, vpc: &VpcId) -> impl Iterator<Item = &ResourceGateway> {
        let gateways = self.resource_gateways.values();
        gateways.map(|it| &**it).filter(move |it| it.vpc == *vpc)
    }

    /// The resources that are reached from a VPC by its association with a service network.
    pub fn resources_from(
        &self,
        vpc: &Vpc,
    ) -> impl Iterator<Item = (&ResourceAssociation, &Resource)> {
        let network = vpc.lattice.as_ref().map(|it| it.service_network.clone());
        let associations = self.resource_associations.values();
        associations.filter_map(move |it| {
            let here = network.as_ref() == Some(&it.network);
            let resource = here.then(|| self.resources.get(&it.resource))??;
            Some((&**it, &**resource))
        })
    }

    /// The interfaces that are attached to a workload, wherever it is.
    pub fn interfaces_of(&self, workload: &WorkloadId) -> impl Iterator<Item = &Interface> {
        let vpc = self
            .placement(workload)
            .and_then(|(vpc, _)| self.vpcs.get(vpc));
        let interfaces = vpc.into_iter().flat_map(|vpc| vpc.interfaces.values());
        interfaces.filter(move |interface| interface.device_at(workload).is_some())
    }

    /// Takes over the `Arc`s of items that are equal in `previous`, so that readers see by pointer what
    /// did not change.
    pub fn share_with(&mut self, previous: &Self) {
        self.vpcs.share_with(&previous.vpcs);
        self.prefix_lists.share_with(&previous.prefix_lists);
        self.security_groups.share_with(&previous.security_groups);
        self.instances.share_with(&previous.instances);
        self.workloads.share_with(&previous.workloads);
        self.control_planes.share_with(&previous.control_planes);
        self.functions.share_with(&previous.functions);
        self.service_networks.share_with(&previous.service_networks);
        self.services.share_with(&previous.services);
        self.target_groups.share_with(&previous.target_groups);
        self.function_groups.share_with(&previous.function_groups);
        self.resource_gateways
            .share_with(&previous.resource_gateways);
        self.resources.share_with(&previous.resources);
        self.resource_associations
            .share_with(&previous.resource_associations);
        self.transit_gateways.share_with(&previous.transit_gateways);
        self.hosted_zones.share_with(&previous.hosted_zones);
        self.records.share_with(&previous.records);
        self.health_checks.share_with(&previous.health_checks);
        if self.callers == previous.callers {
            self.callers = Arc::clone(&previous.callers);
        }
        if self.authority == previous.authority {
            self.authority = Arc::clone(&previous.authority);
        }
        if self.lattice_certificate == previous.lattice_certificate {
            self.lattice_certificate
                .clone_from(&previous.lattice_certificate);
        }
        if self.workload_authority == previous.workload_authority {
            self.workload_authority
                .clone_from(&previous.workload_authority);
        }
        if self.topology == previous.topology {
            self.topology = Arc::clone(&previous.topology);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use lath_model::ManagedKind;

    use crate::{Branch, InterfaceAddress};

    #[test]
    fn addresses_belong_to_the_interface_of_any_workload() {
        let vpc = VpcId::random();
        let plane = ManagedId::new(ManagedKind::ControlPlane, "prod").unwrap();
        let group = SecurityGroupId::random();
        let interface = Interface {
            id: NetworkInterfaceId::random(),
            subnet: SubnetId::random(),
            mac: "02:00:0a:00:01:0a".into(),
            addresses: vec![InterfaceAddress {
                private: Ipv4Addr::new(10, 0, 1, 10),
                public: None,
            }],
            security_groups: BTreeSet::new(),
            source_dest_check: true,
            attachment: Some((plane.clone().into(), 0).into()),
            prefixes: vec!["10.0.1.32/28".parse().unwrap()],
            branches: vec![Branch {
                id: NetworkInterfaceId::random(),
                mac: "02:00:0a:00:01:0b".into(),
                address: Ipv4Addr::new(10, 0, 1, 12),
                security_groups: BTreeSet::from([group.clone()]),
                pod: "1-2".into(),
            }],
        };
        assert_eq!(interface.owned_addresses().count(), 18);
        assert_eq!(interface.guarded_addresses().count(), 17);
        let members: Vec<_> = interface.members(&group).collect();
        assert_eq!(members, [Ipv4Addr::new(10, 0, 1, 12)]);
        let network = Vpc {
            id: vpc.clone(),
            owner: "123456789012".into(),
            cidrs: Vec::new(),
            dns_support: true,
            dns_hostnames: true,
            dhcp_options: None,
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            internet_gateway: None,
            interfaces: BTreeMap::from([(interface.id.clone(), interface.clone())]),
            lattice: None,
            nat_gateways: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            network_acls: BTreeMap::new(),
            peerings: BTreeMap::new(),
        };
        let workload = ManagedWorkload {
            id: plane.clone(),
            vpc: vpc.clone(),
            namespace: NamespaceOrigin::HandedOver,
        };
        let mut snapshot = Snapshot::default();
        snapshot.vpcs.insert(vpc.clone(), Arc::new(network));
        for (last, owned) in [
            (10, true),
            (11, false),
            (12, true),
            (32, true),
            (47, true),
            (48, false),
        ] {
            let found = snapshot.interface_at(&vpc, Ipv4Addr::new(10, 0, 1, last));
            assert_eq!(found.is_some(), owned, "10.0.1.{last}");
        }
        let id = WorkloadId::from(plane.clone());
        assert_eq!(snapshot.interfaces_of(&id).count(), 0, "it does not exist");
        snapshot.workloads.insert(plane, Arc::new(workload));
        assert_eq!(snapshot.interfaces_of(&id).count(), 1);
        let placed = snapshot.placement(&id);
        assert_eq!(placed, Some((&vpc, NamespaceOrigin::HandedOver)));
    }
}
