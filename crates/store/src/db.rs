use std::sync::Arc;

use lath_clock::Clock;
use lath_model::Timestamp;
use tokio::sync::watch;

use crate::load::{Loaded, load};
use crate::pipeline::Pipeline;
use crate::reword::{Reworded, Rewording};
use crate::{Condition, Kinds, Memory, Store, StoreError, Tx, View};

/// The database: typed records over a [`Store`]. A clone is another handle to the same database.
///
/// It must be the store's only writer. When it detects another writer, it stops writing ([`StoreError::Fenced`]).
#[derive(Clone)]
pub struct Db {
    pipeline: Arc<Pipeline>,
    clock: Clock,
}

impl Db {
    /// Reads the complete state of a store.
    ///
    /// # Errors
    /// [`StoreError::UnknownKind`] when it contains records of a kind that is not in `kinds`,
    /// [`StoreError::Corrupt`] when a record cannot be read; otherwise the store's error.
    pub async fn open(store: Arc<dyn Store>, kinds: Kinds) -> Result<Self, StoreError> {
        kinds.check()?;
        let loaded = load(&*store, &kinds, None).await?;
        Ok(Self::on(store, Some(kinds), loaded))
    }

    /// As [`Self::open`], of a store in whose records an older version wrote another text than is meant. They are
    /// rewritten before this returns. On a full disk they are read as they are meant, and rewritten when there is room.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_reworded(
        store: Arc<dyn Store>,
        kinds: Kinds,
        rewording: Rewording,
    ) -> Result<Self, StoreError> {
        if rewording.is_done(&*store).await? {
            return Self::open(store, kinds).await;
        }
        kinds.check()?;
        let revision = rewording.revision(&*store).await?;
        // On a full disk not even a try: what it wrote before it failed would be the space that deletes need.
        let full = match &*store.condition().borrow() {
            Condition::Full { path, .. } => Some(path.clone()),
            _ => None,
        };
        let performed = match full {
            Some(path) => Err(StoreError::Full(path)),
            None => rewording.perform(&*store, revision).await,
        };
        match performed {
            Ok(()) => return Self::open(store, kinds).await,
            Err(error @ StoreError::Full(_)) => {
                tracing::warn!(%error, rewording.from, rewording.to, "the records are reworded later");
            }
            Err(error) => return Err(error),
        }
        let loaded = load(&*store, &kinds, Some((&rewording, revision))).await?;
        let store = Arc::new(Reworded::new(store, rewording, revision));
        Ok(Self::on(store, Some(kinds), loaded))
    }

    /// A database in memory that accepts records of every kind, for tests.
    pub fn in_memory() -> Self {
        let empty = Loaded {
            view: View::default(),
            fence: 0,
        };
        Self::on(Arc::new(Memory::new()), None, empty)
    }

    fn on(store: Arc<dyn Store>, kinds: Option<Kinds>, loaded: Loaded) -> Self {
        Self {
            pipeline: Arc::new(Pipeline::new(store, kinds, loaded)),
            clock: Clock::system(),
        }
    }

    /// The same database by another clock: what is written through this handle and its clones carries that time. One
    /// that was just opened goes by the system's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The clock that transactions go by, for those who keep time beside the state.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time now, outside of transactions. In one, [`Tx::now`] is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The newest durable state.
    pub fn view(&self) -> Arc<View> {
        self.pipeline.published()
    }

    /// The revision. The receiver wakes when it grows.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pipeline.changes()
    }

    /// The condition of the store.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.pipeline.condition()
    }

    /// Runs `f` on the newest state. When `f` returns `Ok`, all its changes become durable and visible
    /// atomically before this returns. When it returns `Err`, nothing changes.
    ///
    /// The newest state may contain changes of other writes that are not durable yet. The result waits for
    /// those too, so that it never reveals changes that a crash could undo. `f` runs under a lock and should
    /// take microseconds. Putting an equal record back is no change, and a write without changes does not raise
    /// the revision. When the caller drops the future after `f` ran, the changes are made nevertheless. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// The error of `f`, or of the store.
    pub async fn write<T, E: From<StoreError>>(
        &self,
        f: impl FnOnce(&mut Tx) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let place = self.pipeline.permit().await?;
        let (answer, durable) = self.pipeline.stage(place, &self.clock, f)?;
        if let Some(durable) = durable {
            durable.await.map_err(|_| StoreError::Closed)??;
        }
        answer
    }
}
