use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many resolvers are asked (`MAXNS` of resolv.conf(5)).
const MOST: usize = 3;

/// How long what a file said is believed.
const FRESH: Duration = Duration::from_secs(5);

/// The largest file that is read.
const MAX_FILE: u64 = 64 << 10;

/// The host's resolvers, which are asked for every name that is not Lath's.
#[derive(Debug, Clone)]
pub struct Upstreams(Arc<Source>);

#[derive(Debug)]
enum Source {
    Fixed(Vec<SocketAddr>),
    File {
        path: PathBuf,
        read: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    },
}

impl Upstreams {
    /// These, in this order; at most three.
    pub fn fixed(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(Arc::new(Source::Fixed(
            addresses.into_iter().take(MOST).collect(),
        )))
    }

    /// The name servers of `/etc/resolv.conf`, which is read again when it may have changed.
    pub fn host() -> Self {
        Self::file("/etc/resolv.conf")
    }

    /// The name servers of a file in the format of resolv.conf(5).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Source::File {
            path: path.into(),
            read: Mutex::new(None),
        }))
    }

    /// The servers to ask now, in this order. May be empty.
    pub(crate) fn now(&self) -> Vec<SocketAddr> {
        match &*self.0 {
            Source::Fixed(addresses) => addresses.clone(),
            Source::File { path, read } => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                match &*read {
                    Some((at, addresses)) if at.elapsed() < FRESH => addresses.clone(),
                    _ => read.insert((Instant::now(), name_servers(path))).1.clone(),
                }
            }
        }
    }
}

fn name_servers(path: &Path) -> Vec<SocketAddr> {
    let read = || {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_FILE), &mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    match read() {
        Ok(text) => parse(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the host's resolvers are not known");
            Vec::new()
        }
    }
}

/// The `nameserver` lines. Scoped IPv6 addresses (`fe80::1%eth0`) are left out: a scope is a link of the
/// host, and rarely the only resolver.
fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let is_server = words.next() == Some("nameserver");
            let address = words.next().filter(|_| is_server);
            address?.parse::<IpAddr>().ok()
        })
        .map(|address| SocketAddr::new(address, 53))
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_names_up_to_three() {
        for (name, text, want) in [
            ("empty", "", vec![]),
            (
                "usual",
                "search x\nnameserver 10.0.0.2\noptions edns0\n",
                vec!["10.0.0.2:53"],
            ),
            (
                "comments",
                "# nameserver 1.1.1.1\n;nameserver 1.1.1.1\n nameserver\t9.9.9.9 # x",
                vec!["9.9.9.9:53"],
            ),
            (
                "IPv6",
                "nameserver ::1\nnameserver fe80::1%eth0",
                vec!["[::1]:53"],
            ),
            (
                "junk",
                "nameserver\nnameserver x\nnameservers 1.1.1.1",
                vec![],
            ),
            (
                "four",
                "nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4",
                vec!["1.0.0.1:53", "1.0.0.2:53", "1.0.0.3:53"],
            ),
        ] {
            let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_names_nobody() {
        assert!(Upstreams::file("/nonexistent/resolv.conf").now().is_empty());
    }
}
