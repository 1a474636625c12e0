//! Watches: the changes of a list, as the API server sends them, one JSON object to a line.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, ClientError, PATIENCE, refusal, unreachable_by};

/// The longest line, in bytes: etcd takes objects of 1.5 MiB, which JSON makes up to six times as long.
const LONGEST: usize = 16 << 20;
/// How long a watch lives; its user begins the next one.
const LIFE: Duration = Duration::from_secs(300);
/// How long no line may come: bookmarks come about every minute.
const SILENCE: Duration = Duration::from_secs(150);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeKind {
    /// It is there, or is one that the watch selects, from now on.
    Added,
    /// It is another now.
    Modified,
    /// It is gone, or is none that the watch selects any more.
    Deleted,
    /// Nothing: the object has only the version up to which the watch has told everything.
    Bookmark,
}

/// A change of a list.
#[derive(Debug, Deserialize)]
pub struct Change<T> {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// The object afterwards; one that is gone as it was last.
    pub object: T,
}

/// The changes of a list, on a connection of their own.
pub struct Changes {
    body: Incoming,
    lines: Lines,
    _connection: SendRequest<Full<Bytes>>,
}

impl Client {
    /// The changes of the list at `path` (with `?` and its selectors) from a version of it on.
    ///
    /// # Errors
    /// When the API server cannot be reached, or refuses.
    pub async fn watch(&self, path: &str, version: &str) -> Result<Changes, ClientError> {
        let seconds = LIFE.as_secs();
        let more = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}");
        let request = Request::get(format!("{path}&{more}&resourceVersion={version}"))
            .header(HOST, "kubernetes")
            .header(ACCEPT, "application/json")
            .body(Full::default())
            .map_err(|error| unreachable_by(&error))?;
        let begun = async {
            let mut connection = self.connect().await?;
            let answer = connection.send_request(request).await;
            let (head, body) = answer.map_err(|error| unreachable_by(&error))?.into_parts();
            if head.status.is_success() {
                return Ok(Changes {
                    body,
                    lines: Lines::default(),
                    _connection: connection,
                });
            }
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| ClientError::Unreachable(error.to_string()))?;
            Err(refusal(head.status, &body.to_bytes()))
        };
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        begun.unwrap_or_else(|_| Err(ClientError::Unreachable("it does not answer".to_owned())))
    }
}

impl Changes {
    /// The next change, or none when the watch has come to its end and the next one can begin.
    ///
    /// # Errors
    /// When the API server is gone, says that the watch cannot go on, or sends what is no change. Its user lists anew.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Change<T>>, ClientError> {
        loop {
            if let Some(line) = self.lines.next() {
                return parsed(&line).map(Some);
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| ClientError::Unreachable("it is silent".to_owned()))?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| unreachable_by(&error))?;
            self.lines.push(frame.data_ref().map_or(&[], |it| it))?;
        }
    }
}

fn parsed<T: DeserializeOwned>(line: &[u8]) -> Result<Change<T>, ClientError> {
    serde_json::from_slice(line).map_err(|error| {
        // The object of an error is a Status.
        let said: Result<Failed, _> = serde_json::from_slice(line);
        match said {
            Ok(Failed::Error(status)) => {
                let code = StatusCode::from_u16(status.code);
                ClientError::Refused {
                    status: code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    message: status.message.chars().take(512).collect(),
                }
            }
            Err(_) => unreachable_by(&error),
        }
    })
}

/// What a watch ends with that cannot go on.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Failed {
    Error(Status),
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Status {
    code: u16,
    message: String,
}

/// Bytes that become lines.
#[derive(Default)]
struct Lines {
    read: BytesMut,
    /// How much of it has no end of a line.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.read.len() + bytes.len() > LONGEST {
            return Err(ClientError::TooLarge);
        }
        self.read.extend_from_slice(bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<Bytes> {
        let new = &self.read[self.searched..];
        let Some(end) = new.iter().position(|it| *it == b'\n') else {
            self.searched = self.read.len();
            return None;
        };
        let line = self.read.split_to(self.searched + end + 1);
        self.searched = 0;
        Some(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::Value;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"{\"type\":\"ADDED\",\"object\":1}\n{\"type\":\"BOOKMARK\",\"object\":2}\n{";
        for step in 1..text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in text.chunks(step) {
                lines.push(piece).unwrap();
                while let Some(line) = lines.next() {
                    let change: Change<Value> = serde_json::from_slice(&line).unwrap();
                    seen.push((change.kind, change.object));
                }
            }
            let want = [
                (ChangeKind::Added, 1.into()),
                (ChangeKind::Bookmark, 2.into()),
            ];
            assert_eq!(seen, want, "pieces of {step}");
        }
    }

    #[test]
    fn a_watch_that_cannot_go_on_says_why() {
        let line = br#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old","code":410}}"#;
        let error = parsed::<Value>(line).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the API server answers 410 Gone: too old"
        );
        for line in [
            "",
            "{}",
            r#"{"type":"ELSE","object":{}}"#,
            r#"{"type":"ERROR"}"#,
        ] {
            let error = parsed::<Value>(line.as_bytes()).unwrap_err();
            assert!(
                matches!(error, ClientError::Unreachable(_)),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_too_large() {
        let mut lines = Lines::default();
        let piece = vec![b' '; LONGEST / 2 + 1];
        lines.push(&piece).unwrap();
        assert!(matches!(lines.push(&piece), Err(ClientError::TooLarge)));
    }
}
