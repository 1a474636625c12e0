//! `eks-auth`: credentials for the pods of a service account, for the agent on their node
//! (<https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>).
//!
//! The agent signs as its node; the pod's token says for whom. Which role that is stands in the cluster's pod identity
//! associations, which [`PodIdentities`] looks up.

use std::sync::Arc;
use std::time::Duration;

use lath_authz::ResourceType;
use lath_iam::Tag;
use lath_model::Timestamp;
use lath_oidc::{BadTime, Claims, KeySet, Token};
use lath_policy::Principal;
use lath_service::operations;
use lath_store::View;
use lath_wire::{ApiError, Caller, ErrorStyle, Protocol, Service, ServiceInfo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Sts;
use crate::assume_role::AssumeRole;
use crate::trust::Facts;

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "eks-auth",
    model: "eks-auth",
    version: "2023-11-26",
    xmlns: "",
    target_prefix: "",
    protocols: &[Protocol::RestJson],
};

/// Whom the tokens of pods are for.
const AUDIENCE: &str = "pods.eks.amazonaws.com";
/// Who assumes the role.
const PRINCIPAL: &str = "pods.eks.amazonaws.com";
/// How long credentials last, whatever the role's longest session is, as those that other services hand out.
const LIFE: Duration = Duration::from_secs(6 * 3600);
/// Most characters of a session's name.
const SESSION_NAME: usize = 64;

/// The service of EKS that agents of pod identities call.
pub fn eks_auth_service(app: &Arc<Sts>) -> Service {
    let style = ErrorStyle::Constraint {
        code: "InvalidParameterException",
        wrong_type: "SerializationException",
    };
    register(
        Service::new(INFO)
            .held_to(&crate::bounds::eks_auth::CONSTRAINTS)
            .with_error_style(style),
        app,
    )
}

/// A cluster whose service accounts have tokens.
#[derive(Debug, Clone)]
pub struct TokenCluster {
    /// Its ARN.
    pub arn: String,
    /// Its issuer's URL.
    pub issuer: String,
    /// Its issuer's set of keys.
    pub keys: Value,
}

/// The role of a service account's pods.
#[derive(Debug, Clone)]
pub struct PodIdentityAssociation {
    /// Its ARN.
    pub arn: String,
    /// `a-...`.
    pub id: String,
    /// The role's ARN.
    pub role_arn: String,
}

/// Looks up clusters and their pod identity associations.
pub trait PodIdentities: Send + Sync {
    /// The cluster of this name.
    fn cluster(&self, view: &View, name: &str) -> Option<TokenCluster>;

    /// The association of a service account.
    fn association(
        &self,
        view: &View,
        cluster: &str,
        namespace: &str,
        service_account: &str,
    ) -> Option<PodIdentityAssociation>;
}

const CLUSTER: ResourceType = ResourceType {
    name: "cluster",
    arn: |at, name| at.arn("eks", &format!("cluster/{name}")),
    keys: &[],
    facts: |_, _| Vec::new(),
};

/// Credentials for a pod. It has no `Debug` output, because the token is a secret.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssumeRoleForPodIdentity {
    cluster_name: String,
    token: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForPod {
    subject: Subject,
    audience: String,
    pod_identity_association: Association,
    assumed_role_user: User,
    credentials: Keys,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subject {
    namespace: String,
    service_account: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Association {
    association_arn: String,
    association_id: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    arn: String,
    assume_role_id: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Keys {
    session_token: String,
    secret_access_key: String,
    access_key_id: String,
    expiration: Timestamp,
}

operations! {
    for Sts as "eks-auth";
    read AssumeRoleForPodIdentity: post "/clusters/{clusterName}/assume-role-for-pod-identity" 200 -> ForPod = assume,
        caller => on(&CLUSTER, |op, _| op.cluster_name.clone());
}

/// Whom a token is about, as Kubernetes says it.
struct Pod {
    namespace: String,
    service_account: String,
    /// Its name and uid.
    pod: Option<(String, String)>,
}

impl Pod {
    fn of(claims: &Claims) -> Option<Self> {
        let kubernetes = claims.get("kubernetes.io")?;
        let text = |at: &str| kubernetes.pointer(at).and_then(Value::as_str);
        let namespace = text("/namespace")?;
        let service_account = text("/serviceaccount/name")?;
        let subject = format!("system:serviceaccount:{namespace}:{service_account}");
        if claims.text("sub") != Some(&subject) {
            return None;
        }
        let pod = text("/pod/name").zip(text("/pod/uid"));
        Some(Self {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: pod.map(|(name, uid)| (name.to_owned(), uid.to_owned())),
        })
    }

    /// The tags of its sessions
    /// (<https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>).
    fn tags(&self, cluster_arn: &str, cluster: &str) -> Vec<Tag> {
        let mut tags = vec![
            ("eks-cluster-arn", cluster_arn),
            ("eks-cluster-name", cluster),
            ("kubernetes-namespace", &self.namespace),
            ("kubernetes-service-account", &self.service_account),
        ];
        if let Some((name, uid)) = &self.pod {
            tags.push(("kubernetes-pod-name", name));
            tags.push(("kubernetes-pod-uid", uid));
        }
        let tag = |(key, value): (&str, &str)| Tag {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        tags.into_iter().map(tag).collect()
    }

    /// `eks-CLUSTER-POD-UUID`, of which the middle is cut.
    fn session_name(&self, cluster: &str) -> String {
        let name = self.pod.as_ref().map_or("", |(name, _)| name);
        let uuid = uuid::Uuid::new_v4();
        let room = SESSION_NAME - format!("eks--{uuid}").len();
        let middle: String = format!("{cluster}-{name}").chars().take(room).collect();
        format!("eks-{middle}-{uuid}")
    }
}

fn assume(
    app: &Sts,
    view: &View,
    caller: &Caller,
    op: &AssumeRoleForPodIdentity,
) -> Result<ForPod, ApiError> {
    let lookup = app.pods.as_deref();
    let cluster = lookup.and_then(|it| it.cluster(view, &op.cluster_name));
    let (Some(lookup), Some(cluster)) = (lookup, cluster) else {
        return Err(not_found(format!(
            "No cluster found for name: {}.",
            op.cluster_name
        )));
    };
    let pod = proved(&cluster, &op.token, app.judge.now())?;
    let (namespace, account) = (&pod.namespace, &pod.service_account);
    let association = lookup.association(view, &op.cluster_name, namespace, account);
    let association = association.ok_or_else(|| {
        not_found(format!(
            "No pod identity association found for service account {account} in namespace {namespace}."
        ))
    })?;
    let tags = pod.tags(&cluster.arn, &op.cluster_name);
    let asked = AssumeRole {
        role_arn: association.role_arn.clone(),
        role_session_name: pod.session_name(&op.cluster_name),
        policy_arns: Vec::new(),
        policy: None,
        duration_seconds: None,
        transitive_tag_keys: tags.iter().map(|tag| tag.key.clone()).collect(),
        tags,
        external_id: None,
        source_identity: None,
    };
    let mut facts = Facts::of(app, caller, &asked);
    facts.set("aws:SourceAccount", app.judge.account());
    facts.set("aws:SourceArn", cluster.arn.clone());
    facts.set("aws:PrincipalIsAWSService", "true");
    facts.set("aws:PrincipalServiceName", PRINCIPAL);
    let who = Principal::Service(PRINCIPAL.to_owned());
    let role = app.judge.role_by_arn(view, &asked.role_arn);
    let role = role.filter(|it| app.trusts(view, it, &who, "sts:AssumeRole", &asked, &facts));
    let role = role.ok_or_else(|| {
        let text =
            "Unauthorized Exception! EKS does not have permissions to assume the associated role.";
        ApiError::new("AccessDeniedException", 400, text)
    })?;
    let mut session = app.session(view, None, &role, &asked)?;
    session.expires = session.issued.plus(LIFE);
    let user = app.assumed(&role, &asked.role_session_name);
    let keys = app.credentials(&session);
    Ok(ForPod {
        subject: Subject {
            namespace: pod.namespace,
            service_account: pod.service_account,
        },
        audience: AUDIENCE.to_owned(),
        pod_identity_association: Association {
            association_arn: association.arn,
            association_id: association.id,
        },
        assumed_role_user: User {
            arn: user.arn,
            assume_role_id: user.assumed_role_id,
        },
        credentials: Keys {
            session_token: keys.session_token,
            secret_access_key: keys.secret_access_key,
            access_key_id: keys.access_key_id,
            expiration: keys.expiration,
        },
    })
}

fn not_found(text: String) -> ApiError {
    ApiError::new("ResourceNotFoundException", 404, text)
}

fn bad_token(why: &str) -> ApiError {
    let text = format!("The token included in the request is invalid: {why}.");
    ApiError::new("InvalidTokenException", 400, text)
}

/// The pod of a token of this cluster.
fn proved(cluster: &TokenCluster, text: &str, now: Timestamp) -> Result<Pod, ApiError> {
    let token = Token::parse(text).map_err(|_| bad_token("it is no JSON Web Token"))?;
    let claims = token.claims();
    if claims.text("iss") != Some(&cluster.issuer) {
        return Err(bad_token("it is not of the cluster's issuer"));
    }
    if !claims.texts("aud").contains(&AUDIENCE) {
        return Err(bad_token("it is for another audience"));
    }
    let keys = KeySet::parse(&cluster.keys).unwrap_or_default();
    if keys.verify(&token).is_err() {
        return Err(bad_token("the cluster did not sign it"));
    }
    let checked = claims.check_time(now.as_millis() / 1000);
    match checked.map_err(|_| bad_token("it does not say how long it counts"))? {
        Ok(()) => {}
        Err(BadTime::Expired(ends)) => {
            let ends = Timestamp::from_millis(ends.saturating_mul(1000)).iso8601_seconds();
            let text = format!(
                "The token included in the request is expired: current date/time {} must be before the expiration date/time {ends}.",
                now.iso8601_millis()
            );
            return Err(ApiError::new("ExpiredTokenException", 400, text));
        }
        Err(BadTime::Early(_)) => return Err(bad_token("it does not count yet")),
    }
    Pod::of(claims).ok_or_else(|| bad_token("it is about no service account"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        Pod {
            namespace: "shop".into(),
            service_account: "cart".into(),
            pod: Some((name.into(), "u-1".into())),
        }
    }

    #[test]
    fn a_session_is_called_after_cluster_and_pod() {
        let short = pod("p").session_name("c");
        assert!(
            short.starts_with("eks-c-p-") && short.len() == 44,
            "{short}"
        );
        let long = pod(&"p".repeat(250)).session_name("cluster");
        assert!(long.starts_with("eks-cluster-pppp"), "{long}");
        assert_eq!(long.len(), SESSION_NAME, "{long}");
    }
}
