//! Nodes of clusters: instances in a user namespace of their own, where their root may mount, make namespaces and run
//! containers, and is an ordinary user of the host.
//!
//! The supervisor forks a builder, which is the host's root in a mount namespace of its own. It mounts the node's root
//! there, with the host's files shown as if the node's ids owned them, and then makes the first process in new
//! namespaces of every kind, all of them owned by the new user namespace: a copy of the builder's mounts that the node
//! cannot take apart. The first process is a child of the supervisor, not of the builder. It mounts what must be its
//! own (`/proc`, `/sys`, `/dev`, `/run`, its control groups), enters the root, and lets go of the host's.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use lath_feed::InstanceKind;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid};
use rustix::thread::{
    CapabilitiesSecureBits, capabilities_secure_bits, set_capabilities_secure_bits,
};

use crate::boot::BootPlan;
use crate::channel::{Channel, Message};
use crate::ids::Ids;
use crate::layout::Layout;
use crate::process::{close_others, fork};
use crate::root;

/// What the builder passes to the first process.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) first_boot: bool,
    /// What is weaker than asked, in words.
    pub(crate) notes: Vec<String>,
    /// Says one byte once the ids are mapped and the control groups joined.
    mapped: OwnedFd,
}

/// Starts a node's first process, which sends on `theirs` what there is to say.
pub(crate) fn start(plan: &BootPlan, ids: Ids, ours: &Channel, theirs: Channel) -> io::Result<Pid> {
    let builder = match fork()? {
        ForkResult::Child => {
            let _ = close_others(&[theirs.0.as_raw_fd()]);
            std::process::exit(build(plan, ids, theirs))
        }
        ForkResult::Parent { child } => child,
    };
    drop(theirs);
    let said = ours.receive();
    if said.is_err() {
        let _ = kill(builder, Signal::SIGKILL);
    }
    waitpid(builder, None)?;
    match said? {
        Some((Message::Begun(first), _)) => Ok(Pid::from_raw(first)),
        Some((Message::Failed(reason), _)) => Err(io::Error::other(reason)),
        _ => Err(io::Error::other(
            "what builds its root ended before it was ready",
        )),
    }
}

/// The builder; gives its exit status.
fn build(plan: &BootPlan, ids: Ids, channel: Channel) -> i32 {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let begun = || -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let layout = Layout::new(&plan.data_dir, &plan.run_dir, &plan.id);
        let first_boot = !layout.booted_mark().exists();
        let (root, report) = root::build(plan, ids).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("building the root file system: {error}"),
            )
        })?;
        nix::unistd::fchdir(&root)?;
        drop(root);
        let (mapped, report_mapped) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let forked = as_owner(ids, in_new_namespaces)?;
        match forked {
            ForkResult::Child => {
                drop(report_mapped);
                let built = Built {
                    first_boot,
                    notes: report.notes,
                    mapped,
                };
                std::process::exit(crate::init::run_node(plan, built, channel.try_clone()?))
            }
            ForkResult::Parent { child } => {
                prepare(plan, ids, child)?;
                // Before anything that the first process says.
                channel.send(&Message::Begun(child.as_raw()), None)?;
                nix::unistd::write(&report_mapped, b"x")?;
                Ok(())
            }
        }
    };
    match begun() {
        Ok(()) => 0,
        Err(error) => {
            let _ = channel.send(&Message::Failed(error.to_string()), None);
            1
        }
    }
}

/// Makes what `make` makes as the node's own user, with all capabilities. The kernel counts what is in a user namespace, such
/// as watches of files and further namespaces, against the user who made it too: the host's root would pay for all nodes.
fn as_owner(ids: Ids, make: fn() -> io::Result<ForkResult>) -> io::Result<ForkResult> {
    // Else capabilities go with the user.
    let bits = capabilities_secure_bits()?;
    set_capabilities_secure_bits(bits | CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    nix::unistd::seteuid(Uid::from_raw(ids.base))?;
    let made = make()?;
    if made.is_child() {
        // It becomes root of its namespace when its ids are mapped.
        return Ok(made);
    }
    nix::unistd::seteuid(Uid::from_raw(0))?;
    set_capabilities_secure_bits(bits)?;
    // The change of users has undone it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(made)
}

/// Forks into new namespaces of all kinds but that of control groups, which the child must join first. The child is one of
/// this process's parent.
#[expect(
    unsafe_code,
    reason = "no wrapper forks into namespaces without a stack"
)]
fn in_new_namespaces() -> io::Result<ForkResult> {
    let spaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC;
    let flags = spaces | libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is a fork; this process has one thread, so no lock is held by another.
    let answer = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) };
    match i32::try_from(answer) {
        Ok(0) => Ok(ForkResult::Child),
        Ok(child) if child > 0 => Ok(ForkResult::Parent {
            child: Pid::from_raw(child),
        }),
        _ => {
            let error = io::Error::last_os_error();
            let words = format!("no user namespace can be made: {error}; see `lath doctor`");
            Err(io::Error::new(error.kind(), words))
        }
    }
}

/// What only the host's root can do for the first process.
fn prepare(plan: &BootPlan, ids: Ids, first: Pid) -> io::Result<()> {
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{first}/{file}"), ids.map())?;
    }
    fs::write(format!("/proc/{first}/oom_score_adj"), "0")?;
    let placed = plan.groups.place(first.as_raw());
    placed.map_err(|error| {
        io::Error::new(error.kind(), format!("joining the control groups: {error}"))
    })
}

/// For the first process: root in its namespaces from here on.
pub(crate) fn become_root_of_namespaces(built: &Built) -> io::Result<()> {
    if nix::unistd::read(&built.mapped, &mut [0])? == 0 {
        return Err(io::Error::other("its user ids were not mapped"));
    }
    // Its own groups become the roots of what it sees.
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    nix::unistd::setgroups(&[])?;
    let (group, user) = (Gid::from_raw(0), Uid::from_raw(0));
    nix::unistd::setresgid(group, group, group)?;
    nix::unistd::setresuid(user, user, user)?;
    // The change of ids has undone it, if it was set before.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// Whether its interface is there, with an address and a default route: the fabric moves it in from outside.
pub(crate) fn has_network() -> bool {
    let Ok(socket) = std::net::UdpSocket::bind("0.0.0.0:0") else {
        return false;
    };
    // Nothing is sent: the kernel looks for a route and a source.
    socket.connect("192.0.2.1:9").is_ok()
        && socket
            .local_addr()
            .is_ok_and(|it| !it.ip().is_unspecified() && !it.ip().is_loopback())
}

/// Whether an instance is confined by a user namespace.
pub(crate) fn is(kind: InstanceKind) -> bool {
    kind == InstanceKind::Node
}
