//! What EC2 consists of, in one list.

use lath_ec2_kit::Part;
use lath_ec2_records::ResourceTags;
use lath_service::Kind;
use lath_store::Kinds;

/// What is about the region and the account as a whole, and tags of every kind of resource.
static OWN: &[Part] = &[
    Part::new(crate::tags::register, &[]),
    Part::new(crate::zones::register, &[]),
    Part::new(crate::account_attributes::register, &[]),
];

/// Every part.
pub(crate) fn all() -> impl Iterator<Item = &'static Part> {
    let parts = [
        OWN,
        lath_ec2_network::PARTS,
        lath_ec2_transit::PARTS,
        lath_ec2_compute::INSTANCES,
        lath_ec2_compute::LAUNCH_TEMPLATES,
    ];
    parts.into_iter().flatten()
}

/// Every kind of resource.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    all().flat_map(|part| part.kinds.iter().copied())
}

/// The kind of what has such an id.
pub(crate) fn kind_of(id: &str) -> Option<&'static Kind> {
    lath_service::kind_of(kinds(), id)
}

/// Every kind of record: those of resources, and those that no caller names by an id.
pub(crate) fn records(records: Kinds) -> Kinds {
    let of_resources = kinds().fold(records, |records, kind| (kind.records)(records));
    let of_transit = lath_ec2_transit::records(of_resources);
    lath_ec2_compute::records(of_transit).with::<ResourceTags>()
}
