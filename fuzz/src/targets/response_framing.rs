//! The guard over targets' responses: its verdict does not depend on how reads cut the bytes, and a head that it
//! lets pass is framed in one way only. The first byte is the length of the pieces, its highest bit says that
//! the request was a HEAD.

use lath_proxy::{Guard, Interim, Offence};

pub(crate) fn run(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    let (size, to_head) = (usize::from(kind & 0x7f).max(1), kind & 0x80 != 0);
    let whole = follow(bytes, bytes.len().max(1), to_head);
    let cut = follow(bytes, size, to_head);
    assert_eq!(whole.offence.is_some(), cut.offence.is_some());
    assert!(whole.sound <= cut.sound, "pieces show more of what is sound");
    let statuses = |seen: &Seen| -> Vec<u16> { seen.interim.iter().map(|it| it.status).collect() };
    if whole.offence.is_none() {
        assert_eq!(whole.sound, bytes.len());
        assert_eq!(statuses(&whole), statuses(&cut));
        check_last_head(bytes, whole.interim.len());
    }
    for interim in &whole.interim {
        assert!((100..200).contains(&interim.status) && interim.status != 101);
        assert!(interim.lines.len() <= 128 * 1024);
    }
}

struct Seen {
    offence: Option<Offence>,
    sound: usize,
    interim: Vec<Interim>,
}

fn follow(bytes: &[u8], size: usize, to_head: bool) -> Seen {
    let mut guard = Guard::over_responses();
    guard.expect_response(to_head);
    let sound = bytes.chunks(size).map(|piece| guard.advance(piece)).sum();
    Seen {
        offence: guard.offence(),
        sound,
        interim: guard.take_interim(),
    }
}

/// A strict look at the head after the interim ones, if it is complete and uses CR LF.
fn check_last_head(bytes: &[u8], interim: usize) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text.replace("\r\n", "").contains('\n') {
        return;
    }
    let Some(head) = text.trim_start_matches("\r\n").split("\r\n\r\n").nth(interim) else {
        return;
    };
    let named = |name: &str| {
        let is_named = |line: &&str| {
            let found = line.split_once(':');
            found.is_some_and(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        };
        head.split("\r\n").skip(1).filter(is_named).count()
    };
    assert!(named("content-length") + named("transfer-encoding") <= 1, "{head}");
}
