//! Where the instance's `systemctl` tells process 1 what to do with units: a socket of datagrams, each an order, and each
//! answered with what is known of the unit then. Only root in the instance may send.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory that only root may enter, so that only root can send.
const DIRECTORY: &str = "/run/lath-init";
const SOCKET: &str = "/run/lath-init/units";
/// Links in it say which units are begun at each boot, as systemd has it.
pub(crate) const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
/// No order and no answer is longer.
const LONGEST: usize = 256;
/// How many orders are obeyed before process 1 looks at everything else again.
const AT_ONCE: usize = 16;
/// How long process 1 may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Status,
    Start,
    Stop,
    Restart,
}

const VERBS: [(Verb, &str); 4] = [
    (Verb::Status, "status"),
    (Verb::Start, "start"),
    (Verb::Stop, "stop"),
    (Verb::Restart, "restart"),
];

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) verb: Verb,
    /// The unit's name, without an ending.
    pub(crate) unit: String,
}

/// What a unit is doing, as systemd calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Active,
    Activating,
    Deactivating,
    Inactive,
}

const PHASES: [(Phase, &str); 4] = [
    (Phase::Active, "active"),
    (Phase::Activating, "activating"),
    (Phase::Deactivating, "deactivating"),
    (Phase::Inactive, "inactive"),
];

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        let named = PHASES.iter().find(|(phase, _)| *phase == self);
        named.map_or("", |(_, name)| name)
    }
}

/// What is known of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) phase: Phase,
    pub(crate) process: Option<i32>,
    /// Whether it is begun only when it is enabled or asked for.
    pub(crate) on_demand: bool,
}

/// Process 1's side.
#[derive(Debug)]
pub(crate) struct Door {
    socket: UnixDatagram,
    obeyed: std::cell::Cell<usize>,
}

impl Door {
    /// Opens it. `/run` is empty at each boot.
    pub(super) fn open() -> io::Result<Self> {
        std::fs::DirBuilder::new().mode(0o700).create(DIRECTORY)?;
        let socket = UnixDatagram::bind(SOCKET)?;
        std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        let obeyed = std::cell::Cell::new(0);
        Ok(Self { socket, obeyed })
    }

    /// The next order that has arrived; what is none is dropped.
    pub(super) fn next(&self) -> Option<(Order, SocketAddr)> {
        let mut bytes = [0; LONGEST + 1];
        while self.obeyed.get() < AT_ONCE {
            self.obeyed.set(self.obeyed.get() + 1);
            let Ok((length, from)) = self.socket.recv_from(&mut bytes) else {
                break;
            };
            if let Some(order) = read_order(&bytes[..length]) {
                return Some((order, from));
            }
        }
        self.obeyed.set(0);
        None
    }

    /// An answer that cannot be sent at once is dropped.
    pub(super) fn answer(&self, to: &SocketAddr, known: Option<Known>) {
        let _ = self.socket.send_to_addr(write_known(known).as_bytes(), to);
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends an order to process 1 and gives what it knows of the unit; `None` when there is none of that name.
pub(crate) fn send(verb: Verb, unit: &str) -> io::Result<Option<Known>> {
    // The kernel chooses a name for the answer, which it takes from the one that this is connected to alone.
    let own = SocketAddr::from_abstract_name(format!("lath-systemctl-{}", std::process::id()))?;
    let socket = UnixDatagram::bind_addr(&own)?;
    socket.connect(SOCKET)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = VERBS.iter().find(|(it, _)| *it == verb);
    let name = name.map_or("status", |(_, name)| name);
    socket.send(format!("{name} {unit}").as_bytes())?;
    let mut bytes = [0; LONGEST];
    let length = socket.recv(&mut bytes)?;
    read_known(&bytes[..length])
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "process 1 answers nonsense"))
}

/// Where a unit's link is when it is enabled.
pub(crate) fn link(unit: &str) -> PathBuf {
    Path::new(WANTS).join(format!("{unit}.service"))
}

/// Whether a unit on demand is begun at each boot.
pub(crate) fn is_enabled(unit: &str) -> bool {
    link(unit).symlink_metadata().is_ok()
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(plain)
}

pub(crate) fn read_order(bytes: &[u8]) -> Option<Order> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (verb, unit) = text.split_once(' ')?;
    let (verb, _) = VERBS.iter().find(|(_, name)| *name == verb)?;
    is_name(unit).then(|| Order {
        verb: *verb,
        unit: unit.to_owned(),
    })
}

fn write_known(known: Option<Known>) -> String {
    let Some(known) = known else {
        return "unknown".to_owned();
    };
    let process = known.process.unwrap_or_default();
    let kind = if known.on_demand { "demand" } else { "always" };
    format!("{} {process} {kind}", known.phase.name())
}

fn read_known(bytes: &[u8]) -> Option<Option<Known>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text == "unknown" {
        return Some(None);
    }
    let mut words = text.split(' ');
    let phase = words.next()?;
    let (phase, _) = PHASES.iter().find(|(_, name)| *name == phase)?;
    let process = words.next()?.parse().ok()?;
    let on_demand = words.next()? == "demand";
    Some(Some(Known {
        phase: *phase,
        process: (process > 0).then_some(process),
        on_demand,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_nonsense_is_none() {
        for (text, want) in [
            ("status kubelet", Some((Verb::Status, "kubelet"))),
            ("restart a-b_1", Some((Verb::Restart, "a-b_1"))),
            ("reboot kubelet", None),
            ("start", None),
            ("start ", None),
            ("start ../x", None),
            ("start a b", None),
            ("", None),
        ] {
            let want = want.map(|(verb, unit): (Verb, &str)| Order {
                verb,
                unit: unit.to_owned(),
            });
            assert_eq!(read_order(text.as_bytes()), want, "{text}");
        }
        assert_eq!(read_order(b"start \xff"), None);
    }

    #[test]
    fn what_is_known_is_read_as_it_was_written() {
        for (phase, _) in PHASES {
            for process in [None, Some(7)] {
                let known = Some(Known {
                    phase,
                    process,
                    on_demand: process.is_none(),
                });
                assert_eq!(read_known(write_known(known).as_bytes()), Some(known));
            }
        }
        assert_eq!(read_known(write_known(None).as_bytes()), Some(None));
        assert_eq!(read_known(b"active x always"), None);
    }
}
