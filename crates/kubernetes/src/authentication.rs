//! Which issuers' tokens kube-apiserver takes from users: its AuthenticationConfiguration, which it reads again when the
//! file changes (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration>).

use lath_feed::{ControlPlane, IdentityProvider};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::POLICY_GROUPS;
use crate::files::shown;
use crate::manifests::KUBELET_CLIENT;
use crate::services::RESERVED_USERS;

/// The directory of [`FILE`], which is written from outside while the control plane runs.
pub const DIRECTORY: &str = "/etc/kubernetes/authentication";
/// The configuration.
pub const FILE: &str = "configuration.json";
/// The metric that says which configuration is in force.
const METRIC: &[u8] = b"apiserver_authentication_config_controller_last_config_info{";

/// The content of the file. `authorities` are those that vouch for the issuer's server, PEM, in the place of the host's.
pub fn configuration(plane: &ControlPlane, authorities: Option<&str>) -> String {
    let provider = plane.identity_provider.as_ref();
    let jwt: Vec<Value> = provider
        .map(|it| issuer(it, authorities))
        .into_iter()
        .collect();
    shown(&json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": jwt,
    }))
}

/// What EKS's members mean is what kube-apiserver's `--oidc-*` flags of those names mean.
fn issuer(it: &IdentityProvider, authorities: Option<&str>) -> Value {
    let mut issuer = json!({"url": it.issuer_url, "audiences": [it.client_id]});
    if let Some(authorities) = authorities {
        issuer["certificateAuthority"] = authorities.into();
    }
    let claim = it.username_claim.as_deref().unwrap_or("sub");
    let prefix = match it.username_prefix.as_deref() {
        Some("-") => String::new(),
        Some(prefix) => prefix.to_owned(),
        None if claim == "email" => String::new(),
        None => format!("{}#", it.issuer_url),
    };
    let mut mappings = json!({"username": {"claim": claim, "prefix": prefix}});
    if let Some(claim) = &it.groups_claim {
        let prefix = it.groups_prefix.as_deref().unwrap_or_default();
        mappings["groups"] = json!({"claim": claim, "prefix": prefix});
    }
    let required = it.required_claims.iter();
    let required = required.map(|(claim, value)| json!({"claim": claim, "requiredValue": value}));
    let user = |prefix: &str| {
        json!({
            "expression": format!("!user.username.startsWith('{prefix}')"),
            "message": format!("users that begin with {prefix} are not an issuer's to name"),
        })
    };
    let reserved = |prefix: &str| {
        json!({
            "expression": format!("user.groups.all(it, !it.startsWith('{prefix}'))"),
            "message": format!("groups that begin with {prefix} are not an issuer's to give"),
        })
    };
    json!({
        "issuer": issuer,
        "claimMappings": mappings,
        "claimValidationRules": required.collect::<Vec<_>>(),
        // Users that Lath itself is, or binds to roles; who else is an administrator is for access entries and bindings to say.
        "userValidationRules": [
            user("system:"),
            user(RESERVED_USERS),
            {
                "expression": format!("user.username != '{KUBELET_CLIENT}'"),
                "message": format!("the user {KUBELET_CLIENT} is not an issuer's to name"),
            },
            reserved("system:"),
            reserved(POLICY_GROUPS),
        ],
    })
}

/// Whether metrics of kube-apiserver say that this configuration is in force.
pub fn is_in_force(metrics: &[u8], configuration: &str) -> bool {
    let digest = Sha256::digest(configuration);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted = format!("hash=\"sha256:{digest}\"");
    let mut lines = metrics.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let labels = line
            .strip_prefix(METRIC)
            .and_then(|it| std::str::from_utf8(it).ok());
        let labels = labels.and_then(|it| it.split_once('}'));
        labels.is_some_and(|(labels, _)| labels.split(',').any(|it| it == wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::METRICS_USER;
    use crate::testing;

    fn provider() -> IdentityProvider {
        IdentityProvider {
            name: "corporate".into(),
            issuer_url: "https://issuer.example.com".into(),
            client_id: "kubectl".into(),
            username_claim: None,
            username_prefix: None,
            groups_claim: Some("groups".into()),
            groups_prefix: None,
            required_claims: [("tenant".to_owned(), "a".to_owned())].into(),
            authorities: None,
        }
    }

    fn prefix(it: &IdentityProvider) -> String {
        let prefix = &issuer(it, None)["claimMappings"]["username"]["prefix"];
        prefix.as_str().unwrap().to_owned()
    }

    #[test]
    fn names_of_users_have_the_prefix_that_flags_would_give() {
        let mut it = provider();
        assert_eq!(prefix(&it), "https://issuer.example.com#");
        it.username_claim = Some("email".into());
        assert_eq!(prefix(&it), "");
        it.username_prefix = Some("oidc:".into());
        assert_eq!(prefix(&it), "oidc:");
        it.username_prefix = Some("-".into());
        assert_eq!(prefix(&it), "");
    }

    #[test]
    fn no_token_names_a_user_that_lath_binds_to_a_role() {
        let configured = issuer(&provider(), None);
        let rules = configured["userValidationRules"].as_array().unwrap();
        let has = |expression: &str| rules.iter().any(|it| it["expression"] == expression);
        assert!(has("!user.username.startsWith('system:')"));
        assert!(has("!user.username.startsWith('lath:')"));
        assert!(has("user.username != 'kube-apiserver-kubelet-client'"));
        assert!(METRICS_USER.starts_with(RESERVED_USERS));
    }

    #[test]
    fn the_configuration_in_force_is_known_by_its_digest() {
        let mut plane = testing::plane();
        let none = configuration(&plane, None);
        plane.identity_provider = Some(provider());
        let one = configuration(&plane, Some("PEM"));
        let digest = Sha256::digest(&one);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let metrics = format!(
            "# HELP x\napiserver_authentication_config_controller_last_config_info{{apiserver_id_hash=\"sha256:00\",hash=\"sha256:{digest}\"}} 1\n"
        );
        assert!(is_in_force(metrics.as_bytes(), &one));
        assert!(!is_in_force(metrics.as_bytes(), &none));
        assert!(!is_in_force(b"", &one));
        let parsed: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(parsed["jwt"][0]["issuer"]["certificateAuthority"], "PEM");
    }
}
