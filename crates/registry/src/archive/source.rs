//! Files of an archive or of a directory, by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::LoadError;
use crate::manifest::MAXIMUM_MANIFEST;
use crate::store::MAXIMUM_BLOB;

/// Most files in an archive.
const MAXIMUM_FILES: usize = 100_000;
/// How many links lead to a file at most.
const LINKS: usize = 4;
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub(super) struct Source {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Directory,
    Archive {
        file: File,
        files: BTreeMap<PathBuf, ArchiveMember>,
    },
}

enum ArchiveMember {
    At {
        offset: u64,
        size: u64,
    },
    /// Archives of old versions of Docker name a layer that two images share by a link.
    Link(PathBuf),
}

impl Source {
    /// A compressed archive is unpacked into `scratch` first, so that its files can be read in any order.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, LoadError> {
        let read = |error| LoadError::Read {
            path: path.to_owned(),
            error,
        };
        let kind = if path.is_dir() {
            Kind::Directory
        } else {
            let mut file = File::open(path).map_err(read)?;
            let mut magic = Vec::new();
            (&file).take(2).read_to_end(&mut magic).map_err(read)?;
            file.rewind().map_err(read)?;
            if magic == GZIP {
                file = unpacked(file, scratch).map_err(read)?;
            }
            let files = files(&file).map_err(read)?;
            Kind::Archive { file, files }
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
        })
    }

    pub(super) fn is_archive(&self) -> bool {
        matches!(self.kind, Kind::Archive { .. })
    }

    /// A file that is read at once; `None` if there is none.
    pub(super) fn small(&mut self, name: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let path = self.path.clone();
        let Some(reader) = self.reader(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader
            .take(MAXIMUM_MANIFEST as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| LoadError::Read { path, error })?;
        if bytes.len() > MAXIMUM_MANIFEST {
            return Err(LoadError::Malformed {
                name: name.to_owned(),
                why: format!("it is larger than {MAXIMUM_MANIFEST} bytes"),
            });
        }
        Ok(Some(bytes))
    }

    /// A file's bytes; `None` if there is none.
    pub(super) fn reader(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, LoadError> {
        let Some(name) = normal(Path::new(name)) else {
            return Ok(None);
        };
        let read = |error| LoadError::Read {
            path: self.path.clone(),
            error,
        };
        match &mut self.kind {
            // Only layouts are read from directories, and their blobs must have their digests: so a link to a file of
            // this machine betrays nothing.
            Kind::Directory => match File::open(self.path.join(name)) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(read(error)),
            },
            Kind::Archive { file, files } => {
                let Some((offset, size)) = place(files, &name) else {
                    return Ok(None);
                };
                file.seek(SeekFrom::Start(offset)).map_err(read)?;
                Ok(Some(Box::new(file.take(size))))
            }
        }
    }
}

fn place(files: &BTreeMap<PathBuf, ArchiveMember>, name: &Path) -> Option<(u64, u64)> {
    let mut name = name.to_owned();
    for _ in 0..=LINKS {
        match files.get(&name)? {
            ArchiveMember::At { offset, size } => return Some((*offset, *size)),
            ArchiveMember::Link(target) => name.clone_from(target),
        }
    }
    None
}

fn files(file: &File) -> io::Result<BTreeMap<PathBuf, ArchiveMember>> {
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Some(path) = normal(&entry.path()?) else {
            continue;
        };
        let kind = entry.header().entry_type();
        let place = if kind.is_file() {
            ArchiveMember::At {
                offset: entry.raw_file_position(),
                size: entry.size(),
            }
        } else if kind.is_symlink() || kind.is_hard_link() {
            let Some(target) = entry.link_name()? else {
                continue;
            };
            let from = path.parent().filter(|_| kind.is_symlink());
            let from = from.unwrap_or_else(|| Path::new(""));
            match normal(&from.join(target)) {
                Some(target) => ArchiveMember::Link(target),
                None => continue,
            }
        } else {
            continue;
        };
        files.insert(path, place);
        if files.len() > MAXIMUM_FILES {
            let message = format!("an archive of more than {MAXIMUM_FILES} files");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(files)
}

/// A path without `.` and `..`; `None` if it leads out of the archive.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::Normal(part) => normal.push(part),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

fn unpacked(file: File, scratch: &Path) -> io::Result<File> {
    let mut plain = tempfile::tempfile_in(scratch)?;
    let most = MAXIMUM_BLOB * 2;
    let mut reader = MultiGzDecoder::new(io::BufReader::new(file)).take(most);
    if io::copy(&mut reader, &mut plain)? == most {
        let message = "an archive that unpacks to more than is taken";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    plain.rewind()?;
    Ok(plain)
}
