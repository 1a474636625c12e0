//! Running as an ordinary user: a user namespace in which the process has all capabilities over the
//! network and mount namespaces that it makes, and none over the host's.

use std::fs;
use std::io;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::plan::Link;
use crate::rtnetlink;

/// What the process has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// It was root, and nothing was done.
    Root,
    /// It is root in a user namespace of its own.
    Rootless,
}

/// The step that the kernel refused, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// The process has threads already.
    #[error("a user namespace can be entered only before the first thread is started")]
    Threads(#[source] io::Error),
    /// `unshare(2)` refused.
    #[error(
        "the kernel refuses user namespaces; allow them (`sysctl -w user.max_user_namespaces=15000`, and \
         on Debian `sysctl -w kernel.unprivileged_userns_clone=1`), in a container lift its seccomp \
         profile (`--security-opt seccomp=unconfined`), or run as root"
    )]
    Unshare(#[source] io::Error),
    /// A file of `/proc/self` could not be written.
    #[error("{file} cannot be written; {}", APPARMOR)]
    Map {
        /// `setgroups`, `uid_map` or `gid_map`.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The new mount namespace could not be detached from the host's.
    #[error("mounts cannot be made private; {}", APPARMOR)]
    Mounts(#[source] io::Error),
    /// A network namespace could not be made or used.
    #[error(
        "a network namespace cannot be made in the user namespace; {}",
        APPARMOR
    )]
    Network(#[source] io::Error),
}

/// Ubuntu 24.04 lets `unshare` succeed and denies what follows.
const APPARMOR: &str = "where AppArmor restricts user namespaces, install /etc/apparmor.d/lath with \
    `abi <abi/4.0>,` `profile lath /path/to/lath flags=(unconfined) { userns, }` and reload it with \
    `apparmor_parser -r /etc/apparmor.d/lath`";

/// Makes an ordinary user's process root in a user namespace of its own; does nothing for root. Must be
/// the first act of `main`: the kernel refuses it to a process with threads. Host sockets stay what they
/// were, since the process does not leave the host's network namespace.
///
/// # Errors
/// The step that failed, with what to change. The process is then in no useful state but to say so.
pub fn enter_user_namespace() -> Result<Privilege, UserNamespaceError> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        return Ok(Privilege::Root);
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|e| match e {
        nix::Error::EINVAL => UserNamespaceError::Threads(e.into()),
        _ => UserNamespaceError::Unshare(e.into()),
    })?;
    write_map("setgroups", "deny")?;
    write_map("uid_map", &format!("0 {user} 1"))?;
    write_map("gid_map", &format!("0 {group} 1"))?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .map_err(|e| UserNamespaceError::Mounts(e.into()))?;
    try_network().map_err(UserNamespaceError::Network)?;
    Ok(Privilege::Rootless)
}

fn write_map(file: &'static str, text: &str) -> Result<(), UserNamespaceError> {
    fs::write(format!("/proc/self/{file}"), text)
        .map_err(|source| UserNamespaceError::Map { file, source })
}

/// The whole chain, since any link of it may be denied: a namespace, a netlink socket in it, `lo` up.
pub(crate) fn try_network() -> io::Result<()> {
    Netns::new()?.run(|| {
        let mut netlink = Netlink::route()?;
        let wanted = Link {
            kind: crate::plan::LinkKind::Loopback,
            mac: None,
            mtu: None,
            alias: None,
            up: true,
        };
        rtnetlink::set_link(&mut netlink, 1, &wanted)
    })
}
