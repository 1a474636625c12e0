//! The internet checksum (RFC 1071).

/// The unfolded sum of 16-bit words in network order. Sums of pieces with even lengths may be added.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    // Addition modulo 2^16-1 does not depend on byte order: add in the machine's order, four bytes at a time,
    // and swap once.
    let mut chunks = bytes.chunks_exact(4);
    let mut total: u64 = chunks
        .by_ref()
        .map(|chunk| u64::from(u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])))
        .sum();
    let mut rest = [0; 4];
    rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    total += u64::from(u32::from_ne_bytes(rest));
    u64::from(u16::from_be(fold(total)))
}

/// Folds a sum to 16 bits.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of the pseudo header of TCP or UDP with the IP packet's addresses. `None` if it is neither IPv4 nor IPv6.
pub(crate) fn pseudo(packet: &[u8], protocol: u8, length: usize) -> Option<u64> {
    let addresses = match packet.first()? >> 4 {
        4 => packet.get(12..20)?,
        6 => packet.get(8..40)?,
        _ => return None,
    };
    Some(sum(addresses) + u64::from(protocol) + length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plainly(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|pair| {
            u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        });
        fold(words.sum())
    }

    proptest! {
        #[test]
        fn four_bytes_at_a_time_are_as_good_as_two(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(fold(sum(&bytes)), plainly(&bytes));
        }
    }
}
