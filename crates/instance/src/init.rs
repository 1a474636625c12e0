//! An instance's first process: prepares the inside, lets the boot run, reaps, and ends everything.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::boot::BootPlan;
use crate::channel::{Channel, Message};
use crate::layout::Layout;
use crate::node::{self, Built};
use crate::process::{become_standard, fork_child, signals_to_read, unblock_signals};
use crate::units::Units;
use crate::{cloud_init, confine, etc, furnish, limits, root};

/// Runs as process 1 of an ordinary instance; the answer is its exit status.
pub(crate) fn run(plan: &BootPlan, netns: File, channel: Channel) -> i32 {
    let _ = rustix::thread::set_name(c"init");
    // Whatever ends the supervisor ends the instance.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let entered = enter(plan, &netns);
    drop(netns);
    go_on(plan, entered, channel)
}

/// Runs as process 1 of a node, in its namespaces and below its root.
pub(crate) fn run_node(plan: &BootPlan, built: Built, channel: Channel) -> i32 {
    let _ = rustix::thread::set_name(c"init");
    let entered = node::become_root_of_namespaces(&built)
        .map_err(context("becoming root of its namespaces"))
        .and_then(|()| root::enter_as_node(plan).map_err(context("entering the root file system")))
        .map(|()| (built.first_boot, built.notes));
    go_on(plan, entered, channel)
}

fn go_on(plan: &BootPlan, entered: io::Result<(bool, Vec<String>)>, channel: Channel) -> i32 {
    let prepared = entered.and_then(|(first, notes)| prepare(plan, first, &notes, &channel));
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = channel.send(&Message::Failed(error.to_string()), None);
            return 1;
        }
    };
    if !matches!(channel.receive(), Ok(Some((Message::Go, _)))) {
        return 1;
    }
    drop(channel);
    live(plan, &prepared)
}

fn context(what: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What the running instance's first process needs to know.
#[derive(Debug)]
struct Prepared {
    signals: SignalFd,
    /// Looked at before the supervisor marks the first boot as begun.
    first_boot: bool,
}

/// Enters an ordinary instance's namespaces and root. Gives whether it is the first boot, and notes.
fn enter(plan: &BootPlan, netns: &File) -> io::Result<(bool, Vec<String>)> {
    setns(netns, CloneFlags::CLONE_NEWNET)
        .map_err(|error| context("entering the network namespace")(error.into()))?;
    plan.groups
        .join()
        .map_err(context("joining the control groups"))?;
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    let spaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(spaces).map_err(|error| context("making namespaces")(error.into()))?;
    // Kernels without control groups have no namespace for them.
    let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    let first_boot = !Layout::new(&plan.data_dir, &plan.run_dir, &plan.id)
        .booted_mark()
        .exists();
    let report = root::enter(plan).map_err(context("building the root file system"))?;
    Ok((first_boot, report.notes))
}

fn prepare(
    plan: &BootPlan,
    first_boot: bool,
    notes: &[String],
    channel: &Channel,
) -> io::Result<Prepared> {
    etc::write(plan, first_boot).map_err(context("writing /etc"))?;
    furnish::write_files(plan)?;
    furnish::share_mounts(plan)?;
    if first_boot && let Some(name) = hostname_in_user_data(plan)? {
        etc::set_hostname_file(&name)?;
    }
    let name = etc::hostname_file().unwrap_or_else(|| plan.hostname.clone());
    nix::unistd::sethostname(etc::short_name(&name))?;
    let master = console().map_err(context("making the console"))?;
    let signals = signals_to_read(&[Signal::SIGTERM, Signal::SIGCHLD])?;
    no_core_files();
    limits::apply(&plan.groups, &plan.limits);
    confine::confine(plan.kind).map_err(context("confining"))?;
    let notes: Vec<String> = notes.iter().chain(&plan.setup.notes).cloned().collect();
    cloud_init::announce(plan, first_boot, &notes);
    channel.send(&Message::Ready, Some(&master))?;
    Ok(Prepared {
        signals,
        first_boot,
    })
}

/// `#cloud-config` may choose a name, which only this process may set; but user data is read by a confined
/// one.
fn hostname_in_user_data(plan: &BootPlan) -> io::Result<Option<String>> {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let child = fork_child(|| {
        let name = confine::confine(plan.kind)
            .ok()
            .and_then(|()| cloud_init::hostname(plan));
        let written = File::from(writer).write_all(name.unwrap_or_default().as_bytes());
        i32::from(written.is_err())
    })?;
    let mut name = String::new();
    let read = File::from(reader).take(256).read_to_string(&mut name);
    waitpid(child, None)?;
    Ok(read
        .ok()
        .map(|_| name)
        .filter(|name| etc::is_hostname(name)))
}

/// A terminal of the instance's own, bound to `/dev/console`, and its master end for the supervisor.
fn console() -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let mut modes = rustix::termios::tcgetattr(&slave)?;
    // Bytes as they were written: no carriage returns added, nothing echoed.
    modes.make_raw();
    rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &modes)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let path = std::path::Path::new(name.to_str().map_err(io::Error::other)?);
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o620))?;
    mount(
        Some(path),
        "/dev/console",
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    // It belongs to this session for good, so that no other session leader that opens it becomes its
    // owner, and hangs it up for all writers when it ends.
    nix::unistd::setsid()?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    become_standard(&File::open("/dev/null")?, 0)?;
    become_standard(&slave, 1)?;
    become_standard(&slave, 2)?;
    // The supervisor reads when there is something, and never waits.
    let flags = rustix::fs::fcntl_getfl(&master)? | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&master, flags)?;
    Ok(master)
}

/// A crash in an instance starts the host's core dump handler otherwise.
fn no_core_files() {
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
}

/// How long user data waits for units to be ready.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// How often a node looks for its interface.
const LOOK: Duration = Duration::from_millis(50);

fn gives_up(waited: bool) -> bool {
    if waited {
        println_console(
            "There is no network interface with a default route; going on without one.",
        );
    }
    waited
}

fn live(plan: &BootPlan, prepared: &Prepared) -> i32 {
    let signals = &prepared.signals;
    let mut units = Units::new(&plan.setup);
    let begun = Instant::now();
    let mut boots = false;
    let mut connected = !node::is(plan.kind);
    loop {
        let now = Instant::now();
        connected = connected || node::has_network() || gives_up(now >= begun + LONGEST_WAIT);
        let next = if connected {
            units.advance(now)
        } else {
            Some(now + LOOK)
        };
        if connected && !boots && (units.are_ready() || now >= begun + LONGEST_WAIT) {
            boots = true;
            boot(plan, prepared.first_boot);
        }
        let patience = (connected && !boots).then(|| begun + LONGEST_WAIT);
        if asked_to_end(signals, &units, next.into_iter().chain(patience).min()) {
            break;
        }
        units.copy_outputs();
        while reap(&mut units) == Reaped::One {}
        units.obey(Instant::now());
    }
    println_console("The instance is being stopped.");
    end_units(signals, &mut units);
    shut_down(signals, &mut units, plan.stop_grace);
    0
}

fn boot(plan: &BootPlan, first_boot: bool) {
    let boot = fork_child(|| {
        let _ = unblock_signals();
        cloud_init::run(plan, first_boot)
    });
    if let Err(error) = boot {
        println_console(&format!("cannot start the boot: {error}"));
    }
}

/// The console is standard error.
pub(crate) fn println_console(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Waits for signals and what units write; true when the supervisor wants the end. What processes of the instance
/// send themselves does not count: their sender has a number here, the supervisor has none.
fn asked_to_end(signals: &SignalFd, units: &Units<'_>, until: Option<Instant>) -> bool {
    let timeout = until.map_or(PollTimeout::NONE, |until| {
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        PollTimeout::try_from(left + 1).unwrap_or(PollTimeout::MAX)
    });
    let mut waiting = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    waiting.extend(units.outputs().map(|it| PollFd::new(it, PollFlags::POLLIN)));
    let _ = poll(&mut waiting, timeout);
    let mut asked = false;
    while let Ok(Some(signal)) = signals.read_signal() {
        asked |= signal.ssi_signo == Signal::SIGTERM as u32 && signal.ssi_pid == 0;
    }
    asked
}

#[derive(Debug, PartialEq, Eq)]
enum Reaped {
    One,
    NoneYet,
    NoChildren,
}

/// Waits for one process that has ended, and tells the units of it.
fn reap(units: &mut Units<'_>) -> Reaped {
    let (process, status) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => return Reaped::NoneYet,
        Ok(WaitStatus::Exited(process, status)) => (process, status),
        Ok(WaitStatus::Signaled(process, signal, _)) => (process, 128 + signal as i32),
        Ok(_) | Err(Errno::EINTR) => return Reaped::One,
        Err(_) => return Reaped::NoChildren,
    };
    units.ended(process, status, Instant::now());
    Reaped::One
}

/// Ends the units, the last one first, so that each still has those that it needs.
fn end_units(signals: &SignalFd, units: &mut Units<'_>) {
    units.close();
    while let Some((process, deadline)) = units.end_last(Instant::now()) {
        while units.runs(process) && Instant::now() < deadline {
            asked_to_end(signals, units, Some(deadline));
            units.copy_outputs();
            while reap(units) == Reaped::One {}
        }
        units.close();
        if units.runs(process) {
            units.forget(process);
        }
    }
}

/// Asks everything to end, waits, and leaves; the kernel kills what is still there when process 1 ends.
fn shut_down(signals: &SignalFd, units: &mut Units<'_>, grace: Duration) {
    let everything = Pid::from_raw(-1);
    let _ = kill(everything, Signal::SIGTERM);
    // A stopped process sees no other signal.
    let _ = kill(everything, Signal::SIGCONT);
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        loop {
            match reap(units) {
                Reaped::One => {}
                Reaped::NoneYet => break,
                Reaped::NoChildren => return,
            }
        }
        units.copy_outputs();
        asked_to_end(signals, units, Some(deadline));
    }
}
