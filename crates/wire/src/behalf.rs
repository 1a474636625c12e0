//! Operations that a service of this process calls in somebody's name.

use std::future::Future;

use tracing::Instrument as _;

use crate::bound::{Input, Judging};
use crate::decode::Typing;
use crate::encode::Shaping;
use crate::limits::MAX_EC2_VALUES;
use crate::{ApiError, Authorize, Caller, Doc, Protocol, Service, TooMuch};

/// A service that calls operations of other services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behalf {
    /// Its principal, such as `cloudformation.amazonaws.com`.
    pub service: &'static str,
    /// Whether it passes on the caller of a request of its own. A service with a role of its own calls for itself.
    pub forwarded: bool,
}

tokio::task_local! {
    static BEHALF: Behalf;
}

impl Behalf {
    /// The service that calls the operation which runs now; `None` where a client does.
    pub fn current() -> Option<Self> {
        BEHALF.try_with(|it| *it).ok()
    }

    /// Runs `call` as a call of this service.
    pub async fn calling<T>(self, call: impl Future<Output = T>) -> T {
        BEHALF.scope(self, call).await
    }
}

/// Whether the operation that runs now may set tags whose keys begin with `aws:`. Only services may.
pub fn may_set_system_tags() -> bool {
    Behalf::current().is_some()
}

impl Service {
    /// Calls an operation as a request of `caller` would, judged as one at the front door is, with a tree for the body and
    /// for the answer. Texts of the input are read as what is wanted; a member that the operation does not know is an
    /// error.
    ///
    /// # Errors
    /// What a client would be answered.
    pub async fn invoke(
        &self,
        judge: &dyn Authorize,
        (caller, behalf): (&Caller, Behalf),
        operation: &str,
        input: Doc,
    ) -> Result<Doc, ApiError> {
        let protocol = self.info().protocols.first().copied();
        let protocol = protocol.unwrap_or(Protocol::RestJson);
        let registered = self
            .named(operation)
            .ok_or_else(|| crate::refusal::invalid_action(operation))?;
        // It is judged before its handler counts what it names, as at the front door.
        if input.values() > MAX_EC2_VALUES {
            return Err(TooMuch.into());
        }
        let judging = Judging {
            judge,
            user_agent: Some(behalf.service),
        };
        let input = Input {
            doc: input,
            typing: Typing::Typed,
            refuse_unknown: true,
            shaping: Shaping::Plain,
            checks: self.checks(),
            is_valid_first: self.is_valid_first,
        };
        let call = registered.call.call(Some(judging), caller, input);
        let span = tracing::error_span!(
            "call",
            request.id = caller.request_id,
            service = self.info().signing_name,
            region = caller.region,
            principal.arn = caller.principal.arn,
            operation = registered.name,
        );
        let output = behalf
            .calling(call)
            .instrument(span)
            .await
            .map_err(|refusal| self.errors.error(refusal, protocol))?;
        Ok(output.doc)
    }
}
