//! Netlink messages and the socket that carries them: one small transport for rtnetlink and nf_tables.
//!
//! The kernel handles a request inside `send`, so everything here is synchronous; callers run on the
//! thread that stands in the wanted namespace when the socket is made.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::NetlinkAddr;
use socket2::{Domain, Protocol, Socket, Type};

const HEADER: usize = 16;
const ALIGN: usize = 4;
const NESTED: u16 = 0x8000;
/// Replies to one receive; dumps come in pieces of at most 32 KiB unless a larger buffer is offered.
const RECEIVE: usize = 256 * 1024;
/// A whole VPC goes into one nf_tables transaction, hence into one send.
const SEND_BUFFER: usize = 64 << 20;

/// Notifications that are looked at one by one; after more than these the place is compared whole anyway.
const MOST_HEARD: usize = 4096;

/// A message under construction: header, family header, attributes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `family_header` is what follows the netlink header, such as `ifinfomsg`.
    pub(crate) fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.extend_from_slice(family_header);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    pub(crate) fn attr(&mut self, kind: u16, data: &[u8]) -> &mut Self {
        let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.pad();
        self
    }

    /// Text with a closing NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// In host order, as rtnetlink wants it.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// In network order, as nf_tables wants it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.attr(kind | NESTED, &[]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Raw bytes inside a nest, such as the peer's `ifinfomsg` of a veth.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Asks for an acknowledgement.
    pub(crate) fn acknowledged(mut self) -> Self {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | libc::NLM_F_ACK as u16;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(ALIGN) {
            self.bytes.push(0);
        }
    }

    fn sealed(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// One received message without its netlink header.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) kind: u16,
    /// The socket that asked for it, or for the change that it tells of; 0: the kernel by itself.
    pub(crate) port: u32,
    pub(crate) payload: Vec<u8>,
}

/// The attributes in `bytes`; stops at the first malformed one.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let data = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or(&[]);
        Some((kind, data))
    })
}

/// The first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, data)| data)
}

/// An attribute's text up to its NUL.
pub(crate) fn text(data: &[u8]) -> String {
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    String::from_utf8_lossy(&data[..end]).into_owned()
}

/// A `u32` in host order.
pub(crate) fn u32_of(data: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(0..4)?.try_into().ok()?))
}

/// A `u32` in network order.
pub(crate) fn be32_of(data: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(0..4)?.try_into().ok()?))
}

/// A netlink socket in the namespace that the calling thread stood in when it was opened.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// The most messages of a dump.
    most: usize,
}

impl Netlink {
    /// `NETLINK_ROUTE`.
    pub(crate) fn route() -> io::Result<Self> {
        let netlink = Self::open(libc::NETLINK_ROUTE)?;
        // Dumps filtered by the kernel: a host may hold a million routes that are not ours.
        let _older_kernels_filter_nothing = netlink.option(libc::NETLINK_GET_STRICT_CHK, 1);
        Ok(netlink)
    }

    /// `NETLINK_NETFILTER`.
    pub(crate) fn netfilter() -> io::Result<Self> {
        let netlink = Self::open(libc::NETLINK_NETFILTER)?;
        if nix::sys::socket::setsockopt(
            &netlink.socket,
            nix::sys::socket::sockopt::SndBufForce,
            &SEND_BUFFER,
        )
        .is_err()
        {
            // Without privilege over the first namespace the kernel caps it at `wmem_max`.
            let _capped = netlink.socket.set_send_buffer_size(SEND_BUFFER);
        }
        Ok(netlink)
    }

    /// A dump of more messages fails. The socket is of no use after that.
    pub(crate) fn with_dumps_of_at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    fn open(protocol: i32) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(protocol)),
        )?;
        let netlink = Self {
            socket,
            sequence: 0,
            buffer: Vec::new(),
            most: usize::MAX,
        };
        let _text_of_errors_is_optional = netlink.option(libc::NETLINK_EXT_ACK, 1);
        Ok(netlink)
    }

    #[expect(
        unsafe_code,
        reason = "no safe wrapper knows the netlink socket options"
    )]
    fn option(&self, name: i32, value: i32) -> io::Result<()> {
        // SAFETY: `value` outlives the call and the length given is its size.
        let outcome = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_NETLINK,
                name,
                (&raw const value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        if outcome == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Sends one request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, message: Message) -> io::Result<()> {
        self.transact(vec![message.acknowledged()])
    }

    /// Sends all messages at once and collects the errors. At least one must ask to be acknowledged.
    pub(crate) fn transact(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in messages {
            self.sequence += 1;
            bytes.extend(message.sealed(self.sequence));
        }
        self.send(&bytes)?;
        self.read_acknowledgements()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes)?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::WriteZero,
                "netlink took part of a batch",
            ))
        }
    }

    /// All answers are queued when `send` returns, so reading stops when none is left.
    fn read_acknowledgements(&mut self) -> io::Result<()> {
        let mut outcome = None;
        loop {
            let length = match self.receive(libc::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            };
            for received in messages(&self.buffer[..length]) {
                if i32::from(received.kind) == libc::NLMSG_ERROR {
                    let result = error_of(&received.payload);
                    // The first error tells most: the later ones are its echoes.
                    if !matches!(outcome, Some(Err(_))) {
                        outcome = Some(result);
                    }
                }
            }
        }
        outcome.unwrap_or_else(|| Err(io::Error::other("netlink did not acknowledge")))
    }

    /// Sends a dump request and returns every message of the answer.
    pub(crate) fn dump(&mut self, message: Message) -> io::Result<Vec<Received>> {
        self.sequence += 1;
        let mut bytes = message.sealed(self.sequence);
        let flags = u16::from_ne_bytes([bytes[6], bytes[7]]) | libc::NLM_F_DUMP as u16;
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.send(&bytes)?;
        let mut all = Vec::new();
        loop {
            let length = self.receive(0)?;
            for received in messages(&self.buffer[..length]) {
                match i32::from(received.kind) {
                    libc::NLMSG_DONE => {
                        return match received.payload.get(0..4).and_then(u32_of) {
                            Some(code) if (code as i32) < 0 => {
                                Err(io::Error::from_raw_os_error(-(code as i32)))
                            }
                            _ => Ok(all),
                        };
                    }
                    libc::NLMSG_ERROR => {
                        error_of(&received.payload)?;
                        return Ok(all);
                    }
                    _ if all.len() == self.most => {
                        let words = format!("there are more than {} objects of a kind", self.most);
                        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, words));
                    }
                    _ => all.push(received),
                }
            }
        }
    }

    /// The number by which the kernel knows this socket, once it has sent something.
    pub(crate) fn port(&self) -> io::Result<u32> {
        let name = nix::sys::socket::getsockname::<NetlinkAddr>(self.socket.as_raw_fd())?;
        Ok(name.pid())
    }

    /// Gives back the memory that the next receive takes again.
    pub(crate) fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    fn receive(&mut self, flags: i32) -> io::Result<usize> {
        self.buffer.resize(RECEIVE, 0);
        let flags = nix::sys::socket::MsgFlags::from_bits_truncate(flags);
        receive(&self.socket, &mut self.buffer, flags)
    }
}

fn receive(
    socket: &Socket,
    buffer: &mut [u8],
    flags: nix::sys::socket::MsgFlags,
) -> io::Result<usize> {
    loop {
        match nix::sys::socket::recv(socket.as_raw_fd(), buffer, flags) {
            Ok(length) => return Ok(length),
            Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Hears what changes in one namespace.
#[derive(Debug)]
pub(crate) struct Notifications {
    socket: Socket,
}

impl Notifications {
    /// Links, IPv4 addresses, routes and rules in the calling thread's namespace.
    pub(crate) fn of_routes() -> io::Result<Self> {
        const GROUPS: [i32; 4] = [1, 5, 7, 8];
        Self::of(libc::NETLINK_ROUTE, &GROUPS)
    }

    /// Tables of nf_tables in the calling thread's namespace.
    pub(crate) fn of_tables() -> io::Result<Self> {
        const GROUP: i32 = 7;
        Self::of(libc::NETLINK_NETFILTER, &[GROUP])
    }

    fn of(protocol: i32, groups: &[i32]) -> io::Result<Self> {
        let netlink = Netlink::open(protocol)?;
        // What the kernel says by itself it does not say to sockets without a number.
        nix::sys::socket::bind(netlink.socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        for group in groups {
            netlink.option(libc::NETLINK_ADD_MEMBERSHIP, *group)?;
        }
        Ok(Self {
            socket: netlink.socket,
        })
    }

    /// What has been heard since, without waiting. `None`: so much that some of it is lost.
    pub(crate) fn take(&self, buffer: &mut [u8]) -> Option<Vec<Received>> {
        let mut all = Vec::new();
        loop {
            match receive(
                &self.socket,
                buffer,
                nix::sys::socket::MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(_) if all.len() > MOST_HEARD => return None,
                Ok(length) => all.extend(messages(&buffer[..length])),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Some(all),
                Err(_) => return None,
            }
        }
    }
}

impl std::os::fd::AsFd for Notifications {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let port = u32::from_ne_bytes(bytes.get(12..16)?.try_into().ok()?);
        let payload = bytes.get(HEADER..length)?.to_vec();
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or(&[]);
        Some(Received {
            kind,
            port,
            payload,
        })
    })
}

/// What an `NLMSG_ERROR` says: the code, and the kernel's own words where it gives some.
fn error_of(payload: &[u8]) -> io::Result<()> {
    let code = payload.get(0..4).and_then(u32_of).unwrap_or(0) as i32;
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(-code);
    match extended_text(payload) {
        Some(words) => Err(io::Error::new(error.kind(), KernelSaid { error, words })),
        None => Err(error),
    }
}

/// An error with the kernel's own words.
#[derive(Debug)]
struct KernelSaid {
    error: io::Error,
    words: String,
}

impl std::fmt::Display for KernelSaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error, self.words)
    }
}

impl std::error::Error for KernelSaid {}

/// The error number behind an error of this module.
pub(crate) fn code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        error
            .get_ref()?
            .downcast_ref::<KernelSaid>()
            .and_then(|said| said.error.raw_os_error())
    })
}

/// The extended acknowledgement's message: it follows the request, which is echoed whole on error.
fn extended_text(payload: &[u8]) -> Option<String> {
    const MESSAGE: u16 = 1;
    let echoed = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?) as usize;
    let rest = payload.get(4 + echoed.next_multiple_of(ALIGN)..)?;
    attribute(rest, MESSAGE).map(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_come_back() {
        let mut message = Message::new(1, 0, &[0; 4]);
        message.text(3, "eth0").nest(18, |m| {
            m.text(1, "veth").u32(2, 7);
        });
        let bytes = message.sealed(9);
        let nest = attribute(&bytes[20..], 18).unwrap();
        assert_eq!(text(attribute(&bytes[20..], 3).unwrap()), "eth0");
        assert_eq!(text(attribute(nest, 1).unwrap()), "veth");
        assert_eq!(u32_of(attribute(nest, 2).unwrap()), Some(7));
    }

    #[test]
    fn torn_attributes_end_the_list() {
        for bytes in [
            &[][..],
            &[1],
            &[200, 0, 1, 0],
            &[3, 0, 1, 0],
            &[0, 0, 0, 0, 9, 9],
        ] {
            assert!(attributes(bytes).count() <= 1, "{bytes:?}");
        }
    }
}
