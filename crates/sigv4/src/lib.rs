//! AWS Signature Version 4 and its asymmetric variant, SigV4A: canonical requests, verification of signatures
//! in headers and presigned queries, and signing. Pure functions: clock, body and keys are arguments.
//!
//! Not here: chunk-signed streaming bodies, and permissions.
//!
//! ```
//! use lath_sigv4::{Payload, Request, Secret, SigningKey, sign};
//! use std::time::{Duration, UNIX_EPOCH};
//! let mut headers = http::HeaderMap::new();
//! headers.insert("host", "127.0.0.1:4566".parse().unwrap());
//! let request = Request { method: "GET", path: "/", query: "", headers: &headers, body: Payload::Bytes(b"") };
//! let key = SigningKey {
//!     access_key_id: "AKIDEXAMPLE", secret: &Secret::new("secret"), session_token: None,
//!     region: "us-east-1", service: "ec2",
//! };
//! let added = sign(&request, &key, UNIX_EPOCH + Duration::from_secs(1_440_938_160));
//! assert_eq!(added[0], ("x-amz-date", "20150830T123600Z".to_owned()));
//! ```

mod algorithm;
mod asymmetric;
mod canonical;
mod claim;
mod date;
mod error;
mod key;
mod signer;
mod uri;
mod verify;

pub use algorithm::Algorithm;
pub use canonical::{Payload, Request};
pub use claim::{Claim, Scope, is_presigned};
pub use error::SigError;
pub use key::Secret;
pub use signer::{SigningKey, presign, sign, sign_asymmetric};
pub use uri::percent_decode;
pub use verify::{Credential, Credentials, LookupError, Verified, verify, verify_any};

#[cfg(test)]
mod asymmetric_vectors;
#[cfg(test)]
mod vectors;
