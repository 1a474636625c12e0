//! A process in a running instance: `lath exec INSTANCE -- CMD`.
//!
//! Done by a process of its own with one thread, which enters the instance's namespaces by the record in
//! the run directory, forks into its pid namespace, confines the child and passes on its exit status.
//! When standard input and output are terminals the command gets a terminal of the instance's own.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lath_model::id::InstanceId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

use crate::instances::is_rootless;
use crate::layout::Layout;
use crate::process::{become_standard, close_others, fork_child, signals_to_read, unblock_signals};
use crate::record::{Running, load};
use crate::{cgroup, confine};

/// Where programs are searched for in an instance.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit statuses as shells give them.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;
/// The instance could not be entered.
pub const CANNOT_ENTER: i32 = 125;

/// What to run in an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments. Empty: root's shell.
    pub argv: Vec<String>,
    /// Beyond PATH, HOME, USER, SHELL, LANG and TERM.
    pub env: Vec<(String, String)>,
    /// Where it starts; root's home by default.
    pub cwd: Option<PathBuf>,
}

/// Runs `request` in an instance with this process's standard streams; the answer is the exit status,
/// 128 and the signal's number for a command that a signal ended, or [`CANNOT_ENTER`].
///
/// Must be called before any thread is started: a process with threads cannot enter a mount namespace.
pub(crate) fn exec_main(run_dir: &Path, id: &InstanceId, request: &ExecRequest) -> i32 {
    match enter_and_run(run_dir, id, request) {
        Ok(status) => status,
        Err(error) => {
            crate::init::println_console(&format!("lath: {id}: {error}"));
            CANNOT_ENTER
        }
    }
}

fn enter_and_run(run_dir: &Path, id: &InstanceId, request: &ExecRequest) -> io::Result<i32> {
    let layout = Layout::new(Path::new("/"), run_dir, id);
    let not_running =
        || io::Error::new(io::ErrorKind::NotFound, "the instance is not running here");
    // A record that may not be read is another thing than none.
    if let Err(error) = File::open(layout.running())
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        let text = "only root and the user who runs `lath serve` may enter its instances";
        return Err(io::Error::new(error.kind(), text));
    }
    let running: Running = load(&layout.running()).ok_or_else(not_running)?;
    let init = running.init.open().ok_or_else(not_running)?;
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if let Some(path) = &running.cgroup {
        cgroup::join_instance(path)?;
    }
    // Here and not later: the instance's /proc does not show this process.
    close_others(&[init.as_raw_fd()])?;
    enter(&init, running.init.pid)?;
    drop(init);
    let signals = signals_to_read(&[
        Signal::SIGCHLD,
        Signal::SIGWINCH,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
    ])?;
    if terminal {
        run_on_terminal(request, &signals)
    } else {
        let child = fork_child(|| run_inside(request, None))?;
        wait_for(child, &signals, None)
    }
}

/// All namespaces at once, and with them the instance's root. A rootless Lath's instances are in a user
/// namespace; its owner, calling from outside, joins that first.
fn enter(init: &OwnedFd, pid: i32) -> io::Result<()> {
    let user_space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    if user_space(&pid.to_string()) != user_space("self") {
        move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::USER)?;
        // The host's root is nobody there: it becomes the owner, who is root there.
        nix::unistd::setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
        nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))?;
    }
    let spaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK;
    move_into_thread_name_spaces(init.as_fd(), spaces).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("cannot enter it: {error}"))
    })?;
    // Kernels without control groups have no namespace for them.
    let _ = move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::CONTROL_GROUP);
    nix::unistd::chdir("/")?;
    Ok(())
}

fn run_inside(request: &ExecRequest, terminal: Option<OwnedFd>) -> i32 {
    match become_command(request, terminal) {
        Ok(never) => match never {},
        Err(error) => {
            let program = request.argv.first().map_or("the shell", String::as_str);
            crate::init::println_console(&format!("lath: {program}: {error}"));
            if error.kind() == io::ErrorKind::NotFound {
                NOT_FOUND
            } else {
                CANNOT_RUN
            }
        }
    }
}

fn become_command(
    request: &ExecRequest,
    terminal: Option<OwnedFd>,
) -> io::Result<std::convert::Infallible> {
    nix::unistd::setsid()?;
    if let Some(slave) = terminal {
        rustix::process::ioctl_tiocsctty(&slave)?;
        for number in 0..3 {
            become_standard(&slave, number)?;
        }
    }
    close_others(&[])?;
    match nix::unistd::setgroups(&[]) {
        // User namespaces of ordinary users forbid it.
        Err(Errno::EPERM) if is_rootless() => {}
        outcome => outcome?,
    }
    confine::confine()?;
    unblock_signals()?;
    Err(command(request).exec())
}

fn command(request: &ExecRequest) -> Command {
    let mut command = match request.argv.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => {
            let bash = Path::new("/bin/bash");
            let mut command = Command::new(if bash.exists() {
                "/bin/bash"
            } else {
                "/bin/sh"
            });
            command.arg("-l");
            command
        }
    };
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
    command.env_clear().envs([
        ("PATH", DEFAULT_PATH),
        ("HOME", "/root"),
        ("USER", "root"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("TERM", &term),
    ]);
    command.envs(request.env.iter().map(|(key, value)| (key, value)));
    let home = Path::new("/root");
    let fallback = if home.is_dir() { home } else { Path::new("/") };
    command.current_dir(request.cwd.as_deref().unwrap_or(fallback));
    command
}

/// The user's terminal, set to pass every byte on; put back in the end.
struct RawTerminal(Termios);

impl RawTerminal {
    fn set() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn run_on_terminal(request: &ExecRequest, signals: &SignalFd) -> io::Result<i32> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    copy_size(&master);
    let _raw = RawTerminal::set()?;
    let child = fork_child(|| {
        let copy = slave.try_clone();
        copy.map_or(CANNOT_RUN, |slave| run_inside(request, Some(slave)))
    })?;
    drop(slave);
    wait_for(child, signals, Some(&master))
}

fn copy_size(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// What moves between the user's terminal and the command's.
struct Streams<'a> {
    master: &'a OwnedFd,
    /// Until the user's input ends.
    typing: bool,
    /// Until nothing of the command holds its terminal any more.
    showing: bool,
}

/// Output that a command left in its terminal is shown, but not for ever.
const LAST_READS: usize = 64;

impl Streams<'_> {
    /// Moves what is there.
    fn exchange(&mut self, from_command: bool, from_user: bool) {
        if from_command {
            self.showing = copy_once(self.master, io::stdout().as_fd());
        }
        if from_user {
            self.typing = copy_once(&io::stdin(), self.master.as_fd());
        }
    }

    fn finish(&self) {
        for _ in 0..LAST_READS {
            let mut one = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let more = poll(&mut one, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
            if !more || !copy_once(self.master, io::stdout().as_fd()) {
                return;
            }
        }
    }
}

fn wait_for(child: Pid, signals: &SignalFd, master: Option<&OwnedFd>) -> io::Result<i32> {
    let mut streams = master.map(|master| Streams {
        master,
        typing: true,
        showing: true,
    });
    loop {
        exchange(signals, streams.as_mut())?;
        while let Some(signal) = signals.read_signal()? {
            pass_on(signal.ssi_signo, child, master);
        }
        let status = match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
            _ => continue,
        };
        if let Some(streams) = &streams {
            streams.finish();
        }
        return Ok(status);
    }
}

fn pass_on(signal: u32, child: Pid, master: Option<&OwnedFd>) {
    let Ok(signal) = i32::try_from(signal).map(Signal::try_from) else {
        return;
    };
    match (signal, master) {
        (Ok(Signal::SIGWINCH), Some(master)) => copy_size(master),
        (Ok(Signal::SIGCHLD | Signal::SIGWINCH) | Err(_), _) => {}
        (Ok(signal), _) => {
            let _ = kill(child, signal);
        }
    }
}

/// Waits for something to happen and moves what is there.
fn exchange(signals: &SignalFd, streams: Option<&mut Streams<'_>>) -> io::Result<()> {
    let stdin = io::stdin();
    let mut waiting = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    if let Some(streams) = &streams {
        if streams.showing {
            waiting.push(PollFd::new(streams.master.as_fd(), PollFlags::POLLIN));
        }
        if streams.typing {
            waiting.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
    }
    match poll(&mut waiting, PollTimeout::NONE) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let Some(streams) = streams else {
        return Ok(());
    };
    let happened: Vec<bool> = waiting
        .iter()
        .map(|one| one.revents().is_some_and(|events| !events.is_empty()))
        .collect();
    let user = 1 + usize::from(streams.showing);
    let from_command = streams.showing && happened.get(1) == Some(&true);
    let from_user = streams.typing && happened.get(user) == Some(&true);
    streams.exchange(from_command, from_user);
    Ok(())
}

/// False at the end of `from`, or when `to` takes nothing any more.
fn copy_once(from: &impl AsFd, to: std::os::fd::BorrowedFd<'_>) -> bool {
    use std::io::Write;
    let mut bytes = [0; 8192];
    let Ok(length @ 1..) = nix::unistd::read(from.as_fd(), &mut bytes) else {
        return false;
    };
    to.try_clone_to_owned()
        .is_ok_and(|to| File::from(to).write_all(&bytes[..length]).is_ok())
}
