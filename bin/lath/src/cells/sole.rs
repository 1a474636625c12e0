//! A host has one WAN: the addresses of its uplink and the routes of public addresses exist once in the host's
//! network. So a second Lath with `--regions` is refused before it changes anything.
//!
//! A running Lath holds an abstract socket. Its name belongs to the host's network namespace, and the kernel frees it
//! when the process ends in any way. A program that connects reads which Lath holds it.

use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

const NAME: &[u8] = b"lath-wan";
/// How long another Lath has to identify itself.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest identification that is read, in bytes.
const MAX_REPLY: u64 = 4096;

/// Claims the WAN for this process until it ends.
///
/// # Errors
/// When another Lath has a WAN or has left one behind; the text says which Lath and what to do.
pub(crate) fn mark(data_dir: &Path, owner: &str) -> anyhow::Result<()> {
    let at = SocketAddr::from_abstract_name(NAME)?;
    let listener = match UnixListener::bind_addr(&at) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
            "another Lath with --regions runs on this host: {}. A host has one WAN: stop that one, or start \
             this one in a network namespace of its own",
            who(&at)
        ),
        other => other.context("the WAN of this host cannot be claimed")?,
    };
    if let Some((link, other)) = lath_fabric::wan::foreign_uplink(owner)? {
        bail!(
            "the WAN of another Lath (owner {other}), which was killed, is still in this host's network, \
             perhaps with regions that live: start `lath serve` with its data directory and stop it; if \
             that directory is gone, remove its link with `ip link delete {link}`"
        );
    }
    let words = format!(
        "process {}, data directory {}",
        std::process::id(),
        data_dir.display()
    );
    std::thread::Builder::new()
        .name("lath-sole".into())
        .spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _it_may_be_gone = stream.write_all(words.as_bytes());
            }
        })?;
    Ok(())
}

fn who(at: &SocketAddr) -> String {
    let ask = || -> io::Result<String> {
        let stream = UnixStream::connect_addr(at)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let mut text = String::new();
        stream.take(MAX_REPLY).read_to_string(&mut text)?;
        Ok(text)
    };
    match ask() {
        Ok(text) if !text.is_empty() => text,
        _ => "it does not identify itself".to_owned(),
    }
}
