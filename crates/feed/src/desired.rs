//! Desired state: what a node must make true.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use ipnet::{IpNet, Ipv4AddrRange, Ipv4Net};
use lath_model::id::*;
use lath_model::lattice::{Action, ListenerProtocol, ProtocolVersion, Rule, TargetProtocol};
use lath_model::{ManagedId, Timestamp, WorkloadId};
use serde::{Deserialize, Serialize};

use crate::{
    CallerBook, ClusterNode, ControlPlane, Hidden, HostedZone, Items, NamedRecords, NatGateway,
    RecordName, Resource, ResourceAssociation, ResourceGateway, Route53HealthCheck, Topology,
    TransitGateway, VpcEndpoint,
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
    /// Where the regions are.
    pub topology: Arc<Topology>,
    /// The root certificate of the installation's authority, PEM, which workloads trust; empty where there is none.
    #[serde(default)]
    pub authority: Arc<str>,
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
            cut: BTreeSet::new(),
            name_sharing: OrdMap::new(),
            service_networks: Items::new(),
            services: Items::new(),
            target_groups: Items::new(),
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
            topology: Arc::new(Topology::single("")),
            authority: Arc::default(),
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
        self.service_networks.share_with(&previous.service_networks);
        self.services.share_with(&previous.services);
        self.target_groups.share_with(&previous.target_groups);
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
        if self.topology == previous.topology {
            self.topology = Arc::clone(&previous.topology);
        }
    }
}

/// A VPC: an isolated network with its router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// Who owns it.
    pub owner: String,
    /// Its IPv4 blocks, the primary one first.
    pub cidrs: Vec<Ipv4Net>,
    /// Whether the resolver at base+2 and 169.254.169.253 answers.
    pub dns_support: bool,
    /// Whether public host names are given out.
    pub dns_hostnames: bool,
    /// Its subnets.
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// Its route tables, the ones without subnets included.
    pub route_tables: BTreeMap<RouteTableId, RouteTable>,
    /// The attached internet gateway.
    pub internet_gateway: Option<InternetGatewayId>,
    /// Every interface in the VPC.
    pub interfaces: BTreeMap<NetworkInterfaceId, Interface>,
    /// The Lattice service network association.
    pub lattice: Option<LatticeAssociation>,
    /// Its NAT gateways.
    #[serde(default)]
    pub nat_gateways: BTreeMap<NatGatewayId, NatGateway>,
    /// Its endpoints of type ServiceNetwork.
    #[serde(default)]
    pub endpoints: BTreeMap<VpcEndpointId, VpcEndpoint>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// Its block. The gateway is base+1.
    pub cidr: Ipv4Net,
    /// The table its packets use: its own, or the VPC's main one.
    pub route_table: RouteTableId,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Its id.
    pub id: RouteTableId,
    /// Its routes, the local ones included. Longest prefix wins.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where packets are bound.
    pub destination: Ipv4Net,
    /// Where they go.
    pub target: RouteTarget,
}

/// A route's target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Inside the VPC.
    Local,
    /// The internet gateway: only for sources that have a public address.
    InternetGateway(InternetGatewayId),
    /// An interface that forwards (its source/destination check is off).
    Interface(NetworkInterfaceId),
    /// A NAT gateway of the same VPC.
    NatGateway(NatGatewayId),
    /// A Transit Gateway that the VPC is attached to. It takes packets only from availability zones in
    /// which the attachment has a subnet.
    TransitGateway(TransitGatewayId),
    /// The target is gone: packets are dropped.
    Blackhole,
}

/// An elastic network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// The subnet it is in.
    pub subnet: SubnetId,
    /// Such as `02:00:0a:00:01:0a`.
    pub mac: String,
    /// Its private addresses, the primary one first.
    pub addresses: Vec<InterfaceAddress>,
    /// The groups that guard it.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// Whether packets from or to other addresses are dropped.
    pub source_dest_check: bool,
    /// What it is attached to.
    pub attachment: Option<Attachment>,
    /// Blocks that are routed to the interface besides its addresses, such as those from which a Kubernetes node
    /// gives addresses to its pods. Packets from them are its own.
    #[serde(default)]
    pub prefixes: Vec<Ipv4Net>,
    /// Interfaces behind it, each with groups of its own: those of pods of a node.
    #[serde(default)]
    pub branches: Vec<Branch>,
}

impl Interface {
    /// Whether an address is the interface's own: one of its addresses, in one of its prefixes, or of a branch.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.private_addresses().any(|own| own == address)
            || self.prefixes.iter().any(|prefix| prefix.contains(&address))
            || self.branches.iter().any(|it| it.address == address)
    }

    /// Its private addresses, the primary one first.
    pub fn private_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.iter().map(|address| address.private)
    }

    /// Every address that its own groups guard, those in its prefixes included.
    pub fn guarded_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let prefixes = self.prefixes.iter();
        let prefixed =
            prefixes.flat_map(|prefix| Ipv4AddrRange::new(prefix.network(), prefix.broadcast()));
        self.private_addresses().chain(prefixed)
    }

    /// Every address that it owns: also those of its branches.
    pub fn owned_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let branches = self.branches.iter().map(|it| it.address);
        self.guarded_addresses().chain(branches)
    }

    /// The addresses that make it and its branches members of a group.
    pub fn members(&self, group: &SecurityGroupId) -> impl Iterator<Item = Ipv4Addr> {
        let is_member = self.security_groups.contains(group);
        let own = is_member.then(|| self.guarded_addresses());
        let branches = self.branches.iter();
        let branches = branches.filter(|it| it.security_groups.contains(group));
        own.into_iter()
            .flatten()
            .chain(branches.map(|it| it.address))
    }

    /// The device index at a workload, where the interface is attached to it.
    pub fn device_at(&self, workload: &WorkloadId) -> Option<u32> {
        let attachment = self.attachment.as_ref();
        let its = attachment.filter(|attachment| attachment.workload == *workload);
        its.map(|attachment| attachment.device)
    }
}

/// An interface behind another one, with an address and groups of its own. Packets reach it by the one before it, whose
/// workload has the other end: the pod of a Kubernetes node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// Such as `02:00:0a:00:01:0a`.
    pub mac: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The groups that guard it, in the place of those of the interface before it.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// The unique id of the pod that it was made for.
    pub pod: String,
}

/// What an interface is attached to. Written as a pair, as before workloads other than instances were known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(WorkloadId, u32)", into = "(WorkloadId, u32)")]
pub struct Attachment {
    /// Whose interface it is.
    pub workload: WorkloadId,
    /// The device index there; 0 is the primary interface.
    pub device: u32,
}

impl From<(WorkloadId, u32)> for Attachment {
    fn from((workload, device): (WorkloadId, u32)) -> Self {
        Self { workload, device }
    }
}

impl From<Attachment> for (WorkloadId, u32) {
    fn from(attachment: Attachment) -> Self {
        (attachment.workload, attachment.device)
    }
}

/// A workload of a VPC that is no instance: processes with a network of their own, which another service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedWorkload {
    /// Its id.
    pub id: ManagedId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Where its network namespace comes from.
    pub namespace: NamespaceOrigin,
}

/// Where a workload's network namespace comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceOrigin {
    /// The fabric makes it, and the workload's processes enter it.
    #[default]
    Fabric,
    /// The workload's runtime makes it, such as inside the workload's own user namespace, so that root there owns
    /// it, and hands it to the fabric, which wires it from outside.
    HandedOver,
}

/// A private address and the public one mapped to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// Inside the subnet.
    pub private: Ipv4Addr,
    /// Mapped by the internet gateway.
    pub public: Option<Ipv4Addr>,
}

/// A VPC's association with a service network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatticeAssociation {
    /// The association.
    pub id: ServiceNetworkVpcAssociationId,
    /// The network.
    pub service_network: ServiceNetworkId,
    /// Their inbound rules say who may reach the network from this VPC. None: everyone in it.
    pub security_groups: BTreeSet<SecurityGroupId>,
}

/// A named list of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Its id.
    pub id: PrefixListId,
    /// Its name, such as `com.amazonaws.us-east-1.vpc-lattice`.
    pub name: String,
    /// Its blocks.
    pub cidrs: BTreeSet<IpNet>,
}

/// A security group: stateful allow rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: SecurityGroupId,
    /// Its name, unique in its VPC: what the metadata service lists.
    #[serde(default)]
    pub name: String,
    /// The VPC it belongs to.
    pub vpc: VpcId,
    /// What may come in.
    pub ingress: Vec<SecurityRule>,
    /// What may go out.
    pub egress: Vec<SecurityRule>,
}

/// One allow rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecurityRule {
    /// What it covers.
    pub traffic: Traffic,
    /// The other side.
    pub peer: Peer,
}

/// Protocol and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Traffic {
    /// Everything.
    All,
    /// TCP to these ports, inclusive.
    Tcp(u16, u16),
    /// UDP to these ports, inclusive.
    Udp(u16, u16),
    /// ICMP of this type and code; `None` is any.
    Icmp(Option<u8>, Option<u8>),
    /// ICMPv6 of this type and code; `None` is any.
    Icmpv6(Option<u8>, Option<u8>),
    /// Any other IP protocol.
    Protocol(u8),
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// A block.
    Cidr(IpNet),
    /// The members of a group.
    Group(SecurityGroupId),
    /// The blocks of a list.
    PrefixList(PrefixListId),
}

/// An instance: processes with networks of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Running, or stopped with its file system kept. Absence from the snapshot removes both.
    pub power: Power,
    /// Grows with each start and reboot; the node restarts the processes when it differs.
    pub boot: u64,
    /// What its root file system is a copy of.
    pub root: RootSource,
    /// How much of the host it may use.
    #[serde(default)]
    pub capacity: Capacity,
    /// Its host name, such as `ip-10-0-1-10.ec2.internal`.
    pub hostname: String,
    /// The name made of its id, such as `i-0123456789abcdef0.ec2.internal`, where the VPC's resolver answers it.
    #[serde(default)]
    pub resource_name: Option<String>,
    /// User data as given (decoded from base64).
    pub user_data: Vec<u8>,
    /// What the metadata service tells it.
    pub metadata: InstanceMetadata,
    /// What its processes may do.
    #[serde(default)]
    pub kind: InstanceKind,
    /// The cluster that it is a node of. Only instances of kind [`InstanceKind::Node`] are; one of that kind without a
    /// cluster may be made a node of its user's.
    #[serde(default)]
    pub cluster: Option<ClusterNode>,
}

/// What an instance's processes may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceKind {
    /// What programs do, but no mounts, namespaces or control groups of their own.
    #[default]
    Ordinary,
    /// Run containers: it has a user namespace of its own, in which it may mount, make namespaces and delegate control
    /// groups. Its root is an ordinary user of the host, and its runtime makes its network namespace.
    Node,
}

/// Whether an instance's processes should live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Processes run.
    On,
    /// Processes do not run; files stay.
    Off,
}

/// What an instance's root file system is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSource {
    /// The host's own root, less its secrets.
    Host,
    /// A directory that holds a root file system.
    Directory(std::path::PathBuf),
}

/// How much of the host an instance may use, as its type says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory, in bytes; `None`: unlimited.
    pub memory_bytes: Option<u64>,
    /// Processors; `None`: all.
    pub vcpus: Option<u32>,
}

/// What AWS sets where a launch says nothing
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html>).
fn one_hop() -> u8 {
    1
}

/// What the metadata service tells an instance, beyond what its interfaces say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceMetadata {
    /// The image it was launched from.
    pub image: ImageId,
    /// Such as `t3.medium`.
    pub instance_type: String,
    /// The reservation.
    pub reservation: ReservationId,
    /// Its place in the reservation.
    pub launch_index: u32,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// The key pair's name and the public key in OpenSSH form.
    pub key: Option<(String, String)>,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// Its tags, where instance metadata tags are enabled.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether a session token is demanded (IMDSv2 only).
    pub tokens_required: bool,
    /// How many hops the answer to a request for a token may take: 1 to 64.
    #[serde(default = "one_hop")]
    pub hop_limit: u8,
    /// Whether the service answers at all.
    pub enabled: bool,
    /// Its instance profile.
    #[serde(default)]
    pub profile: Option<InstanceProfile>,
}

/// An instance profile, as the metadata service shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceProfile {
    /// Its ARN.
    pub arn: String,
    /// `AIPA...`.
    pub id: String,
    /// When its role or that role's keys last changed.
    pub updated: Timestamp,
    /// Its role's name; `None` when it has none.
    pub role: Option<String>,
    /// Keys of the role; `None` when it has no role, or EC2 may not assume it.
    pub keys: Option<TemporaryKeys>,
}

/// Keys of a role's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryKeys {
    /// `ASIA...`.
    pub id: String,
    /// The secret access key.
    pub secret: Hidden,
    /// The session token.
    pub token: Hidden,
    /// When they end.
    pub expires: Timestamp,
}

/// A Lattice service network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNetwork {
    /// Its id.
    pub id: ServiceNetworkId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Who may call.
    pub auth: Auth,
    /// The services associated with it.
    pub services: BTreeSet<ServiceId>,
    /// Where its access logs go.
    pub access_logs: Vec<AccessLogDestination>,
}

/// A Lattice service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The generated name, such as `web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-east-1.on.aws`.
    pub domain_name: String,
    /// The user's own name for it.
    pub custom_domain_name: Option<String>,
    /// What its HTTPS listeners present to clients that ask for the user's own name.
    #[serde(default)]
    pub certificate: Option<Certificate>,
    /// The link-local address (169.254.171.0/24) that its name answers, the same in every VPC.
    pub address: Ipv4Addr,
    /// Who may call.
    pub auth: Auth,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// Its listeners.
    pub listeners: BTreeMap<ListenerId, Listener>,
    /// Where its access logs go.
    pub access_logs: Vec<AccessLogDestination>,
}

/// A certificate with its private key, as a listener presents it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The certificate and those that lead from it to a root, as PEM.
    pub chain: String,
    /// Its private key (PKCS #8), as PEM.
    pub key: Hidden,
}

/// Who may call a service or through a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// Everyone.
    None,
    /// Whom the policy allows; without one, nobody.
    AwsIam {
        /// The policy document.
        policy: Option<String>,
    },
}

/// Where access logs go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLogDestination {
    /// The subscription.
    pub id: AccessLogSubscriptionId,
    /// A log group's ARN, without a trailing `:*`.
    pub destination_arn: String,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its id.
    pub id: ListenerId,
    /// Its ARN.
    pub arn: String,
    /// Its protocol.
    pub protocol: ListenerProtocol,
    /// The port on the service's address.
    pub port: u16,
    /// Its rules by ascending priority, without the default one.
    pub rules: Vec<Rule>,
    /// The default rule's id.
    pub default_rule: RuleId,
    /// What is done when no rule matches.
    pub default_action: Action,
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its id.
    pub id: TargetGroupId,
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The VPC its targets are in.
    pub vpc: VpcId,
    /// The region its targets are in, when it is not this one: they are reached through that region's
    /// gateway ([`Topology::gateway`]).
    #[serde(default)]
    pub region: Option<String>,
    /// How targets are spoken to.
    pub protocol: TargetProtocol,
    /// The HTTP version; `None` for TCP.
    pub protocol_version: Option<ProtocolVersion>,
    /// Health checks; `None` when disabled.
    pub health_check: Option<HealthCheck>,
    /// Whether any listener uses the group: checks run only then, as in AWS (state UNUSED otherwise).
    pub in_use: bool,
    /// Its targets.
    pub targets: BTreeMap<TargetKey, Target>,
}

/// A target's identity in its group: what was registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    /// An address or an instance id.
    pub id: String,
    /// The port.
    pub port: u16,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where it is reached; `None` while its instance has no address.
    pub address: Option<IpAddr>,
    /// Set when it was deregistered: no new requests; the node finishes those in flight.
    pub draining_since: Option<Timestamp>,
}

/// How targets are probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// HTTP or HTTPS (TCP: connect only).
    pub protocol: TargetProtocol,
    /// HTTP1 or HTTP2.
    pub protocol_version: ProtocolVersion,
    /// `None`: the port on which the target receives traffic.
    pub port: Option<u16>,
    /// Path and query.
    pub path: String,
    /// Status codes that mean healthy: inclusive ranges.
    pub matcher: Vec<(u16, u16)>,
    /// Between the starts of two probes.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// Consecutive successes that make an unhealthy target healthy.
    pub healthy_threshold: u32,
    /// Consecutive failures that make a healthy target unhealthy.
    pub unhealthy_threshold: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_model::ManagedKind;

    /// An interface as the version before wrote it, when only instances had interfaces.
    #[derive(Serialize)]
    struct Former {
        id: NetworkInterfaceId,
        subnet: SubnetId,
        mac: String,
        addresses: Vec<InterfaceAddress>,
        security_groups: BTreeSet<SecurityGroupId>,
        source_dest_check: bool,
        attachment: Option<(InstanceId, u32)>,
    }

    #[test]
    fn an_interface_of_the_version_before_is_read() {
        let former = Former {
            id: NetworkInterfaceId::random(),
            subnet: SubnetId::random(),
            mac: "02:00:0a:00:01:0a".into(),
            addresses: Vec::new(),
            security_groups: BTreeSet::new(),
            source_dest_check: true,
            attachment: Some((InstanceId::random(), 1)),
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&former, &mut bytes).unwrap();
        let now: Interface = ciborium::from_reader(&bytes[..]).unwrap();
        let (instance, device) = former.attachment.unwrap();
        assert_eq!(now.device_at(&instance.into()), Some(device));
        assert!(now.prefixes.is_empty());
    }

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
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            internet_gateway: None,
            interfaces: BTreeMap::from([(interface.id.clone(), interface.clone())]),
            lattice: None,
            nat_gateways: BTreeMap::new(),
            endpoints: BTreeMap::new(),
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
