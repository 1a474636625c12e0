//! Pulling through: an image that a node asks for and that is not here is fetched from the registry of its name, if the
//! configuration lets that registry be asked, and is kept for a while.
//!
//! What was fetched so is marked in the index. It is fetched again when its tag is a day old, and goes when the cache is
//! full, the longest unused first. What a user loaded or pushed does neither.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::fetch::{FetchError, Upstreams};
use crate::reference::{Reference, Target};
use crate::store::{Entry, Images, StoreError};

/// A tag is looked up again after this time.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// What nodes may have fetched.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The registries that may be asked.
    pub registries: BTreeSet<String>,
    /// How they are reached.
    pub upstreams: Upstreams,
    /// The most bytes of images that were fetched so.
    pub limit: u64,
}

/// The store, and the registries that may be asked for what it has not.
pub struct PullThrough {
    images: Images,
    sources: Sources,
    /// Of each image that is being fetched: others wait for it.
    under_way: Mutex<HashMap<Reference, Arc<tokio::sync::Mutex<()>>>>,
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
            images,
            sources,
            under_way: Mutex::default(),
        }
    }

    /// Fetches an image if it is not here, or if what is here of it was fetched long ago. An old one stays if its registry
    /// does not answer.
    ///
    /// # Errors
    /// It is not here and cannot be fetched.
    pub(crate) async fn ensure(&self, name: &Reference) -> Result<(), FetchError> {
        if !self.sources.registries.contains(name.registry())
            || self.state(name).await? == State::Fresh
        {
            return Ok(());
        }
        let turn = {
            let mut under_way = self.under_way();
            Arc::clone(under_way.entry(name.clone()).or_default())
        };
        let alone = turn.lock().await;
        let state = self.state(name).await?;
        let outcome = match state {
            State::Fresh => Ok(()),
            State::Old | State::Absent => self.fetch(name).await,
        };
        drop(alone);
        // The next one that finds it absent begins anew; who waits has its own hold of the turn.
        self.under_way().remove(name);
        match (outcome, state) {
            (Err(error), State::Old) => {
                tracing::warn!(%error, image = %name, "an image that was fetched a day ago is used on");
                Ok(())
            }
            (outcome, _) => outcome,
        }
    }

    fn under_way(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<Reference, Arc<tokio::sync::Mutex<()>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
            Ok::<_, StoreError>(found.map_or(State::Absent, State::of))
        };
        Ok(crate::fetch::run(look).await?)
    }

    async fn fetch(&self, name: &Reference) -> Result<(), FetchError> {
        let fetched = self
            .images
            .fetch_cached(name, &self.sources.upstreams, self.sources.limit);
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
    fn of(entry: &Entry) -> Self {
        let age = entry.named_at().and_then(|at| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
            SystemTime::now().duration_since(at).ok()
        });
        if entry.is_cached() && age.is_some_and(|it| it > FRESH) {
            Self::Old
        } else {
            Self::Fresh
        }
    }
}

impl Images {
    /// Notes that an image is used now.
    pub(crate) fn touch(&self, image: &crate::digest::Digest) {
        if let Ok(file) = std::fs::File::options()
            .write(true)
            .open(self.blob_path(image))
        {
            // A read-only store has no cache that could be full.
            let _ = file.set_modified(SystemTime::now());
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
