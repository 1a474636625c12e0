//! What a version of a launch template holds: parameters of a launch, as requests give them and as answers show them
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RequestLaunchTemplateData.html>).
//!
//! AWS keeps nearly all of it unjudged until something is launched, and so does Lath: the members that RunInstances
//! refuses here are kept and shown too.

use lath_model::Timestamp;
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of a request as answers show it.
pub(crate) trait Shown {
    /// Its type there.
    type As: std::fmt::Debug + Clone + Serialize + DeserializeOwned;
    /// It.
    fn shown(&self) -> Self::As;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Shown for $type {
            type As = Self;
            fn shown(&self) -> Self {
                Self::clone(self)
            }
        }
    )*};
}

plain!(String, bool, i32, f64, Timestamp);

impl<T: Shown> Shown for Option<T> {
    type As = Option<T::As>;
    fn shown(&self) -> Self::As {
        self.as_ref().map(Shown::shown)
    }
}

/// A list without items is not shown.
impl<T: Shown> Shown for Vec<T> {
    type As = Option<Vec<T::As>>;
    fn shown(&self) -> Self::As {
        (!self.is_empty()).then(|| self.iter().map(Shown::shown).collect())
    }
}

/// `Request as Answer { member: type = "NameInRequest", "nameInAnswer", ... }`: the two forms of a structure. Members whose
/// names follow from theirs in Rust have none written down.
macro_rules! data {
    ($($(#[$doc:meta])* $request:ident as $answer:ident {
        $($member:ident: $type:ty $(= $given:literal, $shown:literal)?),* $(,)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub(crate) struct $request {
            $($(#[serde(rename = $given)])? pub(crate) $member: $type,)*
        }

        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $answer {
            $($(#[serde(rename = $shown)])? pub(crate) $member: <$type as Shown>::As,)*
        }

        impl Shown for $request {
            type As = $answer;
            fn shown(&self) -> $answer {
                $answer { $($member: self.$member.shown(),)* }
            }
        }
    )*};
}

data! {
    /// The parameters of a launch.
    TemplateData as TemplateDataItem {
        kernel_id: Option<String>,
        ebs_optimized: Option<bool>,
        iam_instance_profile: Option<Profile>,
        block_devices: Vec<Device> = "BlockDeviceMapping", "blockDeviceMappingSet",
        network_interfaces: Vec<Interface> = "NetworkInterface", "networkInterfaceSet",
        image_id: Option<String>,
        instance_type: Option<String>,
        key_name: Option<String>,
        monitoring: Option<Switch>,
        placement: Option<Place>,
        ram_disk_id: Option<String>,
        disable_api_termination: Option<bool>,
        instance_initiated_shutdown_behavior: Option<String>,
        user_data: Option<String>,
        tag_specifications: Vec<Tagging> = "TagSpecification", "tagSpecificationSet",
        elastic_gpus: Vec<ElasticGpu> = "ElasticGpuSpecification", "elasticGpuSpecificationSet",
        accelerators: Vec<InferenceAccelerator> = "ElasticInferenceAccelerator", "elasticInferenceAcceleratorSet",
        security_group_ids: Vec<String> = "SecurityGroupId", "securityGroupIdSet",
        security_groups: Vec<String> = "SecurityGroup", "securityGroupSet",
        instance_market_options: Option<Market>,
        credit_specification: Option<Credits>,
        cpu_options: Option<Cpu>,
        capacity_reservation_specification: Option<Reservations>,
        licenses: Vec<License> = "LicenseSpecification", "licenseSet",
        hibernation_options: Option<Hibernation>,
        metadata_options: Option<Metadata>,
        enclave_options: Option<Switch>,
        instance_requirements: Option<Requirements>,
        private_dns_name_options: Option<PrivateNames>,
        maintenance_options: Option<Maintenance>,
        disable_api_stop: Option<bool>,
        operator: Option<OperatorName>,
        network_performance_options: Option<NetworkPerformance>,
        secondary_interfaces: Vec<SecondaryInterface> = "SecondaryInterface", "secondaryInterfaceSet",
    }
    /// An instance profile, by one of its names.
    Profile as ProfileShown { arn: Option<String>, name: Option<String> }
    /// A volume.
    Device as DeviceItem {
        device_name: Option<String>,
        virtual_name: Option<String>,
        ebs: Option<Ebs>,
        no_device: Option<String>,
    }
    /// What a volume is.
    Ebs as EbsShown {
        encrypted: Option<bool>,
        delete_on_termination: Option<bool>,
        iops: Option<i32>,
        kms_key_id: Option<String>,
        snapshot_id: Option<String>,
        volume_size: Option<i32>,
        volume_type: Option<String>,
        throughput: Option<i32>,
        volume_initialization_rate: Option<i32>,
        ebs_card_index: Option<i32>,
    }
    /// A network interface.
    Interface as InterfaceShown {
        associate_carrier_ip_address: Option<bool>,
        associate_public_ip_address: Option<bool>,
        delete_on_termination: Option<bool>,
        description: Option<String>,
        device_index: Option<i32>,
        groups: GroupIds = "SecurityGroupId", "groupSet",
        interface_type: Option<String>,
        ipv6_address_count: Option<i32>,
        ipv6_addresses: Vec<Ipv6Address> = "Ipv6Addresses", "ipv6AddressesSet",
        network_interface_id: Option<String>,
        private_ip_address: Option<String>,
        private_ip_addresses: Vec<PrivateAddress> = "PrivateIpAddresses", "privateIpAddressesSet",
        secondary_private_ip_address_count: Option<i32>,
        subnet_id: Option<String>,
        network_card_index: Option<i32>,
        ipv4_prefixes: Vec<Ipv4Prefix> = "Ipv4Prefix", "ipv4PrefixSet",
        ipv4_prefix_count: Option<i32>,
        ipv6_prefixes: Vec<Ipv6Prefix> = "Ipv6Prefix", "ipv6PrefixSet",
        ipv6_prefix_count: Option<i32>,
        primary_ipv6: Option<bool>,
        ena_srd_specification: Option<EnaSrd>,
        connection_tracking_specification: Option<Tracking>,
        ena_queue_count: Option<i32>,
    }
    /// An IPv6 address.
    Ipv6Address as Ipv6AddressItem { ipv6_address: Option<String> }
    /// A private address.
    PrivateAddress as PrivateAddressShown { primary: Option<bool>, private_ip_address: Option<String> }
    /// A prefix of an interface.
    Ipv4Prefix as Ipv4PrefixItem { ipv4_prefix: Option<String> }
    /// A prefix of an interface.
    Ipv6Prefix as Ipv6PrefixItem { ipv6_prefix: Option<String> }
    /// ENA Express.
    EnaSrd as EnaSrdItem { ena_srd_enabled: Option<bool>, ena_srd_udp_specification: Option<EnaSrdUdp> }
    /// ENA Express for UDP.
    EnaSrdUdp as EnaSrdUdpItem { ena_srd_udp_enabled: Option<bool> }
    /// Timeouts of tracked connections.
    Tracking as TrackingItem {
        tcp_established_timeout: Option<i32>,
        udp_stream_timeout: Option<i32>,
        udp_timeout: Option<i32>,
    }
    /// Something that is on or off.
    Switch as SwitchItem { enabled: Option<bool> }
    /// Where an instance goes.
    Place as PlaceItem {
        availability_zone: Option<String>,
        availability_zone_id: Option<String>,
        affinity: Option<String>,
        group_name: Option<String>,
        host_id: Option<String>,
        tenancy: Option<String>,
        spread_domain: Option<String>,
        host_resource_group_arn: Option<String>,
        partition_number: Option<i32>,
        group_id: Option<String>,
    }
    /// Tags of what a launch makes.
    Tagging as TaggingItem {
        resource_type: Option<String>,
        tags: Vec<TagGiven> = "Tag", "tagSet",
    }
    /// A tag.
    TagGiven as TagShown { key: Option<String>, value: Option<String> }
    /// A GPU that AWS has given up.
    ElasticGpu as ElasticGpuItem { kind: Option<String> = "Type", "type" }
    /// An accelerator that AWS has given up.
    InferenceAccelerator as InferenceAcceleratorItem { kind: Option<String> = "Type", "type", count: Option<i32> }
    /// How capacity is bought.
    Market as MarketItem { market_type: Option<String>, spot_options: Option<Spot> }
    /// How spot capacity is bought.
    Spot as SpotItem {
        max_price: Option<String>,
        spot_instance_type: Option<String>,
        block_duration_minutes: Option<i32>,
        valid_until: Option<Timestamp>,
        instance_interruption_behavior: Option<String>,
    }
    /// CPU credits.
    Credits as CreditsItem { cpu_credits: Option<String> }
    /// Cores and threads.
    Cpu as CpuItem {
        core_count: Option<i32>,
        threads_per_core: Option<i32>,
        amd_sev_snp: Option<String>,
        nested_virtualization: Option<String>,
    }
    /// Reservations of capacity.
    Reservations as ReservationsItem {
        capacity_reservation_preference: Option<String>,
        capacity_reservation_target: Option<ReservationTarget>,
    }
    /// One of them.
    ReservationTarget as ReservationTargetItem {
        capacity_reservation_id: Option<String>,
        capacity_reservation_resource_group_arn: Option<String>,
    }
    /// A licence.
    License as LicenseItem { license_configuration_arn: Option<String> }
    /// Hibernation.
    Hibernation as HibernationShown { configured: Option<bool> }
    /// How the metadata service answers.
    Metadata as MetadataItem {
        http_tokens: Option<String>,
        http_put_response_hop_limit: Option<i32>,
        http_endpoint: Option<String>,
        http_protocol_ipv6: Option<String>,
        instance_metadata_tags: Option<String>,
    }
    /// What an instance type must have; fleets choose by it.
    Requirements as RequirementsItem {
        vcpu_count: Option<Range> = "VCpuCount", "vCpuCount",
        memory_mib: Option<Range> = "MemoryMiB", "memoryMiB",
        cpu_manufacturers: Vec<String> = "CpuManufacturer", "cpuManufacturerSet",
        memory_gib_per_vcpu: Option<Fraction> = "MemoryGiBPerVCpu", "memoryGiBPerVCpu",
        excluded_instance_types: Vec<String> = "ExcludedInstanceType", "excludedInstanceTypeSet",
        instance_generations: Vec<String> = "InstanceGeneration", "instanceGenerationSet",
        spot_max_price_percentage_over_lowest_price: Option<i32>,
        on_demand_max_price_percentage_over_lowest_price: Option<i32>,
        bare_metal: Option<String>,
        burstable_performance: Option<String>,
        require_hibernate_support: Option<bool>,
        network_interface_count: Option<Range>,
        local_storage: Option<String>,
        local_storage_types: Vec<String> = "LocalStorageType", "localStorageTypeSet",
        total_local_storage_gb: Option<Fraction> = "TotalLocalStorageGB", "totalLocalStorageGB",
        baseline_ebs_bandwidth_mbps: Option<Range>,
        accelerator_types: Vec<String> = "AcceleratorType", "acceleratorTypeSet",
        accelerator_count: Option<Range>,
        accelerator_manufacturers: Vec<String> = "AcceleratorManufacturer", "acceleratorManufacturerSet",
        accelerator_names: Vec<String> = "AcceleratorName", "acceleratorNameSet",
        accelerator_total_memory_mib: Option<Range> = "AcceleratorTotalMemoryMiB", "acceleratorTotalMemoryMiB",
        network_bandwidth_gbps: Option<Fraction>,
        allowed_instance_types: Vec<String> = "AllowedInstanceType", "allowedInstanceTypeSet",
        max_spot_price_as_percentage_of_optimal_on_demand_price: Option<i32>,
        baseline_performance_factors: Option<Performance>,
        require_encryption_in_transit: Option<bool>,
    }
    /// From one whole number to another.
    Range as RangeItem { min: Option<i32>, max: Option<i32> }
    /// From one number to another.
    Fraction as FractionItem { min: Option<f64>, max: Option<f64> }
    /// How fast a processor must be.
    Performance as PerformanceItem { cpu: Option<CpuPerformance> }
    /// As fast as these.
    CpuPerformance as CpuPerformanceItem { references: Vec<Family> = "Reference", "referenceSet" }
    /// A family of instance types.
    Family as FamilyItem { instance_family: Option<String> }
    /// What names are made of.
    PrivateNames as PrivateNamesItem {
        hostname_type: Option<String>,
        enable_resource_name_dns_a_record: Option<bool>,
        enable_resource_name_dns_aaaa_record: Option<bool> = "EnableResourceNameDnsAAAARecord", "enableResourceNameDnsAAAARecord",
    }
    /// Recovery.
    Maintenance as MaintenanceShown { auto_recovery: Option<String> }
    /// The service that manages what is launched.
    OperatorName as OperatorItem { principal: Option<String> }
    /// How bandwidth is divided.
    NetworkPerformance as NetworkPerformanceItem { bandwidth_weighting: Option<String> }
    /// An interface in a secondary network.
    SecondaryInterface as SecondaryInterfaceItem {
        delete_on_termination: Option<bool>,
        device_index: Option<i32>,
        private_ip_addresses: Vec<SecondaryAddress> = "PrivateIpAddress", "privateIpAddressesSet",
        private_ip_address_count: Option<i32>,
        secondary_subnet_id: Option<String>,
        interface_type: Option<String>,
        network_card_index: Option<i32>,
    }
    /// An address there.
    SecondaryAddress as SecondaryAddressItem { private_ip_address: Option<String> }
}

/// The groups of an interface. Answers call each of them `groupId`, and not `item` as those of all other lists.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct GroupIds(pub(crate) Vec<String>);

impl Shown for GroupIds {
    type As = Option<GroupIdSet>;
    fn shown(&self) -> Self::As {
        (!self.0.is_empty()).then(|| GroupIdSet(self.0.clone()))
    }
}

/// See [`GroupIds`].
#[derive(Debug, Clone)]
pub(crate) struct GroupIdSet(pub(crate) Vec<String>);

impl Serialize for GroupIdSet {
    /// A structure that has the same member several times: elements of one name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut elements = serializer.serialize_struct("GroupIdSet", self.0.len())?;
        for id in &self.0 {
            elements.serialize_field("groupId", id)?;
        }
        elements.end()
    }
}

impl<'de> Deserialize<'de> for GroupIdSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}
