//! One line, in as many pieces as it comes.

use super::Offence;

/// As much of a line as the guard must see: the longest name it looks for and its value.
pub(super) const KEPT: usize = 64;

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
