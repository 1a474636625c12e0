//! Segmented packets coalesce again, and coalesced frames split into the original segments.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use lath_tunnel::fuzzing::{frames, packets};
use proptest::prelude::*;

const HEADER: usize = 10;

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    let mut total: u32 = words
        .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

/// A packet over IPv4 with correct checksums.
fn packet(protocol: u8, transport: &[u8], field: usize) -> Vec<u8> {
    let length = u16::try_from(20 + transport.len()).unwrap();
    let mut bytes = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
    bytes.extend([10, 0, 0, 1, 10, 1, 0, 2]);
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let check = !(sum(&bytes) as u16);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
    bytes.extend(transport);
    let check = match !(sum(&pseudo(&bytes)) as u16) {
        0 => 0xffff,
        check => check,
    };
    bytes[20 + field..22 + field].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// The pseudo header and the transport's bytes.
fn pseudo(packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len() - 20).unwrap();
    let mut bytes = packet[12..20].to_vec();
    bytes.extend([0, packet[9]]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&packet[20..]);
    bytes
}

fn is_right(packet: &[u8]) -> bool {
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    length == packet.len() && sum(&packet[..20]) == 0xffff && sum(&pseudo(packet)) == 0xffff
}

fn tcp(number: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x90, 0xc0, 0x01];
    bytes.extend(number.to_be_bytes());
    bytes.extend([0, 0, 0, 9, 0x80, flags, 1, 0, 0, 0, 0, 0]);
    bytes.extend([1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6]);
    bytes.extend(payload);
    packet(6, &bytes, 16)
}

/// A packet as the kernel sends it: not segmented, with an unfinished checksum.
fn frame(packet: &[u8], kind: u8, piece: u16, offset: u16) -> Vec<u8> {
    let mut bytes = vec![1, kind];
    for word in [0, piece, 20, offset] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(packet);
    let begun = sum(&pseudo(packet)[..12]) as u16;
    let at = HEADER + 20 + usize::from(offset);
    bytes[at..at + 2].copy_from_slice(&begun.to_be_bytes());
    bytes
}

proptest! {
    #[test]
    fn segments_are_right_and_glue_again(
        payload in proptest::collection::vec(any::<u8>(), 1..20_000),
        piece in 100_u16..9000,
        number: u32,
        flags in prop_oneof![Just(0x10_u8), Just(0x18), Just(0x11), Just(0x90)],
    ) {
        let large = tcp(number, flags, &payload);
        let cut = packets(frame(&large, 1, piece, 16));
        prop_assert_eq!(cut.len(), payload.len().div_ceil(usize::from(piece)));
        prop_assert!(cut.iter().all(|packet| is_right(packet)));
        let carried: Vec<u8> = cut.iter().flat_map(|p| p[52..].to_vec()).collect();
        prop_assert_eq!(&carried, &payload);
        for (index, packet) in cut.iter().enumerate() {
            let (first, last) = (index == 0, index + 1 == cut.len());
            let mut want = flags;
            if !first { want &= !0x80; }
            if !last { want &= !0x09; }
            prop_assert_eq!(packet[33], want);
        }
        let coalesced = frames(&cut);
        if flags & 0x81 == 0 {
            prop_assert_eq!(coalesced.len(), 1, "one run");
        }
        let again: Vec<Vec<u8>> = coalesced.into_iter().flat_map(packets).collect();
        prop_assert_eq!(again, cut);
    }

    #[test]
    fn datagrams_are_right(payload in proptest::collection::vec(any::<u8>(), 1..9000), piece in 1_u16..3000) {
        let length = u16::try_from(8 + payload.len()).unwrap();
        let mut bytes = vec![0, 53, 0, 54];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&payload);
        let cut = packets(frame(&packet(17, &bytes, 6), 5, piece, 6));
        prop_assert!(cut.iter().all(|packet| is_right(packet)));
        let carried: Vec<u8> = cut.iter().flat_map(|p| p[28..].to_vec()).collect();
        prop_assert_eq!(carried, payload);
    }

    #[test]
    fn no_frame_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..7) {
        drop(packets(bytes.clone()));
        let mut likely = vec![1, kind, 0, 0, 3, 0, 20, 0, 16, 0];
        likely.extend(bytes);
        drop(packets(likely));
    }

    #[test]
    fn no_packet_is_lost_changed_or_overtaken(
        picks in proptest::collection::vec((0_usize..6, 1_usize..400), 1..40)
    ) {
        let mut number = 0_u32;
        let sent: Vec<Vec<u8>> = picks.iter().map(|(kind, length)| {
            let mut one = tcp(number, if *kind == 1 { 0x18 } else { 0x10 }, &vec![7; *length]);
            match kind {
                2 => one[25] ^= 1,
                3 => one[36] ^= 1,
                4 => one[8] = 7,
                5 => one = vec![0x45, 1, 2],
                _ => number = number.wrapping_add(u32::try_from(*length).unwrap()),
            }
            one
        }).collect();
        let got: Vec<Vec<u8>> = frames(&sent).into_iter().flat_map(packets).collect();
        prop_assert_eq!(got.len(), sent.len());
        for (got, sent) in got.iter().zip(&sent) {
            let (mut got, mut sent) = (got.clone(), sent.clone());
            if got.len() > 20 {
                // Segmentation assigns new IP ids; the originals were all equal.
                for bytes in [&mut got, &mut sent] {
                    bytes[4..6].fill(0);
                    bytes[10..12].fill(0);
                }
            }
            prop_assert_eq!(got, sent);
        }
    }
}
