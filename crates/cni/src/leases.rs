//! Which container has which address: one file per address, named by it.
//!
//! A lease is written before the link is made and removed after it is gone, so that no address is given twice whatever
//! is killed when. A lock serialises the plugin's processes, of which the runtime starts many at once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::request::PortMapping;

const LOCK: &str = "lock";
/// Holds the address that was given last.
const LAST: &str = "last";

/// The container and interface that an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub interface: String,
}

/// An address in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose it is.
    #[serde(flatten)]
    pub owner: Owner,
    /// NAMESPACE/NAME of the pod, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Ports of the node that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
}

/// The leases of a node. The lock is held until this is dropped.
#[derive(Debug)]
pub struct Leases {
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Leases {
    /// Opens the leases kept in `directory`, which is made if it is missing, and waits for the lock.
    ///
    /// # Errors
    /// The directory cannot be made or locked.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// All leases. A file that holds none, on a damaged disk, is the lease of no container: its address is not given
    /// out, and GC frees it.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(&self) -> io::Result<Vec<(Ipv4Addr, Option<Lease>)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Some(address) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            {
                let bytes = fs::read(entry.path())?;
                all.push((address, serde_json::from_slice(&bytes).ok()));
            }
        }
        all.sort_by_key(|(address, _)| *address);
        Ok(all)
    }

    /// The address of `owner`, if it has one.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn of(&self, owner: &Owner) -> io::Result<Option<Ipv4Addr>> {
        let all = self.all()?;
        let found = all
            .iter()
            .find(|(_, lease)| lease.as_ref().is_some_and(|it| it.owner == *owner));
        Ok(found.map(|(address, _)| *address))
    }

    /// Gives `lease`'s owner an address of `prefixes`: the one it has, else the free one that comes next after the one
    /// given last, so that an address rests as long as possible before it names another pod. `None` if all are taken.
    ///
    /// # Errors
    /// The lease cannot be written.
    pub fn take(&self, prefixes: &[Ipv4Net], lease: &Lease) -> io::Result<Option<Ipv4Addr>> {
        if let Some(address) = self.of(&lease.owner)? {
            return Ok(Some(address));
        }
        let taken: BTreeSet<_> = self
            .all()?
            .into_iter()
            .map(|(address, _)| address)
            .collect();
        let last = fs::read_to_string(self.directory.join(LAST)).ok();
        let last = last.and_then(|text| text.trim().parse::<Ipv4Addr>().ok());
        let Some(address) = next_free(prefixes, &taken, last) else {
            return Ok(None);
        };
        let bytes = serde_json::to_vec(lease).map_err(io::Error::other)?;
        self.write(&address.to_string(), &bytes)?;
        self.write(LAST, address.to_string().as_bytes())?;
        Ok(Some(address))
    }

    /// Gives `lease`'s owner this address, whose it may be: answers the owner that had it.
    ///
    /// # Errors
    /// The lease cannot be written.
    pub fn give(&self, address: Ipv4Addr, lease: &Lease) -> io::Result<Option<Owner>> {
        let all = self.all()?;
        let former = all.into_iter().find(|(known, _)| *known == address);
        let former = former.and_then(|(_, lease)| lease).map(|it| it.owner);
        let bytes = serde_json::to_vec(lease).map_err(io::Error::other)?;
        self.write(&address.to_string(), &bytes)?;
        Ok(former.filter(|it| *it != lease.owner))
    }

    /// Frees an address; one that is free already stays so.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn free(&self, address: Ipv4Addr) -> io::Result<()> {
        match fs::remove_file(self.directory.join(address.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A crash leaves the old file or the new one. The name does not parse as an address before it is whole.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (new, target) = (
            self.directory.join(format!(".{name}")),
            self.directory.join(name),
        );
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, target)
    }
}

/// Every address of a prefix is a pod's: a delegated prefix is no subnet with a network and a broadcast address.
fn next_free(
    prefixes: &[Ipv4Net],
    taken: &BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let prefixes: BTreeSet<_> = prefixes.iter().map(Ipv4Net::trunc).collect();
    let free = |after: Option<Ipv4Addr>| {
        let addresses = prefixes.iter().flat_map(|prefix| {
            let (first, last) = (u32::from(prefix.network()), u32::from(prefix.broadcast()));
            (first..=last).map(Ipv4Addr::from)
        });
        let mut candidates = addresses.filter(|address| after.is_none_or(|after| *address > after));
        candidates.find(|address| !taken.contains(address))
    };
    last.and_then(|last| free(Some(last)))
        .or_else(|| free(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(container: &str) -> Lease {
        let owner = Owner {
            container: container.to_owned(),
            interface: "eth0".to_owned(),
        };
        Lease {
            owner,
            pod: None,
            ports: Vec::new(),
        }
    }

    fn prefixes(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_given_in_turn_and_rest_after_use() {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        let prefixes = prefixes(&["10.0.1.8/30"]);
        let take = |name: &str| {
            leases
                .take(&prefixes, &lease(name))
                .unwrap()
                .map(|it| it.octets()[3])
        };
        assert_eq!(take("a"), Some(8));
        assert_eq!(take("a"), Some(8), "the same container keeps its address");
        assert_eq!(take("b"), Some(9));
        leases.free("10.0.1.8".parse().unwrap()).unwrap();
        assert_eq!(
            take("c"),
            Some(10),
            "not the address that was freed just now"
        );
        assert_eq!(take("d"), Some(11));
        assert_eq!(take("e"), Some(8), "round again");
        assert_eq!(take("f"), None);
    }

    #[test]
    fn an_address_that_is_given_by_name_passes_on() {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        let address = "10.0.1.7".parse().unwrap();
        assert_eq!(leases.give(address, &lease("a")).unwrap(), None);
        assert_eq!(leases.give(address, &lease("a")).unwrap(), None);
        let former = leases.give(address, &lease("b")).unwrap();
        assert_eq!(former, Some(lease("a").owner));
        assert_eq!(leases.of(&lease("a").owner).unwrap(), None);
        assert_eq!(leases.of(&lease("b").owner).unwrap(), Some(address));
    }

    #[test]
    fn a_second_prefix_continues_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        let one = prefixes(&["10.0.1.4/32"]);
        let two = prefixes(&["10.0.1.4/32", "10.0.0.0/32"]);
        assert!(leases.take(&one, &lease("a")).unwrap().is_some());
        assert_eq!(leases.take(&one, &lease("b")).unwrap(), None);
        assert_eq!(
            leases.take(&two, &lease("b")).unwrap(),
            Some(Ipv4Addr::new(10, 0, 0, 0))
        );
    }

    #[test]
    fn a_broken_file_is_an_address_in_use() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("10.0.1.4"), "").unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        assert_eq!(
            leases
                .take(&prefixes(&["10.0.1.4/32"]), &lease("a"))
                .unwrap(),
            None
        );
        assert_eq!(leases.all().unwrap(), [("10.0.1.4".parse().unwrap(), None)]);
    }
}
