//! Files as they are written into workloads. What reads YAML is given JSON, which is YAML too.

use std::path::PathBuf;

use lath_instance::File;
use serde_json::{Value, json};

/// A file that everybody in the workload reads.
pub(crate) fn public(path: PathBuf, content: &str) -> File {
    File {
        path,
        mode: 0o644,
        content: content.to_owned(),
    }
}

/// A file that root in the workload reads.
pub(crate) fn secret(path: PathBuf, content: &str) -> File {
    File {
        path,
        mode: 0o600,
        content: content.to_owned(),
    }
}

/// A kubeconfig that names `ca.crt` and a client's certificate in that directory.
pub(crate) fn kubeconfig(server: &str, directory: &str, client: &str) -> String {
    shown(&json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {
            "server": server,
            "certificate-authority": format!("{directory}/ca.crt"),
        }}],
        "users": [{"name": "user", "user": {
            "client-certificate": format!("{directory}/{client}.pem"),
            "client-key": format!("{directory}/{client}.pem"),
        }}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }))
}

/// As text for people.
pub(crate) fn shown(value: &Value) -> String {
    format!("{value:#}\n")
}
