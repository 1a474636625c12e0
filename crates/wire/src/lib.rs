//! AWS wire protocols without code generation.
//!
//! Bytes become a [`Doc`] by one small parser per format; one serde deserializer over it yields the typed
//! request; replies go back through one serializer into a `Doc`, which a writer per format prints.
//! An API is a list of [`Operation`]s registered on a [`Service`]; see `docs/decisions/`.

mod doc;
mod error;
mod operation;
mod service;

pub use doc::{Blob, Doc};
pub use error::{ApiError, Fault};
pub use operation::{Caller, Handle, Operation, Principal, Problem, Problems, Route};
pub use service::{Protocol, Service, ServiceInfo};
