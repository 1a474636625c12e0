//! What a function writes, and what is said of its invocations: lines of its log group.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use lath_clock::Clock;
use lath_feed::telemetry::{LogLines, Sink};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The end of the log that an answer has, in bytes.
const TAIL: usize = 4096;
/// A longer line is cut: an event of a log has 256 KiB at most.
const LONGEST_LINE: usize = 256 * 1024 - 26;
/// As many lines are handed over at once, and as many bytes of them.
const LINES: usize = 256;
const BYTES: usize = 1 << 20;

/// The log of one environment.
pub(crate) struct Log {
    sink: Arc<dyn Sink>,
    group: String,
    stream: String,
    clock: Clock,
    lines: Vec<String>,
    bytes: usize,
    tail: VecDeque<u8>,
}

impl Log {
    pub(crate) fn new(sink: Arc<dyn Sink>, group: String, stream: String, clock: Clock) -> Self {
        Self {
            sink,
            group,
            stream,
            clock,
            lines: Vec::new(),
            bytes: 0,
            tail: VecDeque::new(),
        }
    }

    /// An invocation begins: what is said from now on is its own.
    pub(crate) fn begin(&mut self) {
        self.tail.clear();
    }

    pub(crate) fn write(&mut self, line: impl Into<String>) {
        let line = line.into();
        let from = line.len().saturating_sub(TAIL);
        self.tail.extend(&line.as_bytes()[from..]);
        self.tail.push_back(b'\n');
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
        self.bytes += line.len();
        self.lines.push(line);
        if self.lines.len() >= LINES || self.bytes >= BYTES {
            self.flush();
        }
    }

    /// The newest 4 KiB.
    pub(crate) fn tail(&self) -> Vec<u8> {
        self.tail.iter().copied().collect()
    }

    /// Whether there is something to hand over.
    pub(crate) fn waits(&self) -> bool {
        !self.lines.is_empty()
    }

    pub(crate) fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        self.bytes = 0;
        self.sink.log_lines(LogLines {
            group: self.group.clone(),
            stream: self.stream.clone(),
            at: self.clock.now(),
            lines: std::mem::take(&mut self.lines),
        });
    }
}

/// A pipe that a function writes lines into.
pub(crate) struct Lines<R> {
    /// `None` once it is over.
    pipe: Option<R>,
    begun: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(pipe: Option<R>) -> Self {
        Self {
            pipe,
            begun: Vec::new(),
        }
    }

    /// Waits for more, and gives the whole lines. Nothing is lost when the future is dropped. Never ends once the pipe is over.
    pub(crate) async fn more(&mut self) -> Vec<String> {
        let mut piece = [0; 16 * 1024];
        loop {
            let Some(pipe) = &mut self.pipe else {
                return std::future::pending().await;
            };
            let read: io::Result<usize> = pipe.read(&mut piece).await;
            match read {
                Ok(0) | Err(_) => {
                    self.pipe = None;
                    let rest = self.rest();
                    if !rest.is_empty() {
                        return rest;
                    }
                }
                Ok(count) => {
                    let lines = self.take(&piece[..count]);
                    if !lines.is_empty() {
                        return lines;
                    }
                }
            }
        }
    }

    /// What was begun and has no end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        match self.begun.is_empty() {
            true => Vec::new(),
            false => vec![text(&std::mem::take(&mut self.begun))],
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.begun.extend(end);
                    lines.push(text(&std::mem::take(&mut self.begun)));
                }
                None => self.begun.extend(piece),
            }
            if self.begun.len() > LONGEST_LINE {
                lines.push(text(&std::mem::take(&mut self.begun)));
            }
        }
        lines
    }
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_feed::telemetry::Discard;

    #[tokio::test]
    async fn lines_come_whole_and_the_last_one_too() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(Some(reader));
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"one\r\ntwo\nthr")
            .await
            .unwrap();
        assert_eq!(lines.more().await, ["one", "two"]);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"ee")
            .await
            .unwrap();
        drop(writer);
        assert_eq!(lines.more().await, ["three"]);
    }

    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<usize>>);

    impl Sink for Heard {
        fn access_log(&self, _: lath_feed::telemetry::AccessLog) {}
        fn log_lines(&self, lines: LogLines) {
            let bytes = lines.lines.iter().map(String::len).sum();
            self.0.lock().unwrap().push(bytes);
        }
        fn metric(&self, _: lath_feed::telemetry::MetricSample) {}
    }

    #[test]
    fn long_lines_do_not_gather() {
        let heard = Arc::new(Heard::default());
        let sink = Arc::clone(&heard);
        let mut log = Log::new(sink, "g".into(), "s".into(), Clock::system());
        for _ in 0..10 {
            log.write("x".repeat(BYTES / 4));
        }
        assert_eq!(*heard.0.lock().unwrap(), [BYTES, BYTES]);
        log.flush();
        assert_eq!(heard.0.lock().unwrap().last(), Some(&(BYTES / 2)));
    }

    #[test]
    fn the_end_of_a_log_is_short() {
        let mut log = Log::new(Arc::new(Discard), "g".into(), "s".into(), Clock::system());
        log.write("x".repeat(5000));
        log.write("end");
        let tail = log.tail();
        assert_eq!(tail.len(), TAIL);
        assert!(tail.ends_with(b"xx\nend\n"));
        log.begin();
        assert!(log.tail().is_empty());
    }
}
