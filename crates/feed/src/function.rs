//! Functions: what a node must be ready to run, what it sees of them, and their invocations.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Condition, Hidden, TemporaryKeys};

/// A function of Lambda, as the node that runs it needs it. Its code is a file of the region's data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its ARN, without a qualifier.
    pub arn: String,
    /// Tells it from an earlier function of the same name.
    pub unique_id: String,
    /// Grows with each change of code or configuration that its processes see.
    pub revision: u64,
    /// Such as `provided.al2023` or `python3.12`.
    pub runtime: String,
    /// The method that a managed runtime calls; a custom one reads it as it likes.
    pub handler: String,
    /// The SHA-256 of its archive, in hexadecimal digits: the name of the file.
    pub code: String,
    /// Memory of one environment, in MiB.
    pub memory_mib: u32,
    /// How long an invocation may take, in seconds.
    pub timeout_seconds: u32,
    /// Environment variables.
    pub environment: BTreeMap<String, Hidden>,
    /// The log group of its output.
    pub log_group: String,
    /// How many invocations there may be at once; `None`: what the account has left.
    pub reserved_concurrency: Option<u32>,
    /// Keys of a session of its role; `None` while there are none.
    pub keys: Option<TemporaryKeys>,
}

/// The limits of an account's functions in a region, of which all nodes and the API speak alike.
pub mod function_limits {
    /// Invocations at once of all functions.
    pub const CONCURRENT: u32 = 200;
    /// Of those, what cannot be reserved for single functions
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>).
    pub const UNRESERVED: u32 = 100;
    /// The longest event and the longest answer, in bytes
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
    pub const PAYLOAD: usize = 6 * 1024 * 1024;
    /// The longest archive that is uploaded with a request, in bytes.
    pub const ZIPPED: usize = 50 * 1024 * 1024;
    /// The most that it may unpack to, in bytes.
    pub const UNZIPPED: u64 = 250 * 1024 * 1024;
}

/// Where a region's data directory has the archives of functions, by their SHA-256.
pub const FUNCTION_ARCHIVES: &str = "functions/archives";

/// A function as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionObserved {
    /// [`Function::unique_id`] of what it saw.
    pub unique_id: String,
    /// The revision that this is about.
    pub revision: u64,
    /// Whether its code is unpacked and its runtime is there.
    pub condition: Condition,
}

/// One invocation of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The function's name.
    pub function: String,
    /// The request's id, of which the logs speak.
    pub request_id: String,
    /// The event.
    pub payload: Hidden,
    /// The caller's context, as it came (base64).
    pub client_context: Option<String>,
    /// Whether the answer has the end of the log.
    pub wants_log: bool,
}

/// What became of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Invoked {
    /// The function answered, or failed.
    Answered {
        /// What it answered, or how it failed.
        payload: String,
        /// Whether this is a failure: then `payload` has `errorMessage`.
        failed: bool,
        /// The newest 4 KiB of the log, where it was wanted.
        log: Option<Vec<u8>>,
    },
    /// Too many invocations are on their way.
    Throttled {
        /// Of this function, for which concurrency is reserved; else of the account.
        reserved: bool,
    },
    /// The node has no such function, or cannot run it.
    NotReady {
        /// In words a user can act on.
        reason: String,
    },
}

/// Runs functions.
#[async_trait]
pub trait Invoke: Send + Sync + 'static {
    /// Runs a function once, to its end. One whose caller does not wait any more runs on.
    async fn invoke(&self, invocation: Invocation) -> Invoked;
}
