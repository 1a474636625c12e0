//! Loads the first view from stored bytes.

use crate::{Entry, Kinds, Rewording, Store, StoreError, View};

/// Records are stored under `record/KIND/ID`.
pub(crate) const RECORDS: &str = "record/";

/// The view's revision, written with every change. Its `mod_revision` reveals another writer.
pub(crate) const REVISION: &str = "meta/revision";

/// The entries of one read of the store.
const PAGE: usize = 1000;

/// The store's key of a record.
pub(crate) fn key(kind: &str, id: &str) -> String {
    format!("{RECORDS}{kind}/{id}")
}

/// The kind and the id in a record's key.
pub(crate) fn parts(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(RECORDS)?.split_once('/')
}

/// The content of a store.
pub(crate) struct Loaded {
    pub(crate) view: View,
    /// The `mod_revision` of [`REVISION`].
    pub(crate) fence: u64,
}

/// Reads the whole state; records up to the revision as they are to be reworded.
pub(crate) async fn load(
    store: &dyn Store,
    kinds: &Kinds,
    rewording: Option<(&Rewording, u64)>,
) -> Result<Loaded, StoreError> {
    let mut view = View::default();
    let mark = store.get(REVISION).await?;
    let fence = mark.as_ref().map_or(0, |mark| mark.mod_revision);
    view.revision = mark.map_or(Ok(0), |mark| revision(&mark))?;
    let mut from = String::new();
    loop {
        let page = store.list(RECORDS, PAGE, &from).await?;
        for entry in &page.entries {
            let reworded = rewording.and_then(|(it, revision)| it.apply(entry, revision));
            add(&mut view, kinds, reworded.as_ref().unwrap_or(entry))?;
        }
        match page.entries.last() {
            Some(last) if page.more => from = format!("{}\0", last.key),
            _ => return Ok(Loaded { view, fence }),
        }
    }
}

fn revision(mark: &Entry) -> Result<u64, StoreError> {
    std::str::from_utf8(&mark.value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| corrupt(mark, "it is no number".into()))
}

fn add(view: &mut View, kinds: &Kinds, entry: &Entry) -> Result<(), StoreError> {
    let (kind, id) =
        parts(&entry.key).ok_or_else(|| corrupt(entry, "its key names no kind and id".into()))?;
    let kind = kinds
        .get(kind)
        .ok_or_else(|| StoreError::UnknownKind(kind.to_owned()))?;
    let record = (kind.decode)(id, &entry.value).map_err(|reason| corrupt(entry, reason))?;
    view.insert(kind.name, id, record);
    Ok(())
}

fn corrupt(entry: &Entry, reason: String) -> StoreError {
    StoreError::Corrupt {
        key: entry.key.clone(),
        reason,
    }
}
