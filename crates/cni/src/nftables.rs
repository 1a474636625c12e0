//! As much of nf_tables' netlink protocol as a table of destination NAT needs. Numbers are from
//! `linux/netfilter/nf_tables.h`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const ERROR: u16 = 2;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;

const IPV4: u8 = 2;
const DESTINATION_NAT: i32 = -100;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

/// A chain of type `nat` at a hook.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// `NF_INET_...`.
    pub(crate) hook: u32,
    pub(crate) rules: Vec<Rule>,
}

/// Packets that match go to another address and port.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) matches: Vec<Match>,
    pub(crate) to: (Ipv4Addr, u16),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Match {
    /// Not from 127.0.0.0/8.
    NotFromLoopback,
    /// To an address of the node.
    LocalDestination,
    /// To this address.
    Destination(Ipv4Addr),
    /// To this port of a protocol.
    Port(u8, u16),
}

/// Makes the table of this name have these chains and nothing else, at once or not at all. Without chains there is no
/// table.
pub(crate) fn replace_table(name: &str, chains: &[Chain]) -> io::Result<()> {
    let mut batch = Batch::default();
    // Removing fails for what is not there, making does not fail for what is.
    batch.add(NEW_TABLE, CREATE, |it| it.text(1, name));
    batch.add(DELETE_TABLE, 0, |it| it.text(1, name));
    if !chains.is_empty() {
        batch.add(NEW_TABLE, CREATE, |it| it.text(1, name));
    }
    for chain in chains {
        batch.add(NEW_CHAIN, CREATE, |it| {
            it.text(1, name);
            it.text(3, chain.name);
            it.nest(4, |hook| {
                hook.be32(1, chain.hook);
                hook.be32(2, DESTINATION_NAT as u32);
            });
            it.text(7, "nat");
        });
        for rule in &chain.rules {
            batch.add(NEW_RULE, CREATE | APPEND, |it| {
                it.text(1, name);
                it.text(2, chain.name);
                it.nest(4, |list| put_rule(list, rule));
            });
        }
    }
    batch.send()
}

fn put_rule(list: &mut Bytes, rule: &Rule) {
    for it in &rule.matches {
        match it {
            Match::NotFromLoopback => {
                payload(list, NETWORK, 12, 1);
                compare(list, NOT_EQUAL, &[127]);
            }
            Match::LocalDestination => {
                expression(list, "fib", |fib| {
                    fib.be32(1, REGISTER_1);
                    fib.be32(2, 3); // The address's type,
                    fib.be32(3, 2); // of the destination.
                });
                compare(list, EQUAL, &LOCAL.to_ne_bytes());
            }
            Match::Destination(address) => {
                payload(list, NETWORK, 16, 4);
                compare(list, EQUAL, &address.octets());
            }
            Match::Port(protocol, port) => {
                expression(list, "meta", |meta| {
                    meta.be32(1, REGISTER_1);
                    meta.be32(2, 16); // The transport protocol.
                });
                compare(list, EQUAL, &[*protocol]);
                payload(list, TRANSPORT, 2, 2);
                compare(list, EQUAL, &port.to_be_bytes());
            }
        }
    }
    let (address, port) = rule.to;
    immediate(list, REGISTER_1, &address.octets());
    immediate(list, REGISTER_2, &port.to_be_bytes());
    expression(list, "nat", |nat| {
        nat.be32(1, 1); // Of the destination.
        nat.be32(2, u32::from(IPV4));
        nat.be32(3, REGISTER_1);
        nat.be32(5, REGISTER_2);
    });
}

fn expression(list: &mut Bytes, name: &str, fill: impl FnOnce(&mut Bytes)) {
    list.nest(1, |element| {
        element.text(1, name);
        element.nest(2, fill);
    });
}

fn payload(list: &mut Bytes, base: u32, offset: u32, length: u32) {
    expression(list, "payload", |payload| {
        payload.be32(1, REGISTER_1);
        payload.be32(2, base);
        payload.be32(3, offset);
        payload.be32(4, length);
    });
}

fn compare(list: &mut Bytes, how: u32, value: &[u8]) {
    expression(list, "cmp", |compare| {
        compare.be32(1, REGISTER_1);
        compare.be32(2, how);
        compare.nest(3, |data| data.attribute(1, value));
    });
}

fn immediate(list: &mut Bytes, register: u32, value: &[u8]) {
    expression(list, "immediate", |immediate| {
        immediate.be32(1, register);
        immediate.nest(2, |data| data.attribute(1, value));
    });
}

/// Attributes under construction.
#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn attribute(&mut self, kind: u16, data: &[u8]) {
        let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), &[0]].concat());
    }

    fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.attribute(kind | NESTED, &inner.0);
    }
}

/// Messages that take effect together.
#[derive(Debug, Default)]
struct Batch {
    messages: Vec<(u16, u16, Bytes)>,
}

impl Batch {
    fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Bytes)) {
        let mut attributes = Bytes::default();
        fill(&mut attributes);
        self.messages.push((kind, flags, attributes));
    }

    fn send(self) -> io::Result<()> {
        let mut bytes = Vec::new();
        // What follows the header of a batch names nf_tables.
        put_message(&mut bytes, BATCH_BEGIN, 0, [0, 0, 0, 10], &[]);
        let last = self.messages.len().saturating_sub(1);
        for (index, (kind, flags, attributes)) in self.messages.iter().enumerate() {
            let acknowledge = if index == last { ACKNOWLEDGE } else { 0 };
            put_message(
                &mut bytes,
                *kind,
                flags | acknowledge,
                [IPV4, 0, 0, 0],
                &attributes.0,
            );
        }
        put_message(&mut bytes, BATCH_END, 0, [0, 0, 0, 10], &[]);
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        outcome(&socket)
    }
}

fn put_message(bytes: &mut Vec<u8>, kind: u16, flags: u16, family: [u8; 4], attributes: &[u8]) {
    let length = u32::try_from(HEADER + family.len() + attributes.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&family);
    bytes.extend_from_slice(attributes);
}

/// The kernel works inside `send`, so that every answer is there: errors, of which the first tells most, and one
/// acknowledgement.
fn outcome(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut acknowledged = false;
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => length,
            Err(Errno::EAGAIN) if acknowledged => return Ok(()),
            Err(Errno::EAGAIN) => return Err(io::Error::other("nf_tables did not answer")),
            Err(error) => return Err(error.into()),
        };
        let mut rest = &buffer[..length];
        while let Some(message) = rest.get(..HEADER + 4) {
            let number = |at: usize| {
                let bytes = message.get(at..at + 4).and_then(|it| it.try_into().ok());
                i32::from_ne_bytes(bytes.unwrap_or_default())
            };
            if u16::from_ne_bytes([message[4], message[5]]) == ERROR {
                match number(HEADER) {
                    0 => acknowledged = true,
                    code => return Err(io::Error::from_raw_os_error(-code)),
                }
            }
            let length = usize::try_from(number(0)).unwrap_or(0).max(HEADER);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
