//! How functions fail, in Lambda's words.

use lath_feed::Invoked;
use lath_model::Timestamp;
use serde_json::json;

/// A failure that Lambda tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The payload: JSON.
    pub(crate) payload: String,
    /// What the log says of it.
    pub(crate) said: Option<String>,
}

impl Failure {
    fn of(kind: &str, request: &str, text: &str) -> Self {
        let message = format!("RequestId: {request} Error: {text}");
        Self {
            payload: json!({ "errorType": kind, "errorMessage": message }).to_string(),
            said: Some(message),
        }
    }

    /// The function took longer than it may.
    pub(crate) fn timeout(request: &str, seconds: u32, now: Timestamp) -> Self {
        let text = format!("Task timed out after {seconds}.00 seconds");
        Self {
            said: Some(format!("{} {request} {text}", now.iso8601_millis())),
            ..Self::of("Sandbox.Timedout", request, &text)
        }
    }

    /// The program ended. `status` as shells give it.
    pub(crate) fn exit(request: &str, status: Option<i32>) -> Self {
        let text = match status {
            Some(0) | None => "Runtime exited without providing a reason".to_owned(),
            Some(status) => match signal(status) {
                Some(name) => format!("Runtime exited with error: signal: {name}"),
                None => format!("Runtime exited with error: exit status {status}"),
            },
        };
        Self::of("Runtime.ExitError", request, &text)
    }

    /// The program asked for another event in the middle of this one.
    pub(crate) fn unanswered(request: &str) -> Self {
        let text = "the runtime asked for the next event without an answer to this one";
        Self::of("Runtime.InvalidResponse", request, text)
    }

    /// The answer is too long.
    pub(crate) fn too_long(most: usize) -> Self {
        let text =
            format!("Response payload size exceeded maximum allowed payload size ({most} bytes).");
        Self {
            payload: json!({ "errorType": "Function.ResponseSizeTooLarge", "errorMessage": text })
                .to_string(),
            said: None,
        }
    }

    /// The answer is no text.
    pub(crate) fn no_text(request: &str) -> Self {
        let text = "the response is not valid UTF-8";
        Self::of("Runtime.InvalidResponse", request, text)
    }

    /// What the program itself said of its failure.
    pub(crate) fn reported(payload: String) -> Self {
        Self {
            payload,
            said: None,
        }
    }

    pub(crate) fn answer(self, log: Option<Vec<u8>>) -> Invoked {
        Invoked::Answered {
            payload: self.payload,
            failed: true,
            log,
        }
    }
}

/// The signal that ended a program, as Go names it.
fn signal(status: i32) -> Option<&'static str> {
    match status - 128 {
        1 => Some("hangup"),
        2 => Some("interrupt"),
        4 => Some("illegal instruction"),
        6 => Some("aborted"),
        7 => Some("bus error"),
        8 => Some("floating point exception"),
        9 => Some("killed"),
        11 => Some("segmentation fault"),
        13 => Some("broken pipe"),
        15 => Some("terminated"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_end_in_lambdas_words() {
        for (status, want) in [
            (Some(1), "Runtime exited with error: exit status 1"),
            (Some(137), "Runtime exited with error: signal: killed"),
            (Some(0), "Runtime exited without providing a reason"),
        ] {
            let failure = Failure::exit("r", status);
            let want = format!(
                r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r Error: {want}"}}"#
            );
            assert_eq!(failure.payload, want);
        }
        let late = Failure::timeout("r", 3, Timestamp::from_millis(0));
        let said = "1970-01-01T00:00:00.000Z r Task timed out after 3.00 seconds";
        assert_eq!(late.said.as_deref(), Some(said));
        assert!(late.payload.contains("Task timed out after 3.00 seconds"));
    }
}
