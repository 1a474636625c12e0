//! Writing a reply: names of the question are pointed at, others are written out.

use lath_zones::{Name, Record};

/// A reply that grows up to a limit.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
    /// The question's name in lower case, and where in the message it stands.
    question: Option<Name>,
}

/// Sections by where their count stands in the header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Section {
    Answer = 6,
    Authority = 8,
    Additional = 10,
}

impl<'a> Writer<'a> {
    /// Begins with a header and the question, which is copied as it came.
    pub(crate) fn new(out: &'a mut Vec<u8>, id: [u8; 2], flags: u16, question: &[u8]) -> Self {
        out.clear();
        out.extend(id);
        out.extend(flags.to_be_bytes());
        out.extend([0, u8::from(!question.is_empty()), 0, 0, 0, 0, 0, 0]);
        out.extend(question);
        Self {
            out,
            limit: usize::from(u16::MAX),
            question: None,
        }
    }

    pub(crate) fn limit(mut self, limit: usize, question: &Name) -> Self {
        self.limit = limit;
        self.question = Some(question.clone());
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn set_flag(&mut self, flag: u16) {
        let [high, low] = flag.to_be_bytes();
        self.out[2] |= high;
        self.out[3] |= low;
    }

    /// Writes all of them or, when they do not fit, none.
    pub(crate) fn all(&mut self, section: Section, records: &[Record]) -> bool {
        let begin = self.out.len();
        for record in records {
            self.name(&record.name);
            self.out.extend(record.kind.0.to_be_bytes());
            self.out.extend([0, 1]);
            self.out.extend(record.ttl.to_be_bytes());
            let length = u16::try_from(record.value.wire.len()).unwrap_or(u16::MAX);
            self.out.extend(length.to_be_bytes());
            self.out.extend(&record.value.wire[..]);
            if self.out.len() > self.limit {
                self.out.truncate(begin);
                return false;
            }
        }
        self.count(section, records.len());
        true
    }

    fn count(&mut self, section: Section, more: usize) {
        let at = section as usize;
        let before = u16::from_be_bytes([self.out[at], self.out[at + 1]]);
        let after = usize::from(before) + more;
        let after = u16::try_from(after).unwrap_or(u16::MAX);
        self.out[at..at + 2].copy_from_slice(&after.to_be_bytes());
    }

    /// RFC 1035, 4.1.4: a pointer to the question's end that is the same.
    fn name(&mut self, name: &Name) {
        let wire = name.as_wire();
        let pointed = self.question.as_ref().and_then(|question| {
            let asked = question.as_wire();
            let at = asked.len().checked_sub(wire.len())?;
            let same = wire.len() > 1 && asked.ends_with(wire) && is_label_start(asked, at);
            same.then_some(at + 12)
        });
        match pointed.and_then(|at| u16::try_from(at).ok()) {
            Some(at) => self.out.extend((0xc000 | at).to_be_bytes()),
            None => self.out.extend(wire),
        }
    }

    /// The OPT record, for which the caller kept room.
    pub(crate) fn opt(&mut self, size: u16, extended: u8, dnssec_ok: bool, subnet: &[u8]) {
        self.out.extend([0, 0, 41]);
        self.out.extend(size.to_be_bytes());
        self.out.extend([extended, 0, u8::from(dnssec_ok) << 7, 0]);
        let length = u16::try_from(subnet.len()).unwrap_or(0);
        self.out.extend(length.to_be_bytes());
        self.out.extend(subnet);
        self.count(Section::Additional, 1);
    }
}

/// Equal octets may begin in the middle of a label.
fn is_label_start(wire: &[u8], wanted: usize) -> bool {
    let mut at = 0;
    while at < wanted {
        at += usize::from(wire[at]) + 1;
    }
    at == wanted
}
