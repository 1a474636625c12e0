//! Entry points for the targets in `fuzz/` only.

use lath_zones::{AllHealthy, Random, Zones};

use crate::authority::{Responder, respond};
use crate::{Answer, Query, Undecodable};

/// What the authoritative server says to bytes by UDP, or by TCP; `None` when it says nothing.
pub fn authoritative(zones: &Zones, bytes: &[u8], stream: bool) -> Option<Vec<u8>> {
    let mut responder = Responder {
        zones,
        health: &AllHealthy,
        random: &mut Random::new(1),
    };
    let (from, mut reply) = ([192, 0, 2, 1].into(), Vec::new());
    respond(&mut responder, bytes, from, stream, &mut reply).then_some(reply)
}

/// The reply that a client beyond its rate gets in place of this one.
pub fn slipped(mut reply: Vec<u8>) -> Vec<u8> {
    crate::authority::truncate(&mut reply);
    reply
}

/// Whether an upstream's bytes answer `query`, asked under the number `id`.
pub fn is_answer(reply: &[u8], id: u16, query: &Query) -> bool {
    crate::forward::answers(reply, id, &crate::reply::question(query))
}

/// What the client gets of an upstream's reply when it takes `limit` bytes.
pub fn relayed(query: &Query, reply: Vec<u8>, limit: usize) -> Vec<u8> {
    crate::reply::forwarded(query, reply, limit)
}

/// The reply to a question, in at most `limit` bytes; `None` when it must be forwarded.
pub fn reply(query: &Query, answer: Answer, limit: usize) -> Option<Vec<u8>> {
    crate::reply::local(query, answer, limit)
}

/// The reply to bytes that are no question, where one is due.
pub fn refusal(reason: &Undecodable) -> Option<Vec<u8>> {
    crate::reply::refusal(reason)
}
