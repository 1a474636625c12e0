//! The guard in front of hyper: its verdict does not depend on how reads cut the bytes, and a head that
//! it lets pass is framed in one way only. The first byte is the length of the pieces.

use lath_proxy::Guard;

pub(crate) fn run(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let mut whole = (Guard::default(), bytes.to_vec());
    whole.0.inspect(&mut whole.1);
    let mut cut = (Guard::default(), bytes.to_vec());
    for piece in cut.1.chunks_mut(usize::from(size).max(1)) {
        cut.0.inspect(piece);
    }
    assert_eq!(whole.0.offence().is_some(), cut.0.offence().is_some());
    match whole.0.offence() {
        Some(_) => assert!(whole.1.contains(&0), "an offence must be poisoned"),
        None => {
            assert_eq!(whole.1, bytes, "what is fine must pass as it is");
            check_head(bytes);
        }
    }
}

/// A strict look at the first head, if it is complete.
fn check_head(bytes: &[u8]) {
    let mut start = bytes;
    while let [b'\r', b'\n', rest @ ..] = start {
        start = rest;
    }
    let Some(end) = start.windows(4).position(|window| window == b"\r\n\r\n") else {
        return;
    };
    let head = String::from_utf8_lossy(&start[..end]);
    assert!(head.len() <= 60 * 1024 && !head.contains('\0'));
    let lines: Vec<&str> = head.split("\r\n").skip(1).collect();
    assert!(lines.len() <= 100);
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']));
    let named = |wanted: &str| {
        let name = |line: &&&str| {
            line.split(':')
                .next()
                .is_some_and(|it| it.trim().eq_ignore_ascii_case(wanted))
        };
        lines
            .iter()
            .filter(|line| line.contains(':'))
            .filter(name)
            .count()
    };
    assert!(
        named("content-length") + named("transfer-encoding") <= 1,
        "{head}"
    );
}
