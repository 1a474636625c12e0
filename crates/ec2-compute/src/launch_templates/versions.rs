//! Versions of launch templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::paginate;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Filters, Member};
use lath_ec2_kit::idempotency;
use lath_ec2_kit::select::{bad_token, page_size};
use lath_ec2_records::errors::{combination, invalid_value, missing, over};
use lath_model::Timestamp;
use lath_service::{Quota, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use super::applied;
use super::data::{Shown as _, TemplateData, TemplateDataItem};
use super::templates::{Warning, warning};
use super::{
    LAUNCH_TEMPLATE, LaunchTemplate, LaunchTemplateVersion, Named, number, version, version_key,
    versions_of,
};

/// How many versions a template may have
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-template-restrictions.html>).
const QUOTA: Quota<&str> = Quota::new(
    "launch template versions",
    "LaunchTemplateVersionLimitExceeded",
    10_000,
);
/// How many versions one request may name.
const MAX_NAMED: usize = 200;
/// AWS's words for requests about several templates that name versions by numbers, or no versions.
const WHICH: &str = "To describe the launch template data for all your launch templates, for ‘--versions’ specify ‘$Latest’, ‘$Default’, or both, and omit ‘--launch-template-id’, ‘--launch-template-name’, and version numbers. To describe the launch template data for a specific launch template, specify ‘--launch-template-id’ or ‘--launch-template-name’, and for ‘--versions’ specify one or more of the following values: ‘$Latest’, ‘$Default’, or one or more version numbers.";

operations! {
    for Ec2 as "ec2";
    change CreateLaunchTemplateVersion -> CreateLaunchTemplateVersionResult = create, dry_run, caller
        => on(&LAUNCH_TEMPLATE, |op, at| op.named().id(at));
    read DescribeLaunchTemplateVersions -> DescribeLaunchTemplateVersionsResult = describe, dry_run => any();
    change DeleteLaunchTemplateVersions -> DeleteLaunchTemplateVersionsResult = delete, dry_run
        => on(&LAUNCH_TEMPLATE, |op, at| op.named().id(at));
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateLaunchTemplateVersion {
    pub(crate) dry_run: Option<bool>,
    pub(crate) client_token: Option<String>,
    pub(crate) launch_template_id: Option<String>,
    pub(crate) launch_template_name: Option<String>,
    pub(crate) source_version: Option<String>,
    pub(crate) version_description: Option<String>,
    pub(crate) launch_template_data: TemplateData,
    pub(crate) resolve_alias: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateLaunchTemplateVersionResult {
    pub(crate) launch_template_version: VersionItem,
    pub(crate) warning: Option<Warning>,
}

/// A version as answers show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionItem {
    pub(crate) launch_template_id: String,
    pub(crate) launch_template_name: String,
    pub(crate) version_number: i64,
    pub(crate) version_description: Option<String>,
    pub(crate) create_time: Timestamp,
    pub(crate) created_by: String,
    pub(crate) default_version: bool,
    pub(crate) launch_template_data: TemplateDataItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeLaunchTemplateVersions {
    pub(crate) dry_run: Option<bool>,
    pub(crate) launch_template_id: Option<String>,
    pub(crate) launch_template_name: Option<String>,
    #[serde(rename = "LaunchTemplateVersion", default)]
    pub(crate) versions: Vec<String>,
    pub(crate) min_version: Option<String>,
    pub(crate) max_version: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    pub(crate) resolve_alias: Option<bool>,
    /// No service of AWS's manages templates here.
    #[serde(rename = "IncludeManagedResources")]
    _include_managed: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeLaunchTemplateVersionsResult {
    pub(crate) launch_template_version_set: Vec<VersionItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteLaunchTemplateVersions {
    pub(crate) dry_run: Option<bool>,
    pub(crate) launch_template_id: Option<String>,
    pub(crate) launch_template_name: Option<String>,
    #[serde(rename = "LaunchTemplateVersion")]
    pub(crate) versions: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteLaunchTemplateVersionsResult {
    pub(crate) successfully_deleted_launch_template_version_set: Vec<DeletedItem>,
    pub(crate) unsuccessfully_deleted_launch_template_version_set: Vec<KeptItem>,
}

/// A version that was deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletedItem {
    pub(crate) launch_template_id: String,
    pub(crate) launch_template_name: String,
    pub(crate) version_number: i64,
}

/// A version that was not, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptItem {
    pub(crate) launch_template_id: String,
    pub(crate) launch_template_name: String,
    pub(crate) version_number: i64,
    pub(crate) response_error: KeptError,
}

/// Why a version was not deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptError {
    pub(crate) code: String,
    pub(crate) message: String,
}

macro_rules! named {
    ($($op:ident: $to:literal),*) => {$(
        impl $op {
            fn named(&self) -> Named<'_> {
                Named {
                    id: self.launch_template_id.as_deref(),
                    name: self.launch_template_name.as_deref(),
                    to: $to,
                }
            }
        }
    )*};
}

named!(
    CreateLaunchTemplateVersion: "modify",
    DescribeLaunchTemplateVersions: "describe",
    DeleteLaunchTemplateVersions: "delete"
);

/// Without a source the new version has what the request gives, and nothing else; with one, what the request gives
/// comes in the place of what the source has.
fn create(
    app: &Ec2,
    tx: &mut Tx,
    caller: &Caller,
    op: CreateLaunchTemplateVersion,
) -> Result<CreateLaunchTemplateVersionResult, ApiError> {
    let template = op.named().find(tx.view())?;
    let new = template.last_number + 1;
    let plain = CreateLaunchTemplateVersion {
        client_token: None,
        dry_run: None,
        ..op.clone()
    };
    let parameters = idempotency::fingerprint(&plain);
    let token = op.client_token.as_deref();
    let key = version_key(&template.id, new);
    let earlier = idempotency::claim(tx, "CreateLaunchTemplateVersion", token, parameters, &key)?;
    if let Some(known) = earlier.and_then(|key| tx.get::<LaunchTemplateVersion>(&key)) {
        return Ok(CreateLaunchTemplateVersionResult {
            launch_template_version: item(&template, &known),
            warning: None,
        });
    }
    check_description(op.version_description.as_deref())?;
    check_alias(op.resolve_alias, &op.launch_template_data)?;
    let source = op.source_version.as_deref();
    let source = source.map(|text| version(tx.view(), &template, Some(text)));
    let data = match source.transpose()? {
        None => op.launch_template_data,
        Some(source) => applied::over(&source.data, &op.launch_template_data)?,
    };
    applied::check(&data)?;
    let prefix = format!("{}/", template.id);
    let count = tx.view().range::<LaunchTemplateVersion>(&prefix).count() + 1;
    QUOTA.check(&app.cell, count, over)?;
    let warning = warning(&data);
    let template = tx.put(LaunchTemplate {
        last_number: new,
        ..LaunchTemplate::clone(&template)
    });
    let made = tx.put(LaunchTemplateVersion {
        template: template.id.clone(),
        number: new,
        description: op.version_description,
        created_at: tx.now(),
        created_by: caller.principal.arn.clone(),
        data,
    });
    Ok(CreateLaunchTemplateVersionResult {
        launch_template_version: item(&template, &made),
        warning,
    })
}

/// # Errors
/// `InvalidParameterValue` for a description that is too long.
pub(super) fn check_description(given: Option<&str>) -> Result<(), ApiError> {
    match given {
        Some(text) if text.chars().count() > 255 => Err(invalid_value(
            "The version description must be at most 255 characters.",
        )),
        _ => Ok(()),
    }
}

/// An image may be named by a parameter of Systems Manager, which is not here: the name is kept, and not looked up.
fn check_alias(resolve: Option<bool>, data: &TemplateData) -> Result<(), ApiError> {
    let image = data.image_id.as_deref().unwrap_or_default();
    if resolve == Some(true) && image.starts_with("resolve:ssm:") {
        return Err(no_parameters());
    }
    Ok(())
}

fn no_parameters() -> ApiError {
    lath_ec2_records::errors::unsupported(
        "There are no parameters of Systems Manager here that an image's ID could be resolved from.",
    )
}

fn item(template: &LaunchTemplate, it: &LaunchTemplateVersion) -> VersionItem {
    VersionItem {
        launch_template_id: template.id.to_string(),
        launch_template_name: template.name.clone(),
        version_number: it.number,
        version_description: it.description.clone(),
        create_time: it.created_at,
        created_by: it.created_by.clone(),
        default_version: it.number == template.default_version,
        launch_template_data: it.data.shown(),
    }
}

/// Documented filters
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html>).
const MEMBERS: &[Member] = &[
    ("create-time", Some("createTime")),
    ("ebs-optimized", Some("launchTemplateData.ebsOptimized")),
    (
        "http-endpoint",
        Some("launchTemplateData.metadataOptions.httpEndpoint"),
    ),
    (
        "host-resource-group-arn",
        Some("launchTemplateData.placement.hostResourceGroupArn"),
    ),
    ("http-protocol-ipv4", None),
    (
        "http-tokens",
        Some("launchTemplateData.metadataOptions.httpTokens"),
    ),
    (
        "iam-instance-profile",
        Some("launchTemplateData.iamInstanceProfile.arn"),
    ),
    ("image-id", Some("launchTemplateData.imageId")),
    ("instance-type", Some("launchTemplateData.instanceType")),
    ("is-default-version", Some("defaultVersion")),
    ("kernel-id", Some("launchTemplateData.kernelId")),
    (
        "license-configuration-arn",
        Some("launchTemplateData.licenseSet.licenseConfigurationArn"),
    ),
    (
        "network-card-index",
        Some("launchTemplateData.networkInterfaceSet.networkCardIndex"),
    ),
    ("ram-disk-id", Some("launchTemplateData.ramDiskId")),
];

const FIELDS: &[Field<VersionItem>] = &[];

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeLaunchTemplateVersions,
) -> Result<DescribeLaunchTemplateVersionsResult, ApiError> {
    if op.versions.len() > MAX_NAMED {
        return Err(invalid_value(format!(
            "The maximum number of launch template versions in a request is {MAX_NAMED}"
        )));
    }
    let filters = Filters::with_members(&op.filters, FIELDS, MEMBERS)?;
    let size = page_size(op.max_results, 1..=200)?;
    let found = if op.launch_template_id.is_none() && op.launch_template_name.is_none() {
        of_all(view, op)?
    } else {
        of_one(view, op)?
    };
    let items = found.into_values().filter(|it| filters.matches(it, &[]));
    let page = paginate(items, place, size, op.next_token.as_deref()).map_err(bad_token)?;
    if op.resolve_alias == Some(true)
        && page.items.iter().any(|it| {
            let image = it.launch_template_data.image_id.as_deref();
            image.is_some_and(|it| it.starts_with("resolve:ssm:"))
        })
    {
        return Err(no_parameters());
    }
    Ok(DescribeLaunchTemplateVersionsResult {
        launch_template_version_set: page.items,
        next_token: page.next_token,
    })
}

/// The newest version of a template comes first.
fn place(item: &VersionItem) -> String {
    let (id, number) = (&item.launch_template_id, item.version_number);
    format!("{id}/{:019}", i64::MAX - number)
}

type Found = BTreeMap<String, VersionItem>;

fn of_all(view: &View, op: &DescribeLaunchTemplateVersions) -> Result<Found, ApiError> {
    if op.versions.is_empty() {
        return Err(lath_ec2_records::errors::client("MissingParameter", WHICH));
    }
    let is_relative = |text: &String| text == "$Latest" || text == "$Default";
    if !op.versions.iter().all(is_relative) || op.min_version.is_some() || op.max_version.is_some()
    {
        return Err(invalid_value(WHICH));
    }
    let mut found = Found::new();
    for template in view.list::<LaunchTemplate>() {
        for text in &op.versions {
            let version = version(view, &template, Some(text))?;
            let item = item(&template, &version);
            found.insert(place(&item), item);
        }
    }
    Ok(found)
}

fn of_one(view: &View, op: &DescribeLaunchTemplateVersions) -> Result<Found, ApiError> {
    let template = op.named().find(view)?;
    let bound = |text: &Option<String>| {
        let text = text.as_deref();
        let bound = text.map(|text| number(view, &template, text).ok_or_else(|| bad_bound(text)));
        bound.transpose()
    };
    let (least, most) = (bound(&op.min_version)?, bound(&op.max_version)?);
    if !op.versions.is_empty() && (least.is_some() || most.is_some()) {
        return Err(combination(
            "The parameter versions cannot be used with the parameters minVersion and maxVersion.",
        ));
    }
    let chosen: Vec<Arc<LaunchTemplateVersion>> = if op.versions.is_empty() {
        let is_within = |it: &Arc<LaunchTemplateVersion>| {
            least.is_none_or(|least| it.number >= least)
                && most.is_none_or(|most| it.number <= most)
        };
        let all = versions_of(view, &template.id).into_iter();
        all.filter(is_within).collect()
    } else {
        let find = |text: &String| version(view, &template, Some(text));
        op.versions.iter().map(find).collect::<Result<_, _>>()?
    };
    let items = chosen.iter().map(|it| item(&template, it));
    Ok(items.map(|it| (place(&it), it)).collect())
}

fn bad_bound(text: &str) -> ApiError {
    let shown: String = text.chars().take(64).collect();
    invalid_value(format!("Invalid launch template version: {shown}"))
}

/// Those that can be deleted go, whatever becomes of the others.
fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteLaunchTemplateVersions,
) -> Result<DeleteLaunchTemplateVersionsResult, ApiError> {
    if op.versions.is_empty() {
        return Err(missing("LaunchTemplateVersion"));
    }
    if op.versions.len() > MAX_NAMED {
        return Err(invalid_value(format!(
            "The maximum number of launch template versions in a request is {MAX_NAMED}"
        )));
    }
    let template = op.named().find(tx.view())?;
    // AWS takes plain numbers only.
    let parse = |text: &String| text.parse::<i64>().map_err(|_| bad_bound(text));
    let numbers: Vec<i64> = op.versions.iter().map(parse).collect::<Result<_, _>>()?;
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for number in numbers {
        let key = version_key(&template.id, number);
        let refusal = if number == template.default_version {
            Some((
                "unexpectedError",
                "Cannot delete the default version of the launch template.",
            ))
        } else if tx.get::<LaunchTemplateVersion>(&key).is_none() {
            Some((
                "launchTemplateVersionDoesNotExist",
                "The specified launch template version does not exist.",
            ))
        } else {
            None
        };
        let (launch_template_id, launch_template_name) =
            (template.id.to_string(), template.name.clone());
        match refusal {
            None => {
                tx.delete::<LaunchTemplateVersion>(&key);
                gone.push(DeletedItem {
                    launch_template_id,
                    launch_template_name,
                    version_number: number,
                });
            }
            Some((code, message)) => kept.push(KeptItem {
                launch_template_id,
                launch_template_name,
                version_number: number,
                response_error: KeptError {
                    code: code.to_owned(),
                    message: message.to_owned(),
                },
            }),
        }
    }
    Ok(DeleteLaunchTemplateVersionsResult {
        successfully_deleted_launch_template_version_set: gone,
        unsuccessfully_deleted_launch_template_version_set: kept,
    })
}
