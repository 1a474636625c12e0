use std::sync::Arc;

use tokio::sync::watch;

use crate::load::{Loaded, load};
use crate::pipeline::Pipeline;
use crate::{Condition, Kinds, Memory, Store, StoreError, Tx, View};

/// The database: typed records over a [`Store`]. A copy is another handle to the same database.
///
/// It expects to be the store's only writer; when it finds that it is not, it stops writing
/// ([`StoreError::Fenced`]).
#[derive(Clone)]
pub struct Db {
    pipeline: Arc<Pipeline>,
}

impl Db {
    /// Reads the whole state of a store and goes on from there.
    ///
    /// # Errors
    /// [`StoreError::UnknownKind`] when it holds records of a kind that is not in `kinds`,
    /// [`StoreError::Corrupt`] when one cannot be read; otherwise that the store failed.
    pub async fn open(store: Arc<dyn Store>, kinds: Kinds) -> Result<Self, StoreError> {
        kinds.check()?;
        let loaded = load(&*store, &kinds).await?;
        Ok(Self::on(store, Some(kinds), loaded))
    }

    /// A database that lives in memory only and takes records of every kind: for tests.
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
        }
    }

    /// The newest durable state.
    pub fn view(&self) -> Arc<View> {
        self.pipeline.published()
    }

    /// Wakes when the revision grows.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pipeline.changes()
    }

    /// Whether the store reads and writes.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.pipeline.condition()
    }

    /// Runs `f` on the newest state. When it answers `Ok`, its changes become durable and visible, all or
    /// none, before this returns; when it answers `Err`, nothing changed.
    ///
    /// The newest state may hold changes of other writes that are not durable yet; the answer then waits
    /// for those too, so that nobody is told of something that a crash could undo. `f` runs under a lock
    /// and should take microseconds. Records put back as they were are no change, and a write without
    /// changes does not raise the revision. When the caller goes away after `f` ran, the changes are made
    /// nevertheless. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What `f` answered, or that the store failed.
    pub async fn write<T, E: From<StoreError>>(
        &self,
        f: impl FnOnce(&mut Tx) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let place = self.pipeline.place().await?;
        let (answer, durable) = self.pipeline.stage(place, f)?;
        if let Some(durable) = durable {
            durable.await.map_err(|_| StoreError::Closed)??;
        }
        answer
    }
}
