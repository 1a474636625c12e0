//! Conditions and actions between this crate's values and the SDK's.

use std::collections::BTreeMap;

use aws_sdk_vpclattice::types::{
    FixedResponseAction, ForwardAction, HeaderMatch, HeaderMatchType, HttpMatch, PathMatch,
    PathMatchType, RuleAction, RuleMatch, WeightedTargetGroup,
};

use super::{Fault, id_of};
use crate::desired::{Action, Condition, GroupRef, Path};

fn built<T, E: std::fmt::Display>(value: Result<T, E>) -> Result<T, Fault> {
    value.map_err(|error| Fault::Failed(error.to_string()))
}

/// A condition for Lattice.
pub(super) fn rule_match(condition: &Condition) -> Result<RuleMatch, Fault> {
    let path = match &condition.path {
        Path::Exact(path) => PathMatchType::Exact(path.clone()),
        Path::Prefix(path) => PathMatchType::Prefix(path.clone()),
    };
    let path = PathMatch::builder()
        .r#match(path)
        .case_sensitive(true)
        .build();
    let mut http = HttpMatch::builder()
        .path_match(path)
        .set_method(condition.method.clone());
    for (name, value) in &condition.headers {
        let value = HeaderMatchType::Exact(value.clone());
        let header = HeaderMatch::builder()
            .name(name)
            .r#match(value)
            .case_sensitive(true);
        http = http.header_matches(built(header.build())?);
    }
    Ok(RuleMatch::HttpMatch(http.build()))
}

/// The condition of a rule that is there; `None` when it is none that this controller makes.
pub(super) fn condition(rule: Option<&RuleMatch>) -> Option<Condition> {
    let http = rule?.as_http_match().ok()?;
    let path = http.path_match()?;
    let path = match (path.r#match()?, path.case_sensitive()) {
        (PathMatchType::Exact(path), Some(true)) => Path::Exact(path.clone()),
        (PathMatchType::Prefix(path), Some(true)) => Path::Prefix(path.clone()),
        _ => return None,
    };
    let mut headers = BTreeMap::new();
    for header in http.header_matches() {
        let value = header.r#match()?.as_exact().ok()?.clone();
        if header.case_sensitive() != Some(true) {
            return None;
        }
        headers.insert(header.name().to_ascii_lowercase(), value);
    }
    Some(Condition {
        path,
        method: http.method().map(str::to_owned),
        headers,
        more: None,
    })
}

/// An action for Lattice: its groups are known by their ids.
pub(super) fn rule_action(action: &Action) -> Result<RuleAction, Fault> {
    match action {
        Action::Fixed(status) => {
            let fixed = FixedResponseAction::builder().status_code(*status).build();
            Ok(RuleAction::FixedResponse(built(fixed)?))
        }
        Action::Forward(groups) => {
            let mut forward = ForwardAction::builder();
            for (group, weight) in groups {
                let GroupRef::Existing(id) = group else {
                    return Err(Fault::Failed("a group without an id".to_owned()));
                };
                let group = WeightedTargetGroup::builder().target_group_identifier(id);
                forward = forward.target_groups(built(group.weight(*weight).build())?);
            }
            Ok(RuleAction::Forward(built(forward.build())?))
        }
    }
}

/// The action of a rule that is there.
pub(super) fn action(action: Option<&RuleAction>) -> Option<Action> {
    match action? {
        RuleAction::FixedResponse(fixed) => Some(Action::Fixed(fixed.status_code())),
        RuleAction::Forward(forward) => {
            let groups = forward.target_groups().iter();
            let groups = groups.map(|it| {
                let id = id_of(it.target_group_identifier());
                (GroupRef::Existing(id), it.weight().unwrap_or(100))
            });
            Some(Action::Forward(groups.collect()))
        }
        _ => None,
    }
}
