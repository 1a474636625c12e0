//! The kernel as the fabric sees it: namespaces by name, read and changed one operation at a time.

mod fake;
mod linux;
mod remembered;

use std::collections::BTreeSet;
use std::io;

pub use fake::FakeKernel;
pub(crate) use linux::LinuxKernel;
pub(crate) use remembered::Remembered;

use crate::operation::Operation;
use crate::plan::{Namespace, NamespaceRef};

/// What `apply` needs of a kernel.
pub trait Kernel {
    /// Whether the host's own namespace can be changed: not when rootless.
    fn reaches_host(&self) -> bool {
        true
    }

    /// The namespaces that this owner made and that still exist.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn namespaces(&mut self) -> io::Result<BTreeSet<String>>;

    /// Makes an empty namespace, or leaves the one of that name.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn create_namespace(&mut self, name: &str) -> io::Result<()>;

    /// Gives a namespace up: it is gone when the last socket and process in it are.
    ///
    /// # Errors
    /// When the kernel refuses. One that does not exist is no error.
    fn delete_namespace(&mut self, name: &str) -> io::Result<()>;

    /// What is this owner's in a namespace, and the values of the sysctls that `wanted` names.
    ///
    /// # Errors
    /// `NotFound` for an unknown namespace, or what the kernel said.
    fn observe(&mut self, place: &NamespaceRef, wanted: &Namespace) -> io::Result<Namespace>;

    /// Does one operation. What is already as wanted is no error.
    ///
    /// # Errors
    /// `NotFound` for an unknown namespace, or what the kernel said.
    fn perform(&mut self, place: &NamespaceRef, operation: &Operation) -> io::Result<()>;
}
