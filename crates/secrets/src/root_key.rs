use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_sigv4::Secret;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

/// The file in the data directory.
const FILE: &str = "root-key.json";
/// The largest key file that is read, in bytes. Real ones have about 150.
const MAX_FILE: u64 = 64 * 1024;
/// For errors: the expected content of the file, and what to do when it is damaged.
const WHAT: &str = "the root access key (JSON with AccessKeyId and SecretAccessKey). Put it back from a backup, or remove it: a new one is made, and clients must be given that (`lath env`)";
/// RFC 4648's base32 alphabet, from which AWS makes key ids.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The account's root access key. It may do everything.
#[derive(Debug, Clone)]
pub struct RootKey {
    /// `AKIA` and 16 characters of base32.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: Secret,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Stored {
    access_key_id: String,
    secret_access_key: String,
}

/// The key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A system call failed.
    #[error("cannot {action} {path}")]
    Io {
        /// The action, such as `read`.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The file does not contain a key.
    #[error("{path} is damaged: it does not hold {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected content, and what to do.
        what: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system's random source failed")]
    Random(#[source] rand::rand_core::OsError),
}

impl RootKey {
    /// Loads the key from the data directory `dir`. Creates it at the first start, with mode 0600, complete and
    /// durable before this returns. Two processes that create it at once get the same key.
    ///
    /// # Errors
    /// [`KeyError`] when the file is not readable, not writable or not a key.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyError> {
        let path = dir.join(FILE);
        if let Some(known) = load(&path)? {
            return Ok(known);
        }
        let key = Self::random()?;
        match store(dir, &key) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                load(&path)?.ok_or(KeyError::Malformed { path, what: WHAT })
            }
            stored => stored.map(|()| key),
        }
    }

    /// Reads the key in a file and changes nothing.
    ///
    /// # Errors
    /// [`KeyError`] when the file does not exist, is not readable or is not a key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read(path).map_err(failed("read", path))?;
        parse(path, &text)
    }

    /// Makes a random key without storing it.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system gives no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        let mut id = [0; 16];
        let mut secret = [0; 30];
        OsRng.try_fill_bytes(&mut id).map_err(KeyError::Random)?;
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(KeyError::Random)?;
        let id = id
            .iter()
            .map(|byte| char::from(BASE32[usize::from(byte % 32)]));
        Ok(Self {
            access_key_id: format!("AKIA{}", id.collect::<String>()),
            secret_access_key: Secret::new(STANDARD.encode(secret)),
        })
    }

    fn is_well_formed(&self) -> bool {
        let id = self.access_key_id.as_bytes();
        id.len() == 20
            && id.iter().all(u8::is_ascii_alphanumeric)
            && self.secret_access_key.reveal().len() == 40
    }
}

pub(crate) fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> KeyError + 'a {
    move |source| KeyError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn load(path: &Path) -> Result<Option<RootKey>, KeyError> {
    let Some(text) = read_private(path, WHAT)? else {
        return Ok(None);
    };
    parse(path, &text).map(Some)
}

fn parse(path: &Path, text: &[u8]) -> Result<RootKey, KeyError> {
    serde_json::from_slice(text)
        .ok()
        .map(|stored: Stored| RootKey {
            access_key_id: stored.access_key_id,
            secret_access_key: Secret::new(stored.secret_access_key),
        })
        .filter(RootKey::is_well_formed)
        .ok_or_else(|| KeyError::Malformed {
            path: path.into(),
            what: WHAT,
        })
}

/// Reads a secret; `None` when there is no file. `what` is the expected content, for errors.
pub(crate) fn read_private(path: &Path, what: &'static str) -> Result<Option<Vec<u8>>, KeyError> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(KeyError::Malformed {
            path: path.into(),
            what,
        });
    }
    close_to_others(path, &meta)?;
    fs::read(path).map(Some).map_err(failed("read", path))
}

/// Sets the mode to 0600, because a copy or a restored backup may be readable by others.
fn close_to_others(path: &Path, meta: &fs::Metadata) -> Result<(), KeyError> {
    if meta.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "a secret was readable by others; its mode is now 0600");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("protect", path))
}

fn store(dir: &Path, key: &RootKey) -> Result<(), KeyError> {
    let stored = Stored {
        access_key_id: key.access_key_id.clone(),
        secret_access_key: key.secret_access_key.reveal().to_owned(),
    };
    let text = serde_json::to_vec_pretty(&stored).expect("two strings always serialise");
    write_private(dir, FILE, &text)
}

/// Writes a temporary file, syncs it, and links it into place. A link, unlike a rename, cannot replace a secret that
/// another process has made meanwhile.
pub(crate) fn write_private(dir: &Path, name: &str, text: &[u8]) -> Result<(), KeyError> {
    let path = dir.join(name);
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let beside = dir.join(format!(".{name}.{}", std::process::id()));
    // Left by a killed process with the same pid.
    drop(fs::remove_file(&beside));
    let linked = write_synced(&beside, text)
        .and_then(|()| fs::hard_link(&beside, &path).map_err(failed("create", &path)));
    fs::remove_file(&beside).map_err(failed("remove", &beside))?;
    linked?;
    let handle = fs::File::open(dir).map_err(failed("open", dir))?;
    handle.sync_all().map_err(failed("sync", dir))
}

fn write_synced(path: &Path, text: &[u8]) -> Result<(), KeyError> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create", path))?;
    file.write_all(text).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &RootKey, b: &RootKey) -> bool {
        let secret = |key: &RootKey| key.secret_access_key.reveal().to_owned();
        a.access_key_id == b.access_key_id && secret(a) == secret(b)
    }

    #[test]
    fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let dir = tempfile::tempdir().unwrap();
        let key = RootKey::load_or_create(dir.path()).unwrap();
        assert!(key.is_well_formed(), "{key:?}");
        assert!(key.access_key_id.starts_with("AKIA"));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(same(&RootKey::load_or_create(dir.path()).unwrap(), &key));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn racing_starts_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let winner = RootKey::load_or_create(dir.path()).unwrap();
        let other = RootKey::random().unwrap();
        let lost = store(dir.path(), &other).unwrap_err();
        assert!(
            matches!(lost, KeyError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
        );
        assert!(same(&RootKey::load_or_create(dir.path()).unwrap(), &winner));
    }

    #[test]
    fn a_key_open_to_others_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        RootKey::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        RootKey::load_or_create(dir.path()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let short = r#"{"AccessKeyId":"AKIA","SecretAccessKey":"x"}"#;
        for text in ["", "{}", "[]", short] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), text).unwrap();
            let refused = RootKey::load_or_create(dir.path());
            assert!(
                matches!(refused, Err(KeyError::Malformed { .. })),
                "{text:?}"
            );
        }
    }
}
