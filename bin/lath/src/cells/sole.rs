//! The one WAN of a host: its uplink's addresses and the routes of public addresses exist once in the host's
//! network, so that a second Lath with `--regions` is refused before it touches anything.
//!
//! The mark of a living Lath is an abstract socket, whose name belongs to the host's network namespace and is
//! free again when its process ends, however that happens. A program that connects reads which Lath it is.

use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

const NAME: &[u8] = b"lath-wan";
/// How long another Lath has to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of what it says, in bytes.
const LONGEST: u64 = 4096;

/// Marks this process as the one with the WAN until it ends.
///
/// # Errors
/// When another Lath has one, or has left one: who, and what to do.
pub(crate) fn mark(data_dir: &Path, owner: &str) -> anyhow::Result<()> {
    let at = SocketAddr::from_abstract_name(NAME)?;
    let listener = match UnixListener::bind_addr(&at) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
            "another Lath with --regions runs on this host: {}. A host has one WAN: stop that one, or start \
             this one in a network namespace of its own",
            who(&at)
        ),
        other => other.context("the WAN of this host cannot be marked as taken")?,
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
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    match ask() {
        Ok(text) if !text.is_empty() => text,
        _ => "it does not say which".to_owned(),
    }
}
