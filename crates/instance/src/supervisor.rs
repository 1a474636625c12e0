//! An instance's supervisor: the process on the host's side that outlives Lath.
//!
//! It starts the instance's first process, copies the console into its file, keeps the record by which
//! a restarted Lath finds the instance, and writes down how it ended. It holds a lock as long as it
//! lives, and its death kills the instance, so neither can be there without the other for long.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use lath_clock::Clock;
use lath_feed::InstanceKind;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use crate::boot::BootPlan;
use crate::channel::{Channel, Message};
use crate::console::ConsoleWriter;
use crate::layout::Layout;
use crate::process::{self, fork, signals_to_read};
use crate::record::{EndReason, Ended, NamespaceName, ProcessName, Running, save};
use crate::{ids, node};

/// How long a first process may take to end after it was told to kill everything.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// What the launcher was handed.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Of an ordinary instance; a node makes its own.
    pub(crate) netns: Option<OwnedFd>,
    /// Gets one line: `ok`, or why not.
    pub(crate) status: File,
    /// Ends when the process that started the instance ends.
    pub(crate) lifeline: Option<OwnedFd>,
}

/// Runs the instance to its end.
pub(crate) fn run(plan: &BootPlan, inherited: Inherited, clock: Clock) -> io::Result<()> {
    use std::io::Write;
    let mut status = inherited.status;
    match Supervisor::start(plan, inherited.netns, inherited.lifeline, clock) {
        Ok(supervisor) => {
            // The reader may have died. A restarted Lath finds the record instead.
            let _ = writeln!(status, "ok");
            drop(status);
            supervisor.watch()
        }
        Err(error) => {
            let _ = writeln!(status, "{error}");
            Err(error)
        }
    }
}

#[derive(Debug)]
struct Supervisor<'a> {
    plan: &'a BootPlan,
    clock: Clock,
    layout: Layout,
    init: Pid,
    signals: SignalFd,
    console: ConsoleWriter,
    master: OwnedFd,
    lifeline: Option<OwnedFd>,
    /// Why it is being ended, and when it is killed.
    ending: Option<(EndReason, Instant)>,
    _lock: Flock<File>,
    /// Of the user ids of a node.
    _ids_lock: Option<Flock<File>>,
}

impl<'a> Supervisor<'a> {
    fn start(
        plan: &'a BootPlan,
        netns: Option<OwnedFd>,
        lifeline: Option<OwnedFd>,
        clock: Clock,
    ) -> io::Result<Self> {
        let layout = Layout::new(&plan.data_dir, &plan.run_dir, &plan.id);
        let lock = lock(&layout.lock())?;
        let _ = fs::remove_file(layout.ended());
        // No terminal signal and no end of a login session reaches the instance.
        let _ = nix::unistd::setsid();
        nix::unistd::chdir("/")?;
        let signals = signals_to_read(&[Signal::SIGTERM, Signal::SIGCHLD])?;
        let console = ConsoleWriter::open(&layout.console(), clock.clone())?;
        plan.groups.make(&plan.limits)?;
        plan.groups.join_as_supervisor()?;
        spare_from_memory_shortage();
        let (ours, theirs) = Channel::pair()?;
        let mut ids_lock = None;
        let (init, netns_name) = match (plan.kind, netns) {
            (InstanceKind::Ordinary, Some(netns)) => {
                let netns = File::from(netns);
                let name = NamespaceName::of(&netns)?;
                (start_init(plan, netns, theirs)?, name)
            }
            (InstanceKind::Node, None) => {
                let (ids, lock) = ids::claim(&layout)?;
                ids_lock = Some(lock);
                plan.groups.delegate_to(ids)?;
                let init = node::start(plan, ids, &ours, theirs)?;
                let netns = File::open(format!("/proc/{init}/ns/net"))?;
                (init, NamespaceName::of(&netns)?)
            }
            (kind, _) => {
                let words = format!("no instance of kind {kind:?} has such a network");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
            }
        };
        let master = await_ready(&ours, init)?;
        let supervisor = Self {
            plan,
            clock,
            layout,
            init,
            signals,
            console,
            master,
            lifeline,
            ending: None,
            _lock: lock,
            _ids_lock: ids_lock,
        };
        supervisor.let_go(&ours, netns_name)?;
        Ok(supervisor)
    }

    /// Writes the record first: from here on the instance is there. Unless it cannot be let go: then
    /// nothing says that it was there, and the next attempt runs its user data.
    fn let_go(&self, channel: &Channel, netns: NamespaceName) -> io::Result<()> {
        let (running, mark) = (self.layout.running(), self.layout.booted_mark());
        let first = !mark.exists();
        let outcome = self.record_and_let_go(channel, netns);
        if outcome.is_err() {
            let _ = fs::remove_file(running);
            if first {
                let _ = fs::remove_file(mark);
            }
        }
        outcome
    }

    fn record_and_let_go(&self, channel: &Channel, netns: NamespaceName) -> io::Result<()> {
        let record = Running {
            boot: self.plan.boot,
            since: self.clock.now(),
            supervisor: ProcessName::of(Pid::this().as_raw())?,
            init: ProcessName::of(self.init.as_raw())?,
            netns,
            groups: self.plan.groups.clone(),
            limits: self.plan.limits,
            stop_time: self.plan.stop_time(),
            kind: self.plan.kind,
        };
        save(&self.layout.running(), &record)?;
        // Made before user data runs: a crash in the middle of it does not run it twice.
        let mark = File::create(self.layout.booted_mark())?;
        mark.sync_all()?;
        channel.send(&Message::Go, None)
    }

    fn watch(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.copy_console();
            self.obey_signals()?;
            self.check_lifeline();
            self.enforce();
            if let Some(how) = self.init_ended()? {
                return self.finish(how);
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut waiting = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.master.as_fd(), PollFlags::POLLIN),
        ];
        if let (Some(lifeline), None) = (&self.lifeline, &self.ending) {
            waiting.push(PollFd::new(lifeline.as_fd(), PollFlags::POLLIN));
        }
        let timeout = match self.ending {
            None => PollTimeout::NONE,
            Some((_, deadline)) => {
                let left = deadline
                    .saturating_duration_since(Instant::now())
                    .as_millis();
                PollTimeout::try_from(left.min(1000) + 1).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn copy_console(&mut self) {
        let mut bytes = [0; 16 * 1024];
        // At most the ring's size at once, so that a chatty instance cannot keep signals waiting.
        for _ in 0..4 {
            match nix::unistd::read(&self.master, &mut bytes) {
                Ok(length) if length > 0 => {
                    // A full disk loses console output, not the instance.
                    let _ = self.console.write(&bytes[..length]);
                }
                _ => return,
            }
        }
    }

    fn obey_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                self.end(EndReason::Stopped);
            }
        }
        Ok(())
    }

    fn check_lifeline(&mut self) {
        let Some(lifeline) = &self.lifeline else {
            return;
        };
        let mut one = [PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)];
        if poll(&mut one, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            self.end(EndReason::LifelineLost);
        }
    }

    fn end(&mut self, reason: EndReason) {
        if self.ending.is_none() {
            let deadline = Instant::now() + self.plan.stop_time() + LAST_GRACE;
            self.ending = Some((reason, deadline));
            let _ = kill(self.init, Signal::SIGTERM);
        }
    }

    fn enforce(&self) {
        if self
            .ending
            .as_ref()
            .is_some_and(|(_, deadline)| Instant::now() >= *deadline)
        {
            let _ = kill(self.init, Signal::SIGKILL);
            self.plan.groups.kill_processes();
        }
    }

    fn init_ended(&self) -> io::Result<Option<String>> {
        Ok(match waitpid(self.init, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, code) => Some(format!("exited with status {code}")),
            WaitStatus::Signaled(_, signal, _) => Some(format!("killed by {signal}")),
            _ => None,
        })
    }

    fn finish(mut self, how: String) -> io::Result<()> {
        for _ in 0..64 {
            self.copy_console();
        }
        let reason = self
            .ending
            .take()
            .map_or(EndReason::Died { how }, |(reason, _)| reason);
        let record = Ended {
            boot: self.plan.boot,
            at: self.clock.now(),
            reason,
        };
        save(&self.layout.ended(), &record)?;
        let _ = fs::remove_file(self.layout.running());
        self.plan.groups.leave_and_remove();
        Ok(())
    }
}

/// What the supervisor's oom_score_adj is, and its children's before they let go of it.
const SPARED: &str = "-900";

/// A host that lacks memory has others to end: an instance without its supervisor is gone.
fn spare_from_memory_shortage() {
    // An ordinary user may not.
    let _ = fs::write("/proc/self/oom_score_adj", SPARED);
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        if error == Errno::EWOULDBLOCK {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another supervisor runs this instance",
            )
        } else {
            error.into()
        }
    })
}

/// Forks into a new pid namespace.
fn start_init(plan: &BootPlan, netns: File, channel: Channel) -> io::Result<Pid> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    match fork()? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let kept = [netns.as_raw_fd(), channel.0.as_raw_fd()];
            let _ = process::close_others(&kept);
            std::process::exit(crate::init::run(plan, netns, channel))
        }
    }
}

fn await_ready(channel: &Channel, init: Pid) -> io::Result<OwnedFd> {
    let failed = match channel.receive() {
        Ok(Some((Message::Ready, Some(master)))) => return Ok(master),
        Ok(Some((Message::Failed(reason), _))) => reason,
        Ok(_) => "its first process ended before it was ready".to_owned(),
        Err(error) => error.to_string(),
    };
    let _ = kill(init, Signal::SIGKILL);
    let _ = waitpid(init, None);
    Err(io::Error::other(failed))
}
