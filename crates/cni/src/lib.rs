//! The network plugin of Kubernetes nodes: [CNI 1.1.0](https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md).
//!
//! It follows the Amazon VPC CNI with prefix delegation: the fabric routes prefixes of the subnet (a /28 each) to the
//! node's interface, and the plugin gives a pod one address of them. The pod has ADDRESS/32 on a veth, a default route by
//! 169.254.1.1 and a permanent neighbour entry for it; the node has a /32 route to the other end. So the VPC reaches a pod
//! by the pod's own address, no packet is translated or encapsulated, and an IP target is a pod.
//!
//! The container runtime calls the plugin once per pod and operation. All state is files: [`leases`] says which
//! container has which address, and the kernel has the links. Each operation compares both with what is asked and
//! repairs, so that ADD, DEL, CHECK and GC can be repeated, and a call that was killed half way is made good by the next.

mod answer;
mod branches;
mod leases;
mod loopback;
mod namespace;
mod nftables;
mod plugin;
mod pod;
mod ports;
mod request;

use std::io::{Read, Write};
use std::process::ExitCode;

pub use answer::{Code, Failure};
pub use leases::{Lease, Leases, Owner};
pub use request::{
    Attachment, Command, MAXIMUM_CONFIGURATION, Network, PortMapping, Request, RuntimeConfiguration,
};

/// Names by which the binary is called as a plugin: the `type` of a network configuration.
pub const PLUGIN_NAMES: [&str; 2] = ["lath-cni", "loopback"];

/// Answers as a plugin if the program was called by a plugin's name (`argv[0]`).
pub fn called_as_plugin() -> Option<ExitCode> {
    let name = program();
    PLUGIN_NAMES
        .into_iter()
        .any(|it| it == name)
        .then(plugin_main)
}

fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name();
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// Does what the environment and standard input ask for, and writes the answer to standard output, as the
/// specification has it. A program called `loopback` is the plugin of that name, any other is `lath-cni`.
pub fn plugin_main() -> ExitCode {
    let loopback = program() == "loopback";
    let mut input = Vec::new();
    let limit = u64::try_from(MAXIMUM_CONFIGURATION).unwrap_or(u64::MAX) + 1;
    let outcome = std::io::stdin()
        .take(limit)
        .read_to_end(&mut input)
        .map_err(|error| Failure::new(Code::Io, format!("cannot read the configuration: {error}")))
        .and_then(|_| {
            let variables = |name: &str| std::env::var(name).ok();
            let request = Request::read(&variables, &input)?;
            if loopback {
                loopback::run(&request)
            } else {
                plugin::run(&request)
            }
        });
    let (text, code) = match outcome {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(failure) => (
            failure.to_json(request::version_of(&input)),
            ExitCode::FAILURE,
        ),
    };
    // A runtime that closed the pipe does not want the answer.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}
