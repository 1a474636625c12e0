//! What a client asks for before it speaks TLS: its ClientHello, read without answering it (RFC 8446 section 4.1.2,
//! RFC 6066 section 3).

/// No ClientHello is longer, with the headers of its records: real ones have at most 4 KB.
pub const LONGEST: usize = 16 * 1024;

/// The first byte of a record with a handshake message, which no request of HTTP begins with.
pub(crate) const HANDSHAKE: u8 = 22;

const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// The most bytes that a record in the clear carries.
const LARGEST_RECORD: usize = 1 << 14;
const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS13: [u8; 2] = [3, 4];
/// `TLS_FALLBACK_SCSV` (RFC 7507).
const FALLBACK: [u8; 2] = [0x56, 0];
const HOST_NAME: u8 = 0;
/// The longest name of DNS.
const LONGEST_NAME: usize = 255;

/// A ClientHello, as far as it says where it wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server that it asks for, in lower case.
    pub server_name: Option<String>,
    /// Whether the client says that it tried a newer version first, and offers none of the newest here. As TLS 1.3 is
    /// spoken, somebody between the two broke that attempt off (RFC 7507 section 3).
    pub falls_back: bool,
}

/// What bytes from a client are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// A ClientHello, all of it.
    Whole(ClientHello),
    /// The beginning of one, of which there are at least so many bytes.
    Partial(usize),
    /// Something else, or a ClientHello that is malformed or too long.
    Malformed(Flaw),
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// They are a record of TLS, but not of a handshake.
    OtherRecord,
    /// A record is longer than records may be.
    LongRecord,
    /// They are no ClientHello, or one that is too long.
    Unreadable,
}

impl Greeting {
    /// What these bytes are, which are all that a client sent so far.
    pub fn read(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        let mut message = Vec::new();
        let mut at = 0;
        loop {
            if let Some(flaw) = flaw(&bytes[at..]) {
                return Self::Malformed(flaw);
            }
            let Some([.., high, low]) = bytes[at..].first_chunk::<RECORD_HEADER>() else {
                return partial(bytes, at + RECORD_HEADER);
            };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            at += RECORD_HEADER;
            let fragment = &bytes[at..bytes.len().min(at + length)];
            message.extend_from_slice(fragment);
            match whole(&message) {
                Err(flaw) => return Self::Malformed(flaw),
                Ok(Some(body)) => {
                    return hello(body).map_or(Self::Malformed(Flaw::Unreadable), Self::Whole);
                }
                Ok(None) if fragment.len() < length => return partial(bytes, at + length),
                Ok(None) => at += length,
            }
        }
    }
}

fn partial(came: &[u8], needs: usize) -> Greeting {
    match came.len() < LONGEST {
        true => Greeting::Partial(needs.min(LONGEST)),
        false => Greeting::Malformed(Flaw::Unreadable),
    }
}

/// What is wrong with a record that begins so, as far as its header came.
fn flaw(record: &[u8]) -> Option<Flaw> {
    match *record {
        [HANDSHAKE, 3, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            0 => Some(Flaw::Unreadable),
            1..=LARGEST_RECORD => None,
            _ => Some(Flaw::LongRecord),
        },
        // ChangeCipherSpec, an alert, application data, a heartbeat.
        [20 | 21 | 23 | 24, 3, ..] => Some(Flaw::OtherRecord),
        [] | [20..=24] | [HANDSHAKE, 3, ..] => None,
        _ => Some(Flaw::Unreadable),
    }
}

/// The body of the message, once all of it is there.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, Flaw> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Flaw::Unreadable);
    }
    let Some([_, length @ ..]) = message.first_chunk::<MESSAGE_HEADER>() else {
        return Ok(None);
    };
    let [high, middle, low] = *length;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if length > LONGEST {
        return Err(Flaw::Unreadable);
    }
    Ok(message.get(MESSAGE_HEADER..MESSAGE_HEADER + length))
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn number(&mut self) -> Option<u16> {
        let taken = self.take(2)?;
        Some(u16::from_be_bytes([taken[0], taken[1]]))
    }

    /// As many bytes as the next byte says.
    fn short(&mut self) -> Option<&'a [u8]> {
        let count = self.byte()?;
        self.take(count.into())
    }

    /// As many bytes as the next two bytes say.
    fn long(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(count.into())
    }
}

fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut rest = Rest(body);
    let (_version, _random) = (rest.take(2)?, rest.take(32)?);
    let (session, suites, compressions) = (rest.short()?, rest.long()?, rest.short()?);
    if session.len() > 32 || suites.len() < 2 || suites.len() % 2 != 0 || compressions.is_empty() {
        return None;
    }
    let mut server_name = None;
    let mut is_newest = false;
    if !rest.0.is_empty() {
        let mut extensions = Rest(rest.long()?);
        while !extensions.0.is_empty() {
            let (kind, content) = (extensions.number()?, extensions.long()?);
            if kind == SERVER_NAME && server_name.replace(host_name(content)?).is_some() {
                return None;
            }
            if kind == SUPPORTED_VERSIONS {
                is_newest |= holds(Rest(content).short()?, TLS13);
            }
        }
    }
    rest.0.is_empty().then(|| ClientHello {
        server_name,
        falls_back: !is_newest && holds(suites, FALLBACK),
    })
}

/// Whether a list of numbers has this one.
fn holds(list: &[u8], number: [u8; 2]) -> bool {
    list.chunks_exact(2).any(|it| it == number)
}

/// The one name in the extension's list.
fn host_name(content: &[u8]) -> Option<String> {
    let mut content = Rest(content);
    let mut names = Rest(content.long()?);
    let (kind, name) = (names.byte()?, names.long()?);
    let alone = content.0.is_empty() && names.0.is_empty();
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let sound = alone
        && kind == HOST_NAME
        && (1..=LONGEST_NAME).contains(&name.len())
        && name.iter().all(good);
    let name = sound.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with these extensions, in records of at most `cut` bytes.
    fn records(extensions: &[u8], cut: usize) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[CLIENT_HELLO], &length[1..], &body].concat();
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1], &length[..], part].concat()
        };
        message.chunks(cut).flat_map(record).collect()
    }

    fn named(name: &str) -> Vec<u8> {
        let length = u16::try_from(name.len()).unwrap();
        let mut list = vec![HOST_NAME];
        list.extend(length.to_be_bytes());
        list.extend(name.as_bytes());
        let mut extension = vec![0, 0];
        extension.extend((length + 5).to_be_bytes());
        extension.extend((length + 3).to_be_bytes());
        extension.extend(list);
        extension
    }

    fn found(name: Option<&str>) -> Greeting {
        Greeting::Whole(ClientHello {
            server_name: name.map(str::to_owned),
            falls_back: false,
        })
    }

    #[test]
    fn the_name_is_found_however_records_and_reads_cut_it() {
        let extensions = [&[0, 0x0b, 0, 2, 1, 0][..], &named("Web.Example.com")].concat();
        for cut in [1, 2, 5, 70, 1000] {
            let bytes = records(&extensions, cut);
            for end in 0..bytes.len() {
                match Greeting::read(&bytes[..end]) {
                    Greeting::Partial(needs) => assert!(needs > end && needs <= bytes.len()),
                    other => panic!("{end} of {}: {other:?}", bytes.len()),
                }
            }
            assert_eq!(Greeting::read(&bytes), found(Some("web.example.com")));
        }
        assert_eq!(Greeting::read(&records(&[], 1000)), found(None));
    }

    #[test]
    fn what_is_no_client_hello_is_said_at_once() {
        let twice = [named("a.test"), named("b.test")].concat();
        let mut other_kind = named("a.test");
        other_kind[6] = 1;
        for bytes in [
            b"GET / HTTP/1.1".to_vec(),
            vec![HANDSHAKE, 2],
            vec![HANDSHAKE, 3, 1, 0, 0],
            vec![HANDSHAKE, 3, 1, 0, 4, 2],
            vec![HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 1, 0, 0],
            records(&twice, 1000),
            records(&other_kind, 1000),
            records(&named("a b"), 1000),
            records(&named(&"a".repeat(256)), 1000),
            records(&[0, 0, 0, 9], 1000),
        ] {
            let said = Greeting::read(&bytes);
            assert_eq!(said, Greeting::Malformed(Flaw::Unreadable), "{bytes:?}");
        }
    }

    #[test]
    fn records_of_other_kinds_and_long_ones_are_told_apart() {
        for kind in [20, 21, 23, 24] {
            let said = Greeting::read(&[kind, 3, 3, 0, 1, 0]);
            assert_eq!(said, Greeting::Malformed(Flaw::OtherRecord), "{kind}");
        }
        let said = Greeting::read(&[HANDSHAKE, 3, 1, 0x40, 1]);
        assert_eq!(said, Greeting::Malformed(Flaw::LongRecord));
    }

    #[test]
    fn a_client_that_fell_back_says_so_unless_it_offers_the_newest() {
        let falls_back = |suite: [u8; 2], extensions: &[u8]| {
            let mut bytes = records(extensions, 1000);
            // Behind the header, the type and the length, the version, the random, the session and the suites' length.
            bytes[46..48].copy_from_slice(&suite);
            match Greeting::read(&bytes) {
                Greeting::Whole(hello) => hello.falls_back,
                other => panic!("{other:?}"),
            }
        };
        let versions = |minor: u8| [0, 43, 0, 3, 2, 3, minor];
        assert!(falls_back(FALLBACK, &[]));
        assert!(falls_back(FALLBACK, &versions(3)));
        assert!(!falls_back(FALLBACK, &versions(4)));
        assert!(!falls_back([0x13, 1], &versions(3)));
    }

    #[test]
    fn small_records_do_not_make_it_endless() {
        let one = [HANDSHAKE, 3, 1, 0, 1, CLIENT_HELLO];
        let more = [HANDSHAKE, 3, 1, 0, 1, 0].repeat(LONGEST / 6 + 1);
        let mut bytes = one.to_vec();
        bytes.extend([HANDSHAKE, 3, 1, 0, 3, 0, 0x30, 0]);
        bytes.extend(more);
        assert_eq!(
            Greeting::read(&bytes),
            Greeting::Malformed(Flaw::Unreadable)
        );
    }
}
