//! Conditions of rules that VPC Lattice has not. An extension, asked for by tags of a rule.

use lath_control::{Cell, Mode};
use lath_model::matching::{FieldCondition, MoreMatch, PathCondition, ValueCondition};
use lath_model::traffic::PolicyError;
use lath_store::Tx;
use lath_wire::ApiError;
use serde::Deserialize;

use crate::ident::Kind;
use crate::long_tag::{FEW_PARTS, LongTag};
use crate::policy_text::{self, Object};
use crate::record::{Rule, Tags};

const NAME: &str = "lath:match";

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: NAME,
    what: "the conditions of a rule",
    parts: FEW_PARTS,
};

/// As users write it: members and types are named as Kubernetes' Gateway API names them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    path: Option<Object<WrittenPath>>,
    headers: Vec<Object<WrittenField>>,
    query_parameters: Vec<Object<WrittenField>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPath {
    #[serde(rename = "type")]
    kind: PathKind,
    value: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum PathKind {
    Exact,
    PathPrefix,
    RegularExpression,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenField {
    name: String,
    #[serde(rename = "type")]
    kind: Option<FieldKind>,
    value: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum FieldKind {
    Exact,
    RegularExpression,
}

impl WrittenPath {
    /// A slash at a prefix's end means nothing, as in the Gateway API.
    fn condition(self) -> PathCondition {
        match self.kind {
            PathKind::Exact => PathCondition::Exact(self.value),
            PathKind::RegularExpression => PathCondition::RegularExpression(self.value),
            PathKind::PathPrefix => {
                let stem = self.value.strip_suffix('/').map(str::to_owned);
                PathCondition::Prefix(stem.unwrap_or(self.value))
            }
        }
    }
}

impl From<Object<WrittenField>> for FieldCondition {
    fn from(Object(written): Object<WrittenField>) -> Self {
        Self {
            name: written.name,
            value: match written.kind {
                Some(FieldKind::RegularExpression) => {
                    ValueCondition::RegularExpression(written.value)
                }
                Some(FieldKind::Exact) | None => ValueCondition::Exact(written.value),
            },
        }
    }
}

impl Written {
    fn conditions(self) -> Result<MoreMatch, PolicyError> {
        let more = MoreMatch {
            path: self.path.map(|it| it.0.condition()),
            headers: self.headers.into_iter().map(Into::into).collect(),
            query_parameters: self.query_parameters.into_iter().map(Into::into).collect(),
        };
        more.check()?;
        if more.is_empty() {
            return Err(PolicyError {
                at: "{}".to_owned(),
                message:
                    "it says nothing; remove the tag, or give path, headers or queryParameters"
                        .to_owned(),
            });
        }
        Ok(more)
    }
}

/// The conditions that a text says.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(text: &str) -> Result<MoreMatch, String> {
    let written: Written = policy_text::read(text)?;
    written.conditions().map_err(|error| error.to_string())
}

/// The conditions that a rule's tags ask for.
///
/// # Errors
/// They are malformed.
pub(crate) fn of(cell: &Cell, tags: &Tags) -> Result<Option<Box<MoreMatch>>, ApiError> {
    TAG.check_mode(cell, tags)?;
    let Some(text) = TAG.text(tags)? else {
        return Ok(None);
    };
    let more = read(&text).map_err(|error| TAG.wrong(error))?;
    Ok(Some(Box::new(more)))
}

/// Refuses tags that are being set where there are no conditions, or that are a part of them.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(kind: Kind, is_default: bool, given: &Tags) -> Result<(), ApiError> {
    let fits = kind == Kind::Rule && !is_default;
    TAG.check_place(fits, "rules that are not a default one", given)
}

/// The tags of a resource are about to be these: a rule has the conditions that they ask for.
///
/// # Errors
/// As [`of`].
pub(crate) fn retag(
    cell: &Cell,
    tx: &mut Tx,
    kind: Kind,
    place: &str,
    tags: &Tags,
) -> Result<(), ApiError> {
    let found = match kind {
        Kind::Rule => tx.get::<Rule>(place),
        _ => None,
    };
    // What is not changed is not judged again.
    let Some(rule) = found.filter(|it| !TAG.is_same(&it.tags, tags)) else {
        return Ok(());
    };
    let more = match cell.mode {
        Mode::Extended => of(cell, tags)?,
        // Only its removal comes so far.
        Mode::Strict => None,
    };
    tx.put(Rule {
        more,
        ..Rule::clone(&rule)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_have_defaults() {
        let text = r#"{"path":{"type":"PathPrefix","value":"/a/"},
            "headers":[{"name":"x-a","type":"Exact","value":"1"},{"name":"x-b","value":"2"}],
            "queryParameters":[{"name":"q","type":"RegularExpression","value":"[0-9]+"}]}"#;
        let more = read(text).unwrap();
        assert_eq!(more.path, Some(PathCondition::Prefix("/a".into())));
        assert_eq!(more.headers[1].value, ValueCondition::Exact("2".into()));
        let number = ValueCondition::RegularExpression("[0-9]+".into());
        assert_eq!(more.query_parameters[0].value, number);
        let root = read(r#"{"path":{"type":"PathPrefix","value":"/"}}"#).unwrap();
        assert_eq!(root.path, Some(PathCondition::Prefix(String::new())));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, want) in [
            ("", "EOF"),
            ("{}", "{}: it says nothing"),
            ("[]", "expected an object"),
            (r#"{"method":"GET"}"#, "unknown field `method`"),
            (r#"{"path":{"value":"/"}}"#, "missing field `type`"),
            (
                r#"{"path":{"type":"Prefix","value":"/"}}"#,
                "unknown variant `Prefix`, expected one of `Exact`, `PathPrefix`, `RegularExpression`",
            ),
            (r#"{"path":{"type":"Exact","value":"a"}}"#, "path.value:"),
            (
                r#"{"path":{"type":"RegularExpression","value":"("}}"#,
                "path.value: \"(\" is no regular expression",
            ),
            (
                r#"{"headers":[{"name":"a b","value":""}]}"#,
                "headers.0.name",
            ),
            (
                r#"{"queryParameters":[{"name":"","value":""}]}"#,
                "queryParameters.0.name",
            ),
        ] {
            let got = read(text).expect_err(text);
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
