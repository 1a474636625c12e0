//! Overlays whose upper layers are in the data directory.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::mapped::show_mapped;
use super::veil;
use crate::layout::Layout;

/// Whether overlays with whiteouts work where this instance's files are; the file system there, or this
/// kernel, may not be up to it.
pub(super) fn try_overlay(
    layout: &Layout,
    rootless: bool,
    user: Option<&OwnedFd>,
) -> io::Result<()> {
    let folder = layout.layers().join("probe");
    let (lower, all) = (folder.join("lower"), folder.join("all"));
    for path in [&lower, &all] {
        fs::create_dir_all(path)?;
    }
    let outcome = (|| {
        let layer = Layer::new(layout, &lower, rootless)?;
        let outcome = veil::try_marks(&layer.upper, rootless).and_then(|()| {
            layer.mount_at(&all, user)?;
            Ok(umount2(&all, MntFlags::MNT_DETACH)?)
        });
        if let Some(folder) = layer.upper.parent() {
            fs::remove_dir_all(folder)?;
        }
        outcome
    })();
    fs::remove_dir_all(folder)?;
    outcome
}

/// One overlay of an instance.
#[derive(Debug)]
pub(super) struct Layer {
    lower: PathBuf,
    pub(super) upper: PathBuf,
    work: PathBuf,
    rootless: bool,
}

impl Layer {
    /// Makes the directories of the overlay over `lower`.
    pub(super) fn new(layout: &Layout, lower: &Path, rootless: bool) -> io::Result<Self> {
        let name: String = lower
            .to_string_lossy()
            .replace('%', "%25")
            .replace('/', "%2F");
        let folder = layout.layers().join(name);
        let layer = Self {
            lower: lower.to_owned(),
            upper: folder.join("upper"),
            work: folder.join("work"),
            rootless,
        };
        fs::create_dir_all(&layer.upper)?;
        fs::create_dir_all(&layer.work)?;
        Ok(layer)
    }

    /// With `user`, the owners of the lower files are those that this user namespace maps them to.
    pub(super) fn mount_at(&self, target: &Path, user: Option<&OwnedFd>) -> io::Result<()> {
        let Some(user) = user else {
            return self.mount_over(&self.lower, target, MsFlags::MS_NODEV);
        };
        let mapped = self.upper.with_file_name("lower");
        fs::create_dir_all(&mapped)?;
        show_mapped(&self.lower, &mapped, user)?;
        let outcome = self.mount_over(&mapped, target, MsFlags::empty());
        // The overlay has a copy of the mount.
        umount2(&mapped, MntFlags::MNT_DETACH)?;
        outcome
    }

    fn mount_over(&self, lower: &Path, target: &Path, flags: MsFlags) -> io::Result<()> {
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={}",
            escape(lower)?,
            escape(&self.upper)?,
            escape(&self.work)?
        );
        if self.rootless {
            options.push_str(",userxattr");
        }
        Ok(mount(
            Some("overlay"),
            target,
            Some("overlay"),
            flags,
            Some(options.as_str()),
        )?)
    }
}

/// As overlay's option parser wants paths.
fn escape(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path:?} is not UTF-8"),
        )
    })?;
    Ok(text
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace(':', "\\:"))
}
