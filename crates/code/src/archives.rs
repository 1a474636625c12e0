//! Archives in a directory, by their digests.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of an archive, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// As Lambda shows it: base64.
    pub fn base64(&self) -> String {
        STANDARD.encode(hex::decode(&self.0).unwrap_or_default())
    }

    /// Hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        if text.len() == 64 && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Archives that are kept.
#[derive(Debug, Clone)]
pub struct Archives(PathBuf);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Held while an archive gets its name, and while one is looked at and removed: else one could be removed that was kept
/// between the two.
static NAMING: Mutex<()> = Mutex::new(());

/// A name that nothing else in this process uses, behind those of other processes.
fn unique(before: &str) -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{before}.{}.{number}.new", std::process::id())
}

impl Archives {
    /// Those in a directory, which is made when the first one is kept.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where one is.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join(format!("{digest}.zip"))
    }

    /// Keeps an archive. When this returns it is on disk, with its name.
    ///
    /// # Errors
    /// What the system said.
    pub fn keep(&self, archive: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(archive);
        let path = self.path(&digest);
        self.make()?;
        // One that is there already is written anew: it may be damaged, and its age counts from now on.
        let temporary = self.0.join(unique(""));
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let written = file.write_all(archive).and_then(|()| file.sync_all());
        let name = || {
            let _naming = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
            fs::rename(&temporary, &path)
        };
        if let Err(error) = written.and_then(|()| name()) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(&self.0)?.sync_all()?;
        Ok(digest)
    }

    /// Makes the directory, whose name is then on disk too.
    fn make(&self) -> io::Result<()> {
        if self.0.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        for above in self.0.ancestors().skip(1).take(2) {
            if above != Path::new("") {
                File::open(above)?.sync_all()?;
            }
        }
        Ok(())
    }

    /// An archive, if it is there and what it is called.
    ///
    /// # Errors
    /// When it cannot be read, or is another one.
    pub fn read(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let archive = fs::read(self.path(digest))?;
        if Digest::of(&archive) != *digest {
            let text = "the archive on disk is damaged";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(archive)
    }

    /// Removes archives that are not in use and older than an hour by now: a younger one may belong to a request that is not done.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn sweep(&self, now: SystemTime, is_used: impl Fn(&Digest) -> bool) -> io::Result<()> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".zip"));
            let digest = digest.and_then(|name| name.parse::<Digest>().ok());
            let _naming = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
            if digest.is_some_and(|it| is_used(&it)) || !is_old(&entry.path(), now) {
                continue;
            }
            if let Err(error) = fs::remove_file(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Unpacks an archive below `into`, whole or not at all: what is there already is what it unpacks to.
    ///
    /// # Errors
    /// In words for the user.
    pub fn unpack(&self, digest: &Digest, into: &Path) -> Result<(), String> {
        if into.exists() {
            return Ok(());
        }
        let archive = self
            .read(digest)
            .map_err(|error| format!("its code {digest} cannot be read: {error}"))?;
        let cannot = |error: io::Error| format!("its code cannot be unpacked: {error}");
        // Of its own: the same archive may be unpacked for another function at the same time.
        let name = into.file_name().unwrap_or_default().to_string_lossy();
        let temporary = into.with_file_name(unique(&name));
        crate::archive::remove(&temporary).map_err(cannot)?;
        let unpacked = crate::unpack(&archive, &temporary).map_err(|error| error.to_string());
        let name = |_| fs::rename(&temporary, into).map_err(|error| error.to_string());
        let Err(error) = unpacked.and_then(name) else {
            return Ok(());
        };
        let _ = crate::archive::remove(&temporary);
        // The other one was first, with the same content.
        match into.exists() {
            true => Ok(()),
            false => Err(format!("its code cannot be unpacked: {error}")),
        }
    }
}

/// An hour old.
fn is_old(path: &Path, now: SystemTime) -> bool {
    let age = fs::metadata(path).and_then(|it| it.modified()).ok();
    let age = age.and_then(|since| now.duration_since(since).ok());
    age.is_some_and(|age| age.as_secs() > 3600)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_kept_is_read_and_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let archives = Archives::at(directory.path().join("a"));
        let digest = archives.keep(b"one").unwrap();
        assert_eq!(digest, archives.keep(b"one").unwrap());
        assert_eq!(archives.read(&digest).unwrap(), b"one");
        assert_eq!(digest.as_str().parse(), Ok(digest.clone()));
        assert_eq!(
            digest.base64(),
            "dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z/0Me0="
        );
        let kept = fs::metadata(archives.path(&digest)).unwrap();
        let after = |seconds| kept.modified().unwrap() + Duration::from_secs(seconds);
        archives.sweep(after(3600), |_| false).unwrap();
        assert!(archives.read(&digest).is_ok(), "it is young");
        archives.sweep(after(3601), |_| true).unwrap();
        assert!(archives.read(&digest).is_ok(), "it is in use");
        fs::write(archives.path(&digest), b"two").unwrap();
        assert!(archives.read(&digest).is_err());
        archives.sweep(after(9999), |_| false).unwrap();
        assert!(!archives.path(&digest).exists());
        assert!("../x".parse::<Digest>().is_err());
    }

    #[test]
    fn an_archive_is_unpacked_for_many_at_once() {
        use zip::write::{SimpleFileOptions, ZipWriter};
        let directory = tempfile::tempdir().unwrap();
        let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
        for number in 0..200 {
            let name = format!("d{}/{number}", number % 7);
            writer
                .start_file(name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(b"content").unwrap();
        }
        let archives = Archives::at(directory.path().join("archives"));
        let digest = archives
            .keep(&writer.finish().unwrap().into_inner())
            .unwrap();
        let unpacked = directory.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let into = unpacked.join(digest.as_str());
        std::thread::scope(|scope| {
            let work = || archives.unpack(&digest, &into);
            let all: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
            for one in all {
                assert_eq!(one.join().unwrap(), Ok(()));
            }
        });
        let files = (0..7).map(|it| fs::read_dir(into.join(format!("d{it}"))).unwrap().count());
        assert_eq!(files.sum::<usize>(), 200);
        assert_eq!(
            fs::read_dir(&unpacked).unwrap().count(),
            1,
            "nothing is left"
        );
    }
}
