//! The beginnings of TLS connections, from clients: see [`run`].

use lath_proxy::{Greeting, LONGEST_HELLO};
use rustls::server::Acceptor;

/// However reads and records cut a ClientHello, it asks for the same name, and for the one that rustls finds; what is not
/// whole yet wants more, within bounds; and more bytes never make something sound of what is malformed.
pub(super) fn run(bytes: &[u8]) {
    let whole = Greeting::read(bytes);
    let half = &bytes[..bytes.len() / 2];
    match Greeting::read(half) {
        Greeting::Partial(needs) => {
            assert!(needs > half.len() && needs <= LONGEST_HELLO, "{needs} of {}", half.len());
        }
        decided => assert_eq!(decided, whole, "more bytes change nothing"),
    }
    let Greeting::Whole(hello) = &whole else {
        return;
    };
    if let Some(cut) = in_smaller_records(bytes) {
        assert_eq!(Greeting::read(&cut), whole, "smaller records");
    }
    let mut acceptor = Acceptor::default();
    let mut left = bytes;
    if let Ok(1..) = acceptor.read_tls(&mut left)
        && let Ok(Some(accepted)) = acceptor.accept()
    {
        let theirs = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
        let ours = hello.server_name.as_deref().map(|name| name.trim_end_matches('.'));
        if let Some(theirs) = theirs {
            assert_eq!(ours, Some(theirs.trim_end_matches('.')));
        }
    }
}

/// The same handshake message, each record in two; `None` where something else follows it.
fn in_smaller_records(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut cut = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at_checked(5)?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let (fragment, rest) = rest.split_at_checked(length)?;
        let middle = fragment.len() / 2;
        for part in [&fragment[..middle], &fragment[middle..]] {
            if !part.is_empty() {
                cut.extend(&header[..3]);
                cut.extend(u16::try_from(part.len()).ok()?.to_be_bytes());
                cut.extend(part);
            }
        }
        bytes = rest;
    }
    (cut.len() <= LONGEST_HELLO).then_some(cut)
}
