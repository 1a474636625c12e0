//! Users' access keys.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use crate::errors::{constraint, limit, no_such_entity};
use crate::holder::find;
use crate::page::{cut, page};
use crate::records::{self, User, key};
use crate::resource_types::{USER, about};
use crate::users::named;
use crate::{Iam, unique};

/// Most keys of one user.
const MAX_KEYS: usize = 2;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateAccessKey {
    user_name: Option<String>,
}

/// It does not print: it holds a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AccessKey {
    user_name: String,
    access_key_id: String,
    status: String,
    secret_access_key: String,
    create_date: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneKey {
    access_key: AccessKey,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListAccessKeys {
    user_name: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AccessKeyMetadata {
    user_name: Option<String>,
    access_key_id: Option<String>,
    status: Option<String>,
    create_date: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyList {
    access_key_metadata: Vec<AccessKeyMetadata>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Active,
    Inactive,
    Expired,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateAccessKey {
    user_name: Option<String>,
    access_key_id: String,
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteAccessKey {
    user_name: Option<String>,
    access_key_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetAccessKeyLastUsed {
    access_key_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AccessKeyLastUsed {
    last_used_date: Option<Timestamp>,
    service_name: String,
    region: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyUse {
    user_name: Option<String>,
    access_key_last_used: Option<AccessKeyLastUsed>,
}

operations! {
    for Iam as "iam";
    change CreateAccessKey -> OneKey = create, caller => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    read ListAccessKeys -> KeyList = list, caller => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    change UpdateAccessKey -> () = update, caller => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    change DeleteAccessKey -> () = delete, caller => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    read GetAccessKeyLastUsed -> KeyUse = last_used => on(&USER, |op, at| {
            let key = at.view.get::<records::AccessKey>(&op.access_key_id);
            key.map(|it| it.user.clone())
        });
}

fn status(active: bool) -> String {
    if active { "Active" } else { "Inactive" }.into()
}

fn create(
    app: &Iam,
    tx: &mut Tx,
    caller: &Caller,
    op: CreateAccessKey,
) -> Result<OneKey, ApiError> {
    let user = find::<User>(tx.view(), named(caller, op.user_name.as_deref())?)?;
    let own = |it: &std::sync::Arc<records::AccessKey>| key(&it.user) == key(&user.name);
    if app.is_strict() && tx.list::<records::AccessKey>().filter(own).count() >= MAX_KEYS {
        return Err(limit("AccessKeysPerUser", MAX_KEYS));
    }
    let made = tx.put(records::AccessKey {
        id: unique::access_key_id("AKIA"),
        secret: unique::secret(),
        user: user.name.clone(),
        active: true,
        created_at: tx.now(),
    });
    let access_key = AccessKey {
        user_name: made.user.clone(),
        access_key_id: made.id.clone(),
        status: status(true),
        secret_access_key: made.secret.clone(),
        create_date: Some(made.created_at),
    };
    Ok(OneKey { access_key })
}

/// Whether a request is about the account's root: it calls, and names no user.
fn of_root(app: &Iam, caller: &Caller, user: Option<&str>) -> bool {
    user.is_none() && caller.principal.user_id == app.cell.account
}

/// The root's key, with which it calls, is the installation's own: it is neither put away nor replaced by the API.
fn refused_to_root(caller: &Caller, id: &str) -> ApiError {
    if caller.access_key_id == id {
        let text = "The root's access key is the installation's own; it is kept in the data directory and cannot be changed by the API.";
        return ApiError::new("UnmodifiableEntity", 400, text);
    }
    no_such_entity(format!("The Access Key with id {id} cannot be found."))
}

fn list(app: &Iam, view: &View, caller: &Caller, op: &ListAccessKeys) -> Result<KeyList, ApiError> {
    if of_root(app, caller, op.user_name.as_deref()) {
        let key = AccessKeyMetadata {
            user_name: None,
            access_key_id: Some(caller.access_key_id.clone()),
            status: Some(status(true)),
            create_date: None,
        };
        return Ok(KeyList {
            access_key_metadata: vec![key],
            is_truncated: Some(false),
            marker: None,
        });
    }
    let user = find::<User>(view, named(caller, op.user_name.as_deref())?)?;
    let keys = view
        .list::<records::AccessKey>()
        .filter(|it| key(&it.user) == key(&user.name));
    let page = page(keys, |it| it.id.clone(), cut!(op))?;
    let shown = |it: &std::sync::Arc<records::AccessKey>| AccessKeyMetadata {
        user_name: Some(it.user.clone()),
        access_key_id: Some(it.id.clone()),
        status: Some(status(it.active)),
        create_date: Some(it.created_at),
    };
    Ok(KeyList {
        access_key_metadata: page.items.iter().map(shown).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

/// A user's key: of the named user, or of the caller.
fn of_user(
    app: &Iam,
    view: &View,
    caller: &Caller,
    user: Option<&str>,
    id: &str,
) -> Result<records::AccessKey, ApiError> {
    if of_root(app, caller, user) {
        return Err(refused_to_root(caller, id));
    }
    let user = find::<User>(view, named(caller, user)?)?;
    view.get::<records::AccessKey>(id)
        .filter(|it| key(&it.user) == key(&user.name))
        .map(|it| records::AccessKey::clone(&it))
        .ok_or_else(|| no_such_entity(format!("The Access Key with id {id} cannot be found.")))
}

fn update(app: &Iam, tx: &mut Tx, caller: &Caller, op: UpdateAccessKey) -> Result<(), ApiError> {
    let mut found = of_user(
        app,
        tx.view(),
        caller,
        op.user_name.as_deref(),
        &op.access_key_id,
    )?;
    found.active = match op.status {
        Status::Active => true,
        Status::Inactive => false,
        Status::Expired => {
            let rule = "Member must satisfy enum value set: [Active, Inactive]";
            return Err(constraint("status", "Expired", rule));
        }
    };
    tx.put(found);
    Ok(())
}

fn delete(app: &Iam, tx: &mut Tx, caller: &Caller, op: DeleteAccessKey) -> Result<(), ApiError> {
    let found = of_user(
        app,
        tx.view(),
        caller,
        op.user_name.as_deref(),
        &op.access_key_id,
    )?;
    tx.delete::<records::AccessKey>(&found.id);
    Ok(())
}

/// What this region's front door saw since it started; other regions' and earlier uses are not told.
fn last_used(app: &Iam, view: &View, op: &GetAccessKeyLastUsed) -> Result<KeyUse, ApiError> {
    let id = &op.access_key_id;
    let found = view.get::<records::AccessKey>(id).ok_or_else(|| {
        let text = format!("The Access Key with id {id} cannot be found.");
        no_such_entity(text)
    })?;
    let seen = app.last_used.of(id);
    let (at, service_name, region) = match seen {
        Some((at, service, region)) => (Some(at), service, region),
        None => (None, "N/A".into(), "N/A".into()),
    };
    Ok(KeyUse {
        user_name: Some(found.user.clone()),
        access_key_last_used: Some(AccessKeyLastUsed {
            last_used_date: at,
            service_name,
            region,
        }),
    })
}
