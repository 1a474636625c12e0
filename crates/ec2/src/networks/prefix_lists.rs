//! Managed prefix lists: the account's own, and AWS's.

use std::sync::Arc;

use lath_control::Cell;
use lath_model::id::PrefixListId;
use lath_store::View;

use crate::records::{ListEntry, ManagedPrefixList};

/// AWS's lists and their blocks. Lattice answers on these link-local blocks in every associated VPC
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/security-groups.html>).
const AWS_LISTS: [(&str, &str); 2] = [
    ("vpc-lattice", "169.254.171.0/24"),
    ("ipv6.vpc-lattice", "fd00:ec2:80::/64"),
];

/// Every list: AWS's, then the account's.
pub(crate) fn all<'a>(
    cell: &Cell,
    view: &'a View,
) -> impl Iterator<Item = Arc<ManagedPrefixList>> + 'a {
    aws(&cell.region)
        .into_iter()
        .map(Arc::new)
        .chain(view.list::<ManagedPrefixList>())
}

/// The list of this id.
pub(crate) fn find(cell: &Cell, view: &View, id: &str) -> Option<Arc<ManagedPrefixList>> {
    let own = view.get::<ManagedPrefixList>(id);
    own.or_else(|| all(cell, view).find(|list| list.id.as_str() == id))
}

fn aws(region: &str) -> [ManagedPrefixList; 2] {
    AWS_LISTS.map(|(name, cidr)| {
        let name = format!("com.amazonaws.{region}.{name}");
        let cidr = cidr.parse().expect("the blocks above are well formed");
        ManagedPrefixList {
            id: aws_id(&name),
            ipv6: name.contains(".ipv6."),
            name,
            owner: "AWS".into(),
            max_entries: None,
            versions: vec![vec![ListEntry {
                cidr,
                description: None,
            }]],
            state: "create-complete".into(),
        }
    })
}

/// AWS's lists have one id per region for ever: it follows from the name (FNV-1a).
fn aws_id(name: &str) -> PrefixListId {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("pl-0{hash:016x}")
        .parse()
        .expect("a prefix, a zero and 16 hexadecimal digits are an id")
}
