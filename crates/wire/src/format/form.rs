//! `application/x-www-form-urlencoded` with dotted keys.

use std::collections::BTreeMap;

use crate::Doc;
use crate::limits::{Budget, MAX_DEPTH, Malformed};

/// Longest name of a parameter, in bytes. Thirty-two levels of sane names fit well.
const MAX_NAME: usize = 2048;

/// Reads the pairs of a form or query string. `+` is a space.
///
/// # Errors
/// Text that is not UTF-8.
pub fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let budget = Budget::new();
    text.split(|byte| *byte == b'&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            budget.take(0)?;
            let cut = part.iter().position(|byte| *byte == b'=');
            let (name, value) = match cut {
                Some(at) => (&part[..at], &part[at + 1..]),
                None => (part, &[][..]),
            };
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(bytes: &[u8]) -> Result<String, Malformed> {
    let spaced: Vec<u8> = bytes
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let text = std::str::from_utf8(&spaced).map_err(|_| not_utf8())?;
    String::from_utf8(lath_sigv4::percent_decode(text)).map_err(|_| not_utf8())
}

fn not_utf8() -> Malformed {
    Malformed::new("a parameter is not UTF-8")
}

/// A member while the tree grows.
enum Branch {
    Leaf(String),
    Members(BTreeMap<String, Self>),
}

/// Builds the tree of dotted names: `Filter.1.Name=x` becomes `{Filter: {1: {Name: x}}}`.
///
/// # Errors
/// Names that are too long or too deep, given twice, or both a value and a structure.
pub fn tree(pairs: Vec<(String, String)>) -> Result<Doc, Malformed> {
    let mut root = BTreeMap::new();
    let budget = Budget::new();
    for (name, value) in pairs {
        if name.len() > MAX_NAME {
            return Err(Malformed::new(format!(
                "the name of a parameter exceeds {MAX_NAME} bytes"
            )));
        }
        insert(&mut root, &name, value, &budget)?;
    }
    Ok(grown(Branch::Members(root)))
}

fn insert(
    root: &mut BTreeMap<String, Branch>,
    name: &str,
    value: String,
    budget: &Budget,
) -> Result<(), Malformed> {
    let mut parts: Vec<&str> = name.splitn(MAX_DEPTH + 2, '.').collect();
    budget.take(parts.len().saturating_sub(1))?;
    let last = parts.pop().unwrap_or_default();
    let mut here = root;
    for part in parts {
        budget.take(0)?;
        let next = here
            .entry(part.to_owned())
            .or_insert_with(|| Branch::Members(BTreeMap::new()));
        match next {
            Branch::Members(members) => here = members,
            Branch::Leaf(_) => return Err(conflict(name)),
        }
    }
    match here.insert(last.to_owned(), Branch::Leaf(value)) {
        None => Ok(()),
        Some(_) => Err(conflict(name)),
    }
}

fn conflict(name: &str) -> Malformed {
    Malformed::new(format!("the parameter {name} is given more than once"))
}

fn grown(branch: Branch) -> Doc {
    match branch {
        Branch::Leaf(text) => Doc::Text(text),
        Branch::Members(members) => Doc::Map(
            members
                .into_iter()
                .map(|(name, branch)| (name, grown(branch)))
                .collect(),
        ),
    }
}

/// The parameters of a REST request's query: repeated ones are lists.
///
/// # Errors
/// Text that is not UTF-8.
pub fn query_members(query: &str) -> Result<Vec<(String, Doc)>, Malformed> {
    let mut members: BTreeMap<String, Vec<Doc>> = BTreeMap::new();
    for (name, value) in pairs(query.as_bytes())? {
        members.entry(name).or_default().push(Doc::Text(value));
    }
    let one_or_many = |mut values: Vec<Doc>| match values.len() {
        1 => values.remove(0),
        _ => Doc::List(values),
    };
    Ok(members
        .into_iter()
        .map(|(name, values)| (name, one_or_many(values)))
        .collect())
}
