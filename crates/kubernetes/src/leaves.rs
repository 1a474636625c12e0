//! Certificates that a workload has in files: each with its key in one file, so that a program which reads it while it is
//! replaced sees both of one making.
//!
//! The programs of Kubernetes look at these files again by themselves: servers within a minute, clients within five
//! (client-go's `CertCallbackRefreshDuration`). So certificates are renewed without a boot.

use std::net::IpAddr;
use std::path::Path;

use lath_instance::File;
use lath_model::Timestamp;
use sha2::{Digest as _, Sha256};
use time::Duration;

use crate::files::secret;
use crate::pki::{Authority, LEAF_DAYS, PkiError};

/// The directory of the files, in control planes and nodes. The host has it, to renew them.
pub const CERTIFICATES: &str = "/etc/kubernetes/pki";
/// The first word of a file.
const MARK: &str = "# lath";
/// The first line of a file is no longer.
const LONGEST_MARK: usize = 128;
/// How long the certificates of a control plane are valid.
pub(crate) const OF_PLANES: Duration = Duration::days(LEAF_DAYS);
/// How long those of nodes are: they cannot be revoked, and the root of a node can copy its key.
pub(crate) const OF_NODES: Duration = Duration::hours(24);

/// A certificate that a workload needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The name of its file, without the ending.
    name: &'static str,
    subject: String,
    group: Option<&'static str>,
    server: Option<(Vec<String>, Vec<IpAddr>)>,
    lifetime: Duration,
}

impl Needed {
    /// A client's.
    pub(crate) fn client(
        name: &'static str,
        user: &str,
        group: Option<&'static str>,
        lifetime: Duration,
    ) -> Self {
        Self {
            name,
            subject: user.to_owned(),
            group,
            server: None,
            lifetime,
        }
    }

    /// A server's, for those names and addresses.
    pub(crate) fn server(
        name: &'static str,
        subject: &str,
        (names, addresses): (&[&str], &[IpAddr]),
        lifetime: Duration,
    ) -> Self {
        let names = names.iter().map(|it| (*it).to_owned()).collect();
        Self {
            name,
            subject: subject.to_owned(),
            group: None,
            server: Some((names, addresses.to_vec())),
            lifetime,
        }
    }

    /// The name of its file in [`CERTIFICATES`].
    pub fn file_name(&self) -> String {
        format!("{}.pem", self.name)
    }

    /// The content that the file should have; nothing where what is `there` is good and a third of its life is not over.
    ///
    /// # Errors
    /// When the authority cannot sign.
    pub fn renewed(
        &self,
        authority: &Authority,
        there: &[u8],
        now: Timestamp,
    ) -> Result<Option<String>, PkiError> {
        let digest = self.digest(authority);
        let seconds = now.as_millis() / 1000;
        let left = expiry(there, &digest).map_or(0, |until| until - seconds);
        let life = self.lifetime.whole_seconds();
        // One from the future was made by another clock.
        if left <= life && left > life - life / 3 {
            return Ok(None);
        }
        let leaf = match &self.server {
            None => authority.client_for(&self.subject, self.group, self.lifetime, now),
            Some((names, addresses)) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                authority.server_for(&self.subject, (&names, addresses), self.lifetime, now)
            }
        }?;
        let (certificate, key) = (&leaf.certificate, &leaf.key);
        let until = seconds + life;
        Ok(Some(format!("{MARK} {digest} {until}\n{certificate}{key}")))
    }

    /// As it is written at a boot.
    pub(crate) fn file(&self, authority: &Authority) -> Result<File, PkiError> {
        let content = self.renewed(authority, b"", authority.now())?;
        let path = Path::new(CERTIFICATES).join(self.file_name());
        Ok(secret(path, &content.unwrap_or_default()))
    }

    /// Differs when anything of the certificate does.
    fn digest(&self, authority: &Authority) -> String {
        let all = format!("{self:?} {}", authority.certificate());
        let digest = Sha256::digest(all);
        let digest = digest.iter().take(16);
        digest.map(|byte| format!("{byte:02x}")).collect()
    }
}

/// When what is in a file expires, in seconds, if it is the certificate of that digest. The root of a node can write there
/// what it likes: it harms its own node.
fn expiry(there: &[u8], digest: &str) -> Option<i64> {
    let end = there
        .iter()
        .take(LONGEST_MARK)
        .position(|it| *it == b'\n')?;
    let line = std::str::from_utf8(&there[..end]).ok()?;
    let (found, until) = line.strip_prefix(MARK)?.trim().split_once(' ')?;
    (found == digest).then(|| until.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki;
    use lath_clock::Clock;

    #[test]
    fn a_certificate_is_renewed_after_a_third_of_its_life() {
        let keys = pki::generate(lath_clock::Clock::system().now()).unwrap();
        let authority = Authority::open(&keys, &Clock::system()).unwrap();
        let needed = Needed::client("kubelet-client", "system:node:a", None, OF_NODES);
        let now = Clock::system().now();
        let hours = |count: u64| now.plus(std::time::Duration::from_secs(3600 * count));
        let first = needed.renewed(&authority, b"", now).unwrap().unwrap();
        let is_good = |needed: &Needed, authority: &Authority, at| {
            let renewed = needed.renewed(authority, first.as_bytes(), at);
            renewed.unwrap().is_none()
        };
        assert!(is_good(&needed, &authority, now));
        assert!(is_good(&needed, &authority, hours(7)));
        assert!(!is_good(&needed, &authority, hours(9)));
        let other = pki::generate(lath_clock::Clock::system().now()).unwrap();
        assert!(!is_good(
            &needed,
            &Authority::open(&other, &Clock::system()).unwrap(),
            now
        ));
        let renamed = Needed::client("kubelet-client", "system:node:b", None, OF_NODES);
        assert!(!is_good(&renamed, &authority, now));
        for rubbish in ["", "# lath", "# lath x\n", "\n", "# lath  99999999999\n"] {
            let renewed = needed.renewed(&authority, rubbish.as_bytes(), now);
            assert!(renewed.unwrap().is_some());
        }
    }
}
