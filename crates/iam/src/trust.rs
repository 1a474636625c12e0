//! Whom trust policies name. A user or role is held to its unique id from when the policy is saved: one that is made
//! later under the same name is somebody else, and the policy shows the id of the one that is gone
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).

use std::borrow::Cow;
use std::collections::BTreeMap;

use lath_control::Cell;
use lath_model::Owner;
use lath_policy::{Grammar, Policy, PrincipalSet, Scope};
use lath_store::View;
use lath_wire::ApiError;
use serde_json::Value;

use crate::Iam;
use crate::check;
use crate::errors::malformed;
use crate::records::{Role, User, key};
use crate::unique;

/// Most characters of a trust policy.
const MOST: usize = 2048;

/// The unique ids of the users and roles that a policy names, by what names them.
pub(crate) type Named = BTreeMap<String, String>;

/// Reads a trust policy: of STS's actions, and whom it names in this account must exist.
pub(crate) fn check(app: &Iam, view: &View, text: &str) -> Result<Named, ApiError> {
    let (cell, quota) = (&app.cell, "ACLSizePerRole");
    check::document(cell, text, Grammar::Trust, quota, MOST)?;
    let policy = Policy::parse(text, Grammar::Trust).map_err(|error| malformed(error.0))?;
    let mut federated = sets(&policy).flat_map(PrincipalSet::federated);
    if federated.any(|name| !is_provider(cell.partition().name(), name)) {
        let text = "Federated principals must be valid domain names or SAML metadata ARNs";
        return Err(malformed(text));
    }
    let mut named = Named::new();
    for name in names(&policy) {
        match holder(view, cell.owner(), name) {
            Holder::Elsewhere => {}
            Holder::Here(id) => drop(named.insert(name.clone(), id)),
            Holder::Nobody => {
                let text = format!("Invalid principal in policy: \"AWS\":\"{name}\"");
                return Err(malformed(text));
            }
        }
    }
    Ok(named)
}

/// Whether this is the ARN of an identity provider, which need not exist yet, or the domain of one that AWS knows by name,
/// such as `accounts.google.com`.
fn is_provider(partition: &str, name: &str) -> bool {
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match parts[..] {
        ["arn", named, "iam", "", account, resource] => {
            let resources = ["oidc-provider/", "saml-provider/"];
            let mut named_after = resources.iter().filter_map(|it| resource.strip_prefix(it));
            named == partition
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && named_after.any(|it| !it.is_empty() && !it.contains(['*', '?']))
        }
        [domain] => {
            let of_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let is_label = |label: &str| !label.is_empty() && label.bytes().all(of_label);
            domain.contains('.') && domain.split('.').all(is_label)
        }
        _ => false,
    }
}

/// Whom a policy names in the principal `AWS`.
fn names(policy: &Policy) -> impl Iterator<Item = &String> {
    sets(policy).flat_map(PrincipalSet::aws)
}

fn sets(policy: &Policy) -> impl Iterator<Item = &PrincipalSet> {
    let principals = policy
        .statements
        .iter()
        .filter_map(|it| it.principals.as_ref());
    principals.map(|it| match it {
        Scope::These(set) | Scope::AllBut(set) => set,
    })
}

/// Holds whom the trust policies of older versions name to the unique ids of those who have the names now, as
/// saving does. A name without a holder gets an id that no principal will ever have. Answers how many roles changed.
///
/// # Errors
/// Those of the store.
pub async fn pin_trust_policies(cell: &Cell) -> Result<usize, ApiError> {
    if !cell.topology.is_home() || unpinned(cell, &cell.db.view()).is_empty() {
        return Ok(0);
    }
    cell.db
        .write(|tx| {
            let roles = unpinned(cell, tx.view());
            let count = roles.len();
            roles.into_iter().for_each(|role| drop(tx.put(role)));
            Ok(count)
        })
        .await
}

/// The roles whose policies name users or roles that are not held to their ids, with all of them held.
fn unpinned(cell: &Cell, view: &View) -> Vec<Role> {
    let pinned = |role: std::sync::Arc<Role>| {
        let policy = Policy::parse(&role.trust, Grammar::Trust).ok()?;
        let new: Named = names(&policy)
            .filter(|name| !role.trusted.contains_key(*name))
            .filter_map(|name| Some((name.clone(), id_for(view, cell.owner(), name)?)))
            .collect();
        let mut role = Role::clone(&role);
        role.trusted.extend(new.clone());
        (!new.is_empty()).then_some(role)
    };
    view.list::<Role>().filter_map(pinned).collect()
}

/// Unique ids name themselves, and who is of another account has none here.
fn id_for(view: &View, owner: Owner<'_>, name: &str) -> Option<String> {
    match holder(view, owner, name) {
        Holder::Elsewhere => None,
        Holder::Here(id) => Some(id),
        Holder::Nobody if !name.contains(':') => None,
        Holder::Nobody if name.contains(":user/") => Some(unique::id("AIDA")),
        Holder::Nobody => Some(unique::id("AROA")),
    }
}

/// Who a principal is.
enum Holder {
    /// An account, or of another account: nothing is known of it.
    Elsewhere,
    /// A user or role of this account, by its unique id.
    Here(String),
    /// Of this account, which has no such user or role.
    Nobody,
}

fn holder(view: &View, owner: Owner<'_>, name: &str) -> Holder {
    let found = |id: Option<String>| id.map_or(Holder::Nobody, Holder::Here);
    if name.starts_with("AIDA") || name.starts_with("AROA") {
        return found(arn_of(view, owner, name).map(|_| name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let [_, _, service, _, account, resource] = parts[..] else {
        return Holder::Elsewhere;
    };
    if account != owner.account {
        return Holder::Elsewhere;
    }
    match (service, resource.split_once('/')) {
        ("iam", Some(("user", _))) => {
            let mut users = view.list::<User>();
            found(
                users
                    .find(|it| it.arn(owner) == name)
                    .map(|it| it.unique_id.clone()),
            )
        }
        ("iam", Some(("role", _))) => {
            let mut roles = view.list::<Role>();
            found(
                roles
                    .find(|it| it.arn(owner) == name)
                    .map(|it| it.unique_id.clone()),
            )
        }
        ("sts", Some(("assumed-role", session))) => {
            let role = session.split('/').next().unwrap_or_default();
            let role = view.get::<Role>(&key(role));
            found(role.map(|it| it.unique_id.clone()))
        }
        _ => Holder::Elsewhere,
    }
}

fn arn_of(view: &View, owner: Owner<'_>, unique_id: &str) -> Option<String> {
    let user = view.list::<User>().find(|it| it.unique_id == unique_id);
    user.map(|it| it.arn(owner)).or_else(|| {
        let role = view.list::<Role>().find(|it| it.unique_id == unique_id);
        role.map(|it| it.arn(owner))
    })
}

/// What names a user or role now: its ARN, also after it was renamed, and its unique id once it is gone.
fn name_now(view: &View, owner: Owner<'_>, written: &str, unique_id: &str) -> String {
    let gone = || unique_id.to_owned();
    let session = written.split_once(":assumed-role/");
    match session.and_then(|(start, rest)| Some((start, rest.split_once('/')?.1))) {
        None => arn_of(view, owner, unique_id).unwrap_or_else(gone),
        Some((start, session)) => {
            let mut roles = view.list::<Role>();
            let role = roles.find(|it| it.unique_id == unique_id);
            role.map_or_else(gone, |it| {
                format!("{start}:assumed-role/{}/{session}", it.name)
            })
        }
    }
}

/// A role's trust policy, with principals as they are now.
pub fn trust_in_force<'a>(view: &View, owner: Owner<'_>, role: &'a Role) -> Cow<'a, str> {
    let moved: BTreeMap<&str, String> = role
        .trusted
        .iter()
        .map(|(written, id)| (&**written, name_now(view, owner, written, id)))
        .filter(|(written, now)| now != written)
        .collect();
    if moved.is_empty() {
        return Cow::Borrowed(&role.trust);
    }
    let Ok(mut document) = serde_json::from_str::<Value>(&role.trust) else {
        return Cow::Borrowed(&role.trust);
    };
    for statement in items(&mut document["Statement"]) {
        for member in ["Principal", "NotPrincipal"] {
            let named = statement.get_mut(member).and_then(|it| it.get_mut("AWS"));
            for name in named.into_iter().flat_map(items) {
                if let Some(now) = name.as_str().and_then(|it| moved.get(it)) {
                    *name = Value::String(now.clone());
                }
            }
        }
    }
    Cow::Owned(document.to_string())
}

/// The items of a list, or the one that stands alone.
fn items(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(items) => items.iter_mut().collect(),
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Policies;
    use lath_model::Timestamp;

    fn role(name: &str, trusts: &[&str]) -> Role {
        let statement = serde_json::json!({
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": trusts}
        });
        let document = serde_json::json!({"Version": "2012-10-17", "Statement": [statement]});
        Role {
            name: name.into(),
            unique_id: unique::id("AROA"),
            path: "/".into(),
            description: None,
            trust: document.to_string(),
            trusted: Named::new(),
            max_session: 3600,
            policies: Policies::default(),
            tags: Default::default(),
            created_at: Timestamp::default(),
        }
    }

    fn user(name: &str) -> User {
        User {
            name: name.into(),
            unique_id: unique::id("AIDA"),
            path: "/".into(),
            policies: Policies::default(),
            groups: Default::default(),
            tags: Default::default(),
            created_at: Timestamp::default(),
        }
    }

    #[test]
    fn a_federated_principal_is_a_provider() {
        for (name, want) in [
            (
                "arn:aws:iam::123456789012:oidc-provider/example.com/id/X",
                true,
            ),
            ("arn:aws:iam::123456789012:saml-provider/x", true),
            ("cognito-identity.amazonaws.com", true),
            ("accounts.google.com", true),
            (
                "arn:aws-cn:iam::123456789012:oidc-provider/example.com",
                false,
            ),
            ("arn:aws:iam::123456789012:oidc-provider/", false),
            ("arn:aws:iam::123456789012:oidc-provider/*", false),
            ("arn:aws:iam::1:oidc-provider/example.com", false),
            ("arn:aws:iam::123456789012:role/x", false),
            ("example", false),
            ("https://example.com", false),
            ("example..com", false),
        ] {
            assert_eq!(is_provider("aws", name), want, "{name}");
        }
    }

    #[tokio::test]
    async fn policies_of_older_versions_are_held_to_ids_once() {
        let (cell, _observe) = Cell::for_test();
        let account = &cell.account;
        let arn = |resource: &str| format!("arn:aws:iam::{account}:{resource}");
        let (ann, gone, other) = (arn("user/ann"), arn("user/gone"), arn("role/other"));
        let foreign = "arn:aws:iam::999999999999:user/eve".to_owned();
        let ann_now = user("ann");
        let wanted = role("wanted", &[&ann, &gone, &other, &foreign, account]);
        let written = cell.db.write(|tx| {
            tx.put(ann_now.clone());
            tx.put(role("other", &[account]));
            tx.put(wanted);
            Ok::<_, ApiError>(())
        });
        written.await.unwrap();
        assert_eq!(pin_trust_policies(&cell).await.unwrap(), 1);
        assert_eq!(pin_trust_policies(&cell).await.unwrap(), 0, "once");
        let view = cell.db.view();
        let held = view.get::<Role>("wanted").unwrap();
        let names: Vec<_> = held.trusted.keys().collect();
        assert_eq!(names, [&other, &ann, &gone]);
        assert_eq!(held.trusted[&ann], ann_now.unique_id);
        assert_eq!(
            trust_in_force(&view, cell.owner(), &held)
                .matches("AIDA")
                .count(),
            1,
            "who is gone is an id"
        );

        // Made anew under their names, ann and the one who was gone are others.
        let written = cell.db.write(|tx| {
            tx.put(user("ann"));
            tx.put(user("gone"));
            Ok::<_, ApiError>(())
        });
        written.await.unwrap();
        let view = cell.db.view();
        let said = trust_in_force(&view, cell.owner(), &held).into_owned();
        assert!(!said.contains(&ann) && !said.contains(&gone), "{said}");
        assert!(said.contains(&other) && said.contains(&foreign), "{said}");
    }
}
