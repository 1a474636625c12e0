//! What is said between two meshes: frames of a length (four bytes, big endian, of all that follows), a
//! kind and a body.
//!
//! A value travels in parts, so that no frame is long, and with what changed beside it: the topics of a section that
//! were told since its last commit count together from the next one on.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The most bytes of a value in one frame.
pub(crate) const LONGEST_PART: usize = 256 << 10;
/// The longest topic: a DNS name as text has up to 1,020 bytes, and more stands before it.
pub(crate) const LONGEST_TOPIC: usize = 2048;
/// Kind, topic and its length, the value's length, a part.
const LARGEST: usize = 1 + 2 + LONGEST_TOPIC + 4 + LONGEST_PART;
/// What both ends say first; another version would say something else.
const GREETING: &[u8] = b"lath mesh 4";

const HELLO: u8 = 1;
const BEAT: u8 = 2;
const PART: u8 = 4;
const GONE: u8 = 5;
const COMMIT: u8 = 6;
const ALL_TOLD: u8 = 7;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The first one: who speaks.
    Hello(String),
    /// Still here.
    Beat,
    /// The next bytes of the newest value of a topic. Within its section, parts of one value follow one another.
    Part {
        topic: String,
        /// How long the whole value is.
        total: u32,
        bytes: Bytes,
    },
    /// A topic is no more.
    Gone(String),
    /// What was told of this section since its last commit is complete.
    Commit(String),
    /// Every section that there is was committed over this connection.
    AllTold,
}

/// The bytes are no frames.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("an empty frame, or one of unknown kind")]
    Unknown,
    #[error("the other end speaks another version")]
    Version,
    #[error("a topic that is none")]
    Topic,
    #[error("a part without its value's length")]
    Part,
}

impl Frame {
    /// Takes the first frame off the front; `None` while it is not whole.
    pub(crate) fn take(bytes: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let Some(length) = bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(Malformed::TooLarge(length));
        }
        if bytes.len() - 4 < length {
            bytes.reserve(length + 4 - bytes.len());
            return Ok(None);
        }
        bytes.advance(4);
        Self::read(bytes.split_to(length).freeze()).map(Some)
    }

    fn read(mut body: Bytes) -> Result<Self, Malformed> {
        if body.is_empty() {
            return Err(Malformed::Unknown);
        }
        match body.get_u8() {
            HELLO => {
                let name = body.strip_prefix(GREETING).ok_or(Malformed::Version)?;
                Ok(Self::Hello(topic(name)?))
            }
            BEAT if body.is_empty() => Ok(Self::Beat),
            PART => Self::read_part(body),
            GONE => Ok(Self::Gone(topic(&body)?)),
            ALL_TOLD if body.is_empty() => Ok(Self::AllTold),
            COMMIT => Ok(Self::Commit(topic(&body)?)),
            _ => Err(Malformed::Unknown),
        }
    }

    fn read_part(mut body: Bytes) -> Result<Self, Malformed> {
        let length = body.try_get_u16().map_err(|_| Malformed::Topic)?;
        let length = usize::from(length);
        if length > body.len() {
            return Err(Malformed::Topic);
        }
        let topic = topic(&body.split_to(length))?;
        let total = body.try_get_u32().map_err(|_| Malformed::Part)?;
        if body.len() > LONGEST_PART {
            return Err(Malformed::TooLarge(body.len()));
        }
        Ok(Self::Part {
            topic,
            total,
            bytes: body,
        })
    }

    /// The head of a frame: all but a part's bytes, which follow it.
    pub(crate) fn head(&self) -> BytesMut {
        let mut body = BytesMut::new();
        let mut follows = 0;
        match self {
            Self::Hello(name) => {
                body.put_u8(HELLO);
                body.put_slice(GREETING);
                body.put_slice(name.as_bytes());
            }
            Self::Beat => body.put_u8(BEAT),
            Self::AllTold => body.put_u8(ALL_TOLD),
            Self::Part {
                topic,
                total,
                bytes,
            } => {
                body.put_u8(PART);
                body.put_u16(u16::try_from(topic.len()).unwrap_or(u16::MAX));
                body.put_slice(topic.as_bytes());
                body.put_u32(*total);
                follows = bytes.len();
            }
            Self::Gone(topic) => {
                body.put_u8(GONE);
                body.put_slice(topic.as_bytes());
            }
            Self::Commit(section) => {
                body.put_u8(COMMIT);
                body.put_slice(section.as_bytes());
            }
        }
        let mut head = BytesMut::with_capacity(body.len() + 4);
        head.put_u32(u32::try_from(body.len() + follows).unwrap_or(u32::MAX));
        head.put_slice(&body);
        head
    }
}

fn topic(bytes: &[u8]) -> Result<String, Malformed> {
    match std::str::from_utf8(bytes) {
        Ok(text) if (1..=LONGEST_TOPIC).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(Malformed::Topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(frame: &Frame) -> BytesMut {
        let mut bytes = frame.head();
        if let Frame::Part { bytes: part, .. } = frame {
            bytes.put_slice(part);
        }
        bytes
    }

    fn part(topic: &str, total: u32, bytes: Vec<u8>) -> Frame {
        Frame::Part {
            topic: topic.into(),
            total,
            bytes: bytes.into(),
        }
    }

    #[test]
    fn frames_arrive_however_they_are_cut() {
        let frames = [
            Frame::Hello("us-east-1".into()),
            Frame::Beat,
            part("a", 0, Vec::new()),
            part("section/iam", 100_001, vec![7; 100_000]),
            part("section/iam", 100_001, vec![7; 1]),
            Frame::Gone("section/old".into()),
            Frame::Commit("section".into()),
            Frame::AllTold,
            Frame::Beat,
        ];
        let all: Vec<u8> = frames
            .iter()
            .flat_map(|frame| whole(frame).to_vec())
            .collect();
        for cut in [1, 3, 1000, all.len()] {
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for piece in all.chunks(cut) {
                buffer.put_slice(piece);
                while let Some(frame) = Frame::take(&mut buffer).unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames, "cut into {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for (name, bytes, want) in [
            (
                "too large",
                b"\xff\0\0\0".to_vec(),
                Malformed::TooLarge(0xff00_0000),
            ),
            ("empty", vec![0; 4], Malformed::Unknown),
            ("unknown kind", vec![0, 0, 0, 1, 9], Malformed::Unknown),
            (
                "a beat with a body",
                vec![0, 0, 0, 2, BEAT, 0],
                Malformed::Unknown,
            ),
            (
                "another version",
                b"\0\0\0\x0c\x01lath mesh 1".to_vec(),
                Malformed::Version,
            ),
            (
                "topic longer than its frame",
                vec![0, 0, 0, 4, PART, 0, 9, 65],
                Malformed::Topic,
            ),
            ("no topic", vec![0, 0, 0, 3, PART, 0, 0], Malformed::Topic),
            ("nothing gone", vec![0, 0, 0, 1, GONE], Malformed::Topic),
            (
                "no length",
                vec![0, 0, 0, 4, PART, 0, 1, 65],
                Malformed::Part,
            ),
            (
                "topic that is no text",
                vec![0, 0, 0, 4, PART, 0, 1, 0xff],
                Malformed::Topic,
            ),
        ] {
            let mut bytes = BytesMut::from(&bytes[..]);
            assert_eq!(Frame::take(&mut bytes), Err(want), "{name}");
        }
    }
}
