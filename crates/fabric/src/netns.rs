//! Network namespaces: made on throwaway threads, kept as descriptors, pinned so that a successor finds them
//! after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use nix::sched::{CloneFlags, setns, unshare};

use crate::netlink::Netlink;
use crate::pins::Pins;
use crate::plan::NamespaceRef;
use crate::rtnetlink;

/// A handle on a network namespace: while one exists, so does the namespace.
#[derive(Debug, Clone)]
pub struct Netns(Arc<OwnedFd>);

impl Netns {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` does not show it.
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// A new, empty namespace.
    ///
    /// # Errors
    /// When the kernel refuses, such as without `CAP_SYS_ADMIN`.
    pub fn new() -> io::Result<Self> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::current()
        })
    }

    /// The namespace that is pinned at a path, or shown there by `/proc`.
    ///
    /// # Errors
    /// When there is no such file. Whether it is a namespace is seen when it is entered.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(File::open(path)?.into())))
    }

    /// Moves the calling thread there. Not for threads of an async runtime: tasks would wake up in the
    /// wrong network.
    ///
    /// # Errors
    /// What `setns(2)` said.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(self.as_fd(), CloneFlags::CLONE_NEWNET)?)
    }

    /// Runs `work` on a throwaway thread that stands in this namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or what `work` said.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_thread(|| {
            self.enter()?;
            work()
        })
    }

    /// Whether this process may enter it: with privilege over the user namespace that owns it.
    pub fn may_be_entered(&self) -> bool {
        self.run(|| Ok(())).is_ok()
    }

    /// Whether a user namespace below this process's owns it: its root has power over the network there.
    pub(crate) fn is_owned_below(&self) -> bool {
        let own = std::fs::metadata("/proc/self/ns/user");
        let (Ok(own), Ok(owner)) = (own, self.owner().and_then(identity)) else {
            return false;
        };
        (own.dev(), own.ino()) != owner
    }

    /// The user namespace that owns it.
    ///
    /// # Errors
    /// When that is neither this process's nor below it.
    #[expect(unsafe_code, reason = "no safe wrapper knows the requests of nsfs")]
    fn owner(&self) -> io::Result<OwnedFd> {
        // ioctl_ns(2): _IO(0xb7, 1).
        const NS_GET_USERNS: libc::Ioctl = 0xb701;
        // SAFETY: the request takes no argument and gives a descriptor that no other value owns.
        unsafe {
            match libc::ioctl(self.as_fd().as_raw_fd(), NS_GET_USERNS) {
                owner @ 0.. => Ok(OwnedFd::from_raw_fd(owner)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// The namespace that is pinned under `name` in a directory of pins, such as `run_dir/netns`: in this
    /// mount namespace or, where it is not, in that of any living process.
    ///
    /// # Errors
    /// `NotFound` when nothing is pinned there.
    pub fn pinned(directory: &Path, name: &str) -> io::Result<Self> {
        crate::pins::pinned(directory, name)
    }

    /// Whether the two are handles on the same namespace.
    pub fn is(&self, other: &Self) -> bool {
        let name = |netns: &Self| identity(netns).ok();
        name(self).is_some() && name(self) == name(other)
    }

    /// A descriptor of its own, close-on-exec.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn to_fd(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl From<OwnedFd> for Netns {
    fn from(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What identifies a file: its device and inode.
fn identity(file: impl AsFd) -> io::Result<(u64, u64)> {
    let status = nix::sys::stat::fstat(file)?;
    Ok((status.st_dev, status.st_ino))
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("lath-netns".into())
            .spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
    })
}

/// The namespaces of one owner. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces {
    pins: Pins,
    /// `None`: the process may not return there once a thread has left (rootless).
    host: Option<Netns>,
    /// Namespaces that are never anybody's of a plan: the host's, this process's and the machine's first one.
    outside: Vec<Netns>,
    known: Arc<RwLock<BTreeMap<String, Netns>>>,
}

impl Namespaces {
    /// Finds what a predecessor pinned under `run_dir/netns`. What `inhabited` names, because processes live
    /// in it, counts before a pin and is pinned.
    pub(crate) fn open(
        run_dir: &Path,
        host: Netns,
        inhabited: &BTreeMap<String, Netns>,
    ) -> io::Result<Self> {
        let pins = Pins::open(run_dir.join("netns"))?;
        let mut known = pins.find()?;
        for (name, netns) in inhabited {
            if known.get(name).is_none_or(|pinned| !pinned.is(netns)) {
                tracing::info!(name, "a network namespace was found by the processes in it");
                pins.pin(name, netns)?;
                known.insert(name.clone(), netns.clone());
            }
        }
        let ours = ["/proc/self/ns/net", "/proc/1/ns/net"];
        let ours = ours.iter().filter_map(|at| Netns::open(Path::new(at)).ok());
        let outside = std::iter::once(host.clone()).chain(ours).collect();
        let host = host.may_be_entered().then_some(host);
        Ok(Self {
            pins,
            host,
            outside,
            known: Arc::new(RwLock::new(known)),
        })
    }

    pub(crate) fn reaches_host(&self) -> bool {
        self.host.is_some()
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.read().keys().cloned().collect()
    }

    pub(crate) fn get(&self, place: &NamespaceRef) -> io::Result<Netns> {
        let NamespaceRef::Named(name) = place else {
            return self.host.clone().ok_or_else(|| {
                let words = "the host's network is out of reach";
                io::Error::new(io::ErrorKind::PermissionDenied, words)
            });
        };
        self.read().get(name).cloned().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no network {name} here"),
            )
        })
    }

    /// Who has this namespace already, other than `name`, in words.
    pub(crate) fn holder(&self, netns: &Netns, name: &str) -> Option<String> {
        if self.outside.iter().any(|outside| outside.is(netns)) {
            return Some("the host".to_owned());
        }
        let known = self.read();
        let mut others = known.iter().filter(|(other, _)| *other != name);
        let holder = others.find(|(_, it)| it.is(netns));
        holder.map(|(other, _)| other.clone())
    }

    pub(crate) fn create(&self, name: &str) -> io::Result<()> {
        if self.get(&NamespaceRef::Named(name.to_owned())).is_ok() {
            return Ok(());
        }
        let netns = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            // Before anybody can find it: in a namespace without any address the kernel lets a socket be
            // bound to every one (it takes them all for broadcast) and then forgets it as a source.
            rtnetlink::raise_loopback(&mut Netlink::route()?)?;
            Netns::current()
        })?;
        self.put(name, netns)
    }

    /// Pins a namespace under a name, in place of what is pinned there.
    pub(crate) fn put(&self, name: &str, netns: Netns) -> io::Result<()> {
        self.pins.pin(name, &netns)?;
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), netns);
        Ok(())
    }

    /// Pins again what others have unpinned; the names of those.
    pub(crate) fn pin_again(&self) -> io::Result<Vec<String>> {
        let known = self.read().clone();
        let mut lost = known;
        lost.retain(|name, _| !self.pins.has(name));
        for (name, netns) in &lost {
            self.pins.pin(name, netns)?;
        }
        Ok(lost.into_keys().collect())
    }

    pub(crate) fn delete(&self, name: &str) -> io::Result<()> {
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.pins.remove(name)
    }

    /// Removes the directory of pins, which must be empty.
    pub(crate) fn remove_directory(&self) -> io::Result<()> {
        self.pins.remove_directory()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Netns>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::FabricNetwork;
    use lath_net::Network as _;

    #[test]
    fn a_new_namespace_lets_no_socket_have_an_address_it_has_not() {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let namespaces = Namespaces::open(
            directory.path(),
            Netns::current().unwrap(),
            &BTreeMap::new(),
        )
        .unwrap();
        let (vpc, at) = (
            lath_model::id::VpcId::random(),
            "10.7.0.2:53".parse().unwrap(),
        );
        namespaces.create(vpc.as_str()).unwrap();
        let network = FabricNetwork::start(namespaces.clone(), false).unwrap();
        let place = lath_net::Place::Vpc(vpc.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let socket = runtime
            .block_on(network.socket(&place, socket2::Domain::IPV4, lath_net::Kind::Udp))
            .unwrap();
        let bound = socket.bind(&std::net::SocketAddr::into(at));
        namespaces.delete(vpc.as_str()).unwrap();
        assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
