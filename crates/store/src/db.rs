use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};

/// A typed value under an id.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind, unique in the database and for ever the same, such as `ec2.vpc`.
    const KIND: &'static str;
    /// The format of the stored value. Older formats go through [`Record::upgrade`].
    const FORMAT: u16 = 1;

    /// The id, unique in the kind.
    fn id(&self) -> String;

    /// Turns a value stored in an older format into one of [`Record::FORMAT`].
    ///
    /// # Errors
    /// A text that says why it cannot be read.
    fn upgrade(format: u16, _value: serde_json::Value) -> Result<Self, String> {
        Err(format!("format {format} of {} is not known", Self::KIND))
    }
}

/// The state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record of a kind that nobody registered.
    #[error("the state holds records of the unknown kind {0:?}: it was written by a newer version")]
    UnknownKind(String),
}

/// The kinds that a database may hold.
#[derive(Default)]
pub struct Kinds(());

impl Kinds {
    /// Adds a kind.
    #[must_use]
    pub fn with<R: Record>(self) -> Self {
        self
    }
}

type Table = BTreeMap<String, Arc<dyn Any + Send + Sync>>;

/// An immutable state of the database at one revision.
#[derive(Clone, Default)]
pub struct View {
    revision: u64,
    tables: HashMap<&'static str, Arc<Table>>,
}

impl View {
    /// The revision: grows with each transaction.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The record of this id.
    pub fn get<R: Record>(&self, id: &str) -> Option<Arc<R>> {
        let any = self.tables.get(R::KIND)?.get(id)?;
        Arc::clone(any).downcast().ok()
    }

    /// Whether a record of this kind and id exists, for callers that do not know the kind's type.
    pub fn contains(&self, kind: &str, id: &str) -> bool {
        self.tables
            .get(kind)
            .is_some_and(|table| table.contains_key(id))
    }

    /// Every record of the kind, by ascending id.
    pub fn list<R: Record>(&self) -> impl Iterator<Item = Arc<R>> + '_ {
        self.range::<R>("")
    }

    /// The records whose id begins with `prefix`, by ascending id.
    pub fn range<'a, R: Record>(&'a self, prefix: &'a str) -> impl Iterator<Item = Arc<R>> + 'a {
        self.tables
            .get(R::KIND)
            .into_iter()
            .flat_map(move |table| table.range(prefix.to_owned()..))
            .take_while(move |(id, _)| id.starts_with(prefix))
            .filter_map(|(_, any)| Arc::clone(any).downcast().ok())
    }
}

/// A transaction: the view it began with, and its own changes on top.
pub struct Tx {
    view: View,
}

impl Tx {
    /// The state as this transaction sees it: its own changes included.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The record of this id.
    pub fn get<R: Record>(&self, id: &str) -> Option<Arc<R>> {
        self.view.get(id)
    }

    /// Every record of the kind.
    pub fn list<R: Record>(&self) -> impl Iterator<Item = Arc<R>> + '_ {
        self.view.list()
    }

    /// Creates or replaces a record.
    pub fn put<R: Record>(&mut self, record: R) -> Arc<R> {
        let record = Arc::new(record);
        let table = Arc::make_mut(self.view.tables.entry(R::KIND).or_default());
        table.insert(record.id(), Arc::clone(&record) as _);
        record
    }

    /// Changes a copy of a record in place and puts it back; `None` when there is none.
    pub fn update<R: Record + Clone>(
        &mut self,
        id: &str,
        f: impl FnOnce(&mut R),
    ) -> Option<Arc<R>> {
        let mut copy = R::clone(&*self.get::<R>(id)?);
        f(&mut copy);
        Some(self.put(copy))
    }

    /// Deletes a record; whether it was there.
    pub fn delete<R: Record>(&mut self, id: &str) -> bool {
        self.view
            .tables
            .get_mut(R::KIND)
            .is_some_and(|table| Arc::make_mut(table).remove(id).is_some())
    }
}

/// The database.
#[derive(Clone)]
pub struct Db {
    published: Arc<ArcSwap<View>>,
    writer: Arc<Mutex<()>>,
    revision: Arc<watch::Sender<u64>>,
}

impl Db {
    /// A database that lives in memory only: for tests.
    pub fn in_memory() -> Self {
        Self {
            published: Arc::default(),
            writer: Arc::default(),
            revision: Arc::new(watch::Sender::new(0)),
        }
    }

    /// The newest durable state.
    pub fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    /// Wakes when the revision grows.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Runs `f` on the newest state. When it answers `Ok`, its changes become durable and visible, all or
    /// none, before this returns; when it answers `Err`, nothing changed.
    ///
    /// # Errors
    /// What `f` answered, or that the store failed.
    pub async fn write<T, E: From<StoreError>>(
        &self,
        f: impl FnOnce(&mut Tx) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let _one_at_a_time = self.writer.lock().await;
        let mut tx = Tx {
            view: View::clone(&self.published.load()),
        };
        let answer = f(&mut tx)?;
        tx.view.revision += 1;
        let revision = tx.view.revision;
        self.published.store(Arc::new(tx.view));
        self.revision.send_replace(revision);
        Ok(answer)
    }
}
