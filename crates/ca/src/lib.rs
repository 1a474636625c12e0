//! Keys and certificates: making them, reading those of others, verifying chains, and the installation's private authority.
//!
//! [`Authority`] is what every region of an installation signs with, and what opens the private keys that it keeps: they are sealed
//! in the state. [`Signer`] is any other authority. What callers bring ([`Certificate`], [`PrivateKey`], [`SigningRequest`]) is read
//! within caps.
//!
//! ```
//! use std::time::Duration;
//! use lath_ca::Authority;
//! use lath_model::Timestamp;
//!
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let authority = Authority::random(now).unwrap();
//! let day = Duration::from_secs(86400);
//! let usable = authority.issue(&["shop.example.com".to_owned()], day, now).unwrap();
//! assert_eq!(usable.names, ["shop.example.com"]);
//! assert!(authority.root_pem().starts_with("-----BEGIN CERTIFICATE-----"));
//! ```
//!
//! Not here: what ACM's API says of certificates (`lath-acm`), certificates of clusters (`lath-kubernetes`).

mod authority;
mod certificate;
mod chain;
mod export;
mod key;
mod names;
mod pem;
mod request;
mod signer;

pub use authority::{Authority, Sealed, Stored, Usable};
pub use certificate::{Certificate, Malformed, Usages};
pub use chain::{MOST_CERTIFICATES, issued, verify};
pub use key::{KeyAlgorithm, KeyError, PrivateKey};
pub use names::{Attribute, Subject};
pub use pem::{Block, blocks, encode};
pub use request::SigningRequest;
pub use signer::{Constraint, IssueError, Profile, SignatureAlgorithm, Signer, signing_request};
