//! The underlay's socket: many datagrams per system call in both directions.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg, setsockopt, sockopt,
};

use crate::batch::Batch;

/// What a long round trip at some gigabits per second keeps in flight.
const BUFFER: usize = 4 << 20;

/// Makes a bound socket ready for one peer.
pub(crate) fn prepare(socket: &UdpSocket, peer: SocketAddr) -> io::Result<()> {
    socket.connect(peer)?;
    socket.set_nonblocking(true)?;
    // Beyond the host's limit with privilege, up to it without.
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &BUFFER)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER).is_err() {
        setsockopt(socket, sockopt::SndBuf, &BUFFER)?;
    }
    may_be_fragmented(socket)?;
    Ok(setsockopt(socket, sockopt::UdpGroSegment, &true)?)
}

/// An underlay with a smaller MTU than it should have makes the tunnel slow, not silent: datagrams leave
/// without "don't fragment", and a claim of a smaller path (which anybody can send) is not believed.
#[expect(unsafe_code, reason = "neither nix nor socket2 has IP_MTU_DISCOVER")]
fn may_be_fragmented(socket: &UdpSocket) -> io::Result<()> {
    let never: libc::c_int = libc::IP_PMTUDISC_DONT;
    // SAFETY: the option takes an `int`, whose address and size these are; it lives through the call.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            std::ptr::from_ref(&never).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Ok(Errno::result(answer).map(drop)?)
}

/// Sends all of a batch and empties it. What the network does not take is lost, as packets are.
pub(crate) fn send(socket: &UdpSocket, stop: &EventFd, batch: &mut Batch) {
    for (group, bytes) in batch.groups() {
        if bytes.len() <= group.each {
            send_one(socket, stop, bytes, None);
            continue;
        }
        let each = u16::try_from(group.each).ok();
        // Refused where a datagram exceeds the path's MTU, or a link cannot do checksums.
        if each.is_none() || !send_one(socket, stop, bytes, each) {
            for datagram in bytes.chunks(group.each) {
                send_one(socket, stop, datagram, None);
            }
        }
    }
    batch.clear();
}

/// Whether it was taken, or lost for a reason that cutting does not cure.
fn send_one(socket: &UdpSocket, stop: &EventFd, bytes: &[u8], each: Option<u16>) -> bool {
    let control = each.as_ref().map(ControlMessage::UdpGsoSegments);
    let slices = [IoSlice::new(bytes)];
    // Errors of earlier datagrams (ICMP) are told once each, instead of sending.
    for _ in 0..4 {
        let sent = sendmsg::<()>(
            socket.as_raw_fd(),
            &slices,
            control.as_slice(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match sent {
            Ok(_) => return true,
            Err(Errno::EAGAIN) => wait_until_writable(socket, stop),
            Err(Errno::EINVAL | Errno::EMSGSIZE | Errno::EIO) => return false,
            Err(_) => {}
        }
    }
    true
}

fn wait_until_writable(socket: &UdpSocket, stop: &EventFd) {
    let mut both = [
        PollFd::new(socket.as_fd(), PollFlags::POLLOUT),
        PollFd::new(stop.as_fd(), PollFlags::POLLIN),
    ];
    // Whatever it says, the caller tries again and gives up after a few times.
    let _ready = poll(&mut both, PollTimeout::from(100_u8));
}

/// Receives datagrams of one length (the last may be shorter) into `buffer`: how many bytes, and the
/// length of each.
///
/// # Errors
/// `WouldBlock` when there is none.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    control: &mut [u8],
) -> io::Result<(usize, usize)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut slices,
        Some(control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let each = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::UdpGroSegments(each) => usize::try_from(each).ok(),
        _ => None,
    });
    Ok((message.bytes, each.unwrap_or(message.bytes).max(1)))
}
