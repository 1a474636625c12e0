//! Requests and answers about network interfaces.

use ipnet::Ipv4Net;
use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::made::attributes;
use lath_ec2_kit::messages::{BooleanInput, BooleanValue, TextInput, TextValue};
use lath_ec2_kit::tags::{Tag, TagSpecification};
use lath_ec2_records::resources::Facts;
use lath_model::Timestamp;
use lath_service::Asks;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetworkInterface {
    #[serde(rename = "Ipv4Prefix", default)]
    pub(crate) ipv4_prefixes: Vec<Ipv4PrefixInput>,
    pub(crate) ipv4_prefix_count: Option<i32>,
    #[serde(rename = "Ipv6Prefix", default)]
    pub(crate) ipv6_prefixes: Vec<Ipv6PrefixInput>,
    pub(crate) ipv6_prefix_count: Option<i32>,
    pub(crate) interface_type: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) client_token: Option<String>,
    pub(crate) enable_primary_ipv6: Option<bool>,
    pub(crate) connection_tracking_specification: Option<ConnectionTrackingInput>,
    pub(crate) operator: Option<OperatorInput>,
    pub(crate) subnet_id: String,
    pub(crate) description: Option<String>,
    pub(crate) private_ip_address: Option<String>,
    #[serde(rename = "SecurityGroupId", default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) private_ip_addresses: Vec<AddressInput>,
    pub(crate) secondary_private_ip_address_count: Option<i32>,
    #[serde(default)]
    pub(crate) ipv6_addresses: Vec<Ipv6AddressInput>,
    pub(crate) ipv6_address_count: Option<i32>,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddressInput {
    pub(crate) primary: Option<bool>,
    pub(crate) private_ip_address: Option<String>,
}

/// A prefix as CreateNetworkInterface takes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Ipv4PrefixInput {
    pub(crate) ipv4_prefix: Option<String>,
}

/// A prefix of an interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrefixItem {
    /// The block.
    pub ipv4_prefix: String,
}

impl From<&Ipv4Net> for PrefixItem {
    fn from(prefix: &Ipv4Net) -> Self {
        Self {
            ipv4_prefix: prefix.to_string(),
        }
    }
}

macro_rules! refused_inputs {
    ($($name:ident { $($member:ident: $type:ty),* $(,)? })*) => {
        $(
            /// Declared because AWS knows it; always refused.
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            #[expect(dead_code, reason = "whatever it says, it is refused")]
            pub(crate) struct $name {
                $($member: Option<$type>,)*
            }

            impl Asks for $name {
                fn asks(&self) -> bool {
                    true
                }
            }
        )*
    };
}

refused_inputs! {
    Ipv6PrefixInput { ipv6_prefix: String }
    Ipv6AddressInput { ipv6_address: String, is_primary_ipv6: bool }
    OperatorInput { principal: String }
    ConnectionTrackingInput {
        tcp_established_timeout: i32,
        udp_stream_timeout: i32,
        udp_timeout: i32,
    }
    EnaSrdInput { ena_srd_enabled: bool, ena_srd_udp_specification: EnaSrdUdpInput }
    EnaSrdUdpInput { ena_srd_udp_enabled: bool }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateNetworkInterfaceResult {
    pub(crate) network_interface: InterfaceItem,
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InterfaceItem {
    pub(crate) network_interface_id: String,
    pub(crate) subnet_id: String,
    pub(crate) vpc_id: String,
    pub(crate) availability_zone: String,
    pub(crate) availability_zone_id: String,
    pub(crate) description: String,
    pub(crate) owner_id: String,
    pub(crate) requester_managed: bool,
    pub(crate) interface_type: String,
    pub(crate) status: String,
    pub(crate) mac_address: String,
    pub(crate) private_ip_address: String,
    pub(crate) private_dns_name: String,
    pub(crate) public_dns_name: Option<String>,
    pub(crate) source_dest_check: bool,
    #[serde(rename = "groupSet")]
    pub(crate) groups: Vec<GroupItem>,
    pub(crate) attachment: Option<AttachmentItem>,
    pub(crate) association: Option<AssociationItem>,
    #[serde(rename = "privateIpAddressesSet")]
    pub(crate) addresses: Vec<AddressItem>,
    #[serde(rename = "ipv4PrefixSet")]
    pub(crate) prefixes: Vec<PrefixItem>,
    pub(crate) tag_set: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupItem {
    pub(crate) group_id: String,
    pub(crate) group_name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttachmentItem {
    pub(crate) attachment_id: String,
    pub(crate) attach_time: Timestamp,
    pub(crate) delete_on_termination: bool,
    pub(crate) device_index: i32,
    pub(crate) network_card_index: i32,
    pub(crate) instance_id: String,
    pub(crate) instance_owner_id: String,
    pub(crate) status: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationItem {
    pub(crate) allocation_id: Option<String>,
    pub(crate) association_id: Option<String>,
    pub(crate) ip_owner_id: String,
    pub(crate) public_dns_name: Option<String>,
    pub(crate) public_ip: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddressItem {
    pub(crate) association: Option<AssociationItem>,
    pub(crate) primary: bool,
    pub(crate) private_dns_name: String,
    pub(crate) private_ip_address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteNetworkInterface {
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_interface_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNetworkInterfaces {
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    #[expect(
        dead_code,
        reason = "no interface is managed by AWS: there is nothing to include"
    )]
    pub(crate) include_managed_resources: Option<bool>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "NetworkInterfaceId", default)]
    pub(crate) network_interface_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeNetworkInterfacesResult {
    #[serde(rename = "networkInterfaceSet")]
    pub(crate) network_interfaces: Vec<InterfaceItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttachNetworkInterface {
    pub(crate) network_card_index: Option<i32>,
    pub(crate) ena_srd_specification: Option<EnaSrdInput>,
    pub(crate) ena_queue_count: Option<i32>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_interface_id: String,
    pub(crate) instance_id: String,
    pub(crate) device_index: i32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttachNetworkInterfaceResult {
    pub(crate) attachment_id: String,
    pub(crate) network_card_index: i32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DetachNetworkInterface {
    pub(crate) dry_run: Option<bool>,
    pub(crate) attachment_id: String,
    #[expect(
        dead_code,
        reason = "detaching never waits for the instance: it is always forced"
    )]
    pub(crate) force: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyNetworkInterfaceAttribute {
    pub(crate) ena_srd_specification: Option<EnaSrdInput>,
    pub(crate) enable_primary_ipv6: Option<bool>,
    pub(crate) connection_tracking_specification: Option<ConnectionTrackingInput>,
    pub(crate) associate_public_ip_address: Option<bool>,
    #[serde(rename = "AssociatedSubnetId", default)]
    pub(crate) associated_subnet_ids: Vec<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_interface_id: String,
    pub(crate) description: Option<TextInput>,
    pub(crate) source_dest_check: Option<BooleanInput>,
    #[serde(rename = "SecurityGroupId", default)]
    pub(crate) groups: Vec<String>,
    pub(crate) attachment: Option<AttachmentInput>,
}

impl ModifyNetworkInterfaceAttribute {
    /// The attributes that it sets and that policies can judge: those of one value.
    pub(super) fn set(&self) -> Facts {
        let description = self.description.as_ref().and_then(|it| it.value.clone());
        let public = self.associate_public_ip_address;
        attributes(&[
            ("Description", description),
            (
                "SourceDestCheck",
                BooleanInput::text(self.source_dest_check),
            ),
            (
                "EnablePrimaryIpv6",
                self.enable_primary_ipv6.map(|it| it.to_string()),
            ),
            ("AssociatePublicIpAddress", public.map(|it| it.to_string())),
        ])
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttachmentInput {
    pub(crate) default_ena_queue_count: Option<bool>,
    pub(crate) ena_queue_count: Option<i32>,
    pub(crate) attachment_id: Option<String>,
    pub(crate) delete_on_termination: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNetworkInterfaceAttribute {
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_interface_id: String,
    pub(crate) attribute: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeNetworkInterfaceAttributeResult {
    pub(crate) attachment: Option<AttachmentItem>,
    pub(crate) description: Option<TextValue>,
    #[serde(rename = "groupSet")]
    pub(crate) groups: Option<Vec<GroupItem>>,
    pub(crate) network_interface_id: String,
    pub(crate) source_dest_check: Option<BooleanValue>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssignPrivateIpAddresses {
    #[serde(rename = "Ipv4Prefix", default)]
    pub(crate) ipv4_prefixes: Vec<String>,
    pub(crate) ipv4_prefix_count: Option<i32>,
    pub(crate) network_interface_id: String,
    #[serde(rename = "PrivateIpAddress", default)]
    pub(crate) private_ip_addresses: Vec<String>,
    pub(crate) secondary_private_ip_address_count: Option<i32>,
    pub(crate) allow_reassignment: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssignPrivateIpAddressesResult {
    pub(crate) network_interface_id: String,
    #[serde(rename = "assignedPrivateIpAddressesSet")]
    pub(crate) assigned: Vec<AssignedAddress>,
    #[serde(rename = "assignedIpv4PrefixSet")]
    pub(crate) prefixes: Vec<PrefixItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssignedAddress {
    pub(crate) private_ip_address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnassignPrivateIpAddresses {
    #[serde(rename = "Ipv4Prefix", default)]
    pub(crate) ipv4_prefixes: Vec<String>,
    pub(crate) network_interface_id: String,
    #[serde(rename = "PrivateIpAddress", default)]
    pub(crate) private_ip_addresses: Vec<String>,
}
