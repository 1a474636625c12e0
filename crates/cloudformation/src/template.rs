//! Templates: read, checked for what can be known before anything is made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::references::{DYNAMIC, no_dynamic_references, references, uses};
use crate::{kinds, yaml};

/// The longest body, in bytes
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>).
pub(crate) const LONGEST: usize = 51_200;
/// How deep lists and maps may be nested.
pub(crate) const DEEPEST: usize = 64;
const MOST_RESOURCES: usize = 500;
const MOST_PARAMETERS: usize = 200;
const MOST_OUTPUTS: usize = 200;
const MOST_MAPPINGS: usize = 200;

/// A template that was read.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) metadata: Option<Value>,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) mappings: Map<String, Value>,
    pub(crate) conditions: Map<String, Value>,
    pub(crate) resources: BTreeMap<String, Declared>,
    pub(crate) outputs: Map<String, Value>,
}

/// A resource as it is declared.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) type_name: String,
    pub(crate) properties: Value,
    pub(crate) condition: Option<String>,
    pub(crate) retains_on_delete: bool,
    /// Whether it stays when a create of the stack fails.
    pub(crate) retains_on_rollback: bool,
    pub(crate) retains_on_replace: bool,
    /// What has to be there before it: what it refers to, and what it says.
    pub(crate) needs: BTreeSet<String>,
}

/// What is wrong with a template, in CloudFormation's words.
pub(crate) type Wrong = String;

const SECTIONS: [&str; 11] = [
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Hooks",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
    "Transform",
];

const OF_A_RESOURCE: [&str; 9] = [
    "Condition",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Metadata",
    "Properties",
    "Type",
    "UpdatePolicy",
    "UpdateReplacePolicy",
];

/// The pseudo parameters.
pub(crate) const PSEUDO: [&str; 8] = [
    "AWS::AccountId",
    "AWS::NotificationARNs",
    "AWS::NoValue",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

impl Template {
    /// Reads a body in JSON or YAML.
    pub(crate) fn read(body: &str) -> Result<Self, Wrong> {
        let root = tree(body)?;
        let Value::Object(mut root) = root else {
            return Err("Template format error: unsupported structure.".into());
        };
        let unknown: Vec<&str> = root
            .keys()
            .map(String::as_str)
            .filter(|key| !SECTIONS.contains(key))
            .collect();
        if !unknown.is_empty() {
            let unknown = cut(&unknown.join(", "));
            return Err(format!(
                "Invalid template property or properties [{unknown}]"
            ));
        }
        if let Some(transform) = root.get("Transform") {
            let name = transform.as_str().unwrap_or("in the template");
            return Err(format!("No transform named {} found.", cut(name)));
        }
        for section in ["Rules", "Hooks"] {
            if root.contains_key(section) {
                return Err(format!(
                    "Template format error: Lath does not support the section {section}."
                ));
            }
        }
        let mut section = |name: &str, most: usize| match root.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(members)) if members.len() > most => Err(format!(
                "Template format error: Number of {name} exceeds {most}."
            )),
            Some(Value::Object(members)) => Ok(members),
            Some(_) => Err(format!("Template format error: {name} must be an object.")),
        };
        let parameters = section("Parameters", MOST_PARAMETERS)?;
        let mappings = section("Mappings", MOST_MAPPINGS)?;
        let conditions = section("Conditions", usize::MAX)?;
        let outputs = section("Outputs", MOST_OUTPUTS)?;
        let resources = section("Resources", MOST_RESOURCES)?;
        if resources.is_empty() {
            return Err(
                "Template format error: At least one Resources member must be defined.".into(),
            );
        }
        check_parameters(&parameters)?;
        let declared: Result<BTreeMap<_, _>, Wrong> = resources
            .into_iter()
            .map(|(name, value)| Ok((name.clone(), declared(&name, value)?)))
            .collect();
        let mut declared = declared?;
        for it in declared.values_mut() {
            it.needs.retain(|name| !parameters.contains_key(name));
        }
        let text = |name: &str| root.get(name).and_then(Value::as_str).map(str::to_owned);
        let template = Self {
            description: text("Description"),
            version: text("AWSTemplateFormatVersion"),
            metadata: root.get("Metadata").cloned(),
            parameters,
            mappings,
            conditions,
            resources: declared,
            outputs,
        };
        template.check()?;
        Ok(template)
    }

    fn check(&self) -> Result<(), Wrong> {
        self.check_types()?;
        self.check_conditions()?;
        for (name, declared) in &self.resources {
            if declared.properties.to_string().contains(DYNAMIC) {
                return Err(no_dynamic_references());
            }
            if let Some(condition) = &declared.condition
                && !self.conditions.contains_key(condition)
            {
                let condition = cut(condition);
                return Err(format!(
                    "Template format error: Unresolved condition dependency {condition} in the Resources block of the template"
                ));
            }
            self.check_references(&declared.properties, "Resources")?;
            let missing: Vec<&str> = declared
                .needs
                .iter()
                .filter(|it| !self.resources.contains_key(*it))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                let missing = cut(&missing.join(", "));
                return Err(format!(
                    "Template format error: Unresolved resource dependencies [{missing}] in the Resources block of the template"
                ));
            }
            let kind = kinds::find(&declared.type_name);
            let problems = kind.map_or_else(Vec::new, |kind| kind.unknown(&declared.properties));
            if !problems.is_empty() {
                let problems: Vec<String> = problems.iter().map(|it| format!("#: {it}")).collect();
                return Err(format!(
                    "Properties validation failed for resource {name} with message:\n[{}]",
                    problems.join(", ")
                ));
            }
        }
        for (name, output) in &self.outputs {
            if output.to_string().contains(DYNAMIC) {
                return Err(no_dynamic_references());
            }
            if output.get("Value").is_none() {
                let name = cut(name);
                return Err(format!(
                    "Template format error: Every Outputs member must contain a Value object: {name}"
                ));
            }
            self.check_references(output, "Outputs")?;
        }
        self.order().map(drop)
    }

    /// Conditions are known before anything is made, and do not change while others do.
    fn check_conditions(&self) -> Result<(), Wrong> {
        let mut names = BTreeSet::new();
        for condition in self.conditions.values() {
            if uses(condition, "Fn::ImportValue") {
                return Err("Template error: Cannot use Fn::ImportValue in Conditions.".into());
            }
            references(condition, &mut |name, is_attribute| {
                if is_attribute || self.resources.contains_key(name) {
                    names.insert(name.to_owned());
                }
            });
        }
        if names.is_empty() {
            return Ok(());
        }
        let names = cut(&names.into_iter().collect::<Vec<_>>().join(", "));
        Err(format!(
            "Template format error: Unresolved dependencies [{names}]. Cannot reference resources in the Conditions block of the template"
        ))
    }

    fn check_types(&self) -> Result<(), Wrong> {
        let mut unknown: Vec<&str> = self
            .resources
            .values()
            .map(|it| it.type_name.as_str())
            .filter(|it| kinds::find(it).is_none())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown = cut(&unknown.join(", "));
        Err(format!(
            "Template format error: Unrecognized resource types: [{unknown}]"
        ))
    }

    fn check_references(&self, value: &Value, block: &str) -> Result<(), Wrong> {
        let mut names = BTreeSet::new();
        references(value, &mut |name, attribute| {
            names.insert((name.to_owned(), attribute));
        });
        let known = |name: &str| {
            self.resources.contains_key(name)
                || self.parameters.contains_key(name)
                || PSEUDO.contains(&name)
        };
        for (name, attribute) in &names {
            if *attribute && !self.resources.contains_key(name) {
                let name = cut(name);
                return Err(format!(
                    "Template error: instance of Fn::GetAtt references undefined resource {name}"
                ));
            }
        }
        let missing: Vec<&str> = names
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !known(name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = cut(&missing.join(", "));
        Err(format!(
            "Template format error: Unresolved resource dependencies [{missing}] in the {block} block of the template"
        ))
    }

    /// The resources, each after what it needs.
    pub(crate) fn order(&self) -> Result<Vec<&str>, Wrong> {
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut order = Vec::new();
        while order.len() < self.resources.len() {
            let ready: Vec<&str> = self
                .resources
                .iter()
                .filter(|(name, it)| {
                    !done.contains(name.as_str())
                        && it.needs.iter().all(|need| done.contains(need.as_str()))
                })
                .map(|(name, _)| name.as_str())
                .collect();
            if ready.is_empty() {
                let left = self.resources.keys().map(String::as_str);
                let left: Vec<&str> = left.filter(|it| !done.contains(it)).collect();
                return Err(format!(
                    "Circular dependency between resources: [{}]",
                    cut(&left.join(", "))
                ));
            }
            done.extend(&ready);
            order.extend(ready);
        }
        Ok(order)
    }

    /// The capabilities that a request must acknowledge, and why.
    pub(crate) fn capabilities(&self) -> Option<(&'static str, String)> {
        let of_iam = self
            .resources
            .values()
            .filter_map(|it| Some((it, kinds::find(&it.type_name)?)))
            .filter(|(_, kind)| kind.needs_capability());
        let mut types: Vec<&str> = of_iam
            .clone()
            .map(|(it, _)| it.type_name.as_str())
            .collect();
        types.sort_unstable();
        types.dedup();
        if types.is_empty() {
            return None;
        }
        // What a function in the place of all properties gives may have a name.
        let is_function = |properties: &Value| {
            let keys = properties.as_object().into_iter().flat_map(Map::keys);
            keys.clone().count() == 1 && keys.into_iter().all(|it| it.starts_with("Fn::"))
        };
        let is_named = of_iam.clone().any(|(it, kind)| {
            kind.name_property().is_some_and(|name| {
                it.properties.get(name).is_some() || is_function(&it.properties)
            })
        });
        let capability = if is_named {
            "CAPABILITY_NAMED_IAM"
        } else {
            "CAPABILITY_IAM"
        };
        let reason = format!(
            "The following resource(s) require capabilities: [{}]",
            types.join(", ")
        );
        Some((capability, reason))
    }
}

/// So much of what a caller wrote as an error repeats.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(512).collect()
}

fn tree(body: &str) -> Result<Value, Wrong> {
    if body.trim_start().starts_with('{') {
        let parsed: Result<Value, _> = serde_json::from_str(body);
        return match parsed {
            Ok(value) => Ok(value),
            // A flow mapping of YAML begins so too.
            Err(error) => yaml::read(body).map_err(|_| {
                let (line, column) = (error.line(), error.column());
                format!(
                    "Template format error: JSON not well-formed. (line {line}, column {column})"
                )
            }),
        };
    }
    yaml::read(body).map_err(|yaml::NotYaml(text)| text)
}

fn check_parameters(parameters: &Map<String, Value>) -> Result<(), Wrong> {
    for (name, it) in parameters {
        let Some(kind) = it.get("Type").and_then(Value::as_str) else {
            return Err(
                "Template format error: Every Parameters object must contain a Type member.".into(),
            );
        };
        let is_known = matches!(
            kind,
            "String" | "Number" | "CommaDelimitedList" | "List<Number>" | "List<String>"
        ) || kind.starts_with("AWS::EC2::")
            || kind.starts_with("AWS::Route53::")
            || kind.starts_with("List<AWS::EC2::")
            || kind.starts_with("List<AWS::Route53::");
        if !is_known {
            let (kind, name) = (cut(kind), cut(name));
            return Err(format!(
                "Template format error: Unrecognized parameter type: {kind} for parameter {name}"
            ));
        }
    }
    Ok(())
}

fn declared(name: &str, value: Value) -> Result<Declared, Wrong> {
    let is_name =
        !name.is_empty() && name.len() <= 255 && name.bytes().all(|it| it.is_ascii_alphanumeric());
    if !is_name {
        let name = cut(name);
        return Err(format!(
            "Template format error: Resource name {name} is non alphanumeric."
        ));
    }
    let Value::Object(mut members) = value else {
        return Err("Template format error: Any Resources member must be a JSON object.".into());
    };
    for key in members.keys() {
        if !OF_A_RESOURCE.contains(&key.as_str()) {
            let key = cut(key);
            return Err(format!("Invalid template resource property '{key}'"));
        }
    }
    let type_name = members
        .get("Type")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let type_name = type_name.ok_or_else(|| {
        format!("Template format error: [/Resources/{name}] Every Resources object must contain a Type member.")
    })?;
    let properties = match members.remove("Properties") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(properties @ Value::Object(_)) => properties,
        Some(_) => {
            return Err(
                "Template format error: [/Resources] Any Properties member must be a JSON object."
                    .into(),
            );
        }
    };
    let policy = |key: &str| -> Result<bool, Wrong> {
        match members.get(key).map(|it| it.as_str()) {
            None | Some(Some("Delete")) => Ok(false),
            Some(Some("Retain")) => Ok(true),
            Some(Some("RetainExceptOnCreate")) if key == "DeletionPolicy" => Ok(true),
            Some(other) => {
                let other = cut(other.unwrap_or_default());
                Err(format!(
                    "Template format error: Unrecognized {key} {other} for resource {name}"
                ))
            }
        }
    };
    let mut needs = BTreeSet::new();
    match members.get("DependsOn") {
        None | Some(Value::Null) => {}
        Some(Value::String(one)) => {
            needs.insert(one.clone());
        }
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => {
            needs.extend(several.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        Some(_) => {
            return Err(
                "Template format error: DependsOn must be a string or list of strings.".into(),
            );
        }
    }
    references(&properties, &mut |reference, _| {
        if !reference.starts_with("AWS::") {
            needs.insert(reference.to_owned());
        }
    });
    Ok(Declared {
        type_name,
        condition: members
            .get("Condition")
            .and_then(Value::as_str)
            .map(str::to_owned),
        retains_on_delete: policy("DeletionPolicy")?,
        retains_on_rollback: members
            .get("DeletionPolicy")
            .is_some_and(|it| it == "Retain"),
        retains_on_replace: policy("UpdateReplacePolicy")?,
        needs,
        properties,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_cloudformations_words() {
        for (body, want) in [
            ("[]", "Template format error: unsupported structure."),
            (
                "{",
                "Template format error: JSON not well-formed. (line 1, column 1)",
            ),
            (
                "{\"Resources\": {}}",
                "Template format error: At least one Resources member must be defined.",
            ),
            ("Foo: 1", "Invalid template property or properties [Foo]"),
            (
                "Resources: {A: {Type: 'AWS::No::Such'}, B: {Type: 'AWS::No::Such'}}",
                "Template format error: Unrecognized resource types: [AWS::No::Such]",
            ),
            (
                "Resources: {A: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: !Ref X}}}",
                "Template format error: Unresolved resource dependencies [X] in the Resources block of the template",
            ),
            (
                "Resources: {A: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: !GetAtt X.Y}}}",
                "Template error: instance of Fn::GetAtt references undefined resource X",
            ),
            (
                "Resources: {A: {Type: 'AWS::EC2::VPC', DependsOn: B}, B: {Type: 'AWS::EC2::VPC', DependsOn: [A]}}",
                "Circular dependency between resources: [A, B]",
            ),
            (
                "Resources: {A: {Type: 'AWS::EC2::InternetGateway', Properties: {Color: 1}}}",
                "Properties validation failed for resource A with message:\n[#: extraneous key [Color] is not permitted]",
            ),
            (
                "Parameters: {P: {Default: 1}}\nResources: {A: {Type: 'AWS::EC2::InternetGateway'}}",
                "Template format error: Every Parameters object must contain a Type member.",
            ),
            (
                "Transform: AWS::Serverless-2016-10-31\nResources: {}",
                "No transform named AWS::Serverless-2016-10-31 found.",
            ),
            (
                "Conditions: {C: !Equals [!ImportValue x, y]}\nResources: {A: {Type: 'AWS::EC2::InternetGateway'}}",
                "Template error: Cannot use Fn::ImportValue in Conditions.",
            ),
            (
                "Conditions: {C: !Equals [!GetAtt A.B, y]}\nResources: {A: {Type: 'AWS::EC2::InternetGateway'}}",
                "Template format error: Unresolved dependencies [A]. Cannot reference resources in the Conditions block of the template",
            ),
            (
                "Resources: {A: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: '{{resolve:ssm:x}}'}}}",
                "Template format error: Lath does not support dynamic references ({{resolve:...}}).",
            ),
        ] {
            match Template::read(body) {
                Err(error) => assert_eq!(error, want),
                Ok(_) => panic!("{body}"),
            }
        }
    }

    #[test]
    fn references_are_needs() {
        let body = "Resources:\n  V: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: 10.0.0.0/16}}\n  S:\n    Type: AWS::EC2::Subnet\n    \
                    Properties: {VpcId: !Sub '${V}', CidrBlock: !Select [0, !Cidr [!GetAtt V.CidrBlock, 2, 8]]}\n";
        let template = Template::read(body).unwrap();
        assert_eq!(template.order().unwrap(), ["V", "S"]);
    }
}
