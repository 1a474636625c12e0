//! What the host writes into an instance and reads from it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lath_model::WorkloadId;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, RenameFlags, Uid, chownat, mkdirat, renameat_with, statat,
};
use rustix::io::Errno;

use super::Instances;
use crate::root::beneath::open_base;
use crate::{furnish, units};

/// How many entries of a directory are removed at once.
const AT_ONCE: u64 = 1 << 20;
/// How many entries of a directory are looked at.
const MOST_NAMES: usize = 10_000;

impl Instances {
    /// Where the host keeps a directory that an instance has at `path` ([`crate::HostDirectory`]). It is made at the first
    /// boot. Nothing in it is to be trusted: [`Self::write_file`] and [`Self::open_log`] follow no link.
    pub fn host_directory(&self, id: &WorkloadId, path: &Path) -> PathBuf {
        self.layout(id).host_directory(path)
    }

    /// Writes a file into a directory of the host that an instance has ([`crate::HostDirectory`]): its programs see the
    /// old file or the new one, whole. Nothing is done when it holds that already.
    ///
    /// # Errors
    /// `NotFound` until the instance's first boot has made the directory; or why it cannot be written.
    pub fn write_file(
        &self,
        id: &WorkloadId,
        directory: &Path,
        name: &str,
        content: &[u8],
    ) -> io::Result<()> {
        let path = self.host_directory(id, directory).join(plain(name)?);
        if open_plain(&path).is_ok_and(|file| holds(file, content)) {
            return Ok(());
        }
        let owner = crate::ids::recorded(&self.layout(id)).map(|ids| ids.base);
        furnish::replace(&path, content, 0o644, owner)
    }

    /// As [`Self::write_file`], for root in the instance alone.
    ///
    /// # Errors
    /// As there.
    pub fn write_secret(
        &self,
        id: &WorkloadId,
        directory: &Path,
        name: &str,
        content: &[u8],
    ) -> io::Result<()> {
        let path = self.host_directory(id, directory).join(plain(name)?);
        let owner = crate::ids::recorded(&self.layout(id)).map(|ids| ids.base);
        furnish::replace(&path, content, 0o600, owner)
    }

    /// Reads the beginning of a file in such a directory, up to `most` bytes. The instance's root can put anything there.
    ///
    /// # Errors
    /// `NotFound` when there is none, `InvalidInput` when it is no file; or why it cannot be read.
    pub fn read_file(
        &self,
        id: &WorkloadId,
        directory: &Path,
        name: &str,
        most: u64,
    ) -> io::Result<Vec<u8>> {
        let file = open_plain(&self.host_directory(id, directory).join(plain(name)?))?;
        let mut there = Vec::new();
        file.take(most).read_to_end(&mut there)?;
        Ok(there)
    }

    /// Makes a directory of the instance's root in a directory of the host that the instance has ([`crate::HostDirectory`]),
    /// where it is not there.
    ///
    /// # Errors
    /// `NotFound` until the instance's first boot has made the directory around it; or why it cannot be made.
    pub fn make_directory(&self, id: &WorkloadId, within: &Path, name: &str) -> io::Result<()> {
        let within = open_base(&self.host_directory(id, within))?;
        let name = Path::new(plain(name)?);
        match mkdirat(&within, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let found = statat(&within, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !FileType::from_raw_mode(found.st_mode).is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // A Lath that ended between the two left one of the host's root.
        let ids = crate::ids::recorded(&self.layout(id));
        if let Some(ids) = ids.filter(|_| found.st_uid == 0) {
            let (user, group) = (Uid::from_raw(ids.base), Gid::from_raw(ids.base));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(&within, name, Some(user), Some(group), flags)?;
        }
        Ok(())
    }

    /// Removes a directory that [`Self::make_directory`] made, with all that the instance put there.
    ///
    /// # Errors
    /// When something of it stays: programs may have put more there than is removed at once.
    pub fn remove_directory(&self, id: &WorkloadId, within: &Path, name: &str) -> io::Result<()> {
        let path = self.host_directory(id, within).join(plain(name)?);
        crate::tree::remove_some(&path, AT_ONCE)
    }

    /// Gives such a directory another name there, which nothing has yet.
    ///
    /// # Errors
    /// `NotFound` when it is not there, `AlreadyExists` when the name is taken.
    pub fn rename_directory(
        &self,
        id: &WorkloadId,
        within: &Path,
        (from, to): (&str, &str),
    ) -> io::Result<()> {
        rename(&self.host_directory(id, within), (plain(from)?, plain(to)?))
    }

    /// The names of what is in a directory of the host that the instance has, as far as they end so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names_that_end(
        &self,
        id: &WorkloadId,
        within: &Path,
        end: &str,
    ) -> io::Result<Vec<String>> {
        names_that_end(&self.host_directory(id, within), end)
    }

    /// Where the host finds what a unit of an instance writes. When it is long it becomes `NAME.log.1`, and a new one is
    /// begun. To be opened by [`Self::open_log`]: the instance's root can put anything there.
    pub fn log_path(&self, id: &WorkloadId, unit: &str) -> PathBuf {
        let logs = self.host_directory(id, Path::new(units::LOGS));
        logs.join(units::name_of(unit))
    }

    /// Opens a log, if it is a file.
    ///
    /// # Errors
    /// `NotFound` until the unit has written something; `InvalidInput` when it is no file.
    pub fn open_log(&self, id: &WorkloadId, unit: &str) -> io::Result<fs::File> {
        open_plain(&self.log_path(id, plain(unit)?))
    }

    /// Opens what a log was before it became too long: `NAME.log.1`, or the last `NAME-TIME.log` where the program renews its
    /// log itself.
    ///
    /// # Errors
    /// As [`Self::open_log`].
    pub fn open_earlier_log(&self, id: &WorkloadId, unit: &str) -> io::Result<fs::File> {
        let newest = self.log_path(id, plain(unit)?);
        let mut path = newest.clone().into_os_string();
        path.push(".1");
        match open_plain(Path::new(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        let logs = newest.parent().ok_or(io::ErrorKind::NotFound)?;
        let last = last_renewed(logs, unit)?.ok_or(io::ErrorKind::NotFound)?;
        open_plain(&logs.join(last))
    }
}

fn rename(within: &Path, (from, to): (&str, &str)) -> io::Result<()> {
    let within = open_base(within)?;
    Ok(renameat_with(
        &within,
        from,
        &within,
        to,
        RenameFlags::NOREPLACE,
    )?)
}

fn names_that_end(within: &Path, end: &str) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(within) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    // The instance's root decides how many there are.
    for entry in entries.take(MOST_NAMES) {
        let name = entry?.file_name().into_string();
        names.extend(
            name.ok()
                .filter(|it| it.ends_with(end) && plain(it).is_ok()),
        );
    }
    Ok(names)
}

/// The name of the last `UNIT-TIME.log`; times are in their order.
fn last_renewed(logs: &Path, unit: &str) -> io::Result<Option<String>> {
    let is_time = |it: &str| {
        it.starts_with(|it: char| it.is_ascii_digit())
            && it
                .bytes()
                .all(|it| it.is_ascii_digit() || b"T-.".contains(&it))
    };
    let mut last: Option<String> = None;
    for entry in fs::read_dir(logs)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let time = name.strip_prefix(unit).and_then(|it| it.strip_prefix('-'));
        let time = time.and_then(|it| it.strip_suffix(".log"));
        if time.is_some_and(is_time) && last.as_deref().is_none_or(|it| it < name) {
            last = Some(name.to_owned());
        }
    }
    Ok(last)
}

/// A name that leads nowhere else.
fn plain(name: &str) -> io::Result<&str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.starts_with('.') && !name.is_empty() && name.bytes().all(inner) {
        Ok(name)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Opens a file, and neither what a link leads to nor a pipe.
fn open_plain(path: &Path) -> io::Result<fs::File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

fn holds(file: fs::File, content: &[u8]) -> bool {
    let mut there = Vec::new();
    let most = content.len() as u64 + 1;
    let read = file.take(most).read_to_end(&mut there);
    read.is_ok() && there == content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_put_aside_and_back_and_replaces_nothing() {
        let within = tempfile::tempdir().unwrap();
        let at = |name: &str| within.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a").join("data"), "x").unwrap();
        rename(within.path(), ("a", "a.removed")).unwrap();
        assert_eq!(
            names_that_end(within.path(), ".removed").unwrap(),
            ["a.removed"]
        );
        fs::create_dir(at("a")).unwrap();
        let taken = rename(within.path(), ("a.removed", "a")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_dir(at("a")).unwrap();
        rename(within.path(), ("a.removed", "a")).unwrap();
        assert!(at("a").join("data").exists());
        let gone = rename(within.path(), ("b", "c")).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(names_that_end(&at("none"), ".removed").unwrap().is_empty());
    }

    #[test]
    fn the_last_log_that_a_program_renewed_is_found() {
        let logs = tempfile::tempdir().unwrap();
        assert_eq!(last_renewed(logs.path(), "audit").unwrap(), None);
        for name in [
            "audit.log",
            "audit-2026-01-02T10-00-00.000.log",
            "audit-2026-01-02T11-00-00.000.log",
            "audit-more.log",
            "other-2027-01-02T11-00-00.000.log",
        ] {
            fs::write(logs.path().join(name), "x").unwrap();
        }
        let last = last_renewed(logs.path(), "audit").unwrap();
        assert_eq!(last.as_deref(), Some("audit-2026-01-02T11-00-00.000.log"));
    }
}
