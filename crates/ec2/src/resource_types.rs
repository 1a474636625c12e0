//! EC2's resource types, as its Service Authorization Reference names them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>).

use lath_authz::ResourceType;

/// A virtual private cloud.
pub(crate) const VPC: ResourceType = ResourceType {
    name: "vpc",
    arn: |at, id| at.arn("ec2", &format!("vpc/{id}")),
    keys: &[],
    facts: |_, _| Vec::new(),
};
