//! An operation bound to its handler, its types erased.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::constraint::Checks;
use crate::decode::{Typing, decode_held};
use crate::encode::{Shaping, encode};
use crate::path::Template;
use crate::shape::Shape;
use crate::{
    ApiError, Ask, Authorize, Caller, DecodeError, Denied, Doc, Handle, Operation, Permissions,
    Problem, Problems, Raw, Route, Stated,
};

/// An operation in the registry.
pub(crate) struct Registered {
    pub(crate) name: &'static str,
    pub(crate) route: Option<Route>,
    pub(crate) unsigned: bool,
    pub(crate) template: Option<Template>,
    pub(crate) payload: Option<&'static str>,
    pub(crate) from_headers: &'static [&'static str],
    pub(crate) call: Arc<dyn Call>,
    pub(crate) input: fn() -> Shape,
    pub(crate) output: fn() -> Shape,
    pub(crate) refused: fn() -> Vec<String>,
    pub(crate) stated: fn() -> Vec<Stated>,
}

/// Who decides on a call, and what it needs to know beside the caller.
#[derive(Clone, Copy)]
pub(crate) struct Judging<'a> {
    pub(crate) judge: &'a dyn Authorize,
    pub(crate) user_agent: Option<&'a str>,
}

/// A call's input, and how its output shall look.
pub(crate) struct Input {
    pub(crate) doc: Doc,
    pub(crate) typing: Typing,
    /// Whether unknown members are an error (EC2).
    pub(crate) refuse_unknown: bool,
    pub(crate) shaping: Shaping,
    /// What the values are held to.
    pub(crate) checks: Option<Arc<Checks>>,
    /// Whether the service says what is wrong before it judges the caller.
    pub(crate) is_valid_first: bool,
}

/// A call's output.
pub(crate) struct Output {
    pub(crate) doc: Doc,
    /// What is answered in its place, where that is no structure.
    pub(crate) raw: Option<Raw>,
    /// What of it travels as headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// [`Operation::is_unsettled`].
    pub(crate) is_unsettled: bool,
}

/// Why a call did not give an output.
pub(crate) enum CallError {
    /// The input does not fit the operation.
    Misfit(DecodeError),
    /// The input has members that the operation does not know.
    Unknown(String),
    /// The input fits, but breaks constraints.
    Invalid(Vec<Problem>),
    /// The caller may not.
    Denied(Denied),
    /// The handler's own error.
    Api(ApiError),
}

/// A handler without its types.
pub(crate) trait Call: Send + Sync {
    fn call<'a>(
        &'a self,
        judging: Option<Judging<'a>>,
        caller: &'a Caller,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, CallError>>;
}

pub(crate) struct Bound<Op, App> {
    app: Arc<App>,
    operation: PhantomData<fn(Op)>,
}

impl<Op, App> Bound<Op, App> {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self {
            app,
            operation: PhantomData,
        }
    }
}

impl<Op: Operation, App: Handle<Op> + Permissions<Op>> Call for Bound<Op, App> {
    fn call<'a>(
        &'a self,
        judging: Option<Judging<'a>>,
        caller: &'a Caller,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, CallError>> {
        async move {
            let (shaping, is_valid_first) = (input.shaping, input.is_valid_first);
            let (operation, mut problems): (Op, _) = decoded(input)?;
            if is_valid_first {
                check(&operation, std::mem::take(&mut problems))?;
            }
            if let Some(judging) = judging {
                self.allowed(judging, caller, &operation)?;
            }
            if !is_valid_first {
                check(&operation, problems)?;
            }
            let output = self
                .app
                .handle(caller, operation)
                .await
                .map_err(CallError::Api)?;
            let raw = Op::raw(&output);
            let doc = match raw {
                Some(_) => Doc::Null,
                None => encode(&output, shaping)
                    .map_err(|error| CallError::Api(ApiError::internal(error)))?,
            };
            Ok(Output {
                doc,
                raw,
                headers: Op::headers(&output),
                is_unsettled: Op::is_unsettled(&output),
            })
        }
        .boxed()
    }
}

impl<Op: Operation, App: Permissions<Op>> Bound<Op, App> {
    fn allowed(&self, judging: Judging<'_>, caller: &Caller, op: &Op) -> Result<(), CallError> {
        let permissions = self.app.permissions(caller, op);
        let permissions = permissions.map_err(|error| CallError::Api(error.into()))?;
        let ask = Ask {
            caller,
            user_agent: judging.user_agent,
            operation: Op::NAME,
            permissions: &permissions,
        };
        judging.judge.authorize(&ask).map_err(CallError::Denied)
    }
}

fn decoded<Op: Operation>(input: Input) -> Result<(Op, Vec<Problem>), CallError> {
    let held = input.checks.as_deref();
    let held = held.map(|checks| (checks, checks.input(Op::NAME)));
    let decoded = decode_held::<Op>(input.doc, input.typing, held).map_err(CallError::Misfit)?;
    if input.refuse_unknown
        && let Some(unknown) = decoded.ignored.into_iter().next()
    {
        return Err(CallError::Unknown(unknown));
    }
    Ok((decoded.value, decoded.problems))
}

/// Adds what the operation knows of its values to what broke the table.
fn check<Op: Operation>(op: &Op, broken: Vec<Problem>) -> Result<(), CallError> {
    let mut problems = Problems::from(broken);
    op.validate(&mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(CallError::Invalid(problems.into_vec()))
    }
}

/// Puts path labels and query parameters among the body's members: labels win over query parameters,
/// both win over the body.
pub(crate) fn joined(
    body: Doc,
    query: Vec<(String, Doc)>,
    labels: BTreeMap<&'static str, String>,
) -> Doc {
    let Doc::Map(mut members) = body else {
        return body;
    };
    let labels = labels
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Doc::Text(text)));
    for (name, doc) in query.into_iter().chain(labels) {
        members.retain(|(given, _)| *given != name);
        members.push((name, doc));
    }
    Doc::Map(members)
}
