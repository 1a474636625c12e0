//! AWS wire protocols without code generation.
//!
//! Bytes become a [`Doc`] by one small parser per format; one serde deserializer over it yields the typed
//! request; replies go back through one serializer into a `Doc`, which a writer per format prints.
//! An API is a list of [`Operation`]s registered on a [`Service`]; see `docs/decisions/`.

mod bound;
mod decode;
mod decode_error;
mod dispatch;
mod doc;
mod encode;
mod envelope;
mod error;
mod fault_style;
pub mod format;
pub mod http;
mod limits;
pub mod model;
mod moment;
mod operation;
mod path;
mod probe;
mod service;
mod shape;

pub use decode::{Decoded, Typing, decode};
pub use decode_error::{DecodeError, Misfit};
pub use doc::{Blob, Doc};
pub use encode::{EncodeError, ItemName, Shaping, encode};
pub use error::{ApiError, Fault};
pub use fault_style::ErrorStyle;
pub use limits::{MAX_DEPTH, MAX_VALUES, Malformed};
pub use moment::TimeFormat;
pub use operation::{Caller, Handle, Operation, Principal, Problem, Problems, Route};
pub use probe::describe;
pub use service::{Protocol, Service, ServiceInfo};
pub use shape::{Member, Shape};
