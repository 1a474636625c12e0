//! RunInstances as it arrives.

use lath_ec2_kit::tags::TagSpecification;
use lath_service::Asks;
use serde::{Deserialize, Serialize};

/// What to launch (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html>).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RunInstances {
    #[serde(rename = "BlockDeviceMapping", default)]
    pub(crate) block_devices: Vec<BlockDevice>,
    pub(crate) image_id: Option<String>,
    pub(crate) instance_type: Option<String>,
    pub(crate) ipv6_address_count: Option<i32>,
    #[serde(rename = "Ipv6Address", default)]
    pub(crate) ipv6_addresses: Vec<Structure>,
    pub(crate) kernel_id: Option<String>,
    pub(crate) key_name: Option<String>,
    pub(crate) max_count: i32,
    pub(crate) min_count: i32,
    pub(crate) monitoring: Option<Monitoring>,
    pub(crate) placement: Option<Placement>,
    pub(crate) ramdisk_id: Option<String>,
    #[serde(rename = "SecurityGroupId", default)]
    pub(crate) group_ids: Vec<String>,
    #[serde(rename = "SecurityGroup", default)]
    pub(crate) group_names: Vec<String>,
    pub(crate) subnet_id: Option<String>,
    pub(crate) user_data: Option<String>,
    #[serde(rename = "ElasticGpuSpecification", default)]
    pub(crate) elastic_gpus: Vec<Accelerator>,
    #[serde(rename = "ElasticInferenceAccelerator", default)]
    pub(crate) accelerators: Vec<Accelerator>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tags: Vec<TagSpecification>,
    pub(crate) launch_template: Option<LaunchTemplateSpecification>,
    pub(crate) instance_market_options: Option<Structure>,
    pub(crate) credit_specification: Option<CreditSpecification>,
    pub(crate) cpu_options: Option<CpuOptions>,
    pub(crate) capacity_reservation_specification: Option<CapacityReservation>,
    pub(crate) hibernation_options: Option<Configured>,
    #[serde(rename = "LicenseSpecification", default)]
    pub(crate) licenses: Vec<Structure>,
    pub(crate) metadata_options: Option<MetadataOptionsInput>,
    pub(crate) enclave_options: Option<Enabled>,
    pub(crate) private_dns_name_options: Option<PrivateDnsNameOptions>,
    pub(crate) maintenance_options: Option<MaintenanceOptions>,
    pub(crate) disable_api_stop: Option<bool>,
    pub(crate) enable_primary_ipv6: Option<bool>,
    pub(crate) network_performance_options: Option<Structure>,
    pub(crate) operator: Option<Structure>,
    #[serde(rename = "SecondaryInterface", default)]
    pub(crate) secondary_interfaces: Vec<Structure>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) disable_api_termination: Option<bool>,
    pub(crate) instance_initiated_shutdown_behavior: Option<String>,
    pub(crate) private_ip_address: Option<String>,
    pub(crate) client_token: Option<String>,
    pub(crate) additional_info: Option<String>,
    #[serde(rename = "NetworkInterface", default)]
    pub(crate) network_interfaces: Vec<InterfaceSpecification>,
    pub(crate) iam_instance_profile: Option<InstanceProfile>,
    pub(crate) ebs_optimized: Option<bool>,
}

/// The launch template that says what the request does not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LaunchTemplateSpecification {
    pub(crate) launch_template_id: Option<String>,
    pub(crate) launch_template_name: Option<String>,
    /// `$Latest`, `$Default` or a number; the default version where there is none.
    pub(crate) version: Option<String>,
}

/// A structure that is refused whatever it holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Structure {}

/// A device that is refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Accelerator {
    #[serde(rename = "Type")]
    _kind: String,
}

impl Asks for Structure {
    fn asks(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BlockDevice {
    pub(crate) ebs: Option<EbsDevice>,
    pub(crate) no_device: Option<String>,
    pub(crate) device_name: Option<String>,
    pub(crate) virtual_name: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EbsDevice {
    pub(crate) delete_on_termination: Option<bool>,
    pub(crate) iops: Option<i32>,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) volume_size: Option<i32>,
    pub(crate) volume_type: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) throughput: Option<i32>,
    pub(crate) encrypted: Option<bool>,
    pub(crate) outpost_arn: Option<String>,
    pub(crate) volume_initialization_rate: Option<i32>,
    pub(crate) ebs_card_index: Option<i32>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CpuOptions {
    pub(crate) core_count: Option<i32>,
    pub(crate) threads_per_core: Option<i32>,
    pub(crate) amd_sev_snp: Option<String>,
    pub(crate) nested_virtualization: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Monitoring {
    pub(crate) enabled: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Placement {
    pub(crate) affinity: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) availability_zone_id: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) host_id: Option<String>,
    pub(crate) host_resource_group_arn: Option<String>,
    pub(crate) partition_number: Option<i32>,
    pub(crate) spread_domain: Option<String>,
    pub(crate) tenancy: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreditSpecification {
    pub(crate) cpu_credits: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CapacityReservation {
    pub(crate) capacity_reservation_preference: Option<String>,
    pub(crate) capacity_reservation_target: Option<Structure>,
}

/// `open` and `none` ask for no reservation.
impl Asks for CapacityReservation {
    fn asks(&self) -> bool {
        let preference = self.capacity_reservation_preference.as_deref();
        self.capacity_reservation_target.is_some()
            || preference.is_some_and(|it| it != "open" && it != "none")
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Configured {
    pub(crate) configured: Option<bool>,
}

impl Asks for Configured {
    fn asks(&self) -> bool {
        self.configured == Some(true)
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Enabled {
    pub(crate) enabled: Option<bool>,
}

impl Asks for Enabled {
    fn asks(&self) -> bool {
        self.enabled == Some(true)
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetadataOptionsInput {
    pub(crate) http_tokens: Option<String>,
    pub(crate) http_put_response_hop_limit: Option<i32>,
    pub(crate) http_endpoint: Option<String>,
    pub(crate) http_protocol_ipv6: Option<String>,
    pub(crate) instance_metadata_tags: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PrivateDnsNameOptions {
    pub(crate) hostname_type: Option<String>,
    pub(crate) enable_resource_name_dns_a_record: Option<bool>,
    #[serde(rename = "EnableResourceNameDnsAAAARecord")]
    pub(crate) enable_resource_name_dns_aaaa_record: Option<bool>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MaintenanceOptions {
    pub(crate) auto_recovery: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InstanceProfile {
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
}

/// One of the instance's interfaces.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InterfaceSpecification {
    pub(crate) associate_public_ip_address: Option<bool>,
    pub(crate) delete_on_termination: Option<bool>,
    pub(crate) description: Option<String>,
    pub(crate) device_index: Option<i32>,
    #[serde(rename = "SecurityGroupId", default)]
    pub(crate) groups: Vec<String>,
    pub(crate) ipv6_address_count: Option<i32>,
    #[serde(default)]
    pub(crate) ipv6_addresses: Vec<Structure>,
    pub(crate) network_interface_id: Option<String>,
    pub(crate) private_ip_address: Option<String>,
    #[serde(default)]
    pub(crate) private_ip_addresses: Vec<AddressSpecification>,
    pub(crate) secondary_private_ip_address_count: Option<i32>,
    pub(crate) subnet_id: Option<String>,
    pub(crate) associate_carrier_ip_address: Option<bool>,
    pub(crate) interface_type: Option<String>,
    pub(crate) network_card_index: Option<i32>,
    #[serde(rename = "Ipv4Prefix", default)]
    pub(crate) ipv4_prefixes: Vec<Structure>,
    pub(crate) ipv4_prefix_count: Option<i32>,
    #[serde(rename = "Ipv6Prefix", default)]
    pub(crate) ipv6_prefixes: Vec<Structure>,
    pub(crate) ipv6_prefix_count: Option<i32>,
    pub(crate) primary_ipv6: Option<bool>,
    pub(crate) ena_srd_specification: Option<Structure>,
    pub(crate) connection_tracking_specification: Option<Structure>,
    pub(crate) ena_queue_count: Option<i32>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddressSpecification {
    pub(crate) primary: Option<bool>,
    pub(crate) private_ip_address: Option<String>,
}
