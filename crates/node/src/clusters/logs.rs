//! Logs of a control plane on their way to its log group.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use lath_feed::telemetry::{LogLines, Sink};
use lath_feed::{ClusterLog, ControlPlane};
use lath_instance::Instances;
use lath_kubernetes::control_plane::log_name;
use lath_model::{Timestamp, WorkloadId};
use sha2::{Digest as _, Sha256};

/// Bytes of one log that are read at once.
const AT_ONCE: usize = 256 << 10;
/// The longest line, in bytes: CloudWatch Logs takes no longer event.
const LONGEST_LINE: usize = 256 << 10;

/// How far the logs of a control plane were read. What was written while no node lived is not shipped.
#[derive(Default)]
pub(super) struct Logs {
    tails: BTreeMap<ClusterLog, Tail>,
    /// Whether they were looked at before: what was there then is older.
    begun: bool,
}

#[derive(Default)]
struct Tail {
    file: Option<File>,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Logs {
    /// Ships what was written since the last time, and what the webhook decided.
    pub(super) async fn ship(
        &mut self,
        (instances, sink): (&Instances, &dyn Sink),
        plane: &ControlPlane,
        decisions: Vec<String>,
    ) {
        self.tails.retain(|log, _| plane.logging.contains(log));
        let mut tails = std::mem::take(&mut self.tails);
        for log in &plane.logging {
            tails.entry(*log).or_default();
        }
        let (instances, id) = (instances.clone(), WorkloadId::Managed(plane.id.clone()));
        let is_first = !std::mem::replace(&mut self.begun, true);
        let read = tokio::task::spawn_blocking(move || {
            let mut lines = BTreeMap::new();
            for (log, tail) in &mut tails {
                lines.insert(*log, tail.read(&instances, &id, *log, is_first));
            }
            (tails, lines)
        });
        // A panic has been reported.
        let Ok((tails, mut lines)) = read.await else {
            return;
        };
        self.tails = tails;
        if let Some(lines) = lines.get_mut(&ClusterLog::Authenticator) {
            *lines = decisions;
        }
        for (log, lines) in lines.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            sink.log_lines(LogLines {
                group: format!("/aws/eks/{}/cluster", plane.name),
                stream: format!("{}-{}", log_name(log), suffix(plane)),
                at: Timestamp::now(),
                lines,
            });
        }
    }
}

/// What tells the streams of one life of a cluster from those of another.
fn suffix(plane: &ControlPlane) -> String {
    let digest = Sha256::digest(format!("{} {}", plane.arn, plane.keys.authority));
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Tail {
    fn read(
        &mut self,
        instances: &Instances,
        id: &WorkloadId,
        log: ClusterLog,
        is_first: bool,
    ) -> Vec<String> {
        // What the webhook writes is no file.
        if log == ClusterLog::Authenticator {
            return Vec::new();
        }
        let newest = instances.open_log(id, log_name(log)).ok();
        if self.file.is_none() {
            self.file = newest;
            if let (Some(file), true) = (&mut self.file, is_first) {
                // Where it cannot be sought it is read from its beginning.
                drop(file.seek(SeekFrom::End(0)));
            }
            return self.advance();
        }
        let lines = self.advance();
        let inode = |file: &File| file.metadata().map(|it| it.ino()).ok();
        let is_renewed = match (&self.file, &newest) {
            (Some(old), Some(new)) => inode(old) != inode(new),
            _ => false,
        };
        if is_renewed && lines.is_empty() {
            // The old one was read to its end.
            self.file = newest;
            self.rest.clear();
            return self.advance();
        }
        lines
    }

    fn advance(&mut self) -> Vec<String> {
        let Some(file) = &mut self.file else {
            return Vec::new();
        };
        let mut bytes = vec![0; AT_ONCE];
        let Ok(count) = file.read(&mut bytes) else {
            return Vec::new();
        };
        lines(&mut self.rest, &bytes[..count])
    }
}

/// The lines that are complete with those bytes.
fn lines(rest: &mut Vec<u8>, bytes: &[u8]) -> Vec<String> {
    rest.extend_from_slice(bytes);
    let whole = match rest.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        // A line without an end is cut.
        None if rest.len() > LONGEST_LINE => rest.len(),
        None => return Vec::new(),
    };
    let complete: Vec<u8> = rest.drain(..whole).collect();
    let lines = complete.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shipped_whole() {
        let mut rest = Vec::new();
        assert_eq!(lines(&mut rest, b"one\ntw"), ["one"]);
        assert_eq!(lines(&mut rest, b"o\n\nthree\n"), ["two", "three"]);
        assert_eq!(lines(&mut rest, b""), [""; 0]);
        assert_eq!(
            lines(&mut rest, &vec![b'x'; LONGEST_LINE + 1])[0].len(),
            LONGEST_LINE
        );
        assert!(rest.is_empty());
    }
}
