//! gRPC's health protocol: one message each way
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! Both have one field, so that they are written and read here: `HealthCheckRequest.service`, a string, and
//! `HealthCheckResponse.status`, an enumeration, each of number 1.

use http::HeaderMap;

/// As much of an answer is looked at, in bytes: nothing in it is long.
pub(crate) const MAX_ANSWER: usize = 4096;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Answer {
    /// Not one whole message.
    #[error("the answer is no message of gRPC")]
    NotAMessage,
    /// The message is not a `HealthCheckResponse`.
    #[error("the answer is no HealthCheckResponse")]
    NotAResponse,
    /// The target does not serve.
    #[error("the serving status is {0}")]
    Status(u64),
}

/// The message that asks for the service that a query names as `service=NAME`; for the whole server, if it names none.
pub(crate) fn check(query: &str) -> Vec<u8> {
    let named = query.split('&').find_map(|it| it.strip_prefix("service="));
    let service = named.unwrap_or("").as_bytes();
    // One byte holds lengths up to 127, two those of any path that AWS takes.
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(service.len(), &mut message);
        message.extend_from_slice(service);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

fn put_varint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What a call came to, as its last fields say.
pub(crate) fn status(fields: &HeaderMap) -> Option<u32> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Whether an answer says that the target serves.
///
/// # Errors
/// It says something else, or nothing that makes sense.
pub fn serving(answer: &[u8]) -> Result<(), Answer> {
    let (head, message) = answer.split_at_checked(5).ok_or(Answer::NotAMessage)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || usize::try_from(length) != Ok(message.len()) {
        return Err(Answer::NotAMessage);
    }
    match field_one(message).ok_or(Answer::NotAResponse)? {
        SERVING => Ok(()),
        other => Err(Answer::Status(other)),
    }
}

/// The last number of field 1, which is 0 where there is none; `None` for what is no message of Protocol Buffers.
fn field_one(mut rest: &[u8]) -> Option<u64> {
    let mut found = 0;
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => found = take_varint(&mut rest)?,
            (_, 0) => drop(take_varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (first, others) = rest.split_first()?;
        *rest = others;
        value |= u64::from(first & 0x7f).checked_shl(place * 7)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_for_by_name() {
        assert_eq!(check(""), [0, 0, 0, 0, 0]);
        assert_eq!(check("a=b&service=x.Y"), *b"\0\0\0\0\x05\x0a\x03x.Y");
        let long = "s".repeat(300);
        let framed = check(&format!("service={long}"));
        assert_eq!(framed[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert_eq!(framed.len(), 308);
    }

    #[test]
    fn only_a_target_that_serves_is_healthy() {
        let said = |message: &[u8]| {
            let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            framed.extend_from_slice(message);
            serving(&framed)
        };
        assert_eq!(said(&[8, 1]), Ok(()));
        assert_eq!(said(&[0x12, 1, b'x', 8, 1]), Ok(()));
        assert_eq!(said(&[8, 2, 8, 1]), Ok(()));
        assert_eq!(said(&[8, 2]), Err(Answer::Status(2)));
        assert_eq!(said(&[]), Err(Answer::Status(0)));
        for junk in [
            &[8][..],
            &[0, 0],
            &[8, 0xff],
            &[0x12, 9, 1],
            &[0x0b],
            &[0xff; 11],
        ] {
            assert_eq!(said(junk), Err(Answer::NotAResponse), "{junk:?}");
        }
        for junk in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
        ] {
            assert_eq!(serving(junk), Err(Answer::NotAMessage), "{junk:?}");
        }
    }
}
