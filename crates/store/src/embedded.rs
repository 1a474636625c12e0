//! The store on a local disk: one redb file and one writer thread.
//!
//! Transactions queue while another one is being made durable. The writer then takes all of them and makes them
//! durable together (group commit), before their callers return.
//!
//! After a failed write the engine refuses to use the file any more. This store reopens the file and continues
//! to write when it can. See [`Condition`].

mod commit;
pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod mark;
mod reserve;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use self::commit::{Failure, Plan, Room};
use self::format::{ENTRIES, META, Sums, split};
use self::mark::Mark;
use self::reserve::Reserve;
use crate::history::History;
use crate::store::check;
use crate::{
    Compare, Condition, Entry, Identity, Listing, Op, Outcome, Store, StoreError, Watch, contain,
};

/// The length of the queue. When it is full, callers wait.
const QUEUE: usize = 1024;

/// The transactions of one commit at most, which bounds how many fail together.
const GROUP: usize = 1024;

/// While the store has a problem: how often the writer checks the queue, and how often it tries to recover.
const POLL: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_secs(1);

/// A store in a file.
///
/// Keeps changes for watchers since the file was opened; older ones are compacted.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while dropping: the writer ends when the sender is gone.
    queue: Option<mpsc::Sender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    /// `None` after a failed write until the file is open again.
    database: RwLock<Option<Database>>,
    history: History,
    condition: watch::Sender<Condition>,
    reserve: Reserve,
}

/// A queued transaction.
type Transaction = (Vec<Compare>, Vec<Op>);

struct Pending {
    transaction: Transaction,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// Options for opening a file.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// The required identity. A file without one gets this one.
    pub identity: Option<Identity>,
    /// Whether to repair damage that [`crate::inspect()`] reported as repairable.
    pub repair: bool,
}

impl Embedded {
    /// Opens or creates the file (mode 0600). Blocks while the engine repairs it after a crash.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::Damaged`] when it is empty or
    /// older than an acknowledged write, [`StoreError::Foreign`] when it belongs to another installation or
    /// region; otherwise the engine's error.
    pub fn open(path: &Path, opening: &Opening) -> Result<Self, StoreError> {
        if !path.exists() {
            file::create(path, opening.identity.as_ref())?;
        }
        let (database, sums) = file::open(path, opening.repair)?;
        claim(&database, path, opening.identity.as_ref())?;
        let mark = Mark::beside(path);
        let contradiction = mark::contradiction(&mark, sums);
        if let Some(reason) = contradiction.map_err(|error| StoreError::io(mark.path(), error))? {
            return Err(StoreError::damaged(path, &reason));
        }
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            history: History::after(sums.revision),
            condition: watch::Sender::new(Condition::Well),
            reserve: Reserve::beside(path),
        });
        if let Err(error) = shared.reserve.fill() {
            shared.mark_full(&error.to_string());
        }
        let (queue, pending) = mpsc::channel(QUEUE);
        let for_writer = Writer {
            shared: Arc::clone(&shared),
            mark,
            marked: None,
            tried: Instant::now(),
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || for_writer.run(pending, sums))
            .map_err(|error| StoreError::io(path, error))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    /// Runs a read on a thread that may block on the disk.
    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let read = move || shared.read(f);
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|_| StoreError::Closed)?
    }
}

/// Checks the identity of a state. A state without an identity gets it.
fn claim(database: &Database, path: &Path, identity: Option<&Identity>) -> Result<(), StoreError> {
    let Some(identity) = identity else {
        return Ok(());
    };
    match file::identity(database).map_err(StoreError::engine)? {
        Some(found) if found == *identity => Ok(()),
        Some(found) => Err(StoreError::Foreign {
            path: path.to_owned(),
            found,
            wanted: identity.clone(),
        }),
        None => {
            let note = || -> Result<(), redb::Error> {
                let write = file::begin(database)?;
                file::note(&write, identity)?;
                Ok(write.commit()?)
            };
            note().map_err(StoreError::engine)
        }
    }
}

impl Drop for Embedded {
    /// Waits until the queue is written and the file is closed, so that the file can be opened again.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // The panic hook has already reported a panic.
            let _ = writer.join();
        }
        self.shared.close();
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.read(move |read| {
            let table = read.open_table(ENTRIES).map_err(StoreError::engine)?;
            let stored = table.get(key.as_str()).map_err(StoreError::engine)?;
            stored.map(|stored| entry(&key, stored.value())).transpose()
        })
        .await
    }

    async fn list(&self, prefix: &str, limit: usize, from: &str) -> Result<Listing, StoreError> {
        let (prefix, from) = (prefix.to_owned(), from.to_owned());
        self.read(move |read| list(read, &prefix, limit, &from))
            .await
    }

    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Outcome, StoreError> {
        check(&ops)?;
        let (answer, answered) = oneshot::channel();
        let transaction = (compares, ops);
        let pending = Pending {
            transaction,
            answer,
        };
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(pending).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn watch(&self, from: u64) -> Result<Watch, StoreError> {
        self.shared.history.watch(from)
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.shared.condition.subscribe()
    }
}

// === reading ===

fn list(
    read: &redb::ReadTransaction,
    prefix: &str,
    limit: usize,
    from: &str,
) -> Result<Listing, StoreError> {
    let meta = read.open_table(META).map_err(StoreError::engine)?;
    let sums = Sums::read(&meta).map_err(StoreError::engine)?;
    let mut listing = Listing {
        entries: Vec::new(),
        more: false,
        revision: sums.unwrap_or_default().revision,
    };
    let table = read.open_table(ENTRIES).map_err(StoreError::engine)?;
    let range = table.range(prefix.max(from)..);
    for item in range.map_err(StoreError::engine)? {
        let (key, stored) = item.map_err(StoreError::engine)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        if listing.entries.len() == limit {
            listing.more = true;
            break;
        }
        listing.entries.push(entry(key.value(), stored.value())?);
    }
    Ok(listing)
}

fn entry(key: &str, stored: &[u8]) -> Result<Entry, StoreError> {
    let (mod_revision, value) = split(key, stored).map_err(|reason| StoreError::Corrupt {
        key: key.to_owned(),
        reason: reason.into(),
    })?;
    Ok(Entry {
        key: key.to_owned(),
        value: value.into(),
        mod_revision,
    })
}

impl Shared {
    fn read<T>(
        &self,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| self.away())?;
        let read = contain(|| f(&database.begin_read().map_err(StoreError::engine)?));
        read.unwrap_or_else(|panic| Err(StoreError::damaged(&self.path, &panic)))
    }

    fn away(&self) -> StoreError {
        let reason = self.condition.borrow().trouble().unwrap_or_default();
        StoreError::engine(std::io::Error::other(reason))
    }

    /// Closes the file. Ignores a panic of the engine.
    fn close(&self) {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.take()
            && let Err(panic) = contain(move || drop(database))
        {
            tracing::error!(panic, path = %self.path.display(), "the state was not closed cleanly");
        }
    }

    /// Reopens the file after a failure. Returns its current sums.
    fn reopen(&self) -> Result<Sums, StoreError> {
        self.close();
        let (opened, sums) = file::open(&self.path, false)?;
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *database = Some(opened);
        Ok(sums)
    }

    fn mark_full(&self, cause: &str) {
        let reason = format!("{}: {cause}", self.path.display());
        let path = self.path.clone();
        self.report(Condition::Full { path, reason });
    }

    fn mark_failing(&self, cause: &str) {
        let reason = format!("{}: {cause}", self.path.display());
        self.report(Condition::Failing { reason });
    }

    fn report(&self, condition: Condition) {
        let changed = self.condition.send_if_modified(|now| {
            // Log only changes of the condition, not of its text.
            let changed = std::mem::discriminant(now) != std::mem::discriminant(&condition);
            now.clone_from(&condition);
            changed
        });
        match condition.trouble() {
            Some(trouble) if changed => tracing::error!(error = trouble, "the state has a problem"),
            None if changed => tracing::info!("the state works again"),
            _ => {}
        }
    }
}

// === writing ===

/// The state of the writer thread.
struct Writer {
    shared: Arc<Shared>,
    mark: Mark,
    marked: Option<std::fs::File>,
    /// The time of the last attempt to recover.
    tried: Instant,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Pending>, sums: Sums) {
        self.mark(sums);
        while let Some(first) = self.first(&mut queue) {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            self.write_group(group);
        }
    }

    /// Waits for the next transaction. Tries to recover meanwhile if the store has a problem.
    fn first(&mut self, queue: &mut mpsc::Receiver<Pending>) -> Option<Pending> {
        while !self.shared.condition.borrow().is_well() {
            match queue.try_recv() {
                Ok(pending) => return Some(pending),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => std::thread::sleep(POLL),
            }
            self.try_to_recover();
        }
        queue.blocking_recv()
    }

    fn try_to_recover(&mut self) {
        if self.tried.elapsed() < RETRY {
            return;
        }
        self.tried = Instant::now();
        if let Err(error) = self.shared.reserve.fill() {
            self.shared.mark_full(&error.to_string());
        } else {
            // Only a write shows whether writes work.
            let probed = self.commit(&[], Room::Plenty);
            match probed {
                Ok(_) => self.shared.report(Condition::Well),
                Err(failure) => self.report(&failure),
            }
        }
    }

    fn write_group(&mut self, group: Vec<Pending>) {
        let (transactions, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|pending| (pending.transaction, pending.answer))
            .unzip();
        let outcomes = self.write(&transactions);
        for (place, answer) in answers.into_iter().enumerate() {
            let outcome = match &outcomes {
                Ok(outcomes) => outcomes[place].clone(),
                Err(error) => Err(error.clone()),
            };
            // The caller may have dropped its future.
            let _ = answer.send(outcome);
        }
    }

    /// Makes transactions durable together; on a full disk, only those that add no records.
    fn write(
        &mut self,
        transactions: &[Transaction],
    ) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        let full = matches!(&*self.shared.condition.borrow(), Condition::Full { .. });
        let room = if full { Room::Reserved } else { Room::Plenty };
        let failure = match self.commit(transactions, room) {
            Ok(plan) => return Ok(plan.outcomes),
            Err(failure) => failure,
        };
        self.report(&failure);
        if failure.is_full() && !full {
            self.shared.reserve.release();
            let again = self.commit(transactions, Room::Reserved);
            return again.map(|plan| plan.outcomes).map_err(|failure| {
                self.report(&failure);
                failure.into_error(&self.shared.path)
            });
        }
        Err(failure.into_error(&self.shared.path))
    }

    fn report(&self, failure: &Failure) {
        if failure.is_full() {
            self.shared.mark_full(&failure.text());
        } else {
            self.shared.mark_failing(&failure.text());
        }
    }

    /// Commits one durable transaction of the engine. After a failure it reopens the file; a transaction that
    /// has become durable anyway is a success.
    fn commit(&mut self, transactions: &[Transaction], room: Room) -> Result<Plan, Failure> {
        if self.is_closed() {
            self.shared.reopen().map_err(Failure::reopening)?;
        }
        let (plan, failure) = self.shared.commit(transactions, room);
        let Some(failure) = failure else {
            return Ok(self.done(plan));
        };
        match self.shared.reopen() {
            Ok(found) if plan.changes() && found == plan.sums => Ok(self.done(plan)),
            Ok(_) => Err(failure),
            Err(error) => {
                tracing::error!(%error, cause = ?error, "the state cannot be opened again yet");
                Err(failure)
            }
        }
    }

    fn is_closed(&self) -> bool {
        let database = self.shared.database.read();
        database.unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn done(&mut self, mut plan: Plan) -> Plan {
        if plan.changes() {
            self.mark(plan.sums);
        }
        for (revision, events) in plan.history.drain(..) {
            self.shared.history.push(revision, events);
        }
        plan
    }

    fn mark(&mut self, sums: Sums) {
        let write = || {
            if self.marked.is_none() {
                self.marked = Some(self.mark.open()?);
            }
            self.marked
                .as_ref()
                .map_or(Ok(()), |file| mark::write(file, sums))
        };
        if let Err(error) = { write }() {
            // An older mark proves less, but nothing wrong.
            tracing::warn!(%error, path = %self.mark.path().display(), "the high-water mark is not written");
        }
    }
}
