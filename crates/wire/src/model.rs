//! The published models as a test oracle: registered operations against what botocore says of them.
//!
//! `tests/model/dump.py` prints the models; [`compare()`] lists where a service differs from its model, and
//! [`compat_table`] says which operations there are.

mod compare;
mod constraints;
mod oracle;
mod table;

pub use compare::{Difference, compare};
pub use constraints::{Part, PassedOver, constraint_table};
pub use table::{compat_table, unknown_refusals};
