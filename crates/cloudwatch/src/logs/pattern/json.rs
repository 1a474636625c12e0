use serde_json::Value;

use super::condition::{Comparison, Condition};
use super::{MAX_DEPTH, PatternError, Scan};

/// `{ $.a.b[0] = 1 && ... }`.
#[derive(Debug)]
pub(super) enum Selector {
    All(Vec<Self>),
    Any(Vec<Self>),
    Field(Vec<Step>, Test),
}

/// One step into a JSON value.
#[derive(Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
    Each,
}

/// What is asked of the value found.
#[derive(Debug)]
pub(super) enum Test {
    Compare(Condition),
    Is(Literal),
    NotExists,
    Exists,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Literal {
    Null,
    True,
    False,
}

pub(super) fn parse(scan: &mut Scan) -> Result<Selector, PatternError> {
    scan.expect("{")?;
    let selector = any(scan, 0)?;
    scan.expect("}")?;
    Ok(selector)
}

fn any(scan: &mut Scan, depth: usize) -> Result<Selector, PatternError> {
    let mut parts = vec![all(scan, depth)?];
    while scan.take("||") {
        parts.push(all(scan, depth)?);
    }
    Ok(Selector::Any(parts))
}

fn all(scan: &mut Scan, depth: usize) -> Result<Selector, PatternError> {
    let mut parts = vec![one(scan, depth)?];
    while scan.take("&&") {
        parts.push(one(scan, depth)?);
    }
    Ok(Selector::All(parts))
}

fn one(scan: &mut Scan, depth: usize) -> Result<Selector, PatternError> {
    if depth > MAX_DEPTH {
        return Err(scan.error("parentheses are nested too deep"));
    }
    if scan.take("(") {
        let inner = any(scan, depth + 1)?;
        scan.expect(")")?;
        return Ok(inner);
    }
    let path = path(scan)?;
    Ok(Selector::Field(path, test(scan)?))
}

fn path(scan: &mut Scan) -> Result<Vec<Step>, PatternError> {
    scan.expect("$")?;
    let mut steps = Vec::new();
    loop {
        match scan.peek() {
            Some('.') => scan.at += 1,
            Some('[') => steps.push(bracket(scan)?),
            Some(c) if c.is_alphanumeric() || "_-@*".contains(c) => {
                let key = scan.text_while(|c| c.is_alphanumeric() || "_-@*".contains(c));
                steps.push(if key == "*" {
                    Step::Each
                } else {
                    Step::Key(key)
                });
            }
            _ => return Ok(steps),
        }
    }
}

fn bracket(scan: &mut Scan) -> Result<Step, PatternError> {
    scan.expect("[")?;
    let step = match scan.peek() {
        Some(quote @ ('\'' | '"')) => Step::Key(scan.quoted(quote)?),
        Some('*') => {
            scan.at += 1;
            Step::Each
        }
        _ => {
            let digits = scan.text_while(|c| c.is_ascii_digit());
            Step::Index(
                digits
                    .parse()
                    .map_err(|_| scan.error("an index is missing"))?,
            )
        }
    };
    scan.expect("]")?;
    Ok(step)
}

fn test(scan: &mut Scan) -> Result<Test, PatternError> {
    if let Some(comparison) = Comparison::parse(scan) {
        let ends = |c| matches!(c, '}' | ')' | '&' | '|');
        return Condition::parse(scan, comparison, ends).map(Test::Compare);
    }
    if scan.take("NOT") {
        scan.expect("EXISTS")?;
        return Ok(Test::NotExists);
    }
    if scan.take("EXISTS") {
        return Ok(Test::Exists);
    }
    if scan.take("IS") {
        for (text, literal) in [
            ("NULL", Literal::Null),
            ("TRUE", Literal::True),
            ("FALSE", Literal::False),
        ] {
            if scan.take(text) {
                return Ok(Test::Is(literal));
            }
        }
    }
    Err(scan.error("a comparison, IS NULL, IS TRUE, IS FALSE or NOT EXISTS is missing"))
}

impl Selector {
    pub(super) fn holds(&self, json: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(json)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(json)),
            Self::Field(path, test) => {
                let mut found = Vec::new();
                find(json, path, &mut found);
                test.holds(&found)
            }
        }
    }
}

fn find<'a>(json: &'a Value, path: &[Step], found: &mut Vec<&'a Value>) {
    let Some((step, rest)) = path.split_first() else {
        found.push(json);
        return;
    };
    match (step, json) {
        (Step::Key(key), Value::Object(map)) => {
            map.get(key)
                .into_iter()
                .for_each(|next| find(next, rest, found));
        }
        (Step::Index(index), Value::Array(list)) => {
            list.get(*index)
                .into_iter()
                .for_each(|next| find(next, rest, found));
        }
        (Step::Each, Value::Array(list)) => list.iter().for_each(|next| find(next, rest, found)),
        (Step::Each, Value::Object(map)) => map.values().for_each(|next| find(next, rest, found)),
        _ => {}
    }
}

impl Test {
    fn holds(&self, found: &[&Value]) -> bool {
        match self {
            Self::NotExists => found.is_empty(),
            Self::Exists => !found.is_empty(),
            Self::Is(literal) => found.iter().any(|value| match literal {
                Literal::Null => value.is_null(),
                Literal::True => **value == Value::Bool(true),
                Literal::False => **value == Value::Bool(false),
            }),
            Self::Compare(condition) => found.iter().any(|value| compares(condition, value)),
        }
    }
}

fn compares(condition: &Condition, value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|number| condition.of_number(number)),
        Value::String(text) => condition.of_text(text),
        Value::Bool(bool) => condition.of_text(if *bool { "true" } else { "false" }),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}
