//! Whom trust policies name. A user or role is held to its unique id from when the policy is saved: one that is made
//! later under the same name is somebody else, and the policy shows the id of the one that is gone
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).

use std::borrow::Cow;
use std::collections::BTreeMap;

use lath_policy::{Grammar, Policy, Scope};
use lath_store::View;
use lath_wire::ApiError;
use serde_json::Value;

use crate::Iam;
use crate::check;
use crate::errors::malformed;
use crate::records::{Role, User, key};

/// Most characters of a trust policy.
const MOST: usize = 2048;

/// The unique ids of the users and roles that a policy names, by what names them.
pub(crate) type Named = BTreeMap<String, String>;

/// Reads a trust policy: of STS's actions, and whom it names in this account must exist.
pub(crate) fn check(app: &Iam, view: &View, text: &str) -> Result<Named, ApiError> {
    let (cell, quota) = (&app.cell, "ACLSizePerRole");
    check::document(cell, text, Grammar::Trust, quota, MOST)?;
    let policy = Policy::parse(text, Grammar::Trust).map_err(|error| malformed(error.0))?;
    let mut named = Named::new();
    for statement in &policy.statements {
        let Some(Scope::These(set) | Scope::AllBut(set)) = &statement.principals else {
            continue;
        };
        for name in set.aws() {
            match holder(view, &cell.account, name) {
                Holder::Elsewhere => {}
                Holder::Here(id) => drop(named.insert(name.clone(), id)),
                Holder::Nobody => {
                    let text = format!("Invalid principal in policy: \"AWS\":\"{name}\"");
                    return Err(malformed(text));
                }
            }
        }
    }
    Ok(named)
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

fn holder(view: &View, account: &str, name: &str) -> Holder {
    let found = |id: Option<String>| id.map_or(Holder::Nobody, Holder::Here);
    if name.starts_with("AIDA") || name.starts_with("AROA") {
        return found(arn_of(view, account, name).map(|_| name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let [_, _, service, _, owner, resource] = parts[..] else {
        return Holder::Elsewhere;
    };
    if owner != account {
        return Holder::Elsewhere;
    }
    match (service, resource.split_once('/')) {
        ("iam", Some(("user", _))) => {
            let mut users = view.list::<User>();
            found(
                users
                    .find(|it| it.arn(account) == name)
                    .map(|it| it.unique_id.clone()),
            )
        }
        ("iam", Some(("role", _))) => {
            let mut roles = view.list::<Role>();
            found(
                roles
                    .find(|it| it.arn(account) == name)
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

fn arn_of(view: &View, account: &str, unique_id: &str) -> Option<String> {
    let user = view.list::<User>().find(|it| it.unique_id == unique_id);
    user.map(|it| it.arn(account)).or_else(|| {
        let role = view.list::<Role>().find(|it| it.unique_id == unique_id);
        role.map(|it| it.arn(account))
    })
}

/// What names a user or role now: its ARN, also after it was renamed, and its unique id once it is gone.
fn name_now(view: &View, account: &str, written: &str, unique_id: &str) -> String {
    let gone = || unique_id.to_owned();
    let session = written.split_once(":assumed-role/");
    match session.and_then(|(start, rest)| Some((start, rest.split_once('/')?.1))) {
        None => arn_of(view, account, unique_id).unwrap_or_else(gone),
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
pub fn trust_in_force<'a>(view: &View, account: &str, role: &'a Role) -> Cow<'a, str> {
    let moved: BTreeMap<&str, String> = role
        .trusted
        .iter()
        .map(|(written, id)| (&**written, name_now(view, account, written, id)))
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
