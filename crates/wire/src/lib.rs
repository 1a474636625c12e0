//! AWS wire protocols without code generation.
//!
//! Bytes become a [`Doc`] by one small parser per format; one serde deserializer over it yields the typed
//! request; replies go back through one serializer into a `Doc`, which a writer per format prints.
//! An API is a list of [`Operation`]s registered on a [`Service`]; see `docs/decisions/`.
//!
//! What is not here: connections and signatures (`lath-door`), the published models that tests hold services to
//! (`lath-oracle`), streaming bodies and event streams.
//!
//! ```
//! use std::sync::Arc;
//! use lath_wire::{
//!     ApiError, Caller, Handle, Operation, Permission, Permissions, Protocol, Route, Service, ServiceInfo, Stated, TooMuch,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct GetService { service_identifier: String }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Found { id: String }
//!
//! impl Operation for GetService {
//!     const NAME: &'static str = "GetService";
//!     const ROUTE: Option<Route> = Some(Route::get("/services/{serviceIdentifier}", 200));
//!     type Output = Found;
//! }
//!
//! struct App;
//!
//! impl Handle<GetService> for App {
//!     async fn handle(&self, _: &Caller, op: GetService) -> Result<Found, ApiError> {
//!         Ok(Found { id: op.service_identifier })
//!     }
//! }
//!
//! // Every operation states what it needs permission for.
//! impl Permissions<GetService> for App {
//!     fn permissions(&self, _: &Caller, op: &GetService) -> Result<Vec<Permission>, TooMuch> {
//!         Ok(vec![Permission {
//!             action: "vpc-lattice:GetService".into(),
//!             resource_type: "Service",
//!             resource: format!("arn:aws:vpc-lattice:us-east-1:123456789012:service/{}", op.service_identifier),
//!             keys: Vec::new(),
//!             known: Vec::new(),
//!         }])
//!     }
//!     fn stated() -> Vec<Stated> {
//!         vec![Stated { action: "vpc-lattice:GetService".into(), resource_type: "Service", known: Vec::new() }]
//!     }
//! }
//!
//! let service = Service::new(ServiceInfo {
//!     signing_name: "vpc-lattice", model: "vpc-lattice", version: "2022-11-30", xmlns: "",
//!     target_prefix: "", protocols: &[Protocol::RestJson],
//! })
//! .on::<GetService>(&Arc::new(App));
//! assert_eq!(service.operations().collect::<Vec<_>>(), ["GetService"]);
//! ```

mod authorize;
mod behalf;
mod bound;
pub mod constraint;
mod decode;
mod decode_error;
mod dispatch;
mod doc;
mod encode;
mod envelope;
mod error;
mod fault_style;
pub mod format;
mod limits;
mod moment;
mod operation;
mod path;
mod probe;
pub mod refusal;
mod service;
mod shape;

pub use authorize::{
    Ask, Authorize, Denied, Permission, Permissions, Stated, TooMuch, Unauthorized,
};
pub use behalf::{Behalf, may_set_system_tags};
pub use decode::{Decoded, Typing, decode};
pub use decode_error::{DecodeError, Misfit};
pub use dispatch::Unsettled;
pub use doc::{Blob, Doc};
pub use encode::{EncodeError, ItemName, Shaping, encode};
pub use envelope::Envelope;
pub use error::{ApiError, Fault};
pub use fault_style::ErrorStyle;
pub use limits::{MAX_DEPTH, MAX_VALUES, Malformed};
pub use moment::TimeFormat;
pub use operation::{
    Caller, FromVpc, Handle, KeyOwner, Operation, Principal, Problem, Problems, Raw, Route,
};
pub use probe::describe;
pub use service::{Description, Protocol, Service, ServiceInfo};
pub use shape::{Member, Shape};
