//! Reading a question without making anything of it that is not needed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use lath_zones::{Kind, Name};

/// The longest name (RFC 1035).
const MAX_NAME: usize = 255;

/// How many records may follow the question (an OPT, a TSIG, and room).
const MAX_RECORDS: u16 = 4;

/// EDNS Client Subnet (RFC 7871).
const CLIENT_SUBNET: u16 = 8;

/// The codes of answers (RFC 1035, RFC 6891).
pub(crate) mod code {
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const SERVFAIL: u16 = 2;
    pub(crate) const NXDOMAIN: u16 = 3;
    pub(crate) const NOTIMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    pub(crate) const BADVERS: u16 = 16;
}

/// A question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) class: u16,
    /// Where the question ends in the message.
    pub(crate) end: usize,
    pub(crate) edns: Option<Edns>,
}

/// What the client says in its OPT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    /// The prefix of the client behind the resolver.
    pub(crate) subnet: Option<IpNet>,
}

/// Reads a message that has a header.
///
/// # Errors
/// The code to refuse it with.
pub(crate) fn read(bytes: &[u8]) -> Result<Asked, u16> {
    let count = |at| word(bytes, at).unwrap_or(u16::MAX);
    let [1, 0, authorities, additionals] = [4, 6, 8, 10].map(count) else {
        return Err(code::FORMERR);
    };
    if authorities > 1 || additionals > MAX_RECORDS {
        return Err(code::FORMERR);
    }
    let (name, at) = question_name(bytes).ok_or(code::FORMERR)?;
    let kind = word(bytes, at).ok_or(code::FORMERR)?;
    let class = word(bytes, at + 2).ok_or(code::FORMERR)?;
    let mut asked = Asked {
        name,
        kind: Kind(kind),
        class,
        end: at + 4,
        edns: None,
    };
    let mut at = asked.end;
    for _ in 0..authorities {
        at = record(bytes, at, &mut asked)?;
    }
    // RFC 6891, 6.1.1: an OPT is an additional record.
    if asked.edns.is_some() {
        return Err(code::FORMERR);
    }
    for _ in 0..additionals {
        at = record(bytes, at, &mut asked)?;
    }
    Ok(asked)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

/// The name of the question, which has nothing to point back at, and where it ends.
fn question_name(bytes: &[u8]) -> Option<(Name, usize)> {
    let mut at = 12;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => break,
            length @ 1..=63 => at += length + 1,
            _ => return None,
        }
        if at - 12 >= MAX_NAME {
            return None;
        }
    }
    let name = Name::from_wire(bytes.get(12..=at)?)?;
    Some((name, at + 1))
}

/// Where any name ends.
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    let begin = at;
    while at - begin < MAX_NAME {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length @ 1..=63 => at += usize::from(length) + 1,
            _ => return None,
        }
    }
    None
}

/// Passes over a record, and takes in an OPT.
fn record(bytes: &[u8], begin: usize, asked: &mut Asked) -> Result<usize, u16> {
    let wrong = code::FORMERR;
    let at = after_name(bytes, begin).ok_or(wrong)?;
    let field = |offset| word(bytes, at + offset).ok_or(wrong);
    let length = usize::from(field(8)?);
    let data = bytes.get(at + 10..at + 10 + length).ok_or(wrong)?;
    if field(0)? == 41 {
        if asked.edns.is_some() || at != begin + 1 {
            return Err(wrong); // only one, and of the root (RFC 6891, 6.1.1)
        }
        let version = (field(4)? & 0xff) as u8;
        asked.edns = Some(Edns {
            size: field(2)?,
            version,
            dnssec_ok: field(6)? & 0x8000 != 0,
            // Another version's options are not ours to judge.
            subnet: if version == 0 { subnet(data)? } else { None },
        });
    }
    Ok(at + 10 + length)
}

fn subnet(mut options: &[u8]) -> Result<Option<IpNet>, u16> {
    let mut found = None;
    while !options.is_empty() {
        let option = word(options, 0).ok_or(code::FORMERR)?;
        let length = usize::from(word(options, 2).ok_or(code::FORMERR)?);
        let data = options.get(4..4 + length).ok_or(code::FORMERR)?;
        if option == CLIENT_SUBNET && found.is_none() {
            found = Some(prefix(data).ok_or(code::FORMERR)?);
        }
        options = options.get(4 + length..).unwrap_or(&[]);
    }
    Ok(found)
}

/// RFC 7871, 6: family, source and scope lengths, and no more octets than the prefix needs.
fn prefix(data: &[u8]) -> Option<IpNet> {
    let [_, family, length, 0, octets @ ..] = data else {
        return None;
    };
    if data[0] != 0 || octets.len() != usize::from(*length).div_ceil(8) {
        return None;
    }
    let address: IpAddr = match family {
        1 => Ipv4Addr::from(padded::<4>(octets)?).into(),
        2 => Ipv6Addr::from(padded::<16>(octets)?).into(),
        _ => return None,
    };
    let net = IpNet::new(address, *length).ok()?;
    (net.network() == address).then_some(net)
}

fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut whole = [0; N];
    whole.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(whole)
}
