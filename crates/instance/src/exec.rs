//! A process in a running instance: `lath exec INSTANCE -- CMD`.
//!
//! Done by a process of its own with one thread, which enters the instance's namespaces by the record in
//! the data directory, forks into its pid namespace, confines the child and passes on its exit status.
//! When standard input and output are terminals the command gets a terminal of the instance's own.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lath_feed::InstanceKind;
use lath_model::WorkloadId;
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
use crate::{confine, limits};

/// Where programs are searched for in an instance.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit statuses as shells give them.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;
/// The instance could not be entered.
pub const CANNOT_ENTER: i32 = 125;

/// What is read as it comes, and told to the command.
const PASSED_ON: [Signal; 5] = [
    Signal::SIGCHLD,
    Signal::SIGWINCH,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
];

/// What to run in an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments. Empty: root's shell.
    pub argv: Vec<String>,
    /// Beyond PATH, HOME, USER, SHELL, LANG and TERM.
    pub env: Vec<(String, String)>,
    /// Where it starts; root's home by default.
    pub cwd: Option<PathBuf>,
    /// The ids of the user and the group that it runs as, instead of root's. It gets no privileges beyond theirs, also
    /// by programs that would give some, and of the environment above PATH and LANG alone.
    #[serde(default)]
    pub user: Option<(u32, u32)>,
}

/// Runs `request` in an instance with this process's standard streams; the answer is the exit status,
/// 128 and the signal's number for a command that a signal ended, or [`CANNOT_ENTER`].
///
/// Must be called before any thread is started: a process with threads cannot enter a mount namespace.
pub(crate) fn exec_main(data_dir: &Path, id: &WorkloadId, request: &ExecRequest) -> i32 {
    match enter_and_run(data_dir, id, request) {
        Ok(status) => status,
        Err(error) => {
            crate::init::println_console(&format!("lath: {id}: {error}"));
            CANNOT_ENTER
        }
    }
}

fn enter_and_run(data_dir: &Path, id: &WorkloadId, request: &ExecRequest) -> io::Result<i32> {
    let layout = Layout::new(data_dir, Path::new("/"), id);
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
    // One outside of the user namespace of the own Lath is an ordinary user too.
    let is_ordinary = is_rootless() || !nix::unistd::geteuid().is_root();
    let groups = running.groups.join_where_allowed(is_ordinary)?;
    limits::apply(&groups, &running.limits);
    // Here and not later: the instance's /proc does not show this process.
    close_others(&[init.as_raw_fd()])?;
    enter(&init, running.init.pid)?;
    drop(init);
    let signals = signals_to_read(&PASSED_ON)?;
    if terminal {
        run_on_terminal(request, running.kind, &signals)
    } else {
        run_watched(request, running.kind, &signals)
    }
}

/// Without a terminal nothing would tell the command that its caller is gone: a process in between holds one
/// end of a pipe, whose other end closes with the caller, however that ends.
fn run_watched(request: &ExecRequest, kind: InstanceKind, signals: &SignalFd) -> io::Result<i32> {
    let (lifeline, _held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let child = fork_child(|| {
        watch_over(request, kind, &lifeline).unwrap_or_else(|error| {
            crate::init::println_console(&format!("lath: {error}"));
            CANNOT_RUN
        })
    })?;
    drop(lifeline);
    wait_for(child, signals, None)
}

/// Confined as the command is: it is a process of the instance too. It closes its copy of the other end.
fn watch_over(request: &ExecRequest, kind: InstanceKind, lifeline: &OwnedFd) -> io::Result<i32> {
    let signals = signals_to_read(&PASSED_ON)?;
    close_others(&[lifeline.as_raw_fd(), signals.as_fd().as_raw_fd()])?;
    drop_groups()?;
    confine::confine(kind)?;
    let child = fork_child(|| run_confined(request))?;
    let held = Lifeline {
        child,
        end: lifeline,
    };
    loop {
        if held.is_lost(&signals)? {
            held.end_command();
            return Ok(128 + Signal::SIGHUP as i32);
        }
        while let Some(signal) = signals.read_signal()? {
            pass_on(signal.ssi_signo, child, None);
        }
        if let Some(status) = ended(child)? {
            return Ok(status);
        }
    }
}

/// What ends with the caller of `lath exec`.
struct Lifeline<'a> {
    child: Pid,
    end: &'a OwnedFd,
}

impl Lifeline<'_> {
    /// Waits for a signal or the caller's end.
    fn is_lost(&self, signals: &SignalFd) -> io::Result<bool> {
        let mut waiting = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.end.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) => Ok(waiting[1].revents().is_some_and(|it| !it.is_empty())),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The command and all of its process group, as a closed terminal does; those that ignore it are killed.
    fn end_command(&self) {
        let group = Pid::from_raw(-self.child.as_raw());
        let _ = kill(group, Signal::SIGHUP);
        let _ = kill(group, Signal::SIGCONT);
        for _ in 0..LAST_LOOKS {
            if ended(self.child).is_ok_and(|status| status.is_some()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = kill(group, Signal::SIGKILL);
    }
}

/// How often a command that was told to end is looked at before it is killed: for a second.
const LAST_LOOKS: usize = 100;

/// All namespaces at once, and with them the instance's root. The instance may be in a user namespace: a node's own, or
/// that of a rootless Lath, whose owner calls from outside. It must be joined in the same call, which asks whether this
/// process may look into the first process only once: afterwards it may not.
fn enter(init: &OwnedFd, pid: i32) -> io::Result<()> {
    let user_space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let elsewhere = user_space(&pid.to_string()) != user_space("self");
    let mut spaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK;
    if elsewhere {
        spaces |= ThreadNameSpaceType::USER;
    }
    let with_groups = spaces | ThreadNameSpaceType::CONTROL_GROUP;
    move_into_thread_name_spaces(init.as_fd(), with_groups)
        // Kernels without control groups have no namespace for them.
        .or_else(|_| move_into_thread_name_spaces(init.as_fd(), spaces))
        .map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("cannot enter it: {error}"))
        })?;
    if elsewhere {
        // The host's root has no id there: it becomes the owner, who is root there.
        nix::unistd::setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
        nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))?;
    }
    nix::unistd::chdir("/")?;
    Ok(())
}

fn run_on(request: &ExecRequest, kind: InstanceKind, terminal: &OwnedFd) -> i32 {
    let ready = || {
        nix::unistd::setsid()?;
        rustix::process::ioctl_tiocsctty(terminal)?;
        for number in 0..3 {
            become_standard(terminal, number)?;
        }
        close_others(&[])?;
        drop_groups()?;
        confine::confine(kind)
    };
    become_command(request, ready)
}

/// In a process that is confined already.
fn run_confined(request: &ExecRequest) -> i32 {
    let ready = || {
        nix::unistd::setsid()?;
        if request.user.is_some() {
            rustix::thread::set_no_new_privs(true)?;
        }
        close_others(&[])
    };
    become_command(request, ready)
}

fn become_command(request: &ExecRequest, ready: impl FnOnce() -> io::Result<()>) -> i32 {
    let become_it = || -> io::Result<std::convert::Infallible> {
        ready()?;
        unblock_signals()?;
        Err(command(request).exec())
    };
    match become_it() {
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

fn drop_groups() -> io::Result<()> {
    match nix::unistd::setgroups(&[]) {
        // User namespaces of ordinary users forbid it.
        Err(Errno::EPERM) if is_rootless() => Ok(()),
        outcome => Ok(outcome?),
    }
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
    command
        .env_clear()
        .envs([("PATH", DEFAULT_PATH), ("LANG", "C.UTF-8")]);
    match request.user {
        Some((user, group)) => drop(command.uid(user).gid(group)),
        None => drop(command.envs([
            ("HOME", "/root"),
            ("USER", "root"),
            ("SHELL", "/bin/sh"),
            ("TERM", &term),
        ])),
    }
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

fn run_on_terminal(
    request: &ExecRequest,
    kind: InstanceKind,
    signals: &SignalFd,
) -> io::Result<i32> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    copy_size(&master);
    let _raw = RawTerminal::set()?;
    let child = fork_child(|| {
        let copy = slave.try_clone();
        copy.map_or(CANNOT_RUN, |slave| run_on(request, kind, &slave))
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
        let Some(status) = ended(child)? else {
            continue;
        };
        if let Some(streams) = &streams {
            streams.finish();
        }
        return Ok(status);
    }
}

/// The exit status of a child that has ended, as shells give it.
fn ended(child: Pid) -> io::Result<Option<i32>> {
    Ok(match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
        WaitStatus::Exited(_, code) => Some(code),
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
        _ => None,
    })
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
