use std::collections::HashSet;

use crate::condition::Condition;
use crate::json::Json;
use crate::{Effect, Pattern, Policy, PrincipalSet, Scope, Statement};

/// Longest document that is read, in bytes: above any quota of AWS's, which callers hold to themselves.
pub const MAX_DOCUMENT: usize = 128 << 10;
/// Most statements of a document.
pub const MAX_STATEMENTS: usize = 1000;
/// Most values of a statement: actions, resources, principals and what conditions compare with.
const MAX_VALUES: usize = 5000;

/// What a document is for: it decides which members it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Attached to a user, group, role or session: no principals.
    Identity,
    /// Attached to a resource: principals and resources.
    Resource,
    /// A role's: principals, no resources, actions of STS.
    Trust,
}

/// The document is not a policy; the text is for the caller (`MalformedPolicyDocument`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

type Members = Vec<(String, Json)>;

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, as near to AWS's words as they are known.
    pub fn parse(text: &str, grammar: Grammar) -> Result<Self, Malformed> {
        if text.len() > MAX_DOCUMENT {
            return Err(syntax());
        }
        let Ok(Json::Map(members)) = Json::read(text) else {
            return Err(malformed("This policy contains invalid Json"));
        };
        let mut document = Document::default();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Version", Json::String(version)) => document.version(&version)?,
                ("Id", Json::String(id)) => document.id = Some(id),
                ("Statement", Json::Map(statement)) => document.statements.push(statement),
                ("Statement", Json::List(list)) => document.add_all(list)?,
                _ => return Err(syntax()),
            }
        }
        document.finish(grammar)
    }
}

#[derive(Default)]
struct Document {
    id: Option<String>,
    /// Whether its version has variables.
    variables: bool,
    statements: Vec<Members>,
}

impl Document {
    fn version(&mut self, version: &str) -> Result<(), Malformed> {
        self.variables = version == "2012-10-17";
        if self.variables || version == "2008-10-17" {
            return Ok(());
        }
        Err(malformed("The policy must contain a valid version string"))
    }

    fn add_all(&mut self, list: Vec<Json>) -> Result<(), Malformed> {
        for item in list {
            let Json::Map(statement) = item else {
                return Err(syntax());
            };
            self.statements.push(statement);
        }
        Ok(())
    }

    fn finish(self, grammar: Grammar) -> Result<Policy, Malformed> {
        if self.statements.is_empty() || self.statements.len() > MAX_STATEMENTS {
            return Err(syntax());
        }
        let mut statements = Vec::with_capacity(self.statements.len());
        let mut sids = HashSet::new();
        for members in self.statements {
            let statement = statement(members, grammar, self.variables)?;
            if !statement.sid.is_empty() && !sids.insert(statement.sid.clone()) {
                return Err(malformed(
                    "Statement IDs (SID) in a single policy must be unique.",
                ));
            }
            statements.push(statement);
        }
        Ok(Policy {
            id: self.id,
            statements,
        })
    }
}

/// A statement while its members come in.
#[derive(Default)]
struct Draft {
    sid: String,
    effect: Option<Effect>,
    principals: Option<Scope<PrincipalSet>>,
    actions: Option<Scope<Vec<Pattern>>>,
    resources: Option<Scope<Vec<Pattern>>>,
    conditions: Vec<Condition>,
    values: usize,
}

fn statement(members: Members, grammar: Grammar, variables: bool) -> Result<Statement, Malformed> {
    let mut draft = Draft::default();
    for (name, value) in members {
        draft.take(&name, value, grammar, variables)?;
    }
    draft.finish(grammar)
}

impl Draft {
    fn take(
        &mut self,
        name: &str,
        value: Json,
        grammar: Grammar,
        variables: bool,
    ) -> Result<(), Malformed> {
        match name {
            "Sid" => self.sid = sid(value, grammar)?,
            "Effect" => self.effect = Some(effect(value)?),
            "Principal" => only_once(&mut self.principals, Scope::These(principals(value)?))?,
            "NotPrincipal" => only_once(&mut self.principals, Scope::AllBut(principals(value)?))?,
            "Action" => {
                let actions = self.actions(value, grammar)?;
                only_once(&mut self.actions, Scope::These(actions))?;
            }
            "NotAction" => {
                let actions = self.actions(value, grammar)?;
                only_once(&mut self.actions, Scope::AllBut(actions))?;
            }
            "Resource" => {
                let resources = self.resources(value, variables, grammar)?;
                only_once(&mut self.resources, Scope::These(resources))?;
            }
            "NotResource" => {
                let resources = self.resources(value, variables, grammar)?;
                only_once(&mut self.resources, Scope::AllBut(resources))?;
            }
            "Condition" => self.conditions(value, variables)?,
            _ => return Err(syntax()),
        }
        Ok(())
    }

    fn counted(&mut self, values: Vec<String>) -> Result<Vec<String>, Malformed> {
        self.values += values.len();
        if self.values > MAX_VALUES {
            return Err(syntax());
        }
        Ok(values)
    }

    fn actions(&mut self, value: Json, grammar: Grammar) -> Result<Vec<Pattern>, Malformed> {
        let actions = self.counted(texts(value)?)?;
        if actions.is_empty() {
            return Err(malformed("Policy statement must contain actions."));
        }
        actions
            .iter()
            .map(|action| {
                check_action(action, grammar)?;
                Pattern::new(action, false).map_err(Malformed)
            })
            .collect()
    }

    fn resources(
        &mut self,
        value: Json,
        variables: bool,
        grammar: Grammar,
    ) -> Result<Vec<Pattern>, Malformed> {
        if grammar == Grammar::Trust {
            return Err(malformed("Has prohibited field Resource"));
        }
        let resources = self.counted(texts(value)?)?;
        if resources.is_empty() {
            return Err(malformed("Policy statement must contain resources."));
        }
        resources
            .iter()
            .map(|resource| {
                check_resource(resource, grammar)?;
                Pattern::new(resource, variables).map_err(Malformed)
            })
            .collect()
    }

    fn conditions(&mut self, value: Json, variables: bool) -> Result<(), Malformed> {
        let Json::Map(operators) = value else {
            return Err(syntax());
        };
        for (operator, keys) in operators {
            let Json::Map(keys) = keys else {
                return Err(syntax());
            };
            for (key, values) in keys {
                let texts = self.counted(texts(values)?)?;
                let patterns: Result<Vec<Pattern>, String> = texts
                    .iter()
                    .map(|text| Pattern::new(text, variables))
                    .collect();
                if !key.contains(':') {
                    return Err(vendor());
                }
                let condition =
                    patterns.and_then(|patterns| Condition::new(&operator, &key, patterns));
                self.conditions.push(condition.map_err(Malformed)?);
            }
        }
        Ok(())
    }

    fn finish(self, grammar: Grammar) -> Result<Statement, Malformed> {
        let effect = self
            .effect
            .ok_or_else(|| malformed("Missing required field Effect"))?;
        let actions = self
            .actions
            .ok_or_else(|| malformed("Policy statement must contain actions."))?;
        match (grammar, &self.principals) {
            (Grammar::Identity, Some(_)) => {
                return Err(malformed("Policy document should not specify a principal."));
            }
            (Grammar::Resource | Grammar::Trust, None) => {
                return Err(malformed("Missing required field Principal"));
            }
            (Grammar::Trust, Some(Scope::AllBut(_))) if effect == Effect::Allow => {
                return Err(malformed("Allow with NotPrincipal is not allowed."));
            }
            _ => {}
        }
        if grammar != Grammar::Trust && self.resources.is_none() {
            return Err(malformed("Policy statement must contain resources."));
        }
        Ok(Statement {
            sid: self.sid,
            effect,
            principals: self.principals,
            actions,
            resources: self.resources,
            conditions: self.conditions,
        })
    }
}

/// `Action` and `NotAction` exclude one another, as do the other pairs.
fn only_once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(syntax()),
    }
}

fn sid(value: Json, grammar: Grammar) -> Result<String, Malformed> {
    let Json::String(sid) = value else {
        return Err(syntax());
    };
    // Resource policies of most services take any text.
    if grammar == Grammar::Resource || sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(sid);
    }
    Err(malformed(
        "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
    ))
}

fn effect(value: Json) -> Result<Effect, Malformed> {
    match value {
        Json::String(text) if text == "Allow" => Ok(Effect::Allow),
        Json::String(text) if text == "Deny" => Ok(Effect::Deny),
        Json::String(text) => Err(malformed(format!("Invalid effect: {text}"))),
        _ => Err(syntax()),
    }
}

/// One text or a list of them; numbers and booleans count as their text.
fn texts(value: Json) -> Result<Vec<String>, Malformed> {
    let one = |value| match value {
        Json::String(text) | Json::Bare(text) => Ok(text),
        _ => Err(syntax()),
    };
    match value {
        Json::List(items) => items.into_iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

fn principals(value: Json) -> Result<PrincipalSet, Malformed> {
    let mut set = PrincipalSet::default();
    let kinds = match value {
        Json::String(text) if text == "*" => {
            set.everybody = true;
            return Ok(set);
        }
        Json::String(text) => {
            return Err(malformed(format!(
                "Invalid principal in policy: \"{text}\""
            )));
        }
        Json::Map(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(syntax()),
    };
    for (kind, names) in kinds {
        for name in texts(names)? {
            add_principal(&mut set, &kind, name)?;
        }
    }
    Ok(set)
}

fn add_principal(set: &mut PrincipalSet, kind: &str, name: String) -> Result<(), Malformed> {
    let refused = || {
        malformed(format!(
            "Invalid principal in policy: \"{kind}\":\"{name}\""
        ))
    };
    match kind {
        "AWS" if name == "*" => set.everybody = true,
        "AWS" if is_aws_principal(&name) => set.aws.push(name),
        "Service" if is_service(&name) => set.services.push(name),
        "Federated" if !name.is_empty() => set.federated.push(name),
        "AWS" | "Service" | "Federated" => return Err(refused()),
        _ => {
            return Err(malformed(format!(
                "Invalid principal type in policy: {kind}"
            )));
        }
    }
    Ok(())
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An account, an ARN of IAM or STS without wildcards, or a unique id that once was one.
fn is_aws_principal(name: &str) -> bool {
    if is_account(name) {
        return true;
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match parts[..] {
        ["arn", "aws", "iam", "", account, resource] => {
            let known = resource == "root"
                || ["user/", "role/"]
                    .iter()
                    .any(|kind| resource.strip_prefix(kind).is_some_and(|n| !n.is_empty()));
            is_account(account) && known && !resource.contains('*')
        }
        ["arn", "aws", "sts", "", account, resource] => {
            let known = ["assumed-role/", "federated-user/"]
                .iter()
                .any(|kind| resource.starts_with(kind));
            is_account(account) && known && !resource.contains('*')
        }
        [unique] => {
            let prefix = unique.get(..4).unwrap_or_default();
            matches!(prefix, "AIDA" | "AROA") && unique.len() >= 16
        }
        _ => false,
    }
}

fn is_service(name: &str) -> bool {
    let known = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    known && (name.ends_with(".amazonaws.com") || name.ends_with(".aws.internal"))
}

fn check_action(action: &str, grammar: Grammar) -> Result<(), Malformed> {
    if action == "*" {
        return match grammar {
            Grammar::Trust => Err(only_sts()),
            Grammar::Identity | Grammar::Resource => Ok(()),
        };
    }
    let Some((service, name)) = action.split_once(':') else {
        return Err(vendor());
    };
    let letters = |text: &str, more: &[u8]| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
        !text.is_empty() && text.bytes().all(byte)
    };
    if !letters(service, b"-*?") {
        return Err(malformed(format!("Vendor {service} is not valid")));
    }
    if !letters(name, b"*?-_") {
        return Err(malformed(format!("Invalid action: {action}")));
    }
    if grammar == Grammar::Trust && !service.eq_ignore_ascii_case("sts") {
        return Err(only_sts());
    }
    Ok(())
}

fn check_resource(resource: &str, grammar: Grammar) -> Result<(), Malformed> {
    // Of resource policies, Lattice's take patterns such as `*/rates`.
    let free = resource.starts_with('*') && (grammar == Grammar::Resource || resource == "*");
    let parts = resource.splitn(6, ':').count();
    let arn = resource.starts_with("arn:") && (parts == 6 || resource.contains('*'));
    if free || arn || resource.starts_with("${") {
        return Ok(());
    }
    Err(malformed(format!(
        "Resource {resource} must be in ARN format or \"*\"."
    )))
}

fn malformed(text: impl Into<String>) -> Malformed {
    Malformed(text.into())
}

fn syntax() -> Malformed {
    malformed("Syntax errors in policy.")
}

fn vendor() -> Malformed {
    malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
}

fn only_sts() -> Malformed {
    malformed("AssumeRole policy may only specify STS AssumeRole actions.")
}
