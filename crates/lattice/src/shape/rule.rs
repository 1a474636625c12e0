use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use crate::constraint;

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
            if !method.bytes().all(|b| b.is_ascii_graphic()) {
                p.add(member, "Member must be an HTTP method");
            }
        }
        if let Some(path) = &self.path_match {
            path.kind.check_at(p, &format!("{member}.pathMatch.match"));
        }
        if let Some(headers) = &self.header_matches {
            let member = format!("{member}.headerMatches");
            for (index, header) in headers.iter().enumerate().take(5) {
                header.check_at(p, &format!("{member}.{index}"));
            }
        }
    }
}

impl PathMatchType {
    fn check_at(&self, p: &mut Problems, member: &str) {
        one_of(p, member, &[self.exact.is_some(), self.prefix.is_some()]);
    }
}

impl HeaderMatch {
    fn check_at(&self, p: &mut Problems, member: &str) {
        let HeaderMatchType {
            exact,
            prefix,
            contains,
        } = &self.kind;
        let kinds = [exact.is_some(), prefix.is_some(), contains.is_some()];
        one_of(p, &format!("{member}.match"), &kinds);
    }
}

fn change(p: &mut Problems, at: &str, conditions: Option<&RuleMatch>, action: Option<&RuleAction>) {
    if let Some(conditions) = conditions {
        conditions.check_at(p, &format!("{at}match"));
    }
    if let Some(action) = action {
        action.check_at(p, &format!("{at}action"));
    }
}

impl Checked for CreateRule {
    fn check(&self, p: &mut Problems) {
        change(p, "", Some(&self.conditions), Some(&self.action));
        constraint::tags_with_policy(p, &self.tags);
    }
}

impl Checked for UpdateRule {
    fn check(&self, p: &mut Problems) {
        let (conditions, action) = (self.conditions.as_ref(), self.action.as_ref());
        change(p, "", conditions, action);
    }
}

impl Checked for BatchUpdateRule {
    fn check(&self, p: &mut Problems) {
        for (index, update) in self.rules.iter().enumerate().take(10) {
            let at = format!("rules.{index}.");
            let (conditions, action) = (update.conditions.as_ref(), update.action.as_ref());
            change(p, &at, conditions, action);
        }
    }
}
