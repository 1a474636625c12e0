//! Logs of a control plane on their way to its log group.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lath_clock::Clock;
use lath_feed::telemetry::{LogLines, Sink};
use lath_feed::{ClusterLog, ControlPlane};
use lath_instance::Instances;
use lath_kubernetes::control_plane::log_name;
use lath_kubernetes::pki;
use lath_model::WorkloadId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of one log that are read at once.
const AT_ONCE: usize = 256 << 10;
/// The longest line, in bytes: CloudWatch Logs takes no longer event.
const LONGEST_LINE: usize = 256 << 10;
/// The directory of a control plane's logs, where it is kept how far they were shipped.
const DIRECTORY: &str = "/var/log";
/// The file that says so.
const POSITIONS: &str = "shipped.json";
/// It is shorter.
const LONGEST_POSITIONS: u64 = 4096;
/// What is shipped in the place of lines that are gone.
const MISSING: &str = "level=warning msg=\"lines are missing here: this log was renewed more than once while Lath was down\"";
/// Those that are files: what the webhook decides is none.
const FILES: [ClusterLog; 4] = [
    ClusterLog::Api,
    ClusterLog::Audit,
    ClusterLog::ControllerManager,
    ClusterLog::Scheduler,
];

/// How far the logs of a control plane were shipped. A log that is switched off moves on too: what it holds when it is
/// switched on is older than that.
#[derive(Default)]
pub(super) struct Logs {
    tails: BTreeMap<&'static str, Tail>,
    /// What the file holds; `None` until it was read.
    kept: Option<Positions>,
}

/// By name of a log.
type Positions = BTreeMap<String, Position>;

/// The next byte of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    inode: u64,
    offset: u64,
}

#[derive(Default)]
struct Tail {
    file: Option<File>,
    /// How far the file was read.
    read: u64,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Logs {
    /// Ships what was written since the last time, and what the webhook decided. A process that is killed before it has
    /// kept how far it came ships the last second's lines again; none is lost.
    pub(super) async fn ship(
        &mut self,
        (instances, sink, clock): (&Instances, &dyn Sink, &Clock),
        plane: &ControlPlane,
        decisions: Vec<String>,
    ) {
        let (instances, id) = (instances.clone(), WorkloadId::Managed(plane.id.clone()));
        let mut logs = std::mem::take(self);
        let wanted = plane.logging.clone();
        let read = tokio::task::spawn_blocking(move || {
            let lines = logs.read(&instances, &id, |log| wanted.contains(&log));
            (logs, lines, instances, id)
        });
        // A panic has been reported.
        let Ok((logs, mut lines, instances, id)) = read.await else {
            return;
        };
        *self = logs;
        if plane.logging.contains(&ClusterLog::Authenticator) {
            lines.push((ClusterLog::Authenticator, decisions));
        }
        for (log, lines) in lines.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            sink.log_lines(LogLines {
                group: format!("/aws/eks/{}/cluster", plane.name),
                stream: format!("{}-{}", log_name(log), suffix(plane)),
                at: clock.now(),
                lines,
            });
        }
        let positions = self.positions();
        if self.kept.as_ref() != Some(&positions) && self.keep(&instances, &id, &positions).await {
            self.kept = Some(positions);
        }
    }

    fn read(
        &mut self,
        instances: &Instances,
        id: &WorkloadId,
        is_wanted: impl Fn(ClusterLog) -> bool,
    ) -> Vec<(ClusterLog, Vec<String>)> {
        let kept = self.kept.get_or_insert_with(|| {
            let directory = Path::new(DIRECTORY);
            let there = instances.read_file(id, directory, POSITIONS, LONGEST_POSITIONS);
            let there = there.unwrap_or_default();
            // A damaged file is as none: everything that is there is shipped.
            serde_json::from_slice(&there).unwrap_or_default()
        });
        let mut all = Vec::new();
        for log in FILES {
            let name = log_name(log);
            let tail = self.tails.entry(name).or_default();
            let newest = instances.open_log(id, name).ok();
            let earlier = || instances.open_earlier_log(id, name).ok();
            let lines = tail.read(newest, earlier, kept.get(name), is_wanted(log));
            all.push((log, lines));
        }
        all
    }

    fn positions(&self) -> Positions {
        let at = |(name, tail): (&&str, &Tail)| Some(((*name).to_owned(), tail.position()?));
        self.tails.iter().filter_map(at).collect()
    }

    async fn keep(&self, instances: &Instances, id: &WorkloadId, positions: &Positions) -> bool {
        let Ok(content) = serde_json::to_vec(positions) else {
            return false;
        };
        let (instances, id) = (instances.clone(), id.clone());
        let written = tokio::task::spawn_blocking(move || {
            instances.write_file(&id, Path::new(DIRECTORY), POSITIONS, &content)
        });
        matches!(written.await, Ok(Ok(())))
    }
}

/// What tells the streams of one life of a cluster from those of another.
fn suffix(plane: &ControlPlane) -> String {
    let authority = pki::first_certificate(&plane.keys);
    let digest = Sha256::digest(format!("{} {authority}", plane.arn));
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn inode(file: &File) -> Option<u64> {
    file.metadata().map(|it| it.ino()).ok()
}

impl Tail {
    /// The next byte to ship.
    fn position(&self) -> Option<Position> {
        Some(Position {
            inode: inode(self.file.as_ref()?)?,
            offset: self.read.saturating_sub(self.rest.len() as u64),
        })
    }

    fn read(
        &mut self,
        newest: Option<File>,
        earlier: impl FnOnce() -> Option<File>,
        kept: Option<&Position>,
        is_wanted: bool,
    ) -> Vec<String> {
        if self.file.is_none() {
            let is_whole = self.begin(newest, earlier, kept);
            let mut lines = self.advance(is_wanted);
            if is_wanted && !is_whole {
                lines.insert(0, MISSING.to_owned());
            }
            return lines;
        }
        let lines = self.advance(is_wanted);
        let is_renewed = match (&self.file, &newest) {
            (Some(old), Some(new)) => inode(old) != inode(new),
            _ => false,
        };
        if is_renewed && lines.is_empty() {
            // The old one was read to its end.
            self.open(newest, 0);
            return self.advance(is_wanted);
        }
        lines
    }

    /// Goes on where an earlier process stopped, which may be in a file that has another name by now; whether it is all there.
    fn begin(
        &mut self,
        newest: Option<File>,
        earlier: impl FnOnce() -> Option<File>,
        kept: Option<&Position>,
    ) -> bool {
        let Some(kept) = kept else {
            self.open(newest, 0);
            return true;
        };
        let is_it = |file: &Option<File>| {
            let file = file.as_ref();
            file.is_some_and(|it| inode(it) == Some(kept.inode))
        };
        if is_it(&newest) {
            self.open(newest, kept.offset);
            return true;
        }
        let earlier = earlier();
        let is_whole = is_it(&earlier);
        match (is_whole, earlier.is_some()) {
            (true, _) => self.open(earlier, kept.offset),
            // It was renewed more than once: what is left of it begins there.
            (false, true) => self.open(earlier, 0),
            (false, false) => self.open(newest, 0),
        }
        is_whole || self.file.is_none()
    }

    fn open(&mut self, file: Option<File>, offset: u64) {
        self.rest.clear();
        self.file = file;
        self.read = 0;
        if let Some(file) = &mut self.file {
            let length = file.metadata().map_or(0, |it| it.len());
            // A file that is shorter was emptied.
            let offset = if offset <= length { offset } else { 0 };
            self.read = file.seek(SeekFrom::Start(offset)).unwrap_or(0);
        }
    }

    fn advance(&mut self, is_wanted: bool) -> Vec<String> {
        let Some(file) = &mut self.file else {
            return Vec::new();
        };
        if !is_wanted {
            self.rest.clear();
            self.read = file.seek(SeekFrom::End(0)).unwrap_or(self.read);
            return Vec::new();
        }
        let mut bytes = vec![0; AT_ONCE];
        let Ok(count) = file.read(&mut bytes) else {
            return Vec::new();
        };
        self.read += count as u64;
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

    use std::io::Write as _;

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

    /// A log that is renewed as units renew theirs.
    struct Log(tempfile::TempDir);

    impl Log {
        fn write(&self, text: &str) {
            let path = self.0.path().join("x.log");
            let file = File::options().append(true).create(true).open(path);
            let mut file = file.unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn renew(&self) {
            let path = |name: &str| self.0.path().join(name);
            std::fs::rename(path("x.log"), path("x.log.1")).unwrap();
        }

        fn read(&self, tail: &mut Tail, kept: Option<&Position>, is_wanted: bool) -> Vec<String> {
            let open = |name: &str| File::open(self.0.path().join(name)).ok();
            tail.read(open("x.log"), || open("x.log.1"), kept, is_wanted)
        }
    }

    #[test]
    fn a_later_process_ships_what_is_new() {
        let log = Log(tempfile::tempdir().unwrap());
        let mut first = Tail::default();
        assert_eq!(log.read(&mut first, None, true), [""; 0]);
        assert_eq!(first.position(), None);
        log.write("one\ntw");
        assert_eq!(log.read(&mut first, None, true), ["one"]);
        let kept = first.position();
        log.write("o\n");
        log.renew();
        log.write("three\n");
        let mut second = Tail::default();
        assert_eq!(log.read(&mut second, kept.as_ref(), true), ["two"]);
        assert_eq!(log.read(&mut second, kept.as_ref(), true), ["three"]);
        assert_eq!(log.read(&mut second, kept.as_ref(), true), [""; 0]);
    }

    #[test]
    fn a_log_that_was_renewed_twice_is_shipped_from_what_is_left() {
        let log = Log(tempfile::tempdir().unwrap());
        log.write("one\n");
        log.renew();
        log.write("two\n");
        let kept = Position {
            inode: 0,
            offset: 3,
        };
        let mut later = Tail::default();
        assert_eq!(log.read(&mut later, Some(&kept), true), [MISSING, "one"]);
        assert_eq!(log.read(&mut later, Some(&kept), true), ["two"]);
    }

    #[test]
    fn what_was_written_while_a_log_was_off_is_not_shipped() {
        let log = Log(tempfile::tempdir().unwrap());
        let mut tail = Tail::default();
        log.write("one\n");
        assert_eq!(log.read(&mut tail, None, false), [""; 0]);
        log.write("two\n");
        assert_eq!(log.read(&mut tail, None, true), ["two"]);
        let kept = tail.position();
        log.write("three\n");
        let mut later = Tail::default();
        assert_eq!(log.read(&mut later, kept.as_ref(), false), [""; 0]);
        assert_eq!(log.read(&mut later, kept.as_ref(), true), [""; 0]);
    }
}
