//! The operations of other services, in the name of who asked for a stack.

use futures::future::BoxFuture;
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// In whose name a stack's resources are made. It outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authority {
    /// Who sent the request, until the session that it was signed with expires.
    Caller {
        /// The account.
        account: String,
        /// The principal's ARN.
        arn: String,
        /// The principal's unique id.
        user_id: String,
        /// The access key.
        access_key_id: String,
        /// The session of a temporary key, sealed.
        session: Option<String>,
    },
    /// A role that trusts CloudFormation.
    Role {
        /// Its ARN.
        arn: String,
    },
}

/// Calls other services.
pub trait Hands: Send + Sync {
    /// What can be kept of a caller.
    fn authority(&self, caller: &Caller) -> Authority;

    /// Whether CloudFormation can act with a role.
    ///
    /// # Errors
    /// There is no such role, or it does not trust CloudFormation.
    fn check_role(&self, arn: &str) -> Result<(), ApiError>;

    /// Calls an operation of the service with this signing name, which is judged as the authority's.
    fn call<'a>(
        &'a self,
        authority: &'a Authority,
        service: &'a str,
        operation: &'a str,
        input: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;
}
