//! What requests say of resources that they make or change.

use lath_authz::{Access, ResourceType, Scope};
use lath_ec2_records::resources::{Facts, fact};
use lath_wire::Operation;

use crate::tags::{self, TagSpecification};

/// Statements about what operations make.
pub trait Making<Op>: Sized {
    /// A new resource with the tags that the request specifies for its type; the tags need `ec2:CreateTags` on it
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>).
    fn creates(
        self,
        resource_type: &'static ResourceType,
        specifications: fn(&Op) -> &[TagSpecification],
    ) -> Self;

    /// The tags of the new resource that was stated last, as `creates` has them.
    fn with_tags_of(
        self,
        resource_type: &'static ResourceType,
        specifications: fn(&Op) -> &[TagSpecification],
    ) -> Self;
}

impl<Op: Operation> Making<Op> for Access<Op> {
    fn creates(
        self,
        resource_type: &'static ResourceType,
        specifications: fn(&Op) -> &[TagSpecification],
    ) -> Self {
        self.makes(resource_type)
            .with_tags_of(resource_type, specifications)
    }

    fn with_tags_of(
        self,
        resource_type: &'static ResourceType,
        specifications: fn(&Op) -> &[TagSpecification],
    ) -> Self {
        let kind = resource_type.name;
        let given = move |op: &Op, _: &Scope<'_>| tags::requested(specifications(op), kind);
        self.tagged(given)
            .also("ec2:CreateTags", resource_type, move |op, at| {
                (!given(op, at).is_empty()).then_some("*")
            })
            .with("ec2:CreateAction", |_, _| Op::NAME)
            .tagged(given)
    }
}

/// `ec2:Attribute` and `ec2:Attribute/NAME`, of the members of a request that set something and their values
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-policy-structure.html#attribute-key>).
pub fn attributes(set: &[(&str, Option<String>)]) -> Facts {
    let set = set.iter();
    let set = set.filter_map(|(name, value)| Some((*name, value.clone()?)));
    let both = |(name, value): (&str, String)| {
        [
            fact("ec2:Attribute", name),
            fact(&format!("ec2:Attribute/{name}"), value),
        ]
    };
    set.flat_map(both).collect()
}

/// The keys that [`attributes`] fills in.
pub const ATTRIBUTES: &[&str] = &["ec2:Attribute", "ec2:Attribute/${AttributeName}"];
