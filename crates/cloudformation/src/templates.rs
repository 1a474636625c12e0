//! Templates: of stacks, and looked at before they become one.

use lath_service::{Refuses, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parameters::{default, is_hidden};
use crate::record::{ChangeSet, Desired};
use crate::resource_types::STACK;
use crate::stacks::body;
use crate::template::Template;
use crate::{CloudFormation, change_sets, fault};

const TEMPLATE_URL: &str = "cloudformation:TemplateUrl";

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetTemplate {
    stack_name: Option<String>,
    change_set_name: Option<String>,
    template_stage: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TemplateText {
    template_body: String,
    stages_available: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetTemplateSummary {
    template_body: Option<String>,
    #[serde(rename = "TemplateURL")]
    template_url: Option<String>,
    stack_name: Option<String>,
    stack_set_name: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ParameterDeclaration {
    parameter_key: String,
    default_value: Option<String>,
    parameter_type: String,
    no_echo: bool,
    description: Option<String>,
    parameter_constraints: Constraints,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Constraints {
    allowed_values: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    parameters: Vec<ParameterDeclaration>,
    description: Option<String>,
    capabilities: Vec<String>,
    capabilities_reason: Option<String>,
    resource_types: Vec<String>,
    version: Option<String>,
    metadata: Option<String>,
    declared_transforms: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ValidateTemplate {
    template_body: Option<String>,
    #[serde(rename = "TemplateURL")]
    template_url: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TemplateParameter {
    parameter_key: String,
    default_value: Option<String>,
    no_echo: bool,
    description: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Validated {
    parameters: Vec<TemplateParameter>,
    description: Option<String>,
    capabilities: Vec<String>,
    capabilities_reason: Option<String>,
    declared_transforms: Vec<String>,
}

operations! {
    for CloudFormation as "cloudformation";
    read GetTemplate -> TemplateText = get
        => on(&STACK, |op, at| change_sets::stack_named(at.view, op.stack_name.as_deref(), op.change_set_name.as_deref()));
    read GetTemplateSummary -> Summary = summary => on(&STACK, |op, _| op.stack_name.clone())
        .with(TEMPLATE_URL, |op, _| op.template_url.clone())
        .also_any("cloudformation:GetTemplateSummary", |op, _| op.stack_name.is_none())
        .with(TEMPLATE_URL, |op, _| op.template_url.clone())
        => refusing ["" GetTemplateSummary];
    read ValidateTemplate -> Validated = validate => any().with(TEMPLATE_URL, |op, _| op.template_url.clone())
        => refusing ["" ValidateTemplate];
}

impl Refuses for GetTemplateSummary {
    fn names() -> Vec<String> {
        ["TemplateURL", "StackSetName"].map(str::to_owned).into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if self.stack_set_name.is_some() {
            return Err(fault::unsupported("stack sets: StackSetName"));
        }
        no_url(self.template_url.as_deref())
    }
}

impl Refuses for ValidateTemplate {
    fn names() -> Vec<String> {
        vec!["TemplateURL".into()]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        no_url(self.template_url.as_deref())
    }
}

fn no_url(url: Option<&str>) -> Result<(), ApiError> {
    match url {
        None => Ok(()),
        Some(_) => Err(fault::unsupported("templates in S3: TemplateURL")),
    }
}

fn get(_: &CloudFormation, view: &View, op: &GetTemplate) -> Result<TemplateText, ApiError> {
    if let Some(stage) = op
        .template_stage
        .as_deref()
        .filter(|it| !["Original", "Processed"].contains(it))
    {
        let stage = crate::template::cut(stage);
        return Err(fault::validation(format!(
            "1 validation error detected: Value '{stage}' at 'templateStage' failed to satisfy constraint: Member must satisfy enum value set: [Original, Processed]"
        )));
    }
    let text = match &op.change_set_name {
        Some(name) => {
            let set: ChangeSet = change_sets::find(view, op.stack_name.as_deref(), name)?;
            set.desired.template
        }
        None => {
            let name = op.stack_name.as_deref().unwrap_or_default();
            fault::find(view, name)?.desired.template.clone()
        }
    };
    Ok(TemplateText {
        template_body: text,
        stages_available: vec!["Original".into(), "Processed".into()],
    })
}

fn described(declared: &Value) -> Option<String> {
    declared
        .get("Description")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn summary(_: &CloudFormation, view: &View, op: &GetTemplateSummary) -> Result<Summary, ApiError> {
    op.refuse()?;
    let of_stack: Option<Desired> = match &op.stack_name {
        Some(name) => Some(fault::find(view, name)?.desired.clone()),
        None => None,
    };
    let text = match &of_stack {
        Some(desired) => desired.template.as_str(),
        None => body(op.template_body.as_deref())?,
    };
    let template = Template::read(text).map_err(fault::validation)?;
    let parameter = |(key, declared): (&String, &Value)| {
        let allowed = declared.get("AllowedValues").and_then(Value::as_array);
        let allowed = allowed.into_iter().flatten();
        ParameterDeclaration {
            parameter_key: key.clone(),
            default_value: default(declared),
            parameter_type: declared
                .get("Type")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            no_echo: is_hidden(Some(declared)),
            description: described(declared),
            parameter_constraints: Constraints {
                allowed_values: allowed
                    .filter_map(|it| crate::resolve::as_text(it).ok())
                    .collect(),
            },
        }
    };
    let mut types: Vec<String> = template
        .resources
        .values()
        .map(|it| it.type_name.clone())
        .collect();
    types.sort();
    types.dedup();
    let capabilities = template.capabilities();
    Ok(Summary {
        parameters: template.parameters.iter().map(parameter).collect(),
        description: template.description.clone(),
        capabilities: capabilities
            .iter()
            .map(|(it, _)| (*it).to_owned())
            .collect(),
        capabilities_reason: capabilities.map(|(_, why)| why),
        resource_types: types,
        version: template.version.clone(),
        metadata: template.metadata.as_ref().map(Value::to_string),
        declared_transforms: Vec::new(),
    })
}

fn validate(_: &CloudFormation, _: &View, op: &ValidateTemplate) -> Result<Validated, ApiError> {
    op.refuse()?;
    let template = Template::read(body(op.template_body.as_deref())?).map_err(fault::validation)?;
    let parameter = |(key, declared): (&String, &Value)| TemplateParameter {
        parameter_key: key.clone(),
        default_value: default(declared),
        no_echo: is_hidden(Some(declared)),
        description: described(declared),
    };
    let capabilities = template.capabilities();
    Ok(Validated {
        parameters: template.parameters.iter().map(parameter).collect(),
        description: template.description.clone(),
        capabilities: capabilities
            .iter()
            .map(|(it, _)| (*it).to_owned())
            .collect(),
        capabilities_reason: capabilities.map(|(_, why)| why),
        declared_transforms: Vec::new(),
    })
}
