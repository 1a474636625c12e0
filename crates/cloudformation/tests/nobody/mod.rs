//! A service that can call no other.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lath_cloudformation::{Authority, CloudFormation, Hands};
use lath_wire::{ApiError, Caller};
use serde_json::Value;

struct Nobody;

impl Hands for Nobody {
    fn authority(&self, _: &Caller) -> Authority {
        Authority::Role { arn: String::new() }
    }

    fn check_role(&self, _: &str) -> Result<(), ApiError> {
        Ok(())
    }

    fn call<'a>(
        &'a self,
        _: &'a Authority,
        _: &'a str,
        _: &'a str,
        _: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        std::future::ready(Ok(Value::Null)).boxed()
    }
}

/// The service.
pub(crate) fn app() -> CloudFormation {
    CloudFormation {
        cell: lath_control::Cell::for_test().0,
        hands: Arc::new(Nobody),
    }
}
