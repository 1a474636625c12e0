//! Outputs that stacks export, and who imports them.

use std::sync::Arc;

use lath_control::paginate;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::record::{Output, Stack};
use crate::{CloudFormation, fault};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListExports {
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Export {
    exporting_stack_id: String,
    name: String,
    value: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExportList {
    exports: Vec<Export>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListImports {
    export_name: String,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImportList {
    imports: Vec<String>,
    next_token: Option<String>,
}

operations! {
    for CloudFormation as "cloudformation";
    read ListExports -> ExportList = list => any();
    read ListImports -> ImportList = importers => any();
}

fn living(view: &View) -> impl Iterator<Item = Arc<Stack>> + '_ {
    view.list::<Stack>().filter(|it| it.deleted.is_none())
}

/// The stack that exports a name, and the output.
pub(crate) fn find(view: &View, name: &str) -> Option<(Arc<Stack>, Output)> {
    living(view).find_map(|stack| {
        let output = stack
            .outputs
            .iter()
            .find(|it| it.export.as_deref() == Some(name));
        let output = output.cloned()?;
        Some((stack, output))
    })
}

/// The names of the stacks that import a name.
fn users(view: &View, name: &str) -> Vec<String> {
    let users = living(view).filter(|it| it.imports.iter().any(|it| it == name));
    users.map(|it| it.name.clone()).collect()
}

/// Whether a stack can have these outputs: no other one exports their names, and what others import stays as it is.
pub(crate) fn check(view: &View, stack: &Stack, outputs: &[Output]) -> Result<(), String> {
    for name in outputs.iter().filter_map(|it| it.export.as_deref()) {
        if let Some((other, _)) = find(view, name).filter(|(other, _)| other.uuid != stack.uuid) {
            let other = &other.name;
            return Err(format!(
                "Export with name {name} is already exported by stack {other}. "
            ));
        }
    }
    for old in stack.outputs.iter().filter(|it| it.export.is_some()) {
        let name = old.export.as_deref().unwrap_or_default();
        let new = outputs.iter().find(|it| it.export.as_deref() == Some(name));
        let users = users(view, name);
        if users.is_empty() || new.is_some_and(|it| it.value == old.value) {
            continue;
        }
        let verb = if new.is_some() { "updated" } else { "deleted" };
        let users = users.join(" and ");
        return Err(format!(
            "Export {name} cannot be {verb} as it is in use by {users}"
        ));
    }
    Ok(())
}

fn list(_: &CloudFormation, view: &View, op: &ListExports) -> Result<ExportList, ApiError> {
    let mut all: Vec<Export> = living(view)
        .flat_map(|stack| {
            let exported = stack.outputs.iter().filter_map(|it| {
                Some(Export {
                    exporting_stack_id: stack.arn.clone(),
                    name: it.export.clone()?,
                    value: it.value.clone(),
                })
            });
            exported.collect::<Vec<_>>()
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let page =
        paginate(all, |it| it.name.clone(), 100, op.next_token.as_deref()).map_err(fault::token)?;
    Ok(ExportList {
        exports: page.items,
        next_token: page.next_token,
    })
}

fn importers(_: &CloudFormation, view: &View, op: &ListImports) -> Result<ImportList, ApiError> {
    let name = &op.export_name;
    if find(view, name).is_none() {
        let name = crate::template::cut(name);
        return Err(fault::validation(format!(
            "Export '{name}' is not exported by any stack."
        )));
    }
    let mut users = users(view, name);
    if users.is_empty() {
        return Err(fault::validation(format!(
            "Export '{name}' is not imported by any stack."
        )));
    }
    users.sort();
    let page =
        paginate(users, Clone::clone, 100, op.next_token.as_deref()).map_err(fault::token)?;
    Ok(ImportList {
        imports: page.items,
        next_token: page.next_token,
    })
}
