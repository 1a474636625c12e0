//! DescribeInstances.

use std::time::Duration;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Member};
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::Instance;
use lath_ec2_records::errors::combination;
use lath_ec2_records::resources::INSTANCE;
use lath_service::run::read;
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use super::response::{InstanceItem, InterfaceItem, Reservation, Showing};

/// How long an answer waits for a change that is under way.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstances {
    #[serde(rename = "InstanceId", default)]
    pub(crate) ids: Vec<String>,
    /// Instances that an AWS service manages: there are none.
    #[serde(rename = "IncludeManagedResources")]
    pub(crate) _managed: Option<bool>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeInstancesResult {
    pub(crate) next_token: Option<String>,
    pub(crate) reservation_set: Vec<Reservation>,
}

operations! {
    for Ec2 as "ec2";
    asynchronous DescribeInstances -> DescribeInstancesResult = answer => any();
}

async fn answer(
    app: &Ec2,
    _caller: &Caller,
    op: DescribeInstances,
) -> Result<DescribeInstancesResult, ApiError> {
    if op.dry_run != Some(true) {
        settled(app, &op.ids).await;
    }
    read(app, op.dry_run, |view| describe(app, view, &op))
}

/// Who asks for an instance by its id mostly waits for its state, and asks again only after 15 seconds
/// (the CLI's waiters). So an answer about one that is changing waits a little for the change, which
/// takes a fraction of a second.
pub(super) async fn settled(app: &Ec2, ids: &[String]) {
    let mut changes = app.cell.db.changes();
    let wait = async {
        loop {
            changes.borrow_and_update();
            if !is_changing(&app.cell.db.view(), ids) || changes.changed().await.is_err() {
                return;
            }
        }
    };
    // Out of patience is an answer too: the state as it is.
    drop(tokio::time::timeout(PATIENCE, wait).await);
}

fn is_changing(view: &View, ids: &[String]) -> bool {
    ids.iter().take(super::MAX_IDS).any(|id| {
        let instance = view.get::<Instance>(id);
        instance.is_some_and(|it| it.state.is_transient())
    })
}

pub(super) fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeInstances,
) -> Result<DescribeInstancesResult, ApiError> {
    if !op.ids.is_empty() && op.max_results.is_some() {
        return Err(combination(
            "The parameter instancesSet cannot be used with the parameter maxResults",
        ));
    }
    let showing = Showing::new(&app.cell, view);
    let mut names = op.filters.iter().filter_map(|it| it.name.as_deref());
    let by_tags = names.any(|it| it.starts_with("network-interface.tag-"));
    let show = |instance: &Instance| {
        let item = showing.instance(instance);
        let interfaces = item.network_interface_set.iter().filter(|_| by_tags);
        let interface_tags = interfaces.flat_map(|it| tags::of(view, &it.network_interface_id));
        Some(Entry {
            reservation: instance.reservation.to_string(),
            owner: instance.owner.clone(),
            interface_tags: interface_tags.collect(),
            item,
        })
    };
    let query = Query {
        ids: &op.ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeInstancesResult {
        next_token: page.next_token,
        reservation_set: grouped(page.items),
    })
}

fn grouped(mut entries: Vec<Entry>) -> Vec<Reservation> {
    entries.sort_by(|a, b| {
        let key = |it: &Entry| (it.reservation.clone(), it.item.ami_launch_index);
        key(a).cmp(&key(b))
    });
    let mut reservations: Vec<Reservation> = Vec::new();
    for entry in entries {
        match reservations.last_mut() {
            Some(last) if last.reservation_id == entry.reservation => {
                last.instances_set.push(entry.item);
            }
            _ => reservations.push(Reservation {
                reservation_id: entry.reservation,
                owner_id: entry.owner,
                group_set: Vec::new(),
                instances_set: vec![entry.item],
            }),
        }
    }
    reservations
}

/// An instance and its reservation. Filters on members of the answer see the instance.
#[derive(Serialize)]
struct Entry {
    #[serde(skip)]
    reservation: String,
    #[serde(skip)]
    owner: String,
    /// Those of its interfaces, where a filter asks for them.
    #[serde(skip)]
    interface_tags: Vec<Tag>,
    #[serde(flatten)]
    item: InstanceItem,
}

/// One value per interface.
fn interfaces(it: &Entry, of: fn(&InterfaceItem) -> String) -> Vec<String> {
    it.item.network_interface_set.iter().map(of).collect()
}

/// One value per interface that has a public address.
fn public(it: &Entry, of: fn(&super::response::AssociationItem) -> String) -> Vec<String> {
    let interfaces = it.item.network_interface_set.iter();
    interfaces
        .filter_map(|interface| interface.association.as_ref().map(of))
        .collect()
}

fn some<T: ToString>(value: &Option<T>) -> Vec<String> {
    value.iter().map(ToString::to_string).collect()
}

impl Listed for Entry {
    const ID: IdForm = INSTANCE.id;
    const MEMBERS: &'static [Member] = &[
        (
            "capacity-reservation-specification.capacity-reservation-preference",
            Some("capacityReservationSpecification.capacityReservationPreference"),
        ),
        (
            "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id",
            None,
        ),
        (
            "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
            None,
        ),
        ("ipv6-address", None),
        ("metadata-options.http-protocol-ipv4", None),
        ("metadata-options.state", Some("metadataOptions.state")),
        (
            "network-interface.addresses.association.allocation-id",
            Some("networkInterfaceSet.privateIpAddressesSet.association.allocationId"),
        ),
        (
            "network-interface.addresses.association.association-id",
            Some("networkInterfaceSet.privateIpAddressesSet.association.associationId"),
        ),
        ("network-interface.addresses.association.carrier-ip", None),
        (
            "network-interface.addresses.association.customer-owned-ip",
            None,
        ),
        (
            "network-interface.addresses.association.public-dns-name",
            Some("networkInterfaceSet.privateIpAddressesSet.association.publicDnsName"),
        ),
        (
            "network-interface.addresses.private-dns-name",
            Some("networkInterfaceSet.privateIpAddressesSet.privateDnsName"),
        ),
        (
            "network-interface.association.allocation-id",
            Some("networkInterfaceSet.association.allocationId"),
        ),
        (
            "network-interface.association.association-id",
            Some("networkInterfaceSet.association.associationId"),
        ),
        ("network-interface.association.carrier-ip", None),
        ("network-interface.association.customer-owned-ip", None),
        (
            "network-interface.association.public-dns-name",
            Some("networkInterfaceSet.association.publicDnsName"),
        ),
        (
            "network-interface.attachment.network-card-index",
            Some("networkInterfaceSet.attachment.networkCardIndex"),
        ),
        (
            "network-interface.ipv4-prefixes.ipv4-prefix",
            Some("networkInterfaceSet.ipv4PrefixSet.ipv4Prefix"),
        ),
        ("network-interface.ipv6-address", None),
        ("network-interface.ipv6-addresses.ipv6-address", None),
        ("network-interface.ipv6-addresses.is-primary-ipv6", None),
        ("network-interface.ipv6-prefixes.ipv6-prefix", None),
        ("network-interface.operator.principal", None),
        ("network-interface.outpost-arn", None),
        (
            "network-interface.public-dns-name",
            Some("networkInterfaceSet.association.publicDnsName"),
        ),
        ("operator.principal", None),
        ("outpost-arn", None),
        (
            "private-dns-name-options.enable-resource-name-dns-a-record",
            Some("privateDnsNameOptions.enableResourceNameDnsARecord"),
        ),
        (
            "private-dns-name-options.enable-resource-name-dns-aaaa-record",
            Some("privateDnsNameOptions.enableResourceNameDnsAAAARecord"),
        ),
        ("tpm-support", None),
    ];
    const FIELDS: &'static [Field<Self>] = &[
        ("network-interface.tag-key", |it| {
            it.interface_tags.iter().map(|it| it.key.clone()).collect()
        }),
        ("network-interface.tag-value", |it| {
            it.interface_tags
                .iter()
                .map(|it| it.value.clone())
                .collect()
        }),
        ("operator.managed", |_| vec!["false".to_owned()]),
        ("network-interface.operator.managed", |it| {
            interfaces(it, |_| "false".into())
        }),
        ("network-interface.deny-all-igw-traffic", |it| {
            interfaces(it, |_| "false".into())
        }),
        ("network-interface.ipv6-native", |it| {
            interfaces(it, |_| "false".into())
        }),
        ("network-performance-options.bandwidth-weighting", |_| {
            vec!["default".to_owned()]
        }),
        ("affinity", |_| Vec::new()),
        ("architecture", |it| vec![it.item.architecture.clone()]),
        ("availability-zone", |it| {
            vec![it.item.placement.availability_zone.clone()]
        }),
        ("availability-zone-id", |it| {
            vec![it.item.placement.availability_zone_id.clone()]
        }),
        ("block-device-mapping.attach-time", |it| {
            it.item
                .block_device_mapping
                .iter()
                .map(|it| it.ebs.attach_time.to_string())
                .collect()
        }),
        ("block-device-mapping.delete-on-termination", |it| {
            it.item
                .block_device_mapping
                .iter()
                .map(|it| it.ebs.delete_on_termination.to_string())
                .collect()
        }),
        ("block-device-mapping.device-name", |it| {
            it.item
                .block_device_mapping
                .iter()
                .map(|it| it.device_name.clone())
                .collect()
        }),
        ("block-device-mapping.status", |it| {
            it.item
                .block_device_mapping
                .iter()
                .map(|it| it.ebs.status.clone())
                .collect()
        }),
        ("block-device-mapping.volume-id", |it| {
            it.item
                .block_device_mapping
                .iter()
                .map(|it| it.ebs.volume_id.clone())
                .collect()
        }),
        ("boot-mode", |it| some(&it.item.boot_mode)),
        ("capacity-reservation-id", |_| Vec::new()),
        ("client-token", |it| vec![it.item.client_token.clone()]),
        ("current-instance-boot-mode", |it| {
            vec![it.item.current_instance_boot_mode.clone()]
        }),
        ("dns-name", |it| vec![it.item.dns_name.clone()]),
        ("ebs-optimized", |it| {
            vec![it.item.ebs_optimized.to_string()]
        }),
        ("ena-support", |it| vec![it.item.ena_support.to_string()]),
        ("enclave-options.enabled", |it| {
            vec![it.item.enclave_options.enabled.to_string()]
        }),
        ("hibernation-options.configured", |it| {
            vec![it.item.hibernation_options.configured.to_string()]
        }),
        ("host-id", |_| Vec::new()),
        ("hypervisor", |it| vec![it.item.hypervisor.clone()]),
        ("iam-instance-profile.arn", |_| Vec::new()),
        ("iam-instance-profile.id", |_| Vec::new()),
        ("image-id", |it| vec![it.item.image_id.clone()]),
        ("instance-id", |it| vec![it.item.instance_id.clone()]),
        ("instance-lifecycle", |_| Vec::new()),
        ("instance-state-code", |it| {
            vec![it.item.instance_state.code.to_string()]
        }),
        ("instance-state-name", |it| {
            vec![it.item.instance_state.name.clone()]
        }),
        ("instance-type", |it| vec![it.item.instance_type.clone()]),
        ("instance.group-id", |it| {
            it.item
                .group_set
                .iter()
                .map(|it| it.group_id.clone())
                .collect()
        }),
        ("instance.group-name", |it| {
            it.item
                .group_set
                .iter()
                .map(|it| it.group_name.clone())
                .collect()
        }),
        ("ip-address", |it| some(&it.item.ip_address)),
        ("kernel-id", |_| Vec::new()),
        ("key-name", |it| some(&it.item.key_name)),
        ("launch-index", |it| {
            vec![it.item.ami_launch_index.to_string()]
        }),
        ("launch-time", |it| vec![it.item.launch_time.to_string()]),
        ("maintenance-options.auto-recovery", |it| {
            vec![it.item.maintenance_options.auto_recovery.clone()]
        }),
        ("metadata-options.http-endpoint", |it| {
            vec![it.item.metadata_options.http_endpoint.clone()]
        }),
        ("metadata-options.http-protocol-ipv6", |it| {
            vec![it.item.metadata_options.http_protocol_ipv6.clone()]
        }),
        ("metadata-options.http-put-response-hop-limit", |it| {
            vec![
                it.item
                    .metadata_options
                    .http_put_response_hop_limit
                    .to_string(),
            ]
        }),
        ("metadata-options.http-tokens", |it| {
            vec![it.item.metadata_options.http_tokens.clone()]
        }),
        ("metadata-options.instance-metadata-tags", |it| {
            vec![it.item.metadata_options.instance_metadata_tags.clone()]
        }),
        ("monitoring-state", |it| {
            vec![it.item.monitoring.state.clone()]
        }),
        (
            "network-interface.addresses.association.ip-owner-id",
            |it| public(it, |it| it.ip_owner_id.clone()),
        ),
        ("network-interface.addresses.association.public-ip", |it| {
            public(it, |it| it.public_ip.clone())
        }),
        ("network-interface.addresses.primary", |it| {
            addresses(it, |it| it.primary.to_string())
        }),
        ("network-interface.addresses.private-ip-address", |it| {
            addresses(it, |it| it.private_ip_address.clone())
        }),
        ("network-interface.association.ip-owner-id", |it| {
            public(it, |it| it.ip_owner_id.clone())
        }),
        ("network-interface.association.public-ip", |it| {
            public(it, |it| it.public_ip.clone())
        }),
        ("network-interface.attachment.attach-time", |it| {
            interfaces(it, |it| it.attachment.attach_time.to_string())
        }),
        ("network-interface.attachment.attachment-id", |it| {
            interfaces(it, |it| it.attachment.attachment_id.clone())
        }),
        ("network-interface.attachment.delete-on-termination", |it| {
            interfaces(it, |it| it.attachment.delete_on_termination.to_string())
        }),
        ("network-interface.attachment.device-index", |it| {
            interfaces(it, |it| it.attachment.device_index.to_string())
        }),
        ("network-interface.attachment.instance-id", |it| {
            if it.item.network_interface_set.is_empty() {
                Vec::new()
            } else {
                vec![it.item.instance_id.clone()]
            }
        }),
        ("network-interface.attachment.instance-owner-id", |it| {
            if it.item.network_interface_set.is_empty() {
                Vec::new()
            } else {
                vec![it.owner.clone()]
            }
        }),
        ("network-interface.attachment.status", |it| {
            interfaces(it, |it| it.attachment.status.clone())
        }),
        ("network-interface.availability-zone", |it| {
            if it.item.network_interface_set.is_empty() {
                Vec::new()
            } else {
                vec![it.item.placement.availability_zone.clone()]
            }
        }),
        ("network-interface.description", |it| {
            interfaces(it, |it| it.description.clone())
        }),
        ("network-interface.group-id", |it| {
            groups(it, |it| it.group_id.clone())
        }),
        ("network-interface.group-name", |it| {
            groups(it, |it| it.group_name.clone())
        }),
        ("network-interface.mac-address", |it| {
            interfaces(it, |it| it.mac_address.clone())
        }),
        ("network-interface.network-interface-id", |it| {
            interfaces(it, |it| it.network_interface_id.clone())
        }),
        ("network-interface.owner-id", |it| {
            interfaces(it, |it| it.owner_id.clone())
        }),
        ("network-interface.private-dns-name", |it| {
            interfaces(it, |it| it.private_dns_name.clone())
        }),
        ("network-interface.private-ip-address", |it| {
            interfaces(it, |it| it.private_ip_address.clone())
        }),
        ("network-interface.requester-id", |_| Vec::new()),
        ("network-interface.requester-managed", |it| {
            interfaces(it, |_| "false".into())
        }),
        ("network-interface.source-dest-check", |it| {
            interfaces(it, |it| it.source_dest_check.to_string())
        }),
        ("network-interface.status", |it| {
            interfaces(it, |it| it.status.clone())
        }),
        ("network-interface.subnet-id", |it| {
            interfaces(it, |it| it.subnet_id.clone())
        }),
        ("network-interface.vpc-id", |it| {
            interfaces(it, |it| it.vpc_id.clone())
        }),
        ("owner-id", |it| vec![it.owner.clone()]),
        ("placement-group-name", |_| Vec::new()),
        ("placement-partition-number", |_| Vec::new()),
        ("platform", |_| Vec::new()),
        ("platform-details", |it| {
            vec![it.item.platform_details.clone()]
        }),
        ("private-dns-name", |it| {
            vec![it.item.private_dns_name.clone()]
        }),
        ("private-dns-name-options.hostname-type", |it| {
            vec![it.item.private_dns_name_options.hostname_type.clone()]
        }),
        ("private-ip-address", |it| some(&it.item.private_ip_address)),
        ("product-code", |_| Vec::new()),
        ("product-code.type", |_| Vec::new()),
        ("ramdisk-id", |_| Vec::new()),
        ("reason", |it| vec![it.item.reason.clone()]),
        ("requester-id", |_| Vec::new()),
        ("reservation-id", |it| vec![it.reservation.clone()]),
        ("root-device-name", |it| {
            vec![it.item.root_device_name.clone()]
        }),
        ("root-device-type", |it| {
            vec![it.item.root_device_type.clone()]
        }),
        ("source-dest-check", |it| some(&it.item.source_dest_check)),
        ("spot-instance-request-id", |_| Vec::new()),
        ("state-reason-code", |it| {
            it.item
                .state_reason
                .iter()
                .map(|it| it.code.clone())
                .collect()
        }),
        ("state-reason-message", |it| {
            it.item
                .state_reason
                .iter()
                .map(|it| it.message.clone())
                .collect()
        }),
        ("subnet-id", |it| some(&it.item.subnet_id)),
        ("tenancy", |it| vec![it.item.placement.tenancy.clone()]),
        ("usage-operation", |it| {
            vec![it.item.usage_operation.clone()]
        }),
        ("usage-operation-update-time", |it| {
            vec![it.item.usage_operation_update_time.to_string()]
        }),
        ("virtualization-type", |it| {
            vec![it.item.virtualization_type.clone()]
        }),
        ("vpc-id", |it| some(&it.item.vpc_id)),
    ];
    fn id(&self) -> &str {
        &self.item.instance_id
    }
    fn tags(&self) -> &[Tag] {
        &self.item.tag_set
    }
}

fn addresses(it: &Entry, of: fn(&super::response::PrivateAddressItem) -> String) -> Vec<String> {
    let interfaces = it.item.network_interface_set.iter();
    interfaces
        .flat_map(|interface| interface.private_ip_addresses_set.iter().map(of))
        .collect()
}

fn groups(it: &Entry, of: fn(&super::response::GroupIdentifier) -> String) -> Vec<String> {
    let interfaces = it.item.network_interface_set.iter();
    interfaces
        .flat_map(|interface| interface.group_set.iter().map(of))
        .collect()
}
