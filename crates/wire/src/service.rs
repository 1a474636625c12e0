//! The registry: a service is a list of operations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::bound::{Bound, Registered};
use crate::constraint::{Checks, Constraints};
use crate::fault_style::ErrorStyle;
use crate::moment::TimeFormat;
use crate::path::Template;
use crate::{Handle, Operation, Permissions, Route, Shape, Stated};

/// A wire protocol that a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Form in, flat XML out.
    Ec2Query,
    /// Form in, wrapped XML out.
    Query,
    /// JSON with paths and verbs.
    RestJson,
    /// XML with paths and verbs.
    RestXml,
    /// JSON 1.0 with `X-Amz-Target`.
    Json10,
    /// JSON 1.1 with `X-Amz-Target`.
    Json11,
    /// Smithy RPC v2 CBOR.
    RpcV2Cbor,
}

/// What identifies a service on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The signing name in the credential scope, such as `vpc-lattice`, `ec2`, `monitoring`, `logs`.
    pub signing_name: &'static str,
    /// botocore's directory name of the model, such as `vpc-lattice`, `ec2`, `cloudwatch`, `logs`.
    pub model: &'static str,
    /// The API version, such as `2016-11-15`.
    pub version: &'static str,
    /// The XML namespace, for the XML protocols; otherwise empty.
    pub xmlns: &'static str,
    /// The prefix of `X-Amz-Target` without the dot, for the JSON protocols; otherwise empty.
    pub target_prefix: &'static str,
    /// Every protocol the service answers; the first one is assumed when a request does not tell.
    pub protocols: &'static [Protocol],
}

/// A service: its operations by name.
pub struct Service {
    info: ServiceInfo,
    operations: BTreeMap<&'static str, Registered>,
    rest_times: TimeFormat,
    pub(crate) errors: ErrorStyle,
    checks: Option<Arc<Checks>>,
    pub(crate) is_valid_first: bool,
}

/// What an operation is by its Rust types: the shapes of its request and of its answer, which are found out when asked for.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// The operation's name.
    pub name: &'static str,
    /// Where it lives, in the REST protocols.
    pub route: Option<Route>,
    /// The shape of its request.
    pub input: fn() -> Shape,
    /// The shape of its answer.
    pub output: fn() -> Shape,
    /// [`Operation::refused`].
    pub refused: fn() -> Vec<String>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("info", &self.info)
            .field("operations", &self.operations.keys())
            .finish_non_exhaustive()
    }
}

impl Service {
    /// A service without operations.
    pub fn new(info: ServiceInfo) -> Self {
        Self {
            info,
            operations: BTreeMap::new(),
            rest_times: rest_times(info.model),
            errors: ErrorStyle::of(&info),
            checks: None,
            is_valid_first: false,
        }
    }

    /// What identifies the service on the wire.
    pub fn info(&self) -> &ServiceInfo {
        &self.info
    }

    /// Registers an operation and who handles it.
    #[must_use]
    pub fn on<Op: Operation>(mut self, app: &Arc<impl Handle<Op> + Permissions<Op>>) -> Self {
        let registered = Registered {
            name: Op::NAME,
            route: Op::ROUTE,
            unsigned: Op::UNSIGNED,
            template: Op::ROUTE.as_ref().map(Template::of),
            payload: Op::PAYLOAD,
            from_headers: Op::FROM_HEADERS,
            call: Arc::new(Bound::new(Arc::clone(app))),
            input: crate::describe::<Op>,
            output: crate::describe::<Op::Output>,
            refused: Op::refused,
            stated: stated_by::<Op, _>(app),
        };
        self.operations.insert(Op::NAME, registered);
        self
    }

    /// Chooses how timestamps of rest-json replies are printed, where the model says otherwise than the
    /// protocol's default, seconds since the epoch. (VPC Lattice is known.)
    #[must_use]
    pub fn with_rest_timestamps(mut self, times: TimeFormat) -> Self {
        self.rest_times = times;
        self
    }

    /// Chooses the codes that decoding and validation answer, where a service differs from its
    /// protocol's usual ones.
    #[must_use]
    pub fn with_error_style(mut self, errors: ErrorStyle) -> Self {
        self.errors = errors;
        self
    }

    /// Holds requests to what the service's model says of their values: a table that `cargo xtask constraints` wrote.
    #[must_use]
    pub fn held_to(mut self, table: &'static Constraints) -> Self {
        self.checks = Some(Arc::new(Checks::new(table)));
        self
    }

    /// Tells what is wrong with a request before the caller's permissions are judged (STS). Other services judge first.
    #[must_use]
    pub fn validating_first(mut self) -> Self {
        self.is_valid_first = true;
        self
    }

    pub(crate) fn checks(&self) -> Option<Arc<Checks>> {
        self.checks.clone()
    }

    /// The names of all registered operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.operations.keys().copied()
    }

    /// What a registered operation states of the permissions that it needs.
    pub fn stated(&self, operation: &str) -> Vec<Stated> {
        self.operations
            .get(operation)
            .map_or_else(Vec::new, |registered| (registered.stated)())
    }

    /// Where a registered REST operation lives.
    pub fn route(&self, operation: &str) -> Option<Route> {
        self.operations.get(operation)?.route
    }

    /// Whether the operation is registered.
    pub fn has(&self, operation: &str) -> bool {
        self.operations.contains_key(operation)
    }

    /// Whether a registered operation takes requests without a signature.
    pub fn takes_unsigned(&self, operation: &str) -> bool {
        self.named(operation).is_some_and(|it| it.unsigned)
    }

    /// Whether a registered REST operation lives at this path.
    pub fn has_route(&self, method: &str, path: &str) -> bool {
        self.routed(method, path).is_some()
    }

    /// What a registered operation is by its types.
    pub fn describe(&self, operation: &str) -> Option<Description> {
        let registered = self.named(operation)?;
        Some(Description {
            name: registered.name,
            route: registered.route,
            input: registered.input,
            output: registered.output,
            refused: registered.refused,
        })
    }

    pub(crate) fn named(&self, operation: &str) -> Option<&Registered> {
        self.operations.get(operation)
    }

    /// The operation at a REST path, with the path's labels.
    pub(crate) fn routed(
        &self,
        method: &str,
        path: &str,
    ) -> Option<(&Registered, BTreeMap<&'static str, String>)> {
        self.operations
            .values()
            .filter_map(|operation| {
                let template = operation.template.as_ref()?;
                let labels = template.labels(method, path)?;
                Some((template.rank(), operation, labels))
            })
            .min_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, operation, labels)| (operation, labels))
    }

    /// How timestamps are printed in a protocol of this service.
    pub fn times(&self, protocol: Protocol) -> TimeFormat {
        match protocol {
            Protocol::Ec2Query => TimeFormat::Iso8601Millis,
            Protocol::Query | Protocol::RestXml => TimeFormat::Iso8601,
            Protocol::RestJson => self.rest_times,
            Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => TimeFormat::EpochSeconds,
        }
    }
}

fn stated_by<Op: Operation, App: Permissions<Op>>(_app: &Arc<App>) -> fn() -> Vec<Stated> {
    App::stated
}

/// The `timestampFormat` of the models' shapes.
fn rest_times(model: &str) -> TimeFormat {
    match model {
        "vpc-lattice" => TimeFormat::Iso8601Millis,
        _ => TimeFormat::EpochSeconds,
    }
}
