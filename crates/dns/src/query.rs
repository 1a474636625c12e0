//! From bytes to a question, or to a refusal. Everything that a stranger sends is bounded here.

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use crate::authority::question;

/// The longest query that is read: far more than any question and its options need.
pub(crate) const MAX_QUERY: usize = 4096;

/// How many records may follow the question (an OPT, a TSIG, and room).
const MAX_RECORDS: u16 = 4;

/// The size that every client can take by UDP (RFC 1035, 4.2.1).
const PLAIN_UDP: u16 = 512;

/// The largest answer given and taken by UDP, whatever the other side offers: it fits in the smallest MTU
/// of IPv6 with room for tunnels, so that no fragment of it can be lost or forged (RFC 9715).
pub(crate) const LARGEST_UDP: u16 = 1232;

/// A question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The client's number for it.
    pub id: u16,
    /// The name asked for, in the case that the client wrote.
    pub name: Name,
    /// The record type.
    pub kind: RecordType,
    /// The class: `IN`, practically always.
    pub class: DNSClass,
    /// RD: to be copied into the answer.
    pub recursion_desired: bool,
    /// CD: to be passed on.
    pub checking_disabled: bool,
    /// AD: the client understands the flag.
    pub authentic_data: bool,
    /// What the client says by EDNS (RFC 6891); `None` when it speaks plain DNS.
    pub extension: Option<Extension>,
}

/// What a client says of itself in an OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// The largest answer that it takes by UDP, between 512 and 1232 bytes.
    pub udp_size: u16,
    /// DO: it wants DNSSEC records.
    pub dnssec_ok: bool,
}

impl Query {
    /// The largest answer by UDP.
    pub fn udp_limit(&self) -> usize {
        self.extension
            .map_or(PLAIN_UDP, |edns| edns.udp_size)
            .into()
    }
}

/// Bytes that hold no question which can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Not even an answer is due: too short, or itself an answer (answering those makes loops).
    #[error("not a query")]
    Ignore,
    /// To be refused with this code.
    #[error("refused with {code}")]
    Refuse {
        /// The client's number for it.
        id: u16,
        /// What it wanted to be done.
        opcode: OpCode,
        /// RD, to be copied.
        recursion_desired: bool,
        /// `FORMERR`, `NOTIMP` or `BADVERS`.
        code: ResponseCode,
    },
}

/// Reads a query.
///
/// # Errors
/// [`Undecodable`] says what to do with bytes that are none.
pub fn decode_query(bytes: &[u8]) -> Result<Query, Undecodable> {
    let header = Header::read(bytes).ok_or(Undecodable::Ignore)?;
    if header.is_response() {
        return Err(Undecodable::Ignore);
    }
    if header.opcode() != OpCode::Query {
        return Err(header.refuse(ResponseCode::NotImp));
    }
    if bytes.len() > MAX_QUERY || !header.is_modest() {
        return Err(header.refuse(ResponseCode::FormErr));
    }
    // Records behind the question are looked at first: options that are none are no matter for the log.
    question::read(bytes).map_err(|_| header.refuse(ResponseCode::FormErr))?;
    let message = Message::from_vec(bytes).map_err(|_| header.refuse(ResponseCode::FormErr))?;
    let [question] = &message.queries[..] else {
        return Err(header.refuse(ResponseCode::FormErr));
    };
    let extension = match &message.edns {
        // RFC 6891, 6.1.3: a higher version is answered with BADVERS and our own version.
        Some(edns) if edns.version() > 0 => return Err(header.refuse(ResponseCode::BADVERS)),
        Some(edns) => Some(Extension {
            udp_size: edns.max_payload().clamp(PLAIN_UDP, LARGEST_UDP),
            dnssec_ok: edns.flags().dnssec_ok,
        }),
        None => None,
    };
    Ok(Query {
        id: header.id,
        name: question.name().clone(),
        kind: question.query_type(),
        class: question.query_class(),
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        authentic_data: message.metadata.authentic_data,
        extension,
    })
}

/// The twelve bytes that every message begins with (RFC 1035, 4.1.1).
struct Header {
    id: u16,
    flags: u16,
    /// Questions, answers, authorities, additionals.
    counts: [u16; 4],
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.first_chunk::<12>()?.as_chunks::<2>();
        let word = |place: usize| u16::from_be_bytes(words[place]);
        Some(Self {
            id: word(0),
            flags: word(1),
            counts: [word(2), word(3), word(4), word(5)],
        })
    }

    fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    fn opcode(&self) -> OpCode {
        OpCode::from_u8((self.flags >> 11) as u8 & 0xf)
    }

    /// One question and few records: no resolver in use asks otherwise.
    fn is_modest(&self) -> bool {
        let [questions, answers, authorities, additionals] = self.counts;
        questions == 1 && answers == 0 && authorities <= 1 && additionals <= MAX_RECORDS
    }

    fn refuse(&self, code: ResponseCode) -> Undecodable {
        Undecodable::Refuse {
            id: self.id,
            opcode: self.opcode(),
            recursion_desired: self.flags & 0x0100 != 0,
            code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `web.example. A IN`, id 7, RD.
    const PLAIN: &[u8] = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
        \x03web\x07example\x00\x00\x01\x00\x01";

    fn with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = PLAIN.to_vec();
        change(&mut bytes);
        bytes
    }

    /// With an OPT record of this size and these version and flag bytes.
    fn with_opt(size: u16, version: u8, flags: u8) -> Vec<u8> {
        with(|bytes| {
            bytes[11] = 1;
            bytes.extend([0, 0, 41]);
            bytes.extend(size.to_be_bytes());
            bytes.extend([0, version, flags, 0, 0, 0]);
        })
    }

    #[test]
    fn questions_are_read() {
        for (name, bytes, limit, dnssec_ok) in [
            ("plain", PLAIN.to_vec(), 512, None),
            ("edns", with_opt(1232, 0, 0), 1232, Some(false)),
            ("edns, tiny", with_opt(0, 0, 0), 512, Some(false)),
            ("edns, huge", with_opt(65535, 0, 0x80), 1232, Some(true)),
            ("edns, larger", with_opt(4096, 0, 0), 1232, Some(false)),
        ] {
            let query = decode_query(&bytes).unwrap();
            assert_eq!(query.name.to_ascii(), "web.example.", "{name}");
            assert_eq!((query.id, query.kind), (7, RecordType::A), "{name}");
            assert!(query.recursion_desired, "{name}");
            assert_eq!(query.udp_limit(), limit, "{name}");
            let found = query.extension.map(|edns| edns.dnssec_ok);
            assert_eq!(found, dnssec_ok, "{name}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused_or_ignored() {
        let (formerr, notimp) = (ResponseCode::FormErr, ResponseCode::NotImp);
        for (name, bytes, want) in [
            ("empty", vec![], None),
            ("eleven bytes", PLAIN[..11].to_vec(), None),
            ("an answer", with(|b| b[2] |= 0x80), None),
            ("header only", PLAIN[..12].to_vec(), Some(formerr)),
            ("cut in the name", PLAIN[..17].to_vec(), Some(formerr)),
            (
                "cut in the class",
                PLAIN[..PLAIN.len() - 1].to_vec(),
                Some(formerr),
            ),
            ("no question", with(|b| b[5] = 0), Some(formerr)),
            ("two questions", with(|b| b[5] = 2), Some(formerr)),
            ("an answer inside", with(|b| b[7] = 1), Some(formerr)),
            ("many records", with(|b| b[10] = 0xff), Some(formerr)),
            (
                "a name that points at itself",
                with(|b| b[12..14].copy_from_slice(&[0xc0, 12])),
                Some(formerr),
            ),
            (
                "too long",
                with(|b| b.resize(MAX_QUERY + 1, 0)),
                Some(formerr),
            ),
            ("notify", with(|b| b[2] |= 4 << 3), Some(notimp)),
            ("update", with(|b| b[2] |= 5 << 3), Some(notimp)),
            ("an unknown opcode", with(|b| b[2] |= 15 << 3), Some(notimp)),
            (
                "half an option",
                with(|bytes| {
                    bytes[11] = 1;
                    bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 3, 0, 10, 0]);
                }),
                Some(formerr),
            ),
            (
                "an option longer than its record",
                with(|bytes| {
                    bytes[11] = 1;
                    bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 5, 0, 10, 0, 9, 1]);
                }),
                Some(formerr),
            ),
            (
                "two OPTs",
                {
                    let mut bytes = with_opt(512, 0, 0);
                    bytes[11] = 2;
                    bytes.extend([0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
                    bytes
                },
                Some(formerr),
            ),
            (
                "an OPT among authorities",
                {
                    let mut bytes = with_opt(512, 0, 0);
                    (bytes[9], bytes[11]) = (1, 0);
                    bytes
                },
                Some(formerr),
            ),
            (
                "edns version 1",
                with_opt(512, 1, 0),
                Some(ResponseCode::BADVERS),
            ),
        ] {
            let error = decode_query(&bytes).unwrap_err();
            let found = match error {
                Undecodable::Ignore => None,
                Undecodable::Refuse { code, id, .. } => {
                    assert_eq!(id, 7, "{name}");
                    Some(code)
                }
            };
            assert_eq!(found, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode_query(&bytes);
        }

        #[test]
        fn no_change_to_a_query_brings_it_down(place in 0..PLAIN.len(), byte: u8, cut in 0..PLAIN.len()) {
            let mut bytes = with_opt(1232, 0, 0x80);
            bytes[place] = byte;
            bytes.truncate(bytes.len() - cut);
            let _ = decode_query(&bytes);
        }
    }
}
