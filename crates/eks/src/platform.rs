use std::sync::OnceLock;

use lath_kubernetes::Binaries;
use lath_kubernetes::binaries::BinariesError;

/// What the host offers to clusters.
pub struct Platform {
    find: Box<dyn Fn() -> Result<Binaries, BinariesError> + Send + Sync>,
    is_port_free: Box<dyn Fn(u16) -> bool + Send + Sync>,
    found: OnceLock<Binaries>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Platform").field(&self.found).finish()
    }
}

impl Platform {
    /// The host as it is: `find` finds the programs of Kubernetes, `is_port_free` says whether nothing listens on a port
    /// of the loopback address.
    pub fn new(
        find: impl Fn() -> Result<Binaries, BinariesError> + Send + Sync + 'static,
        is_port_free: impl Fn(u16) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            find: Box::new(find),
            is_port_free: Box::new(is_port_free),
            found: OnceLock::new(),
        }
    }

    /// The programs of Kubernetes. Once they are found, this process does not look again: what it knows of their
    /// version is what it runs.
    pub(crate) fn binaries(&self) -> Result<&Binaries, BinariesError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = (self.find)()?;
        Ok(self.found.get_or_init(|| found))
    }

    pub(crate) fn is_port_free(&self, port: u16) -> bool {
        (self.is_port_free)(port)
    }
}
