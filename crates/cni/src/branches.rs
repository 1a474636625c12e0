//! Pods with an interface of their own, which stands behind the node's in the VPC and has security groups of its own.
//!
//! What a pod gets is decided outside, after the pod was given to this node: a pod that is asked about waits here until the
//! file says what. So it never begins with other groups than its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::answer::{Code, Failure};
use crate::plugin::read_capped;
use crate::request::Request;

/// The annotation of a pod that has to be asked about.
const ASKED: &str = "lath.dev/security-groups";
/// How long one call waits; the runtime calls again.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

/// What is decided of the node's pods.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Branches {
    /// Namespaces of which every pod is asked about.
    namespaces: BTreeSet<String>,
    /// The address of each pod that has an interface, by its unique id.
    pods: BTreeMap<String, Ipv4Addr>,
    /// Pods that have none.
    free: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Its own address.
    Own(Ipv4Addr),
    /// One of the node's prefixes.
    Shared,
    NotYet,
}

impl Branches {
    fn of(&self, request: &Request) -> Decision {
        let uid = request.pod_uid.as_deref().unwrap_or_default();
        if let Some(address) = self.pods.get(uid) {
            return Decision::Own(*address);
        }
        let annotations = request.network.runtime_config.annotations.as_ref();
        let namespace = request.pod.as_deref().and_then(|it| it.split_once('/'));
        let is_asked = annotations.is_some_and(|it| it.contains_key(ASKED))
            || namespace.is_some_and(|(it, _)| self.namespaces.contains(it));
        match !is_asked || self.free.contains(uid) {
            true => Decision::Shared,
            false => Decision::NotYet,
        }
    }
}

/// The pod's own address; `None` when it shares the node's interface.
pub(crate) fn own_address(request: &Request) -> Result<Option<Ipv4Addr>, Failure> {
    let Some(path) = &request.network.branches_file else {
        return Ok(None);
    };
    let begun = Instant::now();
    loop {
        match read(path)?.of(request) {
            Decision::Own(address) => return Ok(Some(address)),
            Decision::Shared => return Ok(None),
            Decision::NotYet if begun.elapsed() >= PATIENCE => {
                let message = "the pod waits for an interface with its security groups";
                return Err(Failure::new(Code::TryAgainLater, message));
            }
            Decision::NotYet => std::thread::sleep(PAUSE),
        }
    }
}

fn read(path: &Path) -> Result<Branches, Failure> {
    match read_capped(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            let message = format!("{}: {error}", path.display());
            Failure::new(Code::InvalidConfiguration, message)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Branches::default()),
        Err(error) => Err(Failure::io(path.display(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &str, annotations: &str) -> Request {
        let variables = |name: &str| match name {
            "CNI_COMMAND" => Some("ADD".to_owned()),
            "CNI_CONTAINERID" => Some("c1".to_owned()),
            "CNI_IFNAME" => Some("eth0".to_owned()),
            "CNI_NETNS" => Some("/run/netns/x".to_owned()),
            "CNI_ARGS" => Some(arguments.to_owned()),
            _ => None,
        };
        let input = format!(
            r#"{{"cniVersion":"1.0.0","runtimeConfig":{{"io.kubernetes.cri.pod-annotations":{annotations}}}}}"#
        );
        Request::read(&variables, input.as_bytes()).unwrap()
    }

    #[test]
    fn a_pod_that_is_asked_about_waits_for_what_it_gets() {
        let branches: Branches = serde_json::from_str(
            r#"{"namespaces":["shop"],"pods":{"u-1":"10.0.1.7"},"free":["u-2"]}"#,
        )
        .unwrap();
        let named = |namespace: &str, uid: &str| {
            format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=p;K8S_POD_UID={uid}")
        };
        let marked = r#"{"lath.dev/security-groups":"asked"}"#;
        let own = Decision::Own(Ipv4Addr::new(10, 0, 1, 7));
        for (namespace, uid, annotations, want) in [
            ("shop", "u-1", "null", own),
            ("shop", "u-2", "{}", Decision::Shared),
            ("shop", "u-3", "{}", Decision::NotYet),
            ("till", "u-3", "{}", Decision::Shared),
            ("till", "u-3", marked, Decision::NotYet),
            ("till", "u-2", marked, Decision::Shared),
        ] {
            let request = request(&named(namespace, uid), annotations);
            assert_eq!(
                branches.of(&request),
                want,
                "{namespace} {uid} {annotations}"
            );
        }
    }
}
