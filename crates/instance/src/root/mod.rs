//! An instance's root file system.
//!
//! A root that copies the host's is a directory of the instance's own with overlays for what makes a
//! host usable (`/usr`, `/etc`, `/opt`, package databases): what is not on that list is not there, so no
//! home directory, service data or mount of the host can be forgotten in it. A root that copies a
//! directory is one overlay. All of it is mounted in the instance's own mount namespace: nothing of it
//! exists on the host, and nothing is left when the last process ends.

pub(crate) mod beneath;
mod devices;
mod kernel;
mod layer;
mod machine;
mod mapped;
mod skeleton;
mod veil;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::StatVfsMountFlags;

use crate::boot::{BootPlan, RootSource};
use crate::ids::Ids;
use crate::layout::Layout;
use crate::limits::InMemory;
use crate::{cgroup, furnish};
use layer::Layer;
pub(crate) use mapped::show_mapped;
use veil::Veil;

/// What of the host is shown, and how many levels are searched for secrets.
const SHOWN: &[(&str, usize)] = &[
    ("usr", 0),
    ("usr/local", 4),
    ("etc", 32),
    ("opt", 4),
    ("bin", 0),
    ("sbin", 0),
    ("lib", 0),
    ("lib32", 0),
    ("lib64", 0),
    ("libx32", 0),
    ("nix", 0),
    ("gnu", 0),
    ("var/lib/dpkg", 0),
    ("var/lib/apt", 0),
    ("var/lib/rpm", 0),
    ("var/lib/dnf", 0),
    ("var/lib/pacman", 0),
    ("var/lib/alternatives", 0),
    ("var/lib/ca-certificates", 0),
    ("var/lib/python", 0),
];

const NO_DATA: Option<&str> = None;

/// What a root was built with, for the console.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What is weaker than asked, in words.
    pub(crate) notes: Vec<String>,
}

/// Builds the root in the calling process's mount namespace, which must be its own, and makes it `/`.
pub(crate) fn enter(plan: &BootPlan) -> io::Result<Report> {
    let (root, mut report) = build(plan, Ids::HOST)?;
    let sizes = InMemory::of(&plan.limits);
    devices::make(&root, sizes)?;
    kernel::mount_all(&root, plan.rootless, sizes, &mut report)?;
    become_root(&root)?;
    Ok(report)
}

/// Who owns what in a root, and what shows the host's files so.
struct Owners {
    ids: Ids,
    /// Of a node.
    user: Option<OwnedFd>,
}

/// Builds the part of a root that is the host's and the instance's files.
pub(crate) fn build(plan: &BootPlan, ids: Ids) -> io::Result<(OwnedFd, Report)> {
    let user = (!ids.are_the_hosts()).then(|| ids.user_namespace());
    let owners = Owners {
        ids,
        user: user.transpose()?,
    };
    let layout = Layout::new(&plan.data_dir, &plan.run_dir, &plan.id);
    let mut report = Report::default();
    mount(
        NO_DATA,
        "/",
        NO_DATA,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        NO_DATA,
    )?;
    fs::create_dir_all(layout.root())?;
    ids.own(&layout.root())?;
    match &plan.root {
        RootSource::Host => host_root(plan, &owners, &layout, &mut report)?,
        RootSource::Directory(image) => image_root(plan, &owners, &layout, image)?,
    }
    let root = beneath::open_base(&layout.root())?;
    furnish::mount_all(plan, ids, &layout, &root)?;
    Ok((root, report))
}

/// For a node, in its own namespaces, in the directory that [`build`] gave: makes it `/`. The host's `/proc` and `/sys`
/// are still in reach; without that the kernel lets no new ones be mounted.
pub(crate) fn enter_as_node(plan: &BootPlan) -> io::Result<()> {
    let root = mapped::copy_of_working_directory()?;
    let sizes = InMemory::of(&plan.limits);
    devices::make(&root, sizes)?;
    kernel::mount_for_node(&root, sizes)?;
    if let Some(view) = &plan.groups.view {
        cgroup::mount_view(&root, view)?;
    }
    machine::make(&root, &plan.limits)?;
    become_root(&root)
}

/// Device nodes are of no use in it. In a node none can be made, and the mount must not say so:
/// runtimes of containers cannot bind what is below one read-only then.
fn bind_own_root(layout: &Layout, ids: Ids) -> io::Result<()> {
    let root = layout.root();
    mount(Some(&root), &root, NO_DATA, MsFlags::MS_BIND, NO_DATA)?;
    if !ids.are_the_hosts() {
        return Ok(());
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NODEV;
    Ok(mount(NO_DATA, &root, NO_DATA, flags, NO_DATA)?)
}

fn image_root(plan: &BootPlan, owners: &Owners, layout: &Layout, image: &Path) -> io::Result<()> {
    if !image.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the image directory {} is not there", image.display()),
        ));
    }
    let layer = Layer::new(layout, image, plan.rootless)?;
    owners.ids.own(&layer.upper)?;
    layer
        .mount_at(&layout.root(), owners.user.as_ref())
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("no overlay over the image directory: {error}; see `lath doctor`"),
            )
        })?;
    let root = beneath::open_base(&layout.root())?;
    owners.ids.act(|| skeleton::make(&root))
}

fn host_root(
    plan: &BootPlan,
    owners: &Owners,
    layout: &Layout,
    report: &mut Report,
) -> io::Result<()> {
    let ids = owners.ids;
    bind_own_root(layout, ids)?;
    let root = beneath::open_base(&layout.root())?;
    ids.act(|| skeleton::make(&root))?;
    let hidden = [plan.data_dir.clone(), plan.run_dir.clone()];
    let overlay = layer::try_overlay(layout, plan.rootless, owners.user.as_ref());
    if let Err(error) = &overlay {
        report.notes.push(format!(
            "/etc is a copy and the host's other directories are read-only: no overlay ({error})"
        ));
    }
    for (path, depth) in ids.act(|| shown_directories(&root))? {
        let host = Path::new("/").join(&path);
        let directory = ids.act(|| beneath::ensure_directory(root.as_fd(), &path))?;
        let target = beneath::path_of(&directory);
        let layer = Layer::new(layout, &host, plan.rootless)?;
        let veil = Veil {
            lower: &host,
            upper: &layer.upper,
            rootless: plan.rootless,
            ids,
            depth,
            hidden: &hidden,
        };
        let shown = match &owners.user {
            Some(user) => mapped::can_show_mapped(&host, user),
            None => Ok(()),
        };
        if let Err(error) = &shown {
            let host = host.display();
            report
                .notes
                .push(format!("{host} is nobody's and read-only: {error}"));
        }
        if overlay.is_ok() && shown.is_ok() {
            veil.draw()?;
            layer.mount_at(&target, owners.user.as_ref())?;
        } else {
            read_only_instead(&veil, &root, &path)?;
        }
    }
    Ok(())
}

/// Without overlays `/etc` is a copy of its public files, and the rest is the host's, read-only, with its
/// secrets covered.
fn read_only_instead(veil: &Veil<'_>, root: &OwnedFd, path: &Path) -> io::Result<()> {
    let bind = MsFlags::MS_BIND;
    let is_etc = veil.lower == Path::new("/etc");
    // A node's has its own place: the upper layer may hold marks for an overlay, from a boot with another kernel.
    let copy = match veil.ids.are_the_hosts() {
        true => veil.upper.to_owned(),
        false => veil.upper.with_file_name("copy"),
    };
    let source = if is_etc { copy.as_path() } else { veil.lower };
    if is_etc {
        fs::create_dir_all(&copy)?;
        skeleton::copy_public(veil.lower, &copy)?;
        veil.ids.own_all(&copy)?;
    }
    let covered = beneath::ensure_directory(root.as_fd(), path)?;
    mount(
        Some(source),
        &beneath::path_of(&covered),
        NO_DATA,
        bind,
        NO_DATA,
    )?;
    if is_etc {
        return Ok(());
    }
    // Opened again: the fd above is of the directory under the mount.
    let mounted = beneath::ensure_directory(root.as_fd(), path)?;
    let target = beneath::path_of(&mounted);
    cover(&veil.secrets(), &target)?;
    let flags = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    Ok(mount(NO_DATA, &target, NO_DATA, flags, NO_DATA)?)
}

/// Shows a file of the host at `target`, a path that only this process can change. The file can be read, and written if it is
/// a device; its mode, owner and times, which are the host's too, cannot be changed.
pub(crate) fn show(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, NO_DATA, MsFlags::MS_BIND, NO_DATA)?;
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    // In a user namespace what the host's mount forbids must stay forbidden.
    let there = rustix::fs::statvfs(target)?.f_flag;
    for (is, keep) in [
        (StatVfsMountFlags::NOSUID, MsFlags::MS_NOSUID),
        (StatVfsMountFlags::NODEV, MsFlags::MS_NODEV),
        (StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
    ] {
        if there.contains(is) {
            flags |= keep;
        }
    }
    Ok(mount(NO_DATA, target, NO_DATA, flags, NO_DATA)?)
}

fn cover(secrets: &[(PathBuf, bool)], target: &Path) -> io::Result<()> {
    for (path, is_directory) in secrets {
        let secret = target.join(path);
        if *is_directory {
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
            let data = Some("size=0,mode=555");
            mount(Some("none"), &secret, Some("tmpfs"), flags, data)?;
        } else {
            show(Path::new("/dev/null"), &secret)?;
        }
    }
    Ok(())
}

/// The directories of the host to show, parents first; links among them are made in passing.
fn shown_directories(root: &OwnedFd) -> io::Result<Vec<(PathBuf, usize)>> {
    let mut shown = Vec::new();
    for &(path, depth) in SHOWN {
        let host = Path::new("/").join(path);
        match fs::symlink_metadata(&host) {
            Ok(known) if known.is_dir() => shown.push((PathBuf::from(path), depth)),
            Ok(known) if known.is_symlink() => {
                let to = fs::read_link(&host)?;
                beneath::ensure_symlink(root.as_fd(), Path::new(path), &to)?;
            }
            _ => {}
        }
    }
    let more = mounts_below(&shown)?;
    shown.extend(more);
    shown.sort();
    shown.dedup_by(|a, b| a.0 == b.0);
    Ok(shown)
}

/// Other file systems that the host has mounted inside what is shown: an overlay does not see into them.
fn mounts_below(shown: &[(PathBuf, usize)]) -> io::Result<Vec<(PathBuf, usize)>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points
        .map(unescape_octal)
        .filter(|point| point.is_dir())
        .filter_map(|point| {
            let inside = point.strip_prefix("/").ok()?.to_owned();
            let (_, depth) = shown.iter().find(|(path, _)| inside.starts_with(path))?;
            Some((inside, *depth))
        })
        .collect())
}

/// `\040` and its like, as mount tables write blanks and backslashes.
fn unescape_octal(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let code = code
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

/// Makes the directory `/` for the whole mount namespace and lets go of the old one.
fn become_root(root: &OwnedFd) -> io::Result<()> {
    // Reopened: `root` was opened before a mount covered it, or names the mount already.
    nix::unistd::fchdir(root)?;
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        for (given, want) in [
            ("/a", "/a"),
            ("/a\\040b", "/a b"),
            ("/a\\134", "/a\\"),
            ("/a\\9", "/a\\9"),
        ] {
            assert_eq!(unescape_octal(given), Path::new(want), "{given}");
        }
    }
}
