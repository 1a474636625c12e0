use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::listener::place;
use crate::constraint;
use crate::ident::Kind;

/// A union: exactly one member is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleAction {
    pub(crate) forward: Option<ForwardAction>,
    pub(crate) fixed_response: Option<FixedResponseAction>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForwardAction {
    pub(crate) target_groups: Vec<WeightedTargetGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WeightedTargetGroup {
    pub(crate) target_group_identifier: String,
    pub(crate) weight: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FixedResponseAction {
    pub(crate) status_code: i64,
}

/// A union of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleMatch {
    pub(crate) http_match: Option<HttpMatch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpMatch {
    pub(crate) method: Option<String>,
    pub(crate) path_match: Option<PathMatch>,
    pub(crate) header_matches: Option<Vec<HeaderMatch>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PathMatch {
    #[serde(rename = "match")]
    pub(crate) kind: PathMatchType,
    pub(crate) case_sensitive: Option<bool>,
}

/// A union: exactly one member is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PathMatchType {
    pub(crate) exact: Option<String>,
    pub(crate) prefix: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeaderMatch {
    pub(crate) name: String,
    #[serde(rename = "match")]
    pub(crate) kind: HeaderMatchType,
    pub(crate) case_sensitive: Option<bool>,
}

/// A union: exactly one member is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeaderMatchType {
    pub(crate) exact: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) contains: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateRule {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) name: String,
    #[serde(rename = "match")]
    pub(crate) conditions: RuleMatch,
    pub(crate) priority: i64,
    pub(crate) action: RuleAction,
    pub(crate) client_token: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateRuleOutput {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(rename = "match")]
    pub(crate) conditions: Option<RuleMatch>,
    pub(crate) priority: Option<i64>,
    pub(crate) action: Option<RuleAction>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetRule {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) rule_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetRuleOutput {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) is_default: Option<bool>,
    #[serde(rename = "match")]
    pub(crate) conditions: Option<RuleMatch>,
    pub(crate) priority: Option<i64>,
    pub(crate) action: Option<RuleAction>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListRules {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListRulesOutput {
    pub(crate) items: Vec<RuleSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleSummary {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) is_default: Option<bool>,
    pub(crate) priority: Option<i64>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateRule {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) rule_identifier: String,
    #[serde(rename = "match")]
    pub(crate) conditions: Option<RuleMatch>,
    pub(crate) priority: Option<i64>,
    pub(crate) action: Option<RuleAction>,
}

/// What UpdateRule answers, and BatchUpdateRule for each rule that it changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleOutput {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) is_default: Option<bool>,
    #[serde(rename = "match")]
    pub(crate) conditions: Option<RuleMatch>,
    pub(crate) priority: Option<i64>,
    pub(crate) action: Option<RuleAction>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchUpdateRule {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) rules: Vec<RuleUpdate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleUpdate {
    pub(crate) rule_identifier: String,
    #[serde(rename = "match")]
    pub(crate) conditions: Option<RuleMatch>,
    pub(crate) priority: Option<i64>,
    pub(crate) action: Option<RuleAction>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchUpdateRuleOutput {
    pub(crate) successful: Option<Vec<RuleOutput>>,
    pub(crate) unsuccessful: Option<Vec<RuleUpdateFailure>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleUpdateFailure {
    pub(crate) rule_identifier: Option<String>,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteRule {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) rule_identifier: String,
}

/// Exactly one member of a union must be set.
fn one_of(p: &mut Problems, member: &str, set: &[bool]) {
    let set = set.iter().filter(|set| **set).count();
    if set != 1 {
        p.add(
            member,
            format!("Exactly one member of the union must be set, not {set}"),
        );
    }
}

impl RuleAction {
    /// Checks an action that stands at `member`.
    pub(super) fn check_at(&self, p: &mut Problems, member: &str) {
        one_of(
            p,
            member,
            &[self.forward.is_some(), self.fixed_response.is_some()],
        );
        if let Some(forward) = &self.forward {
            forward.check_at(p, &format!("{member}.forward.targetGroups"));
        }
        if let Some(fixed) = &self.fixed_response
            && !matches!(fixed.status_code, 404 | 500)
        {
            p.add(
                format!("{member}.fixedResponse.statusCode"),
                "Member must be 404 or 500",
            );
        }
    }
}

impl ForwardAction {
    fn check_at(&self, p: &mut Problems, member: &str) {
        constraint::count(p, member, self.target_groups.len(), 1, 10);
        for (index, group) in self.target_groups.iter().enumerate().take(10) {
            let identifier = format!("{member}.{index}.targetGroupIdentifier");
            constraint::identifier(
                p,
                &identifier,
                &group.target_group_identifier,
                Kind::TargetGroup,
            );
            if let Some(weight) = group.weight {
                constraint::range(p, &format!("{member}.{index}.weight"), weight, 0, 999);
            }
        }
    }
}

impl RuleMatch {
    fn check_at(&self, p: &mut Problems, member: &str) {
        one_of(p, member, &[self.http_match.is_some()]);
        let Some(http) = &self.http_match else { return };
        http.check_at(p, &format!("{member}.httpMatch"));
    }
}

impl HttpMatch {
    fn check_at(&self, p: &mut Problems, member: &str) {
        let method = self.method.as_deref().filter(|method| !method.is_empty());
        if method.is_none() && self.path_match.is_none() && self.header_matches.is_none() {
            p.add(member, "A rule needs at least one condition");
        }
        if let Some(method) = method {
            let member = format!("{member}.method");
            constraint::length(p, &member, method, 0, 16);
            if !method.bytes().all(|b| b.is_ascii_graphic()) {
                p.add(member, "Member must be an HTTP method");
            }
        }
        if let Some(path) = &self.path_match {
            path.kind.check_at(p, &format!("{member}.pathMatch.match"));
        }
        if let Some(headers) = &self.header_matches {
            let member = format!("{member}.headerMatches");
            constraint::count(p, &member, headers.len(), 1, 5);
            for (index, header) in headers.iter().enumerate().take(5) {
                header.check_at(p, &format!("{member}.{index}"));
            }
        }
    }
}

impl PathMatchType {
    fn check_at(&self, p: &mut Problems, member: &str) {
        one_of(p, member, &[self.exact.is_some(), self.prefix.is_some()]);
        for (name, value) in [("exact", &self.exact), ("prefix", &self.prefix)] {
            let Some(value) = value else { continue };
            let member = format!("{member}.{name}");
            constraint::length(p, &member, value, 1, 200);
            let good = constraint::is_path(value);
            constraint::pattern(p, &member, good, "/[a-zA-Z0-9@:%_+.~#?&/=-]*");
        }
    }
}

impl HeaderMatch {
    fn check_at(&self, p: &mut Problems, member: &str) {
        constraint::length(p, &format!("{member}.name"), &self.name, 1, 100);
        let HeaderMatchType {
            exact,
            prefix,
            contains,
        } = &self.kind;
        let kinds = [("exact", exact), ("prefix", prefix), ("contains", contains)];
        let member = format!("{member}.match");
        one_of(p, &member, &kinds.map(|(_, value)| value.is_some()));
        for (name, value) in kinds {
            if let Some(value) = value {
                constraint::length(p, &format!("{member}.{name}"), value, 1, 200);
            }
        }
    }
}

fn rule(p: &mut Problems, member: &str, value: &str) {
    constraint::identifier(p, member, value, Kind::Rule);
}

fn change(
    p: &mut Problems,
    at: &str,
    conditions: Option<&RuleMatch>,
    priority: Option<i64>,
    action: Option<&RuleAction>,
) {
    if let Some(conditions) = conditions {
        conditions.check_at(p, &format!("{at}match"));
    }
    if let Some(priority) = priority {
        constraint::range(p, &format!("{at}priority"), priority, 1, 2000);
    }
    if let Some(action) = action {
        action.check_at(p, &format!("{at}action"));
    }
}

impl Checked for CreateRule {
    fn check(&self, p: &mut Problems) {
        place(p, &self.service_identifier, &self.listener_identifier);
        constraint::name(p, &self.name, Kind::Rule, 63);
        change(
            p,
            "",
            Some(&self.conditions),
            Some(self.priority),
            Some(&self.action),
        );
        constraint::token(p, self.client_token.as_deref());
        constraint::tags_with_policy(p, &self.tags);
    }
}

impl Checked for GetRule {
    fn check(&self, p: &mut Problems) {
        place(p, &self.service_identifier, &self.listener_identifier);
        rule(p, "ruleIdentifier", &self.rule_identifier);
    }
}

impl Checked for ListRules {
    fn check(&self, p: &mut Problems) {
        place(p, &self.service_identifier, &self.listener_identifier);
        constraint::page(p, self.max_results, self.next_token.as_deref());
    }
}

impl Checked for UpdateRule {
    fn check(&self, p: &mut Problems) {
        place(p, &self.service_identifier, &self.listener_identifier);
        rule(p, "ruleIdentifier", &self.rule_identifier);
        let (conditions, action) = (self.conditions.as_ref(), self.action.as_ref());
        change(p, "", conditions, self.priority, action);
    }
}

impl Checked for BatchUpdateRule {
    fn check(&self, p: &mut Problems) {
        place(p, &self.service_identifier, &self.listener_identifier);
        constraint::count(p, "rules", self.rules.len(), 1, 10);
        for (index, update) in self.rules.iter().enumerate().take(10) {
            let at = format!("rules.{index}.");
            rule(p, &format!("{at}ruleIdentifier"), &update.rule_identifier);
            let (conditions, action) = (update.conditions.as_ref(), update.action.as_ref());
            change(p, &at, conditions, update.priority, action);
        }
    }
}

impl Checked for DeleteRule {
    fn check(&self, p: &mut Problems) {
        place(p, &self.service_identifier, &self.listener_identifier);
        rule(p, "ruleIdentifier", &self.rule_identifier);
    }
}
