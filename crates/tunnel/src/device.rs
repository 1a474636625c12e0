//! TUN devices inside network namespaces.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};

use crate::vnet;

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;

const OFFLOAD_CHECKSUM: libc::c_ulong = 0x01;
const OFFLOAD_TCP: libc::c_ulong = 0x02 | 0x04;
/// Available since Linux 6.2.
const OFFLOAD_UDP: libc::c_ulong = 0x20 | 0x40;

/// `struct ifreq`: a name and 24 bytes that depend on the request.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Request([u8; 40]);

impl Request {
    fn new(name: &str) -> io::Result<Self> {
        let mut bytes = [0; 40];
        // The kernel accepts 15 bytes and a NUL.
        match bytes.get_mut(..name.len()) {
            Some(room) if (1..16).contains(&name.len()) => room.copy_from_slice(name.as_bytes()),
            _ => {
                return Err(io::Error::other(format!(
                    "{name:?} is not a valid link name"
                )));
            }
        }
        Ok(Self(bytes))
    }

    fn with(mut self, value: &[u8]) -> Self {
        self.0[16..16 + value.len()].copy_from_slice(value);
        self
    }

    /// A `sockaddr_in`.
    fn with_address(self, address: Ipv4Addr) -> Self {
        let mut socket_address = [0; 16];
        socket_address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        socket_address[4..8].copy_from_slice(&address.octets());
        self.with(&socket_address)
    }
}

#[expect(unsafe_code, reason = "no safe wrapper configures TUN devices")]
fn ask(fd: BorrowedFd<'_>, what: libc::c_ulong, request: &mut Request) -> io::Result<()> {
    // SAFETY: each request code in this file that takes a pointer reads or writes an `ifreq` or an `int`, at most the
    // 40 bytes of `request`, which outlives the call.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), what as _, request.0.as_mut_ptr()) };
    Errno::result(answer).map(drop).map_err(Into::into)
}

#[expect(unsafe_code, reason = "no safe wrapper configures TUN devices")]
fn ioctl_number(fd: BorrowedFd<'_>, what: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: `TUNSETPERSIST` and `TUNSETOFFLOAD` take plain numbers, not pointers.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), what as _, value) };
    Errno::result(answer).map(drop).map_err(Into::into)
}

/// Runs `work` in the namespace on a new thread. A runtime's thread would stay in the namespace.
///
/// # Errors
/// When the namespace cannot be entered, or the error of `work`.
pub fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("lath-netns".into())
            .spawn_scoped(scope, || {
                setns(netns, CloneFlags::CLONE_NEWNET)?;
                work()
            })?;
        let panicked = |_| Err(io::Error::other("the namespace thread panicked"));
        thread.join().unwrap_or_else(panicked)
    })
}

/// The desired properties of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) name: &'a str,
    pub(crate) mtu: u16,
    /// The device's address, and the peer's address, which is routed to the device.
    pub(crate) addresses: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// Makes the device, or attaches to the one that a killed predecessor left, and brings it up. Reads and writes do not
/// block.
///
/// # Errors
/// `ResourceBusy` while another process is attached.
pub(crate) fn open(netns: BorrowedFd<'_>, shape: Shape<'_>) -> io::Result<OwnedFd> {
    inside(netns, || {
        let device = attach(shape.name)?;
        ioctl_number(device.as_fd(), TUNSETPERSIST, 1)?;
        set_offloads(device.as_fd())?;
        quieten(shape.name);
        configure(shape)?;
        Ok(device)
    })
}

fn attach(name: &str) -> io::Result<OwnedFd> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as u16;
    let mut request = Request::new(name)?.with(&flags.to_ne_bytes());
    ask(device.as_fd(), TUNSETIFF, &mut request)?;
    let size = libc::c_int::try_from(vnet::LENGTH).unwrap_or_default();
    let mut number = Request([0; 40]);
    number.0[..4].copy_from_slice(&size.to_ne_bytes());
    ask(device.as_fd(), TUNSETVNETHDRSZ, &mut number)?;
    socket2::SockRef::from(&device).set_nonblocking(true)?;
    Ok(device.into())
}

/// Enables the offloads that this kernel supports.
fn set_offloads(device: BorrowedFd<'_>) -> io::Result<()> {
    let most = OFFLOAD_CHECKSUM | OFFLOAD_TCP | OFFLOAD_UDP;
    ioctl_number(device, TUNSETOFFLOAD, most)
        .or_else(|_| ioctl_number(device, TUNSETOFFLOAD, OFFLOAD_CHECKSUM | OFFLOAD_TCP))
}

/// Disables IPv6 autoconfiguration, so that the kernel itself sends nothing through the tunnel.
fn quieten(name: &str) {
    for (setting, value) in [("addr_gen_mode", "1"), ("accept_ra", "0")] {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{setting}");
        // A kernel without IPv6 does not have this file.
        drop(std::fs::write(path, value));
    }
}

fn configure(shape: Shape<'_>) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let request = Request::new(shape.name)?;
    let mtu = libc::c_int::from(shape.mtu).to_ne_bytes();
    ask(socket.as_fd(), libc::SIOCSIFMTU, &mut request.with(&mtu))?;
    if let Some((own, other)) = shape.addresses {
        // Packets from a device with addresses must come from its peer.
        let strict = format!("/proc/sys/net/ipv4/conf/{}/rp_filter", shape.name);
        std::fs::write(strict, "1")?;
        ask(
            socket.as_fd(),
            libc::SIOCSIFADDR,
            &mut request.with_address(own),
        )?;
        ask(
            socket.as_fd(),
            libc::SIOCSIFDSTADDR,
            &mut request.with_address(other),
        )?;
    }
    let mut flags = request;
    ask(socket.as_fd(), libc::SIOCGIFFLAGS, &mut flags)?;
    let now = i16::from_ne_bytes([flags.0[16], flags.0[17]]);
    let up = (now | libc::IFF_UP as i16).to_ne_bytes();
    ask(socket.as_fd(), libc::SIOCSIFFLAGS, &mut request.with(&up))
}

/// Makes a device disappear with its last descriptor.
pub(crate) fn forget(device: BorrowedFd<'_>) -> io::Result<()> {
    ioctl_number(device, TUNSETPERSIST, 0)
}

/// Removes a TUN device. A missing device is no error.
///
/// # Errors
/// `ResourceBusy` while another process is attached; otherwise the kernel's error, for example when the link is not a
/// TUN device.
pub fn remove_device(netns: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    inside(netns, || {
        if !names()?.iter().any(|there| there == name) {
            return Ok(());
        }
        forget(attach(name)?.as_fd())
    })
}

/// The links of a namespace.
///
/// # Errors
/// When the namespace cannot be entered or `/proc` is not mounted.
pub fn device_names(netns: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    inside(netns, names)
}

fn names() -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = text.lines().filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}
