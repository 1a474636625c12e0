//! Where a new instance's primary interface comes from.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_kit::instance_types::InstanceType;
use lath_ec2_kit::refused;
use lath_ec2_kit::tags;
use lath_ec2_network::default_vpc;
use lath_ec2_network::interfaces::{add_addresses, limits};
use lath_ec2_records::errors::{
    client, combination, invalid_parameter, invalid_value, missing, unsupported,
};
use lath_ec2_records::ids;
use lath_ec2_records::interfaces::{self, NewInterface, create_primary, free_addresses};
use lath_ec2_records::{Attachment, NetworkInterface, SecurityGroup, Subnet};
use lath_model::id::{AttachmentId, InstanceId, NetworkInterfaceId, SecurityGroupId};
use lath_service::Refuses;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::launch::known_type;
use super::request::{InterfaceSpecification, RunInstances};

/// What the instances of a launch are connected to: the primary interface, and the others.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) subnet: Arc<Subnet>,
    /// Its place at the instance.
    device_index: u32,
    /// An interface that exists; it is attached instead of a new one.
    pub(super) existing: Option<Arc<NetworkInterface>>,
    /// None: the VPC's default group.
    pub(super) groups: Vec<SecurityGroupId>,
    private_ip: Option<Ipv4Addr>,
    /// Further private addresses, and how many more.
    secondary: (Vec<Ipv4Addr>, usize),
    public: Option<bool>,
    description: String,
    delete_on_termination: bool,
    others: Vec<Self>,
}

impl Network {
    /// Reads the two forms of a request: members of its own, or an interface specification.
    pub(super) fn new(view: &View, op: &RunInstances) -> Result<Self, ApiError> {
        match op.network_interfaces.as_slice() {
            [] => Self::of_instance(view, op),
            several => {
                refuse_both_forms(op)?;
                Self::of_specifications(view, op, several)
            }
        }
    }

    fn of_specifications(
        view: &View,
        op: &RunInstances,
        given: &[InterfaceSpecification],
    ) -> Result<Self, ApiError> {
        let public = |it: &InterfaceSpecification| it.associate_public_ip_address == Some(true);
        if given.len() > 1 && given.iter().any(public) {
            return Err(combination(
                "The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.",
            ));
        }
        // Before anything is looked up: requests are read so that they can be judged, whatever their size.
        limits::check_interfaces(known_type(op)?, given.len())?;
        let mut all = Vec::new();
        for one in given {
            refuse_of_interface(one)?;
            all.push(Self::of_specification(view, op, one)?);
        }
        all.sort_by_key(|network| network.device_index);
        let mut first = all.remove(0);
        if first.device_index != 0 {
            return Err(invalid_value(
                "The network interface with device index 0 is missing.",
            ));
        }
        check_others(&first, &all)?;
        first.others = all;
        Ok(first)
    }

    fn of_instance(view: &View, op: &RunInstances) -> Result<Self, ApiError> {
        let subnet = subnet(view, op, op.subnet_id.as_deref())?;
        let mut groups = groups(view, &subnet, &op.group_ids)?;
        if !op.group_names.is_empty() {
            if op.subnet_id.is_some() {
                return Err(combination(
                    "The parameter groupName cannot be used with the parameter subnet",
                ));
            }
            groups.extend(groups_by_name(view, &subnet, &op.group_names)?);
        }
        Ok(Self {
            private_ip: address(op.private_ip_address.as_deref())?,
            subnet,
            device_index: 0,
            existing: None,
            groups,
            secondary: Default::default(),
            public: None,
            description: String::new(),
            delete_on_termination: true,
            others: Vec::new(),
        })
    }

    fn of_specification(
        view: &View,
        op: &RunInstances,
        given: &InterfaceSpecification,
    ) -> Result<Self, ApiError> {
        #[cfg(test)]
        READ.with(|read| read.set(read.get() + 1));
        let device_index = device_index(given)?;
        if given.network_interface_id.is_some() {
            return Self::of_existing(view, op, given, device_index);
        }
        let subnet = subnet(view, op, given.subnet_id.as_deref())?;
        let (private_ip, secondary) = specified_addresses(given)?;
        // Only an instance's first interface gets a public address by itself.
        let public = match device_index {
            0 => given.associate_public_ip_address,
            _ => Some(false),
        };
        Ok(Self {
            groups: groups(view, &subnet, &given.groups)?,
            private_ip,
            subnet,
            device_index,
            existing: None,
            secondary,
            others: Vec::new(),
            public,
            description: given.description.clone().unwrap_or_default(),
            delete_on_termination: given.delete_on_termination.unwrap_or(true),
        })
    }

    fn of_existing(
        view: &View,
        op: &RunInstances,
        given: &InterfaceSpecification,
        device_index: u32,
    ) -> Result<Self, ApiError> {
        let id = given.network_interface_id.as_deref().unwrap_or_default();
        let interface = ids::find::<NetworkInterface>(view, id)?;
        if given.subnet_id.is_some()
            || given.associate_public_ip_address.is_some()
            || given.private_ip_address.is_some()
            || !given.private_ip_addresses.is_empty()
            || given.secondary_private_ip_address_count.is_some()
            || !given.groups.is_empty()
            || op.max_count > 1
        {
            return Err(combination(
                "A network interface that exists keeps its subnet, addresses and groups, and serves one instance.",
            ));
        }
        interfaces::refuse_managed(&interface)?;
        if interface.attachment.is_some() {
            return Err(client(
                "InvalidNetworkInterface.InUse",
                format!("Interface: [{id}] in use."),
            ));
        }
        Ok(Self {
            subnet: ids::find::<Subnet>(view, interface.subnet.as_str())?,
            device_index,
            groups: interface.groups.clone(),
            private_ip: None,
            secondary: Default::default(),
            others: Vec::new(),
            public: None,
            description: interface.description.clone(),
            delete_on_termination: given.delete_on_termination.unwrap_or(false),
            existing: Some(interface),
        })
    }

    /// The primary interface and the others.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// Whether a type takes these interfaces with their addresses.
    pub(super) fn check_limits(&self, typed: &InstanceType) -> Result<(), ApiError> {
        limits::check_interfaces(typed, 1 + self.others.len())?;
        std::iter::once(self)
            .chain(&self.others)
            .try_for_each(|it| {
                let (given, more) = &it.secondary;
                let existing = it.existing.as_ref();
                let addresses = existing.map_or(1 + given.len() + more, |it| it.slots());
                limits::check_addresses(typed, addresses)
            })
    }

    /// Whether the instances get a public address at each start.
    pub(super) fn wants_public(&self) -> bool {
        self.existing.is_none() && self.public.unwrap_or(self.subnet.map_public_ip_on_launch)
    }

    /// How many of `wanted` instances the subnets have addresses for.
    pub(super) fn room(&self, view: &View, wanted: usize) -> usize {
        let mut needed: BTreeMap<&str, (&Subnet, usize)> = BTreeMap::new();
        let made = self.all().filter(|network| network.existing.is_none());
        for network in made {
            let (given, more) = &network.secondary;
            let of_subnet = needed.entry(network.subnet.id.as_str());
            of_subnet.or_insert((&network.subnet, 0)).1 += 1 + given.len() + more;
        }
        let rooms = needed
            .values()
            .map(|(subnet, each)| free_addresses(view, subnet) / each);
        rooms.fold(wanted, usize::min)
    }

    /// Makes or takes the interfaces, and attaches them; answers the primary one.
    pub(super) fn connect(
        &self,
        tx: &mut Tx,
        cell: &Cell,
        instance: &InstanceId,
        tags: &BTreeMap<String, String>,
    ) -> Result<NetworkInterface, ApiError> {
        for other in &self.others {
            other.connect_one(tx, cell, instance, tags)?;
        }
        self.connect_one(tx, cell, instance, tags)
    }

    fn connect_one(
        &self,
        tx: &mut Tx,
        cell: &Cell,
        instance: &InstanceId,
        tags: &BTreeMap<String, String>,
    ) -> Result<NetworkInterface, ApiError> {
        let mut interface = match &self.existing {
            Some(existing) => NetworkInterface::clone(existing),
            None => create_primary(tx, cell, NetworkInterfaceId::random(), self.new_interface())?,
        };
        interface.attachment = Some(Attachment {
            id: AttachmentId::random(),
            instance: instance.clone(),
            device_index: self.device_index,
            delete_on_termination: self.delete_on_termination,
            attached_at: tx.now(),
        });
        tags::put(tx, interface.id.as_str(), tags.clone());
        tx.put(interface.clone());
        let (given, more) = &self.secondary;
        add_addresses(tx, &interface, given, *more)?;
        Ok(interface)
    }

    fn new_interface(&self) -> NewInterface {
        NewInterface {
            subnet: self.subnet.id.clone(),
            groups: self.groups.clone(),
            private_ip: self.private_ip,
            public: self.public,
            description: self.description.clone(),
        }
    }
}

#[cfg(test)]
std::thread_local! {
    /// How many specifications this thread read.
    pub(super) static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn refuse_both_forms(op: &RunInstances) -> Result<(), ApiError> {
    if op.subnet_id.is_some()
        || op.private_ip_address.is_some()
        || !op.group_ids.is_empty()
        || !op.group_names.is_empty()
    {
        return Err(combination(
            "Network interfaces and an instance-level subnet ID, private IP address or security groups may not be specified on the same request",
        ));
    }
    Ok(())
}

/// # Errors
/// For what no interface of a launch can be.
pub(super) fn refuse_of_interface(given: &InterfaceSpecification) -> Result<(), ApiError> {
    given.refuse()?;
    if given
        .interface_type
        .as_deref()
        .is_some_and(|it| it != "interface")
    {
        return Err(unsupported(
            "Only the interface type interface is supported.",
        ));
    }
    if given.network_card_index.is_some_and(|it| it != 0) {
        return Err(invalid_value("The instance type has one network card, 0."));
    }
    Ok(())
}

/// The subnet of the request, or the default one of the zone.
fn subnet(view: &View, op: &RunInstances, wanted: Option<&str>) -> Result<Arc<Subnet>, ApiError> {
    let zone = op
        .placement
        .as_ref()
        .and_then(|it| it.availability_zone.as_deref())
        // Some clients send what they were not told as empty text, and AWS takes that for absent.
        .filter(|zone| !zone.is_empty());
    let Some(id) = wanted else {
        return default_subnet(view, zone);
    };
    let subnet = ids::find::<Subnet>(view, id)?;
    match zone {
        Some(zone) if zone != subnet.availability_zone => Err(invalid_parameter(
            "availabilityZone",
            zone,
            &format!("It is not the zone of the subnet {id}."),
        )),
        _ => Ok(subnet),
    }
}

fn default_subnet(view: &View, zone: Option<&str>) -> Result<Arc<Subnet>, ApiError> {
    let Some(vpc) = default_vpc(view) else {
        return Err(client(
            "VPCIdNotSpecified",
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
        ));
    };
    view.by::<Subnet>("vpc", vpc.id.as_str())
        .filter(|subnet| subnet.default_for_az)
        .find(|subnet| zone.is_none_or(|zone| zone == subnet.availability_zone))
        .ok_or_else(|| {
            client(
                "MissingInput",
                format!(
                    "No subnets found for the default VPC '{}'. Please specify a subnet.",
                    vpc.id
                ),
            )
        })
}

fn groups(
    view: &View,
    subnet: &Subnet,
    wanted: &[String],
) -> Result<Vec<SecurityGroupId>, ApiError> {
    let mut groups = Vec::new();
    for id in wanted {
        let group = ids::find::<SecurityGroup>(view, id)?;
        if group.vpc != subnet.vpc {
            return Err(client(
                "InvalidParameter",
                format!(
                    "Security group {id} and subnet {} belong to different networks.",
                    subnet.id
                ),
            ));
        }
        if !groups.contains(&group.id) {
            groups.push(group.id.clone());
        }
        check_number(&groups)?;
    }
    Ok(groups)
}

/// An interface has at most five groups
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>).
pub(super) fn check_number(groups: &[SecurityGroupId]) -> Result<(), ApiError> {
    if groups.len() > 5 {
        return Err(client(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        ));
    }
    Ok(())
}

fn groups_by_name(
    view: &View,
    subnet: &Subnet,
    wanted: &[String],
) -> Result<Vec<SecurityGroupId>, ApiError> {
    let find = |name: &String| {
        SecurityGroup::named(view, &subnet.vpc, name)
            .map(|group| group.id.clone())
            .ok_or_else(|| {
                client(
                    "InvalidGroup.NotFound",
                    format!(
                        "The security group '{name}' does not exist in default VPC '{}'",
                        subnet.vpc
                    ),
                )
            })
    };
    let mut groups = Vec::new();
    for name in wanted {
        groups.push(find(name)?);
        check_number(&groups)?;
    }
    Ok(groups)
}

/// Every specification has an index; one that only names an interface is the first.
fn device_index(given: &InterfaceSpecification) -> Result<u32, ApiError> {
    match given.device_index {
        Some(index) => u32::try_from(index)
            .map_err(|_| invalid_parameter("deviceIndex", index, "It is out of range.")),
        None if given.network_interface_id.is_some() => Ok(0),
        None => Err(invalid_value(
            "Each network interface requires a device index.",
        )),
    }
}

fn check_others(first: &Network, others: &[Network]) -> Result<(), ApiError> {
    let mut indices: Vec<u32> = others.iter().map(|it| it.device_index).collect();
    indices.dedup();
    if indices.len() < others.len() || indices.contains(&0) {
        return Err(invalid_value(
            "Each network interface requires a unique device index.",
        ));
    }
    let is_near = |it: &Network| {
        it.subnet.vpc == first.subnet.vpc
            && it.subnet.availability_zone == first.subnet.availability_zone
    };
    if !others.iter().all(is_near) {
        return Err(invalid_value(
            "All network interfaces of an instance must be in the same VPC and Availability Zone.",
        ));
    }
    Ok(())
}

type Addresses = (Option<Ipv4Addr>, (Vec<Ipv4Addr>, usize));

/// The primary address, which is in either of two members, and the others.
fn specified_addresses(given: &InterfaceSpecification) -> Result<Addresses, ApiError> {
    let mut primary = address(given.private_ip_address.as_deref())?;
    let mut secondary = Vec::new();
    for (index, one) in given.private_ip_addresses.iter().enumerate() {
        let private = address(one.private_ip_address.as_deref())?;
        let private = private.ok_or_else(|| missing("PrivateIpAddress"))?;
        // A lone one is the primary one unless it says otherwise.
        let lone = index == 0 && given.private_ip_addresses.len() == 1;
        if one.primary == Some(true) || (lone && primary.is_none() && one.primary.is_none()) {
            if primary.replace(private).is_some() {
                return Err(combination(
                    "Only one primary private IP address can be specified.",
                ));
            }
        } else {
            secondary.push(private);
        }
    }
    let count = given.secondary_private_ip_address_count.unwrap_or(0);
    let count = usize::try_from(count).map_err(|_| {
        invalid_parameter(
            "secondaryPrivateIpAddressCount",
            count,
            "It is out of range.",
        )
    })?;
    if count > 0 && !secondary.is_empty() {
        return Err(combination(
            "The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together.",
        ));
    }
    Ok((primary, (secondary, count)))
}

fn address(text: Option<&str>) -> Result<Option<Ipv4Addr>, ApiError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            invalid_parameter("address", shown, "Invalid IPv4 address.")
        })
    };
    text.map(parse).transpose()
}

refused! {
    InterfaceSpecification { ipv6_address_count, ipv6_addresses, associate_carrier_ip_address, ipv4_prefixes as "Ipv4Prefix", ipv4_prefix_count, ipv6_prefixes as "Ipv6Prefix", ipv6_prefix_count, primary_ipv6, ena_srd_specification, connection_tracking_specification, ena_queue_count }
}
