//! Launch templates: parameters of launches, kept under a name, in numbered versions that never change
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html>).

pub(crate) mod applied;
pub(crate) mod data;
pub(crate) mod made_of;
pub(crate) mod templates;
pub(crate) mod versions;

use std::sync::Arc;

use lath_authz::Scope;
use lath_ec2_kit::Part;
use lath_ec2_records::errors::{client, combination, missing};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{ids as id_form, resource_type};
use lath_model::Timestamp;
use lath_service::{Kind, Resource};
use lath_store::{Record, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use data::TemplateData;

lath_model::ids! {
    /// A launch template.
    pub LaunchTemplateId = "lt";
}

/// A launch template. Its versions are records of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchTemplate {
    pub(crate) id: LaunchTemplateId,
    /// Unique in the region.
    pub(crate) name: String,
    created_at: Timestamp,
    /// The ARN of the user or role.
    created_by: String,
    default_version: i64,
    /// The number of the version that was made last, which may be deleted by now: numbers are used once.
    last_number: i64,
}

impl Record for LaunchTemplate {
    const KIND: &'static str = "ec2.launch-template";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}

/// A version of a launch template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LaunchTemplateVersion {
    pub(crate) template: LaunchTemplateId,
    pub(crate) number: i64,
    description: Option<String>,
    created_at: Timestamp,
    created_by: String,
    pub(crate) data: TemplateData,
}

impl Record for LaunchTemplateVersion {
    const KIND: &'static str = "ec2.launch-template-version";
    fn id(&self) -> String {
        version_key(&self.template, self.number)
    }
}

/// The id of a version's record: those of a template are in the order of their numbers.
fn version_key(template: &LaunchTemplateId, number: i64) -> String {
    format!("{template}/{number:019}")
}

/// A launch template.
pub(crate) const LAUNCH_TEMPLATE: Kind = Kind::of::<LaunchTemplate>(
    id_form(
        "lt",
        "InvalidLaunchTemplateId.Malformed",
        "InvalidLaunchTemplateId.NotFound",
        "The specified launch template, with template ID {}, does not exist.",
    ),
    resource_type!(
        "launch-template",
        ["ec2:ManagedResourceOperator"],
        |_, _| { Vec::new() }
    ),
);

impl Resource for LaunchTemplate {
    const RESOURCE: Kind = LAUNCH_TEMPLATE;
}

/// Launch templates, as in [`lath_ec2_network::PARTS`].
pub static PARTS: &[Part] = &[
    Part::new(templates::register, &[&LAUNCH_TEMPLATE]),
    Part::new(versions::register, &[]),
    Part::new(made_of::register, &[]),
];

/// How a request names a template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    /// What the request would do with it, for the error about two names.
    pub(crate) to: &'static str,
}

impl Named<'_> {
    /// The template.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidParameterCombination`, `InvalidLaunchTemplateId.Malformed`,
    /// `InvalidLaunchTemplateId.NotFound`, `InvalidLaunchTemplateName.NotFoundException`.
    pub(crate) fn find(self, view: &View) -> Result<Arc<LaunchTemplate>, ApiError> {
        match (self.id, self.name) {
            (Some(id), None) => ids::find::<LaunchTemplate>(view, id),
            (None, Some(name)) => by_name(view, name).ok_or_else(|| {
                let shown: String = name.chars().take(128).collect();
                client(
                    "InvalidLaunchTemplateName.NotFoundException",
                    format!(
                        "The specified launch template, with template name {shown}, does not exist."
                    ),
                )
            }),
            (Some(_), Some(_)) => Err(combination(format!(
                "Either provide launch template ID or launch template name to {} the template.",
                self.to
            ))),
            (None, None) => Err(missing("launch template ID or launch template name")),
        }
    }

    /// The template's id, for policies; what stands in the request where nothing has it.
    pub(crate) fn id(self, at: &Scope<'_>) -> Option<String> {
        let given = self.id.or(self.name).map(str::to_owned);
        let found = self.name.and_then(|name| by_name(at.view, name));
        match (self.id, found) {
            (None, Some(template)) => Some(template.id.to_string()),
            _ => given,
        }
    }
}

fn by_name(view: &View, name: &str) -> Option<Arc<LaunchTemplate>> {
    view.by::<LaunchTemplate>("name", name).next()
}

/// The versions of a template, by ascending number.
fn versions_of(view: &View, template: &LaunchTemplateId) -> Vec<Arc<LaunchTemplateVersion>> {
    let prefix = format!("{template}/");
    view.range::<LaunchTemplateVersion>(&prefix).collect()
}

/// The newest version that is there.
fn latest(view: &View, template: &LaunchTemplate) -> i64 {
    let newest =
        view.get::<LaunchTemplateVersion>(&version_key(&template.id, template.last_number));
    let number = newest.map(|it| it.number);
    // It was deleted: the one before it is the latest.
    number.unwrap_or_else(|| {
        let versions = versions_of(view, &template.id);
        versions.last().map_or(template.last_number, |it| it.number)
    })
}

/// The number that a text means: `$Latest`, `$Default` or a number.
fn number(view: &View, template: &LaunchTemplate, text: &str) -> Option<i64> {
    match text {
        "$Latest" => Some(latest(view, template)),
        "$Default" => Some(template.default_version),
        text => text.parse().ok(),
    }
}

/// The version that a text means; the default one where there is no text.
///
/// # Errors
/// `InvalidLaunchTemplateId.VersionNotFound`.
pub(crate) fn version(
    view: &View,
    template: &LaunchTemplate,
    text: Option<&str>,
) -> Result<Arc<LaunchTemplateVersion>, ApiError> {
    let text = text.filter(|it| !it.is_empty()).unwrap_or("$Default");
    let found = number(view, template, text)
        .and_then(|number| view.get::<LaunchTemplateVersion>(&version_key(&template.id, number)));
    found.ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        no_version(format!(
            "Could not find the specified version {shown} for the launch template with ID {}.",
            template.id
        ))
    })
}

fn no_version(text: String) -> ApiError {
    client("InvalidLaunchTemplateId.VersionNotFound", text)
}
