//! Makes a [`Setup`](crate::setup::Setup)'s directories and files true at a boot.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::wait::waitpid;

use crate::boot::BootPlan;
use crate::confine;
use crate::ids::Ids;
use crate::layout::Layout;
use crate::process::fork_child;
use crate::root::beneath::{ensure_directory, ensure_file, path_of};
use crate::root::show;
use crate::setup::{File, HostDirectory, SharedFile};
use crate::units::LOGS;

/// Mounts what is the host's below a root that is not entered yet.
pub(crate) fn mount_all(
    plan: &BootPlan,
    ids: Ids,
    layout: &Layout,
    root: &OwnedFd,
) -> io::Result<()> {
    for directory in directories(plan) {
        mount_directory(layout, ids, root, &directory)
            .map_err(|error| at(&directory.path, "a directory of the host", error))?;
    }
    for shared in &plan.setup.shared {
        mount_shared(ids, root, shared)
            .map_err(|error| at(&shared.source, "a shared file of the host", error))?;
    }
    Ok(())
}

fn at(path: &Path, what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}, {}: {error}", path.display()))
}

/// Those of the setup, and one for what units write: the host reads it too.
fn directories(plan: &BootPlan) -> Vec<HostDirectory> {
    let mut all = plan.setup.directories.clone();
    if !plan.setup.units.is_empty() && all.iter().all(|it| it.path != Path::new(LOGS)) {
        all.push(HostDirectory {
            path: LOGS.into(),
            mode: 0o755,
            shared_mounts: false,
        });
    }
    // One may be inside another.
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// A path of the instance below its root. What leads out of it is refused.
fn inside(path: &Path) -> io::Result<&Path> {
    use std::path::Component;
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "no absolute, plain path");
    let inside = path.strip_prefix("/").map_err(|_| refused())?;
    let plain = inside
        .components()
        .all(|it| matches!(it, Component::Normal(_)));
    if plain && inside != Path::new("") {
        Ok(inside)
    } else {
        Err(refused())
    }
}

fn mount_directory(
    layout: &Layout,
    ids: Ids,
    root: &OwnedFd,
    it: &HostDirectory,
) -> io::Result<()> {
    let place = inside(&it.path)?;
    let here = layout.host_directory(&it.path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&here)?;
    ids.own(&here)?;
    fs::set_permissions(&here, Permissions::from_mode(it.mode))?;
    let target = ids.act(|| ensure_directory(root.as_fd(), place))?;
    let bind = MsFlags::MS_BIND;
    Ok(mount(
        Some(&here),
        &path_of(&target),
        None::<&str>,
        bind,
        None::<&str>,
    )?)
}

fn mount_shared(ids: Ids, root: &OwnedFd, shared: &SharedFile) -> io::Result<()> {
    let place = inside(&shared.path)?;
    if fs::metadata(&shared.source)?.is_dir() {
        ids.act(|| ensure_directory(root.as_fd(), place))?;
    } else {
        ids.act(|| ensure_file(root.as_fd(), place))?;
    }
    // By a path that leads to the mount, and not by what was opened before it covered that.
    let above = place.parent().unwrap_or_else(|| Path::new(""));
    let above = ensure_directory(root.as_fd(), above)?;
    let name = place.file_name().expect("a plain path has a name");
    show(&shared.source, &path_of(&above).join(name))
}

/// Lets mounts reach the instance's other mount namespaces. In the entered root.
pub(crate) fn share_mounts(plan: &BootPlan) -> io::Result<()> {
    let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
    if crate::node::is(plan.kind) {
        // A runtime of containers keeps their mounts there.
        mount(None::<&str>, "/run", None::<&str>, flags, None::<&str>)?;
    }
    for it in plan.setup.directories.iter().filter(|it| it.shared_mounts) {
        mount(None::<&str>, &it.path, None::<&str>, flags, None::<&str>)
            .map_err(|error| at(&it.path, "shared mounts", error.into()))?;
    }
    Ok(())
}

/// Writes the files, in the entered root. A confined process does it: the instance may have left links there.
pub(crate) fn write_files(plan: &BootPlan) -> io::Result<()> {
    if plan.setup.files.is_empty() {
        return Ok(());
    }
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let child = fork_child(|| {
        let written = confine::confine(plan.kind).and_then(|()| write_confined(&plan.setup.files));
        let Err(error) = written else { return 0 };
        let _ = fs::File::from(writer).write_all(error.to_string().as_bytes());
        1
    })?;
    let mut reason = String::new();
    let read = fs::File::from(reader)
        .take(4096)
        .read_to_string(&mut reason);
    waitpid(child, None)?;
    read?;
    if reason.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(reason))
    }
}

fn write_confined(files: &[File]) -> io::Result<()> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    files.iter().try_for_each(|file| {
        write_one(file).map_err(|error| at(&file.path, "writing a file of the setup", error))
    })
}

fn write_one(file: &File) -> io::Result<()> {
    inside(&file.path)?;
    let folder = file.path.parent().unwrap_or_else(|| Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)?;
    replace(&file.path, file.content.as_bytes(), file.mode, None)
}

/// Puts a whole file in the place of another; a reader sees the old one or the new one. No link is followed in the last
/// step, by any process.
pub(crate) fn replace(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Option<u32>,
) -> io::Result<()> {
    let temporary = temporary(path);
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    if owner.is_some() {
        std::os::unix::fs::fchown(&file, owner, owner)?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    fs::rename(&temporary, path)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lath");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_inside() {
        for (path, fine) in [
            ("/var/lib/x", true),
            ("/", false),
            ("var/lib", false),
            ("/var/../x", false),
            ("", false),
        ] {
            assert_eq!(inside(Path::new(path)).is_ok(), fine, "{path}");
        }
    }

    #[test]
    fn a_replaced_file_is_whole_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, path) = (dir.path().join("outside"), dir.path().join("f"));
        fs::write(&outside, "old").unwrap();
        for link in [&path, &temporary(&path)] {
            std::os::unix::fs::symlink(&outside, link).unwrap();
        }
        replace(&path, b"new", 0o640, None).unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "old");
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
