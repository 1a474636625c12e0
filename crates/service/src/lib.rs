//! What every service of the control plane is written with: one grammar for operations, one description of kinds of
//! resources, and the rules that services share (tokens, quotas, broken constraints).
//!
//! A service is a struct that implements [`App`] (and [`Stateful`], where operations change something), and modules that declare their operations with [`operations!`]. A
//! declaration says everything about an operation that is not its behaviour; the function that it names is the
//! behaviour. [`Resource`] describes the records that callers name; a service lists the [`Kind`]s of them once.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lath_authz::ResourceType;
//! use lath_control::Cell;
//! use lath_service::{App, operations};
//! use lath_store::View;
//! use lath_wire::ApiError;
//!
//! pub struct Shop { cell: Cell }
//!
//! impl App for Shop {
//!     fn view(&self) -> Arc<View> { self.cell.db.view() }
//! }
//! lath_authz::authorized!(Shop, |app| app.cell.db.view(), app.cell.owner());
//!
//! const LAMP: ResourceType = ResourceType {
//!     name: "lamp",
//!     arn: |at, id| at.arn("shop", &format!("lamp/{id}")),
//!     keys: &[],
//!     facts: |_, _| Vec::new(),
//! };
//!
//! operations! {
//!     for Shop as "shop";
//!     read GetLamp: get "/lamps/{id}" 200 -> Lamp = get => on(&LAMP, |op, _| op.id.clone());
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct GetLamp { id: String }
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Lamp { id: String }
//!
//! fn get(_app: &Shop, _view: &View, op: &GetLamp) -> Result<Lamp, ApiError> {
//!     Ok(Lamp { id: op.id.clone() })
//! }
//! # assert_eq!(<GetLamp as lath_wire::Operation>::NAME, "GetLamp");
//! # let _ = register;
//! ```
//!
//! Not here: wire formats and the front door (`lath-wire`), what permissions mean (`lath-authz`), any one service.

mod app;
mod operations;
mod quota;
mod refuses;
mod resource;
pub mod run;
mod token;
mod violation;

pub use app::{App, Stateful, Way};
pub use quota::Quota;
pub use refuses::{Asks, Refuses, names_at, wire_name};
pub use resource::{IdForm, Kind, Resource, Tagged, Tags, TagsOf, kind_of};
pub use token::{Mismatch, claim};
pub use violation::{Bounds, Violation, detected};

#[doc(hidden)]
pub use lath_authz::{Access, Authorized};
#[doc(hidden)]
pub use lath_wire::{ApiError, Caller, Handle, Operation, Problems, Raw, Route, Service};

/// A request with constraints that its types cannot say: lengths, ranges, patterns. For operations that are declared as
/// `checked`.
pub trait Checked {
    /// Reports every problem, and goes on after each.
    fn check(&self, problems: &mut Problems);
}

/// An answer of something that may be on its way to another state. For operations that are declared as `awaited`.
pub trait Awaited {
    /// Whether it is: [`Operation::is_unsettled`].
    fn is_unsettled(&self) -> bool;
}

/// A request or an answer with a body that is no structure. For operations that are declared as `carried`.
pub trait Carried: Operation {
    /// [`Operation::PAYLOAD`].
    const MEMBER: Option<&'static str>;
    /// [`Operation::FROM_HEADERS`].
    const HEADERS: &'static [&'static str];
    /// [`Operation::raw`].
    fn raw_of(output: &Self::Output) -> Option<lath_wire::Raw>;
}

/// An answer with members that travel as headers. For operations that are declared as `located`.
pub trait Located {
    /// Such as `Location` and where the new thing is.
    fn headers(&self) -> Vec<(&'static str, String)>;
}
