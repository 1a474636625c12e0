//! The registry: a service is a list of operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Handle, Operation, Route};

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
    operations: BTreeMap<&'static str, Option<Route>>,
}

impl Service {
    /// A service without operations.
    pub fn new(info: ServiceInfo) -> Self {
        Self {
            info,
            operations: BTreeMap::new(),
        }
    }

    /// What identifies the service on the wire.
    pub fn info(&self) -> &ServiceInfo {
        &self.info
    }

    /// Registers an operation and who handles it.
    #[must_use]
    pub fn on<Op: Operation>(mut self, _app: &Arc<impl Handle<Op>>) -> Self {
        self.operations.insert(Op::NAME, Op::ROUTE);
        self
    }
}
