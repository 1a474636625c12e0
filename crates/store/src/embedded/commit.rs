//! Combines many transactions of the store into one durable transaction of the engine.

use std::io;
use std::path::Path;
use std::sync::PoisonError;

use redb::{ReadableTable as _, Table};

use super::format::{ENTRIES, META, Sums, join, split};
use super::{Shared, Transaction, file};
use crate::load::REVISION;
use crate::{Compare, Event, Op, Outcome, StoreError, contain};

/// The disk space for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Plenty,
    /// Only the space reserved for deletes: transactions that add a key are refused.
    Reserved,
}

/// The outcome of a commit, or of one that failed.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) outcomes: Vec<Result<Outcome, StoreError>>,
    pub(super) sums: Sums,
    pub(super) history: Vec<(u64, Vec<Event>)>,
}

impl Plan {
    pub(super) fn changes(&self) -> bool {
        !self.history.is_empty()
    }
}

/// Why a commit failed.
#[derive(Debug)]
pub(super) enum Failure {
    Engine(redb::Error),
    Panic(String),
    Store(StoreError),
}

impl Failure {
    pub(super) fn reopening(error: StoreError) -> Self {
        Self::Store(error)
    }

    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Engine(redb::Error::Io(error)) => is_full(error),
            Self::Store(StoreError::Io { source, .. }) => is_full(source),
            Self::Store(StoreError::Engine(cause)) => is_full_error(&**cause),
            _ => false,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Engine(error) => error.to_string(),
            Self::Panic(text) => format!("the engine stopped: {text}"),
            Self::Store(error) => error.to_string(),
        }
    }

    pub(super) fn into_error(self, path: &Path) -> StoreError {
        if self.is_full() {
            return StoreError::Full(path.to_owned());
        }
        match self {
            Self::Engine(error) => StoreError::engine(error),
            Self::Panic(text) => StoreError::damaged(path, &text),
            Self::Store(error) => error,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether the disk is full. The engine wraps the system's error in several of its own.
fn is_full_error(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = match error.downcast_ref::<redb::DatabaseError>() {
        Some(redb::DatabaseError::Storage(redb::StorageError::Io(error))) => Some(error),
        _ => match error.downcast_ref::<redb::Error>() {
            Some(redb::Error::Io(error)) => Some(error),
            _ => None,
        },
    };
    io.is_some_and(is_full)
}

impl Shared {
    /// Applies the transactions in order and makes them durable together. After a failure either none or all
    /// are durable; only the file shows which.
    pub(super) fn commit(
        &self,
        transactions: &[Transaction],
        room: Room,
    ) -> (Plan, Option<Failure>) {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan::default();
        let Some(database) = database.as_ref() else {
            return (plan, Some(Failure::Store(self.away())));
        };
        let committed = contain(|| {
            let write = file::begin(database)?;
            plan = stage(&write, transactions, room, &self.path)?;
            // Without transactions it is a probe, which must write to the disk.
            if plan.changes() || transactions.is_empty() {
                write.commit()?;
            } else {
                write.abort()?;
            }
            Ok(())
        });
        let failure = match committed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Failure::Engine(error)),
            Err(panic) => Some(Failure::Panic(panic)),
        };
        (plan, failure)
    }
}

fn stage(
    write: &redb::WriteTransaction,
    transactions: &[Transaction],
    room: Room,
    path: &Path,
) -> Result<Plan, redb::Error> {
    let mut entries = write.open_table(ENTRIES)?;
    let mut meta = write.open_table(META)?;
    let sums = Sums::read(&meta)?;
    let mut plan = Plan {
        sums: sums.map_err(|reason| redb::Error::Corrupted(reason.into()))?,
        ..Plan::default()
    };
    for (compares, ops) in transactions {
        let outcome = if !hold(&entries, compares)? {
            Ok(Outcome::Conflict)
        } else if room == Room::Reserved && adds(&entries, ops)? {
            Err(StoreError::Full(path.to_owned()))
        } else {
            let events = apply(&mut entries, &mut plan.sums, ops)?;
            if !events.is_empty() {
                plan.sums.revision += 1;
                plan.history.push((plan.sums.revision, events));
            }
            let revision = plan.sums.revision;
            Ok(Outcome::Committed { revision })
        };
        plan.outcomes.push(outcome);
    }
    plan.sums.write(&mut meta)?;
    Ok(plan)
}

type Entries<'txn> = Table<'txn, &'static str, &'static [u8]>;

fn hold(entries: &Entries<'_>, compares: &[Compare]) -> Result<bool, redb::Error> {
    for compare in compares {
        let stored = entries.get(compare.key.as_str())?;
        let revision = match stored
            .as_ref()
            .map(|stored| split(&compare.key, stored.value()))
        {
            None => 0,
            Some(Ok((revision, _))) => revision,
            Some(Err(reason)) => {
                let text = format!("the record under {:?}: {reason}", compare.key);
                return Err(redb::Error::Corrupted(text));
            }
        };
        if revision != compare.mod_revision {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the transaction adds keys.
fn adds(entries: &Entries<'_>, ops: &[Op]) -> Result<bool, redb::StorageError> {
    let (mut more, mut fewer) = (0_usize, 0_usize);
    for op in ops.iter().filter(|op| op.key() != REVISION) {
        let is_there = entries.get(op.key())?.is_some();
        match op {
            Op::Put(..) if !is_there => more += 1,
            Op::Delete(_) if is_there => fewer += 1,
            _ => {}
        }
    }
    Ok(more > fewer)
}

fn apply(
    entries: &mut Entries<'_>,
    sums: &mut Sums,
    ops: &[Op],
) -> Result<Vec<Event>, redb::StorageError> {
    let revision = sums.revision + 1;
    let mut events = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Op::Put(key, value) => {
                let stored = join(key, revision, value);
                if let Some(old) = entries.insert(key.as_str(), stored.as_slice())? {
                    sums.remove(old.value());
                }
                sums.add(&stored);
                events.push(Event::Put(key.clone(), value.clone()));
            }
            Op::Delete(key) => {
                if let Some(old) = entries.remove(key.as_str())? {
                    sums.remove(old.value());
                    events.push(Event::Delete(key.clone()));
                }
            }
        }
    }
    Ok(events)
}
