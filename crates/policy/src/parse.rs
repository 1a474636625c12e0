use std::collections::HashSet;

use crate::condition::{BadCondition, Condition};
use crate::format::{action_fault, is_partition, resource_fault};
use crate::json::Json;
use crate::position::{Span, spans};
use crate::{Effect, Pattern, Policy, PrincipalSet, Scope, Statement};

/// The longest document that is parsed, in bytes. Callers enforce AWS's quotas, which are all lower.
pub const MAX_DOCUMENT: usize = 128 << 10;
/// The statements of a document at most.
pub const MAX_STATEMENTS: usize = 1000;
/// The values of a statement at most: actions, resources, principals and values of conditions.
const MAX_VALUES: usize = 5000;

/// The kind of document, which decides the members that it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// A policy of a user, group, role or session: no principals.
    Identity,
    /// A managed policy: like [`Grammar::Identity`], with version 2012-10-17.
    Managed,
    /// A policy of a resource: principals and resources.
    Resource,
    /// A role's trust policy: principals, no resources, actions of STS.
    Trust,
}

/// The document is not a policy; the text is for the caller (`MalformedPolicyDocument`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Grammar {
    /// Whether documents are attached to their principal.
    pub(crate) fn is_identity(self) -> bool {
        matches!(self, Self::Identity | Self::Managed)
    }
}

/// The order of AWS's checks after the syntax: of several faults AWS reports the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Version,
    /// A fault of AWS's legacy parser.
    Legacy,
    Sid,
    Principal,
    NoActions,
    NoResources,
    Resource,
    Action,
}

/// The fault to report.
#[derive(Debug, Default)]
pub(crate) struct Faults(Option<(Rank, String)>);

impl Faults {
    pub(crate) fn add(&mut self, rank: Rank, text: impl Into<String>) {
        if self.0.as_ref().is_none_or(|(known, _)| rank < *known) {
            self.0 = Some((rank, text.into()));
        }
    }

    fn note<T>(&mut self, rank: Rank, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|text| self.add(rank, text)).ok()
    }
}

type Members = Vec<(String, Json)>;

impl Policy {
    /// Parses a document.
    ///
    /// # Errors
    /// When the document is invalid. The text is AWS's message as far as it is known.
    pub fn parse(text: &str, grammar: Grammar) -> Result<Self, Malformed> {
        if text.len() > MAX_DOCUMENT {
            return Err(syntax());
        }
        let Ok(Json::Map(members)) = Json::read(text) else {
            return Err(no_json(grammar));
        };
        let mut document = Document::default();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Version", Json::String(version)) => document.version(&version, grammar)?,
                ("Id", Json::String(id)) => document.id = Some(id),
                ("Statement", Json::Map(statement)) => document.statements.push(statement),
                ("Statement", Json::List(list)) => document.add_all(list)?,
                _ => return Err(syntax()),
            }
        }
        let mut policy = document.finish(grammar)?;
        for (statement, span) in policy.statements.iter_mut().zip(spans(text)) {
            statement.span = span;
        }
        Ok(policy)
    }
}

fn no_json(grammar: Grammar) -> Malformed {
    if grammar.is_identity() {
        return syntax();
    }
    malformed("This policy contains invalid Json")
}

#[derive(Default)]
struct Document {
    id: Option<String>,
    /// Whether the document's version has variables.
    variables: bool,
    statements: Vec<Members>,
}

impl Document {
    fn version(&mut self, version: &str, grammar: Grammar) -> Result<(), Malformed> {
        self.variables = version == "2012-10-17";
        if self.variables || version == "2008-10-17" {
            return Ok(());
        }
        if grammar.is_identity() {
            return Err(syntax());
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
        let mut faults = Faults::default();
        if grammar == Grammar::Managed && !self.variables {
            let text = "Policy document must be version 2012-10-17 or greater.";
            faults.add(Rank::Version, text);
        }
        let mut statements = Vec::with_capacity(self.statements.len());
        let mut sids = HashSet::new();
        for members in self.statements {
            let draft = draft(members, grammar, self.variables, &mut faults)?;
            if !draft.sid.is_empty() && !sids.insert(draft.sid.clone()) {
                let text = "Statement IDs (SID) in a single policy must be unique.";
                faults.add(Rank::Sid, text);
            }
            statements.extend(draft.finish(grammar, &mut faults));
        }
        match faults.0 {
            Some((_, text)) => Err(Malformed(text)),
            None => Ok(Policy {
                id: self.id,
                statements,
            }),
        }
    }
}

/// A statement whose members are being read.
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

fn draft(
    members: Members,
    grammar: Grammar,
    variables: bool,
    faults: &mut Faults,
) -> Result<Draft, Malformed> {
    let mut draft = Draft::default();
    let mut reader = Reader {
        grammar,
        variables,
        faults,
        draft: &mut draft,
    };
    for (name, value) in members {
        reader.take(&name, value)?;
    }
    Ok(draft)
}

/// Reads members into a draft. Returns syntax errors at once and collects other faults.
struct Reader<'a> {
    grammar: Grammar,
    variables: bool,
    faults: &'a mut Faults,
    draft: &'a mut Draft,
}

impl Reader<'_> {
    fn take(&mut self, name: &str, value: Json) -> Result<(), Malformed> {
        match name {
            "Sid" => self.draft.sid = self.sid(value)?,
            "Effect" => self.draft.effect = Some(self.effect(value)?),
            "Principal" => {
                let set = self.principals(value)?;
                only_once(&mut self.draft.principals, Scope::These(set))?;
            }
            "NotPrincipal" => {
                let set = self.principals(value)?;
                only_once(&mut self.draft.principals, Scope::AllBut(set))?;
            }
            "Action" => {
                let actions = self.actions(value)?;
                only_once(&mut self.draft.actions, Scope::These(actions))?;
            }
            "NotAction" => {
                let actions = self.actions(value)?;
                only_once(&mut self.draft.actions, Scope::AllBut(actions))?;
            }
            "Resource" => {
                let resources = self.resources(value)?;
                only_once(&mut self.draft.resources, Scope::These(resources))?;
            }
            "NotResource" => {
                let resources = self.resources(value)?;
                only_once(&mut self.draft.resources, Scope::AllBut(resources))?;
            }
            "Condition" => self.conditions(value)?,
            _ => return Err(syntax()),
        }
        Ok(())
    }

    fn counted(&mut self, values: Vec<String>) -> Result<Vec<String>, Malformed> {
        self.draft.values += values.len();
        if self.draft.values > MAX_VALUES {
            return Err(syntax());
        }
        Ok(values)
    }

    fn sid(&mut self, value: Json) -> Result<String, Malformed> {
        let Json::String(sid) = value else {
            return Err(syntax());
        };
        // Resource policies of most services accept any text.
        let plain = sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if self.grammar != Grammar::Resource && !plain {
            let text = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*";
            self.faults.add(Rank::Sid, text);
        }
        Ok(sid)
    }

    fn effect(&mut self, value: Json) -> Result<Effect, Malformed> {
        let Json::String(text) = value else {
            return Err(syntax());
        };
        match text.as_str() {
            "Allow" => return Ok(Effect::Allow),
            "Deny" => return Ok(Effect::Deny),
            _ => {}
        }
        let almost = ["allow", "deny"]
            .iter()
            .any(|it| text.eq_ignore_ascii_case(it));
        if !self.grammar.is_identity() {
            return Err(malformed(format!("Invalid effect: {text}")));
        }
        if !almost {
            return Err(syntax());
        }
        self.faults.add(Rank::Legacy, LEGACY);
        Ok(Effect::Deny)
    }

    fn principals(&mut self, value: Json) -> Result<PrincipalSet, Malformed> {
        if self.grammar.is_identity() {
            let text = "Policy document should not specify a principal.";
            self.faults.add(Rank::Principal, text);
        }
        principals(value, self.faults)
    }

    fn actions(&mut self, value: Json) -> Result<Vec<Pattern>, Malformed> {
        let actions = self.counted(texts(value)?)?;
        if actions.is_empty() {
            self.faults.add(Rank::NoActions, NO_ACTIONS);
        }
        let mut patterns = Vec::with_capacity(actions.len());
        for action in actions {
            if let Some(text) = action_fault(&action, self.grammar) {
                self.faults.add(Rank::Action, text);
            }
            let pattern = Pattern::new(&action, false);
            patterns.extend(self.faults.note(Rank::Action, pattern));
        }
        Ok(patterns)
    }

    fn resources(&mut self, value: Json) -> Result<Vec<Pattern>, Malformed> {
        if self.grammar == Grammar::Trust {
            return Err(malformed("Has prohibited field Resource"));
        }
        let resources = self.counted(texts(value)?)?;
        if resources.is_empty() {
            self.faults.add(Rank::NoResources, NO_RESOURCES);
        }
        let mut patterns = Vec::with_capacity(resources.len());
        for resource in resources {
            if let Some((rank, text)) = resource_fault(&resource, self.grammar) {
                self.faults.add(rank, text);
            }
            let pattern = Pattern::new(&resource, self.variables);
            patterns.extend(self.faults.note(Rank::Resource, pattern));
        }
        Ok(patterns)
    }

    fn conditions(&mut self, value: Json) -> Result<(), Malformed> {
        let Json::Map(operators) = value else {
            return Err(syntax());
        };
        for (operator, keys) in operators {
            let Json::Map(keys) = keys else {
                return Err(syntax());
            };
            for (key, values) in keys {
                let values = self.counted(texts(values)?)?;
                self.condition(&operator, &key, &values)?;
            }
        }
        Ok(())
    }

    fn condition(&mut self, operator: &str, key: &str, values: &[String]) -> Result<(), Malformed> {
        let patterns = values
            .iter()
            .map(|text| Pattern::new(text, self.variables))
            .collect::<Result<Vec<Pattern>, String>>();
        let Some(patterns) = self.faults.note(Rank::Action, patterns) else {
            return Ok(());
        };
        match Condition::new(operator, key, patterns) {
            Ok(condition) => self.draft.conditions.push(condition),
            Err(BadCondition::Operator) if self.grammar.is_identity() => return Err(syntax()),
            Err(BadCondition::Operator) => {
                return Err(malformed(format!("Invalid Condition type : {operator}.")));
            }
            Err(BadCondition::Date) => self.faults.add(Rank::Legacy, LEGACY),
            Err(BadCondition::Value(value)) => {
                let text = format!("Invalid value in condition {operator} for {key}: {value}");
                self.faults.add(Rank::Action, text);
            }
        }
        Ok(())
    }
}

impl Draft {
    /// The statement; `None` if it has a fault.
    fn finish(self, grammar: Grammar, faults: &mut Faults) -> Option<Statement> {
        if self.actions.is_none() {
            faults.add(Rank::NoActions, NO_ACTIONS);
        }
        if self.resources.is_none() && grammar != Grammar::Trust {
            faults.add(Rank::NoResources, NO_RESOURCES);
        }
        if self.principals.is_none() && !grammar.is_identity() {
            faults.add(Rank::Principal, "Missing required field Principal");
        }
        if self.effect.is_none() && grammar.is_identity() {
            // A syntax error, which AWS reports before other faults.
            *faults = Faults(Some((Rank::Version, syntax().0)));
        }
        if self.effect.is_none() {
            faults.add(Rank::Legacy, "Missing required field Effect");
        }
        let spares = matches!(self.principals, Some(Scope::AllBut(_)));
        if grammar == Grammar::Trust && spares && self.effect == Some(Effect::Allow) {
            faults.add(Rank::Principal, "Allow with NotPrincipal is not allowed.");
        }
        Some(Statement {
            sid: self.sid,
            effect: self.effect?,
            principals: self.principals,
            actions: self.actions?,
            resources: self.resources,
            conditions: self.conditions,
            span: Span::default(),
        })
    }
}

/// Sets a member once: `Action` and `NotAction` exclude each other, and so do the other pairs.
fn only_once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(syntax()),
    }
}

/// A text or a list of texts; numbers and booleans count as text.
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

fn principals(value: Json, faults: &mut Faults) -> Result<PrincipalSet, Malformed> {
    let mut set = PrincipalSet::default();
    let kinds = match value {
        Json::String(text) if text == "*" => {
            set.everybody = true;
            return Ok(set);
        }
        Json::String(text) => {
            let text = format!("Invalid principal in policy: \"{text}\"");
            faults.add(Rank::Principal, text);
            return Ok(set);
        }
        Json::Map(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(syntax()),
    };
    for (kind, names) in kinds {
        for name in texts(names)? {
            let added = add_principal(&mut set, &kind, name);
            faults.note(Rank::Principal, added);
        }
    }
    Ok(set)
}

fn add_principal(set: &mut PrincipalSet, kind: &str, name: String) -> Result<(), String> {
    let refused = || invalid_principal(kind, &name);
    match kind {
        "AWS" if name == "*" => set.everybody = true,
        "AWS" if is_aws_principal(&name) => set.aws.push(name),
        "Service" if is_service(&name) => set.services.push(name),
        "Federated" if !name.is_empty() => set.federated.push(name),
        "AWS" | "Service" | "Federated" => return Err(refused()),
        _ => return Err(format!("Invalid principal type in policy: {kind}")),
    }
    Ok(())
}

/// AWS writes the kind in capitals.
pub(crate) fn invalid_principal(kind: &str, name: &str) -> String {
    let kind = kind.to_ascii_uppercase();
    format!("Invalid principal in policy: \"{kind}\":\"{name}\"")
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether this is an account, an ARN of IAM or STS without wildcards, or the unique id of a principal.
fn is_aws_principal(name: &str) -> bool {
    if is_account(name) {
        return true;
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "iam", "", account, resource] => {
            let known = resource == "root"
                || ["user/", "role/"]
                    .iter()
                    .any(|kind| resource.strip_prefix(kind).is_some_and(|n| !n.is_empty()));
            is_partition(partition) && is_account(account) && known && !resource.contains('*')
        }
        ["arn", partition, "sts", "", account, resource] => {
            let known = ["assumed-role/", "federated-user/"]
                .iter()
                .any(|kind| resource.starts_with(kind));
            is_partition(partition) && is_account(account) && known && !resource.contains('*')
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
    let suffixes = [".amazonaws.com", ".amazonaws.com.cn", ".aws.internal"];
    known && suffixes.iter().any(|suffix| name.ends_with(suffix))
}

fn malformed(text: impl Into<String>) -> Malformed {
    Malformed(text.into())
}

fn syntax() -> Malformed {
    malformed("Syntax errors in policy.")
}

const NO_ACTIONS: &str = "Policy statement must contain actions.";
const NO_RESOURCES: &str = "Policy statement must contain resources.";
pub(crate) const LEGACY: &str = "The policy failed legacy parsing";
