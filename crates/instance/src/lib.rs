//! Instances: sets of processes with a network, files and a first process of their own.
//!
//! [`Instances`] starts, stops and removes them and finds them again after a restart of Lath. An
//! instance is what AWS's would be to the programs in it: root, a writable root file system, a console,
//! user data run once as cloud-init runs it, a metadata service ([`metadata`]). It is no virtual
//! machine: it shares the host's kernel. Namespaces, a capability bounding set, a system call filter and
//! a root built from an allow-list keep its root from the host; no debugger works in it (`ptrace` is
//! refused), and it cannot mount. A node of a cluster ([`Kind::Node`]) can: it has a user namespace of its own, and its
//! root is an ordinary user of the host.
//!
//! Two processes of Lath's binary stand behind an instance: a supervisor on the host's side, which keeps
//! the console and the record and holds a lock, and process 1 inside. As root they outlive Lath and are
//! found again by that record. Rootless (in a user namespace) they end with Lath, because a new Lath
//! would have no power over the old one's namespaces: it boots the instance again, from its kept files
//! and without running user data again, as after a failure of the host.
//!
//! Networks are not made here: an instance gets its network namespace, wired, from the fabric. A node makes an empty one,
//! which the fabric wires from outside.
//!
//! ```no_run
//! # async fn example(spec: lath_instance::InstanceSpec) -> Result<(), lath_instance::InstanceError> {
//! use lath_instance::{Instances, InstancesConfig};
//! let instances = Instances::open(InstancesConfig::new("/var/lib/lath", "/run/lath")).await?;
//! instances.ensure_running(&spec).await?;
//! let console = instances.console(&spec.id);
//! # Ok(()) }
//! ```

mod boot;
mod cgroup;
mod channel;
mod cloud_init;
mod confine;
mod console;
pub mod doctor;
mod etc;
mod exec;
mod furnish;
#[doc(hidden)]
pub mod fuzzing;
mod ids;
mod init;
mod instances;
mod launcher;
mod layout;
mod limits;
mod listeners;
mod living;
pub mod metadata;
mod node;
mod process;
mod programs;
mod record;
mod root;
mod setup;
mod supervisor;
mod tree;
mod trust;
mod units;

pub use boot::{InstanceSpec, Kind, Limits, RootSource};
pub use console::CONSOLE_BYTES;
pub use exec::{CANNOT_ENTER, ExecRequest};
pub use instances::{InstanceError, Instances, InstancesConfig, is_rootless};
pub use launcher::{LAUNCHER_ARGUMENT, exec_in_instance, instance_init_main};
pub use listeners::{Bound, Listeners};
pub use living::{has_files, kill_all};
pub use programs::{PROGRAM_NAMES, called_as_program};
pub use setup::{File, HostDirectory, Setup, SharedFile, Unit};
