//! The published models as a test oracle: registered operations against what botocore says of them.
//!
//! Only tests and `xtask` use this crate; nothing that runs reads a model.
//!
//! `tests/model/dump.py` prints the models; [`compare()`] lists where a service differs from its model, and
//! [`compat_table`] says which operations there are.

mod compare;
mod constraints;
mod model;
mod table;

pub use compare::{Difference, compare};
pub use constraints::{Part, PassedOver, constraint_table};
pub use table::{compat_table, unknown_refusals};
