//! The limit on open files: raised at start, shared out, given back to children.

use std::io;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Tells a child the soft limit that this process was started with.
const VARIABLE: &str = "LATH_SOFT_DESCRIPTOR_LIMIT";

/// The soft limit before it was raised.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit (`RLIMIT_NOFILE`) to the hard one; returns it. To be called once, at start.
///
/// # Errors
/// What `getrlimit(2)` or `setrlimit(2)` said.
pub fn raise() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    BEFORE.get_or_init(|| named_by_parent().unwrap_or(soft));
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

fn named_by_parent() -> Option<u64> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// Makes `command` know the limit that [`restore`] sets there.
pub fn hand_down(command: &mut Command) {
    if let Some(before) = BEFORE.get() {
        command.env(VARIABLE, before.to_string());
    }
}

/// Sets the soft limit that the ancestor of this process was started with. A program that loops over all
/// descriptors, or uses `select(2)`, is broken by a high limit, so only Lath's own processes have it.
///
/// # Errors
/// What `getrlimit(2)` or `setrlimit(2)` said.
pub fn restore() -> io::Result<()> {
    let Some(before) = named_by_parent() else {
        return Ok(());
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, before.min(hard), hard)?)
}

/// How many descriptors this process may have open.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Who uses the descriptors that strangers can make Lath open. The rest, a sixteenth at least, is for
/// Lath itself: stores, namespaces, listening sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Connections to the API: an eighth.
    Api,
    /// Connections from VPCs to the API: a thirty-second.
    VpcApi,
    /// Connections of the front door to the regions: an eighth.
    Relay,
    /// Readers of the status and of the metrics, half each: a thirty-second.
    Admin,
    /// Connections of instances to the metadata service: a sixteenth.
    Metadata,
    /// DNS over TCP, and questions that wait for other resolvers: a sixteenth.
    Resolver,
    /// TCP connections to the authoritative DNS server: a sixty-fourth.
    Authority,
    /// Connections of other regions to targets in this one, both halves: a sixteenth.
    Gateway,
    /// Connections of other regions that are not greeted yet: a sixty-fourth.
    Links,
    /// Connections to clusters, both halves, and to what their nodes and control planes ask of Lath: a thirty-second.
    Clusters,
    /// Connections of the proxy, to clients and targets together: three eighths.
    Proxy,
}

impl Purpose {
    /// How many descriptors this purpose may have: its part of [`limit`], and `most` at most.
    pub fn share(self, most: usize) -> usize {
        self.of(limit()).min(most)
    }

    fn of(self, limit: usize) -> usize {
        let sixty_fourths = match self {
            Self::Api | Self::Relay => 8,
            Self::Authority | Self::Links => 1,
            Self::Admin | Self::Clusters | Self::VpcApi => 2,
            Self::Metadata | Self::Resolver | Self::Gateway => 4,
            Self::Proxy => 24,
        };
        (limit / 64 * sixty_fourths).max(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_left_for_lath_itself() {
        let all = [
            Purpose::Api,
            Purpose::VpcApi,
            Purpose::Relay,
            Purpose::Admin,
            Purpose::Metadata,
            Purpose::Resolver,
            Purpose::Authority,
            Purpose::Gateway,
            Purpose::Links,
            Purpose::Clusters,
            Purpose::Proxy,
        ];
        for limit in [256, 1024, 20_000, 1 << 20] {
            let shared: usize = all.iter().map(|purpose| purpose.of(limit)).sum();
            assert!(shared <= limit - limit / 16, "{shared} of {limit}");
        }
    }
}
