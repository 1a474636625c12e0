//! Templates: made with their first version, listed, and deleted with all of them.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, fields};
use lath_ec2_kit::idempotency;
use lath_ec2_kit::made::{ATTRIBUTES, Making as _, attributes};
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, invalid_value, missing, over};
use lath_ec2_records::ids::{self, Ids as _};
use lath_model::Timestamp;
use lath_service::{Asks, IdForm, Quota, Refuses as _, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use super::applied::{self, ValidationError};
use super::data::{OperatorName, TemplateData};
use super::versions::check_description;
use super::{
    LAUNCH_TEMPLATE, LaunchTemplate, LaunchTemplateId, LaunchTemplateVersion, Named, by_name,
    latest, no_version, number, version_key, versions_of,
};

/// How many templates a region may have
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-template-restrictions.html>).
const QUOTA: Quota<&str> = Quota::new("launch templates", "LaunchTemplateLimitExceeded", 5000);
/// How many templates one request may name.
const MAX_NAMED: usize = 200;

operations! {
    for Ec2 as "ec2";
    change CreateLaunchTemplate -> CreateLaunchTemplateResult = create, dry_run, caller
        => makes(&LAUNCH_TEMPLATE).with_tags_of(&LAUNCH_TEMPLATE, |op| &op.tags)
        => refusing ["" CreateLaunchTemplate];
    read DescribeLaunchTemplates -> DescribeLaunchTemplatesResult = describe, dry_run => any();
    change ModifyLaunchTemplate -> OneLaunchTemplate = modify, dry_run
        => on(&LAUNCH_TEMPLATE, |op, at| op.named().id(at))
            .with_all(ATTRIBUTES, |op, _| attributes(&[("SetDefaultVersion", op.default_version.clone())]));
    change DeleteLaunchTemplate -> OneLaunchTemplate = delete, dry_run
        => on(&LAUNCH_TEMPLATE, |op, at| op.named().id(at));
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateLaunchTemplate {
    pub(crate) dry_run: Option<bool>,
    pub(crate) client_token: Option<String>,
    pub(crate) launch_template_name: String,
    pub(crate) version_description: Option<String>,
    pub(crate) launch_template_data: TemplateData,
    pub(crate) operator: Option<OperatorName>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tags: Vec<TagSpecification>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateLaunchTemplateResult {
    pub(crate) launch_template: LaunchTemplateItem,
    pub(crate) warning: Option<Warning>,
}

/// What RunInstances would refuse.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Warning {
    pub(crate) error_set: Vec<ValidationError>,
}

/// A launch template as answers show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LaunchTemplateItem {
    pub(crate) launch_template_id: String,
    pub(crate) launch_template_name: String,
    pub(crate) create_time: Timestamp,
    pub(crate) created_by: String,
    pub(crate) default_version_number: i64,
    pub(crate) latest_version_number: i64,
    pub(crate) tag_set: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OneLaunchTemplate {
    pub(crate) launch_template: LaunchTemplateItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeLaunchTemplates {
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "LaunchTemplateId", default)]
    pub(crate) ids: Vec<String>,
    #[serde(rename = "LaunchTemplateName", default)]
    pub(crate) names: Vec<String>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    /// No service of AWS's manages templates here.
    #[serde(rename = "IncludeManagedResources")]
    _include_managed: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeLaunchTemplatesResult {
    pub(crate) launch_templates: Vec<LaunchTemplateItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyLaunchTemplate {
    pub(crate) dry_run: Option<bool>,
    pub(crate) client_token: Option<String>,
    pub(crate) launch_template_id: Option<String>,
    pub(crate) launch_template_name: Option<String>,
    #[serde(rename = "SetDefaultVersion")]
    pub(crate) default_version: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteLaunchTemplate {
    pub(crate) dry_run: Option<bool>,
    pub(crate) launch_template_id: Option<String>,
    pub(crate) launch_template_name: Option<String>,
}

impl ModifyLaunchTemplate {
    fn named(&self) -> Named<'_> {
        Named {
            id: self.launch_template_id.as_deref(),
            name: self.launch_template_name.as_deref(),
            to: "modify",
        }
    }
}

impl DeleteLaunchTemplate {
    fn named(&self) -> Named<'_> {
        Named {
            id: self.launch_template_id.as_deref(),
            name: self.launch_template_name.as_deref(),
            to: "delete",
        }
    }
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    caller: &Caller,
    op: CreateLaunchTemplate,
) -> Result<CreateLaunchTemplateResult, ApiError> {
    let plain = CreateLaunchTemplate {
        client_token: None,
        dry_run: None,
        ..op.clone()
    };
    let id = LaunchTemplateId::random();
    let parameters = idempotency::fingerprint(&plain);
    let token = op.client_token.as_deref();
    let earlier = idempotency::claim(tx, "CreateLaunchTemplate", token, parameters, id.as_str())?;
    if let Some(known) = earlier {
        let template = ids::find::<LaunchTemplate>(tx.view(), &known)?;
        return Ok(CreateLaunchTemplateResult {
            launch_template: item(tx.view(), &template),
            warning: None,
        });
    }
    check_name(&op.launch_template_name)?;
    check_description(op.version_description.as_deref())?;
    op.refuse()?;
    applied::check(&op.launch_template_data)?;
    if by_name(tx.view(), &op.launch_template_name).is_some() {
        return Err(client(
            "InvalidLaunchTemplateName.AlreadyExistsException",
            "Launch template name already in use.",
        ));
    }
    QUOTA.check(
        &app.cell,
        tx.view().list::<LaunchTemplate>().count() + 1,
        over,
    )?;
    let tags = tags::specified(&op.tags, LAUNCH_TEMPLATE.name)?;
    let warning = warning(&op.launch_template_data);
    let now = tx.now();
    let template = tx.put(LaunchTemplate {
        id: id.clone(),
        name: op.launch_template_name,
        created_at: now,
        created_by: caller.principal.arn.clone(),
        default_version: 1,
        last_number: 1,
    });
    tx.put(LaunchTemplateVersion {
        template: id.clone(),
        number: 1,
        description: op.version_description,
        created_at: now,
        created_by: caller.principal.arn.clone(),
        data: op.launch_template_data,
    });
    tags::put(tx, id.as_str(), tags);
    Ok(CreateLaunchTemplateResult {
        launch_template: item(tx.view(), &template),
        warning,
    })
}

/// Three to 128 of the characters that AWS names.
fn check_name(name: &str) -> Result<(), ApiError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-()./_".contains(&byte);
    if name.is_empty() {
        return Err(missing("LaunchTemplateName"));
    }
    if !(3..=128).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err(client(
            "InvalidLaunchTemplateName.MalformedException",
            "The specified launch template name is invalid. A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _.",
        ));
    }
    Ok(())
}

/// What a launch would be refused for, as far as it follows from the parameters alone.
pub(super) fn warning(data: &TemplateData) -> Option<Warning> {
    let error_set = applied::warnings(data);
    (!error_set.is_empty()).then_some(Warning { error_set })
}

impl Listed for LaunchTemplateItem {
    const ID: IdForm = LAUNCH_TEMPLATE.id;
    const FIELDS: &'static [Field<Self>] = fields![
        "create-time" => |it| it.create_time,
        "launch-template-name" => |it| it.launch_template_name,
    ];
    const PAGE: std::ops::RangeInclusive<i32> = 1..=200;
    fn id(&self) -> &str {
        &self.launch_template_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tag_set
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeLaunchTemplates,
) -> Result<DescribeLaunchTemplatesResult, ApiError> {
    if op.ids.len() + op.names.len() > MAX_NAMED {
        return Err(invalid_value(format!(
            "The maximum number of launch templates in a request is {MAX_NAMED}"
        )));
    }
    for id in &op.ids {
        LAUNCH_TEMPLATE.id.check(id)?;
    }
    let absent = |code| {
        client(
            code,
            "At least one of the launch templates specified in the request does not exist.",
        )
    };
    if op
        .ids
        .iter()
        .any(|id| view.get::<LaunchTemplate>(id).is_none())
    {
        return Err(absent(LAUNCH_TEMPLATE.id.not_found));
    }
    if op.names.iter().any(|name| by_name(view, name).is_none()) {
        return Err(absent("InvalidLaunchTemplateName.NotFoundException"));
    }
    let is_wanted = |it: &LaunchTemplate| {
        let is_named = op.ids.iter().any(|id| id == it.id.as_str()) || op.names.contains(&it.name);
        is_named || op.ids.is_empty() && op.names.is_empty()
    };
    let all = view.list::<LaunchTemplate>().filter(|it| is_wanted(it));
    let query = Query {
        ids: &[],
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(all.map(|it| item(view, &it)), &query)?;
    Ok(DescribeLaunchTemplatesResult {
        launch_templates: page.items,
        next_token: page.next_token,
    })
}

fn item(view: &View, it: &LaunchTemplate) -> LaunchTemplateItem {
    LaunchTemplateItem {
        launch_template_id: it.id.to_string(),
        launch_template_name: it.name.clone(),
        create_time: it.created_at,
        created_by: it.created_by.clone(),
        default_version_number: it.default_version,
        latest_version_number: latest(view, it),
        tag_set: tags::of(view, it.id.as_str()),
    }
}

fn modify(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyLaunchTemplate,
) -> Result<OneLaunchTemplate, ApiError> {
    // A repetition changes nothing, so that the token has nothing to protect.
    idempotency::check_token(
        op.client_token.as_deref(),
        "The client token must be at most 64 ASCII characters.",
    )?;
    let template = op.named().find(tx.view())?;
    let Some(wanted) = &op.default_version else {
        return Err(missing("DefaultVersion"));
    };
    let number = number(tx.view(), &template, wanted);
    let found = number.filter(|number| {
        let key = version_key(&template.id, *number);
        tx.get::<LaunchTemplateVersion>(&key).is_some()
    });
    let Some(number) = found else {
        let shown: String = wanted.chars().take(64).collect();
        return Err(no_version(format!(
            "The launch template version {shown} is not found for the specified launch template."
        )));
    };
    let template = tx.put(LaunchTemplate {
        default_version: number,
        ..LaunchTemplate::clone(&template)
    });
    Ok(OneLaunchTemplate {
        launch_template: item(tx.view(), &template),
    })
}

fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteLaunchTemplate,
) -> Result<OneLaunchTemplate, ApiError> {
    let template = op.named().find(tx.view())?;
    let launch_template = item(tx.view(), &template);
    for version in versions_of(tx.view(), &template.id) {
        tx.delete::<LaunchTemplateVersion>(&version_key(&template.id, version.number));
    }
    tags::forget(tx, template.id.as_str());
    tx.delete::<LaunchTemplate>(template.id.as_str());
    Ok(OneLaunchTemplate { launch_template })
}

impl Asks for OperatorName {
    fn asks(&self) -> bool {
        true
    }
}

refused! {
    CreateLaunchTemplate { operator }
}
