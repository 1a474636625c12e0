//! The format of the file: tables, values with checksums, and sums that reveal missing values.

use redb::{ReadableTable, TableDefinition};
use sha2::{Digest as _, Sha256};

/// The values: the revision that wrote the value (eight bytes, big endian), since format 2 a checksum (eight
/// bytes), and the value's bytes.
pub(crate) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// Numbers: `format`, and the members of [`Sums`] with a checksum (`seal`).
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Texts: `installation`, `region`.
pub(crate) const IDENTITY: TableDefinition<'_, &str, &str> = TableDefinition::new("identity");

/// The current format. Format 1 has no checksums and no identity; opening such a file rewrites it.
pub(crate) const FORMAT: u64 = 2;

/// Sums over all entries, updated in the transaction that changes entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) revision: u64,
    /// The number of entries.
    pub(crate) entries: u64,
    /// The wrapping sum of all checksums, which reveals missing, stale and duplicate entries.
    pub(crate) digest: u64,
}

impl Sums {
    /// Reads the recorded sums.
    ///
    /// # Errors
    /// The engine's error, or that the numbers do not match their checksum.
    pub(crate) fn read(
        meta: &impl ReadableTable<&'static str, u64>,
    ) -> Result<Result<Self, &'static str>, redb::StorageError> {
        let number = |name| -> Result<u64, redb::StorageError> {
            Ok(meta.get(name)?.map_or(0, |value| value.value()))
        };
        let sums = Self {
            revision: number("revision")?,
            entries: number("entries")?,
            digest: number("digest")?,
        };
        let sealed = number("seal")? == sums.seal();
        Ok(sealed.then_some(sums).ok_or("its counters are damaged"))
    }

    pub(crate) fn write(
        &self,
        meta: &mut redb::Table<'_, &str, u64>,
    ) -> Result<(), redb::StorageError> {
        meta.insert("revision", self.revision)?;
        meta.insert("entries", self.entries)?;
        meta.insert("digest", self.digest)?;
        meta.insert("seal", self.seal())?;
        Ok(())
    }

    fn seal(&self) -> u64 {
        let numbers = [self.revision, self.entries, self.digest];
        first_eight(Sha256::digest(numbers.map(u64::to_be_bytes).concat()))
    }

    pub(crate) fn add(&mut self, stored: &[u8]) {
        self.entries += 1;
        self.digest = self.digest.wrapping_add(checksum_in(stored));
    }

    pub(crate) fn remove(&mut self, stored: &[u8]) {
        self.entries = self.entries.saturating_sub(1);
        self.digest = self.digest.wrapping_sub(checksum_in(stored));
    }
}

fn first_eight(hash: impl AsRef<[u8]>) -> u64 {
    let first = hash.as_ref().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The first eight bytes of SHA-256 over the key, a zero byte, the revision and the value.
pub(crate) fn checksum(key: &str, revision: u64, value: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update([0]);
    hash.update(revision.to_be_bytes());
    hash.update(value);
    first_eight(hash.finalize())
}

fn checksum_in(stored: &[u8]) -> u64 {
    let bytes = stored.get(8..).and_then(<[u8]>::first_chunk::<8>);
    bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Encodes an entry.
pub(crate) fn join(key: &str, revision: u64, value: &[u8]) -> Vec<u8> {
    let checksum = checksum(key, revision, value).to_be_bytes();
    [&revision.to_be_bytes(), &checksum, value].concat()
}

/// Decodes a stored entry into its revision and value.
///
/// # Errors
/// When it is truncated or its checksum does not match.
pub(crate) fn split<'a>(key: &str, stored: &'a [u8]) -> Result<(u64, &'a [u8]), &'static str> {
    let (revision, rest) = split_first_format(stored)?;
    let (sum, value) = rest.split_first_chunk::<8>().ok_or("it is cut off")?;
    if u64::from_be_bytes(*sum) == checksum(key, revision, value) {
        Ok((revision, value))
    } else {
        Err("its checksum does not match")
    }
}

/// Decodes an entry of format 1, which has no checksum.
pub(crate) fn split_first_format(stored: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let (revision, value) = stored.split_first_chunk::<8>().ok_or("it is cut off")?;
    Ok((u64::from_be_bytes(*revision), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_and_any_other_byte_is_seen() {
        let stored = join("record/a/b", 7, b"value");
        assert_eq!(split("record/a/b", &stored), Ok((7, b"value".as_slice())));
        assert!(split("record/a/c", &stored).is_err(), "of another key");
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert!(split("record/a/b", &flipped).is_err(), "byte {at}");
            assert!(split("record/a/b", &stored[..at]).is_err(), "cut at {at}");
        }
    }
}
