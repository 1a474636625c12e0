//! An operation bound to its handler, its types erased.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::decode::{Typing, decode};
use crate::encode::{Shaping, encode};
use crate::path::Template;
use crate::shape::Shape;
use crate::{ApiError, Caller, DecodeError, Doc, Handle, Operation, Problem, Problems, Route};

/// An operation in the registry.
pub(crate) struct Registered {
    pub(crate) name: &'static str,
    pub(crate) route: Option<Route>,
    pub(crate) template: Option<Template>,
    pub(crate) call: Arc<dyn Call>,
    pub(crate) input: fn() -> Shape,
    pub(crate) output: fn() -> Shape,
    pub(crate) refused: fn() -> Vec<String>,
    /// What its input's members are called, once asked for; `None` where it takes any.
    pub(crate) members: OnceLock<Option<Vec<&'static str>>>,
}

impl Registered {
    /// What the operation reads of an input. Whoever decides by an input must not be led by members that the
    /// handler will not look at, such as the ARN of something else.
    pub(crate) fn read_of<'a>(&self, doc: &'a Doc) -> Cow<'a, Doc> {
        let known = self.members.get_or_init(|| names((self.input)()));
        let (Some(known), Doc::Map(members)) = (known, doc) else {
            return Cow::Borrowed(doc);
        };
        let is_read = |(name, _): &&(String, Doc)| known.contains(&name.as_str());
        if members.iter().all(|member| is_read(&member)) {
            return Cow::Borrowed(doc);
        }
        Cow::Owned(Doc::Map(members.iter().filter(is_read).cloned().collect()))
    }
}

fn names(shape: Shape) -> Option<Vec<&'static str>> {
    match shape {
        Shape::Struct { members, .. } => Some(members.iter().map(|it| it.name).collect()),
        Shape::Unit => Some(Vec::new()),
        _ => None,
    }
}

/// A call's input, and how its output shall look.
pub(crate) struct Input {
    pub(crate) doc: Doc,
    pub(crate) typing: Typing,
    /// Whether unknown members are an error (EC2).
    pub(crate) refuse_unknown: bool,
    pub(crate) shaping: Shaping,
}

/// A call's output.
pub(crate) struct Output {
    pub(crate) doc: Doc,
    /// What of it travels as headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Why a call did not give an output.
pub(crate) enum Refusal {
    /// The input does not fit the operation.
    Misfit(DecodeError),
    /// The input has members that the operation does not know.
    Unknown(String),
    /// The input fits, but breaks constraints.
    Invalid(Vec<Problem>),
    /// The handler's own error.
    Api(ApiError),
}

/// A handler without its types.
pub(crate) trait Call: Send + Sync {
    fn call<'a>(
        &'a self,
        caller: &'a Caller,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, Refusal>>;
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

impl<Op: Operation, App: Handle<Op>> Call for Bound<Op, App> {
    fn call<'a>(
        &'a self,
        caller: &'a Caller,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, Refusal>> {
        async move {
            let shaping = input.shaping;
            let operation: Op = checked(input)?;
            let output = self
                .app
                .handle(caller, operation)
                .await
                .map_err(Refusal::Api)?;
            let doc = encode(&output, shaping)
                .map_err(|error| Refusal::Api(ApiError::internal(error)))?;
            let headers = Op::headers(&output);
            Ok(Output { doc, headers })
        }
        .boxed()
    }
}

fn checked<Op: Operation>(input: Input) -> Result<Op, Refusal> {
    let decoded = decode::<Op>(input.doc, input.typing).map_err(Refusal::Misfit)?;
    if input.refuse_unknown
        && let Some(unknown) = decoded.ignored.into_iter().next()
    {
        return Err(Refusal::Unknown(unknown));
    }
    let mut problems = Problems::default();
    decoded.value.validate(&mut problems);
    if problems.is_empty() {
        Ok(decoded.value)
    } else {
        Err(Refusal::Invalid(problems.into_vec()))
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
