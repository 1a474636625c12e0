//! Hides the host's secrets in an overlay before an instance sees it.
//!
//! What not everybody on the host may read, an instance's root may not read either: such files become
//! whiteouts in the upper layer, such directories opaque. Entries that the instance has made itself are
//! left alone: they hide the host's already.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::ids::Ids;
use rustix::fs::{FileType, Mode, XattrFlags, lsetxattr, mknodat};

/// Files that some may not read but that hold no secret, and without which programs fail.
const NO_SECRETS: &[&str] = &["/etc/sudoers", "/etc/sudoers.d"];
/// Per overlay: more is not looked at, and then everything below is hidden.
const ENTRIES: usize = 200_000;

/// One overlay, before it is mounted.
#[derive(Debug)]
pub(crate) struct Veil<'a> {
    /// The host's directory.
    pub(crate) lower: &'a Path,
    /// What is laid over it.
    pub(crate) upper: &'a Path,
    /// Mounted in a user namespace.
    pub(crate) rootless: bool,
    /// Who owns the instance's files.
    pub(crate) ids: Ids,
    /// Levels below `lower` that are looked at.
    pub(crate) depth: usize,
    /// Paths of the host to hide whatever their permissions are.
    pub(crate) hidden: &'a [PathBuf],
}

/// How far a search has come.
struct Search {
    budget: usize,
    found: Vec<(PathBuf, bool)>,
}

impl Veil<'_> {
    /// Lays whiteouts into the upper layer.
    pub(crate) fn draw(&self) -> io::Result<()> {
        copy_mode(&fs::metadata(self.lower)?, self.upper, self.ids)?;
        for (path, _) in self.secrets() {
            let metadata = fs::symlink_metadata(self.lower.join(&path));
            // One that has just been deleted needs no hiding.
            if let Ok(metadata) = metadata {
                self.hide(&path, &metadata)?;
            }
        }
        Ok(())
    }

    /// What is to be hidden, by its path below `lower`, and whether it is a directory.
    pub(crate) fn secrets(&self) -> Vec<(PathBuf, bool)> {
        let mut search = Search {
            budget: ENTRIES,
            found: Vec::new(),
        };
        self.search_in(Path::new(""), self.depth, &mut search);
        search.found
    }

    fn search_in(&self, inside: &Path, depth: usize, search: &mut Search) {
        let Ok(entries) = fs::read_dir(self.lower.join(inside)) else {
            return;
        };
        for entry in entries.flatten() {
            let path = inside.join(entry.file_name());
            if let Ok(metadata) = entry.metadata() {
                search.budget = search.budget.saturating_sub(1);
                self.consider(path, &metadata, depth, search);
            }
        }
    }

    fn consider(&self, path: PathBuf, metadata: &Metadata, depth: usize, search: &mut Search) {
        let host_path = self.lower.join(&path);
        if search.budget == 0 || self.is_secret(&host_path, metadata) {
            search.found.push((path, metadata.is_dir()));
            return;
        }
        let leads_to_hidden = || self.hidden.iter().any(|it| it.starts_with(&host_path));
        if metadata.is_dir() && (depth > 1 || leads_to_hidden()) {
            self.search_in(&path, depth.saturating_sub(1).max(1), search);
        }
    }

    fn is_secret(&self, host_path: &Path, metadata: &Metadata) -> bool {
        if self.hidden.iter().any(|it| it == host_path) {
            return true;
        }
        if NO_SECRETS.iter().any(|it| host_path.starts_with(it)) {
            return false;
        }
        let mode = metadata.permissions().mode();
        let kind = metadata.file_type();
        if kind.is_dir() {
            return mode & 0o005 != 0o005;
        }
        let plain = kind.is_file() || kind.is_symlink();
        // Sockets, pipes and devices are doors to the host; links are as public as what they lead to.
        !plain || kind.is_socket() || (kind.is_file() && mode & 0o004 == 0 && mode & 0o001 == 0)
    }

    fn hide(&self, path: &Path, lower: &Metadata) -> io::Result<()> {
        let Some(parent) = self.upper_directory(path.parent().unwrap_or_else(|| Path::new("")))?
        else {
            return Ok(());
        };
        let name = path.file_name().expect("entries have names");
        let upper = parent.join(name);
        if lower.is_dir() {
            return self.hide_directory(&upper, lower);
        }
        if fs::symlink_metadata(&upper).is_ok() {
            return Ok(());
        }
        whiteout(&upper)
    }

    fn hide_directory(&self, upper: &Path, lower: &Metadata) -> io::Result<()> {
        match fs::symlink_metadata(upper) {
            Ok(known) if !known.is_dir() => return Ok(()),
            Ok(_) => {}
            Err(_) => {
                fs::create_dir(upper)?;
                copy_mode(lower, upper, self.ids)?;
            }
        }
        make_opaque(upper, self.rootless)
    }

    /// The upper counterpart of a lower directory, made like it; `None` when the instance put something
    /// else there. The instance does not run, so what was looked at stays so.
    fn upper_directory(&self, inside: &Path) -> io::Result<Option<PathBuf>> {
        let mut upper = self.upper.to_owned();
        let mut lower = self.lower.to_owned();
        for name in inside {
            upper.push(name);
            lower.push(name);
            match fs::symlink_metadata(&upper) {
                Ok(known) if known.is_dir() => {}
                Ok(_) => return Ok(None),
                Err(_) => {
                    fs::create_dir(&upper)?;
                    copy_mode(&fs::symlink_metadata(&lower)?, &upper, self.ids)?;
                }
            }
        }
        Ok(Some(upper))
    }
}

fn whiteout(path: &Path) -> io::Result<()> {
    let kind = FileType::CharacterDevice;
    Ok(mknodat(rustix::fs::CWD, path, kind, Mode::empty(), 0)?)
}

fn make_opaque(directory: &Path, rootless: bool) -> io::Result<()> {
    let name = if rootless {
        "user.overlay.opaque"
    } else {
        "trusted.overlay.opaque"
    };
    Ok(lsetxattr(directory, name, b"y", XattrFlags::empty())?)
}

/// Whether the marks that hide things can be made in this directory.
pub(super) fn try_marks(upper: &Path, rootless: bool) -> io::Result<()> {
    whiteout(&upper.join("whiteout"))?;
    make_opaque(upper, rootless)
}

/// Owner and permissions as on the host. In a user namespace owners may have no name there.
fn copy_mode(from: &Metadata, to: &Path, ids: Ids) -> io::Result<()> {
    let _ = chown(to, Some(ids.of(from.uid())), Some(ids.of(from.gid())));
    fs::set_permissions(to, from.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sides {
        base: tempfile::TempDir,
    }

    impl Sides {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            fs::create_dir(base.path().join("upper")).unwrap();
            let sides = Self { base };
            for (path, mode) in [
                ("passwd", 0o644),
                ("shadow", 0o640),
                ("ssh/config", 0o644),
                ("ssh/host_key", 0o600),
                ("private/key", 0o644),
                ("data/of/lath", 0o644),
                ("data/other", 0o644),
            ] {
                let path = sides.lower().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, "x").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            let private = fs::Permissions::from_mode(0o750);
            fs::set_permissions(sides.lower().join("private"), private).unwrap();
            sides
        }

        fn lower(&self) -> PathBuf {
            self.base.path().join("lower")
        }

        fn upper(&self) -> PathBuf {
            self.base.path().join("upper")
        }

        fn draw(&self) {
            let (lower, upper) = (self.lower(), self.upper());
            let veil = Veil {
                lower: &lower,
                upper: &upper,
                rootless: false,
                ids: Ids::HOST,
                depth: 8,
                hidden: &[lower.join("data/of")],
            };
            veil.draw().unwrap();
        }

        /// `hidden`, `opaque`, or what is there, `-` for nothing.
        fn in_upper(&self, path: &str) -> &'static str {
            let path = self.upper().join(path);
            let mut value = [0; 1];
            match fs::symlink_metadata(&path) {
                Err(_) => "-",
                Ok(it) if it.file_type().is_char_device() && it.rdev() == 0 => "hidden",
                Ok(it) if it.is_dir() => {
                    let name = "trusted.overlay.opaque";
                    let opaque = rustix::fs::lgetxattr(&path, name, &mut value[..]).is_ok();
                    if opaque { "opaque" } else { "folder" }
                }
                Ok(it) if it.is_symlink() => "link",
                Ok(_) => "file",
            }
        }
    }

    #[test]
    fn what_not_everybody_may_read_is_hidden() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: whiteouts need root");
            return;
        }
        let sides = Sides::new();
        // Drawn at each start: the second time finds the first one's work.
        for _ in 0..2 {
            sides.draw();
            for (path, want) in [
                ("passwd", "-"),
                ("shadow", "hidden"),
                ("ssh", "folder"),
                ("ssh/config", "-"),
                ("ssh/host_key", "hidden"),
                ("private", "opaque"),
                ("data/of", "opaque"),
                ("data/other", "-"),
            ] {
                assert_eq!(sides.in_upper(path), want, "{path}");
            }
        }
    }

    #[test]
    fn what_the_instance_made_is_left_alone_and_not_followed() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: whiteouts need root");
            return;
        }
        let sides = Sides::new();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), sides.upper().join("ssh")).unwrap();
        fs::write(sides.upper().join("shadow"), "own").unwrap();
        sides.draw();
        assert_eq!(sides.in_upper("ssh"), "link");
        assert_eq!(sides.in_upper("shadow"), "file");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
