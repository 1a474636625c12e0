//! Orders for faults: files in one directory, written by a drill and read by whoever can inject the fault.
//!
//! `NAME.json` asks for a fault until a time of day; `NAME.done` says when it was injected, or why it was
//! not. Removing `NAME.json` ends the fault; so does its time, whether or not the drill still lives, and
//! packet faults end in the kernel, whether or not Lath still lives. Files are written beside and renamed:
//! complete, or not there.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lath_model::WorkloadId;
use serde::{Deserialize, Serialize};

use crate::Scenario;

/// The longest that a fault may last.
pub const LONGEST: Duration = Duration::from_secs(600);
/// The largest order that is read, in bytes.
const LARGEST: u64 = 64 << 10;
/// Orders beyond these are not looked at.
const MOST: usize = 256;

/// A wish for a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The file's name without `.json`: letters, digits and hyphens.
    pub name: String,
    /// What is broken.
    pub scenario: Scenario,
    /// The region that is hit, or that the victim is in.
    pub region: String,
    /// The workload that is hit. Orders of earlier versions call it `instance`.
    #[serde(alias = "instance")]
    pub victim: Option<WorkloadId>,
    /// When the fault ends, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// When the fault took effect, by [`crate::monotonic_ns`].
    pub at_ns: u64,
    /// Why it could not be injected, in words for the user.
    pub error: Option<String>,
}

/// The directory of orders.
#[derive(Debug, Clone)]
pub struct Orders(PathBuf);

impl Order {
    /// How long the fault has still to last: at most [`LONGEST`]; `None` when its time is over.
    pub fn left(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let left = Duration::from_millis(self.until_ms).checked_sub(now)?;
        (!left.is_zero()).then(|| left.min(LONGEST))
    }
}

/// The time of day that is so far ahead, in milliseconds since 1970.
pub fn ahead(by: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from((now + by.min(LONGEST)).as_millis()).unwrap_or(u64::MAX)
}

impl Orders {
    /// The orders of an installation: `faults` in its data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("faults"))
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Asks for a fault.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn give(&self, order: &Order) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        remove(&self.done(&order.name))?;
        write(&self.file(&order.name), &serde_json::to_vec(order)?)
    }

    /// Ends a fault, and forgets what became of it.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn withdraw(&self, name: &str) -> io::Result<()> {
        remove(&self.file(name))?;
        remove(&self.done(name))
    }

    /// Says what became of an order, for the drill.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn say(&self, name: &str, error: Option<String>) -> io::Result<()> {
        let done = Done {
            at_ns: crate::monotonic_ns(),
            error,
        };
        write(&self.done(name), &serde_json::to_vec(&done)?)
    }

    /// What became of an order; `None` as long as nobody said.
    pub fn outcome(&self, name: &str) -> Option<Done> {
        serde_json::from_slice(&read(&self.done(name))?).ok()
    }

    /// The orders whose time is not over. Those whose time is over are deleted; what is not an order is
    /// passed over.
    pub fn standing(&self) -> Vec<Order> {
        let Ok(entries) = std::fs::read_dir(&self.0) else {
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
        if order.left().is_none() {
            // Whoever does not manage leaves it to the next look.
            let _ = self.withdraw(&order.name);
            return None;
        }
        Some(order)
    }

    /// Says once, as its outcome, that a file is no order.
    fn refuse(&self, name: &str, path: &Path) {
        if self.outcome(name).is_some() {
            return;
        }
        let text = format!(
            "{} is damaged: it is not an order for a fault; remove it",
            path.display()
        );
        // Where it cannot be said, it is tried again at the next look.
        let _ = self.say(name, Some(text));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    fn done(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.done"))
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

    fn order(name: &str, until_ms: u64) -> Order {
        Order {
            name: name.into(),
            scenario: Scenario::KillRegion,
            region: "us-east-1".into(),
            victim: None,
            until_ms,
        }
    }

    #[test]
    fn an_order_stands_until_it_is_withdrawn_or_over() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::of(directory.path());
        assert!(orders.standing().is_empty());
        let one = order("one", ahead(Duration::from_secs(300)));
        orders.give(&one).unwrap();
        orders.give(&order("old", 1)).unwrap();
        assert_eq!(orders.standing(), std::slice::from_ref(&one));
        assert!(!orders.file("old").exists(), "what is over is deleted");
        assert_eq!(orders.outcome("one"), None);
        orders.say("one", None).unwrap();
        assert_eq!(orders.outcome("one").unwrap().error, None);
        orders.give(&one).unwrap();
        assert_eq!(orders.outcome("one"), None, "a new order has no outcome");
        orders.withdraw("one").unwrap();
        orders.withdraw("one").unwrap();
        assert!(orders.standing().is_empty());
    }

    #[test]
    fn no_fault_lasts_longer_than_allowed_and_nonsense_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::of(directory.path());
        orders.give(&order("long", u64::MAX)).unwrap();
        assert_eq!(orders.standing()[0].left(), Some(LONGEST));
        std::fs::write(orders.directory().join("a.json"), "{").unwrap();
        std::fs::write(orders.directory().join("b.json"), vec![b' '; 1 << 20]).unwrap();
        let text = serde_json::to_vec(&order("other", u64::MAX)).unwrap();
        std::fs::write(orders.directory().join("c.json"), text).unwrap();
        assert_eq!(orders.standing().len(), 1);
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
