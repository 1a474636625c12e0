//! Names of functions, in every form that callers give them.

use std::sync::Arc;

use lath_authz::Scope;
use lath_control::Cell;
use lath_model::Owner;
use lath_model::arn::Arn;
use lath_service::{Violation, detected};
use lath_store::View;
use lath_wire::ApiError;

use crate::fault;
use crate::record::Function;

/// The version that is there.
pub(crate) const LATEST: &str = "$LATEST";

/// A name and a qualifier: of a name, a name with a qualifier, a part of an ARN, or an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    pub(crate) name: &'a str,
    qualifier: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// `NAME`, `NAME:QUALIFIER`, `ACCOUNT:function:NAME[:QUALIFIER]` or the ARN.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (region, account, rest) = match parts.as_slice() {
            ["arn", _, "lambda", region, account, "function", rest @ ..] => {
                (Some(*region), Some(*account), rest)
            }
            [account, "function", rest @ ..] => (None, Some(*account), rest),
            ["function", rest @ ..] if !rest.is_empty() => (None, None, rest),
            rest => (None, None, rest),
        };
        let (name, qualifier) = match rest {
            [name] => (*name, None),
            [name, qualifier] => (*name, Some(*qualifier)),
            _ => return None,
        };
        is_name(name).then_some(Self {
            region,
            account,
            name,
            qualifier,
        })
    }

    /// The same.
    ///
    /// # Errors
    /// `ValidationException` for what is no name.
    pub(crate) fn read(text: &'a str) -> Result<Self, ApiError> {
        Self::of(text).ok_or_else(|| {
            let rule = "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?";
            let broken = Violation::new("functionName", text, rule);
            ApiError::new("ValidationException", 400, detected(&[broken]))
        })
    }

    fn is_of(&self, cell: &Cell) -> bool {
        self.region.is_none_or(|it| it == cell.region)
            && self.account.is_none_or(|it| it == cell.account)
    }
}

/// 1 to 64 letters, digits, hyphens and underscores.
pub(crate) fn is_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_inner)
}

/// A function's ARN.
pub(crate) fn arn(cell: &Cell, name: &str) -> String {
    cell.arn("lambda", format!("function:{name}"))
}

/// As policies name it: without a qualifier.
pub(crate) fn arn_in(at: &Scope<'_>, text: &str) -> String {
    match Named::of(text) {
        Some(named) => at.arn("lambda", &format!("function:{}", named.name)),
        None => at.arn("lambda", "function:*"),
    }
}

/// The function that a request names.
///
/// # Errors
/// `ResourceNotFoundException`, or `ValidationException` for what is no name.
pub(crate) fn find(
    cell: &Cell,
    view: &View,
    text: &str,
    qualifier: Option<&str>,
) -> Result<Arc<Function>, ApiError> {
    let named = Named::read(text)?;
    if let (Some(one), Some(other)) = (qualifier, named.qualifier)
        && one != other
    {
        let text =
            "The derived qualifier from the function name does not match the specified qualifier.";
        return Err(fault::invalid(text));
    }
    let qualifier = qualifier.or(named.qualifier);
    let known = view.get::<Function>(named.name);
    let known = known.filter(|_| named.is_of(cell) && qualifier.is_none_or(|it| it == LATEST));
    known.ok_or_else(|| {
        let mut arn = arn(cell, named.name);
        if let Some(qualifier) = qualifier {
            arn = format!("{arn}:{qualifier}");
        }
        fault::not_found(format!("Function not found: {arn}"))
    })
}

/// The name of the function of this region that an ARN names, if there is one; an ARN with a qualifier names `$LATEST` alone.
pub fn function_of(cell: &Cell, view: &View, arn: &str) -> Option<String> {
    if !arn.starts_with("arn:") {
        return None;
    }
    Some(find(cell, view, arn, None).ok()?.name.clone())
}

/// The name in an ARN of this account's.
pub(crate) fn name_in(arn: &str) -> Option<String> {
    let arn: Arn = arn.parse().ok()?;
    let name = arn.resource.strip_prefix("function:")?;
    (arn.service == "lambda").then(|| name.split(':').next().unwrap_or(name).to_owned())
}

/// The ARN of the account as a principal.
pub(crate) fn root(owner: Owner<'_>, account: &str) -> String {
    Owner {
        partition: owner.partition,
        account,
    }
    .arn("iam", "root".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_many_forms() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:web";
        for (text, want) in [
            ("web", Some(("web", None))),
            ("web:$LATEST", Some(("web", Some("$LATEST")))),
            ("123456789012:function:web", Some(("web", None))),
            ("function:web", Some(("web", None))),
            (arn, Some(("web", None))),
            (&format!("{arn}:$LATEST"), Some(("web", Some("$LATEST")))),
            ("", None),
            ("a/b", None),
            (&"a".repeat(65), None),
            ("a:b:c:d", None),
        ] {
            let named = Named::of(text);
            let named = named.as_ref().map(|it| (it.name, it.qualifier));
            assert_eq!(named, want, "{text}");
        }
    }
}
