//! IAM policy documents: parse, evaluate, explain. Pure: no HTTP, no store, no clock. The condition keys of a request
//! come in as [`Facts`].
//!
//! Not here: the storage of documents, authentication, and organisations' policies.
//!
//! ```
//! use lath_policy::{Attached, Context, Grammar, Kind, Outcome, Policy, Principal, Request, Rule, evaluate};
//! let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}}"#;
//! let policy = Policy::parse(text, Grammar::Identity).unwrap();
//! let request = Request {
//!     principal: &Principal::user("123456789012", "arn:aws:iam::123456789012:user/ann"),
//!     action: "ec2:DescribeVpcs",
//!     resource: "*",
//!     facts: &Context::default(),
//! };
//! let attached = [Attached { name: "look", kind: Kind::Identity, policy: &policy }];
//! assert_eq!(evaluate(&request, &attached, Rule::SameAccount).outcome, Outcome::Allow);
//! ```
//!
//! The language: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>, the
//! logic: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.

mod condition;
mod document;
mod evaluate;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod lattice;
mod operator;
mod parse;
mod partition;
mod pattern;
mod position;
mod principal;
mod reading;
mod request;

pub use condition::Condition;
pub use document::{Effect, Policy, Scope, Statement};
pub use evaluate::{
    Applicability, Attached, Considered, Decision, Kind, Outcome, Rule, Shortfall, evaluate,
};
pub use parse::{Grammar, MAX_DOCUMENT, MAX_STATEMENTS, Malformed};
pub use pattern::Pattern;
pub use position::{Position, Span};
pub use principal::{Match, Principal, PrincipalSet};
pub use request::{Context, Facts, Request};
