//! Objects by which Lath's own services of a cluster are known in it: the metrics of nodes and pods, and volumes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_feed::{Addon, ControlPlane};
use serde_json::{Value, json};

use crate::METRICS_PORT;
use crate::manifests::{Manifest, OWNED, RBAC, RBAC_PATH, binding};

/// The add-on that answers `metrics.k8s.io`.
pub const METRICS_ADDON: &str = "metrics-server";
/// By this name kube-apiserver calls it, and its certificate has it.
pub const METRICS_NAME: &str = "metrics-server.kube-system.svc";
/// As whom kubelets are asked what nodes and pods use.
pub const METRICS_USER: &str = "lath:metrics-server";
/// How names begin of users that Lath itself is in a cluster.
pub const RESERVED_USERS: &str = "lath:";
/// The add-on that makes volumes.
pub const VOLUMES_ADDON: &str = "aws-ebs-csi-driver";
/// The provisioner of volumes.
pub const PROVISIONER: &str = "ebs.csi.aws.com";
/// What it was called when it was a part of Kubernetes, in the class that clusters come with.
pub const OLD_PROVISIONER: &str = "kubernetes.io/aws-ebs";

const STORAGE: &str = "storage.k8s.io/v1";
const STORAGE_PATH: &str = "/apis/storage.k8s.io/v1";

/// What answers `metrics.k8s.io`: Lath, on the API server's own address, which the service leads to without a pod.
pub(crate) fn metrics(plane: &ControlPlane) -> Vec<Manifest> {
    let labels = json!({OWNED: METRICS_ADDON, "k8s-app": "metrics-server"});
    let authority = STANDARD.encode(&plane.keys.authority);
    let reader = "system:aggregated-metrics-reader";
    let mut manifests = vec![
        Manifest {
            path: "/api/v1/namespaces/kube-system/services/metrics-server".to_owned(),
            object: json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "metrics-server", "namespace": "kube-system", "labels": labels},
                "spec": {
                    "ports": [{
                        "name": "https", "port": 443, "protocol": "TCP", "targetPort": METRICS_PORT,
                    }],
                },
            }),
        },
        Manifest {
            path: "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/metrics-server"
                .to_owned(),
            object: json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "metrics-server", "namespace": "kube-system", "labels": {
                    OWNED: METRICS_ADDON,
                    "kubernetes.io/service-name": "metrics-server",
                    "endpointslice.kubernetes.io/managed-by": "lath",
                }},
                "addressType": "IPv4",
                "endpoints": [{
                    "addresses": plane.addresses.iter().take(1).collect::<Vec<_>>(),
                    "conditions": {"ready": true},
                }],
                "ports": [{"name": "https", "port": METRICS_PORT, "protocol": "TCP"}],
            }),
        },
        Manifest {
            path: format!("{RBAC_PATH}/clusterroles/{reader}"),
            object: json!({
                "apiVersion": RBAC, "kind": "ClusterRole",
                "metadata": {"name": reader, "labels": {
                    OWNED: METRICS_ADDON,
                    "rbac.authorization.k8s.io/aggregate-to-admin": "true",
                    "rbac.authorization.k8s.io/aggregate-to-edit": "true",
                    "rbac.authorization.k8s.io/aggregate-to-view": "true",
                }},
                "rules": [{
                    "apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"],
                    "verbs": ["get", "list"],
                }],
            }),
        },
        Manifest {
            path: format!("{RBAC_PATH}/clusterroles/system:metrics-server"),
            object: json!({
                "apiVersion": RBAC, "kind": "ClusterRole",
                "metadata": {"name": "system:metrics-server", "labels": {OWNED: METRICS_ADDON}},
                "rules": [{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}],
            }),
        },
    ];
    manifests.push(binding(
        "system:metrics-server",
        METRICS_ADDON,
        "system:metrics-server",
        ("User", METRICS_USER),
    ));
    manifests.push(Manifest {
        path: "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io".to_owned(),
        object: json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io", "labels": labels},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "caBundle": authority,
                "service": {"name": "metrics-server", "namespace": "kube-system", "port": 443},
            },
        }),
    });
    manifests
}

/// The class of volumes that every cluster comes with. As on EKS it is not the default one, and no volume of it is made
/// before the driver is there.
pub(crate) fn first_class() -> Manifest {
    class(
        "gp2",
        "cluster",
        OLD_PROVISIONER,
        &json!({"type": "gp2", "fsType": "ext4"}),
        false,
    )
}

/// What the driver's add-on brings: a default class, where its configuration says so.
pub(crate) fn volumes(addon: &Addon) -> Vec<Manifest> {
    let given = addon.configuration.as_deref();
    let given: Option<Value> = given.and_then(|text| serde_json::from_str(text).ok());
    let enabled = given.is_some_and(|it| it["defaultStorageClass"]["enabled"] == true);
    enabled.then(default_class).into_iter().collect()
}

pub(crate) fn default_class() -> Manifest {
    let parameters = json!({"type": "gp3"});
    class(
        "ebs-csi-default-sc",
        VOLUMES_ADDON,
        PROVISIONER,
        &parameters,
        true,
    )
}

fn class(
    name: &str,
    owned: &str,
    provisioner: &str,
    parameters: &Value,
    default: bool,
) -> Manifest {
    let mut metadata = json!({"name": name, "labels": {OWNED: owned}});
    if default {
        let note = "storageclass.kubernetes.io/is-default-class";
        metadata["annotations"] = json!({note: "true"});
    }
    Manifest {
        path: format!("{STORAGE_PATH}/storageclasses/{name}"),
        object: json!({
            "apiVersion": STORAGE, "kind": "StorageClass", "metadata": metadata,
            "provisioner": provisioner, "parameters": parameters,
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        }),
    }
}
