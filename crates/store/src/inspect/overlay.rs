//! An in-memory overlay over a file: the engine can change it without writing to the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

const PAGE: u64 = 4096;

/// Reads come from the file, writes stay in memory. Uses the engine's locks.
#[derive(Debug)]
pub(super) struct Overlay {
    locks: FileBackend,
    file: File,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// Unwritten bytes before this offset come from the file; later ones are zero.
    base: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(super) fn over(path: &Path) -> io::Result<Self> {
        // The lock needs a writable descriptor. Nothing is written through it.
        let open = || OpenOptions::new().read(true).write(true).open(path);
        let file = open()?;
        let length = file.metadata()?.len();
        let locks = FileBackend::new(open()?).map_err(io::Error::other)?;
        Ok(Self {
            locks,
            file,
            written: Mutex::new(Written {
                length,
                base: length,
                pages: BTreeMap::new(),
            }),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written().length == 0
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file's bytes from `at` on, with zeros beyond its end.
    fn base(&self, base: u64, at: u64, out: &mut [u8]) -> io::Result<()> {
        let there = base.saturating_sub(at).min(out.len() as u64);
        let (there, rest) = out.split_at_mut(usize::try_from(there).map_err(io::Error::other)?);
        rest.fill(0);
        self.file.read_exact_at(there, at)
    }
}

impl Written {
    fn check(&self, offset: u64, length: usize) -> io::Result<u64> {
        let end = offset.checked_add(length as u64);
        end.filter(|end| *end <= self.length)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let written = self.written();
        let end = written.check(offset, out.len())?;
        self.base(written.base, offset, out)?;
        for (at, page) in written.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let start = at * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            let place = |at: u64, of: u64| usize::try_from(at - of).unwrap_or(usize::MAX);
            out[place(from, offset)..place(to, offset)]
                .copy_from_slice(&page[place(from, start)..place(to, start)]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut written = self.written();
        written.base = written.base.min(length);
        written.length = length;
        written.pages.split_off(&length.div_ceil(PAGE));
        if let Some(last) = written.pages.get_mut(&(length / PAGE)) {
            last[usize::try_from(length % PAGE).map_err(io::Error::other)?..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut written = self.written();
        let end = written.check(offset, data.len())?;
        for at in offset / PAGE..end.div_ceil(PAGE) {
            let start = at * PAGE;
            if !written.pages.contains_key(&at) {
                let mut page = vec![0; usize::try_from(PAGE).map_err(io::Error::other)?];
                self.base(written.base, start, &mut page)?;
                written.pages.insert(at, page.into());
            }
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            let place = |at: u64, of: u64| usize::try_from(at - of).unwrap_or(usize::MAX);
            if let Some(page) = written.pages.get_mut(&at) {
                page[place(from, start)..place(to, start)]
                    .copy_from_slice(&data[place(from, offset)..place(to, offset)]);
            }
        }
        Ok(())
    }

    fn close(&self) -> Result<(), io::Error> {
        self.locks.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.locks.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_reads_as_a_file_that_was_written_and_the_file_stays(
            steps in proptest::collection::vec((0_u8..3, 0_u64..20_000, 0_usize..9_000), 1..30),
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let base: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            std::fs::write(file.path(), &base).unwrap();
            let overlay = Overlay::over(file.path()).unwrap();
            let mut model = base.clone();
            for (number, (what, at, length)) in (1..).zip(steps) {
                let place = usize::try_from(at).unwrap();
                let fits = place + length <= model.len();
                match what {
                    0 => {
                        overlay.set_len(at).unwrap();
                        model.resize(place, 0);
                    }
                    1 => {
                        let data = vec![number; length];
                        prop_assert_eq!(overlay.write(at, &data).is_ok(), fits);
                        if fits {
                            model[place..place + length].copy_from_slice(&data);
                        }
                    }
                    _ => {
                        let mut out = vec![7; length];
                        prop_assert_eq!(overlay.read(at, &mut out).is_ok(), fits);
                        if fits {
                            prop_assert_eq!(&out, &model[place..place + length]);
                        }
                    }
                }
                prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
            }
            prop_assert_eq!(std::fs::read(file.path()).unwrap(), base);
        }
    }
}
