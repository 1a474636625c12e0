//! How many interfaces and addresses an instance may have: its type says it
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AvailableIpPerENI.html>).

use lath_ec2_kit::instance_types::{self, InstanceType};
use lath_ec2_records::errors::client;
use lath_ec2_records::{Instance, NetworkInterface};
use lath_model::id::InstanceId;
use lath_store::View;
use lath_wire::ApiError;

/// How many private addresses an interface may have that no instance has.
pub(super) const MAX_ADDRESSES: usize = 50;

/// Whether a type takes so many interfaces.
///
/// # Errors
/// `AttachmentLimitExceeded`.
pub fn check_interfaces(typed: &InstanceType, wanted: usize) -> Result<(), ApiError> {
    // All interfaces are on the first card, which is the only one that requests may name.
    let most = typed.cards.first().map_or(0, |card| card.interfaces);
    if usize::try_from(most).is_ok_and(|most| wanted > most) {
        return Err(client(
            "AttachmentLimitExceeded",
            format!(
                "Interface count {wanted} exceeds the limit for {}",
                typed.name
            ),
        ));
    }
    Ok(())
}

/// Whether an interface of a type takes so many private addresses.
///
/// # Errors
/// `PrivateIpAddressLimitExceeded`.
pub fn check_addresses(typed: &InstanceType, wanted: usize) -> Result<(), ApiError> {
    let most = usize::try_from(typed.ipv4_addresses).unwrap_or(MAX_ADDRESSES);
    at_most(most, wanted)
}

/// Whether the interfaces that an instance has fit another type.
///
/// # Errors
/// As of the two above.
pub fn check_type(
    view: &View,
    instance: &InstanceId,
    typed: &InstanceType,
) -> Result<(), ApiError> {
    let interfaces: Vec<_> = of(view, instance).collect();
    check_interfaces(typed, interfaces.len())?;
    interfaces
        .iter()
        .try_for_each(|it| check_addresses(typed, it.slots()))
}

/// Whether an instance takes a further interface.
pub(super) fn check_attachment(
    view: &View,
    instance: &Instance,
    interface: &NetworkInterface,
) -> Result<(), ApiError> {
    let Some(typed) = instance_types::find(&instance.instance_type) else {
        return Ok(());
    };
    check_interfaces(typed, of(view, &instance.id).count() + 1)?;
    check_addresses(typed, interface.slots())
}

/// Whether an interface takes so many private addresses.
pub(super) fn check_growth(
    view: &View,
    interface: &NetworkInterface,
    wanted: usize,
) -> Result<(), ApiError> {
    let instance = interface.attachment.as_ref().map(|it| &it.instance);
    let instance = instance.and_then(|id| view.get::<Instance>(id.as_str()));
    match instance.and_then(|it| instance_types::find(&it.instance_type)) {
        Some(typed) => check_addresses(typed, wanted),
        None => at_most(MAX_ADDRESSES, wanted),
    }
}

fn of(
    view: &View,
    instance: &InstanceId,
) -> impl Iterator<Item = std::sync::Arc<NetworkInterface>> {
    view.by::<NetworkInterface>("instance", instance.as_str())
}

fn at_most(most: usize, wanted: usize) -> Result<(), ApiError> {
    if wanted <= most {
        return Ok(());
    }
    Err(client(
        "PrivateIpAddressLimitExceeded",
        "Number of private addresses will exceed limit.",
    ))
}
