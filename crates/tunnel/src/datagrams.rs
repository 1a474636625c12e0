//! The underlay socket: many datagrams per system call in both directions.

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

/// The socket's buffers in bytes: the data in flight on a path with a long round trip at several Gbit/s.
const BUFFER: usize = 4 << 20;

/// Configures a bound socket and connects it to one peer.
pub(crate) fn prepare(socket: &UdpSocket, peer: SocketAddr) -> io::Result<()> {
    socket.connect(peer)?;
    socket.set_nonblocking(true)?;
    // With privilege the buffer may exceed the host's limit.
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &BUFFER)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER).is_err() {
        setsockopt(socket, sockopt::SndBuf, &BUFFER)?;
    }
    may_be_fragmented(socket)?;
    Ok(setsockopt(socket, sockopt::UdpGroSegment, &true)?)
}

/// Clears "don't fragment" and ignores ICMP claims of a smaller path MTU, which anyone can forge. So an underlay with
/// too small an MTU makes the tunnel slow, not silent.
#[expect(unsafe_code, reason = "neither nix nor socket2 has IP_MTU_DISCOVER")]
fn may_be_fragmented(socket: &UdpSocket) -> io::Result<()> {
    let never: libc::c_int = libc::IP_PMTUDISC_DONT;
    // SAFETY: the option takes an `int`; the pointer and size are those of a local one that outlives the call.
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

/// Sends a batch and empties it. Datagrams that the network does not accept are lost, like packets.
pub(crate) fn send(socket: &UdpSocket, stop: &EventFd, batch: &mut Batch) {
    for (group, bytes) in batch.groups() {
        if bytes.len() <= group.each {
            send_one(socket, stop, bytes, None);
            continue;
        }
        let each = u16::try_from(group.each).ok();
        // The kernel refuses segmentation when a datagram exceeds the path MTU or a link lacks checksum offload: send
        // the datagrams one by one.
        if each.is_none() || !send_one(socket, stop, bytes, each) {
            for datagram in bytes.chunks(group.each) {
                send_one(socket, stop, datagram, None);
            }
        }
    }
    batch.clear();
}

/// Sends one buffer. Returns false if sending its datagrams separately may help.
fn send_one(socket: &UdpSocket, stop: &EventFd, bytes: &[u8], each: Option<u16>) -> bool {
    let control = each.as_ref().map(ControlMessage::UdpGsoSegments);
    let slices = [IoSlice::new(bytes)];
    // The socket first reports pending ICMP errors of earlier datagrams, one per call.
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
    // The result does not matter: the loop tries again a few times.
    let _ready = poll(&mut both, PollTimeout::from(100_u8));
}

/// Receives datagrams of one length (the last may be shorter) into `buffer`. Returns the number of bytes and the
/// length of each datagram.
///
/// # Errors
/// `WouldBlock` when there is no datagram.
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
