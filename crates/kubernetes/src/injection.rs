//! What pods are given as they are made: a mark where there are policies of security groups, and so that AWS's SDKs in them
//! find credentials: environment variables, and a volume with a token of their
//! service account. Names and values are those of EKS's webhook
//! (<https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>,
//! <https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html>).
//!
//! What a pod says itself is left as it is, and a pod that was changed already is not changed again.

use std::collections::BTreeMap;

use lath_feed::{ControlPlane, PodIdentity};
use lath_net::POD_IDENTITY_ADDRESS;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::manifests::{Manifest, OWNED};
use crate::pki::Authority;
use crate::pod_groups::{self, ASKED};

/// Where kube-apiserver finds the webhook, on 127.0.0.1 of its namespace, as with AWS's own.
pub const INJECTION_PORT: u16 = 23443;
/// The largest review, in bytes: an object of the API is no larger than 3 MiB.
pub const LARGEST: usize = 4 << 20;

/// Seconds that kube-apiserver waits; then pods are made as they are.
const PATIENCE_SECONDS: u32 = 10;
/// Most containers of a pod that are changed.
const MOST_CONTAINERS: usize = 1000;
/// How long tokens count, unless somebody says less, and the least that Kubernetes takes.
const TOKEN_SECONDS: u64 = 86_400;
const LEAST_SECONDS: u64 = 600;
const MOST_SECONDS: u64 = 1 << 32;

const ROLE: &str = "eks.amazonaws.com/role-arn";
const AUDIENCE: &str = "eks.amazonaws.com/audience";
const EXPIRATION: &str = "eks.amazonaws.com/token-expiration";
const REGIONAL: &str = "eks.amazonaws.com/sts-regional-endpoints";
const SKIPPED: &str = "eks.amazonaws.com/skip-containers";

/// Why a review is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the review cannot be read: {0}")]
pub struct NoReview(String);

/// A pod that is about to be made.
#[derive(Debug, Clone)]
pub struct Review {
    uid: String,
    namespace: String,
    pod: Pod,
    asks: bool,
}

#[derive(Debug, Deserialize)]
struct AdmissionReview {
    request: AdmissionRequest,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    object: Option<Pod>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    host_network: Option<bool>,
    service_account_name: Option<String>,
    volumes: Option<Vec<Named>>,
    init_containers: Option<Vec<Container>>,
    containers: Option<Vec<Container>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    env: Option<Vec<Named>>,
    volume_mounts: Option<Vec<Mount>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mount {
    name: String,
    mount_path: String,
}

/// What the pods of a service account get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gift {
    volume: &'static str,
    directory: &'static str,
    file: &'static str,
    audience: String,
    seconds: u64,
    /// A container that has one of these variables has credentials of its own.
    own: [&'static str; 2],
    variables: Vec<(&'static str, String)>,
}

/// The place that pods are in.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The region.
    pub region: &'a str,
    /// The URL of the AWS APIs, where pods reach them.
    pub endpoint: Option<&'a str>,
}

impl Here<'_> {
    fn variables(self, regional: bool) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if regional {
            all.push(("AWS_STS_REGIONAL_ENDPOINTS", "regional".to_owned()));
        }
        all.push(("AWS_DEFAULT_REGION", self.region.to_owned()));
        all.push(("AWS_REGION", self.region.to_owned()));
        // The names of AWS's own endpoints lead nowhere here, or out of the VPC.
        let endpoint = self.endpoint.map(str::to_owned);
        all.extend(endpoint.map(|url| ("AWS_ENDPOINT_URL", url)));
        all
    }
}

impl Gift {
    /// For the pods of a service account with a pod identity association.
    pub fn of_association(
        identities: &[PodIdentity],
        review: &Review,
        here: Here<'_>,
    ) -> Option<Self> {
        let (namespace, account) = (review.namespace(), review.service_account());
        let mut identities = identities.iter();
        identities.find(|it| it.namespace == namespace && it.service_account == account)?;
        let directory = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount";
        let file = "eks-pod-identity-token";
        let mut variables = here.variables(true);
        variables.extend([
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("http://{POD_IDENTITY_ADDRESS}/v1/credentials"),
            ),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                format!("{directory}/{file}"),
            ),
        ]);
        Some(Self {
            volume: file,
            directory,
            file,
            audience: "pods.eks.amazonaws.com".to_owned(),
            seconds: review.seconds(None).unwrap_or(TOKEN_SECONDS),
            own: [
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            ],
            variables,
        })
    }

    /// For the pods of a service account whose annotations name a role.
    pub fn of_annotations(account: &Value, review: &Review, here: Here<'_>) -> Option<Self> {
        let annotations = &account["metadata"]["annotations"];
        let text = |key: &str| annotations[key].as_str().filter(|it| !it.is_empty());
        let role = text(ROLE)?;
        let directory = "/var/run/secrets/eks.amazonaws.com/serviceaccount";
        let regional = text(REGIONAL).is_none_or(|it| !it.eq_ignore_ascii_case("false"));
        let mut variables = here.variables(regional);
        variables.extend([
            ("AWS_ROLE_ARN", role.to_owned()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", format!("{directory}/token")),
        ]);
        Some(Self {
            volume: "aws-iam-token",
            directory,
            file: "token",
            audience: text(AUDIENCE).unwrap_or("sts.amazonaws.com").to_owned(),
            seconds: review.seconds(text(EXPIRATION)).unwrap_or(TOKEN_SECONDS),
            own: ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"],
            variables,
        })
    }
}

impl Review {
    /// Reads what kube-apiserver sends.
    ///
    /// # Errors
    /// When it is no review of a pod.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoReview> {
        if bytes.len() > LARGEST {
            return Err(NoReview(format!("it is larger than {LARGEST} bytes")));
        }
        let read: Result<AdmissionReview, _> = serde_json::from_slice(bytes);
        let request = read.map_err(|error| NoReview(error.to_string()))?.request;
        let none = || NoReview("it has no object".to_owned());
        let pod = request.object.ok_or_else(none)?;
        Ok(Self {
            uid: request.uid,
            namespace: request.namespace,
            pod,
            asks: false,
        })
    }

    /// Where the API server has the policies of security groups that may select the pod; `None` when it has its node's
    /// network, or its namespace's name is none of Kubernetes.
    pub fn policies_path(&self) -> Option<String> {
        let own_network = self.pod.spec.host_network != Some(true);
        (own_network && is_name(&self.namespace)).then(|| pod_groups::policies_in(&self.namespace))
    }

    /// Has the pod marked: its node asks which security groups it gets.
    pub fn mark(&mut self) {
        self.asks = true;
    }

    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pod's service account.
    pub fn service_account(&self) -> &str {
        let name = self.pod.spec.service_account_name.as_deref();
        name.filter(|it| !it.is_empty()).unwrap_or("default")
    }

    /// Where the API server has the service account; `None` when the names are none of Kubernetes.
    pub fn account_path(&self) -> Option<String> {
        let (namespace, name) = (self.namespace(), self.service_account());
        (is_name(namespace) && is_name(name))
            .then(|| format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}"))
    }

    /// As the pod says, or its account.
    fn seconds(&self, account: Option<&str>) -> Option<u64> {
        let own = self.annotation(EXPIRATION);
        let text = own.or(account)?;
        let seconds: u64 = text.trim().parse().ok()?;
        Some(seconds.clamp(LEAST_SECONDS, MOST_SECONDS))
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.pod.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    /// The answer: the pod may be made, with that.
    pub fn answer(&self, gift: Option<&Gift>) -> Value {
        let response = json!({"uid": self.uid, "allowed": true});
        self.respond(response, gift)
    }

    fn respond(&self, mut response: Value, gift: Option<&Gift>) -> Value {
        use base64::Engine as _;
        let mut changes = self.marks();
        changes.extend(gift.into_iter().flat_map(|gift| self.changes(gift)));
        if !changes.is_empty() {
            let patch = Value::from(changes).to_string();
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(base64::engine::general_purpose::STANDARD.encode(patch));
        }
        review(&response)
    }

    /// The answer where it is not known what the pod should get: the pod may be made, with a warning to its maker.
    pub fn answer_without(&self, reason: &str) -> Value {
        let warning = format!("the pod gets no credentials of AWS: {reason}");
        let response = json!({"uid": self.uid, "allowed": true, "warnings": [warning]});
        self.respond(response, None)
    }

    fn marks(&self) -> Vec<Value> {
        if !self.asks || self.annotation(ASKED).is_some() {
            return Vec::new();
        }
        let all = "/metadata/annotations";
        let first = self.pod.metadata.annotations.is_none();
        let first = first.then(|| json!({"op": "add", "path": all, "value": {}}));
        let path = format!("{all}/{}", ASKED.replace('/', "~1"));
        let mark = json!({"op": "add", "path": path, "value": "asked"});
        first.into_iter().chain([mark]).collect()
    }

    /// A JSON patch (RFC 6902).
    fn changes(&self, gift: &Gift) -> Vec<Value> {
        let mut patch = Vec::new();
        let skipped = self.annotation(SKIPPED).unwrap_or_default();
        let is_skipped = |name: &str| skipped.split(',').any(|it| it.trim() == name);
        let spec = &self.pod.spec;
        for (list, containers) in [
            ("initContainers", &spec.init_containers),
            ("containers", &spec.containers),
        ] {
            let containers = containers.iter().flatten().enumerate();
            for (at, container) in containers.take(MOST_CONTAINERS) {
                if !is_skipped(&container.name) {
                    container.change(&format!("/spec/{list}/{at}"), gift, &mut patch);
                }
            }
        }
        let is_there = |it: &Named| it.name == gift.volume;
        if patch.is_empty() || spec.volumes.iter().flatten().any(is_there) {
            return patch;
        }
        let volume = json!({
            "name": gift.volume,
            "projected": {"sources": [{"serviceAccountToken": {
                "audience": gift.audience,
                "expirationSeconds": gift.seconds,
                "path": gift.file,
            }}]},
        });
        append(
            &mut patch,
            "/spec/volumes",
            spec.volumes.is_some(),
            vec![volume],
        );
        patch
    }
}

impl Container {
    fn change(&self, path: &str, gift: &Gift, patch: &mut Vec<Value>) {
        let has = |name: &str| self.env.iter().flatten().any(|it| it.name == name);
        if gift.own.iter().any(|it| has(it)) {
            return;
        }
        let variables = gift.variables.iter().filter(|(name, _)| !has(name));
        let variables = variables.map(|(name, value)| json!({"name": name, "value": value}));
        let there = self.env.is_some();
        append(patch, &format!("{path}/env"), there, variables.collect());
        let is_it = |it: &Mount| it.name == gift.volume || it.mount_path == gift.directory;
        if !self.volume_mounts.iter().flatten().any(is_it) {
            let mount = json!({"name": gift.volume, "mountPath": gift.directory, "readOnly": true});
            let there = self.volume_mounts.is_some();
            append(patch, &format!("{path}/volumeMounts"), there, vec![mount]);
        }
    }
}

/// Adds to a list, which may not be there.
fn append(patch: &mut Vec<Value>, path: &str, there: bool, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    if there {
        let path = format!("{path}/-");
        let add = |it: Value| json!({"op": "add", "path": path, "value": it});
        patch.extend(items.into_iter().map(add));
    } else {
        patch.push(json!({"op": "add", "path": path, "value": items}));
    }
}

fn is_name(text: &str) -> bool {
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-.".contains(it);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(fits)
}

fn review(response: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    })
}

/// What makes kube-apiserver ask: as on EKS, a pod is made although nothing answers.
pub(crate) fn manifest(plane: &ControlPlane) -> Manifest {
    use base64::Engine as _;
    const NAME: &str = "pod-identity-webhook";
    const GROUP: &str = "admissionregistration.k8s.io";
    let authority = base64::engine::general_purpose::STANDARD.encode(&plane.keys.authority);
    Manifest {
        path: format!("/apis/{GROUP}/v1/mutatingwebhookconfigurations/{NAME}"),
        object: json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": NAME, "labels": {OWNED: NAME}},
            "webhooks": [{
                "name": "iam-for-pods.amazonaws.com",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "url": format!("https://127.0.0.1:{INJECTION_PORT}/mutate"),
                    "caBundle": authority,
                },
                "failurePolicy": "Ignore",
                "matchPolicy": "Equivalent",
                "reinvocationPolicy": "IfNeeded",
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["pods"], "scope": "*",
                }],
                "sideEffects": "None",
                "timeoutSeconds": PATIENCE_SECONDS,
            }],
        }),
    }
}

/// What kube-apiserver speaks to: TLS with a certificate of the cluster's.
///
/// # Errors
/// When the cluster's authority cannot sign, or what it signs cannot be used.
pub fn tls(
    authority: &Authority,
) -> Result<tokio_rustls::TlsAcceptor, crate::client::NewClientError> {
    let local = [std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];
    let leaf = authority.server("pod-identity-webhook", &[], &local)?;
    crate::client::acceptor(&leaf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    const HERE: Here<'_> = Here {
        region: "us-east-1",
        endpoint: Some("http://169.254.170.24"),
    };

    fn review_of(pod: &Value) -> Review {
        let review = json!({"request": {"uid": "u", "namespace": "shop", "object": pod}});
        Review::parse(review.to_string().as_bytes()).unwrap()
    }

    fn identities() -> Vec<PodIdentity> {
        vec![PodIdentity {
            id: "a-1".into(),
            namespace: "shop".into(),
            service_account: "cart".into(),
            role_arn: "arn:aws:iam::1:role/cart".into(),
        }]
    }

    /// What a JSON patch of additions makes of an object.
    fn patched(pod: &Value, answer: &Value) -> Value {
        let mut pod = pod.clone();
        let Some(patch) = answer["response"]["patch"].as_str() else {
            return pod;
        };
        let patch = base64::engine::general_purpose::STANDARD.decode(patch);
        let patch: Vec<Value> = serde_json::from_slice(&patch.unwrap()).unwrap();
        for change in patch {
            let path = change["path"].as_str().unwrap();
            let (at, key) = path.rsplit_once('/').unwrap();
            let into = pod.pointer_mut(at).unwrap();
            match into.as_array_mut() {
                Some(list) => list.push(change["value"].clone()),
                None => into[key] = change["value"].clone(),
            }
        }
        pod
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "cart",
                "initContainers": [{"name": "first"}],
                "containers": [
                    {"name": "a", "env": [{"name": "AWS_REGION", "value": "eu-west-1"}],
                     "volumeMounts": [{"name": "x", "mountPath": "/x"}]},
                    {"name": "b", "env": [{"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "http://own"}]},
                ],
            },
        })
    }

    fn names(container: &Value) -> Vec<&str> {
        let env = container["env"].as_array().unwrap();
        env.iter().map(|it| it["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn an_associated_pod_gets_what_the_agent_wants_once() {
        let before = pod();
        let review = review_of(&before);
        let gift = Gift::of_association(&identities(), &review, HERE).unwrap();
        let after = patched(&before, &review.answer(Some(&gift)));
        let spec = &after["spec"];
        let all = [
            "AWS_STS_REGIONAL_ENDPOINTS",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ];
        assert_eq!(names(&spec["initContainers"][0]), all);
        let a = &spec["containers"][0];
        assert_eq!(a["env"][0]["value"], "eu-west-1");
        assert_eq!(names(a).len(), all.len());
        assert_eq!(a["volumeMounts"].as_array().unwrap().len(), 2);
        assert_eq!(spec["containers"][1], before["spec"]["containers"][1]);
        let token = &spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
        let want = json!({
            "audience": "pods.eks.amazonaws.com", "expirationSeconds": 86_400,
            "path": "eks-pod-identity-token",
        });
        assert_eq!(*token, want);
        let again = review_of(&after).answer(Some(&gift));
        assert_eq!(again["response"].get("patch"), None);
    }

    #[test]
    fn a_pod_is_marked_once_where_there_are_policies() {
        for annotations in [None, Some(json!({"a": "b"}))] {
            let mut before = pod();
            if let Some(annotations) = annotations {
                before["metadata"]["annotations"] = annotations;
            }
            let mut review = review_of(&before);
            assert!(
                review
                    .policies_path()
                    .unwrap()
                    .ends_with("/shop/securitygrouppolicies")
            );
            assert_eq!(review.answer(None)["response"].get("patch"), None);
            review.mark();
            let answer = review.answer_without("no");
            let patch = answer["response"]["patch"].as_str().unwrap();
            let patch = base64::engine::general_purpose::STANDARD
                .decode(patch)
                .unwrap();
            let patch: Value = serde_json::from_slice(&patch).unwrap();
            let last = patch.as_array().unwrap().last().unwrap();
            assert_eq!(
                last["path"],
                "/metadata/annotations/lath.dev~1security-groups"
            );
            before["metadata"]["annotations"] = json!({ASKED: "asked"});
            let mut again = review_of(&before);
            again.mark();
            assert_eq!(again.answer(None)["response"].get("patch"), None);
        }
        let mut on_node = pod();
        on_node["spec"]["hostNetwork"] = json!(true);
        assert_eq!(review_of(&on_node).policies_path(), None);
    }

    #[test]
    fn a_pod_of_another_account_gets_nothing() {
        let mut other = pod();
        other["spec"]["serviceAccountName"] = json!("till");
        let review = review_of(&other);
        assert_eq!(Gift::of_association(&identities(), &review, HERE), None);
        let bare = json!({"metadata": {"annotations": {}}});
        assert_eq!(Gift::of_annotations(&bare, &review, HERE), None);
        let answer = review.answer(None);
        assert_eq!(answer["response"], json!({"uid": "u", "allowed": true}));
    }

    #[test]
    fn annotations_say_which_role_and_how() {
        let mut before = pod();
        before["metadata"]["annotations"] = json!({SKIPPED: "first, b", EXPIRATION: "10"});
        let review = review_of(&before);
        let account = json!({"metadata": {"annotations": {
            ROLE: "arn:aws:iam::1:role/cart", AUDIENCE: "mine", EXPIRATION: "3600", REGIONAL: "false",
        }}});
        let here = Here {
            endpoint: None,
            ..HERE
        };
        let gift = Gift::of_annotations(&account, &review, here).unwrap();
        let after = patched(&before, &review.answer(Some(&gift)));
        let spec = &after["spec"];
        assert_eq!(spec["initContainers"], before["spec"]["initContainers"]);
        assert_eq!(spec["containers"][1], before["spec"]["containers"][1]);
        let want = [
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ];
        assert_eq!(names(&spec["containers"][0]), want);
        let token = &spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
        let want = json!({"audience": "mine", "expirationSeconds": 600, "path": "token"});
        assert_eq!(*token, want);
    }

    #[test]
    fn no_name_leads_out_of_the_path() {
        let review = |namespace: &str, account: &str| {
            let pod = json!({"spec": {"serviceAccountName": account}});
            let review = json!({"request": {"uid": "u", "namespace": namespace, "object": pod}});
            Review::parse(review.to_string().as_bytes()).unwrap()
        };
        let path = review("shop", "cart").account_path();
        assert_eq!(
            path.as_deref(),
            Some("/api/v1/namespaces/shop/serviceaccounts/cart")
        );
        for (namespace, account) in [("..", "x"), ("a/b", "x"), ("a", "../x"), ("", "x")] {
            assert_eq!(review(namespace, account).account_path(), None);
        }
    }
}
