//! Prefix lists: the account's own, and AWS's, which have no record
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html>).

use std::sync::Arc;

use lath_control::Cell;
use lath_store::View;

use crate::ids;
use crate::{ListEntry, ManagedPrefixList};

/// AWS's lists and their blocks. Lattice answers on these link-local blocks in every associated VPC
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/security-groups.html>).
const AWS_LISTS: [(&str, &str); 2] = [
    ("vpc-lattice", "169.254.171.0/24"),
    ("ipv6.vpc-lattice", "fd00:ec2:80::/64"),
];

/// Every list: AWS's, then the account's.
pub fn all<'a>(
    cell: &Cell,
    view: &'a View,
) -> impl Iterator<Item = Arc<ManagedPrefixList>> + use<'a> {
    aws(&cell.region)
        .into_iter()
        .map(Arc::new)
        .chain(view.list::<ManagedPrefixList>())
}

/// The list of this id.
pub fn find(cell: &Cell, view: &View, id: &str) -> Option<Arc<ManagedPrefixList>> {
    let own = view.get::<ManagedPrefixList>(id);
    own.or_else(|| all(cell, view).find(|list| list.id.as_str() == id))
}

/// AWS's own lists.
pub fn aws(region: &str) -> [ManagedPrefixList; 2] {
    AWS_LISTS.map(|(name, cidr)| {
        let name = format!("com.amazonaws.{region}.{name}");
        let cidr = cidr.parse().expect("the blocks above are well formed");
        let entry = ListEntry {
            cidr,
            description: None,
        };
        ManagedPrefixList {
            id: ids::fixed("pl", &name),
            ipv6: name.contains(".ipv6."),
            name,
            owner: "AWS".into(),
            max_entries: None,
            version: 1,
            history: vec![(1, vec![entry])],
            state: "create-complete".into(),
        }
    })
}

/// The ARN of a list of this id; AWS's own are in no account.
pub fn arn(region: &str, account: &str, id: &str) -> String {
    let is_aws = aws(region).iter().any(|list| list.id.as_str() == id);
    let account = if is_aws { "aws" } else { account };
    let resource = format!("prefix-list/{id}");
    let partition = lath_model::Partition::of_region(region);
    lath_model::arn::Arn::new(partition, "ec2", region, account, resource).to_string()
}
