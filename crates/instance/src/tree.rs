//! Directory trees that programs of instances made: of any depth, with paths of any length.
//!
//! Each function needs the stack and the descriptors of one level, however many there are.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes a directory and all that is in it; quiet when it is not there. No program may write to it any more.
///
/// What is below the second level is moved up to the first and comes next, so that an interrupted removal leaves one tree.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    remove_some(path, u64::MAX)
}

/// As [`remove`], of a tree that programs may still add to: after `most` entries it is an error, and the rest is there.
pub(crate) fn remove_some(path: &Path, mut most: u64) -> io::Result<()> {
    let mut count = || {
        let left = most.checked_sub(1);
        most = left.ok_or_else(|| io::Error::other("more is left than is removed at once"))?;
        Ok::<(), io::Error>(())
    };
    let top = match openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        top => top?,
    };
    let mut moved = 0_u64;
    loop {
        let mut is_empty = true;
        // Names are not kept: there may be any number of them.
        let mut names = Dir::read_from(&top)?;
        while let Some(entry) = names.read() {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            is_empty = false;
            count()?;
            if remove_one(top.as_fd(), name)? {
                continue;
            }
            let second = openat(&top, name, DIRECTORY, Mode::empty())?;
            let mut below = Dir::read_from(&second)?;
            while let Some(entry) = below.read() {
                let entry = entry?;
                if is_dots(entry.file_name()) {
                    continue;
                }
                count()?;
                if remove_one(second.as_fd(), entry.file_name())? {
                    continue;
                }
                move_up(second.as_fd(), entry.file_name(), top.as_fd(), &mut moved)?;
            }
            // A directory that changes while it is read may have more: it is met again.
            remove_one(top.as_fd(), name)?;
        }
        // What was added while it was read may not have been met.
        if is_empty {
            break;
        }
    }
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Removes a file or an empty directory; `false` is a directory that has something in it.
fn remove_one(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn move_up(
    from: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(from, name, top, format!(".{moved}")) {
            // The tree has something of that name.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Visits a directory and those below it, innermost first, each from its parent by its name. What is not there, or cannot be
/// opened, is left out.
pub(crate) fn visit(path: &Path, visit: &mut dyn FnMut(BorrowedFd<'_>, &CStr)) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let (Ok(name), Ok(mut here)) = (
        CString::new(name.as_encoded_bytes()),
        openat(CWD, parent, DIRECTORY, Mode::empty()),
    ) else {
        return;
    };
    // The names that are left at each level; of the last level but one, the last is the directory that is visited now.
    let mut left = vec![vec![name]];
    while let Some(level) = left.last() {
        if let Some(name) = level.last() {
            if let Ok(below) = openat(&here, name, DIRECTORY, Mode::empty()) {
                left.push(directories(below.as_fd()));
                here = below;
            } else {
                left.last_mut().map(Vec::pop);
            }
            continue;
        }
        left.pop();
        let Some(name) = left.last_mut().and_then(Vec::pop) else {
            return;
        };
        match openat(&here, "..", DIRECTORY, Mode::empty()) {
            Ok(above) => here = above,
            Err(_) => return,
        }
        visit(here.as_fd(), &name);
    }
}

fn directories(folder: BorrowedFd<'_>) -> Vec<CString> {
    let entries = Dir::read_from(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|it| it.file_type() == FileType::Directory);
    let names = folders.map(|it| it.file_name().to_owned());
    names.filter(|name| !is_dots(name)).collect()
}

fn is_dots(name: &CStr) -> bool {
    [c".", c".."].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    fn nest(top: &Path) {
        let mut here = openat(CWD, top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = openat(&here, "d", DIRECTORY, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn directories_of_any_depth_are_visited_innermost_first() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir_all(top.join("c")).unwrap();
        nest(&top);
        let mut count = 0;
        visit(&top, &mut |parent, name| {
            count += 1;
            unlinkat(parent, name, AtFlags::REMOVEDIR).unwrap();
        });
        assert_eq!(count, 3_000 + 4);
        assert!(!top.exists());
        visit(&top, &mut |_, _| count += 1);
        assert_eq!(count, 3_000 + 4);
    }

    #[test]
    fn a_bounded_removal_goes_on_where_it_stopped() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        fs::create_dir_all(top.join("a")).unwrap();
        for name in 0..8 {
            fs::write(top.join(format!("{name}")), "x").unwrap();
            fs::write(top.join(format!("a/{name}")), "x").unwrap();
        }
        assert!(remove_some(&top, 5).is_err());
        assert!(top.exists());
        let tries = (0..8).find(|_| remove_some(&top, 5).is_ok());
        assert!(tries.is_some());
        assert!(!top.exists());
    }

    /// On a stack that one call a level would overflow.
    #[test]
    fn a_tree_of_any_depth_is_removed_and_what_it_links_to_stays() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("kept"), "x").unwrap();
        let top = place.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir_all(top.join(".1/d")).unwrap();
        fs::write(top.join("a/.2"), "x").unwrap();
        fs::write(top.join(".3"), "x").unwrap();
        symlink(place.path(), top.join("a/b/link")).unwrap();
        nest(&top);
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        let removal = {
            let top = top.clone();
            small.spawn(move || remove(&top).and_then(|()| remove(&top)))
        };
        removal.unwrap().join().unwrap().unwrap();
        assert!(!top.exists());
        assert!(place.path().join("kept").exists());
    }
}
