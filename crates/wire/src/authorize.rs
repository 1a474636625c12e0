//! Whether a caller may do what it asks.

use std::borrow::Cow;

use lath_sigv4::SigError;

use crate::{ApiError, Caller, Operation, Protocol, refusal};

/// A request that was read, before its handler sees it.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Who asks, whence, for which service and region.
    pub caller: &'a Caller,
    /// The request's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The operation's name, such as `CreateVpc`.
    pub operation: &'a str,
    /// What the caller must be allowed, all of it; empty where the operation needs no permission.
    pub permissions: &'a [Permission],
}

/// One action on one resource, in the words of the Service Authorization Reference
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Such as `ec2:RunInstances`.
    pub action: Cow<'static, str>,
    /// Such as `subnet`; empty where the action is about no resource.
    pub resource_type: &'static str,
    /// An ARN, of which the name is `*` where the resource is to be made; `*` alone where there is none.
    pub resource: String,
    /// The condition keys that the request and the resource's record fill in, without AWS's global ones.
    pub keys: Vec<(String, Vec<String>)>,
    /// The condition keys that are filled in where there is a value, as the reference writes them, such as
    /// `aws:ResourceTag/${TagKey}`. A key that is among them and not in `keys` has no value.
    pub known: Vec<&'static str>,
}

/// What one operation states of itself, whatever the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// As in [`Permission`].
    pub action: Cow<'static, str>,
    /// As in [`Permission`].
    pub resource_type: &'static str,
    /// As in [`Permission`].
    pub known: Vec<&'static str>,
}

/// The permissions that an operation needs. There is no default: a service cannot register an operation that does
/// not say.
pub trait Permissions<Op: Operation> {
    /// What this request needs, over the request as its handler reads it.
    ///
    /// # Errors
    /// That the request is about more than is judged at once.
    fn permissions(&self, caller: &Caller, op: &Op) -> Result<Vec<Permission>, TooMuch>;

    /// What requests of the operation can need.
    fn stated() -> Vec<Stated>;
}

/// A request names so many resources and values that to judge each would hold others up. It is judged before its handler
/// counts what it names, so that this is refused here; it is far more than any service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch;

impl From<TooMuch> for ApiError {
    fn from(_: TooMuch) -> Self {
        let text = "The request names more resources and values than one request may.";
        Self::new("RequestEntityTooLarge", 413, text)
    }
}

/// A refusal, with what AWS tells the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Its policies do not let it.
    ByPolicy(Unauthorized),
    /// Its credentials are of a kind that this service does not take.
    Credentials,
}

/// What the policies of a caller do not let it do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthorized {
    /// `User: ARN is not authorized to perform: ...`.
    pub message: String,
    /// What `DecodeAuthorizationMessage` makes readable; EC2 adds it to the message.
    pub encoded: String,
}

/// Decides before handlers run.
pub trait Authorize: Send + Sync {
    /// # Errors
    /// That the caller may not.
    fn authorize(&self, ask: &Ask<'_>) -> Result<(), Denied>;
}

impl Denied {
    /// The error that AWS answers in this protocol.
    pub(crate) fn error(self, protocol: Protocol) -> ApiError {
        let Self::ByPolicy(Unauthorized { message, encoded }) = self else {
            return refusal::signature(protocol, &SigError::BadToken);
        };
        match protocol {
            Protocol::Ec2Query => {
                let text = format!(
                    "You are not authorized to perform this operation. {message}. Encoded authorization failure message: {encoded}"
                );
                ApiError::new("UnauthorizedOperation", 403, text)
            }
            Protocol::Query | Protocol::RestXml => ApiError::new("AccessDenied", 403, message),
            Protocol::RestJson => ApiError::new("AccessDeniedException", 403, message),
            Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => {
                ApiError::new("AccessDeniedException", 400, message).with_query_code("AccessDenied")
            }
        }
    }
}
