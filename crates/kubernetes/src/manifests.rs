//! Objects that Lath keeps in every cluster: bindings of access policies, and add-ons that are pods.

use std::collections::BTreeSet;

use lath_feed::{Addon, ControlPlane};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::{self, POLICY_GROUPS};
use crate::injection;
use crate::pod_groups;
use crate::services;

/// The label of every object that Lath keeps.
pub const OWNED: &str = "lath.dev/kept";
/// Who applies them, for server-side apply.
pub const MANAGER: &str = "lath";
/// The image of CoreDNS.
pub const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns:v1.15.0";
/// As whom the API server speaks to kubelets, which ask it what that user may.
pub(crate) const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";
/// Where it is written which objects a cluster has.
pub const RECORD: &str = "/api/v1/namespaces/kube-system/configmaps/lath";

pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";
pub(crate) const RBAC_PATH: &str = "/apis/rbac.authorization.k8s.io/v1";

/// An object and its place in the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Such as `/api/v1/namespaces/kube-system/services/kube-dns`.
    pub path: String,
    /// The object.
    pub object: Value,
}

/// All objects that a cluster should have, in the order in which they are made.
pub fn of(plane: &ControlPlane) -> Vec<Manifest> {
    let mut manifests = bindings();
    manifests.push(injection::manifest(plane));
    manifests.push(pod_groups::definition());
    manifests.push(services::first_class());
    if let Some(addon) = plane.addons.get("coredns") {
        manifests.extend(coredns(plane, addon));
    }
    if plane.addons.contains_key(services::METRICS_ADDON) {
        manifests.extend(services::metrics(plane));
    }
    if let Some(addon) = plane.addons.get(services::VOLUMES_ADDON) {
        manifests.extend(services::volumes(addon));
    }
    manifests
}

/// The places of all objects that Lath keeps in any cluster.
pub fn places(plane: &ControlPlane) -> BTreeSet<String> {
    let addon = Addon {
        version: String::new(),
        configuration: None,
    };
    let mut all = bindings();
    all.push(injection::manifest(plane));
    all.push(pod_groups::definition());
    all.extend(coredns(plane, &addon));
    all.extend(services::metrics(plane));
    all.extend([services::first_class(), services::default_class()]);
    all.into_iter().map(|it| it.path).collect()
}

/// What a [`RECORD`] says was made and is not wanted any more. In the cluster others may write the record, so that only
/// such lines of it count as Lath can have written.
pub fn leftovers(plane: &ControlPlane, record: &Value, wanted: &[Manifest]) -> Vec<String> {
    let places = places(plane);
    let lines = record["data"]["objects"].as_str().unwrap_or_default();
    let is_wanted = |path: &str| wanted.iter().any(|it| it.path == path);
    let left = lines
        .lines()
        .filter(|it| places.contains(*it) && !is_wanted(it));
    left.collect::<BTreeSet<_>>()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Differs when any object does.
pub fn digest(manifests: &[Manifest]) -> String {
    let mut digest = Sha256::new();
    for manifest in manifests {
        digest.update(&manifest.path);
        digest.update(manifest.object.to_string());
    }
    let digest = digest.finalize();
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What [`RECORD`] says once the objects are there, and `left` too.
pub fn record(manifests: &[Manifest], left: &[String]) -> Manifest {
    let paths = manifests.iter().map(|it| it.path.as_str());
    let paths: Vec<&str> = paths.chain(left.iter().map(String::as_str)).collect();
    Manifest {
        path: RECORD.to_owned(),
        object: json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "lath", "namespace": "kube-system"},
            "data": {"digest": digest(manifests), "objects": paths.join("\n")},
        }),
    }
}

fn bindings() -> Vec<Manifest> {
    let view = "eks:admin-view";
    let mut manifests = vec![Manifest {
        path: format!("{RBAC_PATH}/clusterroles/{view}"),
        object: json!({
            "apiVersion": RBAC, "kind": "ClusterRole",
            "metadata": {"name": view, "labels": {OWNED: "access-policy"}},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {"nonResourceURLs": ["*"], "verbs": ["get"]},
            ],
        }),
    }];
    manifests.push(binding(
        KUBELET_CLIENT,
        "kubelet-api",
        "system:kubelet-api-admin",
        ("User", KUBELET_CLIENT),
    ));
    for policy in access::POLICIES {
        let Some(role) = access::cluster_role(policy) else {
            continue;
        };
        let group = format!("{POLICY_GROUPS}{policy}");
        manifests.push(binding(&group, "access-policy", role, ("Group", &group)));
    }
    manifests
}

pub(crate) fn binding(
    name: &str,
    owned: &str,
    role: &str,
    (kind, subject): (&str, &str),
) -> Manifest {
    const GROUP: &str = "rbac.authorization.k8s.io";
    Manifest {
        path: format!("{RBAC_PATH}/clusterrolebindings/{name}"),
        object: json!({
            "apiVersion": RBAC, "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": {OWNED: owned}},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": GROUP, "kind": kind, "name": subject}],
        }),
    }
}

const COREFILE: &str = ".:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 5
    loop
    reload
    loadbalance
}
";

/// CoreDNS, which answers names of the cluster itself and asks the VPC's resolver for the others.
fn coredns(plane: &ControlPlane, addon: &Addon) -> Vec<Manifest> {
    let given: Value = addon
        .configuration
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let or = |key: &str, otherwise: Value| given.get(key).cloned().unwrap_or(otherwise);
    let labels = json!({
        OWNED: "coredns", "k8s-app": "kube-dns", "eks.amazonaws.com/component": "coredns",
    });
    let named = |name: &str| json!({"name": name, "namespace": "kube-system", "labels": labels});
    let selector = json!({"eks.amazonaws.com/component": "coredns", "k8s-app": "kube-dns"});
    let kube_system = "/api/v1/namespaces/kube-system";
    vec![
        Manifest {
            path: format!("{kube_system}/serviceaccounts/coredns"),
            object: json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named("coredns")}),
        },
        Manifest {
            path: format!("{RBAC_PATH}/clusterroles/system:coredns"),
            object: json!({
                "apiVersion": RBAC, "kind": "ClusterRole",
                "metadata": {"name": "system:coredns", "labels": {OWNED: "coredns"}},
                "rules": [
                    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"],
                     "verbs": ["list", "watch"]},
                    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
                     "verbs": ["list", "watch"]},
                ],
            }),
        },
        Manifest {
            path: format!("{RBAC_PATH}/clusterrolebindings/system:coredns"),
            object: json!({
                "apiVersion": RBAC, "kind": "ClusterRoleBinding",
                "metadata": {"name": "system:coredns", "labels": {OWNED: "coredns"}},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                            "name": "system:coredns"},
                "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
            }),
        },
        Manifest {
            path: format!("{kube_system}/configmaps/coredns"),
            object: json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": named("coredns"),
                "data": {"Corefile": or("corefile", COREFILE.into())},
            }),
        },
        Manifest {
            path: format!("{kube_system}/services/kube-dns"),
            object: json!({
                "apiVersion": "v1", "kind": "Service", "metadata": named("kube-dns"),
                "spec": {
                    "clusterIP": plane.dns_address().to_string(),
                    "selector": {"k8s-app": "kube-dns"},
                    "ports": [
                        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                        {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
                    ],
                },
            }),
        },
        Manifest {
            path: "/apis/apps/v1/namespaces/kube-system/deployments/coredns".to_owned(),
            object: json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": named("coredns"),
                "spec": {
                    "replicas": or("replicaCount", 2.into()),
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                    "selector": {"matchLabels": selector},
                    "template": {
                        "metadata": {"labels": selector},
                        "spec": coredns_pod(&or),
                    },
                },
            }),
        },
    ]
}

fn coredns_pod(or: &dyn Fn(&str, Value) -> Value) -> Value {
    let tolerations = json!([
        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
    ]);
    let resources = json!({
        "requests": {"cpu": "100m", "memory": "70Mi"}, "limits": {"memory": "170Mi"},
    });
    json!({
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "tolerations": or("tolerations", tolerations),
        "nodeSelector": or("nodeSelector", json!({})),
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                "topologyKey": "kubernetes.io/hostname",
            },
        }]}},
        "containers": [{
            "name": "coredns",
            "image": COREDNS_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "args": ["-conf", "/etc/coredns/Corefile"],
            "resources": or("resources", resources),
            "ports": [
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
            ],
            "livenessProbe": {
                "httpGet": {"path": "/health", "port": 8080},
                "initialDelaySeconds": 60, "timeoutSeconds": 5, "failureThreshold": 5,
            },
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                "readOnlyRootFilesystem": true,
            },
            "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}],
        }],
        "volumes": [{"name": "config", "configMap": {
            "name": "coredns", "items": [{"key": "Corefile", "path": "Corefile"}],
        }}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn objects_are_where_their_names_say() {
        let mut plane = testing::plane();
        let without = of(&plane);
        let addon = Addon {
            version: "v1.15.0-eksbuild.1".into(),
            configuration: Some(r#"{"replicaCount":3}"#.into()),
        };
        plane.addons.insert("coredns".into(), addon);
        for (name, configuration) in [
            (services::METRICS_ADDON, None),
            (
                services::VOLUMES_ADDON,
                Some(r#"{"defaultStorageClass":{"enabled":true}}"#.to_owned()),
            ),
        ] {
            let version = "v1".to_owned();
            let addon = Addon {
                version,
                configuration,
            };
            plane.addons.insert(name.into(), addon);
        }
        let with = of(&plane);
        assert!(
            with.iter()
                .any(|it| it.path.ends_with("ebs-csi-default-sc"))
        );
        assert_ne!(digest(&with), digest(&without));
        for manifest in &with {
            let name = manifest.object["metadata"]["name"].as_str().unwrap();
            assert!(manifest.path.ends_with(name), "{}", manifest.path);
        }
        let kubelets = with.iter().find(|it| it.path.ends_with(KUBELET_CLIENT));
        let subject = &kubelets.unwrap().object["subjects"][0];
        assert_eq!(subject["kind"], "User");
        let is_deployment = |it: &&Manifest| it.object["kind"] == "Deployment";
        let deployment = with.iter().find(is_deployment).unwrap();
        assert_eq!(deployment.object["spec"]["replicas"], 3);
        let places = places(&plane);
        assert!(with.iter().all(|it| places.contains(&it.path)));
    }

    #[test]
    fn a_record_has_nothing_deleted_that_lath_did_not_make() {
        let mut plane = testing::plane();
        let without = of(&plane);
        let service = "/api/v1/namespaces/kube-system/services/kube-dns";
        let lines = [
            "/api/v1/nodes",
            "/api/v1/namespaces/prod",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "a b",
            service,
            service,
        ];
        let written = json!({"data": {"digest": "x", "objects": lines.join("\n")}});
        assert_eq!(leftovers(&plane, &written, &without), [service]);
        let addon = Addon {
            version: "v1.15.0-eksbuild.1".into(),
            configuration: None,
        };
        plane.addons.insert("coredns".into(), addon);
        let with = of(&plane);
        let lost = leftovers(&plane, &written, &with);
        assert!(lost.is_empty());
        let made = record(&with, &[]).object;
        assert_eq!(
            leftovers(&plane, &made, &without).len(),
            with.len() - without.len()
        );
    }
}
