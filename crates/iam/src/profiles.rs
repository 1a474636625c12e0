//! Instance profiles.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::check::{self, Tag, shown_tags};
use crate::errors::{conflict, limit, no_such_entity};
use crate::holder::{TagList, find, list_tags, tag, untag};
use crate::page::{cut, page, page_of, under};
use crate::records::{InstanceProfile, Role, key};
use crate::resource_types::{INSTANCE_PROFILE, ROLE, at_path, pairs};
use crate::roles::{self, RoleDetail};
use crate::{Iam, unique};

/// Most instance profiles of an account.
const MAX_PROFILES: usize = 1000;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateInstanceProfile {
    instance_profile_name: String,
    path: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProfileDetail {
    path: String,
    instance_profile_name: String,
    instance_profile_id: String,
    arn: String,
    create_date: Timestamp,
    roles: Vec<RoleDetail>,
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneProfile {
    instance_profile: ProfileDetail,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetInstanceProfile {
    instance_profile_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListInstanceProfiles {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListInstanceProfilesForRole {
    role_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProfileList {
    instance_profiles: Vec<ProfileDetail>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteInstanceProfile {
    instance_profile_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddRoleToInstanceProfile {
    instance_profile_name: String,
    role_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemoveRoleFromInstanceProfile {
    instance_profile_name: String,
    role_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagInstanceProfile {
    instance_profile_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagInstanceProfile {
    instance_profile_name: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListInstanceProfileTags {
    instance_profile_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

operations! {
    for Iam as "iam";
    change CreateInstanceProfile -> OneProfile = create =>
        on(&INSTANCE_PROFILE, |op, at| at_path(at, "instance-profile", op.path.as_deref(), &op.instance_profile_name))
        .tagged(|op, _| pairs(&op.tags))
        .also("iam:TagInstanceProfile", &INSTANCE_PROFILE, |op, at| {
            let given = !op.tags.is_empty();
            given.then(|| at_path(at, "instance-profile", op.path.as_deref(), &op.instance_profile_name))
        })
        .tagged(|op, _| pairs(&op.tags));
    read GetInstanceProfile -> OneProfile = get => on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone());
    read ListInstanceProfiles -> ProfileList = list => any();
    read ListInstanceProfilesForRole -> ProfileList = list_of_role => on(&ROLE, |op, _| op.role_name.clone());
    change DeleteInstanceProfile -> () = delete => on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone());
    change AddRoleToInstanceProfile -> () = add_role =>
        on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone())
        .also("iam:PassRole", &ROLE, |op, _| op.role_name.clone())
        .with("iam:PassedToService", |_, _| "ec2.amazonaws.com")
        // "The ARN value must be arn:aws:ec2:*:CallerAccountId:instance/*":
        // https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddRoleToInstanceProfile.html
        .with("iam:AssociatedResourceArn", |_, at| at.owner().arn_in("*", "ec2", "instance/*"));
    change RemoveRoleFromInstanceProfile -> () = remove_role =>
        on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone());
    change TagInstanceProfile -> () = add_tags => on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone())
        .tagged(|op, _| pairs(&op.tags));
    change UntagInstanceProfile -> () = remove_tags => on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone())
        .untagged(|op, _| op.tag_keys.clone());
    read ListInstanceProfileTags -> TagList = tags_of =>
        on(&INSTANCE_PROFILE, |op, _| op.instance_profile_name.clone());
}

fn found(view: &View, name: &str) -> Result<InstanceProfile, ApiError> {
    check::name("instanceProfileName", name)?;
    let profile = view.get::<InstanceProfile>(&key(name));
    profile
        .map(|profile| InstanceProfile::clone(&profile))
        .ok_or_else(|| no_such_entity(format!("Instance Profile {name} cannot be found.")))
}

fn shown(app: &Iam, view: &View, profile: &InstanceProfile) -> ProfileDetail {
    let role = profile.role.as_deref().map(key);
    let role = role.and_then(|id| view.get::<Role>(&id));
    ProfileDetail {
        path: profile.path.clone(),
        instance_profile_name: profile.name.clone(),
        instance_profile_id: profile.unique_id.clone(),
        arn: profile.arn(app.cell.owner()),
        create_date: profile.created_at,
        roles: role
            .iter()
            .map(|role| roles::shown(app, role, false))
            .collect(),
        tags: Some(shown_tags(&profile.tags)),
    }
}

fn create(app: &Iam, tx: &mut Tx, op: CreateInstanceProfile) -> Result<OneProfile, ApiError> {
    let name = &op.instance_profile_name;
    check::name("instanceProfileName", name)?;
    let path = check::path(op.path.as_deref())?;
    let tags = check::new_tags(&op.tags)?;
    if tx.get::<InstanceProfile>(&key(name)).is_some() {
        let text = format!("Instance Profile {name} already exists.");
        return Err(ApiError::new("EntityAlreadyExists", 409, text));
    }
    if app.is_strict() && tx.list::<InstanceProfile>().count() >= MAX_PROFILES {
        return Err(limit("InstanceProfilesPerAccount", MAX_PROFILES));
    }
    let profile = tx.put(InstanceProfile {
        name: name.clone(),
        unique_id: unique::id("AIPA"),
        path,
        role: None,
        tags,
        created_at: tx.now(),
    });
    Ok(OneProfile {
        instance_profile: shown(app, tx.view(), &profile),
    })
}

fn get(app: &Iam, view: &View, op: &GetInstanceProfile) -> Result<OneProfile, ApiError> {
    let profile = found(view, &op.instance_profile_name)?;
    Ok(OneProfile {
        instance_profile: shown(app, view, &profile),
    })
}

fn list(app: &Iam, view: &View, op: &ListInstanceProfiles) -> Result<ProfileList, ApiError> {
    let prefix = op.path_prefix.as_deref();
    let page = page_of::<InstanceProfile>(view, |it| under(prefix, &it.path), cut!(op))?;
    Ok(ProfileList {
        instance_profiles: page.items.iter().map(|it| shown(app, view, it)).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn list_of_role(
    app: &Iam,
    view: &View,
    op: &ListInstanceProfilesForRole,
) -> Result<ProfileList, ApiError> {
    let role = find::<Role>(view, &op.role_name)?;
    let all = view
        .list::<InstanceProfile>()
        .filter(|it| it.role.as_deref().map(key) == Some(key(&role.name)));
    let page = page(all, |it| key(&it.name), cut!(op))?;
    Ok(ProfileList {
        instance_profiles: page.items.iter().map(|it| shown(app, view, it)).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn delete(_: &Iam, tx: &mut Tx, op: DeleteInstanceProfile) -> Result<(), ApiError> {
    let profile = found(tx.view(), &op.instance_profile_name)?;
    if profile.role.is_some() {
        return Err(conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    tx.delete::<InstanceProfile>(&key(&profile.name));
    Ok(())
}

fn add_role(_: &Iam, tx: &mut Tx, op: AddRoleToInstanceProfile) -> Result<(), ApiError> {
    let mut profile = found(tx.view(), &op.instance_profile_name)?;
    let role = find::<Role>(tx.view(), &op.role_name)?;
    if profile.role.is_some() {
        return Err(limit("InstanceSessionsPerInstanceProfile", 1));
    }
    profile.role = Some(role.name.clone());
    tx.put(profile);
    Ok(())
}

fn remove_role(_: &Iam, tx: &mut Tx, op: RemoveRoleFromInstanceProfile) -> Result<(), ApiError> {
    let mut profile = found(tx.view(), &op.instance_profile_name)?;
    if profile.role.as_deref().map(key) != Some(key(&op.role_name)) {
        let name = &op.role_name;
        return Err(no_such_entity(format!(
            "The role with name {name} cannot be found."
        )));
    }
    profile.role = None;
    tx.put(profile);
    Ok(())
}

fn add_tags(_: &Iam, tx: &mut Tx, op: TagInstanceProfile) -> Result<(), ApiError> {
    check::given_tags(&op.tags)?;
    let profile = found(tx.view(), &op.instance_profile_name)?;
    tag(tx, profile, &op.tags)
}

fn remove_tags(_: &Iam, tx: &mut Tx, op: UntagInstanceProfile) -> Result<(), ApiError> {
    check::tag_keys(&op.tag_keys)?;
    let profile = found(tx.view(), &op.instance_profile_name)?;
    untag(tx, profile, &op.tag_keys);
    Ok(())
}

fn tags_of(_: &Iam, view: &View, op: &ListInstanceProfileTags) -> Result<TagList, ApiError> {
    list_tags(&found(view, &op.instance_profile_name)?.tags, cut!(op))
}
