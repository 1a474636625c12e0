//! A template with what its parameters and conditions come to: the resources that are wanted, and what they are to be.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_service::App as _;
use serde_json::{Map, Value};

use crate::CloudFormation;
use crate::kinds::{self, Ctx};
use crate::parameters::{self, Settled};
use crate::record::{Desired, Output, Planned, Resource, Stack};
use crate::resolve::{Lookup, Scope, Surroundings, as_text};
use crate::template::{Declared, Template, Wrong, cut};

/// Stands for what is known only once something is made.
const LATER: &str = "{{changeSet:KNOWN_AFTER_APPLY}}";

/// The longest properties of one resource, as JSON in bytes.
const LONGEST: usize = 256 << 10;
/// The longest value of an output, in bytes.
const LONGEST_OUTPUT: usize = 4096;

/// What a stack is to be.
pub(crate) struct Plan {
    pub(crate) template: Template,
    settled: Settled,
    around: Surroundings,
    order: Vec<String>,
}

impl Plan {
    pub(crate) fn of(
        app: &CloudFormation,
        stack: &Stack,
        desired: &Desired,
    ) -> Result<Self, Wrong> {
        let template = Template::read(&desired.template)?;
        let given: Vec<_> = desired
            .parameters
            .iter()
            .map(|it| (it.key.clone(), Some(it.value.clone()), false))
            .collect();
        let settled = parameters::settle(&template, &given, &[])?;
        let around = app.surroundings(&stack.name, &stack.arn);
        let order = template.order()?.into_iter().map(str::to_owned).collect();
        let mut plan = Self {
            template,
            settled,
            around,
            order,
        };
        let known = BTreeMap::new();
        let wanted: Result<Vec<String>, Wrong> = plan.with_scope(app, &known, |scope| {
            let mut wanted = Vec::new();
            for name in &plan.order {
                let condition = plan.template.resources[name].condition.as_deref();
                if condition.map_or(Ok(true), |it| scope.condition(it, 0))? {
                    wanted.push(name.clone());
                }
            }
            Ok(wanted)
        });
        plan.order = wanted?;
        Ok(plan)
    }

    /// The wanted resources, each after what it needs.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&str, &Declared)> {
        self.order
            .iter()
            .map(|name| (name.as_str(), &self.template.resources[name]))
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.order.iter().any(|it| it == name)
    }

    fn with_scope<T>(
        &self,
        app: &CloudFormation,
        known: &BTreeMap<String, Arc<Resource>>,
        f: impl FnOnce(&Scope<'_>) -> T,
    ) -> T {
        let resource = |name: &str, attribute: Option<&str>| self.resource(known, name, attribute);
        self.scoped(app, &resource, &Cell::new(0), f)
    }

    fn scoped<T>(
        &self,
        app: &CloudFormation,
        resource: &Lookup<'_>,
        steps: &Cell<u32>,
        f: impl FnOnce(&Scope<'_>) -> T,
    ) -> T {
        let view = app.view();
        let export = |name: &str| crate::exports::find(&view, name).map(|(_, output)| output.value);
        f(&Scope {
            template: &self.template,
            parameters: &self.settled.values,
            around: &self.around,
            export: &export,
            resource,
            steps,
        })
    }

    /// What a resource is referred to by, or an attribute of it.
    fn resource(
        &self,
        known: &BTreeMap<String, Arc<Resource>>,
        name: &str,
        attribute: Option<&str>,
    ) -> Result<Value, Wrong> {
        let unresolved = || {
            let name = cut(name);
            format!(
                "Unresolved resource dependencies [{name}] in the Resources block of the template"
            )
        };
        let own = known
            .get(name)
            .filter(|it| it.is_made && self.wants(name))
            .ok_or_else(unresolved)?;
        let kind = kinds::find(&own.type_name).ok_or_else(unresolved)?;
        match attribute {
            None => {
                let nothing = BTreeMap::new();
                let ctx = Ctx {
                    properties: kinds::object(&own.properties),
                    old: None,
                    id: &own.physical,
                    token: "",
                    attributes: &own.attributes,
                    looked: &Value::Null,
                    stack_name: "",
                    stack_arn: "",
                    logical: name,
                    stack_tags: &nothing,
                    old_stack_tags: &nothing,
                };
                Ok(Value::String((kind.reference)(&ctx)))
            }
            // Attributes may be lists and structures with a path into them.
            Some(attribute) => own.attributes.get(attribute).cloned().ok_or_else(|| {
                let attribute = cut(attribute);
                format!(
                    "Requested attribute {attribute} does not exist in schema for {}",
                    own.type_name
                )
            }),
        }
    }

    /// The properties of a resource as they are to be.
    pub(crate) fn properties(
        &self,
        app: &CloudFormation,
        declared: &Declared,
        known: &BTreeMap<String, Arc<Resource>>,
    ) -> Result<Value, Wrong> {
        let resolved = self.with_scope(app, known, |scope| scope.value(&declared.properties))?;
        let resolved = resolved.unwrap_or_else(|| Value::Object(Map::new()));
        if !resolved.is_object() {
            return Err(
                "Template format error: any Properties member must be a JSON object.".into(),
            );
        }
        let text = resolved.to_string();
        if text.contains(crate::references::DYNAMIC) {
            return Err(crate::references::no_dynamic_references());
        }
        if text.len() > LONGEST {
            return Err(format!(
                "Template error: the properties are longer than {LONGEST} bytes"
            ));
        }
        Ok(resolved)
    }

    pub(crate) fn outputs(
        &self,
        app: &CloudFormation,
        known: &BTreeMap<String, Arc<Resource>>,
    ) -> Result<Vec<Output>, Wrong> {
        self.with_scope(app, known, |scope| {
            let mut outputs = Vec::new();
            for (key, declared) in &self.template.outputs {
                let condition = declared.get("Condition").and_then(Value::as_str);
                if !condition.map_or(Ok(true), |it| scope.condition(it, 0))? {
                    continue;
                }
                let text = |value: Option<&Value>| -> Result<Option<String>, Wrong> {
                    let Some(value) = value else { return Ok(None) };
                    scope.value(value)?.map(|it| as_text(&it)).transpose()
                };
                let value = text(declared.get("Value"))
                    .map_err(|error| if error.contains("a string was expected") {
                        format!("Template format error: Output {} is malformed. The Value field of every Outputs member must evaluate to a String.", cut(key))
                    } else {
                        error
                    })?;
                if value.as_ref().is_some_and(|it| it.len() > LONGEST_OUTPUT) {
                    let key = cut(key);
                    return Err(format!("Template format error: Output {key} is longer than {LONGEST_OUTPUT} bytes"));
                }
                outputs.push(Output {
                    key: key.clone(),
                    value: value.unwrap_or_default(),
                    description: declared.get("Description").and_then(Value::as_str).map(str::to_owned),
                    export: text(declared.pointer("/Export/Name"))?,
                });
            }
            Ok(outputs)
        })
    }

    /// The names of the exports that are used.
    pub(crate) fn imports(
        &self,
        app: &CloudFormation,
        known: &BTreeMap<String, Arc<Resource>>,
    ) -> Vec<String> {
        self.with_scope(app, known, |scope| {
            let mut names = Vec::new();
            for (_, declared) in self.wanted() {
                scope.imports(&declared.properties, &mut names);
            }
            for output in self.template.outputs.values() {
                scope.imports(output, &mut names);
            }
            names.sort_unstable();
            names.dedup();
            names
        })
    }

    /// What would be done to the resources of a stack.
    pub(crate) fn changes(
        &self,
        app: &CloudFormation,
        desired: &Desired,
        known: &BTreeMap<String, Arc<Resource>>,
    ) -> Result<Vec<Planned>, Wrong> {
        let mut all: Vec<Planned> = Vec::new();
        let mut is_new: BTreeSet<&str> = BTreeSet::new();
        // All resources together are evaluated while a caller waits.
        let steps = Cell::new(0);
        for (name, declared) in self.wanted() {
            let before = known.get(name).filter(|it| it.is_made);
            let Some(before) = before else {
                is_new.insert(name);
                all.push(Planned {
                    action: "Add".into(),
                    logical: name.to_owned(),
                    physical: None,
                    type_name: declared.type_name.clone(),
                    replacement: None,
                    properties: Vec::new(),
                });
                continue;
            };
            let resource = |other: &str, attribute: Option<&str>| {
                if is_new.contains(other) {
                    return Ok(Value::String(LATER.to_owned()));
                }
                self.resource(known, other, attribute)
            };
            let resolved = self.scoped(app, &resource, &steps, |scope| {
                scope.value(&declared.properties)
            })?;
            let resolved = resolved.unwrap_or_else(|| Value::Object(Map::new()));
            let Some(kind) = kinds::find(&declared.type_name) else {
                continue;
            };
            let mut properties: Vec<(String, bool)> = changed(&before.properties, &resolved)
                .into_iter()
                .map(|it| {
                    let is_later = resolved
                        .get(&it)
                        .is_some_and(|it| it.to_string().contains(LATER));
                    (it, is_later)
                })
                .collect();
            if properties.is_empty() && kind.has("Tags") && before.stack_tags != desired.tags {
                properties.push(("Tags".into(), false));
            }
            if properties.is_empty() {
                continue;
            }
            let replaces = |is_sure: bool| {
                properties
                    .iter()
                    .any(|(it, later)| kind.is_replaced_by(it) && *later != is_sure)
            };
            let is_replaced = (kind.replaces)(&before.properties, &resolved);
            let replacement =
                if replaces(true) || is_replaced || before.type_name != declared.type_name {
                    "True"
                } else if replaces(false) {
                    "Conditional"
                } else {
                    "False"
                };
            if replacement != "False" {
                is_new.insert(name);
            }
            all.push(Planned {
                action: "Modify".into(),
                logical: name.to_owned(),
                physical: Some(before.physical.clone()),
                type_name: declared.type_name.clone(),
                replacement: Some(replacement.to_owned()),
                properties,
            });
        }
        for (name, own) in known {
            if own.is_made && !self.wants(name) {
                all.push(Planned {
                    action: "Remove".into(),
                    logical: name.clone(),
                    physical: Some(own.physical.clone()),
                    type_name: own.type_name.clone(),
                    replacement: None,
                    properties: Vec::new(),
                });
            }
        }
        all.sort_by(|a, b| a.logical.cmp(&b.logical));
        Ok(all)
    }
}

/// The names of the properties that differ.
pub(crate) fn changed(old: &Value, new: &Value) -> Vec<String> {
    let keys = |value: &Value| {
        value
            .as_object()
            .map(|it| it.keys().cloned().collect())
            .unwrap_or_default()
    };
    let mut names: BTreeSet<String> = keys(old);
    names.extend::<BTreeSet<String>>(keys(new));
    names
        .into_iter()
        .filter(|it| old.get(it) != new.get(it))
        .collect()
}
