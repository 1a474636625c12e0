//! DescribeInstanceTypes and DescribeInstanceTypeOfferings.

use lath_control::paginate;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Filters, fields};
use lath_ec2_kit::instance_types::{self, Gpu, InstanceType, NetworkCard};
use lath_ec2_kit::select::{bad_token, page_size};
use lath_ec2_records::errors::{client, invalid_parameter};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

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
        hypervisor: Option<String>,
        processor_info: Processor,
        #[serde(rename = "vCpuInfo")]
        vcpu_info: Vcpus,
        memory_info: Memory,
        instance_storage_supported: bool,
        ebs_info: Ebs,
        network_info: Network,
        gpu_info: Option<Gpus>,
        placement_group_info: PlacementGroups,
        hibernation_supported: bool,
        burstable_performance_supported: bool,
        dedicated_hosts_supported: bool,
        auto_recovery_supported: bool,
        supported_boot_modes: Vec<String>,
        nitro_enclaves_support: String,
        nitro_tpm_support: String,
    }
    Processor {
        supported_architectures: Vec<String>,
        sustained_clock_speed_in_ghz: Option<f64>,
        manufacturer: String,
    }
    Vcpus {
        #[serde(rename = "defaultVCpus")]
        vcpus: i32,
        default_cores: i32,
        default_threads_per_core: i32,
        valid_cores: Vec<i32>,
        valid_threads_per_core: Vec<i32>,
    }
    Memory { #[serde(rename = "sizeInMiB")] size: i64, }
    Ebs {
        ebs_optimized_support: String,
        encryption_support: String,
        ebs_optimized_info: Option<EbsOptimized>,
        nvme_support: String,
        maximum_ebs_attachments: i32,
    }
    EbsOptimized {
        baseline_bandwidth_in_mbps: i32,
        #[serde(rename = "baselineThroughputInMBps")]
        baseline_throughput: f64,
        baseline_iops: i32,
        maximum_bandwidth_in_mbps: i32,
        #[serde(rename = "maximumThroughputInMBps")]
        maximum_throughput: f64,
        maximum_iops: i32,
    }
    Network {
        network_performance: String,
        maximum_network_interfaces: i32,
        maximum_network_cards: i32,
        default_network_card_index: i32,
        network_cards: Vec<Card>,
        ipv4_addresses_per_interface: i32,
        ipv6_addresses_per_interface: i32,
        ipv6_supported: bool,
        ena_support: String,
        efa_supported: bool,
        encryption_in_transit_supported: bool,
        ena_srd_supported: bool,
    }
    Card {
        network_card_index: i32,
        network_performance: String,
        maximum_network_interfaces: i32,
        baseline_bandwidth_in_gbps: f64,
        peak_bandwidth_in_gbps: f64,
    }
    Gpus {
        gpus: Vec<GpuItem>,
        #[serde(rename = "totalGpuMemoryInMiB")]
        total_memory: i32,
    }
    GpuItem { name: String, manufacturer: String, count: i32, memory_info: GpuMemory, }
    GpuMemory { #[serde(rename = "sizeInMiB")] size: i32, }
    PlacementGroups { supported_strategies: Vec<String>, }
    Offering { instance_type: String, location_type: String, location: String, }
}

operations! {
    for Ec2 as "ec2";
    read DescribeInstanceTypes -> DescribeInstanceTypesResult = describe_types, dry_run => any();
    read DescribeInstanceTypeOfferings -> DescribeInstanceTypeOfferingsResult = describe_offerings, dry_run => any();
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypes.html>
const TYPE_FIELDS: &[Field<TypeItem>] = fields! {
    "auto-recovery-supported" => |it| it.auto_recovery_supported,
    "bare-metal" => |it| it.bare_metal,
    "burstable-performance-supported" => |it| it.burstable_performance_supported,
    "current-generation" => |it| it.current_generation,
    "dedicated-hosts-supported" => |it| it.dedicated_hosts_supported,
    "ebs-info.attachment-limit-type" => |_it| Vec::<String>::new(),
    "ebs-info.maximum-ebs-attachments" => |_it| Vec::<String>::new(),
    "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps" =>
        |it| optimized(it, |ebs| ebs.baseline_bandwidth_in_mbps),
    "ebs-info.ebs-optimized-info.baseline-iops" => |it| optimized(it, |ebs| ebs.baseline_iops),
    "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps" =>
        |it| optimized(it, |ebs| ebs.baseline_throughput),
    "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps" =>
        |it| optimized(it, |ebs| ebs.maximum_bandwidth_in_mbps),
    "ebs-info.ebs-optimized-info.maximum-iops" => |it| optimized(it, |ebs| ebs.maximum_iops),
    "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps" =>
        |it| optimized(it, |ebs| ebs.maximum_throughput),
    "ebs-info.ebs-optimized-support" => |it| it.ebs_info.ebs_optimized_support,
    "ebs-info.encryption-support" => |it| it.ebs_info.encryption_support,
    "ebs-info.nvme-support" => |it| it.ebs_info.nvme_support,
    "free-tier-eligible" => |it| it.free_tier_eligible,
    "hibernation-supported" => |it| it.hibernation_supported,
    "hypervisor" => |it| it.hypervisor,
    "instance-storage-info.disk.count" => |_it| Vec::<String>::new(),
    "instance-storage-info.disk.size-in-gb" => |_it| Vec::<String>::new(),
    "instance-storage-info.disk.type" => |_it| Vec::<String>::new(),
    "instance-storage-info.encryption-support" => |_it| Vec::<String>::new(),
    "instance-storage-info.nvme-support" => |_it| Vec::<String>::new(),
    "instance-storage-info.total-size-in-gb" => |_it| Vec::<String>::new(),
    "instance-storage-supported" => |it| it.instance_storage_supported,
    "instance-type" => |it| it.instance_type,
    "memory-info.size-in-mib" => |it| it.memory_info.size,
    "network-info.bandwidth-weightings" => |_it| Vec::<String>::new(),
    "network-info.efa-info.maximum-efa-interfaces" => |_it| Vec::<String>::new(),
    "network-info.efa-supported" => |it| it.network_info.efa_supported,
    "network-info.ena-support" => |it| it.network_info.ena_support,
    "network-info.encryption-in-transit-supported" =>
        |it| it.network_info.encryption_in_transit_supported,
    "network-info.flexible-ena-queues-support" => |_it| "unsupported".to_owned(),
    "network-info.ipv4-addresses-per-interface" => |it| it.network_info.ipv4_addresses_per_interface,
    "network-info.ipv6-addresses-per-interface" => |it| it.network_info.ipv6_addresses_per_interface,
    "network-info.ipv6-supported" => |it| it.network_info.ipv6_supported,
    "network-info.maximum-network-cards" => |it| it.network_info.maximum_network_cards,
    "network-info.maximum-network-interfaces" => |it| it.network_info.maximum_network_interfaces,
    "network-info.network-performance" => |it| it.network_info.network_performance,
    "nitro-enclaves-support" => |it| it.nitro_enclaves_support,
    "nitro-tpm-support" => |it| it.nitro_tpm_support,
    "nitro-tpm-info.supported-versions" => |_it| Vec::<String>::new(),
    "processor-info.supported-architecture" => |it| it.processor_info.supported_architectures,
    "processor-info.supported-features" => |_it| Vec::<String>::new(),
    "processor-info.sustained-clock-speed-in-ghz" =>
        |it| it.processor_info.sustained_clock_speed_in_ghz,
    "reboot-migration-support" => |_it| "unsupported".to_owned(),
    "supported-boot-mode" => |it| it.supported_boot_modes,
    "supported-root-device-type" => |it| it.supported_root_device_types,
    "supported-usage-class" => |it| it.supported_usage_classes,
    "supported-virtualization-type" => |it| it.supported_virtualization_types,
    "vcpu-info.default-cores" => |it| it.vcpu_info.default_cores,
    "vcpu-info.default-threads-per-core" => |it| it.vcpu_info.default_threads_per_core,
    "vcpu-info.default-vcpus" => |it| it.vcpu_info.vcpus,
    "vcpu-info.valid-cores" => |it| it.vcpu_info.valid_cores,
    "vcpu-info.valid-threads-per-core" => |it| it.vcpu_info.valid_threads_per_core,
};

fn optimized<V>(it: &TypeItem, of: fn(&EbsOptimized) -> V) -> Option<V> {
    it.ebs_info.ebs_optimized_info.as_ref().map(of)
}

fn describe_types(
    _app: &Ec2,
    _view: &View,
    op: &DescribeInstanceTypes,
) -> Result<DescribeInstanceTypesResult, ApiError> {
    let filters = Filters::new(&op.filters, TYPE_FIELDS)?;
    let size = page_size(op.max_results, 5..=100)?;
    let absent: Vec<&str> = op
        .names
        .iter()
        .filter(|name| instance_types::find(name).is_none())
        .map(String::as_str)
        .collect();
    if !absent.is_empty() {
        let shown: String = absent.join(", ").chars().take(200).collect();
        return Err(client(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{shown}]"),
        ));
    }
    let wanted = instance_types::all()
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

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Sizes and hardware are AWS's; what Lath does not have, no type has (instance stores, hibernation,
/// dedicated hosts, enclaves).
fn shown(known: &'static InstanceType) -> TypeItem {
    TypeItem {
        instance_type: known.name.into(),
        current_generation: known.current,
        free_tier_eligible: false,
        supported_usage_classes: texts(&["on-demand"]),
        supported_root_device_types: texts(&["ebs"]),
        supported_virtualization_types: texts(&["hvm"]),
        bare_metal: known.bare_metal,
        hypervisor: known.hypervisor.map(str::to_owned),
        processor_info: Processor {
            supported_architectures: texts(&known.architectures),
            sustained_clock_speed_in_ghz: known.clock,
            manufacturer: known.manufacturer.into(),
        },
        vcpu_info: Vcpus {
            vcpus: known.vcpus,
            default_cores: known.cores,
            default_threads_per_core: known.threads(),
            valid_cores: known.valid_cores.clone(),
            valid_threads_per_core: known.valid_threads.clone(),
        },
        memory_info: Memory {
            size: known.memory_mib,
        },
        instance_storage_supported: false,
        ebs_info: ebs(known),
        network_info: network(known),
        gpu_info: known.gpu.as_ref().map(gpus),
        placement_group_info: PlacementGroups {
            supported_strategies: Vec::new(),
        },
        hibernation_supported: false,
        burstable_performance_supported: known.burstable,
        dedicated_hosts_supported: false,
        auto_recovery_supported: false,
        supported_boot_modes: texts(&known.boot_modes),
        nitro_enclaves_support: "unsupported".into(),
        nitro_tpm_support: "unsupported".into(),
    }
}

fn ebs(known: &InstanceType) -> Ebs {
    let optimized = known.ebs_bandwidth.zip(known.ebs_iops);
    let megabytes = |megabits: i32| f64::from(megabits) / 8.0;
    Ebs {
        ebs_optimized_support: known.ebs_optimized.into(),
        encryption_support: "supported".into(),
        ebs_optimized_info: optimized.map(|(bandwidth, iops)| EbsOptimized {
            baseline_bandwidth_in_mbps: bandwidth.0,
            baseline_throughput: megabytes(bandwidth.0),
            baseline_iops: iops.0,
            maximum_bandwidth_in_mbps: bandwidth.1,
            maximum_throughput: megabytes(bandwidth.1),
            maximum_iops: iops.1,
        }),
        nvme_support: known.ebs_nvme.into(),
        maximum_ebs_attachments: known.ebs_attachments,
    }
}

fn network(known: &InstanceType) -> Network {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let card = |(index, card): (usize, &NetworkCard)| Card {
        network_card_index: count(index),
        network_performance: card.performance.into(),
        maximum_network_interfaces: card.interfaces,
        baseline_bandwidth_in_gbps: card.baseline,
        peak_bandwidth_in_gbps: card.peak,
    };
    Network {
        network_performance: known.network.into(),
        maximum_network_interfaces: known.interfaces(),
        maximum_network_cards: count(known.cards.len()),
        default_network_card_index: 0,
        network_cards: known.cards.iter().enumerate().map(card).collect(),
        ipv4_addresses_per_interface: known.ipv4_addresses,
        ipv6_addresses_per_interface: known.ipv6_addresses,
        ipv6_supported: known.ipv6_addresses > 0,
        ena_support: known.ena.into(),
        efa_supported: false,
        encryption_in_transit_supported: false,
        ena_srd_supported: false,
    }
}

fn gpus(known: &Gpu) -> Gpus {
    Gpus {
        gpus: vec![GpuItem {
            name: known.name.into(),
            manufacturer: known.manufacturer.into(),
            count: known.count,
            memory_info: GpuMemory {
                size: known.memory_mib,
            },
        }],
        total_memory: known.count.saturating_mul(known.memory_mib),
    }
}

const OFFERING_FIELDS: &[Field<Offering>] = fields! {
    "instance-type" => |it| it.instance_type,
    "location" => |it| it.location,
};

fn describe_offerings(
    app: &Ec2,
    _view: &View,
    op: &DescribeInstanceTypeOfferings,
) -> Result<DescribeInstanceTypeOfferingsResult, ApiError> {
    let filters = Filters::new(&op.filters, OFFERING_FIELDS)?;
    let size = page_size(op.max_results, 5..=1000)?;
    let location_type = op.location_type.as_deref().unwrap_or("region");
    let locations = locations(app, location_type)?;
    let offered = instance_types::all().filter(|known| known.is_offered());
    let offerings = offered.flat_map(|known| {
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
        "availability-zone-id" => Ok(zones.map(|zone| lath_ec2_records::zone_id(&zone)).into()),
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
