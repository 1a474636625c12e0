//! Network interfaces: how they are made and released, and which addresses of a subnet are free.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_control::Cell;
use lath_model::id::{NetworkInterfaceId, SecurityGroupId, SubnetId, VpcId};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::errors::{client, invalid_value};
use crate::public_pool;
use crate::{
    Address, Manager, NetworkInterface, PrivateAddress, PublicAddress, SecurityGroup, Subnet,
    reserved_addresses,
};

/// What a new interface should be.
#[derive(Debug, Clone)]
pub struct NewInterface {
    /// Where.
    pub subnet: SubnetId,
    /// The groups that guard it. None: the VPC's default group.
    pub groups: Vec<SecurityGroupId>,
    /// The primary private address. `None`: the first free one.
    pub private_ip: Option<Ipv4Addr>,
    /// Whether it gets a public address. `None`: as the subnet says.
    pub public: Option<bool>,
    /// What it is for.
    pub description: String,
}

/// Makes an interface with its primary address, under this id, and writes it. It is not attached yet: set
/// [`NetworkInterface::attachment`] and put it back in the same transaction.
///
/// # Errors
/// `InvalidSubnetID.NotFound`, `InvalidGroup.NotFound`, `InvalidIPAddress.InUse`,
/// `InvalidParameterValue` for an address outside the subnet, `InsufficientFreeAddressesInSubnet`.
pub fn create_primary(
    tx: &mut Tx,
    cell: &Cell,
    id: NetworkInterfaceId,
    new: NewInterface,
) -> Result<NetworkInterface, ApiError> {
    let subnet = tx.get::<Subnet>(new.subnet.as_str()).ok_or_else(|| {
        client(
            "InvalidSubnetID.NotFound",
            format!("The subnet ID '{}' does not exist", new.subnet),
        )
    })?;
    let groups = checked_groups(tx, &subnet, new.groups)?;
    let private = private_address(tx, &subnet, new.private_ip)?;
    let public = if new.public.unwrap_or(subnet.map_public_ip_on_launch) {
        Some(auto_public(tx, cell)?)
    } else {
        None
    };
    let interface = NetworkInterface {
        id,
        vpc: subnet.vpc.clone(),
        subnet: subnet.id.clone(),
        availability_zone: subnet.availability_zone.clone(),
        owner: cell.account.clone(),
        description: new.description,
        mac: mac_of(private),
        addresses: vec![PrivateAddress { private, public }],
        groups,
        source_dest_check: true,
        attachment: None,
        last_attachment: None,
        manager: None,
        prefixes: Vec::new(),
    };
    tx.put(interface.clone());
    Ok(interface)
}

/// Deletes an interface with its tags and those behind it; elastic addresses on it become free.
pub fn release(tx: &mut Tx, interface: &NetworkInterface) {
    let is_behind = |it: &NetworkInterface| matches!(&it.manager, Some(Manager::Branch { trunk, .. }) if *trunk == interface.id);
    let here = tx
        .view()
        .by::<NetworkInterface>("vpc", interface.vpc.as_str());
    let behind: Vec<_> = here.filter(|it| is_behind(it)).collect();
    for branch in behind {
        release(tx, &branch);
    }
    for address in &interface.addresses {
        if let Some((allocation, _)) = address.public.as_ref().and_then(|it| it.elastic.as_ref()) {
            tx.update::<Address>(allocation.as_str(), |elastic| elastic.association = None);
        }
    }
    tx.delete::<crate::ResourceTags>(interface.id.as_str());
    tx.delete::<NetworkInterface>(interface.id.as_str());
}

/// A public address of its own for an interface, given back when the interface or its owner goes.
///
/// # Errors
/// `AddressLimitExceeded` when none is free.
pub fn auto_public(tx: &Tx, cell: &Cell) -> Result<PublicAddress, ApiError> {
    let ip = public_pool::take(cell, tx.view()).ok_or_else(|| {
        client(
            "AddressLimitExceeded",
            "The maximum number of addresses has been reached.",
        )
    })?;
    Ok(PublicAddress { ip, elastic: None })
}

/// The groups of a new interface in a subnet, as [`checked_groups`] finds them.
pub fn groups_of_new(view: &View, subnet: &str, given: &[String]) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let subnet = view.get::<Subnet>(subnet);
    let groups = subnet.map(|it| default_groups(view, &it.vpc));
    groups
        .into_iter()
        .flatten()
        .map(|id| id.to_string())
        .collect()
}

/// How many addresses a subnet has for interfaces: all but five.
pub fn capacity(subnet: &Subnet) -> usize {
    let total = 1_usize << (32 - u32::from(subnet.cidr.prefix_len()));
    total.saturating_sub(5)
}

/// How many addresses of a subnet are free for what asks for none by name.
pub fn free_addresses(view: &View, subnet: &Subnet) -> usize {
    let taken = taken(view, subnet);
    let reserved = reserved_addresses(view, &subnet.id);
    usable(subnet)
        .filter(|ip| !taken.contains(ip) && !reserved.contains(*ip))
        .count()
}

/// How many addresses of a subnet are in use or reserved: `AvailableIpAddressCount` counts neither, and the VPC CNI
/// chooses subnets by it.
pub fn unavailable_addresses(view: &View, subnet: &Subnet) -> usize {
    let reserved = reserved_addresses(view, &subnet.id);
    let usable = usable(subnet);
    let held: usize = reserved.blocks().map(|block| usable.common(block)).sum();
    let interfaces = view.by::<NetworkInterface>("subnet", subnet.id.as_str());
    // What is used inside a reservation is counted already.
    let used = interfaces.map(|interface| {
        let addresses = all_addresses(&interface);
        addresses.filter(|ip| !reserved.contains(*ip)).count()
    });
    held + used.sum::<usize>()
}

/// An interface of a NAT gateway, an endpoint or an attachment is its owner's to change, not the user's.
///
/// # Errors
/// `AuthFailure`, as AWS answers for requester-managed interfaces.
pub fn refuse_managed(interface: &NetworkInterface) -> Result<(), ApiError> {
    if interface.manager.is_none() {
        return Ok(());
    }
    Err(ApiError::new(
        "AuthFailure",
        401,
        "You do not have permission to access the specified resource.",
    ))
}

fn all_addresses(interface: &NetworkInterface) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let prefixed = interface.prefixes.iter().copied();
    let addresses = interface.addresses.iter().map(|it| it.private);
    addresses.chain(prefixed.flat_map(addresses_of))
}

/// Every address of a block, its first and last included.
pub fn addresses_of(block: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = (u32::from(block.network()), u32::from(block.broadcast()));
    (first..=last).map(Ipv4Addr::from)
}

/// The addresses of a subnet that interfaces have.
pub fn taken(view: &View, subnet: &Subnet) -> HashSet<Ipv4Addr> {
    view.by::<NetworkInterface>("subnet", subnet.id.as_str())
        .flat_map(|interface| all_addresses(&interface).collect::<Vec<_>>())
        .collect()
}

/// The wanted address if it is free, else the first free one that is not reserved. The first four and the last of a subnet
/// are AWS's (<https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>).
pub fn private_address(
    tx: &Tx,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, ApiError> {
    let taken = taken(tx.view(), subnet);
    let Some(wanted) = wanted else {
        let reserved = reserved_addresses(tx.view(), &subnet.id);
        return usable(subnet)
            .find(|ip| !taken.contains(ip) && !reserved.contains(*ip))
            .ok_or_else(|| no_address(subnet));
    };
    if !usable(subnet).contains(wanted) {
        return Err(invalid_value(format!(
            "Address {wanted} does not fall within the subnet's address range"
        )));
    }
    if taken.contains(&wanted) {
        return Err(client("InvalidIPAddress.InUse", "Address is in use."));
    }
    Ok(wanted)
}

fn no_address(subnet: &Subnet) -> ApiError {
    client(
        "InsufficientFreeAddressesInSubnet",
        format!(
            "There are not enough free addresses in subnet '{}' to satisfy the requested number of instances.",
            subnet.id
        ),
    )
}

/// See [`usable`].
#[derive(Debug, Clone)]
pub struct Usable(u32, u32);

impl Usable {
    /// Whether an address is one of them.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        (self.0..self.1).contains(&u32::from(ip))
    }

    /// How many of them a block has.
    fn common(&self, block: Ipv4Net) -> usize {
        let (first, last) = (u32::from(block.network()), u32::from(block.broadcast()));
        let common = self
            .1
            .min(last.saturating_add(1))
            .saturating_sub(self.0.max(first));
        usize::try_from(common).unwrap_or(usize::MAX)
    }
}

impl Iterator for Usable {
    type Item = Ipv4Addr;
    fn next(&mut self) -> Option<Ipv4Addr> {
        let ip = (self.0 < self.1).then(|| Ipv4Addr::from(self.0))?;
        self.0 += 1;
        Some(ip)
    }
}

/// The addresses of a subnet that interfaces may have.
pub fn usable(subnet: &Subnet) -> Usable {
    Usable(
        u32::from(subnet.cidr.network()).saturating_add(4),
        u32::from(subnet.cidr.broadcast()),
    )
}

/// Locally administered, and unique in a VPC because addresses are.
fn mac_of(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// What interfaces of a VPC get that are given no group.
pub fn default_groups(view: &View, vpc: &VpcId) -> Vec<SecurityGroupId> {
    SecurityGroup::named(view, vpc, "default")
        .into_iter()
        .map(|group| group.id.clone())
        .collect()
}

/// The groups, all of the subnet's VPC; its default group when none is named.
pub fn checked_groups(
    tx: &Tx,
    subnet: &Subnet,
    groups: Vec<SecurityGroupId>,
) -> Result<Vec<SecurityGroupId>, ApiError> {
    if groups.is_empty() {
        return Ok(default_groups(tx.view(), &subnet.vpc));
    }
    for id in &groups {
        let known = tx.get::<SecurityGroup>(id.as_str());
        if known.is_none_or(|group| group.vpc != subnet.vpc) {
            return Err(client(
                "InvalidGroup.NotFound",
                format!(
                    "The security group '{id}' does not exist in VPC '{}'",
                    subnet.vpc
                ),
            ));
        }
    }
    Ok(groups)
}
