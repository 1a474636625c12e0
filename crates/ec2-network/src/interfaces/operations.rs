//! The operations on interfaces
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>).

use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_control::Mode;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::idempotency;
use lath_ec2_kit::made::{ATTRIBUTES, Making as _};
use lath_ec2_kit::messages::{BooleanValue, Nothing, TextValue};
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Query, select_records};
use lath_ec2_kit::tags;
use lath_ec2_records::errors::{client, combination, invalid_parameter, invalid_value, missing};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::interfaces::{
    NewInterface, checked_groups, create_primary, groups_of_new, refuse_managed, release,
};
use lath_ec2_records::resources::{INSTANCE, NETWORK_INTERFACE, SECURITY_GROUP, SUBNET};
use lath_ec2_records::{Attachment, Instance, InstanceState, NetworkInterface, Subnet};
use lath_model::id::{AttachmentId, NetworkInterfaceId, SecurityGroupId};
use lath_service::{Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::limits;
use super::messages::*;
use super::private_addresses::{self, add_addresses, count, ip};
use super::{prefixes, response};

/// How many groups may guard an interface.
const MAX_GROUPS: usize = 5;

operations! {
    for Ec2 as "ec2";
    change CreateNetworkInterface -> CreateNetworkInterfaceResult = create, dry_run
        => on(&SUBNET, |op, _| op.subnet_id.clone())
            .on(&SECURITY_GROUP, |op, at| groups_of_new(at.view, &op.subnet_id, &op.groups))
            .creates(&NETWORK_INTERFACE, |op| &op.tag_specifications)
        => refusing ["" CreateNetworkInterface];
    change DeleteNetworkInterface -> Nothing = delete, dry_run
        => on(&NETWORK_INTERFACE, |op, _| op.network_interface_id.clone());
    read DescribeNetworkInterfaces -> DescribeNetworkInterfacesResult = describe, dry_run => any();
    change AttachNetworkInterface -> AttachNetworkInterfaceResult = attach, dry_run
        => on(&NETWORK_INTERFACE, |op, _| op.network_interface_id.clone())
            .on(&INSTANCE, |op, _| op.instance_id.clone())
        => refusing ["" AttachNetworkInterface];
    change DetachNetworkInterface -> Nothing = detach, dry_run
        => on(&NETWORK_INTERFACE, |op, at| attached(at.view, &op.attachment_id).map(|it| it.id.to_string()))
            .on(&INSTANCE, |op, at| instance_of(attached(at.view, &op.attachment_id).as_deref()));
    change ModifyNetworkInterfaceAttribute -> Nothing = modify, dry_run
        => on(&NETWORK_INTERFACE, |op, _| op.network_interface_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
            .on(&SECURITY_GROUP, |op, _| op.groups.clone())
            .on(&SUBNET, |op, _| op.associated_subnet_ids.clone())
            .on(&INSTANCE, |op, at| {
                let id = op.attachment.as_ref().map(|_| op.network_interface_id.as_str())?;
                instance_of(at.view.get::<NetworkInterface>(id).as_deref())
            })
        => refusing ["" ModifyNetworkInterfaceAttribute, "Attachment." AttachmentInput];
    read DescribeNetworkInterfaceAttribute -> DescribeNetworkInterfaceAttributeResult = attribute, dry_run => any();
    change AssignPrivateIpAddresses -> AssignPrivateIpAddressesResult = private_addresses::assign
        => on(&NETWORK_INTERFACE, |op, at| private_addresses::changed_by(at.view, op));
    change UnassignPrivateIpAddresses -> Nothing = private_addresses::unassign
        => on(&NETWORK_INTERFACE, |op, _| op.network_interface_id.clone());
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateNetworkInterface,
) -> Result<CreateNetworkInterfaceResult, ApiError> {
    op.refuse()?;
    check_type(op.interface_type.as_deref())?;
    let subnet = ids::find::<Subnet>(tx.view(), &op.subnet_id)?;
    let tags = tags::specified(&op.tag_specifications, "network-interface")?;
    let wanted = wanted_addresses(&op)?;
    let prefixes = wanted_prefixes(&op, &wanted)?;
    let new = NewInterface {
        subnet: subnet.id.clone(),
        groups: group_ids(app, &op.groups)?,
        private_ip: wanted.primary,
        public: Some(false),
        description: op.description.clone().unwrap_or_default(),
    };
    // The token comes first: for a repeated request the address that it wants is taken, by itself.
    let addresses = (&op.subnet_id, &op.groups, &op.description, &wanted, &tags);
    let fingerprint = match prefixes.is_empty() {
        true => idempotency::fingerprint(&addresses),
        false => idempotency::fingerprint(&(addresses, &prefixes)),
    };
    let id = NetworkInterfaceId::random();
    let token = op.client_token.as_deref();
    let used = idempotency::claim(
        tx,
        "CreateNetworkInterface",
        token,
        fingerprint,
        id.as_str(),
    )?;
    let id = if let Some(known) = used {
        known
    } else {
        let interface = create_primary(tx, &app.cell, id, new)?;
        tags::put(tx, interface.id.as_str(), tags);
        add_addresses(tx, &interface, &wanted.secondary, wanted.count)?;
        prefixes::add(tx, &interface, &prefixes)?;
        interface.id.to_string()
    };
    let interface = ids::find::<NetworkInterface>(tx.view(), &id)?;
    Ok(CreateNetworkInterfaceResult {
        network_interface: response::item(&app.cell, tx.view(), &interface),
        client_token: op.client_token,
    })
}

fn check_type(kind: Option<&str>) -> Result<(), ApiError> {
    match kind {
        None | Some("interface") => Ok(()),
        Some(other) => Err(lath_ec2_records::errors::unsupported(format!(
            "The interface type '{other}' is not supported."
        ))),
    }
}

#[derive(Debug, Default)]
struct WantedAddresses {
    primary: Option<Ipv4Addr>,
    secondary: Vec<Ipv4Addr>,
    count: usize,
}

fn wanted_addresses(op: &CreateNetworkInterface) -> Result<WantedAddresses, ApiError> {
    let mut wanted = WantedAddresses {
        count: count(op.secondary_private_ip_address_count)?,
        ..WantedAddresses::default()
    };
    let primary = op.private_ip_address.as_deref();
    wanted.primary = primary
        .map(|text| ip("privateIpAddress", text))
        .transpose()?;
    for given in &op.private_ip_addresses {
        let text = given.private_ip_address.as_deref();
        let address = ip(
            "privateIpAddress",
            text.ok_or_else(|| missing("PrivateIpAddress"))?,
        )?;
        if given.primary != Some(true) {
            wanted.secondary.push(address);
        } else if wanted.primary.replace(address).is_some() {
            return Err(combination(
                "Only one primary private IP address can be specified.",
            ));
        }
    }
    Ok(wanted)
}

/// Prefixes exclude further addresses
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkInterface.html>).
fn wanted_prefixes(
    op: &CreateNetworkInterface,
    addresses: &WantedAddresses,
) -> Result<prefixes::Wanted, ApiError> {
    let given = op.ipv4_prefixes.iter();
    let given = given.map(|it| it.ipv4_prefix.as_deref().unwrap_or_default());
    let wanted = prefixes::Wanted::read(given, op.ipv4_prefix_count)?;
    let further = !addresses.secondary.is_empty() || addresses.count > 0;
    if further && !wanted.is_empty() {
        return Err(combination(
            "Secondary private addresses and IPv4 prefixes cannot be requested together.",
        ));
    }
    Ok(wanted)
}

fn group_ids(app: &Ec2, ids: &[String]) -> Result<Vec<SecurityGroupId>, ApiError> {
    if app.cell.mode == Mode::Strict && ids.len() > MAX_GROUPS {
        return Err(client(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        ));
    }
    ids.iter().map(|id| SECURITY_GROUP.id.parse(id)).collect()
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteNetworkInterface) -> Result<Nothing, ApiError> {
    let interface = ids::find::<NetworkInterface>(tx.view(), &op.network_interface_id)?;
    if interface.attachment.is_some() || interface.manager.is_some() {
        return Err(client(
            "InvalidParameterValue",
            format!("Network interface '{}' is currently in use.", interface.id),
        ));
    }
    release(tx, &interface);
    Ok(Nothing {})
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeNetworkInterfaces,
) -> Result<DescribeNetworkInterfacesResult, ApiError> {
    let sought = sought_attachments(&op.filters);
    let show = |it: &NetworkInterface| {
        let last = it.last_attachment.as_ref().filter(|last| {
            it.attachment.is_none() && sought.iter().any(|id| *id == last.id.as_str())
        });
        let mut item = response::item(&app.cell, view, it);
        item.attachment = item
            .attachment
            .or_else(|| last.map(|last| response::detached(it, last)));
        Some(item)
    };
    let query = Query {
        ids: &op.network_interface_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeNetworkInterfacesResult {
        network_interfaces: page.items,
        next_token: page.next_token,
    })
}

/// The ids of attachments that filters name. Who looks for one by its id waits to see it `detached`.
fn sought_attachments(filters: &[Filter]) -> Vec<&str> {
    filters
        .iter()
        .filter(|filter| filter.name.as_deref() == Some("attachment.attachment-id"))
        .flat_map(|filter| filter.values.iter().map(String::as_str))
        .collect()
}

fn attach(
    _app: &Ec2,
    tx: &mut Tx,
    op: AttachNetworkInterface,
) -> Result<AttachNetworkInterfaceResult, ApiError> {
    op.refuse()?;
    let interface = ids::find::<NetworkInterface>(tx.view(), &op.network_interface_id)?;
    let instance = attachable(tx.view(), &op.instance_id)?;
    let index = u32::try_from(op.device_index)
        .map_err(|_| invalid_parameter("deviceIndex", op.device_index, "It is out of range."))?;
    if op.network_card_index.is_some_and(|card| card != 0) {
        return Err(invalid_value("The instance has only the network card 0."));
    }
    if interface.attachment.is_some() || interface.manager.is_some() {
        return Err(client(
            "InvalidNetworkInterface.InUse",
            format!("Interface: [{}] in use.", interface.id),
        ));
    }
    check_place(tx.view(), &interface, &instance, index)?;
    limits::check_attachment(tx.view(), &instance, &interface)?;
    let attachment = Attachment {
        id: AttachmentId::random(),
        instance: instance.id.clone(),
        device_index: index,
        delete_on_termination: false,
        attached_at: tx.now(),
    };
    let attachment_id = attachment.id.to_string();
    tx.update::<NetworkInterface>(interface.id.as_str(), |it| it.attachment = Some(attachment));
    Ok(AttachNetworkInterfaceResult {
        attachment_id,
        network_card_index: 0,
    })
}

fn attachable(view: &View, id: &str) -> Result<Arc<Instance>, ApiError> {
    INSTANCE.id.check(id)?;
    let instance = view
        .get::<Instance>(id)
        .ok_or_else(|| INSTANCE.id.not_found(id))?;
    match instance.state {
        InstanceState::Running | InstanceState::Stopped => Ok(instance),
        _ => Err(client(
            "IncorrectState",
            format!("Instance '{id}' is not 'running' or 'stopped'."),
        )),
    }
}

fn check_place(
    view: &View,
    interface: &NetworkInterface,
    instance: &Instance,
    index: u32,
) -> Result<(), ApiError> {
    if interface.vpc != instance.vpc {
        return Err(invalid_value(format!(
            "Interface {} and instance {} belong to different networks.",
            interface.id, instance.id
        )));
    }
    if interface.availability_zone != instance.availability_zone {
        return Err(combination(
            "You may not attach a network interface to an instance if they are not in the same availability zone",
        ));
    }
    let taken = |it: &Attachment| it.device_index == index;
    let is_taken = view
        .by::<NetworkInterface>("instance", instance.id.as_str())
        .any(|it| it.attachment.as_ref().is_some_and(taken));
    if is_taken {
        return Err(invalid_value(format!(
            "Instance '{}' already has an interface attached at device index '{index}'.",
            instance.id
        )));
    }
    Ok(())
}

/// The interface that has this attachment.
fn attached(view: &View, attachment: &str) -> Option<Arc<NetworkInterface>> {
    view.by::<NetworkInterface>("attachment", attachment).next()
}

/// The instance that an interface is attached to.
pub(crate) fn instance_of(interface: Option<&NetworkInterface>) -> Option<String> {
    let attachment = interface?.attachment.as_ref()?;
    Some(attachment.instance.to_string())
}

fn detach(_app: &Ec2, tx: &mut Tx, op: DetachNetworkInterface) -> Result<Nothing, ApiError> {
    ids::ATTACHMENT.check(&op.attachment_id)?;
    let interface = attached(tx.view(), &op.attachment_id)
        .ok_or_else(|| ids::ATTACHMENT.not_found(&op.attachment_id))?;
    let primary = |it: &Attachment| it.device_index == 0;
    if interface.attachment.as_ref().is_some_and(primary) {
        return Err(client(
            "OperationNotPermitted",
            "The network interface at device index 0 cannot be detached.",
        ));
    }
    tx.update::<NetworkInterface>(interface.id.as_str(), |it| {
        it.last_attachment = it.attachment.take();
    });
    Ok(Nothing {})
}

/// One attribute per call, as AWS demands.
fn modify(
    app: &Ec2,
    tx: &mut Tx,
    op: ModifyNetworkInterfaceAttribute,
) -> Result<Nothing, ApiError> {
    let old = ids::find::<NetworkInterface>(tx.view(), &op.network_interface_id)?;
    op.refuse()?;
    let given = [
        op.description.is_some(),
        op.source_dest_check.is_some(),
        !op.groups.is_empty(),
        op.attachment.is_some(),
    ];
    match given.into_iter().filter(|given| *given).count() {
        0 => {
            return Err(missing(
                "Description, SourceDestCheck, SecurityGroupId or Attachment",
            ));
        }
        1 => {}
        _ => {
            return Err(combination(
                "Only one network interface attribute can be modified at a time.",
            ));
        }
    }
    refuse_managed(&old)?;
    let mut interface = NetworkInterface::clone(&old);
    if let Some(description) = op.description {
        interface.description = description.value.unwrap_or_default();
    }
    if let Some(check) = op.source_dest_check.and_then(|input| input.value) {
        interface.source_dest_check = check;
    }
    if !op.groups.is_empty() {
        let subnet = ids::find::<Subnet>(tx.view(), interface.subnet.as_str())?;
        interface.groups = checked_groups(tx, &subnet, group_ids(app, &op.groups)?)?;
    }
    if let Some(input) = op.attachment {
        change_attachment(&mut interface, &input)?;
    }
    tx.put(interface);
    Ok(Nothing {})
}

fn change_attachment(
    interface: &mut NetworkInterface,
    input: &AttachmentInput,
) -> Result<(), ApiError> {
    input.refuse()?;
    let id = input.attachment_id.as_deref();
    let id = id.ok_or_else(|| missing("Attachment.AttachmentId"))?;
    ids::ATTACHMENT.check(id)?;
    let attachment = interface.attachment.as_mut();
    let attachment = attachment
        .filter(|it| it.id.as_str() == id)
        .ok_or_else(|| ids::ATTACHMENT.not_found(id))?;
    let value = input.delete_on_termination;
    attachment.delete_on_termination =
        value.ok_or_else(|| missing("Attachment.DeleteOnTermination"))?;
    Ok(())
}

fn attribute(
    _app: &Ec2,
    view: &View,
    op: &DescribeNetworkInterfaceAttribute,
) -> Result<DescribeNetworkInterfaceAttributeResult, ApiError> {
    let interface = ids::find::<NetworkInterface>(view, &op.network_interface_id)?;
    let mut answer = DescribeNetworkInterfaceAttributeResult {
        network_interface_id: interface.id.to_string(),
        ..DescribeNetworkInterfaceAttributeResult::default()
    };
    match op.attribute.as_deref() {
        Some("description") => {
            let value = interface.description.clone();
            answer.description = Some(TextValue { value });
        }
        Some("sourceDestCheck") => {
            let value = interface.source_dest_check;
            answer.source_dest_check = Some(BooleanValue { value });
        }
        Some("groupSet") => answer.groups = Some(response::groups(view, &interface)),
        Some("attachment") => answer.attachment = response::attachment(&interface),
        Some(other) => return Err(invalid_parameter("attribute", other, "Unknown attribute.")),
        None => return Err(missing("attribute")),
    }
    Ok(answer)
}

refused! {
    CreateNetworkInterface { ipv6_prefixes as "Ipv6Prefix", ipv6_prefix_count, enable_primary_ipv6, connection_tracking_specification, operator, ipv6_addresses, ipv6_address_count }
    AttachNetworkInterface { ena_srd_specification, ena_queue_count }
    ModifyNetworkInterfaceAttribute { ena_srd_specification, enable_primary_ipv6, connection_tracking_specification, associate_public_ip_address, associated_subnet_ids as "AssociatedSubnetId" }
    AttachmentInput { default_ena_queue_count, ena_queue_count }
}
