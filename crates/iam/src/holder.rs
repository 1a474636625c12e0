//! What roles, users and groups share: managed policies, inline policies, boundaries, tags.

use std::sync::Arc;

use lath_policy::Grammar;
use lath_service::Tagged;
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Iam;
use crate::check::{self, Tag};
use crate::errors::{limit, no_such_entity, protected};
use crate::page::{Cut, page, under};
use crate::policies;
use crate::records::{Group, Policies, Role, Tags, User, key};

/// A role, user or group.
pub(crate) trait Holder: Record + Clone {
    /// `role`, `user` or `group`.
    const NOUN: &'static str;
    /// Its name in quotas.
    const QUOTA: &'static str;
    /// Most characters of all inline policies together.
    const INLINE: usize;
    fn policies(&self) -> &Policies;
    fn policies_mut(&mut self) -> &mut Policies;
    /// AWS's own ones are not changed.
    fn check_changeable(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

macro_rules! holder {
    ($($record:ty, $noun:literal, $quota:literal, $inline:literal;)*) => {
        $(impl Holder for $record {
            const NOUN: &'static str = $noun;
            const QUOTA: &'static str = $quota;
            const INLINE: usize = $inline;
            fn policies(&self) -> &Policies {
                &self.policies
            }
            fn policies_mut(&mut self) -> &mut Policies {
                &mut self.policies
            }
        })*
    };
}

holder! {
    User, "user", "PoliciesPerUser", 2048;
    Group, "group", "PoliciesPerGroup", 5120;
}

impl Holder for Role {
    const NOUN: &'static str = "role";
    const QUOTA: &'static str = "PoliciesPerRole";
    const INLINE: usize = 10_240;
    fn policies(&self) -> &Policies {
        &self.policies
    }
    fn policies_mut(&mut self) -> &mut Policies {
        &mut self.policies
    }
    fn check_changeable(&self) -> Result<(), ApiError> {
        if self.path.starts_with("/aws-service-role/") {
            return Err(protected(&self.name));
        }
        Ok(())
    }
}

/// Most managed policies of one holder.
const MAX_ATTACHED: usize = 10;

pub(crate) fn find<H: Holder>(view: &View, name: &str) -> Result<Arc<H>, ApiError> {
    check::name(&format!("{}Name", H::NOUN), name)?;
    view.get::<H>(&key(name)).ok_or_else(|| {
        let noun = H::NOUN;
        no_such_entity(format!("The {noun} with name {name} cannot be found."))
    })
}

/// The one to change.
pub(crate) fn changeable<H: Holder>(view: &View, name: &str) -> Result<H, ApiError> {
    let found = find::<H>(view, name)?;
    found.check_changeable()?;
    Ok(H::clone(&found))
}

/// Attaching twice is as good as once.
pub(crate) fn attach<H: Holder>(
    app: &Iam,
    tx: &mut Tx,
    name: &str,
    arn: &str,
) -> Result<(), ApiError> {
    let mut holder = changeable::<H>(tx.view(), name)?;
    policies::check_attachable(app.cell.partition(), tx.view(), arn)?;
    let attached = &mut holder.policies_mut().attached;
    attached.insert(arn.to_owned());
    if attached.len() > MAX_ATTACHED {
        return Err(limit(H::QUOTA, MAX_ATTACHED));
    }
    tx.put(holder);
    Ok(())
}

pub(crate) fn detach<H: Holder>(
    app: &Iam,
    tx: &mut Tx,
    name: &str,
    arn: &str,
) -> Result<(), ApiError> {
    let mut holder = changeable::<H>(tx.view(), name)?;
    policies::check_arn(app.cell.partition(), arn)?;
    if !holder.policies_mut().attached.remove(arn) {
        return Err(no_such_entity(format!("Policy {arn} was not found.")));
    }
    tx.put(holder);
    Ok(())
}

/// A managed policy, as a holder's list shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttachedPolicy {
    pub(crate) policy_name: Option<String>,
    pub(crate) policy_arn: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttachedPolicies {
    attached_policies: Vec<AttachedPolicy>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

pub(crate) fn list_attached<H: Holder>(
    view: &View,
    name: &str,
    prefix: Option<&str>,
    cut: Cut<'_>,
) -> Result<AttachedPolicies, ApiError> {
    let holder = find::<H>(view, name)?;
    let of_path = |arn: &&String| under(prefix, policies::path_of(arn));
    let arns = holder.policies().attached.iter().filter(of_path);
    let page = page(arns, |arn| (*arn).clone(), cut)?;
    let shown = |arn: &String| AttachedPolicy {
        policy_name: arn.rsplit('/').next().map(str::to_owned),
        policy_arn: Some(arn.clone()),
    };
    Ok(AttachedPolicies {
        attached_policies: page.items.into_iter().map(shown).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub(crate) fn put_inline<H: Holder>(
    app: &Iam,
    tx: &mut Tx,
    name: &str,
    policy: &str,
    document: &str,
) -> Result<(), ApiError> {
    check::name("policyName", policy)?;
    let mut holder = changeable::<H>(tx.view(), name)?;
    let quota = format!(
        "Maximum policy size of {} bytes exceeded for {} {name}",
        H::INLINE,
        H::NOUN
    );
    check::document(
        &app.cell,
        document,
        Grammar::Identity,
        "PolicySize",
        usize::MAX,
    )?;
    let inline = &mut holder.policies_mut().inline;
    inline.insert(policy.to_owned(), document.to_owned());
    let count = |text: &String| text.chars().filter(|c| !c.is_whitespace()).count();
    let total: usize = inline.values().map(count).sum();
    if app.is_strict() && total > H::INLINE {
        return Err(ApiError::new("LimitExceeded", 409, quota));
    }
    tx.put(holder);
    Ok(())
}

fn no_inline<H: Holder>(policy: &str) -> ApiError {
    let noun = H::NOUN;
    no_such_entity(format!(
        "The {noun} policy with name {policy} cannot be found."
    ))
}

/// The document, encoded for the answer.
pub(crate) fn get_inline<H: Holder>(
    view: &View,
    name: &str,
    policy: &str,
) -> Result<String, ApiError> {
    let holder = find::<H>(view, name)?;
    let document = holder.policies().inline.get(policy);
    document
        .map(|text| check::encoded(text))
        .ok_or_else(|| no_inline::<H>(policy))
}

pub(crate) fn delete_inline<H: Holder>(
    tx: &mut Tx,
    name: &str,
    policy: &str,
) -> Result<(), ApiError> {
    let mut holder = changeable::<H>(tx.view(), name)?;
    if holder.policies_mut().inline.remove(policy).is_none() {
        return Err(no_inline::<H>(policy));
    }
    tx.put(holder);
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyNames {
    policy_names: Vec<String>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

pub(crate) fn list_inline<H: Holder>(
    view: &View,
    name: &str,
    cut: Cut<'_>,
) -> Result<PolicyNames, ApiError> {
    let holder = find::<H>(view, name)?;
    let names = holder.policies().inline.keys().cloned();
    let page = page(names, String::clone, cut)?;
    Ok(PolicyNames {
        policy_names: page.items,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub(crate) fn set_boundary<H: Holder>(
    app: &Iam,
    tx: &mut Tx,
    name: &str,
    boundary: Option<&str>,
) -> Result<(), ApiError> {
    let mut holder = changeable::<H>(tx.view(), name)?;
    if let Some(arn) = boundary {
        policies::check_boundary(app.cell.partition(), tx.view(), arn)?;
    } else if holder.policies().boundary.is_none() {
        let noun = H::NOUN;
        return Err(no_such_entity(format!(
            "The {noun} with name {name} has no permissions boundary."
        )));
    }
    holder.policies_mut().boundary = boundary.map(str::to_owned);
    tx.put(holder);
    Ok(())
}

lath_service::tagged!(
    Role,
    User,
    crate::records::ManagedPolicy,
    crate::records::InstanceProfile,
    crate::records::OidcProvider,
);

pub(crate) fn tag<T: Tagged>(tx: &mut Tx, mut record: T, tags: &[Tag]) -> Result<(), ApiError> {
    let tags = check::tags(record.tags_mut(), tags)?;
    *record.tags_mut() = tags;
    tx.put(record);
    Ok(())
}

/// Keys that are not there are as good as removed.
pub(crate) fn untag<T: Tagged>(tx: &mut Tx, mut record: T, keys: &[String]) {
    for key in keys {
        record
            .tags_mut()
            .retain(|known, _| !known.eq_ignore_ascii_case(key));
    }
    tx.put(record);
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagList {
    tags: Vec<Tag>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

pub(crate) fn list_tags(tags: &Tags, cut: Cut<'_>) -> Result<TagList, ApiError> {
    let page = page(check::shown_tags(tags), |tag| tag.key.clone(), cut)?;
    Ok(TagList {
        tags: page.items,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

/// The requests about a holder's policies, which differ by the member that names the holder.
macro_rules! policy_requests {
    ($member:literal, $attach:ident, $detach:ident, $list_attached:ident, $put:ident, $get:ident,
     $got:ident, $delete:ident, $list:ident) => {
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $attach {
            #[serde(rename = $member)]
            name: String,
            policy_arn: String,
        }
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $detach {
            #[serde(rename = $member)]
            name: String,
            policy_arn: String,
        }
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $list_attached {
            #[serde(rename = $member)]
            name: String,
            path_prefix: Option<String>,
            marker: Option<String>,
            max_items: Option<i64>,
        }
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $put {
            #[serde(rename = $member)]
            name: String,
            policy_name: String,
            policy_document: String,
        }
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $get {
            #[serde(rename = $member)]
            name: String,
            policy_name: String,
        }
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $got {
            #[serde(rename = $member)]
            name: String,
            policy_name: String,
            policy_document: String,
        }
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $delete {
            #[serde(rename = $member)]
            name: String,
            policy_name: String,
        }
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $list {
            #[serde(rename = $member)]
            name: String,
            marker: Option<String>,
            max_items: Option<i64>,
        }
    };
}

/// What those requests mean for one kind of holder.
macro_rules! policy_handlers {
    ($holder:ty, $attach:ident, $detach:ident, $list_attached:ident, $put:ident, $get:ident,
     $got:ident, $delete:ident, $list:ident) => {
        fn attach(app: &Iam, tx: &mut Tx, op: $attach) -> Result<(), ApiError> {
            holder::attach::<$holder>(app, tx, &op.name, &op.policy_arn)
        }
        fn detach(app: &Iam, tx: &mut Tx, op: $detach) -> Result<(), ApiError> {
            holder::detach::<$holder>(app, tx, &op.name, &op.policy_arn)
        }
        fn list_attached(
            _: &Iam,
            view: &View,
            op: &$list_attached,
        ) -> Result<AttachedPolicies, ApiError> {
            let prefix = op.path_prefix.as_deref();
            holder::list_attached::<$holder>(view, &op.name, prefix, cut!(op))
        }
        fn put_inline(app: &Iam, tx: &mut Tx, op: $put) -> Result<(), ApiError> {
            let (policy, document) = (&op.policy_name, &op.policy_document);
            holder::put_inline::<$holder>(app, tx, &op.name, policy, document)
        }
        fn get_inline(_: &Iam, view: &View, op: &$get) -> Result<$got, ApiError> {
            Ok($got {
                policy_document: holder::get_inline::<$holder>(view, &op.name, &op.policy_name)?,
                name: op.name.clone(),
                policy_name: op.policy_name.clone(),
            })
        }
        fn delete_inline(_: &Iam, tx: &mut Tx, op: $delete) -> Result<(), ApiError> {
            holder::delete_inline::<$holder>(tx, &op.name, &op.policy_name)
        }
        fn list_inline(_: &Iam, view: &View, op: &$list) -> Result<PolicyNames, ApiError> {
            holder::list_inline::<$holder>(view, &op.name, cut!(op))
        }
    };
}

pub(crate) use {policy_handlers, policy_requests};
