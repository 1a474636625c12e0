//! From data to nf_tables' netlink messages. Numbers are from `linux/netfilter/nf_tables.h`.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{
    Base, ChainKind, Change, CtState, Element, Hook, Key, KeyType, Part, Rule, Set, Timeout, Value,
    ValueType, Verdict,
};
use crate::netlink::Message;

const SUBSYSTEM: u16 = 10 << 8;
const FAMILY_IPV4: u8 = 2;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;
const NEW_OBJECT: u16 = 18;
const DELETE_OBJECT: u16 = 20;

/// One attribute holds at most 64 KiB; an element takes at most 60 bytes with its chain's name.
const ELEMENTS_PER_MESSAGE: usize = 400;

const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const VERDICT_REGISTER: u32 = 0;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

pub(super) const SET_INTERVAL: u32 = 4;
pub(super) const SET_MAP: u32 = 8;
pub(super) const SET_TIMEOUT: u32 = 16;
pub(super) const INTERVAL_END: u32 = 1;
pub(super) const JUMP: i32 = -3;

pub(super) const TYPE_ADDRESS: u32 = 7;
pub(super) const TYPE_MARK: u32 = 19;
pub(super) const TYPE_LINK: u32 = 41;
pub(super) const TYPE_LINK_ADDRESS: u32 = (41 << 6) | 7;
pub(super) const TYPE_LINKS: u32 = (41 << 6) | 41;
pub(super) const TYPE_VERDICT: u32 = 0xffff_ff00;

/// `nfgenmsg`: family, version, resource id in network order.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let id = resource.to_be_bytes();
    [family, 0, id[0], id[1]]
}

/// A request about tables of family `ip`.
pub(super) fn request(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM | kind, flags, &header(FAMILY_IPV4, 0))
}

/// The changes as one transaction: all or nothing.
pub(crate) fn batch(table: &str, changes: &[Change]) -> Vec<Message> {
    enclose(bodies(table, changes).collect())
}

/// The changes as transactions of about `limit` bytes each, for sockets that take no more at once. The
/// order of changes lets each be done on its own: hooks drop before there is anything to guard.
pub(crate) fn batches(table: &str, changes: &[Change], limit: usize) -> Vec<Vec<Message>> {
    let mut all = vec![Vec::new()];
    let mut size = 0;
    for message in bodies(table, changes) {
        size += message.len();
        if size > limit && all.last().is_some_and(|batch| !batch.is_empty()) {
            size = message.len();
            all.push(Vec::new());
        }
        if let Some(batch) = all.last_mut() {
            batch.push(message);
        }
    }
    all.into_iter().map(enclose).collect()
}

fn bodies<'a>(table: &'a str, changes: &'a [Change]) -> impl Iterator<Item = Message> + 'a {
    changes
        .iter()
        .enumerate()
        .flat_map(move |(index, change)| messages(table, index, change))
}

fn enclose(mut body: Vec<Message>) -> Vec<Message> {
    if let Some(last) = body.pop() {
        body.push(last.acknowledged());
    }
    let mut all = vec![Message::new(BATCH_BEGIN, 0, &header(0, 10))];
    all.append(&mut body);
    all.push(Message::new(BATCH_END, 0, &header(0, 10)));
    all
}

fn messages(table: &str, index: usize, change: &Change) -> Vec<Message> {
    match change {
        Change::AddTable { owned: false } => vec![named(NEW_TABLE, CREATE, table, None)],
        Change::AddTable { owned: true } => vec![new_owned_table(CREATE, table)],
        Change::DeleteTable => vec![named(DELETE_TABLE, 0, table, None)],
        Change::AddSet(name, set) => vec![new_set(table, index, name, set)],
        Change::DeleteSet(name) => vec![named(DELETE_SET, 0, table, Some((2, name)))],
        Change::AddTimeout(timeout) => vec![new_timeout(table, *timeout)],
        Change::DeleteTimeout(timeout) => vec![timeout_object(DELETE_OBJECT, 0, table, *timeout)],
        Change::AddChain(name, base) => vec![new_chain(table, name, *base)],
        Change::DeleteChain(name) => vec![named(DELETE_CHAIN, 0, table, Some((3, name)))],
        Change::FlushChain(name) => vec![named(DELETE_RULE, 0, table, Some((2, name)))],
        Change::FlushSet(name) => vec![named(DELETE_ELEMENT, 0, table, Some((2, name)))],
        Change::DeleteElements(set, all) => elements(DELETE_ELEMENT, 0, table, set, all),
        Change::AddElements(set, all) => elements(NEW_ELEMENT, CREATE, table, set, all),
        Change::AddTimed(set, all) => vec![timed(table, set, all)],
        Change::AddRule(chain, rule) => vec![new_rule(table, chain, rule)],
    }
}

/// A message that names a table, and perhaps something in it.
fn named(kind: u16, flags: u16, table: &str, object: Option<(u16, &str)>) -> Message {
    let mut message = request(kind, flags);
    message.text(1, table);
    if let Some((attribute, name)) = object {
        message.text(attribute, name);
    }
    message
}

/// Owned by the socket that sends it, and without an owner when that socket is closed.
pub(super) const TABLE_OWNER: u32 = 2;
pub(super) const TABLE_PERSIST: u32 = 4;

fn new_owned_table(flags: u16, table: &str) -> Message {
    let mut message = named(NEW_TABLE, flags, table, None);
    message.be32(2, TABLE_OWNER | TABLE_PERSIST);
    message
}

/// A transaction that makes a table, which has lost its owner, the sending socket's.
pub(crate) fn taken_over(table: &str) -> Vec<Message> {
    enclose(vec![new_owned_table(0, table)])
}

pub(super) const OBJECT_TIMEOUT: u32 = 7;

fn timeout_object(kind: u16, flags: u16, table: &str, timeout: Timeout) -> Message {
    let mut message = named(kind, flags, table, Some((2, &timeout.name())));
    message.be32(3, OBJECT_TIMEOUT);
    message
}

fn new_timeout(table: &str, timeout: Timeout) -> Message {
    // Of TCP only established connections; of UDP those without and with answers.
    let states: &[u16] = if timeout.protocol == 6 { &[3] } else { &[1, 2] };
    let mut message = timeout_object(NEW_OBJECT, CREATE, table, timeout);
    message.nest(4, |data| {
        data.attr(1, &u16::from(FAMILY_IPV4).to_be_bytes());
        data.attr(2, &[timeout.protocol]);
        data.nest(3, |policy| {
            for state in states {
                policy.be32(*state, timeout.seconds);
            }
        });
    });
    message
}

fn new_chain(table: &str, name: &str, base: Option<Base>) -> Message {
    let mut message = named(NEW_CHAIN, CREATE, table, Some((3, name)));
    if let Some(base) = base {
        message.nest(4, |hook| {
            hook.be32(1, hook_number(base.hook))
                .be32(2, base.priority as u32);
        });
        message.be32(5, u32::from(base.accept));
        message.text(
            7,
            if base.kind == ChainKind::Nat {
                "nat"
            } else {
                "filter"
            },
        );
    }
    message
}

pub(super) fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

/// The key's type for readers such as `nft`, and its length in bytes.
pub(super) fn key_type(key: KeyType) -> (u32, u32) {
    match key {
        KeyType::Address | KeyType::Ranges => (TYPE_ADDRESS, 4),
        KeyType::Link => (TYPE_LINK, 16),
        KeyType::LinkAddress => (TYPE_LINK_ADDRESS, 20),
        KeyType::Mark => (TYPE_MARK, 4),
        KeyType::Links => (TYPE_LINKS, 32),
    }
}

fn new_set(table: &str, index: usize, name: &str, set: &Set) -> Message {
    let mut message = named(NEW_SET, CREATE, table, Some((2, name)));
    let (kind, length) = key_type(set.key);
    let mut flags = 0;
    if set.key == KeyType::Ranges {
        flags |= SET_INTERVAL;
    }
    if set.value.is_some() {
        flags |= SET_MAP;
    }
    if set.timed {
        flags |= SET_TIMEOUT;
    }
    message.be32(3, flags).be32(4, kind).be32(5, length);
    if let Some(value) = set.value {
        let (kind, length) = match value {
            ValueType::Mark => (TYPE_MARK, 4),
            ValueType::Address => (TYPE_ADDRESS, 4),
            ValueType::Jump => (TYPE_VERDICT, 0),
        };
        message.be32(6, kind);
        // A verdict has no length of its own.
        if length > 0 {
            message.be32(7, length);
        }
    }
    if let Some(orders) = byte_orders(set) {
        message.attr(13, &orders);
    }
    message.be32(10, u32::try_from(index + 1).unwrap_or(u32::MAX));
    message
}

/// What `nft` keeps with a set so as to print it: whether keys (0) and values (1) are in the host's byte
/// order (1) or the network's (2). The kernel does not look at it.
fn byte_orders(set: &Set) -> Option<Vec<u8>> {
    let key: u32 = match set.key {
        KeyType::Address | KeyType::Ranges => 2,
        KeyType::Link | KeyType::Mark => 1,
        KeyType::LinkAddress | KeyType::Links => return None,
    };
    let mut bytes = vec![0, 4];
    bytes.extend_from_slice(&key.to_ne_bytes());
    let value: u32 = match set.value {
        Some(ValueType::Mark) => 1,
        Some(ValueType::Address) => 2,
        Some(ValueType::Jump) | None => return Some(bytes),
    };
    bytes.extend_from_slice(&[1, 4]);
    bytes.extend_from_slice(&value.to_ne_bytes());
    Some(bytes)
}

fn elements(kind: u16, flags: u16, table: &str, set: &str, all: &[Element]) -> Vec<Message> {
    all.chunks(ELEMENTS_PER_MESSAGE)
        .map(|chunk| {
            let mut message = named(kind, flags, table, Some((2, set)));
            message.nest(3, |list| {
                chunk.iter().for_each(|element| put_element(list, element))
            });
            message
        })
        .collect()
}

fn timed(table: &str, set: &str, all: &[(Key, Duration)]) -> Message {
    let mut message = named(NEW_ELEMENT, CREATE, table, Some((2, set)));
    message.nest(3, |list| {
        for (key, time) in all {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            list.nest(1, |element| {
                element.nest(1, |data| {
                    data.attr(1, &key_bytes(key));
                });
                element.attr(4, &time.to_be_bytes());
            });
        }
    });
    message
}

fn put_element(list: &mut Message, (key, value): &Element) {
    if let Key::Range(first, last) = key {
        put_key(list, &first.octets(), &Value::None, 0);
        // The element after the last address ends the range; nothing is after 255.255.255.255.
        if let Some(end) = last.to_bits().checked_add(1) {
            put_key(list, &end.to_be_bytes(), &Value::None, INTERVAL_END);
        }
        return;
    }
    put_key(list, &key_bytes(key), value, 0);
}

fn put_key(list: &mut Message, key: &[u8], value: &Value, flags: u32) {
    list.nest(1, |element| {
        element.nest(1, |data| {
            data.attr(1, key);
        });
        if *value != Value::None {
            element.nest(2, |data| put_value(data, value));
        }
        if flags != 0 {
            element.be32(3, flags);
        }
    });
}

fn put_value(data: &mut Message, value: &Value) {
    match value {
        Value::None => {}
        Value::Mark(mark) => {
            data.attr(1, &mark.to_ne_bytes());
        }
        Value::Address(address) => {
            data.attr(1, &address.octets());
        }
        Value::Jump(chain) => put_verdict(data, JUMP, Some(chain)),
    }
}

fn put_verdict(data: &mut Message, code: i32, chain: Option<&str>) {
    data.nest(2, |verdict| {
        verdict.be32(1, code as u32);
        if let Some(chain) = chain {
            verdict.text(2, chain);
        }
    });
}

fn key_bytes(key: &Key) -> Vec<u8> {
    match key {
        Key::Address(address) | Key::Range(address, _) => address.octets().to_vec(),
        Key::Link(name) => link_bytes(name).to_vec(),
        Key::Mark(mark) => mark.to_ne_bytes().to_vec(),
        Key::Links(one, other) => [link_bytes(one), link_bytes(other)].concat(),
        Key::LinkAddress(name, address) => {
            let mut bytes = link_bytes(name).to_vec();
            bytes.extend_from_slice(&address.octets());
            bytes
        }
    }
}

fn link_bytes(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let length = name.len().min(crate::name::LINK_MAX);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

fn new_rule(table: &str, chain: &str, rule: &Rule) -> Message {
    let mut message = named(NEW_RULE, CREATE | APPEND, table, Some((2, chain)));
    message.nest(4, |list| {
        rule.parts().iter().for_each(|part| put_part(list, part))
    });
    message.attr(7, &comment(rule.text()));
    message
}

/// User data as `nft` reads it: type 0 (comment), length, text with its NUL.
fn comment(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

fn expression(list: &mut Message, name: &str, fill: impl FnOnce(&mut Message)) {
    list.nest(1, |element| {
        element.text(1, name);
        element.nest(2, fill);
    });
}

const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_DIRECTION: u32 = 1;
const CT_STATUS: u32 = 2;
const CT_MARK: u32 = 3;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const SOURCE: (u32, u32, u32) = (NETWORK, 12, 4);
const DESTINATION: (u32, u32, u32) = (NETWORK, 16, 4);
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

fn put_part(list: &mut Message, part: &Part) {
    match part {
        Part::Iif(name) => link_is(list, META_IIFNAME, name),
        Part::Oif(name) => link_is(list, META_OIFNAME, name),
        Part::IifIn(set) => meta_in(list, META_IIFNAME, set, false),
        Part::IifNotIn(set) => meta_in(list, META_IIFNAME, set, true),
        Part::OifIn(set) => meta_in(list, META_OIFNAME, set, false),
        Part::OifNotIn(set) => meta_in(list, META_OIFNAME, set, true),
        Part::IifSourceIn(set) => {
            meta(list, META_IIFNAME, REGISTER_1);
            payload(list, SOURCE, REGISTER_2);
            lookup(list, set, None, false);
        }
        Part::LinksIn(set) => {
            meta(list, META_IIFNAME, REGISTER_1);
            meta(list, META_OIFNAME, REGISTER_2);
            lookup(list, set, None, false);
        }
        Part::Source(net) => address_is(list, SOURCE, *net),
        Part::Destination(net) => address_is(list, DESTINATION, *net),
        Part::SourceIn(set) => payload_in(list, SOURCE, set, false),
        Part::SourceNotIn(set) => payload_in(list, SOURCE, set, true),
        Part::DestinationIn(set) => payload_in(list, DESTINATION, set, false),
        Part::Protocol(number) => {
            meta(list, META_L4PROTO, REGISTER_1);
            compare(list, EQUAL, &[*number]);
        }
        Part::Ports(first, last) => ports(list, *first, *last),
        Part::IcmpType(number) => byte_is(list, 0, *number),
        Part::IcmpCode(number) => byte_is(list, 1, *number),
        Part::Syn => syn(list),
        Part::Ct(CtState::EstablishedRelated) => ct_bits(list, CT_STATE, 2 | 4, NOT_EQUAL),
        Part::Ct(CtState::Invalid) => ct_bits(list, CT_STATE, 1, NOT_EQUAL),
        Part::DestinationTranslated(yes) => {
            ct_bits(list, CT_STATUS, 32, if *yes { NOT_EQUAL } else { EQUAL });
        }
        Part::IifVerdict(map) => meta_verdict(list, META_IIFNAME, map),
        Part::OifVerdict(map) => meta_verdict(list, META_OIFNAME, map),
        Part::DestinationVerdict(map) => {
            payload(list, DESTINATION, REGISTER_1);
            lookup(list, map, Some(VERDICT_REGISTER), false);
        }
        Part::SourceVerdict(map) => {
            payload(list, SOURCE, REGISTER_1);
            lookup(list, map, Some(VERDICT_REGISTER), false);
        }
        Part::MarkVerdict(map) => meta_verdict(list, META_MARK, map),
        Part::MarkIn(set) => meta_in(list, META_MARK, set, false),
        Part::MarkNotIn(set) => meta_in(list, META_MARK, set, true),
        Part::Mark(mark) => {
            immediate(list, &mark.to_ne_bytes());
            set_mark(list);
        }
        Part::ConnectionMark(mark) => {
            immediate(list, &mark.to_ne_bytes());
            expression(list, "ct", |m| {
                m.be32(2, CT_MARK).be32(4, REGISTER_1);
            });
        }
        Part::Idle(timeout) => idle(list, *timeout),
        Part::AnswerMark => answer_mark(list),
        Part::MarkFromIif(map) => mark_from_iif(list, map),
        Part::DestinationNat(map) => {
            payload(list, DESTINATION, REGISTER_1);
            translate(list, map, 1);
        }
        Part::DestinationPort(port) => lead_to(list, *port),
        Part::SourceNat(map) => {
            payload(list, SOURCE, REGISTER_1);
            translate(list, map, 0);
        }
        Part::SourceNatByMark(map) => {
            meta(list, META_MARK, REGISTER_1);
            translate(list, map, 0);
        }
        Part::Masquerade => expression(list, "masq", |_| {}),
        Part::ClampSegment(size) => clamp(list, *size),
        Part::Verdict(verdict) => decide(list, verdict),
    }
}

fn meta(list: &mut Message, key: u32, register: u32) {
    expression(list, "meta", |m| {
        m.be32(1, register).be32(2, key);
    });
}

fn payload(list: &mut Message, (base, offset, length): (u32, u32, u32), register: u32) {
    expression(list, "payload", |m| {
        m.be32(1, register)
            .be32(2, base)
            .be32(3, offset)
            .be32(4, length);
    });
}

fn compare(list: &mut Message, operator: u32, data: &[u8]) {
    expression(list, "cmp", |m| {
        m.be32(1, REGISTER_1).be32(2, operator);
        m.nest(3, |value| {
            value.attr(1, data);
        });
    });
}

fn mask(list: &mut Message, bits: &[u8]) {
    expression(list, "bitwise", |m| {
        m.be32(1, REGISTER_1)
            .be32(2, REGISTER_1)
            .be32(3, bits.len() as u32);
        m.nest(4, |value| {
            value.attr(1, bits);
        });
        m.nest(5, |value| {
            value.attr(1, &vec![0; bits.len()]);
        });
    });
}

fn lookup(list: &mut Message, set: &str, result: Option<u32>, inverted: bool) {
    expression(list, "lookup", |m| {
        m.text(1, set).be32(2, REGISTER_1);
        if let Some(register) = result {
            m.be32(3, register);
        }
        if inverted {
            m.be32(5, 1);
        }
    });
}

fn link_is(list: &mut Message, key: u32, name: &str) {
    meta(list, key, REGISTER_1);
    compare(list, EQUAL, &link_bytes(name));
}

fn meta_in(list: &mut Message, key: u32, set: &str, inverted: bool) {
    meta(list, key, REGISTER_1);
    lookup(list, set, None, inverted);
}

fn payload_in(list: &mut Message, field: (u32, u32, u32), set: &str, inverted: bool) {
    payload(list, field, REGISTER_1);
    lookup(list, set, None, inverted);
}

fn address_is(list: &mut Message, field: (u32, u32, u32), net: ipnet::Ipv4Net) {
    if net.prefix_len() == 0 {
        return;
    }
    payload(list, field, REGISTER_1);
    if net.prefix_len() < 32 {
        mask(list, &net.netmask().octets());
    }
    compare(list, EQUAL, &Ipv4Addr::octets(&net.network()));
}

fn ports(list: &mut Message, first: u16, last: u16) {
    payload(list, (TRANSPORT, 2, 2), REGISTER_1);
    if first == last {
        compare(list, EQUAL, &first.to_be_bytes());
    } else {
        compare(list, AT_LEAST, &first.to_be_bytes());
        compare(list, AT_MOST, &last.to_be_bytes());
    }
}

fn byte_is(list: &mut Message, offset: u32, value: u8) {
    payload(list, (TRANSPORT, offset, 1), REGISTER_1);
    compare(list, EQUAL, &[value]);
}

fn syn(list: &mut Message) {
    const SYN: u8 = 2;
    const RST: u8 = 4;
    payload(list, (TRANSPORT, 13, 1), REGISTER_1);
    mask(list, &[SYN | RST]);
    compare(list, EQUAL, &[SYN]);
}

/// Compares what is left of a connection's bits with zero.
fn ct_bits(list: &mut Message, key: u32, bits: u32, operator: u32) {
    expression(list, "ct", |m| {
        m.be32(1, REGISTER_1).be32(2, key);
    });
    mask(list, &bits.to_ne_bytes());
    compare(list, operator, &[0; 4]);
}

fn meta_verdict(list: &mut Message, key: u32, map: &str) {
    meta(list, key, REGISTER_1);
    lookup(list, map, Some(VERDICT_REGISTER), false);
}

fn mark_from_iif(list: &mut Message, map: &str) {
    meta(list, META_IIFNAME, REGISTER_1);
    lookup(list, map, Some(REGISTER_1), false);
    set_mark(list);
}

fn set_mark(list: &mut Message) {
    expression(list, "meta", |m| {
        m.be32(2, META_MARK).be32(3, REGISTER_1);
    });
}

fn idle(list: &mut Message, timeout: Timeout) {
    meta(list, META_L4PROTO, REGISTER_1);
    compare(list, EQUAL, &[timeout.protocol]);
    expression(list, "objref", |m| {
        m.be32(1, OBJECT_TIMEOUT).text(2, &timeout.name());
    });
}

fn answer_mark(list: &mut Message) {
    const REPLY: u8 = 1;
    let of_connection = |list: &mut Message, key| {
        expression(list, "ct", |m| {
            m.be32(1, REGISTER_1).be32(2, key);
        });
    };
    of_connection(list, CT_DIRECTION);
    compare(list, EQUAL, &[REPLY]);
    of_connection(list, CT_MARK);
    compare(list, NOT_EQUAL, &[0; 4]);
    set_mark(list);
}

fn immediate(list: &mut Message, data: &[u8]) {
    expression(list, "immediate", |m| {
        m.be32(1, REGISTER_1);
        m.nest(2, |value| {
            value.attr(1, data);
        });
    });
}

/// What is in the register becomes the address that the map has for it.
fn translate(list: &mut Message, map: &str, kind: u32) {
    lookup(list, map, Some(REGISTER_1), false);
    expression(list, "nat", |m| {
        m.be32(1, kind)
            .be32(2, u32::from(FAMILY_IPV4))
            .be32(3, REGISTER_1);
    });
}

/// The destination's port becomes this one; its address stays.
fn lead_to(list: &mut Message, port: u16) {
    const DESTINATION_NAT: u32 = 1;
    immediate(list, &port.to_be_bytes());
    expression(list, "nat", |m| {
        m.be32(1, DESTINATION_NAT)
            .be32(2, u32::from(FAMILY_IPV4))
            .be32(5, REGISTER_1);
    });
}

fn clamp(list: &mut Message, size: u16) {
    const MAXIMUM_SEGMENT: u8 = 2;
    const TCP_OPTION: u32 = 1;
    immediate(list, &size.to_be_bytes());
    expression(list, "exthdr", |m| {
        m.be32(7, REGISTER_1).attr(2, &[MAXIMUM_SEGMENT]);
        m.be32(3, 2).be32(4, 2).be32(6, TCP_OPTION);
    });
}

fn decide(list: &mut Message, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Return => (-5, None),
        Verdict::Jump(chain) => (JUMP, Some(chain.as_str())),
    };
    expression(list, "immediate", |m| {
        m.be32(1, VERDICT_REGISTER);
        m.nest(2, |data| put_verdict(data, code, chain));
    });
}
