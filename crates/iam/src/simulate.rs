//! What a principal or a set of policies would be allowed.

use lath_policy::{
    Applicability, Attached, Context, Decision, Effect, Facts, Grammar, Kind, Outcome, Policy,
    Position, Principal, Request, Rule, evaluate,
};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Iam;
use crate::directory::{Directory, Held};
use crate::errors::{invalid_input, no_such_entity};
use crate::page::{cut, page};
use crate::records::{Group, Policies, Role, User};
use crate::resource_types::{GROUP, ROLE, USER, of_kind};
use crate::stated::Statements;

/// Most combinations of actions and resources of one request.
const MOST: usize = 2000;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SimulatePrincipalPolicy {
    policy_source_arn: String,
    #[serde(default)]
    policy_input_list: Vec<String>,
    #[serde(default)]
    permissions_boundary_policy_input_list: Vec<String>,
    action_names: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    resource_policy: Option<String>,
    caller_arn: Option<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    max_items: Option<i64>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SimulateCustomPolicy {
    policy_input_list: Vec<String>,
    #[serde(default)]
    permissions_boundary_policy_input_list: Vec<String>,
    action_names: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    resource_policy: Option<String>,
    caller_arn: Option<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    max_items: Option<i64>,
    marker: Option<String>,
}

/// A condition key's values.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContextEntry {
    context_key_name: Option<String>,
    #[serde(default)]
    context_key_values: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Simulation {
    evaluation_results: Vec<EvaluationResult>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EvaluationResult {
    eval_action_name: String,
    eval_resource_name: Option<String>,
    eval_decision: String,
    matched_statements: Vec<Statement>,
    missing_context_values: Vec<String>,
    permissions_boundary_decision_detail: Option<BoundaryDetail>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BoundaryDetail {
    allowed_by_permissions_boundary: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Statement {
    source_policy_id: Option<String>,
    source_policy_type: Option<String>,
    start_position: Option<LineColumn>,
    end_position: Option<LineColumn>,
}

/// A place in a document, from 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LineColumn {
    line: Option<u32>,
    column: Option<u32>,
}

impl LineColumn {
    fn of(position: Position) -> Self {
        Self {
            line: Some(position.line),
            column: Some(position.column),
        }
    }
}

operations! {
    for Iam as "iam";
    read SimulatePrincipalPolicy -> Simulation = of_principal =>
        on(&USER, |op, at| of_kind(at, "user", &op.policy_source_arn))
        .on(&GROUP, |op, at| of_kind(at, "group", &op.policy_source_arn))
        .on(&ROLE, |op, at| of_kind(at, "role", &op.policy_source_arn));
    read SimulateCustomPolicy -> Simulation = of_policies => any();
}

/// What is asked of a set of policies.
struct Questions<'a> {
    statements: &'a Statements,
    principal: Principal,
    actions: &'a [String],
    resources: &'a [String],
    entries: &'a [ContextEntry],
}

fn of_policies(app: &Iam, _: &View, op: &SimulateCustomPolicy) -> Result<Simulation, ApiError> {
    let mut held = read(&op.policy_input_list, Kind::Identity)?;
    held.extend(read(
        &op.permissions_boundary_policy_input_list,
        Kind::Boundary,
    )?);
    held.extend(resource_policy(op.resource_policy.as_deref())?);
    let questions = Questions {
        statements: &app.statements,
        principal: principal(app, op.caller_arn.as_deref()),
        actions: &op.action_names,
        resources: &op.resource_arns,
        entries: &op.context_entries,
    };
    let results = answers(&questions, &held)?;
    paged(results, cut!(op))
}

fn of_principal(
    app: &Iam,
    view: &View,
    op: &SimulatePrincipalPolicy,
) -> Result<Simulation, ApiError> {
    let source = &op.policy_source_arn;
    let mut held = policies_of(app, view, source)?;
    held.extend(read(&op.policy_input_list, Kind::Identity)?);
    if !op.permissions_boundary_policy_input_list.is_empty() {
        held.retain(|it| it.kind != Kind::Boundary);
        held.extend(read(
            &op.permissions_boundary_policy_input_list,
            Kind::Boundary,
        )?);
    }
    held.extend(resource_policy(op.resource_policy.as_deref())?);
    let questions = Questions {
        statements: &app.statements,
        principal: principal(app, Some(op.caller_arn.as_deref().unwrap_or(source))),
        actions: &op.action_names,
        resources: &op.resource_arns,
        entries: &op.context_entries,
    };
    let results = answers(&questions, &held)?;
    paged(results, cut!(op))
}

fn paged(
    results: Vec<EvaluationResult>,
    cut: crate::page::Cut<'_>,
) -> Result<Simulation, ApiError> {
    let numbered = results.into_iter().enumerate();
    let page = page(numbered, |(index, _)| format!("{index:06}"), cut)?;
    Ok(Simulation {
        evaluation_results: page.items.into_iter().map(|(_, result)| result).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn read(texts: &[String], kind: Kind) -> Result<Vec<Held>, ApiError> {
    let read = |(index, text): (usize, &String)| {
        let policy =
            Policy::parse(text, Grammar::Identity).map_err(|error| invalid_input(error.0))?;
        Ok(Held {
            name: format!("PolicyInputList.{}", index + 1),
            kind,
            policy: policy.into(),
        })
    };
    texts.iter().enumerate().map(read).collect()
}

fn resource_policy(text: Option<&str>) -> Result<Option<Held>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let policy = Policy::parse(text, Grammar::Resource).map_err(|error| invalid_input(error.0))?;
    Ok(Some(Held {
        name: "ResourcePolicy".into(),
        kind: Kind::Resource,
        policy: policy.into(),
    }))
}

/// The principal that an ARN names; without one, a user without a name.
fn principal(app: &Iam, arn: Option<&str>) -> Principal {
    let account = &app.cell.account;
    let nobody = app.cell.global_arn("iam", "user/simulated");
    let arn = arn.map_or(nobody, str::to_owned);
    if arn.contains(":role/") {
        return Principal::session(account, arn.clone(), arn);
    }
    Principal::user(account, arn)
}

fn policies_of(app: &Iam, view: &View, arn: &str) -> Result<Vec<Held>, ApiError> {
    let directory = Directory::default();
    let owner = app.cell.owner();
    if let Some(user) = view.list::<User>().find(|it| it.arn(owner) == arn) {
        return Ok(directory.of_user(view, &user));
    }
    if let Some(role) = view.list::<Role>().find(|it| it.arn(owner) == arn) {
        return Ok(directory.of_role(view, &role));
    }
    if let Some(group) = view.list::<Group>().find(|it| it.arn(owner) == arn) {
        let policies: &Policies = &group.policies;
        return Ok(directory.held(view, policies));
    }
    if !arn.starts_with(&format!("arn:{}:iam::", owner.partition)) {
        return Err(invalid_input(format!(
            "Invalid Entity Arn: {arn} does not clearly define entity type and name."
        )));
    }
    Err(no_such_entity(format!(
        "The entity with ARN {arn} cannot be found."
    )))
}

fn answers(questions: &Questions<'_>, held: &[Held]) -> Result<Vec<EvaluationResult>, ApiError> {
    let everything = ["*".to_owned()];
    let resources = match questions.resources {
        [] => &everything[..],
        given => given,
    };
    if questions.actions.len().saturating_mul(resources.len()) > MOST {
        return Err(invalid_input("Too many actions and resources to simulate."));
    }
    let mut given = Context::default();
    for entry in questions.entries {
        let name = entry.context_key_name.as_deref().unwrap_or_default();
        given.set_all(name, entry.context_key_values.iter().cloned());
    }
    let mut results = Vec::new();
    for action in questions.actions {
        if !action.contains(':') {
            return Err(invalid_input(format!(
                "Invalid Input Action names: [{action}]"
            )));
        }
        let facts = Simulated {
            given: &given,
            statements: questions.statements,
            action,
        };
        for resource in resources {
            let request = Request {
                principal: &questions.principal,
                action,
                resource,
                facts: &facts,
            };
            results.push(answer(&request, held));
        }
    }
    Ok(results)
}

/// The condition keys of a simulated request: those that are given. One that Lath cannot fill in, and that is not given,
/// decides as it does at the front door.
struct Simulated<'a> {
    given: &'a Context,
    statements: &'a Statements,
    action: &'a str,
}

impl Facts for Simulated<'_> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        self.given.values(key)
    }

    fn is_unknown(&self, key: &str) -> bool {
        self.given.values(key).is_none() && self.statements.is_unknown(self.action, key)
    }
}

fn answer(request: &Request<'_>, held: &[Held]) -> EvaluationResult {
    let attached: Vec<Attached<'_>> = held.iter().map(Held::attached).collect();
    let decision = evaluate(request, &attached, Rule::SameAccount);
    let limited = attached.iter().any(|it| it.kind == Kind::Boundary);
    EvaluationResult {
        eval_action_name: request.action.to_owned(),
        eval_resource_name: Some(request.resource.to_owned()),
        eval_decision: match decision.outcome {
            Outcome::Allow => "allowed",
            Outcome::ExplicitDeny => "explicitDeny",
            Outcome::ImplicitDeny => "implicitDeny",
        }
        .into(),
        matched_statements: matched(&decision),
        missing_context_values: missing(&decision, request.facts),
        permissions_boundary_decision_detail: limited.then(|| BoundaryDetail {
            allowed_by_permissions_boundary: Some(allows(&decision, Kind::Boundary)),
        }),
    }
}

fn allows(decision: &Decision<'_>, kind: Kind) -> bool {
    decision.considered.iter().any(|it| {
        it.kind == kind
            && it.effect == Effect::Allow
            && matches!(it.verdict, Applicability::Applies(_))
    })
}

/// The statements that decided: denies where there are some, else allows.
fn matched(decision: &Decision<'_>) -> Vec<Statement> {
    let wanted = match decision.outcome {
        Outcome::Allow => Effect::Allow,
        Outcome::ExplicitDeny => Effect::Deny,
        Outcome::ImplicitDeny => return Vec::new(),
    };
    let deciding = decision
        .considered
        .iter()
        .filter(|it| it.effect == wanted && matches!(it.verdict, Applicability::Applies(_)));
    let kind = |kind| match kind {
        Kind::Identity | Kind::Session => "IAM Policy",
        Kind::Boundary => "PermissionsBoundary",
        Kind::Resource => "Resource Policy",
    };
    deciding
        .map(|it| Statement {
            source_policy_id: Some(it.policy.to_owned()),
            source_policy_type: Some(kind(it.kind).to_owned()),
            start_position: Some(LineColumn::of(it.span.start)),
            end_position: Some(LineColumn::of(it.span.end)),
        })
        .collect()
}

/// Keys that a condition asked for and the request does not have. A denial by a key that cannot be told is among them.
fn missing(decision: &Decision<'_>, facts: &dyn Facts) -> Vec<String> {
    let mut keys: Vec<String> = decision
        .considered
        .iter()
        .filter_map(|it| match it.verdict {
            Applicability::Condition(condition) => Some(condition.key().to_owned()),
            _ => it.unknown.map(|condition| condition.key().to_owned()),
        })
        .filter(|key| facts.values(&key.to_ascii_lowercase()).is_none())
        .collect();
    keys.sort();
    keys.dedup();
    keys
}
