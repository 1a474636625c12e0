//! Orders for faults: files in one directory, written by a drill and read by the processes that can inject the fault.
//!
//! `NAME.json` orders a fault until a deadline. `NAME.done` records when it was injected, or why it was not.
//! Removing `NAME.json` ends the fault. So does the deadline, even if the drill has died; and the kernel ends
//! packet faults even if Lath has died. Files are written atomically.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use lath_clock::Clock;
use lath_model::{ManagedId, WorkloadId};
use serde::{Deserialize, Serialize};

use crate::{Pods, Scenario};

/// The longest duration of a fault.
pub const LONGEST: Duration = Duration::from_secs(600);
/// The largest order that is read, in bytes.
const LARGEST: u64 = 64 << 10;
/// The number of orders that are read at most.
const MOST: usize = 256;

/// An order for a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The file's name without `.json`: letters, digits and hyphens.
    pub name: String,
    /// The kind of fault.
    pub scenario: Scenario,
    /// The affected region, or the region of the victim.
    pub region: String,
    /// The affected workload. Orders of earlier versions call it `instance`.
    #[serde(alias = "instance")]
    pub victim: Option<WorkloadId>,
    /// The affected cluster, by its control plane; `None` where all of the region are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ManagedId>,
    /// The affected pods of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// The end of the fault, in milliseconds since 1970.
    pub until_ms: u64,
}

/// The outcome of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The time of the injection, by [`crate::monotonic_ns`].
    pub at_ns: u64,
    /// Why the fault could not be injected, in words for the user.
    pub error: Option<String>,
}

/// The directory of orders.
#[derive(Debug, Clone)]
pub struct Orders {
    directory: PathBuf,
    clock: Clock,
}

impl Orders {
    /// The orders of an installation: `faults` in its data directory. Their deadlines are by `clock`.
    pub fn of(data_dir: &Path, clock: Clock) -> Self {
        Self {
            directory: data_dir.join("faults"),
            clock,
        }
    }

    /// The clock that deadlines go by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The remaining time of an order's fault, at most [`LONGEST`]; `None` after its deadline.
    pub fn left(&self, order: &Order) -> Option<Duration> {
        let now = self.clock.system_time().duration_since(UNIX_EPOCH).ok()?;
        let left = Duration::from_millis(order.until_ms).checked_sub(now)?;
        (!left.is_zero()).then(|| left.min(LONGEST))
    }

    /// The time in `by` from now, in milliseconds since 1970.
    pub fn ahead(&self, by: Duration) -> u64 {
        let now = self.clock.system_time().duration_since(UNIX_EPOCH);
        let end = now.unwrap_or_default() + by.min(LONGEST);
        u64::try_from(end.as_millis()).unwrap_or(u64::MAX)
    }

    /// The directory of the files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Submits an order.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn submit(&self, order: &Order) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        remove(&self.done(&order.name))?;
        write(&self.file(&order.name), &serde_json::to_vec(order)?)
    }

    /// Withdraws an order, which ends the fault, and deletes its outcome.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn withdraw(&self, name: &str) -> io::Result<()> {
        remove(&self.file(name))?;
        remove(&self.done(name))
    }

    /// Records the outcome of an order, for the drill.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn report(&self, name: &str, error: Option<String>) -> io::Result<()> {
        let done = Done {
            at_ns: crate::monotonic_ns(),
            error,
        };
        write(&self.done(name), &serde_json::to_vec(&done)?)
    }

    /// The outcome of an order; `None` until it is recorded.
    pub fn outcome(&self, name: &str) -> Option<Done> {
        serde_json::from_slice(&read(&self.done(name))?).ok()
    }

    /// The orders before their deadline. Deletes expired orders and skips other files.
    pub fn active(&self) -> Vec<Order> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let files = entries.flatten().map(|entry| entry.path());
        let orders = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        orders
            .take(MOST)
            .filter_map(|path| self.order(&path))
            .collect()
    }

    fn order(&self, path: &Path) -> Option<Order> {
        let name = path.file_stem()?.to_str().filter(|name| is_name(name))?;
        let parsed = serde_json::from_slice::<Order>(&read(path)?);
        let order = parsed.ok().filter(|order| order.name == name);
        let Some(order) = order else {
            self.refuse(name, path);
            return None;
        };
        if self.left(&order).is_none() {
            // If this fails, the next call tries again.
            let _ = self.withdraw(&order.name);
            return None;
        }
        Some(order)
    }

    /// Records as the outcome, once, that a file is not an order.
    fn refuse(&self, name: &str, path: &Path) {
        if self.outcome(name).is_some() {
            return;
        }
        let text = format!(
            "{} is damaged: it is not an order for a fault; remove it",
            path.display()
        );
        // If this fails, the next call tries again.
        let _ = self.report(name, Some(text));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn done(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.done"))
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let size = std::fs::metadata(path).ok()?.len();
    (size <= LARGEST).then(|| std::fs::read(path).ok())?
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}-new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    io::Write::write_all(&mut file, bytes)?;
    std::fs::rename(&beside, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_clock::ManualClock;
    use lath_model::Timestamp;

    fn order(name: &str, until_ms: u64) -> Order {
        Order {
            name: name.into(),
            scenario: Scenario::KillRegion,
            region: "us-east-1".into(),
            victim: None,
            cluster: None,
            pods: None,
            until_ms,
        }
    }

    #[test]
    fn an_order_is_active_until_it_is_withdrawn_or_expired() {
        let directory = tempfile::tempdir().unwrap();
        let hands = ManualClock::at(Timestamp::from_millis(1_000_000));
        let orders = Orders::of(directory.path(), hands.clock());
        assert!(orders.active().is_empty());
        let one = order("one", orders.ahead(Duration::from_secs(300)));
        orders.submit(&one).unwrap();
        orders.submit(&order("old", 1)).unwrap();
        assert_eq!(orders.active(), std::slice::from_ref(&one));
        assert!(!orders.file("old").exists(), "what is over is deleted");
        assert_eq!(orders.outcome("one"), None);
        orders.report("one", None).unwrap();
        assert_eq!(orders.outcome("one").unwrap().error, None);
        orders.submit(&one).unwrap();
        assert_eq!(orders.outcome("one"), None, "a new order has no outcome");
        orders.withdraw("one").unwrap();
        orders.withdraw("one").unwrap();
        assert!(orders.active().is_empty());
        orders.submit(&one).unwrap();
        hands.advance(Duration::from_secs(299));
        assert_eq!(orders.left(&one), Some(Duration::from_secs(1)));
        assert_eq!(orders.active(), [one]);
        hands.advance(Duration::from_secs(1));
        assert!(orders.active().is_empty(), "its time is over");
    }

    #[test]
    fn no_fault_lasts_longer_than_allowed_and_nonsense_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::of(directory.path(), Clock::system());
        orders.submit(&order("long", u64::MAX)).unwrap();
        assert_eq!(orders.left(&orders.active()[0]), Some(LONGEST));
        std::fs::write(orders.directory().join("a.json"), "{").unwrap();
        std::fs::write(orders.directory().join("b.json"), vec![b' '; 1 << 20]).unwrap();
        let text = serde_json::to_vec(&order("other", u64::MAX)).unwrap();
        std::fs::write(orders.directory().join("c.json"), text).unwrap();
        assert_eq!(orders.active().len(), 1);
        let said = orders.outcome("a").and_then(|done| done.error).unwrap();
        assert!(said.contains("a.json is damaged"), "{said}");
    }

    #[test]
    fn an_order_of_an_earlier_version_names_an_instance() {
        let text = r#"{"name":"a","scenario":"kill-target","region":"us-east-1","instance":"i-0123456789abcdef0","until_ms":1}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        assert_eq!(order.victim.unwrap().as_str(), "i-0123456789abcdef0");
    }
}
