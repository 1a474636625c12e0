//! Who a principal is in a cluster: access entries, then the ConfigMap `kube-system/aws-auth`, then its creator.

use std::collections::{BTreeMap, BTreeSet};

use lath_feed::{AccessEntry, AccessPolicy, ClusterAccess};
use serde_json::{Value, json};

use crate::auth_map::{AuthMap, Mapping};

/// Groups of access policies begin with this; entries and the ConfigMap cannot give them.
pub const POLICY_GROUPS: &str = "eks:access-policy:";
/// The group of administrators, which no binding is needed for.
const MASTERS: &str = "system:masters";

/// A principal that a token proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its own ARN; of a session, the session's.
    pub arn: String,
    /// The ARN of its user or role, with its path.
    pub identity_arn: String,
    /// Its account.
    pub account: String,
    /// Its unique id; of a session, `AROA...:SESSION`.
    pub user_id: String,
    /// The access key that signed.
    pub access_key: String,
    /// The private DNS name of the instance that the session is of.
    pub instance_name: Option<String>,
}

/// Who a principal is in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl Principal {
    /// The ARN without the path of a role, by which the ConfigMap names it: `arn:aws:iam::A:role/ROLE`.
    pub fn canonical_arn(&self) -> String {
        match self.identity_arn.split_once(":role/") {
            Some((before, path)) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                format!("{before}:role/{name}")
            }
            None => self.identity_arn.clone(),
        }
    }

    /// The name of the session, as it was given.
    fn session_name(&self) -> &str {
        if !self.arn.contains(":assumed-role/") {
            return "";
        }
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is the principal that had a unique id; where none is known, its ARN decides alone.
    fn has_id(&self, unique_id: Option<&String>) -> bool {
        let own = self.user_id.split(':').next();
        unique_id.is_none_or(|it| own == Some(it.as_str()))
    }

    /// A user name with its placeholders filled; `None` when one cannot be.
    fn filled(&self, template: &str) -> Option<String> {
        let session = self.session_name();
        let values = [
            ("{{AccountID}}", Some(self.account.clone())),
            ("{{SessionName}}", Some(session.replace('@', "-"))),
            ("{{SessionNameRaw}}", Some(session.to_owned())),
            ("{{AccessKeyID}}", Some(self.access_key.clone())),
            ("{{EC2PrivateDNSName}}", self.instance_name.clone()),
        ];
        let mut parts = template.split("{{");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once("}}")?;
            let name = format!("{{{{{name}}}}}");
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            filled.push_str(value.as_deref()?);
            filled.push_str(rest);
        }
        Some(filled)
    }
}

/// Who the principal is; `None`: unknown.
pub fn user(principal: &Principal, access: &ClusterAccess, map: Option<&AuthMap>) -> Option<User> {
    if access.entries_count
        && let Some(entry) = access.entries.get(&principal.identity_arn)
        && principal.has_id(entry.unique_id.as_ref())
    {
        return of_entry(principal, entry);
    }
    let map = map.filter(|_| access.config_map_counts);
    if let Some(user) = map.and_then(|map| of_map(principal, map)) {
        return Some(user);
    }
    let is_creator = access.creator.as_ref() == Some(&principal.identity_arn)
        && principal.has_id(access.creator_id.as_ref());
    is_creator.then(|| User {
        name: "kubernetes-admin".to_owned(),
        groups: vec![MASTERS.to_owned()],
    })
}

fn of_entry(principal: &Principal, entry: &AccessEntry) -> Option<User> {
    let given = entry.groups.iter();
    let given = given
        .filter(|group| !group.starts_with(POLICY_GROUPS))
        .cloned();
    let policies = entry.policies.iter().flat_map(groups_of);
    Some(User {
        name: principal.filled(&entry.username)?,
        groups: given.chain(policies).collect(),
    })
}

fn of_map(principal: &Principal, map: &AuthMap) -> Option<User> {
    let arn = principal.canonical_arn();
    let named = |it: &&Mapping| it.arn.eq_ignore_ascii_case(&arn);
    let mapped = map.roles.iter().find(named);
    let mapped = mapped.or_else(|| map.users.iter().find(named));
    if let Some(mapping) = mapped {
        let given = mapping.groups.iter();
        let given = given.filter(|group| !group.starts_with(POLICY_GROUPS));
        return Some(User {
            name: principal.filled(&mapping.username)?,
            groups: given.cloned().collect(),
        });
    }
    let of_account = map.accounts.contains(&principal.account);
    of_account.then(|| User {
        name: arn,
        groups: Vec::new(),
    })
}

/// The groups that a policy gives: one for the whole cluster, or one for each pattern of namespaces.
fn groups_of(policy: &AccessPolicy) -> Vec<String> {
    let name = &policy.name;
    match &policy.namespaces {
        None => vec![format!("{POLICY_GROUPS}{name}")],
        Some(patterns) => {
            let patterns = patterns.iter();
            patterns
                .map(|pattern| namespaced_group(name, pattern))
                .collect()
        }
    }
}

fn namespaced_group(policy: &str, pattern: &str) -> String {
    format!("{POLICY_GROUPS}{policy}:{pattern}")
}

/// The ClusterRole that holds what a policy allows; `None`: it allows nothing that RBAC knows.
pub fn cluster_role(policy: &str) -> Option<&'static str> {
    match policy {
        "AmazonEKSClusterAdminPolicy" => Some("cluster-admin"),
        "AmazonEKSAdminPolicy" => Some("admin"),
        "AmazonEKSAdminViewPolicy" => Some("eks:admin-view"),
        "AmazonEKSEditPolicy" => Some("edit"),
        "AmazonEKSViewPolicy" => Some("view"),
        _ => None,
    }
}

/// The policies that [`cluster_role`] knows.
pub const POLICIES: [&str; 5] = [
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
];

/// RoleBindings that a cluster needs, by namespace and name, for policies that hold in some namespaces only.
pub fn role_bindings(
    access: &ClusterAccess,
    namespaces: &BTreeSet<String>,
) -> BTreeMap<(String, String), Value> {
    let policies = access.entries.values().flat_map(|entry| &entry.policies);
    let mut bindings = BTreeMap::new();
    for policy in policies.filter(|_| access.entries_count) {
        let Some(role) = cluster_role(&policy.name) else {
            continue;
        };
        for pattern in policy.namespaces.iter().flatten() {
            let group = namespaced_group(&policy.name, pattern);
            for namespace in namespaces.iter().filter(|it| matches(pattern, it)) {
                let binding = role_binding(namespace, &group, role);
                bindings.insert((namespace.clone(), group.clone()), binding);
            }
        }
    }
    bindings
}

fn role_binding(namespace: &str, group: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": group, "namespace": namespace,
            "labels": {crate::manifests::OWNED: "access-policy"},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    })
}

/// Whether a pattern, possibly with a `*` at its end, has that namespace.
fn matches(pattern: &str, namespace: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => namespace.starts_with(beginning),
        None => pattern == namespace,
    }
}

/// The answer to a TokenReview: the user of the token, or why there is none.
pub fn token_review(outcome: Result<(&Principal, &User), &str>) -> Value {
    let status = match outcome {
        Ok((principal, user)) => json!({
            "authenticated": true,
            "user": {
                "username": user.name,
                "uid": format!("aws-iam-authenticator:{}:{}", principal.account, principal.user_id),
                "groups": user.groups,
                "extra": {
                    "arn": [principal.arn],
                    "canonicalArn": [principal.canonical_arn()],
                    "sessionName": [principal.session_name()],
                    "accessKeyId": [principal.access_key],
                    "principalId": [principal.user_id],
                },
            },
        }),
        Err(reason) => json!({"authenticated": false, "error": reason}),
    };
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Principal {
        Principal {
            arn: "arn:aws:sts::1:assumed-role/dev/ann@example".into(),
            identity_arn: "arn:aws:iam::1:role/teams/dev".into(),
            account: "1".into(),
            user_id: "AROA1:ann@example".into(),
            access_key: "ASIA1".into(),
            instance_name: None,
        }
    }

    fn access(username: &str) -> ClusterAccess {
        let entry = AccessEntry {
            unique_id: None,
            username: username.into(),
            groups: vec![
                "devs".into(),
                format!("{POLICY_GROUPS}AmazonEKSAdminPolicy"),
            ],
            policies: vec![
                AccessPolicy {
                    name: "AmazonEKSViewPolicy".into(),
                    namespaces: None,
                },
                AccessPolicy {
                    name: "AmazonEKSEditPolicy".into(),
                    namespaces: Some(vec!["shop".into(), "team-*".into()]),
                },
            ],
        };
        ClusterAccess {
            entries_count: true,
            config_map_counts: true,
            creator: Some("arn:aws:iam::1:user/root".into()),
            creator_id: None,
            entries: [(session().identity_arn, entry)].into(),
        }
    }

    #[test]
    fn entries_go_before_the_config_map_and_that_before_the_creator() {
        let map = AuthMap {
            roles: vec![Mapping {
                arn: "arn:aws:iam::1:role/dev".into(),
                username: "mapped:{{SessionName}}".into(),
                groups: vec!["mapped".into()],
            }],
            ..AuthMap::default()
        };
        let mut access = access("{{AccountID}}:{{SessionName}}/{{SessionNameRaw}}");
        let found = user(&session(), &access, Some(&map)).unwrap();
        assert_eq!(found.name, "1:ann-example/ann@example");
        let groups = [
            "devs",
            "eks:access-policy:AmazonEKSViewPolicy",
            "eks:access-policy:AmazonEKSEditPolicy:shop",
            "eks:access-policy:AmazonEKSEditPolicy:team-*",
        ];
        assert_eq!(found.groups, groups);
        access.entries_count = false;
        let found = user(&session(), &access, Some(&map)).unwrap();
        assert_eq!(found.name, "mapped:ann-example");
        assert_eq!(user(&session(), &access, None), None);
        access.creator = Some(session().identity_arn);
        let found = user(&session(), &access, None).unwrap();
        assert_eq!(found.groups, [MASTERS]);
        access.config_map_counts = false;
        assert_eq!(user(&session(), &access, Some(&map)).unwrap(), found);
    }

    #[test]
    fn a_later_principal_of_the_same_name_is_another() {
        let mut access = access("dev");
        let arn = session().identity_arn;
        for (id, counts) in [
            ("AROA1", true),
            ("AROA0", false),
            ("AROA1:ann@example", false),
        ] {
            access.entries.get_mut(&arn).unwrap().unique_id = Some(id.into());
            assert_eq!(user(&session(), &access, None).is_some(), counts, "{id}");
        }
        access.creator = Some(arn);
        access.creator_id = Some("AROA0".into());
        assert_eq!(user(&session(), &access, None), None);
        access.creator_id = Some("AROA1".into());
        let found = user(&session(), &access, None).unwrap();
        assert_eq!(found.groups, [MASTERS]);
    }

    #[test]
    fn a_name_that_cannot_be_filled_is_nobodys() {
        for (template, want) in [
            ("{{EC2PrivateDNSName}}", None),
            ("{{Other}}", None),
            ("{{AccessKeyID", None),
            ("plain", Some("plain")),
        ] {
            let found = user(&session(), &access(template), None);
            assert_eq!(
                found.as_ref().map(|it| it.name.as_str()),
                want,
                "{template}"
            );
        }
    }

    #[test]
    fn policies_of_namespaces_are_bound_where_they_match() {
        let there = ["shop", "shop2", "team-a", "default"];
        let there = there.map(str::to_owned).into_iter().collect();
        let bindings = role_bindings(&access("x"), &there);
        let places: Vec<_> = bindings
            .keys()
            .map(|(namespace, _)| namespace.as_str())
            .collect();
        assert_eq!(places, ["shop", "team-a"]);
    }
}
