//! What the supervisor and the instance's first process say to one another, by a socket pair.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// A message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// From the first process: everything is prepared; the console's master end comes along.
    Ready,
    /// From the builder of a node's root: this is the first process.
    Begun(i32),
    /// From the first process or the builder: it could not prepare, for this reason.
    Failed(String),
    /// From the supervisor: run.
    Go,
}

const LONGEST: usize = 8 * 1024;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(pub(crate) OwnedFd);

impl Channel {
    /// Both ends, closed on exec.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a message, and an open file with it.
    pub(crate) fn send(&self, message: &Message, file: Option<&OwnedFd>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.truncate(LONGEST);
        let fds: Vec<_> = file.iter().map(|file| file.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            rights,
            flags,
            None,
        )?;
        Ok(())
    }

    /// Waits for a message; `None` when the other end is gone.
    #[expect(unsafe_code, reason = "received descriptors are plain numbers in nix")]
    pub(crate) fn receive(&self) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let mut bytes = vec![0; LONGEST];
        let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let mut file = None;
        for control in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                // SAFETY: the kernel has just made these descriptors for this process, and no other code has their numbers.
                file = fds
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
                    .next();
            }
        }
        let length = received.bytes;
        if length == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(&bytes[..length])?;
        Ok(Some((message, file)))
    }
}
