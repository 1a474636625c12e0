//! The question of an API server about a new object, and the answer: an `AdmissionReview` of `admission.k8s.io/v1`.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gates::GATE;

const VERSION: &str = "admission.k8s.io/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Question>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    operation: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    object: Option<Pod>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    kind: String,
}

#[derive(Default, Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    readiness_gates: Option<Vec<Gate>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gate {
    condition_type: String,
}

/// What matters of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Whether it is about the creation of a pod, and not of a part of one or of anything else.
    pub(crate) creates_pod: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether the pod has the gate already.
    pub(crate) has_gate: bool,
    /// Whether it has any gate.
    has_any: bool,
}

/// Reads a question.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(bytes: &[u8]) -> Result<Asked, String> {
    let review: Review =
        serde_json::from_slice(bytes).map_err(|error| format!("no AdmissionReview: {error}"))?;
    if (review.api_version.as_str(), review.kind.as_str()) != (VERSION, "AdmissionReview") {
        let (version, kind) = (review.api_version, review.kind);
        return Err(format!(
            "{VERSION} AdmissionReview is expected, and not {version} {kind}"
        ));
    }
    let question = review
        .request
        .ok_or("an AdmissionReview without a request")?;
    let is_pod = question.kind.group.is_empty() && question.kind.kind == "Pod";
    let creates_pod = is_pod && question.operation == "CREATE" && question.sub_resource.is_empty();
    let pod = question.object.unwrap_or_default();
    let gates = pod.spec.readiness_gates.unwrap_or_default();
    Ok(Asked {
        uid: question.uid,
        namespace: question.namespace,
        name: question.name,
        creates_pod,
        labels: pod.metadata.labels.unwrap_or_default(),
        has_gate: gates.iter().any(|it| it.condition_type == GATE),
        has_any: !gates.is_empty(),
    })
}

/// The answer: the object is allowed, and gets the gate or not.
pub(crate) fn answer(asked: &Asked, inject: bool) -> Vec<u8> {
    let mut response = json!({"uid": asked.uid, "allowed": true});
    if inject {
        let gate = json!({"conditionType": GATE});
        let patch: Value = match asked.has_any {
            true => json!([{"op": "add", "path": "/spec/readinessGates/-", "value": gate}]),
            false => json!([{"op": "add", "path": "/spec/readinessGates", "value": [gate]}]),
        };
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(patch.to_string().into_bytes()));
    }
    let review = json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response});
    review.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(pod: &Value) -> Value {
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": {
            "uid": "u-1", "namespace": "default", "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "object": pod}})
    }

    fn asked(pod: &Value) -> Asked {
        read(question(pod).to_string().as_bytes()).unwrap()
    }

    fn patch(asked: &Asked) -> Value {
        let answer: Value = serde_json::from_slice(&answer(asked, true)).unwrap();
        assert_eq!(answer["response"]["uid"], "u-1");
        let patch: ByteString =
            serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
        serde_json::from_slice(&patch.0).unwrap()
    }

    #[test]
    fn the_gate_comes_beside_those_that_are_there() {
        let none = asked(&json!({"metadata": {"labels": {"app": "web"}}, "spec": {}}));
        assert!(none.creates_pod && !none.has_gate);
        assert_eq!(none.labels["app"], "web");
        assert_eq!(patch(&none)[0]["path"], "/spec/readinessGates");
        let other = asked(&json!({"spec": {"readinessGates": [{"conditionType": "other"}]}}));
        assert_eq!(patch(&other)[0]["path"], "/spec/readinessGates/-");
        let own = asked(&json!({"spec": {"readinessGates": [{"conditionType": GATE}]}}));
        assert!(own.has_gate);
        let plain: Value = serde_json::from_slice(&answer(&own, false)).unwrap();
        assert_eq!(plain["response"], json!({"uid": "u-1", "allowed": true}));
    }

    #[test]
    fn questions_about_anything_else_are_known_as_such() {
        let mut about = question(&json!({}));
        about["request"]["subResource"] = json!("ephemeralcontainers");
        assert!(!read(about.to_string().as_bytes()).unwrap().creates_pod);
        about = question(&json!(null));
        about["request"]["operation"] = json!("DELETE");
        assert!(!read(about.to_string().as_bytes()).unwrap().creates_pod);
        for bad in ["", "{}", "[]", r#"{"apiVersion":"v1","kind":"Pod"}"#] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(deep.as_bytes()).is_err());
    }
}
