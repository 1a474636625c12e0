//! One line, in as many pieces as it comes.

use super::Offence;

/// As much of a line as the guard must see: the longest name it looks for and its value.
pub(super) const KEPT: usize = 64;

/// Where the first CR, LF or NUL is.
///
/// Lines of a head are short: a search made for long texts needs as long to begin as this one to end. It looks for
/// control characters (below 32), of which a head seldom has others.
pub(super) fn end_of(bytes: &[u8]) -> Option<usize> {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let is_end = |byte: u8| matches!(byte, b'\r' | b'\n' | 0);
    let mut at = 0;
    loop {
        at += plain(&bytes[at..]);
        let Some(word) = bytes[at..].first_chunk() else {
            let end = bytes[at..].iter().position(|byte| is_end(*byte));
            return end.map(|end| at + end);
        };
        let word = u64::from_le_bytes(*word);
        // An octet's high bit is set where it is below 32; a borrow spoils only octets after the first such one.
        let control = word.wrapping_sub(EACH * 32) & !word & (EACH * 128);
        at += control.trailing_zeros() as usize / 8;
        if control != 0 {
            if is_end(bytes[at]) {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// How many octets at the beginning are in blocks without control characters. Written so that the compiler compares a
/// block at once.
fn plain(bytes: &[u8]) -> usize {
    let is_plain = |block: &[u8; 16]| !block.iter().fold(false, |any, byte| any | (*byte < 32));
    let mut at = 0;
    while bytes[at..].first_chunk().is_some_and(is_plain) {
        at += 16;
    }
    at
}

/// The line being read.
#[derive(Debug)]
pub(super) struct Line {
    start: [u8; KEPT],
    length: usize,
    last: u8,
    /// The length of the line's ending: CR LF, or LF alone.
    ending: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            start: [0; KEPT],
            length: 0,
            last: 0,
            ending: 2,
        }
    }
}

impl Line {
    /// Adds a piece of the line; only the last piece ends with LF. `bare_feed`: LF alone may end it.
    pub(super) fn push(&mut self, piece: &[u8], bare_feed: bool) -> Result<(), Offence> {
        let room = KEPT.saturating_sub(self.length).min(piece.len());
        if room > 0 {
            self.start[self.length..self.length + room].copy_from_slice(&piece[..room]);
        }
        let before = if piece.len() > 1 {
            piece[piece.len() - 2]
        } else {
            self.last
        };
        let ends = piece.last() == Some(&b'\n');
        let after_return = before == b'\r';
        let ending = if ends && after_return { 2 } else { 1 };
        let inner = &piece[..piece.len() - ending.min(piece.len())];
        // A CR that was last must be followed by LF, and LF must follow CR.
        let broken = self.last == b'\r' && !(ends && piece.len() == 1);
        if broken
            || memchr::memchr2(b'\r', 0, inner).is_some()
            || (ends && !after_return && !bare_feed)
            || piece.last() == Some(&0)
        {
            return Err(Offence::LineEnding);
        }
        self.length += piece.len();
        self.last = *piece.last().unwrap_or(&0);
        self.ending = ending;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.last = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// With the ending, in bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Whether the line is longer than what was kept of it.
    pub(super) fn is_cut(&self) -> bool {
        self.length.saturating_sub(self.ending) > KEPT
    }

    /// A complete line without its ending, as far as it was kept.
    pub(super) fn content(&self) -> &[u8] {
        &self.start[..self.length.saturating_sub(self.ending).min(KEPT)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::end_of;

    proptest! {
        #[test]
        fn the_end_is_found_wherever_it_is(
            bytes in proptest::collection::vec(prop_oneof![0_u8..40, Just(255), Just(b'a')], 0..40),
        ) {
            let plain = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0));
            prop_assert_eq!(end_of(&bytes), plain);
        }
    }
}
