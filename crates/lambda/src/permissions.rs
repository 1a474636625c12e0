//! Resource policies of functions: who may invoke one besides those whom IAM allows.

use lath_control::Cell;
use lath_model::Owner;
use lath_service::{Refuses as _, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ident::{self, find, name_in};
use crate::record::{Function, Statement};
use crate::resource_types::FUNCTION;
use crate::shape::*;
use crate::{Lambda, fault};

operations! {
    for Lambda as "lambda";
    change AddPermission: post "/2015-03-31/functions/{FunctionName}/policy" 201 -> AddPermissionResponse = add
        => on(&FUNCTION, |op, _| op.function_name.clone())
            .with("lambda:Principal", |op, _| op.principal.clone())
        => refusing ["" AddPermission];
    change RemovePermission: delete "/2015-03-31/functions/{FunctionName}/policy/{StatementId}" 204 -> () = remove
        => on(&FUNCTION, |op, _| op.function_name.clone())
            .with("lambda:Principal", |op, at| principal_of(at.view, op));
    read GetPolicy: get "/2015-03-31/functions/{FunctionName}/policy" 200 -> GetPolicyResponse = get
        => on(&FUNCTION, |op, _| op.function_name.clone());
}

/// The most that a policy may have, in bytes.
const LONGEST: usize = 20 * 1024;
/// What a statement allows, as Lattice needs it.
const INVOKE: &str = "lambda:InvokeFunction";

fn principal_of(view: &View, op: &RemovePermission) -> Option<String> {
    let named = ident::Named::of(&op.function_name)?;
    let function = view.get::<Function>(named.name)?;
    let mut statements = function.statements.iter();
    Some(
        statements
            .find(|it| it.sid == op.statement_id)?
            .principal
            .clone(),
    )
}

/// A statement as policies write it.
fn written(owner: Owner<'_>, arn: &str, it: &Statement) -> Value {
    let principal = if it.principal == "*" {
        json!("*")
    } else if it.principal.ends_with(".amazonaws.com")
        || it.principal.ends_with(".amazonaws.com.cn")
    {
        json!({ "Service": it.principal })
    } else if is_account(&it.principal) {
        json!({ "AWS": ident::root(owner, &it.principal) })
    } else {
        json!({ "AWS": it.principal })
    };
    let mut statement = json!({
        "Sid": it.sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": it.action,
        "Resource": arn,
    });
    let mut condition = serde_json::Map::new();
    if let Some(account) = &it.source_account {
        condition.insert(
            "StringEquals".into(),
            json!({ "AWS:SourceAccount": account }),
        );
    }
    if let Some(source) = &it.source_arn {
        condition.insert("ArnLike".into(), json!({ "AWS:SourceArn": source }));
    }
    if !condition.is_empty() {
        statement["Condition"] = condition.into();
    }
    statement
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit())
}

fn document(owner: Owner<'_>, arn: &str, function: &Function) -> Option<String> {
    if function.statements.is_empty() {
        return None;
    }
    let statements = function.statements.iter();
    let statements: Vec<Value> = statements.map(|it| written(owner, arn, it)).collect();
    let document = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements });
    Some(document.to_string())
}

/// The resource policy of the function that an ARN names.
pub fn policy_of(view: &View, arn: &str) -> Option<String> {
    let function = view.get::<Function>(&name_in(arn)?)?;
    let parsed: lath_model::arn::Arn = arn.parse().ok()?;
    let owner = Owner {
        partition: lath_model::Partition::of_region(&parsed.region),
        account: &parsed.account,
    };
    document(owner, arn, &function)
}

/// Lets a service invoke a function in the name of one of its resources, under a statement's id.
pub fn permit(tx: &mut Tx, function: &str, sid: &str, service: &str, source_arn: &str) {
    tx.update::<Function>(function, |it| {
        if it.statements.iter().all(|known| known.sid != sid) {
            it.statements.push(Statement {
                sid: sid.to_owned(),
                action: INVOKE.to_owned(),
                principal: service.to_owned(),
                source_arn: Some(source_arn.to_owned()),
                source_account: None,
            });
            it.policy_revision = Uuid::new_v4().to_string();
        }
    });
}

/// Takes that back.
pub fn revoke(tx: &mut Tx, function: &str, sid: &str) {
    tx.update::<Function>(function, |it| {
        let before = it.statements.len();
        it.statements.retain(|known| known.sid != sid);
        if it.statements.len() != before {
            it.policy_revision = Uuid::new_v4().to_string();
        }
    });
}

/// Whether a function's policy lets a service invoke it in the name of a resource.
pub fn is_permitted(
    cell: &Cell,
    view: &View,
    function: &str,
    service: &str,
    source_arn: &str,
) -> bool {
    use lath_policy::{
        Attached, Context, Grammar, Kind, Policy, Principal, Request, Rule, evaluate,
    };
    let Some(known) = view.get::<Function>(function) else {
        return false;
    };
    let arn = ident::arn(cell, function);
    let Some(text) = document(cell.owner(), &arn, &known) else {
        return false;
    };
    let Ok(policy) = Policy::parse(&text, Grammar::Resource) else {
        return false;
    };
    let facts = Context::default()
        .with("aws:SourceArn", source_arn.to_owned())
        .with("aws:SourceAccount", cell.account.clone());
    let policies = [Attached {
        name: "function policy",
        kind: Kind::Resource,
        policy: &policy,
    }];
    let request = Request {
        principal: &Principal::Service(service.into()),
        action: INVOKE,
        resource: &arn,
        facts: &facts,
    };
    evaluate(&request, &policies, Rule::Trust).is_allow()
}

fn add(app: &Lambda, tx: &mut Tx, op: AddPermission) -> Result<AddPermissionResponse, ApiError> {
    let known = find(
        &app.cell,
        tx.view(),
        &op.function_name,
        op.qualifier.as_deref(),
    )?;
    op.refuse()?;
    expect_revision(&known, op.revision_id.as_deref())?;
    if known.statements.iter().any(|it| it.sid == op.statement_id) {
        return Err(fault::conflict(format!(
            "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
            op.statement_id
        )));
    }
    let statement = Statement {
        sid: op.statement_id,
        action: op.action,
        principal: op.principal,
        source_arn: op.source_arn,
        source_account: op.source_account,
    };
    let arn = ident::arn(&app.cell, &known.name);
    let text = written(app.cell.owner(), &arn, &statement).to_string();
    let mut next = Function::clone(&known);
    next.statements.push(statement);
    next.policy_revision = Uuid::new_v4().to_string();
    let document = document(app.cell.owner(), &arn, &next).unwrap_or_default();
    // One statement that is not understood would make the whole policy count for nothing.
    if let Err(malformed) = lath_policy::Policy::parse(&document, lath_policy::Grammar::Resource) {
        let text = match malformed.0.starts_with("Invalid principal") {
            true => "The provided principal was invalid. Please check the principal and try again.",
            false => &malformed.0,
        };
        return Err(fault::invalid(text));
    }
    let length = document.len();
    if length > LONGEST {
        return Err(ApiError::new(
            "PolicyLengthExceededException",
            400,
            format!("The final policy size ({length}) is bigger than the limit ({LONGEST})."),
        ));
    }
    tx.put(next);
    Ok(AddPermissionResponse {
        statement: Some(text),
    })
}

fn expect_revision(known: &Function, given: Option<&str>) -> Result<(), ApiError> {
    match given {
        Some(given) if given != known.policy_revision && given != known.revision_id => {
            Err(fault::other_revision())
        }
        _ => Ok(()),
    }
}

fn remove(app: &Lambda, tx: &mut Tx, op: RemovePermission) -> Result<(), ApiError> {
    let known = find(
        &app.cell,
        tx.view(),
        &op.function_name,
        op.qualifier.as_deref(),
    )?;
    expect_revision(&known, op.revision_id.as_deref())?;
    if known.statements.iter().all(|it| it.sid != op.statement_id) {
        let shown: String = op.statement_id.chars().take(100).collect();
        return Err(fault::not_found(format!(
            "Statement {shown} is not found in resource policy."
        )));
    }
    let mut next = Function::clone(&known);
    next.statements.retain(|it| it.sid != op.statement_id);
    next.policy_revision = Uuid::new_v4().to_string();
    tx.put(next);
    Ok(())
}

fn get(app: &Lambda, view: &View, op: &GetPolicy) -> Result<GetPolicyResponse, ApiError> {
    let known = find(&app.cell, view, &op.function_name, op.qualifier.as_deref())?;
    let arn = ident::arn(&app.cell, &known.name);
    let policy = document(app.cell.owner(), &arn, &known);
    let policy =
        policy.ok_or_else(|| fault::not_found("The resource you requested does not exist."))?;
    Ok(GetPolicyResponse {
        policy: Some(policy),
        revision_id: Some(known.policy_revision.clone()),
    })
}
