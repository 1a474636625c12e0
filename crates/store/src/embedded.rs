//! The store on a local disk: one redb file, one writer thread.
//!
//! Transactions queue up while one is being made durable; the writer takes all that wait and makes them
//! durable with one fsync (group commit). Nobody is answered before.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use crate::history::History;
use crate::store::check;
use crate::{Compare, Entry, Event, Listing, Op, Outcome, Store, StoreError, Watch};

/// Values are the revision that wrote them (eight bytes, big endian) and the bytes given.
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// `revision`, and the `format` of this file.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The format of the file: how tables and values are laid out.
const FORMAT: u64 = 1;

/// Pages that redb keeps in memory; the whole state is in the view anyway.
const CACHE_BYTES: usize = 16 << 20;

/// How many transactions wait before callers are held back.
const QUEUE: usize = 1024;

/// How many transactions one fsync covers at most: bounds what is lost by one failure.
const GROUP: usize = 1024;

/// A store in a file.
///
/// Changes are kept for watchers since the file was opened; older ones are compacted.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while dropping: the writer ends when this end is gone.
    queue: Option<mpsc::Sender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    database: Database,
    history: History,
}

struct Pending {
    compares: Vec<Compare>,
    ops: Vec<Op>,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

impl Embedded {
    /// Opens or creates the file (mode 0600). Blocks while it is repaired after a crash.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open; otherwise what the engine said.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = open_database(path)?;
        let revision = prepare(&database)?;
        let shared = Arc::new(Shared {
            database,
            history: History::after(revision),
        });
        let (queue, pending) = mpsc::channel(QUEUE);
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_until_closed(&for_writer, pending))
            .map_err(|error| StoreError::io(path, error))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    /// Runs a read on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let read = move || f(&shared.database.begin_read()?);
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|_| StoreError::Closed)?
            .map_err(StoreError::engine)
    }
}

impl Drop for Embedded {
    /// Waits until the queue is written and the file is closed, so that it can be opened again.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic there has been reported by the thread itself.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.read(move |read| {
            let stored = read.open_table(ENTRIES)?.get(key.as_str())?;
            Ok(stored.map(|stored| entry(&key, stored.value())))
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
        let pending = Pending {
            compares,
            ops,
            answer,
        };
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(pending).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn watch(&self, from: u64) -> Result<Watch, StoreError> {
        self.shared.history.watch(from)
    }
}

// === opening ===

fn open_database(path: &Path) -> Result<Database, StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::io(path, error))?;
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_file(file)
        .map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            error => StoreError::engine(error),
        })
}

/// Makes the tables of a new file, checks the format of an old one; the revision it is at.
fn prepare(database: &Database) -> Result<u64, StoreError> {
    let (format, revision) = make_tables(database).map_err(StoreError::engine)?;
    if format == FORMAT {
        return Ok(revision);
    }
    Err(StoreError::Corrupt {
        key: "format".into(),
        reason: format!("the file has format {format}, this version reads format {FORMAT}"),
    })
}

fn make_tables(database: &Database) -> Result<(u64, u64), redb::Error> {
    let write = database.begin_write()?;
    let found = {
        write.open_table(ENTRIES)?;
        let mut meta = write.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value());
        if format.is_none() {
            meta.insert("format", FORMAT)?;
        }
        (format.unwrap_or(FORMAT), revision_in(&meta)?)
    };
    write.commit()?;
    Ok(found)
}

fn revision_in(
    meta: &impl redb::ReadableTable<&'static str, u64>,
) -> Result<u64, redb::StorageError> {
    Ok(meta.get("revision")?.map_or(0, |revision| revision.value()))
}

// === reading ===

fn list(
    read: &redb::ReadTransaction,
    prefix: &str,
    limit: usize,
    from: &str,
) -> Result<Listing, redb::Error> {
    let revision = revision_in(&read.open_table(META)?)?;
    let mut entries = Vec::new();
    for item in read.open_table(ENTRIES)?.range(prefix.max(from)..)? {
        let (key, stored) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        if entries.len() == limit {
            return Ok(Listing {
                entries,
                more: true,
                revision,
            });
        }
        entries.push(entry(key.value(), stored.value()));
    }
    Ok(Listing {
        entries,
        more: false,
        revision,
    })
}

fn entry(key: &str, stored: &[u8]) -> Entry {
    let (mod_revision, value) = split(stored);
    Entry {
        key: key.to_owned(),
        value: value.into(),
        mod_revision,
    }
}

/// A stored value's revision and bytes. Every value was written by [`join`]; a short one is read as
/// empty rather than trusted.
fn split(stored: &[u8]) -> (u64, &[u8]) {
    stored
        .split_first_chunk::<8>()
        .map_or((0, &[]), |(revision, value)| {
            (u64::from_be_bytes(*revision), value)
        })
}

fn join(revision: u64, value: &[u8]) -> Vec<u8> {
    [&revision.to_be_bytes(), value].concat()
}

// === writing ===

fn write_until_closed(shared: &Shared, mut queue: mpsc::Receiver<Pending>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        write_group(shared, group);
    }
}

fn write_group(shared: &Shared, group: Vec<Pending>) {
    let (transactions, answers): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|pending| ((pending.compares, pending.ops), pending.answer))
        .unzip();
    let outcomes = commit(shared, transactions).map_err(StoreError::engine);
    if let Err(error) = &outcomes {
        tracing::error!(cause = ?error, "the state could not be written");
    }
    for (place, answer) in answers.into_iter().enumerate() {
        // Whoever asked may have gone away.
        let _ = answer.send(
            outcomes
                .as_ref()
                .map(|all| all[place])
                .map_err(Clone::clone),
        );
    }
}

/// Applies the transactions in order and makes them durable together. On an error none of them is.
fn commit(
    shared: &Shared,
    transactions: Vec<(Vec<Compare>, Vec<Op>)>,
) -> Result<Vec<Outcome>, redb::Error> {
    let write = shared.database.begin_write()?;
    let mut outcomes = Vec::with_capacity(transactions.len());
    let mut history = Vec::new();
    {
        let mut entries = write.open_table(ENTRIES)?;
        let mut meta = write.open_table(META)?;
        let mut revision = revision_in(&meta)?;
        for (compares, ops) in transactions {
            if !hold(&entries, &compares)? {
                outcomes.push(Outcome::Conflict);
                continue;
            }
            let events = apply(&mut entries, revision + 1, ops)?;
            if !events.is_empty() {
                revision += 1;
                history.push((revision, events));
            }
            outcomes.push(Outcome::Committed { revision });
        }
        meta.insert("revision", revision)?;
    }
    if history.is_empty() {
        write.abort()?;
    } else {
        write.commit()?;
    }
    for (revision, events) in history {
        shared.history.push(revision, events);
    }
    Ok(outcomes)
}

type Entries<'txn> = Table<'txn, &'static str, &'static [u8]>;

fn hold(entries: &Entries<'_>, compares: &[Compare]) -> Result<bool, redb::StorageError> {
    for compare in compares {
        let stored = entries.get(compare.key.as_str())?;
        let mod_revision = stored.map_or(0, |stored| split(stored.value()).0);
        if mod_revision != compare.mod_revision {
            return Ok(false);
        }
    }
    Ok(true)
}

fn apply(
    entries: &mut Entries<'_>,
    revision: u64,
    ops: Vec<Op>,
) -> Result<Vec<Event>, redb::StorageError> {
    let mut events = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Op::Put(key, value) => {
                entries.insert(key.as_str(), join(revision, &value).as_slice())?;
                events.push(Event::Put(key, value));
            }
            Op::Delete(key) => {
                if entries.remove(key.as_str())?.is_some() {
                    events.push(Event::Delete(key));
                }
            }
        }
    }
    Ok(events)
}
