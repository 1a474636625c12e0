//! Images, and the snapshots that they are made of, as kinds of resources.

use lath_authz::{Facts, RESOURCE_TAG, ResourceType, Scope};
use lath_ec2_records::resources::{fact, ids, of_region, of_tags, own_id};
use lath_service::Kind;

use crate::images::{self, Image};

/// A machine image: in the ARNs of images is no account.
pub(crate) const IMAGE: Kind = Kind::within(
    ids(
        "ami",
        "InvalidAMIID.Malformed",
        "InvalidAMIID.NotFound",
        "The image ID '{}' does not exist",
    ),
    ResourceType {
        name: "image",
        arn: |at, id| of_region(at, "image", id),
        keys: &[
            RESOURCE_TAG,
            "ec2:ResourceTag/${TagKey}",
            "ec2:ImageID",
            "ec2:ImageType",
            "ec2:Owner",
            "ec2:Public",
            "ec2:RootDeviceType",
        ],
        facts: of_image,
    },
    images::exists,
);

/// The snapshot that an image is said to be made of. The volume that it was taken of is not there.
pub(crate) const SNAPSHOT: ResourceType = ResourceType {
    name: "snapshot",
    arn: |at, id| of_region(at, "snapshot", id),
    keys: &[
        RESOURCE_TAG,
        "ec2:ResourceTag/${TagKey}",
        "ec2:SnapshotID",
        "ec2:Owner",
        "ec2:SnapshotTime",
        "ec2:VolumeSize",
        "ec2:ParentVolume",
    ],
    facts: |at, id| {
        let mut facts = own_id("ec2:SnapshotID", id);
        if let Some(image) = image(at, |image| image.snapshot == id) {
            facts.push(fact("ec2:Owner", owner(&image)));
            facts.push(fact("ec2:SnapshotTime", image.created_at.iso8601_seconds()));
            facts.push(fact("ec2:VolumeSize", images::ROOT_SIZE.to_string()));
        }
        facts
    },
};

fn of_image(at: &Scope<'_>, id: &str) -> Facts {
    let mut facts = own_id("ec2:ImageID", id);
    facts.extend(of_tags(at, id));
    if let Some(image) = image(at, |image| image.id.as_str() == id) {
        facts.push(fact("ec2:ImageType", "machine"));
        facts.push(fact("ec2:Owner", owner(&image)));
        facts.push(fact("ec2:Public", image.owner_alias.is_some().to_string()));
        facts.push(fact("ec2:RootDeviceType", "ebs"));
    }
    facts
}

fn image(at: &Scope<'_>, is_it: impl Fn(&Image) -> bool) -> Option<Image> {
    let all = images::of_region(at.account(), at.region(), at.view);
    all.into_iter().find(is_it)
}

/// `amazon`, or an account.
fn owner(image: &Image) -> &str {
    image.owner_alias.unwrap_or(&image.owner)
}
