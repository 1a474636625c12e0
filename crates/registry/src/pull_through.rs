//! Pulling through: an image that a node asks for and that is not here is fetched from the registry of its name, if the
//! configuration lets that registry be asked, and is kept for a while.
//!
//! What was fetched so is marked in the index. It is fetched again when its tag is a day old, and goes when the cache is
//! full, the longest unused first. What a user loaded or pushed does neither.
//!
//! The cache has a limit, and what is just being fetched has the same one of its own: a fetch waits until those that are under
//! way leave room for it. What comes is beside the blobs until the image is whole, so that nothing stays of a fetch that fails
//! or whose process is killed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tempfile::NamedTempFile;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fetch::{FetchError, Upstreams};
use crate::reference::{Reference, Target};
use crate::store::{Entry, Images, StoreError};

/// A tag is looked up again after this time.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// The names of files that are being fetched begin so.
const FETCHED: &str = "fetched-";
/// A file that is younger may be one whose process is about to lock it.
const YOUNG: Duration = Duration::from_secs(60);
/// How many images may be under way at once, most of which wait for room.
const FETCHES: usize = 64;
/// Bytes of one unit of room.
const UNIT: u64 = 64 << 10;

/// What nodes may have fetched.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The registries that may be asked.
    pub registries: BTreeSet<String>,
    /// How they are reached.
    pub upstreams: Upstreams,
    /// The most bytes of images that were fetched so, and of those that are being fetched.
    pub limit: u64,
}

/// The store, and the registries that may be asked for what it has not.
pub struct PullThrough {
    images: Images,
    sources: Sources,
    room: Room,
    /// Of each image that is being fetched: all that ask wait for it.
    fetches: Mutex<HashMap<Reference, Fetch>>,
}

/// A fetch that any number of requests wait for.
type Fetch = Shared<BoxFuture<'static, Result<(), Arc<FetchError>>>>;

/// The bytes that may be fetched at the same time.
pub(crate) struct Room {
    limit: u64,
    units: Arc<Semaphore>,
    all: u32,
}

impl Room {
    pub(crate) fn new(limit: u64) -> Self {
        let all = u32::try_from(limit / UNIT).unwrap_or(u32::MAX).max(1);
        // A permit is a unit, and there is at least one.
        let permits = usize::try_from(all).unwrap_or(usize::MAX);
        let units = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { limit, units, all }
    }

    /// The most that one image may have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Waits for room, in turn; it is free again when what this gives is dropped.
    pub(crate) async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.units).acquire_many_owned(units.min(self.all));
        // It is never closed.
        taken.await.ok()
    }
}

impl std::fmt::Debug for PullThrough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PullThrough({:?})", self.sources.registries)
    }
}

impl PullThrough {
    /// Over a store.
    pub fn new(images: Images, sources: Sources) -> Self {
        Self {
            room: Room::new(sources.limit),
            images,
            sources,
            fetches: Mutex::default(),
        }
    }

    /// Fetches an image if it is not here, or if what is here of it was fetched long ago. An old one stays if its registry
    /// does not answer. A fetch goes on when its client has gone: the client comes back for its image.
    ///
    /// # Errors
    /// It is not here and cannot be fetched.
    pub(crate) async fn ensure(self: &Arc<Self>, name: &Reference) -> Result<(), Arc<FetchError>> {
        if !self.sources.registries.contains(name.registry())
            || self.state(name).await? == State::Fresh
        {
            return Ok(());
        }
        self.under_way(name)?.await
    }

    /// The fetch of an image, which is begun unless it is under way.
    fn under_way(self: &Arc<Self>, name: &Reference) -> Result<Fetch, FetchError> {
        let mut all = self.fetches();
        if let Some(fetch) = all.get(name) {
            return Ok(fetch.clone());
        }
        if all.len() >= FETCHES {
            return Err(FetchError::TooMany);
        }
        let (this, of) = (Arc::clone(self), name.clone());
        let fetch = async move {
            let outcome = this.refresh(&of).await;
            this.fetches().remove(&of);
            outcome.map_err(Arc::new)
        };
        let fetch = fetch.boxed().shared();
        all.insert(name.clone(), fetch.clone());
        tokio::spawn(fetch.clone());
        Ok(fetch)
    }

    fn fetches(&self) -> std::sync::MutexGuard<'_, HashMap<Reference, Fetch>> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh(&self, name: &Reference) -> Result<(), FetchError> {
        let state = self.state(name).await?;
        let outcome = match state {
            State::Fresh => Ok(()),
            State::Old | State::Absent => self.fetch(name).await,
        };
        match (outcome, state) {
            (Err(error), State::Old) => {
                tracing::warn!(%error, image = %name, "an image that was fetched a day ago is used on");
                Ok(())
            }
            (outcome, _) => outcome,
        }
    }

    async fn state(&self, name: &Reference) -> Result<State, FetchError> {
        let (images, name) = (self.images.clone(), name.clone());
        let look = move || {
            if let Target::Digest(_) = name.target() {
                let found = images.find(&name)?;
                return Ok(found.map_or(State::Absent, |_| State::Fresh));
            }
            let text = name.to_string();
            let entries = images.names()?;
            let found = entries.iter().find(|it| it.name() == text);
            let now = images.clock.system_time();
            Ok::<_, StoreError>(found.map_or(State::Absent, |it| State::of(it, now)))
        };
        Ok(crate::fetch::run(look).await?)
    }

    async fn fetch(&self, name: &Reference) -> Result<(), FetchError> {
        let fetched = self
            .images
            .fetch_cached(name, &self.sources.upstreams, &self.room);
        let fetched = fetched.await?;
        tracing::info!(image = %name, digest = %fetched.digest, "an image was fetched for a node");
        let (images, limit) = (self.images.clone(), self.sources.limit);
        Ok(crate::fetch::run(move || images.evict(limit)).await?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Old,
    Fresh,
}

impl State {
    fn of(entry: &Entry, now: SystemTime) -> Self {
        let age = entry.named_at().and_then(|at| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
            now.duration_since(at).ok()
        });
        if entry.is_cached() && age.is_some_and(|it| it > FRESH) {
            Self::Old
        } else {
            Self::Fresh
        }
    }
}

impl Images {
    /// A file for a blob that is fetched. It goes with its process: the next one removes what no process has locked.
    pub(crate) fn fetched_file(&self) -> Result<NamedTempFile, StoreError> {
        self.drop_unfetched();
        let directory = self.unfinished();
        let file = tempfile::Builder::new()
            .prefix(FETCHED)
            .tempfile_in(&directory);
        let file = file.map_err(StoreError::io(&directory))?;
        // As long as any handle of it is open.
        file.as_file().lock().map_err(StoreError::io(directory))?;
        Ok(file)
    }

    /// Removes what processes that ended were fetching.
    pub(crate) fn drop_unfetched(&self) {
        let entries = fs::read_dir(self.unfinished()).into_iter().flatten();
        for entry in entries.flatten() {
            let is_fetched = entry.file_name().to_string_lossy().starts_with(FETCHED);
            let modified = entry.metadata().and_then(|it| it.modified());
            let age = modified.map(|it| {
                self.clock
                    .system_time()
                    .duration_since(it)
                    .unwrap_or_default()
            });
            if !is_fetched || age.is_ok_and(|it| it < YOUNG) {
                continue;
            }
            let Ok(file) = fs::File::open(entry.path()) else {
                continue;
            };
            if file.try_lock().is_ok() {
                // Another may have removed it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Notes that an image is used now.
    pub(crate) fn touch(&self, image: &crate::digest::Digest) {
        if let Ok(file) = std::fs::File::options()
            .write(true)
            .open(self.blob_path(image))
        {
            // A read-only store has no cache that could be full.
            let _ = file.set_modified(self.clock.system_time());
        }
    }

    /// Removes cached images, the longest unused first, until the others have at most so many bytes. The one that was used
    /// last stays.
    pub(crate) fn evict(&self, limit: u64) -> Result<(), StoreError> {
        let lock = self.lock()?;
        let entries = self.names()?;
        let mut cached: BTreeMap<_, u64> = BTreeMap::new();
        for entry in entries.iter().filter(|it| it.is_cached()) {
            let digest = &entry.descriptor.digest;
            let used = std::fs::metadata(self.blob_path(digest)).and_then(|it| it.modified());
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            let mut parts = BTreeSet::new();
            self.add_parts(digest, &mut parts)?;
            let mut size = 0;
            for part in &parts {
                size += self.blob(part)?.map_or(0, |(_, size)| size);
            }
            cached.insert((used, digest.clone()), size);
        }
        let (mut kept, mut total) = (BTreeSet::new(), 0_u64);
        for ((_, digest), size) in cached.into_iter().rev() {
            total = total.saturating_add(size);
            if total <= limit || kept.is_empty() {
                kept.insert(digest);
            }
        }
        let had = entries.len();
        let stays = |it: &Entry| !it.is_cached() || kept.contains(&it.descriptor.digest);
        let entries: Vec<Entry> = entries.into_iter().filter(stays).collect();
        if entries.len() < had {
            self.rename(&lock, entries)?;
        }
        Ok(())
    }
}
