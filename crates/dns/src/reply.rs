//! From answers to bytes that a client can take.

use hickory_proto::op::{Edns, Message, OpCode, Query as Question, ResponseCode};

use crate::query::LARGEST_UDP;
use crate::resolve::Resolution;
use crate::{Answer, Query, Undecodable};

/// The reply to a question that the snapshot answers; `None` when it must be forwarded.
pub(crate) fn local(query: &Query, answer: Answer, limit: usize) -> Option<Vec<u8>> {
    let mut message = begin(query, ResponseCode::NoError);
    match answer {
        Answer::Found(records) => message.answers = records,
        Answer::Empty(soa) => message.authorities.push(*soa),
        Answer::NoSuchName(soa) => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.authorities.push(*soa);
        }
        Answer::Refused => message.metadata.response_code = ResponseCode::Refused,
        Answer::Forward => return None,
    }
    Some(fitting(&message, limit))
}

/// The reply to a question that was resolved without asking anybody.
pub(crate) fn resolved(query: &Query, found: Resolution, limit: usize) -> Vec<u8> {
    let mut message = begin(query, found.code);
    message.answers = found.answers;
    message.authorities = found.authorities;
    fitting(&message, limit)
}

/// The reply that begins with what we know and ends with what an upstream knows.
pub(crate) fn joined(query: &Query, found: Resolution, rest: &[u8], limit: usize) -> Vec<u8> {
    let Ok(rest) = Message::from_vec(rest) else {
        return failure(query, ResponseCode::ServFail);
    };
    let mut message = begin(query, rest.metadata.response_code);
    message.answers = found.answers;
    message.answers.extend(rest.answers);
    message.authorities = rest.authorities;
    fitting(&message, limit)
}

/// A reply without records.
pub(crate) fn failure(query: &Query, code: ResponseCode) -> Vec<u8> {
    encode(&begin(query, code))
}

/// The reply to bytes that are no question, where one is due.
pub(crate) fn refusal(reason: &Undecodable) -> Option<Vec<u8>> {
    let Undecodable::Refuse {
        id,
        opcode,
        recursion_desired,
        code,
    } = *reason
    else {
        return None;
    };
    let mut message = Message::response(id, opcode);
    message.metadata.recursion_desired = recursion_desired;
    message.metadata.response_code = code;
    if code == ResponseCode::BADVERS {
        message.set_edns(our_edns(false));
    }
    Some(encode(&message))
}

/// The reply that an upstream gave, with the client's number; cut down when the client cannot take it.
pub(crate) fn forwarded(query: &Query, mut reply: Vec<u8>, limit: usize) -> Vec<u8> {
    if reply.len() > limit {
        return truncated(query);
    }
    if let Some(id) = reply.first_chunk_mut::<2>() {
        *id = query.id.to_be_bytes();
    }
    reply
}

/// The question as it is asked upstream: with an id of Lath's, the client's flags, and no EDNS options.
pub(crate) fn upstream_question(query: &Query, id: u16) -> Vec<u8> {
    let mut message = Message::new(id, hickory_proto::op::MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = query.checking_disabled;
    message.metadata.authentic_data = query.authentic_data;
    message.queries.push(question(query));
    // A client that speaks plain DNS must not get an OPT record: do as it does.
    if let Some(extension) = query.extension {
        message.set_edns(our_edns(extension.dnssec_ok));
    }
    encode(&message)
}

pub(crate) fn question(query: &Query) -> Question {
    let mut question = Question::query(query.name.clone(), query.kind);
    question.set_query_class(query.class);
    question
}

fn begin(query: &Query, code: ResponseCode) -> Message {
    let mut message = Message::response(query.id, OpCode::Query);
    message.metadata.recursion_desired = query.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = query.checking_disabled;
    message.metadata.response_code = code;
    message.queries.push(question(query));
    if let Some(extension) = query.extension {
        message.set_edns(our_edns(extension.dnssec_ok));
    }
    message
}

fn our_edns(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST_UDP).set_version(0);
    edns.set_dnssec_ok(dnssec_ok);
    edns
}

/// RFC 2181, 9: an answer that does not fit says so, and the client asks again by TCP.
fn truncated(query: &Query) -> Vec<u8> {
    let mut message = begin(query, ResponseCode::NoError);
    message.metadata.truncation = true;
    encode(&message)
}

fn fitting(message: &Message, limit: usize) -> Vec<u8> {
    let bytes = encode(message);
    if bytes.len() <= limit {
        return bytes;
    }
    encode(&message.truncate())
}

/// The bytes of a message. One that cannot be written (none that we make) becomes a bare failure.
fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_else(|_| {
        let [high, low] = message.metadata.id.to_be_bytes();
        vec![high, low, 0x80, 0x82, 0, 0, 0, 0, 0, 0, 0, 0]
    })
}
