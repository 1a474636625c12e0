//! The pipeline that makes writes durable without serialising them.
//!
//! A write runs on the *head*: the published view plus all changes staged since. Its changes are queued. A
//! flush takes the whole queue, makes it durable as one transaction of the store, publishes the resulting view
//! and completes the writes. Meanwhile further writes stage on the new head. When a transaction fails, all
//! writes staged on top of it fail too, and the head becomes the published view again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use lath_clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::load::{Loaded, REVISION, key};
use crate::view::Edits;
use crate::{Compare, Condition, Kinds, Op, Outcome, Store, StoreError, Tx, View};

/// The writes that may be staged but not durable. Further writes wait.
const STAGED: usize = 4096;

/// The bytes of values in one transaction of the store, unless a single write has more.
const TRANSACTION_BYTES: usize = 4 << 20;

pub(crate) struct Pipeline {
    store: Arc<dyn Store>,
    /// The registered kinds. `None` accepts every kind.
    kinds: Option<Kinds>,
    published: ArcSwap<View>,
    revision: watch::Sender<u64>,
    head: Mutex<Head>,
    condition: watch::Receiver<Condition>,
    places: Arc<Semaphore>,
}

struct Head {
    view: View,
    queue: VecDeque<Staged>,
    /// Whether a flush is running. It runs until the queue is empty.
    flushing: bool,
    /// The store's revision of our last transaction.
    fence: u64,
    /// The error with which further writes are refused.
    stopped: Option<StoreError>,
}

/// A staged write.
struct Staged {
    changed: Edits,
    durable: oneshot::Sender<Result<(), StoreError>>,
    _place: OwnedSemaphorePermit,
}

/// Completes when the write is durable.
pub(crate) type Durable = oneshot::Receiver<Result<(), StoreError>>;

impl Pipeline {
    pub(crate) fn new(store: Arc<dyn Store>, kinds: Option<Kinds>, loaded: Loaded) -> Self {
        Self {
            condition: store.condition(),
            store,
            kinds,
            revision: watch::Sender::new(loaded.view.revision),
            published: ArcSwap::from_pointee(loaded.view.clone()),
            head: Mutex::new(Head {
                view: loaded.view,
                queue: VecDeque::new(),
                flushing: false,
                fence: loaded.fence,
                stopped: None,
            }),
            places: Arc::new(Semaphore::new(STAGED)),
        }
    }

    pub(crate) fn published(&self) -> Arc<View> {
        self.published.load_full()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(crate) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.clone()
    }

    /// Waits for a permit to stage a write.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let places = Arc::clone(&self.places);
        places.acquire_owned().await.map_err(|_| StoreError::Closed)
    }

    /// Runs a write on the head and queues its changes. Returns `None` when there is nothing to wait for.
    pub(crate) fn stage<T, E: From<StoreError>>(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        clock: &Clock,
        f: impl FnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<(Result<T, E>, Option<Durable>), E> {
        let mut head = self.head();
        if let Some(stopped) = &head.stopped {
            return Err(stopped.clone().into());
        }
        let mut tx = Tx::on(head.view.clone(), clock.now());
        let answer = f(&mut tx);
        let changed = match &answer {
            Ok(_) => self.finish(tx, &head.view)?,
            Err(_) => Edits::nothing(&head.view),
        };
        if changed.values.is_empty() && head.view.revision == self.published.load().revision {
            return Ok((answer, None));
        }
        let durable = head.queue(changed, place);
        self.flush_in_background(head);
        Ok((answer, Some(durable)))
    }

    /// Checks the changes of a write and adds the revision.
    fn finish(&self, tx: Tx, head: &View) -> Result<Edits, StoreError> {
        let changed = tx
            .finish()
            .map_err(|(kind, reason)| StoreError::Unstorable { kind, reason })?;
        let mut changed = match changed.values.is_empty() {
            true => return Ok(Edits::nothing(head)),
            false => changed,
        };
        changed.view.revision = head.revision + 1;
        for (kind, id, value) in &changed.values {
            self.check(kind, id, value.as_deref())?;
        }
        self.check_room(&changed, head)?;
        Ok(changed)
    }

    fn check(&self, kind: &'static str, id: &str, value: Option<&[u8]>) -> Result<(), StoreError> {
        let known = self
            .kinds
            .as_ref()
            .is_none_or(|kinds| kinds.get(kind).is_some());
        let reason = if !known {
            "the kind is not registered"
        } else if key(kind, id).len() > crate::MAX_KEY {
            "its id is too long"
        } else if value.is_some_and(|value| value.len() > crate::MAX_VALUE) {
            "it is larger than 8 MiB"
        } else {
            return Ok(());
        };
        Err(StoreError::Unstorable {
            kind,
            reason: reason.into(),
        })
    }

    /// Refuses writes that add records on a full disk. If they were queued, the deletes behind them would fail
    /// with them.
    fn check_room(&self, changed: &Edits, head: &View) -> Result<(), StoreError> {
        let Condition::Full { path, .. } = &*self.condition.borrow() else {
            return Ok(());
        };
        let adds = |(kind, id, value): &(&str, String, Option<Vec<u8>>)| {
            value.is_some() && !head.contains(kind, id)
        };
        if changed.values.iter().any(adds) {
            return Err(StoreError::Full(path.clone()));
        }
        Ok(())
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        // A write that panics does not change the head.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a flush unless one is running. It ends when the queue is empty.
    fn flush_in_background(self: &Arc<Self>, mut head: MutexGuard<'_, Head>) {
        if !std::mem::replace(&mut head.flushing, true) {
            drop(head);
            let flush = Flush {
                pipeline: Arc::clone(self),
                done: false,
            };
            tokio::spawn(flush.run());
        }
    }
}

impl Head {
    fn queue(&mut self, changed: Edits, place: OwnedSemaphorePermit) -> Durable {
        let (durable, waiter) = oneshot::channel();
        self.view = changed.view.clone();
        self.queue.push_back(Staged {
            changed,
            durable,
            _place: place,
        });
        waiter
    }

    /// The next writes to make durable together; empty when the queue is.
    fn next_group(&mut self) -> Vec<Staged> {
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            bytes += next.changed.size();
            if bytes > TRANSACTION_BYTES && !group.is_empty() {
                break;
            }
            group.extend(self.queue.pop_front());
        }
        group
    }
}

impl Edits {
    fn nothing(view: &View) -> Self {
        Self {
            view: view.clone(),
            values: Vec::new(),
        }
    }

    fn size(&self) -> usize {
        let value = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.values
            .iter()
            .map(|(_, id, bytes)| id.len() + value(bytes))
            .sum()
    }
}

/// A running flush. If it is dropped early because its runtime ends, it stops the pipeline, as the outcome of its
/// transaction is unknown.
struct Flush {
    pipeline: Arc<Pipeline>,
    done: bool,
}

impl Drop for Flush {
    fn drop(&mut self) {
        if !self.done {
            let mut head = self.pipeline.head();
            head.stopped = Some(StoreError::Closed);
            head.queue.clear();
        }
    }
}

impl Flush {
    async fn run(mut self) {
        while let Some(group) = self.next_group() {
            let written = self.write(&group).await;
            let answer = match written {
                Ok(Some(fence)) => self.publish(&group, fence),
                Ok(None) => Ok(()),
                Err(error) => Err(self.roll_back(error)),
            };
            for staged in group {
                // The writer may have dropped its future.
                let _ = staged.durable.send(answer.clone());
            }
        }
        self.done = true;
    }

    fn next_group(&self) -> Option<Vec<Staged>> {
        let mut head = self.pipeline.head();
        let group = head.next_group();
        head.flushing = !group.is_empty();
        head.flushing.then_some(group)
    }

    /// Makes the group durable. Returns the store's new revision, or `None` when the group changes nothing.
    async fn write(&self, group: &[Staged]) -> Result<Option<u64>, StoreError> {
        let mut ops = merge(group);
        let Some(last) = group.last().filter(|_| !ops.is_empty()) else {
            return Ok(None);
        };
        let mark = last.changed.view.revision.to_string().into_bytes();
        ops.push(Op::Put(REVISION.into(), mark.into()));
        let alone = Compare {
            key: REVISION.into(),
            mod_revision: self.pipeline.head().fence,
        };
        match self.pipeline.store.txn(vec![alone], ops).await? {
            Outcome::Committed { revision } => Ok(Some(revision)),
            Outcome::Conflict => Err(StoreError::Fenced),
        }
    }

    fn publish(&self, group: &[Staged], fence: u64) -> Result<(), StoreError> {
        self.pipeline.head().fence = fence;
        if let Some(last) = group.last() {
            let view = last.changed.view.clone();
            let revision = view.revision;
            self.pipeline.published.store(Arc::new(view));
            self.pipeline.revision.send_replace(revision);
        }
        Ok(())
    }

    /// Undoes and fails all writes staged on top of the failed one.
    fn roll_back(&self, error: StoreError) -> StoreError {
        let mut head = self.pipeline.head();
        head.view = View::clone(&self.pipeline.published.load());
        if matches!(error, StoreError::Fenced) {
            head.stopped = Some(error.clone());
        }
        for staged in head.queue.drain(..) {
            let _ = staged.durable.send(Err(error.clone()));
        }
        error
    }
}

/// Reduces the group to the last change of each key, by ascending key.
fn merge(group: &[Staged]) -> Vec<Op> {
    let mut last = BTreeMap::new();
    for (kind, id, value) in group.iter().flat_map(|staged| &staged.changed.values) {
        last.insert(key(kind, id), value);
    }
    last.into_iter()
        .map(|(key, value)| match value {
            Some(value) => Op::Put(key, value.as_slice().into()),
            None => Op::Delete(key),
        })
        .collect()
}
