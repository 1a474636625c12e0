//! The Huffman code of HPACK (RFC 7541 appendix B). It is canonical: the symbols in order of their codes, and how
//! many codes there are of each length, say all of it.

/// The octets in the order of their codes. The last code is the end of string (EOS), which never occurs.
const SYMBOLS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57,
    61, 65, 95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71,
    72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119,
    120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91,
    93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161,
    167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156,
    160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,
    135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174,
    175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225,
    236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242,
    243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252,
    253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 127, 220, 249, 10, 13, 22,
];

/// Lengths of codes in bits, and the number of codes of each; EOS is among the last.
const LENGTHS: [(u32, u32); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

/// The codes of one length.
#[derive(Debug, Clone, Copy)]
struct Row {
    bits: u32,
    /// The first code, in the highest bits.
    first: u64,
    /// What follows the last code, in the highest bits.
    end: u64,
    /// The place of the first code's symbol.
    place: usize,
}

const ROWS: [Row; LENGTHS.len()] = rows();

const fn rows() -> [Row; LENGTHS.len()] {
    let mut rows = [Row {
        bits: 0,
        first: 0,
        end: 0,
        place: 0,
    }; LENGTHS.len()];
    let (mut code, mut place, mut at) = (0, 0, 0);
    while at < LENGTHS.len() {
        let (bits, count) = LENGTHS[at];
        let end = code + ((count as u64) << (32 - bits));
        rows[at] = Row {
            bits,
            first: code,
            end,
            place,
        };
        code = end;
        place += count as usize;
        at += 1;
    }
    rows
}

/// What an octet's worth of bits begins with: the symbol and the length of its code, which is 0 where the code is
/// longer than that.
const SHORT: [(u8, u8); 256] = short();

const fn short() -> [(u8, u8); 256] {
    let mut table = [(0, 0); 256];
    let (mut at, mut row) = (0, 0);
    while at < 256 {
        let window = (at as u64) << 24;
        while window >= ROWS[row].end {
            row += 1;
        }
        let Row {
            bits, first, place, ..
        } = ROWS[row];
        if bits <= 8 {
            let place = place + ((window - first) >> (32 - bits)) as usize;
            table[at] = (SYMBOLS[place], bits as u8);
        }
        at += 1;
    }
    table
}

/// Decodes a string; `None` when it is none: EOS occurs, or what fills the last octet is no beginning of EOS
/// shorter than an octet.
pub(super) fn decode(coded: &[u8], into: &mut Vec<u8>) -> Option<()> {
    into.reserve(coded.len() * 8 / 5);
    // Bits that were read and not used, in the highest bits, with zeros behind them.
    let (mut window, mut held) = (0_u64, 0_u32);
    let mut rest = coded;
    while let Some((four, after)) = rest.split_first_chunk() {
        window |= u64::from(u32::from_be_bytes(*four)) << (32 - held);
        held += 32;
        rest = after;
        while held > 32 {
            let (symbol, bits) = first(window)?;
            into.push(symbol?);
            window <<= bits;
            held -= bits;
        }
    }
    let mut rest = rest.iter();
    loop {
        while held <= 56 {
            let Some(octet) = rest.next() else { break };
            window |= u64::from(*octet) << (56 - held);
            held += 8;
        }
        let ones = u64::MAX.checked_shr(held).unwrap_or(0);
        let (symbol, bits) = first(window | ones)?;
        if bits > held {
            return (held < 8 && window | ones == u64::MAX).then_some(());
        }
        into.push(symbol?);
        window <<= bits;
        held -= bits;
    }
}

/// The symbol that these bits begin with, unless it is EOS, and the length of its code.
fn first(window: u64) -> Option<(Option<u8>, u32)> {
    match SHORT[usize::from(window.to_be_bytes()[0])] {
        (_, 0) => long(window >> 32),
        (symbol, bits) => Some((Some(symbol), u32::from(bits))),
    }
}

/// As [`first`], of 32 bits.
fn long(padded: u64) -> Option<(Option<u8>, u32)> {
    let row = ROWS.iter().find(|row| padded < row.end)?;
    let place = row.place + usize::try_from((padded - row.first) >> (32 - row.bits)).ok()?;
    Some((SYMBOLS.get(place).copied(), row.bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex: &str) -> Option<String> {
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let coded: Vec<u8> = (0..hex.len()).step_by(2).map(octet).collect();
        let mut text = Vec::new();
        decode(&coded, &mut text)?;
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_examples_of_rfc_7541_appendix_c() {
        for (coded, want) in [
            ("", Some("")),
            ("f1e3c2e5f23a6ba0ab90f4ff", Some("www.example.com")),
            ("a8eb10649cbf", Some("no-cache")),
            ("25a849e95ba97d7f", Some("custom-key")),
            ("25a849e95bb8e8b4bf", Some("custom-value")),
            ("6402", Some("302")),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                Some("Mon, 21 Oct 2013 20:13:21 GMT"),
            ),
            (
                "9d29ad171863c78f0b97c8e9ae82ae43d3",
                Some("https://www.example.com"),
            ),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                Some("foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
            ),
            // Too much filling, filling with zeros, the end of string.
            ("f1e3c2e5f23a6ba0ab90f4ffff", None),
            ("00", None),
            ("fffffffc", None),
            ("ffffffff", None),
        ] {
            assert_eq!(text(coded).as_deref(), want, "{coded}");
        }
    }
    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for octet in text {
            let place = SYMBOLS.iter().position(|symbol| symbol == octet).unwrap();
            let row = ROWS.iter().rfind(|row| row.place <= place).unwrap();
            let code = (row.first >> (32 - row.bits)) + (place - row.place) as u64;
            bits += &format!("{code:0width$b}", width = row.bits as usize);
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let octet = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
        (0..bits.len()).step_by(8).map(octet).collect()
    }

    #[test]
    fn every_octet_is_decoded_wherever_it_stands() {
        for octet in 0..=u8::MAX {
            for before in 0..10 {
                let text = [&b"a~0\x16Z/e{9-"[..before], &[octet], b"x\xffy"].concat();
                let mut decoded = Vec::new();
                assert_eq!(decode(&encoded(&text), &mut decoded), Some(()), "{text:?}");
                assert_eq!(decoded, text);
            }
        }
    }
}
