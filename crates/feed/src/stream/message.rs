//! What the two ends say to one another.

use std::sync::Arc;

use lath_model::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::{Delta, Report};
use crate::telemetry::{AccessLog, LogLines, MetricSample};
use crate::{ConsoleOutput, Invocation, Invoked, NodeId, Observed};

/// From control to the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Down {
    Snapshot(Box<Delta>),
    Ask {
        number: u64,
        question: Question,
    },
    /// The newest [`Up::Telemetry`] was: the next one may come.
    Taken,
}

/// From the node to control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Up {
    /// First of all: whose node it is.
    Hello {
        region: String,
        /// Which of the region's nodes. A version that had one in each region does not say it.
        #[serde(default)]
        node: NodeId,
    },
    Observed(Arc<Observed>),
    /// What changed since what was said last over this connection.
    Changed(Box<Report>),
    Telemetry(Vec<Event>),
    Answer {
        number: u64,
        answer: Answer,
    },
}

/// [`Up::Telemetry`] of events that must not be lost when they cannot be sent: it is written the same.
#[derive(Debug, Serialize)]
pub(crate) enum UpRef<'a> {
    Telemetry(&'a [Event]),
}

/// What control asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    Console(InstanceId),
    Metrics,
    Invoke(Box<Invocation>),
}

/// What the node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Console(Option<ConsoleOutput>),
    Metrics(String),
    /// `None`: this node runs no functions.
    Invoked(Option<Invoked>),
}

/// What a node measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    AccessLog(Box<AccessLog>),
    Metric(Box<MetricSample>),
    LogLines(Box<LogLines>),
}

/// About how many bytes an event takes without its texts.
const FIXED: usize = 1024;

impl Event {
    /// About how many bytes it takes, in memory and on its way.
    pub(crate) fn weight(&self) -> usize {
        let texts = match self {
            Self::AccessLog(record) => {
                let texts = [&record.method, &record.path, &record.request_id];
                let optional = [&record.host, &record.user_agent, &record.server_name];
                let caller = [&record.resolved_user, &record.caller_principal];
                let optional = optional.into_iter().chain(caller).flatten();
                let tags = record.caller_tags.iter();
                let tags = tags.map(|(key, value)| key.len() + value.len());
                let named = record.destinations.iter().chain(texts).chain(optional);
                named.map(String::len).chain(tags).sum()
            }
            Self::Metric(sample) => {
                let dimensions = sample.dimensions.iter();
                let named = dimensions.map(|(name, value)| name.len() + value.len());
                named.sum::<usize>() + sample.values.len() * size_of::<(f64, f64)>()
            }
            // An empty line takes room as well.
            Self::LogLines(lines) => lines.lines.iter().map(|line| line.len() + 32).sum(),
        };
        FIXED + texts
    }
}
