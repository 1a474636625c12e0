//! Instances.

mod attributes;
mod console;
mod credits;
mod describe;
mod disks;
mod feed;
mod launch;
mod launch_access;
mod network;
pub(crate) mod options;
mod power;
mod profile_access;
mod profiles;
mod reconcile;
mod request;
mod response;
mod status;
#[cfg(test)]
mod tests;
mod type_catalogue;
mod volumes;

use std::collections::BTreeSet;
use std::sync::Arc;

use lath_ec2_kit::Part;
use lath_ec2_records::Instance;
use lath_ec2_records::errors::{client, combination, invalid_value};
use lath_ec2_records::ids::Ids as _;
use lath_ec2_records::resources::{INSTANCE, KEY_PAIR, VOLUME};
use lath_store::View;
use lath_wire::ApiError;

use crate::image_kinds::IMAGE;

pub(crate) use attributes::wrong_state;
pub(crate) use feed::contribute;
pub(crate) use launch::{check_quota, launchable, refusals};
pub(crate) use options::names_at_launch;
pub(crate) use profiles::associate_role;
pub use profiles::reconcile as reconcile_profiles;
pub use reconcile::reconcile;
pub(crate) use request::{BlockDevice, EbsDevice, LaunchTemplateSpecification, RunInstances};
pub(crate) use response::{ROOT_DEVICE, Showing};

/// How many instances one request may name.
const MAX_IDS: usize = 1000;

/// Instances and what they are made of, as in [`lath_ec2_network::PARTS`].
pub static PARTS: &[Part] = &[
    Part::new(crate::images::register, &[&IMAGE]),
    Part::new(crate::key_pairs::register, &[&KEY_PAIR]),
    Part::new(launch::register, &[&INSTANCE]),
    Part::new(describe::register, &[]),
    Part::new(status::register, &[]),
    Part::new(power::register, &[]),
    Part::new(console::register, &[]),
    Part::new(attributes::register, &[]),
    Part::new(credits::register, &[]),
    Part::new(options::register, &[]),
    Part::new(profiles::register, &[]),
    Part::new(type_catalogue::register, &[]),
    Part::new(volumes::register, &[&VOLUME]),
];

/// The instances of a request, each once, in the order of their ids.
///
/// # Errors
/// `InvalidParameterCombination` for none, `InvalidInstanceID.Malformed`, `InvalidInstanceID.NotFound`.
fn named(view: &View, wanted: &[String]) -> Result<Vec<Arc<Instance>>, ApiError> {
    if wanted.is_empty() {
        return Err(combination("No instances specified"));
    }
    if wanted.len() > MAX_IDS {
        return Err(invalid_value(format!(
            "The maximum number of instances in a request is {MAX_IDS}"
        )));
    }
    for id in wanted {
        INSTANCE.id.check(id)?;
    }
    let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    let find = |id: &&str| view.get::<Instance>(id);
    let absent: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|id| find(id).is_none())
        .collect();
    match absent.as_slice() {
        [] => Ok(wanted.iter().filter_map(find).collect()),
        [one] => Err(INSTANCE.id.not_found(one)),
        many => Err(client(
            INSTANCE.id.not_found,
            format!("The instance IDs '{}' do not exist", many.join(", ")),
        )),
    }
}
