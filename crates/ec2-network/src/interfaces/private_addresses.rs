//! Giving interfaces private addresses, and taking them away.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_records::errors::{combination, invalid_parameter, invalid_value, missing};
use lath_ec2_records::ids;
use lath_ec2_records::interfaces::{private_address, refuse_managed};
use lath_ec2_records::{Address, NetworkInterface, PrivateAddress, Subnet};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::limits::{self, MAX_ADDRESSES};
use super::messages::*;
use super::prefixes;

pub(super) fn count(wanted: Option<i32>) -> Result<usize, ApiError> {
    let wanted = wanted.unwrap_or(0);
    usize::try_from(wanted)
        .ok()
        .filter(|count| *count < MAX_ADDRESSES)
        .ok_or_else(|| {
            invalid_parameter(
                "secondaryPrivateIpAddressCount",
                wanted,
                "It is out of range.",
            )
        })
}

pub(super) fn ip(parameter: &str, text: &str) -> Result<Ipv4Addr, ApiError> {
    text.parse()
        .map_err(|_| invalid_parameter(parameter, text, "Invalid IPv4 address."))
}

/// Gives an interface these addresses and `more` free ones; answers the new ones.
pub fn add_addresses(
    tx: &mut Tx,
    interface: &NetworkInterface,
    given: &[Ipv4Addr],
    more: usize,
) -> Result<Vec<Ipv4Addr>, ApiError> {
    let wanted = interface.slots() + given.len() + more;
    limits::check_growth(tx.view(), interface, wanted)?;
    let subnet = ids::find::<Subnet>(tx.view(), interface.subnet.as_str())?;
    let wanted = given.iter().copied().map(Some);
    let mut added = Vec::new();
    for wanted in wanted.chain(std::iter::repeat_n(None, more)) {
        let private = private_address(tx, &subnet, wanted)?;
        tx.update::<NetworkInterface>(interface.id.as_str(), |it| {
            let public = None;
            it.addresses.push(PrivateAddress { private, public });
        });
        added.push(private);
    }
    Ok(added)
}

pub(super) fn assign(
    _app: &Ec2,
    tx: &mut Tx,
    op: AssignPrivateIpAddresses,
) -> Result<AssignPrivateIpAddressesResult, ApiError> {
    let interface = ids::find::<NetworkInterface>(tx.view(), &op.network_interface_id)?;
    refuse_managed(&interface)?;
    let texts = op.ipv4_prefixes.iter().map(String::as_str);
    let prefixes = prefixes::Wanted::read(texts, op.ipv4_prefix_count)?;
    let given = op
        .private_ip_addresses
        .iter()
        .map(|text| ip("privateIpAddress", text))
        .collect::<Result<Vec<_>, _>>()?;
    let more = count(op.secondary_private_ip_address_count)?;
    check_asked(!given.is_empty(), more > 0, !prefixes.is_empty())?;
    if op.allow_reassignment == Some(true) {
        take_from_others(tx, &interface, &given);
    }
    let assigned = add_addresses(tx, &interface, &given, more)?;
    let prefixes = prefixes::add(tx, &interface, &prefixes)?;
    Ok(AssignPrivateIpAddressesResult {
        network_interface_id: interface.id.to_string(),
        assigned: assigned
            .into_iter()
            .map(|ip| AssignedAddress {
                private_ip_address: ip.to_string(),
            })
            .collect(),
        prefixes: prefixes.iter().map(PrefixItem::from).collect(),
    })
}

/// A request asks in one of three ways: by addresses, by their count, by prefixes or theirs.
fn check_asked(addresses: bool, count: bool, prefixes: bool) -> Result<(), ApiError> {
    match (addresses, count, prefixes) {
        (false, false, false) => Err(missing(
            "PrivateIpAddress or SecondaryPrivateIpAddressCount",
        )),
        (true, true, _) => Err(combination(
            "The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together.",
        )),
        (true, _, true) | (_, true, true) => Err(combination(
            "Private addresses and IPv4 prefixes cannot be assigned by one request.",
        )),
        _ => Ok(()),
    }
}

/// The interfaces of the subnet that have some of these addresses as secondary ones, with what they have. Those that a
/// service manages keep what they have.
fn holders(
    view: &View,
    interface: &NetworkInterface,
    wanted: &[Ipv4Addr],
) -> Vec<(Arc<NetworkInterface>, Vec<Ipv4Addr>)> {
    let of_subnet = view
        .by::<NetworkInterface>("subnet", interface.subnet.as_str())
        .filter(|it| it.manager.is_none());
    let with_held = of_subnet.map(|holder| {
        let secondary = |it: &&PrivateAddress| it.private != holder.primary_ip();
        let addresses = holder.addresses.iter().filter(secondary);
        let held = addresses.map(|it| it.private);
        let held: Vec<_> = held.filter(|ip| wanted.contains(ip)).collect();
        (holder, held)
    });
    with_held.filter(|(_, held)| !held.is_empty()).collect()
}

/// Takes secondary addresses away from the subnet's other interfaces.
fn take_from_others(tx: &mut Tx, interface: &NetworkInterface, wanted: &[Ipv4Addr]) {
    for (other, taken) in holders(tx.view(), interface, wanted) {
        remove_addresses(tx, &other, &taken);
    }
}

/// The interface that gets addresses, and those that lose some by it.
pub(super) fn changed_by(view: &View, op: &AssignPrivateIpAddresses) -> Vec<String> {
    let mut changed = vec![op.network_interface_id.clone()];
    let interface = view.get::<NetworkInterface>(&op.network_interface_id);
    if let Some(interface) = interface.filter(|_| op.allow_reassignment == Some(true)) {
        let wanted = op.private_ip_addresses.iter();
        let wanted: Vec<Ipv4Addr> = wanted.filter_map(|text| text.parse().ok()).collect();
        let holders = holders(view, &interface, &wanted).into_iter();
        changed.extend(holders.map(|(holder, _)| holder.id.to_string()));
    }
    changed
}

/// Removes addresses; elastic ones that were mapped to them become free.
fn remove_addresses(tx: &mut Tx, interface: &NetworkInterface, gone: &[Ipv4Addr]) {
    for address in interface
        .addresses
        .iter()
        .filter(|it| gone.contains(&it.private))
    {
        let elastic = address.public.as_ref().and_then(|it| it.elastic.as_ref());
        if let Some((allocation, _)) = elastic {
            tx.update::<Address>(allocation.as_str(), |it| it.association = None);
        }
    }
    tx.update::<NetworkInterface>(interface.id.as_str(), |it| {
        it.addresses
            .retain(|address| !gone.contains(&address.private));
    });
}

pub(super) fn unassign(
    _app: &Ec2,
    tx: &mut Tx,
    op: UnassignPrivateIpAddresses,
) -> Result<Nothing, ApiError> {
    let interface = ids::find::<NetworkInterface>(tx.view(), &op.network_interface_id)?;
    refuse_managed(&interface)?;
    if op.private_ip_addresses.is_empty() && op.ipv4_prefixes.is_empty() {
        return Err(missing("PrivateIpAddress"));
    }
    let prefixes: Vec<_> = op
        .ipv4_prefixes
        .iter()
        .map(|text| prefixes::prefix(text))
        .collect::<Result<_, _>>()?;
    prefixes::remove(tx, &interface, &prefixes)?;
    let mut gone = Vec::new();
    for text in &op.private_ip_addresses {
        let address = ip("privateIpAddress", text)?;
        let mut known = interface.addresses.iter();
        let position = known.position(|it| it.private == address);
        match position {
            Some(0) => {
                return Err(invalid_value(
                    "The primary IP address of an interface cannot be unassigned.",
                ));
            }
            Some(_) => gone.push(address),
            None => {
                return Err(invalid_value(format!(
                    "Some of the specified addresses are not assigned to interface {}: {address}",
                    interface.id
                )));
            }
        }
    }
    remove_addresses(tx, &interface, &gone);
    Ok(Nothing {})
}
