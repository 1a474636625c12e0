//! Rules: a row of parts, each a match or a statement.

use std::fmt;

use ipnet::Ipv4Net;

use super::Timeout;

/// A rule. Two are equal when their texts are.
#[derive(Debug, Clone)]
pub struct Rule {
    parts: Vec<Part>,
    text: String,
}

/// A part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Came in by this link.
    Iif(String),
    /// Came in by a link in this set.
    IifIn(String),
    /// Came in by a link that is not in this set.
    IifNotIn(String),
    /// Goes out by this link.
    Oif(String),
    /// Goes out by a link that is not in this set.
    OifNotIn(String),
    /// Goes out by a link in this set.
    OifIn(String),
    /// Link and source address are together in this set.
    IifSourceIn(String),
    /// The links it came in and goes out by are together in this set.
    LinksIn(String),
    /// From this block.
    Source(Ipv4Net),
    /// From an address in this set.
    SourceIn(String),
    /// From an address that is not in this set.
    SourceNotIn(String),
    /// To this block.
    Destination(Ipv4Net),
    /// To an address in this set.
    DestinationIn(String),
    /// Of this IP protocol.
    Protocol(u8),
    /// To these ports, inclusive, of TCP or UDP (a `Protocol` part goes before).
    Ports(u16, u16),
    /// ICMP of this type.
    IcmpType(u8),
    /// ICMP of this code.
    IcmpCode(u8),
    /// TCP with SYN set and RST not.
    Syn,
    /// Of a connection in one of these states.
    Ct(CtState),
    /// Whether its connection's destination was translated.
    DestinationTranslated(bool),
    /// Does what the map says for the link it came in by.
    IifVerdict(String),
    /// Does what the map says for the link it goes out by.
    OifVerdict(String),
    /// Does what the map says for its destination.
    DestinationVerdict(String),
    /// Does what the map says for its source.
    SourceVerdict(String),
    /// Does what the map says for its mark.
    MarkVerdict(String),
    /// Its mark is in this set.
    MarkIn(String),
    /// Its mark is not in this set.
    MarkNotIn(String),
    /// Sets its mark.
    Mark(u32),
    /// Sets its connection's mark.
    ConnectionMark(u32),
    /// Gives a new connection of that protocol this end.
    Idle(Timeout),
    /// Gives an answer the mark of its connection, if that has one.
    AnswerMark,
    /// Sets the mark that the map gives for the link it came in by.
    MarkFromIif(String),
    /// Translates the destination as the map says.
    DestinationNat(String),
    /// Translates the port it is for to this one, of TCP or UDP (a `Protocol` part goes before).
    DestinationPort(u16),
    /// Translates the source as the map says.
    SourceNat(String),
    /// Translates the source as the map says for its mark.
    SourceNatByMark(String),
    /// Translates the source to the outgoing link's address.
    Masquerade,
    /// Lowers a TCP maximum segment size to this.
    ClampSegment(u16),
    /// Decides.
    Verdict(Verdict),
}

/// Connection states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtState {
    /// Answers to, or belongs to, what was accepted before.
    EstablishedRelated,
    /// Fits no connection.
    Invalid,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The packet goes on.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// To another chain and back.
    Jump(String),
}

impl Rule {
    /// What the kernel keeps with a rule is at most 256 bytes; longer texts end in a digest.
    pub const TEXT_MAX: usize = 200;

    /// A rule of parts.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let parts: Vec<Part> = parts.into_iter().collect();
        let words: Vec<String> = parts.iter().map(ToString::to_string).collect();
        Self {
            text: shortened(words.join(" ")),
            parts,
        }
    }

    /// A rule as read back: only its text is known.
    pub fn observed(text: String) -> Self {
        Self {
            parts: Vec::new(),
            text,
        }
    }

    /// Its parts; none for one that was read back.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn shortened(text: String) -> String {
    if text.len() <= Rule::TEXT_MAX {
        return text;
    }
    let digest = crate::name::digest(&text);
    let cut = text.floor_char_boundary(Rule::TEXT_MAX - 20);
    format!("{} #{digest:016x}", &text[..cut])
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Rule {}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iif(name) => write!(f, "iifname {name}"),
            Self::IifIn(set) => write!(f, "iifname @{set}"),
            Self::IifNotIn(set) => write!(f, "iifname != @{set}"),
            Self::Oif(name) => write!(f, "oifname {name}"),
            Self::OifIn(set) => write!(f, "oifname @{set}"),
            Self::OifNotIn(set) => write!(f, "oifname != @{set}"),
            Self::IifSourceIn(set) => write!(f, "iifname . ip saddr @{set}"),
            Self::LinksIn(set) => write!(f, "iifname . oifname @{set}"),
            Self::Source(net) => write!(f, "ip saddr {net}"),
            Self::SourceIn(set) => write!(f, "ip saddr @{set}"),
            Self::SourceNotIn(set) => write!(f, "ip saddr != @{set}"),
            Self::Destination(net) => write!(f, "ip daddr {net}"),
            Self::DestinationIn(set) => write!(f, "ip daddr @{set}"),
            Self::Protocol(number) => write!(f, "meta l4proto {number}"),
            Self::Ports(first, last) => write!(f, "th dport {first}-{last}"),
            Self::IcmpType(number) => write!(f, "icmp type {number}"),
            Self::IcmpCode(number) => write!(f, "icmp code {number}"),
            Self::Syn => write!(f, "tcp flags & (syn|rst) == syn"),
            Self::Ct(CtState::EstablishedRelated) => write!(f, "ct state established,related"),
            Self::Ct(CtState::Invalid) => write!(f, "ct state invalid"),
            Self::DestinationTranslated(true) => write!(f, "ct status dnat"),
            Self::DestinationTranslated(false) => write!(f, "ct status ! dnat"),
            Self::IifVerdict(map) => write!(f, "iifname vmap @{map}"),
            Self::OifVerdict(map) => write!(f, "oifname vmap @{map}"),
            Self::DestinationVerdict(map) => write!(f, "ip daddr vmap @{map}"),
            Self::SourceVerdict(map) => write!(f, "ip saddr vmap @{map}"),
            Self::MarkVerdict(map) => write!(f, "meta mark vmap @{map}"),
            Self::MarkIn(set) => write!(f, "meta mark @{set}"),
            Self::MarkNotIn(set) => write!(f, "meta mark != @{set}"),
            Self::Mark(mark) => write!(f, "meta mark set {mark}"),
            Self::ConnectionMark(mark) => write!(f, "ct mark set {mark}"),
            Self::Idle(timeout) => write!(f, "ct timeout set {}", timeout.name()),
            Self::AnswerMark => {
                write!(f, "ct direction reply ct mark != 0 meta mark set ct mark")
            }
            Self::MarkFromIif(map) => write!(f, "meta mark set iifname map @{map}"),
            Self::DestinationNat(map) => write!(f, "dnat to ip daddr map @{map}"),
            Self::DestinationPort(port) => write!(f, "dnat to :{port}"),
            Self::SourceNat(map) => write!(f, "snat to ip saddr map @{map}"),
            Self::SourceNatByMark(map) => write!(f, "snat to meta mark map @{map}"),
            Self::Masquerade => write!(f, "masquerade"),
            Self::ClampSegment(size) => write!(f, "tcp option maxseg size set {size}"),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
        }
    }
}
