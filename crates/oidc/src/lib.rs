//! Tokens of OpenID Connect issuers: what they claim, with which keys that is proved, and where an issuer's keys are read.
//!
//! A token comes from strangers and is read within bounds; what it claims counts only once [`KeySet::verify`] has
//! proved it, and [`Claims::check_time`] has looked at the clock. Keys come from [`IssuerKeys`]: [`Remote`] reads them
//! from the issuer over HTTPS.
//!
//! Not here: which issuers are trusted, and for what (`lath-sts`).

mod certificates;
mod keys;
mod remote;
mod token;

pub use certificates::{SystemRoots, Thumbprints};
pub use keys::{KeySet, Unproved};
pub use remote::{Asked, IssuerKeys, NoKeys, Remote};
pub use token::{BadTime, Claims, MissingClaim, NotAToken, Token};
