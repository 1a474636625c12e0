//! What a plugin is asked: variables of the environment, and a configuration on standard input.

use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::answer::{Code, Failure};

/// The largest configuration that is read, in bytes.
pub const MAXIMUM_CONFIGURATION: usize = 1 << 20;

/// Versions of the specification that the plugin speaks, oldest first.
pub(crate) const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Emptied when the node boots, which is when its pods are gone too.
const DEFAULT_DATA_DIR: &str = "/run/lath-cni";

/// An operation of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Gives a container an address and a link.
    Add,
    /// Takes both away.
    Del,
    /// Fails unless both are as ADD left them.
    Check,
    /// Removes what belongs to no container of the list.
    Gc,
    /// Fails when ADD would.
    Status,
    /// Says which versions of the specification are spoken.
    Version,
}

/// One call of the plugin.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for GC, STATUS and VERSION.
    pub container: String,
    /// `CNI_IFNAME`, the interface's name in the container; empty as above.
    pub interface: String,
    /// `CNI_NETNS`; may be absent for DEL.
    pub netns: Option<PathBuf>,
    /// `K8S_POD_NAMESPACE/K8S_POD_NAME` of `CNI_ARGS`, for people who read the leases.
    pub pod: Option<String>,
    /// `K8S_POD_UID` of `CNI_ARGS`.
    pub pod_uid: Option<String>,
    /// The configuration.
    pub network: Network,
}

/// The members of a network configuration that the plugin reads. Unknown ones are ignored, as the specification asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The version that the answer is written in.
    pub cni_version: String,
    /// The network's name.
    #[serde(default)]
    pub name: String,
    /// Where leases are kept.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Prefixes that are routed to this node.
    #[serde(default)]
    pub prefixes: Vec<Ipv4Net>,
    /// A file with a JSON list of prefixes, read in addition at each call: it grows while the node runs.
    #[serde(default)]
    pub prefixes_file: Option<PathBuf>,
    /// A file that says which pods have an interface of their own, read as `prefixes_file` is.
    #[serde(default)]
    pub branches_file: Option<PathBuf>,
    /// The MTU of pods in bytes; by default that of Ethernet.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// What the runtime adds where the configuration declares a capability.
    #[serde(default)]
    pub runtime_config: RuntimeConfiguration,
    /// GC: what is still there.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<Attachment>>,
}

/// What the runtime knows of one pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfiguration {
    /// Ports of the node that lead to the pod (`hostPort`).
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
    /// The pod's annotations.
    #[serde(default, rename = "io.kubernetes.cri.pod-annotations")]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// A port of the node that leads to one of the pod. The specification of CNI writes `hostPort`; containerd writes
/// `HostPort`, since the reference plugins, in Go, read both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The node's port. Zero maps nothing: containerd lists each port of a container, mapped or not.
    #[serde(default, alias = "HostPort")]
    pub host_port: u16,
    /// The pod's port.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`; empty means `tcp`.
    #[serde(default, alias = "Protocol")]
    pub protocol: String,
    /// The only address of the node that the port is mapped on; empty means each.
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

/// One container's interface, as GC names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    /// `CNI_CONTAINERID` of its ADD.
    #[serde(rename = "containerID")]
    pub container: String,
    /// `CNI_IFNAME` of its ADD.
    #[serde(rename = "ifname")]
    pub interface: String,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from(DEFAULT_DATA_DIR)
}

/// The version of a configuration that may be broken, for the answer that says so.
pub(crate) fn version_of(input: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        cni_version: String,
    }
    let named = serde_json::from_slice::<Versioned>(input).ok();
    let known = named.and_then(|it| VERSIONS.into_iter().find(|known| *known == it.cni_version));
    known.unwrap_or("1.1.0")
}

impl Request {
    /// Reads a call; `variable` gives a variable of the environment.
    ///
    /// # Errors
    /// A variable is missing or malformed, the configuration is too large, no JSON, lacks a member, or is written in an
    /// unknown version of the specification.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Result<Self, Failure> {
        let command = command(variable("CNI_COMMAND").as_deref())?;
        let network = network(input)?;
        let mut request = Self {
            command,
            container: String::new(),
            interface: String::new(),
            netns: variable("CNI_NETNS")
                .filter(|it| !it.is_empty())
                .map(PathBuf::from),
            pod: variable("CNI_ARGS").as_deref().and_then(pod),
            pod_uid: variable("CNI_ARGS").and_then(|it| argument(&it, "K8S_POD_UID")),
            network,
        };
        if matches!(command, Command::Add | Command::Del | Command::Check) {
            request.container = named(variable, "CNI_CONTAINERID", is_container)?;
            request.interface = named(variable, "CNI_IFNAME", is_interface)?;
            if command != Command::Del && request.netns.is_none() {
                return Err(missing("CNI_NETNS"));
            }
        }
        Ok(request)
    }

    /// The pod's network namespace.
    ///
    /// # Errors
    /// `CNI_NETNS` is missing.
    pub(crate) fn netns(&self) -> Result<&PathBuf, Failure> {
        self.netns.as_ref().ok_or_else(|| missing("CNI_NETNS"))
    }
}

fn command(name: Option<&str>) -> Result<Command, Failure> {
    Ok(match name {
        Some("ADD") => Command::Add,
        Some("DEL") => Command::Del,
        Some("CHECK") => Command::Check,
        Some("GC") => Command::Gc,
        Some("STATUS") => Command::Status,
        Some("VERSION") => Command::Version,
        Some(other) => {
            let message =
                format!("CNI_COMMAND is {other:?}, not ADD, DEL, CHECK, GC, STATUS or VERSION");
            return Err(Failure::new(Code::InvalidEnvironment, message));
        }
        None => return Err(missing("CNI_COMMAND")),
    })
}

fn network(input: &[u8]) -> Result<Network, Failure> {
    if input.len() > MAXIMUM_CONFIGURATION {
        let message = format!("the configuration is longer than {MAXIMUM_CONFIGURATION} bytes");
        return Err(Failure::new(Code::Undecodable, message));
    }
    let network: Network = serde_json::from_slice(input).map_err(|error| {
        let code = if error.is_data() {
            Code::InvalidConfiguration
        } else {
            Code::Undecodable
        };
        Failure::new(code, format!("the configuration: {error}"))
    })?;
    if !VERSIONS.contains(&network.cni_version.as_str()) {
        let message = format!(
            "the configuration's cniVersion is {:?}; this plugin speaks {}",
            network.cni_version,
            VERSIONS.join(", ")
        );
        return Err(Failure::new(Code::IncompatibleVersion, message));
    }
    Ok(network)
}

fn missing(name: &str) -> Failure {
    Failure::new(Code::InvalidEnvironment, format!("{name} is not set"))
}

fn named(
    variable: &dyn Fn(&str) -> Option<String>,
    name: &str,
    is_valid: fn(&str) -> bool,
) -> Result<String, Failure> {
    let value = variable(name)
        .filter(|it| !it.is_empty())
        .ok_or_else(|| missing(name))?;
    if is_valid(&value) {
        Ok(value)
    } else {
        Err(Failure::new(
            Code::InvalidEnvironment,
            format!("{name} is malformed: {value:?}"),
        ))
    }
}

/// The specification: starts with an alphanumeric character, then these, `_`, `.` and `-`.
fn is_container(value: &str) -> bool {
    value.len() <= 128
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// What Linux takes as a link's name.
fn is_interface(value: &str) -> bool {
    value.len() < 16
        && !matches!(value, "." | "..")
        && !value.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

fn pod(arguments: &str) -> Option<String> {
    let find = |key: &str| argument(arguments, key);
    Some(format!(
        "{}/{}",
        find("K8S_POD_NAMESPACE")?,
        find("K8S_POD_NAME")?
    ))
}

fn argument(arguments: &str, key: &str) -> Option<String> {
    let pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value);
    values.next_back().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], input: &str) -> Result<Request, Failure> {
        let find = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Request::read(&find, input.as_bytes())
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/x"),
    ];
    const CONFIGURATION: &str =
        r#"{"cniVersion":"1.0.0","name":"lath","type":"lath-cni","prefixes":["10.0.1.64/28"]}"#;

    #[test]
    fn a_whole_call() {
        let arguments = (
            "CNI_ARGS",
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
        );
        let request = read(&[&ADD[..], &[arguments]].concat(), CONFIGURATION).unwrap();
        assert_eq!(request.command, Command::Add);
        assert_eq!(request.pod.as_deref(), Some("default/web-0"));
        assert_eq!(request.network.prefixes, ["10.0.1.64/28".parse().unwrap()]);
        assert_eq!(request.network.data_dir, PathBuf::from(DEFAULT_DATA_DIR));
    }

    #[test]
    fn ports_are_as_the_specification_or_containerd_writes_them() {
        let port = |names: [&str; 4]| {
            let [host, container, protocol, ip] = names;
            let text = format!(
                r#"{{"{host}":80,"{container}":8080,"{protocol}":"udp","{ip}":"127.0.0.1"}}"#
            );
            serde_json::from_str::<PortMapping>(&text).unwrap()
        };
        let specified = port(["hostPort", "containerPort", "protocol", "hostIP"]);
        assert_eq!(specified.host_ip, "127.0.0.1");
        assert_eq!(
            specified,
            port(["HostPort", "ContainerPort", "Protocol", "HostIP"])
        );
    }

    #[test]
    fn each_fault_has_its_code() {
        let without =
            |name: &str| -> Vec<_> { ADD.into_iter().filter(|(key, _)| *key != name).collect() };
        let with =
            |name: &'static str, value: &'static str| [without(name), vec![(name, value)]].concat();
        let cases = [
            (
                without("CNI_COMMAND"),
                CONFIGURATION,
                Code::InvalidEnvironment,
            ),
            (
                with("CNI_COMMAND", "MAKE"),
                CONFIGURATION,
                Code::InvalidEnvironment,
            ),
            (
                without("CNI_NETNS"),
                CONFIGURATION,
                Code::InvalidEnvironment,
            ),
            (
                with("CNI_CONTAINERID", "../c1"),
                CONFIGURATION,
                Code::InvalidEnvironment,
            ),
            (
                with("CNI_IFNAME", "a/b"),
                CONFIGURATION,
                Code::InvalidEnvironment,
            ),
            (
                with("CNI_IFNAME", "sixteen-letters-"),
                CONFIGURATION,
                Code::InvalidEnvironment,
            ),
            (ADD.to_vec(), "{", Code::Undecodable),
            (
                ADD.to_vec(),
                r#"{"cniVersion":1}"#,
                Code::InvalidConfiguration,
            ),
            (
                ADD.to_vec(),
                r#"{"cniVersion":"1.0.0","prefixes":["10.0.0.0"]}"#,
                Code::InvalidConfiguration,
            ),
            (
                ADD.to_vec(),
                r#"{"cniVersion":"9.0.0"}"#,
                Code::IncompatibleVersion,
            ),
        ];
        for (variables, input, code) in cases {
            let failure = read(&variables, input).unwrap_err();
            assert_eq!(failure.code, code, "{variables:?} {input}: {failure}");
        }
    }

    #[test]
    fn gc_needs_no_container() {
        let input = r#"{"cniVersion":"1.1.0","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}"#;
        let request = read(&[("CNI_COMMAND", "GC")], input).unwrap();
        assert_eq!(request.network.valid_attachments.unwrap().len(), 1);
    }
}
