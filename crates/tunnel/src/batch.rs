//! Encrypted datagrams that wait for the socket. One system call sends consecutive datagrams of equal length.

use std::ops::Range;

/// `UDP_MAX_SEGMENTS` in every kernel since 4.18.
const MOST_SEGMENTS: usize = 64;
/// The largest UDP payload over IPv4, in bytes.
const LARGEST: usize = 65_507;
/// Room for a large frame and its encryption overhead, even when its segments are small.
const CAPACITY: usize = 512 * 1024;
/// A batch of this size is sent, so that its first datagrams do not wait for more.
const LARGE: usize = 60_000;

/// Datagrams in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Batch {
    buffer: Box<[u8]>,
    used: usize,
    groups: Vec<Group>,
}

/// Contiguous datagrams of equal length; the last may be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) bytes: Range<usize>,
    /// The length of each datagram but the last.
    pub(crate) each: usize,
    count: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; CAPACITY].into(),
            used: 0,
            groups: Vec::new(),
        }
    }

    /// The buffer for the next datagram; `None` if there is no room for `length` bytes.
    pub(crate) fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        self.buffer
            .get_mut(self.used..)
            .filter(|room| room.len() >= length)
    }

    /// Adds a datagram of this length that was written to [`Batch::room`].
    pub(crate) fn added(&mut self, length: usize) {
        let start = self.used;
        self.used = (start + length).min(self.buffer.len());
        match self.groups.last_mut() {
            Some(group) if group.takes(length) => {
                group.bytes.end = self.used;
                group.count += 1;
            }
            _ => self.groups.push(Group {
                bytes: start..self.used,
                each: length,
                count: 1,
            }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether to send the batch although more datagrams may come.
    pub(crate) fn is_large(&self) -> bool {
        self.used >= LARGE
    }

    /// The groups with their bytes.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Group, &[u8])> {
        self.groups
            .iter()
            .map(|group| (group, &self.buffer[group.bytes.clone()]))
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.groups.clear();
    }
}

impl Group {
    fn takes(&self, length: usize) -> bool {
        let open = self.bytes.len() == self.each * self.count;
        let fits = self.bytes.len() + length <= LARGEST && self.count < MOST_SEGMENTS;
        open && fits && length > 0 && length <= self.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_equal_length_leave_together() {
        for (name, lengths, want) in [
            ("equal", vec![10, 10, 10], vec![3]),
            ("a shorter one closes", vec![10, 10, 4, 4], vec![3, 1]),
            ("a longer one opens", vec![10, 20], vec![1, 1]),
            ("at most 64", vec![1; 65], vec![64, 1]),
            ("at most one datagram's bytes", vec![9000; 8], vec![7, 1]),
        ] {
            let mut batch = Batch::new();
            for length in lengths {
                assert!(batch.room(length).is_some(), "{name}");
                batch.added(length);
            }
            let got: Vec<usize> = batch.groups().map(|(group, _)| group.count).collect();
            assert_eq!(got, want, "{name}");
        }
    }
}
