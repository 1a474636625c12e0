//! The state: transactions, revisions, watches, and the typed view that the control plane reads.
//!
//! It has two layers. A [`Store`] stores bytes under keys with etcd's semantics; engines implement it:
//! [`Embedded`] on a disk, [`Memory`] for tests. Services use the [`Db`]: typed [`Record`]s, an immutable
//! [`View`] to read, and [`Db::write`] to change. A write returns after its changes are durable and in the
//! published view.
//!
//! ```
//! # use lath_store::{Db, Kinds, Memory, Record, StoreError};
//! # use std::sync::Arc;
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Lamp {
//!     id: String,
//!     on: bool,
//! }
//! impl Record for Lamp {
//!     const KIND: &'static str = "house.lamp";
//!     fn id(&self) -> String {
//!         self.id.clone()
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let db = Db::open(Arc::new(Memory::new()), Kinds::default().with::<Lamp>()).await?;
//! db.write(|tx| {
//!     tx.put(Lamp { id: "hall".into(), on: true });
//!     Ok::<_, StoreError>(())
//! })
//! .await?;
//! assert!(db.view().get::<Lamp>("hall").unwrap().on);
//! # Ok::<_, StoreError>(())
//! # }).unwrap();
//! ```

mod condition;
mod contain;
mod db;
mod dir;
mod embedded;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod identity;
mod inspect;
mod load;
mod memory;
mod pipeline;
mod reads;
mod record;
mod reword;
mod store;
mod view;

pub use condition::Condition;
pub use contain::{contain, is_contained};
pub use db::Db;
pub use dir::{open_dir, open_dir_with, state_file};
pub use embedded::{Embedded, Opening};
pub use error::StoreError;
pub use identity::Identity;
pub use inspect::{DamagedRecord, Quarantined, Report, inspect, open_unchanged, quarantine};
pub use memory::Memory;
pub use reads::{Changed, Read, Reads};
pub use record::{Kinds, Record};
pub use reword::Rewording;
pub use store::{
    Changes, Compare, Entry, Event, Listing, MAX_KEY, MAX_VALUE, Op, Outcome, Store, Watch,
};
pub use view::{Tx, View};
