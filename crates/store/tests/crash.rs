//! Kills a writing process with SIGKILL at random moments, hundreds of times. After each restart all
//! acknowledged writes must exist completely; an unacknowledged write may exist, but completely.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lath_store::{Db, Kinds, Record, StoreError, Tx, View, open_dir};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// The number of kills.
const KILLS: usize = 220;

/// Concurrent writers in the process, so that commits contain several writes.
const WRITERS: u64 = 6;

/// The environment variable with the state's directory, for the writing process.
const DIRECTORY: &str = "LATH_TEST_CRASH_DIRECTORY";

/// One of the two halves of a step, which are written atomically.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Half {
    writer: u64,
    step: u64,
    left: bool,
    padding: String,
}

impl Record for Half {
    const KIND: &'static str = "test.half";
    fn id(&self) -> String {
        format!("{}/{:010}/{}", self.writer, self.step, self.left)
    }
}

/// The progress of a writer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Progress {
    writer: u64,
    step: u64,
}

impl Record for Progress {
    const KIND: &'static str = "test.progress";
    fn id(&self) -> String {
        self.writer.to_string()
    }
}

/// The steps of a writer that stay in the state.
const KEPT: u64 = 20;

async fn open(directory: &Path) -> Db {
    let kinds = Kinds::default().with::<Half>().with::<Progress>();
    Db::open(open_dir(directory).unwrap(), kinds).await.unwrap()
}

fn progress(view: &View, writer: u64) -> u64 {
    let found = view.get::<Progress>(&writer.to_string());
    found.map_or(0, |progress| progress.step)
}

/// The next step of a writer: adds two halves, removes two, and records the progress.
fn take_step(tx: &mut Tx, writer: u64) -> u64 {
    let step = progress(tx.view(), writer) + 1;
    for left in [true, false] {
        let padding = "x".repeat((step as usize * 37) % 3000);
        let half = |step, padding| Half {
            writer,
            step,
            left,
            padding,
        };
        tx.put(half(step, padding));
        tx.delete::<Half>(&half(step.saturating_sub(KEPT), String::new()).id());
    }
    tx.put(Progress { writer, step });
    step
}

// === the process that is killed ===

/// Writes until it is killed. Does nothing in an ordinary test run.
#[test]
fn the_process_that_writes() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = open(Path::new(&directory)).await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_for_ever(db.clone(), writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_for_ever(db: Db, writer: u64) {
    loop {
        let write = db.write(|tx| Ok::<_, StoreError>(take_step(tx, writer)));
        let step = write.await.unwrap();
        let revision = db.view().revision();
        let line = format!("ack {writer} {step} {revision}\n");
        // One system call, so that a line is complete or absent; bypasses the capture of the test harness.
        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

// === the process that kills ===

/// The acknowledgements of the writing process.
#[derive(Debug, Default)]
struct Acknowledged {
    steps: BTreeMap<u64, u64>,
    revision: u64,
}

impl Acknowledged {
    fn read(&mut self, line: &str) {
        let Some(at) = line.find("ack ") else {
            return; // output of the test harness
        };
        let numbers: Vec<u64> = line[at + 4..]
            .split(' ')
            .filter_map(|n| n.parse().ok())
            .collect();
        let [writer, step, revision] = numbers[..] else {
            panic!("{line:?}");
        };
        self.steps.insert(writer, step);
        self.revision = self.revision.max(revision);
    }

    /// Asserts that all acknowledged steps exist and that all existing steps are complete.
    fn hold(&self, view: &View) {
        assert!(view.revision() >= self.revision, "the revision went back");
        let mut halves = 0;
        for writer in 0..WRITERS {
            let last = progress(view, writer);
            let acknowledged = self.steps.get(&writer).copied().unwrap_or(0);
            assert!(
                last >= acknowledged,
                "writer {writer}: {acknowledged} is lost"
            );
            for step in (last.saturating_sub(KEPT) + 1)..=last {
                for left in [true, false] {
                    let id = format!("{writer}/{step:010}/{left}");
                    let half = view.get::<Half>(&id);
                    let half = half.unwrap_or_else(|| panic!("{id} is missing"));
                    assert_eq!(half.padding.len(), (step as usize * 37) % 3000);
                    halves += 1;
                }
            }
        }
        assert_eq!(view.list::<Half>().count(), halves, "something is torn");
    }
}

/// The writing process. Dropping this kills and reaps it.
struct Writing(Child);

impl Writing {
    fn start(directory: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_writes", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the process write that many lines, kills it a moment later, and reads all its output. `None` kills it
/// while it opens the state.
fn kill_in_the_middle(directory: &Path, lines: Option<usize>, acknowledged: &mut Acknowledged) {
    let mut writing = Writing::start(directory);
    let mut said = BufReader::new(writing.0.stdout.take().unwrap()).lines();
    let delay = Duration::from_micros(rand::rng().random_range(0..15_000));
    for line in said.by_ref().take(lines.unwrap_or(0)) {
        acknowledged.read(&line.unwrap());
    }
    // Kill it between two acknowledgements, or while it opens the state.
    std::thread::sleep(delay);
    drop(writing);
    // Lines left in the pipe count too. Lines this short are written completely or not at all.
    for line in said.map_while(Result::ok) {
        acknowledged.read(&line);
    }
}

#[test]
fn sigkill_loses_nothing_that_was_acknowledged() {
    if std::env::var(DIRECTORY).is_ok() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let lines = (kill % 4 != 0).then(|| rand::rng().random_range(2..30));
        kill_in_the_middle(directory.path(), lines, &mut acknowledged);
        // Skip some restarts, so that the next writing process recovers after two kills.
        if kill % 3 == 0 || kill + 1 == KILLS {
            let view = runtime.block_on(open(directory.path())).view();
            acknowledged.hold(&view);
            acknowledged.revision = view.revision();
        }
    }
    let steps: u64 = acknowledged.steps.values().sum();
    assert!(steps > KILLS as u64, "it hardly wrote: {acknowledged:?}");
    println!(
        "{KILLS} kills, {steps} acknowledged steps, revision {}",
        acknowledged.revision
    );
}
