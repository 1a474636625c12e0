//! Policies of repositories. They are judged together with those of the caller: [`policy_of`] hands them over.

use lath_policy::{Grammar, Policy};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde_json::Value;

use crate::record::Repository;
use crate::resource_types::{REPOSITORY, named};
use crate::shape::*;
use crate::{Ecr, fault};

const LONGEST: usize = 10_240;

operations! {
    for Ecr as "ecr";
    change SetRepositoryPolicy -> RepositoryPolicy = set
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    read GetRepositoryPolicy -> RepositoryPolicy = get
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    change DeleteRepositoryPolicy -> RepositoryPolicy = delete
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
}

/// The policy of the repository that an ARN names, as a policy of resources is written: statements of a repository's name
/// no resource, because it is the repository.
pub fn policy_of(view: &View, arn: &str) -> Option<String> {
    let repository = view.get::<Repository>(&named(arn)?)?;
    with_resources(repository.policy.as_deref()?)
}

fn with_resources(text: &str) -> Option<String> {
    let mut document: Value = serde_json::from_str(text).ok()?;
    let statements = document.get_mut("Statement")?;
    let complete = |statement: &mut Value| {
        if let Some(members) = statement.as_object_mut()
            && !members.contains_key("NotResource")
        {
            members.entry("Resource").or_insert_with(|| "*".into());
        }
    };
    match statements {
        Value::Array(all) => all.iter_mut().for_each(complete),
        one => complete(one),
    }
    Some(document.to_string())
}

fn shown(app: &Ecr, name: String, text: String) -> RepositoryPolicy {
    RepositoryPolicy {
        registry_id: Some(app.cell.account.clone()),
        repository_name: Some(name),
        policy_text: Some(text),
    }
}

fn check(app: &Ecr, text: &str) -> Result<(), ApiError> {
    let bad = |why: &str| {
        fault::broken(
            "PolicyText",
            &format!("Invalid repository policy provided{why}"),
        )
    };
    if text.len() > LONGEST {
        let rule = format!("must have length less than or equal to {LONGEST}");
        return Err(fault::broken("PolicyText", &rule));
    }
    let whole = with_resources(text).ok_or_else(|| bad(""))?;
    let policy = Policy::parse(&whole, Grammar::Resource);
    let policy = policy.map_err(|error| bad(&format!(": {error}")))?;
    policy
        .check_partition(app.cell.partition().name())
        .map_err(|error| bad(&format!(": {error}")))
}

fn set(app: &Ecr, tx: &mut Tx, op: SetRepositoryPolicy) -> Result<RepositoryPolicy, ApiError> {
    let registry = op.registry_id.as_deref();
    let known = fault::find(app, tx.view(), registry, &op.repository_name)?;
    check(app, &op.policy_text)?;
    let mut next = Repository::clone(&known);
    next.policy = Some(op.policy_text.clone());
    tx.put(next);
    Ok(shown(app, op.repository_name, op.policy_text))
}

fn none(app: &Ecr, name: &str) -> ApiError {
    fault::coded(
        "RepositoryPolicyNotFoundException",
        format!(
            "Repository policy does not exist for the repository with name '{name}' in the registry with id '{}'",
            app.cell.account
        ),
    )
}

fn get(app: &Ecr, view: &View, op: &GetRepositoryPolicy) -> Result<RepositoryPolicy, ApiError> {
    let name = &op.repository_name;
    let known = fault::find(app, view, op.registry_id.as_deref(), name)?;
    let text = known.policy.clone().ok_or_else(|| none(app, name))?;
    Ok(shown(app, name.clone(), text))
}

fn delete(
    app: &Ecr,
    tx: &mut Tx,
    op: DeleteRepositoryPolicy,
) -> Result<RepositoryPolicy, ApiError> {
    let name = op.repository_name;
    let known = fault::find(app, tx.view(), op.registry_id.as_deref(), &name)?;
    let mut next = Repository::clone(&known);
    let text = next.policy.take().ok_or_else(|| none(app, &name))?;
    tx.put(next);
    Ok(shown(app, name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_repositories_name_no_resource() {
        for (text, whole) in [
            (
                r#"{"Statement":[{"Effect":"Allow"},{"Resource":"x"}]}"#,
                Some(r#"{"Statement":[{"Effect":"Allow","Resource":"*"},{"Resource":"x"}]}"#),
            ),
            (
                r#"{"Statement":{"Effect":"Deny"}}"#,
                Some(r#"{"Statement":{"Effect":"Deny","Resource":"*"}}"#),
            ),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(with_resources(text).as_deref(), whole, "{text}");
        }
    }
}
