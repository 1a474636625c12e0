//! What instances are made of.

use lath_authz::{RESOURCE_TAG, ResourceType, Scope};
use lath_control::Cell;
use lath_model::arn::Arn;
use lath_service::{Kind, Resource};
use lath_store::View;

use super::{Facts, fact, ids, of_tags, own_id, resource_type};
use crate::zone_id;
use crate::{Instance, KeyPair, MetadataOptions, ProfileAssociation, Volume};

/// An instance. None is of a marketplace product, in a placement group or managed by an AWS service, and no type
/// has AMD's SEV-SNP switched on.
pub const INSTANCE: Kind = Kind::of::<Instance>(
    ids(
        "i",
        "InvalidInstanceID.Malformed",
        "InvalidInstanceID.NotFound",
        "The instance ID '{}' does not exist",
    ),
    resource_type!(
        "instance",
        [
            "ec2:InstanceID",
            "ec2:InstanceType",
            "ec2:InstanceProfile",
            "ec2:AvailabilityZone",
            "ec2:AvailabilityZoneId",
            "ec2:EbsOptimized",
            "ec2:InstanceAutoRecovery",
            "ec2:InstanceBandwidthWeighting",
            "ec2:InstanceMarketType",
            "ec2:InstanceMetadataTags",
            "ec2:MetadataHttpEndpoint",
            "ec2:MetadataHttpPutResponseHopLimit",
            "ec2:MetadataHttpTokens",
            "ec2:RootDeviceType",
            "ec2:Tenancy",
            "ec2:CpuOptionsAmdSevSnp",
            "ec2:ManagedResourceOperator",
            "ec2:PlacementGroup",
            "ec2:ProductCode",
        ],
        of_instance
    ),
);

/// A volume of an instance. None is managed by an AWS service or filled at a rate that was asked for.
pub const VOLUME: Kind = Kind::within(
    ids(
        "vol",
        "InvalidParameterValue",
        "InvalidVolume.NotFound",
        "The volume '{}' does not exist",
    ),
    resource_type!(
        "volume",
        [
            "ec2:VolumeID",
            "ec2:AvailabilityZone",
            "ec2:AvailabilityZoneId",
            "ec2:Encrypted",
            "ec2:ParentSnapshot",
            "ec2:VolumeIops",
            "ec2:VolumeSize",
            "ec2:VolumeThroughput",
            "ec2:VolumeType",
            "ec2:ManagedResourceOperator",
            "ec2:ParentVolume",
            "ec2:VolumeInitializationRate",
        ],
        |at, id| {
            let mut facts = own_id("ec2:VolumeID", id);
            if let Some(instance) = Instance::of_volume(at.view, id) {
                let mut volumes = instance.all_volumes();
                let volume = volumes.find(|it| it.id.as_str() == id);
                facts.extend(
                    volume
                        .into_iter()
                        .flat_map(|it| facts_of_volume(at, &instance.availability_zone, it)),
                );
            }
            facts
        }
    ),
    has_volume,
);

/// A key pair, by its name. Requests that name its id are turned into its name by [`KeyPair::name_of`].
pub const KEY_PAIR: Kind = Kind::of::<KeyPair>(
    ids(
        "key",
        "InvalidKeyPairID.Malformed",
        "InvalidKeyPair.NotFound",
        "The key ID '{}' does not exist",
    ),
    ResourceType {
        name: "key-pair",
        arn: |at, name| super::arn(at, "key-pair", name),
        keys: &[
            RESOURCE_TAG,
            "ec2:ResourceTag/${TagKey}",
            "ec2:KeyPairName",
            "ec2:KeyPairType",
        ],
        facts: |at, name| {
            let mut facts = own_id("ec2:KeyPairName", name);
            if let Some(pair) = KeyPair::named(at.view, name) {
                facts.push(fact("ec2:KeyPairType", pair.kind.name()));
                facts.extend(of_tags(at, pair.id.as_str()));
            }
            facts
        },
    },
);

/// The ARN of what belongs to a region and to no account.
pub fn of_region(at: &Scope<'_>, kind: &str, id: &str) -> String {
    let resource = format!("{kind}/{id}");
    Arn::new(at.partition(), "ec2", at.region(), "", resource).to_string()
}

/// What an instance has, whether it is there or to be made.
#[derive(Debug)]
pub struct InstanceFacts<'a> {
    /// Such as `t3.medium`.
    pub instance_type: &'a str,
    /// Where it is, if that is known.
    pub zone: Option<&'a str>,
    /// Whether it asked for a connection to volumes of its own.
    pub ebs_optimized: bool,
    /// Whether automatic recovery is switched off.
    pub no_recovery: bool,
    /// Such as `default`.
    pub tenancy: &'a str,
    /// How the metadata service answers it.
    pub metadata: Option<&'a MetadataOptions>,
    /// The ARN of its profile.
    pub profile: Option<&'a str>,
}

impl InstanceFacts<'_> {
    /// The keys that say it.
    pub fn facts(&self) -> Facts {
        let recovery = if self.no_recovery {
            "disabled"
        } else {
            "default"
        };
        let mut facts = vec![
            fact("ec2:InstanceType", self.instance_type),
            fact("ec2:EbsOptimized", self.ebs_optimized.to_string()),
            fact("ec2:InstanceAutoRecovery", recovery),
            fact("ec2:InstanceBandwidthWeighting", "default"),
            fact("ec2:InstanceMarketType", "on-demand"),
            fact("ec2:RootDeviceType", "ebs"),
            fact("ec2:Tenancy", self.tenancy),
        ];
        facts.extend(self.zone.into_iter().flat_map(facts_of_zone));
        facts.extend(self.metadata.into_iter().flat_map(facts_of_metadata));
        facts.extend(self.profile.map(|arn| fact("ec2:InstanceProfile", arn)));
        facts
    }
}

/// A zone's name and id.
pub fn facts_of_zone(zone: &str) -> Facts {
    vec![
        fact("ec2:AvailabilityZone", zone),
        fact("ec2:AvailabilityZoneId", zone_id(zone)),
    ]
}

fn facts_of_metadata(options: &MetadataOptions) -> Facts {
    let hops = options.hop_limit.to_string();
    vec![
        fact("ec2:MetadataHttpEndpoint", options.endpoint_word()),
        fact("ec2:MetadataHttpTokens", options.tokens_word()),
        fact("ec2:MetadataHttpPutResponseHopLimit", hops),
        fact("ec2:InstanceMetadataTags", options.tags_word()),
    ]
}

/// What a volume has, whether it is there or to be made.
pub fn facts_of_volume(at: &Scope<'_>, zone: &str, volume: &Volume) -> Facts {
    let snapshot = volume.snapshot.as_deref();
    let numbers = [
        ("ec2:VolumeIops", volume.iops),
        ("ec2:VolumeThroughput", volume.throughput),
        ("ec2:VolumeSize", Some(volume.size)),
    ];
    let numbers = numbers.into_iter();
    let numbers = numbers.filter_map(|(key, number)| Some(fact(key, number?.to_string())));
    let mut facts = facts_of_zone(zone);
    facts.push(fact("ec2:VolumeType", &volume.kind));
    facts.push(fact("ec2:Encrypted", volume.encrypted.to_string()));
    facts.extend(snapshot.map(|id| fact("ec2:ParentSnapshot", of_region(at, "snapshot", id))));
    facts.extend(numbers);
    facts
}

fn has_volume(_: &Cell, view: &View, id: &str) -> bool {
    Instance::of_volume(view, id).is_some()
}

fn of_instance(at: &Scope<'_>, id: &str) -> Facts {
    let mut facts = own_id("ec2:InstanceID", id);
    let Some(instance) = at.view.get::<Instance>(id) else {
        return facts;
    };
    let profile = ProfileAssociation::of_instance(at.view, &instance);
    let of_record = InstanceFacts {
        instance_type: &instance.instance_type,
        zone: Some(&instance.availability_zone),
        ebs_optimized: instance.options.ebs_optimized,
        no_recovery: instance.options.no_recovery,
        tenancy: "default",
        metadata: Some(&instance.metadata),
        profile: profile.as_ref().map(|it| it.profile_arn.as_str()),
    };
    facts.extend(of_record.facts());
    facts
}

impl Resource for Instance {
    const RESOURCE: Kind = INSTANCE;
}

impl Resource for KeyPair {
    const RESOURCE: Kind = KEY_PAIR;
}
