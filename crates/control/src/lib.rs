//! What every service of a region's control plane shares: the cell's identity and state, claims between
//! resources, pages, idempotency, and the publisher of the feed.

mod cell;
mod claim;
mod derive;
mod exchange;
mod idempotency;
mod network_service;
mod page;
mod publisher;
mod reconciler;

pub use cell::{Cell, Mode};
pub use claim::{Claim, claims_on};
pub use derive::{Derive, Derived, derive_all, derive_into};
pub use exchange::{Parts, Section, Told, exchange, set_only};
pub use idempotency::{TokenUse, claim_token, fingerprint, sweep_tokens};
pub use lath_tasks::Group;
pub use network_service::{NetworkService, services_of};
pub use page::{BadToken, Page, paginate, paginate_from};
pub use publisher::{Contribute, Publisher, compile};
pub use reconciler::spawn_reconciler;

/// The record kinds that this crate keeps.
pub fn kinds(kinds: lath_store::Kinds) -> lath_store::Kinds {
    kinds
        .with::<Claim>()
        .with::<idempotency::Token>()
        .with::<NetworkService>()
}
