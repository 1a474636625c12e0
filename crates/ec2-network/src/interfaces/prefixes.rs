//! Prefixes of interfaces: blocks of 16 addresses that are routed to an interface as a whole
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html>).

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_ec2_records::errors::{client, combination, invalid_parameter, invalid_value};
use lath_ec2_records::ids;
use lath_ec2_records::interfaces::{addresses_of, taken, usable};
use lath_ec2_records::{NetworkInterface, ReservedAddresses, Subnet, reserved_addresses};
use lath_store::Tx;
use lath_wire::ApiError;

use super::limits;

/// The length of every prefix.
const LENGTH: u8 = 28;

/// The prefixes that a request wants: these, or so many.
#[derive(Debug, Default)]
pub struct Wanted {
    given: Vec<Ipv4Net>,
    count: usize,
}

impl Wanted {
    /// Reads a request's prefixes and their count, of which it may have one.
    ///
    /// # Errors
    /// `InvalidParameterValue`, `InvalidParameterCombination`.
    pub(crate) fn read<'t>(
        given: impl IntoIterator<Item = &'t str>,
        count: Option<i32>,
    ) -> Result<Self, ApiError> {
        let given: Vec<Ipv4Net> = given.into_iter().map(prefix).collect::<Result<_, _>>()?;
        if !given.is_empty() && count.is_some() {
            return Err(combination(
                "The parameters ipv4Prefixes and ipv4PrefixCount cannot be used together.",
            ));
        }
        let count = count.unwrap_or(0);
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count < limits::MAX_ADDRESSES)
            .ok_or_else(|| invalid_parameter("ipv4PrefixCount", count, "It is out of range."))?;
        Ok(Self { given, count })
    }

    /// So many prefixes, whichever are free.
    pub fn some(count: usize) -> Self {
        Self {
            given: Vec::new(),
            count,
        }
    }

    /// Whether it wants none.
    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.count == 0
    }
}

/// A prefix that a request names.
pub(super) fn prefix(text: &str) -> Result<Ipv4Net, ApiError> {
    let parsed: Option<Ipv4Net> = text.parse().ok();
    let fits = |it: &Ipv4Net| it.prefix_len() == LENGTH && it.trunc() == *it;
    parsed
        .filter(fits)
        .ok_or_else(|| invalid_parameter("ipv4Prefix", text, "A prefix has the length /28."))
}

/// Gives an interface the wanted prefixes; answers the new ones. Each takes the place of one address in the limit of the
/// interface.
///
/// # Errors
/// `PrivateIpAddressLimitExceeded`, `InsufficientCidrBlocks`, `InvalidParameterValue` for a prefix that is not the
/// subnet's or not free, and where the subnet has fewer available addresses than are asked for.
pub fn add(
    tx: &mut Tx,
    interface: &NetworkInterface,
    wanted: &Wanted,
) -> Result<Vec<Ipv4Net>, ApiError> {
    let slots = interface.slots() + wanted.given.len() + wanted.count;
    limits::check_growth(tx.view(), interface, slots)?;
    let subnet = ids::find::<Subnet>(tx.view(), interface.subnet.as_str())?;
    let mut taken = taken(tx.view(), &subnet);
    let reserved = reserved_addresses(tx.view(), &subnet.id);
    check_available(&subnet, &taken, &reserved, wanted.count)?;
    let mut added = Vec::new();
    let given = wanted.given.iter().copied().map(Some);
    for wanted in given.chain(std::iter::repeat_n(None, wanted.count)) {
        let prefix = match wanted {
            Some(named) => checked(&subnet, &taken, named)?,
            None => free(&subnet, &taken, &reserved)?,
        };
        taken.extend(addresses_of(prefix));
        added.push(prefix);
    }
    tx.update::<NetworkInterface>(interface.id.as_str(), |it| {
        it.prefixes.extend(&added);
    });
    Ok(added)
}

/// AWS answers differently when a subnet has too few addresses for so many prefixes, and when it has enough but no
/// whole block (`InsufficientCidrBlocks`). How its support tells them apart: <https://github.com/cilium/cilium/pull/31016>.
fn check_available(
    subnet: &Subnet,
    taken: &HashSet<Ipv4Addr>,
    reserved: &ReservedAddresses,
    count: usize,
) -> Result<(), ApiError> {
    let is_available =
        |ip: &Ipv4Addr| !reserved.contains(*ip) || reserved.for_prefixes(Ipv4Net::from(*ip));
    let free = usable(subnet).filter(|ip| !taken.contains(ip));
    let needed = count << (32 - u32::from(LENGTH));
    if free.filter(is_available).take(needed).count() < needed {
        return Err(invalid_value(
            "There aren't sufficient free Ipv4 addresses or prefixes",
        ));
    }
    Ok(())
}

fn checked(
    subnet: &Subnet,
    taken: &HashSet<Ipv4Addr>,
    prefix: Ipv4Net,
) -> Result<Ipv4Net, ApiError> {
    if !subnet.cidr.contains(&prefix) {
        return Err(invalid_value(format!(
            "Prefix {prefix} does not fall within the subnet's address range"
        )));
    }
    if is_free(subnet, taken, prefix) {
        return Ok(prefix);
    }
    Err(invalid_value(format!("Prefix {prefix} is in use.")))
}

/// A block of the reservations for prefixes, else one that nothing is reserved of.
fn free(
    subnet: &Subnet,
    taken: &HashSet<Ipv4Addr>,
    reserved: &ReservedAddresses,
) -> Result<Ipv4Net, ApiError> {
    let blocks = || subnet.cidr.subnets(LENGTH).into_iter().flatten();
    let is_free = |block: &Ipv4Net| is_free(subnet, taken, *block);
    let mut set_aside = blocks().filter(|block| reserved.for_prefixes(*block));
    let mut others = blocks().filter(|block| !reserved.overlaps(*block));
    let found = set_aside.find(is_free).or_else(|| others.find(is_free));
    found.ok_or_else(|| {
        client(
            "InsufficientCidrBlocks",
            "The specified subnet does not have enough free cidr blocks to satisfy the request.",
        )
    })
}

/// Whether every address of a block is for interfaces, and none of them has it.
fn is_free(subnet: &Subnet, taken: &HashSet<Ipv4Addr>, block: Ipv4Net) -> bool {
    let usable = usable(subnet);
    addresses_of(block).all(|ip| usable.contains(ip) && !taken.contains(&ip))
}

/// Takes prefixes away.
///
/// # Errors
/// `InvalidParameterValue` for one that the interface does not have.
pub(super) fn remove(
    tx: &mut Tx,
    interface: &NetworkInterface,
    gone: &[Ipv4Net],
) -> Result<(), ApiError> {
    if let Some(foreign) = gone.iter().find(|it| !interface.prefixes.contains(it)) {
        return Err(invalid_value(format!(
            "Some of the specified prefixes are not assigned to interface {}: {foreign}",
            interface.id
        )));
    }
    tx.update::<NetworkInterface>(interface.id.as_str(), |it| {
        it.prefixes.retain(|prefix| !gone.contains(prefix));
    });
    Ok(())
}
