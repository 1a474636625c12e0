//! What operations need permission for: each states, over its typed request and the records, which actions on which
//! resources a caller must be allowed, and which condition keys the request fills in.
//!
//! An operation's statement is an [`Access`]: a list of needs. [`permissions`] turns it into what the judge decides,
//! [`stated`] into what tests compare with AWS's Service Authorization Reference, which [`mod@reference`] holds as data.
//!
//! ```
//! use lath_authz::{Access, Authorized, ResourceType, Scope};
//! use lath_wire::Operation;
//!
//! #[derive(serde::Deserialize)]
//! struct DeleteSubnet { subnet_id: String }
//!
//! impl Operation for DeleteSubnet {
//!     const NAME: &'static str = "DeleteSubnet";
//!     type Output = ();
//! }
//!
//! const SUBNET: ResourceType = ResourceType {
//!     name: "subnet",
//!     arn: |at, id| at.arn("ec2", &format!("subnet/{id}")),
//!     keys: &[],
//!     facts: |_, _| Vec::new(),
//! };
//!
//! impl Authorized for DeleteSubnet {
//!     const SERVICE: &'static str = "ec2";
//!     fn access() -> Access<Self> {
//!         Access::<Self>::new().on(&SUBNET, |op, _| op.subnet_id.clone())
//!     }
//! }
//!
//! assert_eq!(lath_authz::stated::<DeleteSubnet>()[0].action, "ec2:DeleteSubnet");
//! ```

mod access;
mod compare;
pub mod reference;
mod resource_type;
mod values;

pub use access::{Access, Authorized, bounded_permissions, permissions, stated};
pub use compare::{compare, judged};
pub use resource_type::{Facts, ResourceType, Scope};
pub use values::Values;

/// Lets a service judge its operations by what they state, over its records and in its owner's name:
/// `authorized!(Ec2, |app| app.cell.db.view(), app.cell.owner())`.
#[macro_export]
macro_rules! authorized {
    ($service:ty, |$app:ident| $view:expr, $owner:expr) => {
        impl<Op: $crate::Authorized> $crate::Permissions<Op> for $service {
            fn permissions(
                &self,
                caller: &$crate::Caller,
                op: &Op,
            ) -> Result<Vec<$crate::Permission>, $crate::TooMuch> {
                let $app = self;
                $crate::bounded_permissions(&$view, $owner, caller, op)
            }

            fn stated() -> Vec<$crate::Stated> {
                $crate::stated::<Op>()
            }
        }
    };
}

#[doc(hidden)]
pub use lath_wire::{Caller, Permission, Permissions, Stated, TooMuch};

/// The condition key of a resource's tags, as the reference writes it.
pub const RESOURCE_TAG: &str = "aws:ResourceTag/${TagKey}";
/// The condition key of a request's tags, as the reference writes it.
pub const REQUEST_TAG: &str = "aws:RequestTag/${TagKey}";
/// The condition key of the keys of a request's tags.
pub const TAG_KEYS: &str = "aws:TagKeys";
