//! Creates and opens the file.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableError,
    WriteTransaction,
};

use super::format::{ENTRIES, FORMAT, IDENTITY, META, Sums, join, split_first_format};
use crate::{Identity, StoreError, contain};

/// The engine's page cache, in bytes. It can be small, because the view has the whole state in memory.
const CACHE_BYTES: usize = 16 << 20;

/// Creates the file (mode 0600) atomically, unless there is one.
pub(crate) fn create(path: &Path, identity: Option<&Identity>) -> Result<(), StoreError> {
    let beside = path.with_extension("redb-new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io(&beside, error));
        }
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&beside);
    let file = file.map_err(|error| StoreError::io(&beside, error))?;
    let database = Database::builder().create_file(file);
    let database = database.map_err(StoreError::engine)?;
    lay_out(&database, identity).map_err(StoreError::engine)?;
    drop(database);
    // A link, unlike a rename, cannot replace a state that another process has made meanwhile.
    let linked = std::fs::hard_link(&beside, path);
    let removed = std::fs::remove_file(&beside);
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(|error| StoreError::io(path, error))?,
    }
    removed.map_err(|error| StoreError::io(&beside, error))?;
    // Sync the directory too, so that the new file's name survives a power cut.
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::io(directory, error))
}

fn lay_out(database: &Database, identity: Option<&Identity>) -> Result<(), redb::Error> {
    let write = begin(database)?;
    write.open_table(ENTRIES)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("format", FORMAT)?;
        Sums::default().write(&mut meta)?;
    }
    if let Some(identity) = identity {
        note(&write, identity)?;
    }
    write.commit()?;
    Ok(())
}

/// Begins a transaction that is durable once committed and whose root the engine trusts after a crash.
pub(crate) fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    // Commit in two phases, so that the engine never falls back to the previous root after a crash. So a record with
    // a damaged page can be read, and named, after a crash too.
    write.set_quick_repair(true);
    Ok(write)
}

/// Opens the file, and rewrites it if it has an older format. With `repair`, rebuilds damaged structures of the
/// engine that contain no records.
pub(crate) fn open(path: &Path, repair: bool) -> Result<(Database, Sums), StoreError> {
    let length = std::fs::metadata(path).map_err(|error| StoreError::io(path, error))?;
    if length.len() == 0 {
        return Err(StoreError::damaged(path, "it is empty"));
    }
    let opened = contain(|| {
        let mut database = builder().open(path).map_err(|error| opening(path, error))?;
        if repair {
            database.check_integrity().map_err(StoreError::engine)?;
        }
        let sums = upgrade(&database, path)?;
        Ok((database, sums))
    });
    opened.unwrap_or_else(|panic| Err(StoreError::damaged(path, &panic)))
}

/// Opens the database of a backend without upgrading it.
pub(crate) fn open_backend(backend: impl StorageBackend) -> Result<Database, redb::DatabaseError> {
    builder().create_with_backend(backend)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn opening(path: &Path, error: redb::DatabaseError) -> StoreError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        error => StoreError::engine(error),
    }
}

fn upgrade(database: &Database, path: &Path) -> Result<Sums, StoreError> {
    match format(database).map_err(StoreError::engine)? {
        Some(FORMAT) => {}
        Some(1) => rewrite_first_format(database, path)?,
        Some(other) => return Err(StoreError::damaged(path, &unknown(other))),
        None => {
            return Err(StoreError::damaged(
                path,
                "it does not say which format it has",
            ));
        }
    }
    let sums = read_sums(database).map_err(StoreError::engine)?;
    sums.map_err(|reason| StoreError::damaged(path, reason))
}

pub(crate) fn unknown(format: u64) -> String {
    format!("it has format {format}, this version of Lath reads up to format {FORMAT}")
}

/// The recorded format of a file.
pub(crate) fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn read_sums(database: &Database) -> Result<Result<Sums, &'static str>, redb::Error> {
    let read = database.begin_read()?;
    Ok(Sums::read(&read.open_table(META)?)?)
}

/// Adds checksums to all entries, in one transaction.
fn rewrite_first_format(database: &Database, path: &Path) -> Result<(), StoreError> {
    let entries = first_format_entries(database).map_err(StoreError::engine)?;
    let rewrite = || -> Result<(), redb::Error> {
        let write = begin(database)?;
        {
            let mut table = write.open_table(ENTRIES)?;
            let mut meta = write.open_table(META)?;
            let revision = meta.get("revision")?.map_or(0, |value| value.value());
            let mut sums = Sums {
                revision,
                ..Sums::default()
            };
            for (key, revision, value) in &entries {
                let stored = join(key, *revision, value);
                sums.add(&stored);
                table.insert(key.as_str(), stored.as_slice())?;
            }
            meta.insert("format", FORMAT)?;
            sums.write(&mut meta)?;
        }
        write.commit()?;
        Ok(())
    };
    rewrite().map_err(StoreError::engine)?;
    tracing::info!(path = %path.display(), records = entries.len(), "added checksums to the state's records");
    Ok(())
}

type Entries = Vec<(String, u64, Vec<u8>)>;

fn first_format_entries(database: &Database) -> Result<Entries, redb::Error> {
    let read = database.begin_read()?;
    let mut entries = Vec::new();
    for item in read.open_table(ENTRIES)?.iter()? {
        let (key, stored) = item?;
        // Keep a truncated value: the reader of the record will refuse it.
        let (revision, value) = split_first_format(stored.value()).unwrap_or_default();
        entries.push((key.value().to_owned(), revision, value.to_vec()));
    }
    Ok(entries)
}

/// The recorded identity of the state, if there is one.
pub(crate) fn identity(database: &Database) -> Result<Option<Identity>, redb::Error> {
    let read = database.begin_read()?;
    let table = match read.open_table(IDENTITY) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = |name| Ok::<_, redb::Error>(table.get(name)?.map(|text| text.value().to_owned()));
    let (installation, region) = (text("installation")?, text("region")?);
    Ok(installation
        .zip(region)
        .map(|(installation, region)| Identity {
            installation,
            region,
        }))
}

/// Records the identity of the state.
pub(crate) fn note(write: &WriteTransaction, identity: &Identity) -> Result<(), redb::Error> {
    let mut table = write.open_table(IDENTITY)?;
    table.insert("installation", identity.installation.as_str())?;
    table.insert("region", identity.region.as_str())?;
    Ok(())
}
