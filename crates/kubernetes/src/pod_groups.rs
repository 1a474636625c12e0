//! Security groups of pods: the policies of a cluster, and which pods they select. Names are those of AWS
//! (<https://docs.aws.amazon.com/eks/latest/userguide/sg-pods-example-deployment.html>).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::manifests::{Manifest, OWNED};

const GROUP: &str = "vpcresources.k8s.aws";
const VERSION: &str = "v1beta1";
/// Where the API server has all policies.
pub const POLICIES: &str = "/apis/vpcresources.k8s.aws/v1beta1/securitygrouppolicies";
/// The annotation of a pod that says which interface it has.
pub const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";
/// The annotation of a pod that was made where there are policies: its node asks what it gets before it begins.
pub const ASKED: &str = "lath.dev/security-groups";

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A `SecurityGroupPolicy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// What it is called.
    pub metadata: PolicyMetadata,
    /// What it says.
    pub spec: PolicySpec,
}

/// What a policy is called.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyMetadata {
    /// Its namespace: it selects pods there.
    pub namespace: String,
    /// When it was made (RFC 3339).
    pub creation_timestamp: String,
}

/// What a policy says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicySpec {
    /// Which pods it selects.
    pub pod_selector: Option<Selector>,
    /// Pods of which service accounts it selects.
    pub service_account_selector: Option<Selector>,
    /// What they get.
    pub security_groups: Option<Groups>,
}

/// Groups of a policy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Groups {
    /// Their ids.
    pub group_ids: Option<Vec<String>>,
}

/// A label selector. An empty one selects everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selector {
    match_labels: Option<Labels>,
    match_expressions: Option<Vec<Expression>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl Selector {
    /// Whether it selects an object with these labels. A selector that is none selects nothing.
    pub fn selects(&self, labels: &Labels) -> bool {
        let mut exact = self.match_labels.iter().flatten();
        let mut expressions = self.match_expressions.iter().flatten();
        exact.all(|(key, value)| labels.get(key) == Some(value))
            && expressions.all(|it| it.is_true_of(labels))
    }
}

impl Expression {
    fn is_true_of(&self, labels: &Labels) -> bool {
        let values = self.values.as_deref().unwrap_or_default();
        let has = labels.get(&self.key);
        let is_one = || has.is_some_and(|it| values.contains(it));
        match (self.operator.as_str(), values.is_empty()) {
            ("In", false) => is_one(),
            ("NotIn", false) => !is_one(),
            ("Exists", true) => has.is_some(),
            ("DoesNotExist", true) => has.is_none(),
            _ => false,
        }
    }
}

/// What of a pod policies look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Those of its service account.
    pub account: &'a Labels,
    /// Policies made after this (RFC 3339) came too late for it; `None`: none did.
    pub made: Option<&'a str>,
}

/// The ids of the groups that policies give a pod, in the order in which they say so; none when it is selected by none.
pub fn groups_of(policies: &[Policy], pod: Subject<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for policy in policies.iter().filter(|it| it.selects(pod)) {
        for id in policy.groups() {
            if !all.contains(id) {
                all.push(id.clone());
            }
        }
    }
    all
}

impl Policy {
    fn groups(&self) -> &[String] {
        let groups = self.spec.security_groups.as_ref();
        groups
            .and_then(|it| it.group_ids.as_deref())
            .unwrap_or_default()
    }

    /// Where both selectors are there, both must select; without either a policy selects nothing.
    fn selects(&self, pod: Subject<'_>) -> bool {
        let metadata = &self.metadata;
        let in_time = pod
            .made
            .is_none_or(|made| metadata.creation_timestamp.as_str() <= made);
        let spec = &self.spec;
        let by_pod = spec.pod_selector.as_ref().map(|it| it.selects(pod.labels));
        let by_account = spec.service_account_selector.as_ref();
        let by_account = by_account.map(|it| it.selects(pod.account));
        let mut both = [by_pod, by_account].into_iter().flatten().peekable();
        metadata.namespace == pod.namespace && in_time && both.peek().is_some() && both.all(|it| it)
    }
}

/// What makes the API server know policies.
pub(crate) fn definition() -> Manifest {
    let name = format!("securitygrouppolicies.{GROUP}");
    let selector = json!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
            "matchExpressions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string"},
                        "operator": {"type": "string"},
                        "values": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
                    },
                },
            },
        },
    });
    Manifest {
        path: format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"),
        object: json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "labels": {OWNED: "security-groups-of-pods"}},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": "SecurityGroupPolicy", "listKind": "SecurityGroupPolicyList",
                    "plural": "securitygrouppolicies", "singular": "securitygrouppolicy", "shortNames": ["sgp"],
                },
                "versions": [{
                    "name": VERSION, "served": true, "storage": true,
                    "additionalPrinterColumns": [{
                        "name": "Security-Group-Ids", "type": "string", "jsonPath": ".spec.securityGroups.groupIds",
                    }],
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "metadata": {"type": "object"},
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "podSelector": selector,
                                    "serviceAccountSelector": selector,
                                    "securityGroups": {
                                        "type": "object",
                                        "properties": {"groupIds": {
                                            "type": "array", "minItems": 1, "items": {"type": "string"},
                                        }},
                                    },
                                },
                            },
                        },
                    }},
                }],
            },
        }),
    }
}

/// Where the API server has the policies of a namespace.
pub fn policies_in(namespace: &str) -> String {
    format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/securitygrouppolicies")
}

/// The value of [`POD_ENI`], as AWS writes it but for what is not there: VLANs, and IPv6.
pub fn pod_eni(interface: &str, mac: &str, address: &str, subnet: &str) -> Value {
    json!([{"eniId": interface, "ifAddress": mac, "privateIp": address, "subnetCidr": subnet}])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: &Value) -> Policy {
        let metadata = json!({"namespace": "shop", "creationTimestamp": "2026-01-01T00:00:10Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn given(
        policies: &[Policy],
        labels: &[(&str, &str)],
        account: &[(&str, &str)],
    ) -> Vec<String> {
        let own = |all: &[(&str, &str)]| -> Labels {
            let all = all.iter();
            all.map(|(key, value)| ((*key).into(), (*value).into()))
                .collect()
        };
        let (labels, account) = (own(labels), own(account));
        let pod = Subject {
            namespace: "shop",
            labels: &labels,
            account: &account,
            made: None,
        };
        groups_of(policies, pod)
    }

    #[test]
    fn policies_select_by_labels_of_pods_and_of_accounts() {
        let groups = |ids: &[&str]| json!({"groupIds": ids});
        let db = policy(&json!({
            "podSelector": {"matchLabels": {"role": "db"}}, "securityGroups": groups(&["sg-1", "sg-2"]),
        }));
        let both = policy(&json!({
            "podSelector": {}, "serviceAccountSelector": {"matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["back"]}]},
            "securityGroups": groups(&["sg-2", "sg-3"]),
        }));
        let neither = policy(&json!({"securityGroups": groups(&["sg-9"])}));
        let broken = policy(&json!({
            "podSelector": {"matchExpressions": [{"key": "role", "operator": "In"}]}, "securityGroups": groups(&["sg-9"]),
        }));
        let bare = policy(&json!({"podSelector": {}}));
        let all = [db, both, neither, broken, bare];
        assert_eq!(given(&all, &[("role", "db")], &[]), ["sg-1", "sg-2"]);
        assert_eq!(given(&all, &[], &[("tier", "back")]), ["sg-2", "sg-3"]);
        let of_both = given(&all, &[("role", "db")], &[("tier", "back")]);
        assert_eq!(of_both, ["sg-1", "sg-2", "sg-3"]);
        assert!(given(&all, &[("role", "web")], &[("tier", "front")]).is_empty());
    }

    #[test]
    fn a_policy_selects_pods_of_its_namespace_that_came_after_it() {
        let all = [policy(
            &json!({"podSelector": {}, "securityGroups": {"groupIds": ["sg-1"]}}),
        )];
        let none = Labels::new();
        for (namespace, made, want) in [
            ("shop", None, 1),
            ("till", None, 0),
            ("shop", Some("2026-01-01T00:00:10Z"), 1),
            ("shop", Some("2026-01-01T00:00:09Z"), 0),
        ] {
            let pod = Subject {
                namespace,
                labels: &none,
                account: &none,
                made,
            };
            assert_eq!(groups_of(&all, pod).len(), want, "{namespace} {made:?}");
        }
    }

    #[test]
    fn expressions_are_those_of_kubernetes() {
        let expression = |operator: &str, values: &[&str]| -> Selector {
            let it = json!({"key": "a", "operator": operator, "values": values});
            serde_json::from_value(json!({"matchExpressions": [it]})).unwrap()
        };
        let with = Labels::from([("a".to_owned(), "1".to_owned())]);
        let without = Labels::new();
        for (operator, values, has, lacks) in [
            ("In", &["1"][..], true, false),
            ("NotIn", &["1"], false, true),
            ("NotIn", &["2"], true, true),
            ("Exists", &[], true, false),
            ("DoesNotExist", &[], false, true),
            ("Exists", &["1"], false, false),
            ("Gt", &["0"], false, false),
        ] {
            let it = expression(operator, values);
            assert_eq!(
                (it.selects(&with), it.selects(&without)),
                (has, lacks),
                "{operator}"
            );
        }
    }
}
