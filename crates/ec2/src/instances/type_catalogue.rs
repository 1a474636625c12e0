//! DescribeInstanceTypes and DescribeInstanceTypeOfferings.

use lath_control::paginate;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::types::{self, InstanceType};
use crate::Ec2;
use crate::errors::{client, invalid_parameter};
use crate::filter::{Field, Filter, Filters};
use crate::operation::operations;
use crate::select::{bad_token, page_size};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstanceTypes {
    dry_run: Option<bool>,
    #[serde(rename = "InstanceType", default)]
    names: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeInstanceTypesResult {
    instance_type_set: Vec<TypeItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstanceTypeOfferings {
    dry_run: Option<bool>,
    location_type: Option<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeInstanceTypeOfferingsResult {
    instance_type_offering_set: Vec<Offering>,
    next_token: Option<String>,
}

macro_rules! items {
    ($($name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name { $($(#[$attr])* $member: $type,)* }
    )*};
}

items! {
    TypeItem {
        instance_type: String,
        current_generation: bool,
        free_tier_eligible: bool,
        supported_usage_classes: Vec<String>,
        supported_root_device_types: Vec<String>,
        supported_virtualization_types: Vec<String>,
        bare_metal: bool,
        hypervisor: String,
        processor_info: Processor,
        #[serde(rename = "vCpuInfo")]
        vcpu_info: Vcpus,
        memory_info: Memory,
        instance_storage_supported: bool,
        ebs_info: Ebs,
        network_info: Network,
        placement_group_info: PlacementGroups,
        hibernation_supported: bool,
        burstable_performance_supported: bool,
        dedicated_hosts_supported: bool,
        auto_recovery_supported: bool,
    }
    Processor {
        supported_architectures: Vec<String>,
        sustained_clock_speed_in_ghz: f64,
        manufacturer: String,
    }
    Vcpus {
        #[serde(rename = "defaultVCpus")]
        vcpus: i32,
        default_cores: i32,
        default_threads_per_core: i32,
    }
    Memory { #[serde(rename = "sizeInMiB")] size: i64, }
    Ebs { ebs_optimized_support: String, encryption_support: String, nvme_support: String, }
    Network {
        network_performance: String,
        maximum_network_interfaces: i32,
        maximum_network_cards: i32,
        default_network_card_index: i32,
        ipv4_addresses_per_interface: i32,
        ipv6_addresses_per_interface: i32,
        ipv6_supported: bool,
        ena_support: String,
        efa_supported: bool,
    }
    PlacementGroups { supported_strategies: Vec<String>, }
    Offering { instance_type: String, location_type: String, location: String, }
}

operations! {
    read DescribeInstanceTypes -> DescribeInstanceTypesResult = describe_types, dry_run;
    read DescribeInstanceTypeOfferings -> DescribeInstanceTypeOfferingsResult = describe_offerings, dry_run;
}

const TYPE_FIELDS: &[Field<TypeItem>] = &[
    ("auto-recovery-supported", |it| {
        vec![it.auto_recovery_supported.to_string()]
    }),
    ("bare-metal", |it| vec![it.bare_metal.to_string()]),
    ("burstable-performance-supported", |it| {
        vec![it.burstable_performance_supported.to_string()]
    }),
    ("current-generation", |it| {
        vec![it.current_generation.to_string()]
    }),
    ("dedicated-hosts-supported", |it| {
        vec![it.dedicated_hosts_supported.to_string()]
    }),
    ("free-tier-eligible", |it| {
        vec![it.free_tier_eligible.to_string()]
    }),
    ("hibernation-supported", |it| {
        vec![it.hibernation_supported.to_string()]
    }),
    ("hypervisor", |it| vec![it.hypervisor.clone()]),
    ("instance-storage-supported", |it| {
        vec![it.instance_storage_supported.to_string()]
    }),
    ("instance-type", |it| vec![it.instance_type.clone()]),
    ("memory-info.size-in-mib", |it| {
        vec![it.memory_info.size.to_string()]
    }),
    ("network-info.ena-support", |it| {
        vec![it.network_info.ena_support.clone()]
    }),
    ("network-info.ipv4-addresses-per-interface", |it| {
        vec![it.network_info.ipv4_addresses_per_interface.to_string()]
    }),
    ("network-info.ipv6-supported", |it| {
        vec![it.network_info.ipv6_supported.to_string()]
    }),
    ("network-info.maximum-network-interfaces", |it| {
        vec![it.network_info.maximum_network_interfaces.to_string()]
    }),
    ("network-info.network-performance", |it| {
        vec![it.network_info.network_performance.clone()]
    }),
    ("processor-info.supported-architecture", |it| {
        it.processor_info.supported_architectures.clone()
    }),
    ("processor-info.sustained-clock-speed-in-ghz", |it| {
        vec![it.processor_info.sustained_clock_speed_in_ghz.to_string()]
    }),
    ("supported-root-device-type", |it| {
        it.supported_root_device_types.clone()
    }),
    ("supported-usage-class", |it| {
        it.supported_usage_classes.clone()
    }),
    ("supported-virtualization-type", |it| {
        it.supported_virtualization_types.clone()
    }),
    ("vcpu-info.default-cores", |it| {
        vec![it.vcpu_info.default_cores.to_string()]
    }),
    ("vcpu-info.default-threads-per-core", |it| {
        vec![it.vcpu_info.default_threads_per_core.to_string()]
    }),
    ("vcpu-info.default-vcpus", |it| {
        vec![it.vcpu_info.vcpus.to_string()]
    }),
];

fn describe_types(
    _app: &Ec2,
    _view: &View,
    op: &DescribeInstanceTypes,
) -> Result<DescribeInstanceTypesResult, ApiError> {
    let filters = Filters::new(&op.filters, TYPE_FIELDS)?;
    let size = page_size(op.max_results, 5..=100)?;
    let is_offered = |name: &&String| types::offered().any(|known| known.name == **name);
    let absent: Vec<&str> = op
        .names
        .iter()
        .filter(|name| !is_offered(name))
        .map(String::as_str)
        .collect();
    if !absent.is_empty() {
        let shown: String = absent.join(", ").chars().take(200).collect();
        return Err(client(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{shown}]"),
        ));
    }
    let wanted = types::offered()
        .filter(|known| op.names.is_empty() || op.names.iter().any(|name| name == known.name))
        .map(shown)
        .filter(|item| filters.matches(item, &[]));
    let key = |item: &TypeItem| item.instance_type.clone();
    let page = paginate(wanted, key, size, op.next_token.as_deref()).map_err(bad_token)?;
    Ok(DescribeInstanceTypesResult {
        instance_type_set: page.items,
        next_token: page.next_token,
    })
}

fn shown(known: &'static InstanceType) -> TypeItem {
    TypeItem {
        instance_type: known.name.into(),
        current_generation: !known.name.starts_with("t2."),
        free_tier_eligible: false,
        supported_usage_classes: vec!["on-demand".into()],
        supported_root_device_types: vec!["ebs".into()],
        supported_virtualization_types: vec!["hvm".into()],
        bare_metal: false,
        hypervisor: if known.name.starts_with("t2.") {
            "xen"
        } else {
            "nitro"
        }
        .into(),
        processor_info: Processor {
            supported_architectures: vec![known.architecture.into()],
            sustained_clock_speed_in_ghz: known.clock,
            manufacturer: known.manufacturer().into(),
        },
        vcpu_info: Vcpus {
            vcpus: known.vcpus,
            default_cores: known.cores,
            default_threads_per_core: known.vcpus / known.cores,
        },
        memory_info: Memory {
            size: known.memory_mib,
        },
        instance_storage_supported: false,
        ebs_info: Ebs {
            ebs_optimized_support: "unsupported".into(),
            encryption_support: "unsupported".into(),
            nvme_support: "unsupported".into(),
        },
        network_info: network(known),
        placement_group_info: PlacementGroups {
            supported_strategies: Vec::new(),
        },
        hibernation_supported: false,
        burstable_performance_supported: known.is_burstable(),
        dedicated_hosts_supported: false,
        auto_recovery_supported: false,
    }
}

fn network(known: &InstanceType) -> Network {
    Network {
        network_performance: known.network.into(),
        maximum_network_interfaces: known.interfaces,
        maximum_network_cards: 1,
        default_network_card_index: 0,
        ipv4_addresses_per_interface: known.addresses,
        ipv6_addresses_per_interface: 0,
        ipv6_supported: false,
        ena_support: "supported".into(),
        efa_supported: false,
    }
}

const OFFERING_FIELDS: &[Field<Offering>] = &[
    ("instance-type", |it| vec![it.instance_type.clone()]),
    ("location", |it| vec![it.location.clone()]),
];

fn describe_offerings(
    app: &Ec2,
    _view: &View,
    op: &DescribeInstanceTypeOfferings,
) -> Result<DescribeInstanceTypeOfferingsResult, ApiError> {
    let filters = Filters::new(&op.filters, OFFERING_FIELDS)?;
    let size = page_size(op.max_results, 5..=1000)?;
    let location_type = op.location_type.as_deref().unwrap_or("region");
    let locations = locations(app, location_type)?;
    let offerings = types::offered().flat_map(|known| {
        locations.iter().map(|location| Offering {
            instance_type: known.name.into(),
            location_type: location_type.into(),
            location: location.clone(),
        })
    });
    let wanted = offerings.filter(|item| filters.matches(item, &[]));
    let key = |item: &Offering| format!("{}/{}", item.instance_type, item.location);
    let page = paginate(wanted, key, size, op.next_token.as_deref()).map_err(bad_token)?;
    Ok(DescribeInstanceTypeOfferingsResult {
        instance_type_offering_set: page.items,
        next_token: page.next_token,
    })
}

fn locations(app: &Ec2, location_type: &str) -> Result<Vec<String>, ApiError> {
    let zones = app.cell.availability_zones();
    match location_type {
        "region" => Ok(vec![app.cell.region.clone()]),
        "availability-zone" => Ok(zones.into()),
        "availability-zone-id" => Ok(zones.map(|zone| crate::zones::zone_id(&zone)).into()),
        "outpost" => Ok(Vec::new()),
        other => Err(invalid_parameter(
            "LocationType",
            other.chars().take(64).collect::<String>(),
            "Use region, availability-zone or availability-zone-id.",
        )),
    }
}

#[cfg(test)]
impl DescribeInstanceTypes {
    pub(super) fn of(id: &str) -> Self {
        Self {
            names: vec![id.to_owned()],
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl DescribeInstanceTypeOfferings {
    pub(super) fn of(id: &str) -> Self {
        Self {
            location_type: Some(id.to_owned()),
            ..Self::default()
        }
    }
}
