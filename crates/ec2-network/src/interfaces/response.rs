//! Interfaces as answers show them.

use lath_control::Cell;
use lath_ec2_kit::filter::{Field, Member};
use lath_ec2_kit::names;
use lath_ec2_kit::select::Listed;
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::resources::NETWORK_INTERFACE;
use lath_ec2_records::zone_id;
use lath_ec2_records::{
    Attachment, Manager, NetworkInterface, PrivateAddress, PublicAddress, SecurityGroup, Vpc,
};
use lath_service::IdForm;
use lath_store::View;

use super::messages::*;

pub(super) fn item(cell: &Cell, view: &View, interface: &NetworkInterface) -> InterfaceItem {
    let vpc = view.get::<Vpc>(interface.vpc.as_str());
    let named = vpc.is_some_and(|vpc| vpc.dns_support && vpc.dns_hostnames);
    let addresses: Vec<_> = interface
        .addresses
        .iter()
        .enumerate()
        .map(|(index, it)| address(cell, interface, it, index == 0, named))
        .collect();
    let association = addresses.first().and_then(|it| it.association.clone());
    let manager = interface.manager.as_ref();
    let status = if interface.attachment.is_some() || manager.is_some() {
        "in-use"
    } else {
        "available"
    };
    InterfaceItem {
        network_interface_id: interface.id.to_string(),
        subnet_id: interface.subnet.to_string(),
        vpc_id: interface.vpc.to_string(),
        availability_zone: interface.availability_zone.clone(),
        availability_zone_id: zone_id(&interface.availability_zone),
        description: interface.description.clone(),
        owner_id: interface.owner.clone(),
        requester_managed: manager.is_some(),
        interface_type: manager.map_or("interface", Manager::interface_type).into(),
        status: status.into(),
        mac_address: interface.mac.clone(),
        private_ip_address: interface.primary_ip().to_string(),
        private_dns_name: names::private(cell, interface.primary_ip()),
        public_dns_name: association
            .as_ref()
            .and_then(|it| it.public_dns_name.clone()),
        source_dest_check: interface.source_dest_check,
        groups: groups(view, interface),
        attachment: attachment(interface),
        association,
        addresses,
        prefixes: interface.prefixes.iter().map(PrefixItem::from).collect(),
        tag_set: tags::of(view, interface.id.as_str()),
    }
}

pub(super) fn groups(view: &View, interface: &NetworkInterface) -> Vec<GroupItem> {
    let name = |id: &str| {
        view.get::<SecurityGroup>(id)
            .map(|group| group.name.clone())
    };
    interface
        .groups
        .iter()
        .map(|id| GroupItem {
            group_name: name(id.as_str()).unwrap_or_default(),
            group_id: id.to_string(),
        })
        .collect()
}

pub(super) fn attachment(interface: &NetworkInterface) -> Option<AttachmentItem> {
    let attachment = interface.attachment.as_ref()?;
    Some(with_status(interface, attachment, "attached"))
}

/// An attachment that is over.
pub(super) fn detached(interface: &NetworkInterface, last: &Attachment) -> AttachmentItem {
    with_status(interface, last, "detached")
}

fn with_status(interface: &NetworkInterface, it: &Attachment, status: &str) -> AttachmentItem {
    AttachmentItem {
        attachment_id: it.id.to_string(),
        attach_time: it.attached_at,
        delete_on_termination: it.delete_on_termination,
        device_index: i32::try_from(it.device_index).unwrap_or(i32::MAX),
        network_card_index: 0,
        instance_id: it.instance.to_string(),
        instance_owner_id: interface.owner.clone(),
        status: status.into(),
    }
}

fn address(
    cell: &Cell,
    interface: &NetworkInterface,
    address: &PrivateAddress,
    primary: bool,
    named: bool,
) -> AddressItem {
    let association = |public: &PublicAddress| AssociationItem {
        allocation_id: public.elastic.as_ref().map(|(id, _)| id.to_string()),
        association_id: public.elastic.as_ref().map(|(_, id)| id.to_string()),
        ip_owner_id: match &public.elastic {
            Some(_) => interface.owner.clone(),
            None => "amazon".into(),
        },
        public_dns_name: named.then(|| names::public(cell, public.ip)),
        public_ip: public.ip.to_string(),
    };
    AddressItem {
        association: address.public.as_ref().map(association),
        primary,
        private_dns_name: names::private(cell, address.private),
        private_ip_address: address.private.to_string(),
    }
}

fn addresses(it: &InterfaceItem, text: fn(&AddressItem) -> Option<String>) -> Vec<String> {
    it.addresses.iter().filter_map(text).collect()
}

fn attached(it: &InterfaceItem, text: fn(&AttachmentItem) -> String) -> Vec<String> {
    it.attachment.iter().map(text).collect()
}

fn associated(it: &InterfaceItem, text: fn(&AssociationItem) -> Option<String>) -> Vec<String> {
    it.association.iter().filter_map(text).collect()
}

fn groups_by(it: &InterfaceItem, text: fn(&GroupItem) -> String) -> Vec<String> {
    it.groups.iter().map(text).collect()
}

impl Listed for InterfaceItem {
    const ID: IdForm = NETWORK_INTERFACE.id;
    const MEMBERS: &'static [Member] = &[("operator.principal", None)];
    const FIELDS: &'static [Field<Self>] = &[
        ("operator.managed", |_| vec!["false".to_owned()]),
        ("network-interface-id", |it| {
            vec![it.network_interface_id.clone()]
        }),
        ("subnet-id", |it| vec![it.subnet_id.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("availability-zone", |it| vec![it.availability_zone.clone()]),
        ("availability-zone-id", |it| {
            vec![it.availability_zone_id.clone()]
        }),
        ("description", |it| vec![it.description.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("requester-id", |_| vec![]),
        ("requester-managed", |it| {
            vec![it.requester_managed.to_string()]
        }),
        ("interface-type", |it| vec![it.interface_type.clone()]),
        ("status", |it| vec![it.status.clone()]),
        ("mac-address", |it| vec![it.mac_address.clone()]),
        ("private-ip-address", |it| {
            vec![it.private_ip_address.clone()]
        }),
        ("private-dns-name", |it| vec![it.private_dns_name.clone()]),
        ("source-dest-check", |it| {
            vec![it.source_dest_check.to_string()]
        }),
        ("group-id", |it| groups_by(it, |it| it.group_id.clone())),
        ("group-name", |it| groups_by(it, |it| it.group_name.clone())),
        ("ipv6-addresses.ipv6-address", |_| vec![]),
        ("addresses.private-ip-address", |it| {
            addresses(it, |it| Some(it.private_ip_address.clone()))
        }),
        ("addresses.primary", |it| {
            addresses(it, |it| Some(it.primary.to_string()))
        }),
        ("addresses.association.public-ip", |it| {
            addresses(it, |it| Some(it.association.as_ref()?.public_ip.clone()))
        }),
        ("addresses.association.owner-id", |it| {
            addresses(it, |it| Some(it.association.as_ref()?.ip_owner_id.clone()))
        }),
        ("association.allocation-id", |it| {
            associated(it, |it| it.allocation_id.clone())
        }),
        ("association.association-id", |it| {
            associated(it, |it| it.association_id.clone())
        }),
        ("association.ip-owner-id", |it| {
            associated(it, |it| Some(it.ip_owner_id.clone()))
        }),
        ("association.public-ip", |it| {
            associated(it, |it| Some(it.public_ip.clone()))
        }),
        ("association.public-dns-name", |it| {
            associated(it, |it| it.public_dns_name.clone())
        }),
        ("attachment.attachment-id", |it| {
            attached(it, |it| it.attachment_id.clone())
        }),
        ("attachment.attach-time", |it| {
            attached(it, |it| it.attach_time.to_string())
        }),
        ("attachment.delete-on-termination", |it| {
            attached(it, |it| it.delete_on_termination.to_string())
        }),
        ("attachment.device-index", |it| {
            attached(it, |it| it.device_index.to_string())
        }),
        ("attachment.instance-id", |it| {
            attached(it, |it| it.instance_id.clone())
        }),
        ("attachment.instance-owner-id", |it| {
            attached(it, |it| it.instance_owner_id.clone())
        }),
        ("attachment.status", |it| {
            attached(it, |it| it.status.clone())
        }),
    ];
    fn id(&self) -> &str {
        &self.network_interface_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tag_set
    }
}
