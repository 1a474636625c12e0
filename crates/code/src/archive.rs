//! Zip archives of strangers.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;

/// The most bytes that an archive may unpack to
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub const UNPACKED: u64 = 262_144_000;
/// The most entries of an archive: each costs an inode.
pub const MOST_ENTRIES: usize = 100_000;
/// The longest name of an entry, and the longest target of a link, in bytes.
const LONGEST_PATH: usize = 1024;
/// The most directories one below another.
const DEEPEST: usize = 64;

/// An archive that is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It is no zip archive, or is damaged.
    #[error("it is no sound zip archive: {0}")]
    NoArchive(String),
    /// It unpacks to more than [`UNPACKED`], or to too many files.
    #[error("it unpacks to more than {UNPACKED} bytes or {MOST_ENTRIES} files")]
    TooLarge,
    /// An entry would not be where it belongs, or is of a kind that no function needs.
    #[error("the entry {name:?} {why}")]
    Entry {
        /// Its name, shortened.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The files cannot be written.
    #[error("it cannot be unpacked")]
    Io(#[from] io::Error),
}

/// Reads all of an archive, and gives how many bytes it unpacks to.
///
/// # Errors
/// When it would not be unpacked.
pub fn examine(archive: &[u8]) -> Result<u64, Invalid> {
    walk(archive, |_, content| {
        if let Content::File(from, _) = content {
            io::copy(from, &mut io::sink())?;
        }
        Ok(())
    })
}

/// Unpacks an archive below a directory, which is made and must not be there. Everybody may read what is in it. When it
/// fails the directory may hold a part.
///
/// # Errors
/// When it is not fit, or cannot be written.
pub fn unpack(archive: &[u8], into: &Path) -> Result<u64, Invalid> {
    make(into)?;
    // Links come last, so that no file is written through one.
    let mut links = Vec::new();
    let size = walk(archive, |path, content| {
        let place = into.join(path);
        make_below(into, path.parent().unwrap_or_else(|| Path::new("")))?;
        match content {
            Content::Directory => Ok(make_below(into, path)?),
            Content::File(from, executable) => {
                let mode = if executable { 0o755 } else { 0o644 };
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&place)?;
                file.set_permissions(Permissions::from_mode(mode))?;
                io::copy(from, &mut file)?;
                Ok(file.flush()?)
            }
            Content::Link(target) => {
                links.push((target, place));
                Ok(())
            }
        }
    })?;
    for (target, place) in links {
        symlink(target, place)?;
    }
    Ok(size)
}

/// A directory that everybody may read, whatever this process's umask is.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// The directories of a path below another that are not there yet.
fn make_below(base: &Path, path: &Path) -> io::Result<()> {
    let mut at = base.to_owned();
    for component in path.components() {
        at.push(component);
        match make(&at) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    Ok(())
}

enum Content<'a> {
    Directory,
    /// With whether it may be executed.
    File(&'a mut dyn Read, bool),
    /// To where it leads, which is inside.
    Link(PathBuf),
}

/// Shows each entry, and gives the bytes of all.
fn walk(
    archive: &[u8],
    mut each: impl FnMut(&Path, Content<'_>) -> Result<(), Invalid>,
) -> Result<u64, Invalid> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(no_archive)?;
    if archive.len() > MOST_ENTRIES {
        return Err(Invalid::TooLarge);
    }
    let mut seen = BTreeSet::new();
    let mut left = UNPACKED;
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).map_err(no_archive)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let wrong = |why| Invalid::Entry {
            name: name.chars().take(128).collect(),
            why,
        };
        if entry.encrypted() {
            return Err(wrong("is encrypted"));
        }
        let path = inside(&name).ok_or_else(|| wrong("does not name a place in the archive"))?;
        if path == Path::new("") {
            continue;
        }
        let mode = entry.unix_mode().unwrap_or(0o644);
        let executable = mode & 0o111 != 0;
        if entry.is_dir() {
            each(&path, Content::Directory)?;
            continue;
        }
        if !seen.insert(path.clone()) {
            return Err(wrong("is there twice"));
        }
        if entry.is_symlink() {
            let mut target = Vec::new();
            let longest = u64::try_from(LONGEST_PATH).unwrap_or_default();
            (&mut entry)
                .take(longest + 1)
                .read_to_end(&mut target)
                .map_err(damaged)?;
            let target = String::from_utf8(target).ok();
            let target = target.filter(|target| leads_inside(&path, target));
            let target = target.ok_or_else(|| wrong("is a link that leads elsewhere"))?;
            left = left
                .checked_sub(target.len() as u64)
                .ok_or(Invalid::TooLarge)?;
            each(&path, Content::Link(target.into()))?;
            continue;
        }
        if mode & KIND != 0 && mode & KIND != REGULAR {
            return Err(wrong("is neither a file nor a directory nor a link"));
        }
        let mut bounded = Bounded {
            inner: &mut entry,
            left,
            exceeded: false,
            failed: None,
        };
        let done = each(&path, Content::File(&mut bounded, executable));
        if bounded.exceeded {
            return Err(Invalid::TooLarge);
        }
        if let Some(text) = bounded.failed {
            return Err(Invalid::NoArchive(text));
        }
        left = bounded.left;
        done?;
    }
    Ok(UNPACKED - left)
}

/// The bits of a mode that say what a file is, and those of an ordinary one.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

fn no_archive(error: zip::result::ZipError) -> Invalid {
    Invalid::NoArchive(error.to_string())
}

fn damaged(error: io::Error) -> Invalid {
    Invalid::NoArchive(error.to_string())
}

/// What an entry unpacks to, whatever its header says.
struct Bounded<R> {
    inner: R,
    left: u64,
    exceeded: bool,
    /// The archive's fault, and not that of who writes.
    failed: Option<String>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.inner.read(buffer) {
            Ok(read) => read,
            Err(error) => {
                self.failed = Some(error.to_string());
                return Err(error);
            }
        };
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded = true;
                return Err(io::Error::other("more than may be unpacked"));
            }
        }
        Ok(read)
    }
}

/// The place that a name means; `None` where it is none below the directory.
fn inside(name: &str) -> Option<PathBuf> {
    if name.len() > LONGEST_PATH || name.contains(['\0', '\\']) {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (path.components().count() <= DEEPEST).then_some(path)
}

/// Whether a link at this place stays below the directory, by its words.
fn leads_inside(place: &Path, target: &str) -> bool {
    if target.is_empty() || target.len() > LONGEST_PATH || target.contains('\0') {
        return false;
    }
    let mut depth = place.components().count().saturating_sub(1);
    for component in Path::new(target).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Removes what [`unpack`] made.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use zip::write::{SimpleFileOptions, ZipWriter};

    enum Kind {
        File,
        Link,
    }

    fn zip(entries: &[(&str, &[u8], u32, Kind)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content, mode, kind) in entries {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            match kind {
                Kind::File => {
                    writer.start_file(*name, options).unwrap();
                    writer.write_all(content).unwrap();
                }
                Kind::Link => {
                    let target = std::str::from_utf8(content).unwrap();
                    writer.add_symlink(*name, target, options).unwrap();
                }
            }
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("task");
        let archive = zip(&[
            ("bootstrap", b"#!/bin/sh\n", 0o755, Kind::File),
            ("lib/a.py", b"x = 1\n", 0o600, Kind::File),
            ("lib/b.py", b"a.py", 0o777, Kind::Link),
        ]);
        assert_eq!(examine(&archive).unwrap(), 20);
        assert_eq!(unpack(&archive, &into).unwrap(), 20);
        let mode = |name: &str| {
            let metadata = fs::metadata(into.join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode("bootstrap") & 0o555, 0o555);
        assert_eq!(mode("lib/a.py") & 0o444, 0o444);
        assert_eq!(
            fs::read_to_string(into.join("lib/b.py")).unwrap(),
            "x = 1\n"
        );
        assert!(matches!(unpack(&archive, &into), Err(Invalid::Io(_))));
    }

    #[test]
    fn nothing_is_written_elsewhere() {
        for (name, content, kind) in [
            ("../x", b"1".as_slice(), Kind::File),
            ("a/../../x", b"1", Kind::File),
            ("/etc/x", b"1", Kind::File),
            ("a\\..\\x", b"1", Kind::File),
            ("link", b"/etc", Kind::Link),
            ("a/link", b"../../x", Kind::Link),
        ] {
            let archive = zip(&[(name, content, 0o644, kind)]);
            let outcome = examine(&archive);
            assert!(
                matches!(outcome, Err(Invalid::Entry { .. })),
                "{name}: {outcome:?}"
            );
        }
    }

    #[test]
    fn no_file_goes_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let archive = zip(&[
            ("d", b"e", 0o777, Kind::Link),
            ("d/file", b"1", 0o644, Kind::File),
        ]);
        assert!(unpack(&archive, &directory.path().join("task")).is_err());
    }

    #[test]
    fn an_archive_that_swells_is_refused() {
        let zeros = vec![0; 1 << 20];
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for number in 0..251 {
            let options =
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
            writer.start_file(number.to_string(), options).unwrap();
            writer.write_all(&zeros).unwrap();
        }
        let archive = writer.finish().unwrap().into_inner();
        assert!(archive.len() < 1 << 20);
        assert!(matches!(examine(&archive), Err(Invalid::TooLarge)));
    }

    #[test]
    fn what_is_no_archive_is_said_to_be_none() {
        let sound = zip(&[("a", &[7; 4000], 0o644, Kind::File)]);
        let mut damaged = sound.clone();
        damaged[60] ^= 0xff;
        for bytes in [b"".as_slice(), b"PK", &sound[..sound.len() - 30], &damaged] {
            assert!(matches!(examine(bytes), Err(Invalid::NoArchive(_))));
        }
    }
}
