//! State: transactions, revisions, watches; and the typed view that the control plane reads.
//!
//! [`Db`] is what behaviour uses: typed [`Record`]s, an immutable [`View`] to read, and
//! [`Db::write`] to change. A write returns after its changes are durable and the published view holds
//! them.

mod api_error;
mod db;

pub use db::{Db, Kinds, Record, StoreError, Tx, View};
