//! Instances as answers show them.

use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_kit::names::{self, PrivateDnsNameOptionsItem};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_network::interfaces::PrefixItem;
use lath_ec2_records::{
    Instance, InstanceState, MetadataOptions, NetworkInterface, PrivateAddress, ProfileAssociation,
    SecurityGroup, Volume,
};
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use lath_store::View;
use serde::{Deserialize, Serialize};

use super::options::cores_and_threads;
use super::profiles::ProfileItem;

pub(crate) use lath_ec2_records::ROOT_DEVICE;

/// What one RunInstances call launched.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reservation {
    /// Its id.
    pub(crate) reservation_id: String,
    /// The account.
    pub(crate) owner_id: String,
    /// EC2-Classic's groups: always empty.
    pub(crate) group_set: Vec<GroupIdentifier>,
    /// Its instances.
    pub(crate) instances_set: Vec<InstanceItem>,
}

/// A security group's id and name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupIdentifier {
    /// Its id.
    pub(crate) group_id: String,
    /// Its name.
    pub(crate) group_name: String,
}

/// An instance (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html>).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceItem {
    pub(crate) instance_id: String,
    pub(crate) image_id: String,
    pub(crate) instance_state: StateItem,
    pub(crate) private_dns_name: String,
    pub(crate) dns_name: String,
    pub(crate) reason: String,
    pub(crate) key_name: Option<String>,
    pub(crate) ami_launch_index: i32,
    pub(crate) product_codes: Vec<ProductCode>,
    pub(crate) instance_type: String,
    pub(crate) launch_time: Timestamp,
    pub(crate) placement: PlacementItem,
    pub(crate) monitoring: MonitoringItem,
    pub(crate) subnet_id: Option<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) private_ip_address: Option<String>,
    pub(crate) ip_address: Option<String>,
    pub(crate) source_dest_check: Option<bool>,
    pub(crate) group_set: Vec<GroupIdentifier>,
    pub(crate) state_reason: Option<StateReasonItem>,
    pub(crate) architecture: String,
    pub(crate) root_device_type: String,
    pub(crate) root_device_name: String,
    pub(crate) block_device_mapping: Vec<BlockDeviceItem>,
    pub(crate) virtualization_type: String,
    pub(crate) client_token: String,
    pub(crate) tag_set: Vec<Tag>,
    pub(crate) hypervisor: String,
    pub(crate) network_interface_set: Vec<InterfaceItem>,
    pub(crate) iam_instance_profile: Option<ProfileItem>,
    pub(crate) ebs_optimized: bool,
    pub(crate) ena_support: bool,
    pub(crate) cpu_options: CpuOptionsItem,
    pub(crate) capacity_reservation_specification: CapacityReservationItem,
    pub(crate) hibernation_options: HibernationItem,
    pub(crate) metadata_options: MetadataOptionsItem,
    pub(crate) enclave_options: EnclaveItem,
    pub(crate) boot_mode: Option<String>,
    pub(crate) platform_details: String,
    pub(crate) usage_operation: String,
    pub(crate) usage_operation_update_time: Timestamp,
    pub(crate) private_dns_name_options: PrivateDnsNameOptionsItem,
    pub(crate) maintenance_options: MaintenanceItem,
    pub(crate) current_instance_boot_mode: String,
}

/// A state's code and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateItem {
    /// 0, 16, 32, 48, 64 or 80.
    pub(crate) code: i32,
    /// Such as `running`.
    pub(crate) name: String,
}

impl From<InstanceState> for StateItem {
    fn from(state: InstanceState) -> Self {
        let (code, name) = state.code_and_name();
        Self {
            code,
            name: name.into(),
        }
    }
}

/// Why an instance is in its state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateReasonItem {
    /// Such as `Client.UserInitiatedShutdown`.
    pub(crate) code: String,
    /// In words.
    pub(crate) message: String,
}

macro_rules! items {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name { $($(#[$attr])* pub(crate) $member: $type,)* }
    )*};
}

items! {
    /// A marketplace product code: Lath's images have none.
    ProductCode { product_code: String, r#type: String, }
    /// Where an instance is.
    PlacementItem { availability_zone: String, availability_zone_id: String, group_name: String, tenancy: String, }
    /// Detailed monitoring.
    MonitoringItem { state: String, }
    /// A disk.
    BlockDeviceItem { device_name: String, ebs: EbsItem, }
    /// A disk's volume.
    EbsItem { volume_id: String, status: String, attach_time: Timestamp, delete_on_termination: bool, }
    /// Cores and threads.
    CpuOptionsItem { core_count: i32, threads_per_core: i32, }
    /// Capacity reservations: there are none.
    CapacityReservationItem { capacity_reservation_preference: String, }
    /// Hibernation: there is none.
    HibernationItem { configured: bool, }
    /// Enclaves: there are none.
    EnclaveItem { enabled: bool, }
    /// Recovery.
    MaintenanceItem { auto_recovery: String, reboot_migration: String, }
    /// An interface of an instance.
    InterfaceItem {
        association: Option<AssociationItem>,
        attachment: AttachmentItem,
        description: String,
        group_set: Vec<GroupIdentifier>,
        mac_address: String,
        network_interface_id: String,
        owner_id: String,
        private_dns_name: String,
        private_ip_address: String,
        private_ip_addresses_set: Vec<PrivateAddressItem>,
        ipv4_prefix_set: Vec<PrefixItem>,
        source_dest_check: bool,
        status: String,
        subnet_id: String,
        vpc_id: String,
        interface_type: String,
    }
    /// A public address of an interface.
    AssociationItem { ip_owner_id: String, public_dns_name: String, public_ip: String, }
    /// An interface's attachment.
    AttachmentItem {
        attach_time: Timestamp,
        attachment_id: String,
        delete_on_termination: bool,
        device_index: i32,
        status: String,
        network_card_index: i32,
    }
    /// A private address.
    PrivateAddressItem {
        association: Option<AssociationItem>,
        primary: bool,
        private_dns_name: String,
        private_ip_address: String,
    }
}

/// How the metadata service answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetadataOptionsItem {
    /// Always `applied`: the node obeys the newest feed.
    pub(crate) state: String,
    /// `optional` or `required`.
    pub(crate) http_tokens: String,
    /// 1 to 64.
    pub(crate) http_put_response_hop_limit: i32,
    /// `enabled` or `disabled`.
    pub(crate) http_endpoint: String,
    /// `disabled`.
    pub(crate) http_protocol_ipv6: String,
    /// `enabled` or `disabled`.
    pub(crate) instance_metadata_tags: String,
}

impl From<&MetadataOptions> for MetadataOptionsItem {
    fn from(options: &MetadataOptions) -> Self {
        Self {
            state: "applied".into(),
            http_tokens: options.tokens_word().into(),
            http_put_response_hop_limit: options.hop_limit,
            http_endpoint: options.endpoint_word().into(),
            http_protocol_ipv6: on_off(false),
            instance_metadata_tags: options.tags_word().into(),
        }
    }
}

fn on_off(on: bool) -> String {
    if on { "enabled" } else { "disabled" }.into()
}

/// What answers are made of.
pub(crate) struct Showing<'a> {
    cell: &'a Cell,
    view: &'a View,
}

impl<'a> Showing<'a> {
    pub(crate) fn new(cell: &'a Cell, view: &'a View) -> Self {
        Self { cell, view }
    }

    /// By their devices.
    fn attached(&self, instance: &InstanceId) -> Vec<Arc<NetworkInterface>> {
        let attached = self
            .view
            .by::<NetworkInterface>("instance", instance.as_str());
        let mut attached: Vec<_> = attached.collect();
        attached.sort_by_key(|it| it.attachment.as_ref().map(|to| to.device_index));
        attached
    }

    fn profile(&self, instance: &InstanceId) -> Option<ProfileItem> {
        let mut associations = self
            .view
            .by::<ProfileAssociation>("instance", instance.as_str());
        associations.next().map(|it| ProfileItem::from(&*it))
    }
}

impl Showing<'_> {
    /// Reservations of the given instances, which are in ascending order of reservation.
    pub(crate) fn reservations<'i>(
        &self,
        instances: impl IntoIterator<Item = &'i Instance>,
    ) -> Vec<Reservation> {
        let mut shown: Vec<Reservation> = Vec::new();
        for instance in instances {
            let item = self.instance(instance);
            match shown.last_mut() {
                Some(last) if last.reservation_id == instance.reservation.as_str() => {
                    last.instances_set.push(item);
                }
                _ => shown.push(reservation(instance, item)),
            }
        }
        shown
    }

    /// An instance with its interfaces. A terminated one keeps its id and tags and loses its addresses.
    pub(crate) fn instance(&self, it: &Instance) -> InstanceItem {
        let in_vpc = it.state != InstanceState::Terminated;
        let attached = in_vpc.then(|| self.attached(&it.id));
        let interfaces = attached.as_deref().unwrap_or_default();
        let primary = interfaces.first();
        let public = primary.and_then(|interface| interface.public_ip());
        let (cores, threads) = cores_and_threads(it);
        InstanceItem {
            instance_id: it.id.to_string(),
            image_id: it.image.to_string(),
            instance_state: it.state.into(),
            private_dns_name: it
                .private_ip
                .map(|ip| names::host(self.cell, it, ip))
                .unwrap_or_default(),
            dns_name: public
                .filter(|_| self.has_public_names(it))
                .map(|ip| names::public(self.cell, ip))
                .unwrap_or_default(),
            reason: it.transition_reason.clone(),
            key_name: it.key.as_ref().map(|(name, _)| name.clone()),
            ami_launch_index: i32::try_from(it.launch_index).unwrap_or(i32::MAX),
            product_codes: Vec::new(),
            instance_type: it.instance_type.clone(),
            launch_time: it.launched_at,
            placement: placement(it),
            monitoring: MonitoringItem {
                state: on_off(it.options.monitoring),
            },
            subnet_id: in_vpc.then(|| it.subnet.to_string()),
            vpc_id: in_vpc.then(|| it.vpc.to_string()),
            private_ip_address: it.private_ip.map(|ip| ip.to_string()),
            ip_address: public.map(|ip| ip.to_string()),
            source_dest_check: primary.map(|interface| interface.source_dest_check),
            group_set: primary.map_or_else(Vec::new, |interface| self.groups(interface)),
            state_reason: it
                .state_reason
                .clone()
                .map(|(code, message)| StateReasonItem { code, message }),
            architecture: it.architecture.clone(),
            root_device_type: "ebs".into(),
            root_device_name: ROOT_DEVICE.into(),
            block_device_mapping: block_devices(it),
            virtualization_type: "hvm".into(),
            client_token: it.client_token.clone().unwrap_or_default(),
            tag_set: tags::of(self.view, it.id.as_str()),
            hypervisor: "xen".into(),
            network_interface_set: interfaces
                .iter()
                .map(|interface| self.interface(it, interface))
                .collect(),
            iam_instance_profile: in_vpc.then(|| self.profile(&it.id)).flatten(),
            ebs_optimized: it.options.ebs_optimized,
            ena_support: true,
            cpu_options: CpuOptionsItem {
                core_count: cores,
                threads_per_core: threads,
            },
            capacity_reservation_specification: CapacityReservationItem {
                capacity_reservation_preference: if it.options.no_reservations {
                    "none"
                } else {
                    "open"
                }
                .into(),
            },
            hibernation_options: HibernationItem { configured: false },
            metadata_options: (&it.metadata).into(),
            enclave_options: EnclaveItem { enabled: false },
            boot_mode: None,
            platform_details: "Linux/UNIX".into(),
            usage_operation: "RunInstances".into(),
            usage_operation_update_time: it.root_volume.created_at,
            private_dns_name_options: it.names.into(),
            maintenance_options: MaintenanceItem {
                auto_recovery: if it.options.no_recovery {
                    "disabled"
                } else {
                    "default"
                }
                .into(),
                reboot_migration: "default".into(),
            },
            current_instance_boot_mode: "legacy-bios".into(),
        }
    }

    fn interface(&self, it: &Instance, interface: &NetworkInterface) -> InterfaceItem {
        let named = self.has_public_names(it);
        let association = |address: &PrivateAddress| self.association(address, named);
        let primary = interface.addresses.first();
        InterfaceItem {
            association: primary.and_then(association),
            attachment: attachment(interface),
            description: interface.description.clone(),
            group_set: self.groups(interface),
            mac_address: interface.mac.clone(),
            network_interface_id: interface.id.to_string(),
            owner_id: interface.owner.clone(),
            private_dns_name: names::private(self.cell, interface.primary_ip()),
            private_ip_address: interface.primary_ip().to_string(),
            ipv4_prefix_set: interface.prefixes.iter().map(PrefixItem::from).collect(),
            private_ip_addresses_set: interface
                .addresses
                .iter()
                .enumerate()
                .map(|(n, address)| PrivateAddressItem {
                    association: association(address),
                    primary: n == 0,
                    private_dns_name: names::private(self.cell, address.private),
                    private_ip_address: address.private.to_string(),
                })
                .collect(),
            source_dest_check: interface.source_dest_check,
            status: "in-use".into(),
            subnet_id: interface.subnet.to_string(),
            vpc_id: interface.vpc.to_string(),
            interface_type: "interface".into(),
        }
    }

    fn association(&self, address: &PrivateAddress, named: bool) -> Option<AssociationItem> {
        let public = address.public.as_ref()?;
        let is_elastic = public.elastic.is_some();
        let name = named.then(|| names::public(self.cell, public.ip));
        Some(AssociationItem {
            ip_owner_id: if is_elastic {
                &self.cell.account
            } else {
                "amazon"
            }
            .into(),
            public_dns_name: name.unwrap_or_default(),
            public_ip: public.ip.to_string(),
        })
    }

    /// The interface's groups by name.
    pub(crate) fn groups(&self, interface: &NetworkInterface) -> Vec<GroupIdentifier> {
        let named = |id: &lath_model::id::SecurityGroupId| {
            let group = self.view.get::<SecurityGroup>(id.as_str());
            GroupIdentifier {
                group_id: id.to_string(),
                group_name: group.map_or_else(String::new, |group| group.name.clone()),
            }
        };
        interface.groups.iter().map(named).collect()
    }

    fn has_public_names(&self, it: &Instance) -> bool {
        let vpc = self.view.get::<lath_ec2_records::Vpc>(it.vpc.as_str());
        vpc.is_some_and(|vpc| vpc.dns_hostnames)
    }
}

fn reservation(first: &Instance, item: InstanceItem) -> Reservation {
    Reservation {
        reservation_id: first.reservation.to_string(),
        owner_id: first.owner.clone(),
        group_set: Vec::new(),
        instances_set: vec![item],
    }
}

fn placement(it: &Instance) -> PlacementItem {
    PlacementItem {
        availability_zone: it.availability_zone.clone(),
        availability_zone_id: lath_ec2_records::zone_id(&it.availability_zone),
        group_name: String::new(),
        tenancy: "default".into(),
    }
}

/// Volumes go with the instance.
pub(crate) fn block_devices(it: &Instance) -> Vec<BlockDeviceItem> {
    let shown = |volume: &Volume| BlockDeviceItem {
        device_name: volume.device.clone(),
        ebs: EbsItem {
            volume_id: volume.id.to_string(),
            status: "attached".into(),
            attach_time: volume.created_at,
            delete_on_termination: true,
        },
    };
    it.all_volumes().map(shown).collect()
}

fn attachment(interface: &NetworkInterface) -> AttachmentItem {
    let attached = interface.attachment.as_ref();
    AttachmentItem {
        attach_time: attached.map_or_else(Timestamp::default, |it| it.attached_at),
        attachment_id: attached.map_or_else(String::new, |it| it.id.to_string()),
        delete_on_termination: attached.is_some_and(|it| it.delete_on_termination),
        device_index: attached
            .and_then(|it| i32::try_from(it.device_index).ok())
            .unwrap_or(0),
        status: "attached".into(),
        network_card_index: 0,
    }
}
