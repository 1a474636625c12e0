//! Forks, signals and descriptors of the single-threaded processes that run an instance.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid};

/// Forks. Only for processes with one thread: the child may then do anything.
#[expect(unsafe_code, reason = "a fork duplicates the process")]
pub(crate) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the launcher never starts a thread, so no lock can be held by one that the child lacks.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Runs `work` in a child and ends it with the returned status.
pub(crate) fn fork_child(work: impl FnOnce() -> i32) -> io::Result<Pid> {
    match fork()? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => std::process::exit(work()),
    }
}

/// Blocks `signals` and lets them be read instead.
pub(crate) fn signals_to_read(signals: &[Signal]) -> io::Result<SignalFd> {
    let set: SigSet = signals.iter().copied().collect();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?;
    Ok(SignalFd::with_flags(
        &set,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// Signals as a fresh program expects them: none blocked.
pub(crate) fn unblock_signals() -> io::Result<()> {
    Ok(sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::empty()),
        None,
    )?)
}

/// Closes every descriptor above 2 that is not in `kept`.
pub(crate) fn close_others(kept: &[RawFd]) -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open {
        if fd > 2 && !kept.contains(&fd) {
            // One of them was the directory that was listed: it is closed already.
            let _ = nix::unistd::close(fd);
        }
    }
    Ok(())
}

/// Makes `file` this process's standard input, output or error (`number`).
#[expect(unsafe_code, reason = "nix's dup2 onto a number is raw")]
pub(crate) fn become_standard(file: &impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: no object in the launcher owns 0, 1 or 2; they belong to the process as a whole.
    let answer = unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes over a descriptor that the parent left at this number.
#[expect(unsafe_code, reason = "inherited descriptors are plain numbers")]
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: fcntl fails when nothing is open there, and borrows for the length of the call only.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and the launcher takes each number over once, before it opens anything.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
