//! EC2's instances: launches and their templates, images, key pairs, and the nodes of clusters that other services launch.
//!
//! [`INSTANCES`] and [`LAUNCH_TEMPLATES`] are the operations and the kinds of resources, [`CONTRIBUTIONS`] turn the state
//! into the part of the feed that nodes obey, [`reconcile`] and [`reconcile_profiles`] take over what nodes observe and
//! what becomes of instance profiles.

#[doc(hidden)]
pub mod fuzzing;
mod image_kinds;
pub mod images;
mod instances;
mod key_pairs;
mod launch_templates;
pub mod managed;

use lath_control::{Contribute, Derive};
use lath_ec2_records::{DirectoryImage, Instance, ProfileAssociation};
use lath_store::{Kinds, Record as _};

pub use instances::{PARTS as INSTANCES, reconcile, reconcile_profiles};
pub use launch_templates::PARTS as LAUNCH_TEMPLATES;

/// Fills instances.
pub const CONTRIBUTIONS: [Contribute; 1] = [Derive::Each {
    kind: Instance::KIND,
    make: instances::contribute,
}];

/// The records that no caller names by an id.
pub fn records(records: Kinds) -> Kinds {
    records
        .with::<DirectoryImage>()
        .with::<ProfileAssociation>()
        .with::<launch_templates::LaunchTemplateVersion>()
}
