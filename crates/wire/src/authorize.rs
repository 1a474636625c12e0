//! Whether a caller may do what it asks.

use lath_sigv4::SigError;

use crate::http::refusal;
use crate::{ApiError, Caller, Doc, Protocol};

/// A request whose caller is known and whose operation exists, before its handler sees it.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Who asks, whence, for which service and region.
    pub caller: &'a Caller,
    /// The operation's name, such as `CreateVpc`.
    pub operation: &'a str,
    /// What was sent with it and the operation reads; not checked yet.
    pub input: &'a Doc,
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
