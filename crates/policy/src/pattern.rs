use std::borrow::Cow;
use std::fmt;

use crate::Facts;

/// A text with wildcards (`*`, `?`) and policy variables (`${aws:username}`, `${aws:x, 'default'}`).
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
    /// The tokens of a pattern without variables.
    fixed: Option<Vec<Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Token(Token),
    /// A variable: the key in lower case, and the default value.
    Variable(String, Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// A literal character.
    Char(char),
    /// `?`: any one character.
    One,
    /// `*`: any characters, or none.
    Any,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Pattern {
    /// Parses a pattern, with variables if the document's version has them (2012-10-17).
    ///
    /// # Errors
    /// When a variable is unterminated or empty.
    pub(crate) fn new(text: &str, variables: bool) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if variables && let Some(after) = rest.strip_prefix("${") {
                let (inner, tail) = after
                    .split_once('}')
                    .ok_or_else(|| "The policy contains an unterminated variable.".to_owned())?;
                pieces.push(variable(inner)?);
                rest = tail;
                continue;
            }
            pieces.push(Piece::Token(match first {
                '*' => Token::Any,
                '?' => Token::One,
                other => Token::Char(other),
            }));
            rest = &rest[first.len_utf8()..];
        }
        pieces.dedup_by(|a, b| *a == Piece::Token(Token::Any) && *b == Piece::Token(Token::Any));
        let fixed = pieces.iter().map(|piece| match piece {
            Piece::Token(token) => Some(*token),
            Piece::Variable(..) => None,
        });
        Ok(Self {
            text: text.to_owned(),
            fixed: fixed.collect(),
            pieces,
        })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `value` matches.
    pub fn matches(&self, value: &str, facts: &dyn Facts) -> bool {
        self.tokens(facts)
            .is_some_and(|tokens| glob(&tokens, value))
    }

    /// Like [`Self::matches`], but ignores case.
    pub(crate) fn matches_any_case(&self, value: &str, facts: &dyn Facts) -> bool {
        self.tokens(facts).is_some_and(|tokens| {
            glob_by(&tokens, value, |wanted, given| {
                wanted.eq_ignore_ascii_case(&given)
            })
        })
    }

    /// Whether it has a variable with unknown values.
    pub(crate) fn is_unknown(&self, facts: &dyn Facts) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Variable(key, _) => facts.is_unknown(key),
            Piece::Token(_) => false,
        })
    }

    /// The text with variables replaced and wildcards kept; `None` when a variable has no value.
    pub(crate) fn literal(&self, facts: &dyn Facts) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Token(Token::Char(c)) => text.push(*c),
                Piece::Token(Token::One) => text.push('?'),
                Piece::Token(Token::Any) => text.push('*'),
                Piece::Variable(..) => text.push_str(&value(piece, facts)?),
            }
        }
        Some(text)
    }

    /// The tokens with variables replaced; `None` when a variable has no value, and then nothing matches.
    pub(crate) fn tokens(&self, facts: &dyn Facts) -> Option<Cow<'_, [Token]>> {
        if let Some(fixed) = &self.fixed {
            return Some(Cow::Borrowed(fixed));
        }
        let mut tokens = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            match piece {
                Piece::Token(token) => tokens.push(*token),
                Piece::Variable(..) => {
                    tokens.extend(value(piece, facts)?.chars().map(Token::Char));
                }
            }
        }
        Some(Cow::Owned(tokens))
    }
}

/// A variable's value as literal text: wildcards in it match only themselves.
fn value(piece: &Piece, facts: &dyn Facts) -> Option<String> {
    let Piece::Variable(key, default) = piece else {
        return None;
    };
    match facts.values(key) {
        Some(mut values) if values.len() == 1 => values.pop(),
        Some(_) => None,
        None => default.clone(),
    }
}

/// Parses a variable. `${*}`, `${?}` and `${$}` are literal characters.
fn variable(inner: &str) -> Result<Piece, String> {
    if let "*" | "?" | "$" = inner {
        let c = inner.chars().next().unwrap_or('*');
        return Ok(Piece::Token(Token::Char(c)));
    }
    let (key, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((key, default)) => {
            let default = default.trim();
            let quoted = default
                .strip_prefix('\'')
                .and_then(|text| text.strip_suffix('\''));
            let text = quoted.ok_or_else(|| bad_variable(inner))?;
            (key, Some(text.to_owned()))
        }
    };
    let key = key.trim();
    if key.is_empty() || key.contains(['$', '{']) {
        return Err(bad_variable(inner));
    }
    Ok(Piece::Variable(key.to_ascii_lowercase(), default))
}

fn bad_variable(inner: &str) -> String {
    format!("Invalid variable in policy: ${{{inner}}}")
}

/// Whether the whole text matches.
pub(crate) fn glob(tokens: &[Token], text: &str) -> bool {
    glob_by(tokens, text, |wanted, given| wanted == given)
}

/// Linear with one `*`; at worst tokens times characters. Allocates nothing, because a request may be compared with
/// thousands of patterns.
fn glob_by(tokens: &[Token], text: &str, same: fn(char, char) -> bool) -> bool {
    let first = |at: usize| text.get(at..).and_then(|rest| rest.chars().next());
    let (mut t, mut c) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(given) = first(c) {
        let next = c + given.len_utf8();
        match tokens.get(t) {
            Some(Token::Any) if t + 1 == tokens.len() => return true,
            Some(Token::Any) => {
                retry = Some((t, c));
                t += 1;
            }
            Some(Token::One) => (t, c) = (t + 1, next),
            Some(Token::Char(wanted)) if same(*wanted, given) => (t, c) = (t + 1, next),
            _ => match retry {
                None => return false,
                Some((any, from)) => {
                    let from = from + first(from).map_or(1, char::len_utf8);
                    retry = Some((any, from));
                    (t, c) = (any + 1, from);
                }
            },
        }
    }
    tokens[t..].iter().all(|token| *token == Token::Any)
}

/// Matches ARNs part by part: no wildcard matches across one of the first five colons.
pub(crate) fn arn_glob(tokens: &[Token], value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let wanted: Vec<&[Token]> = tokens
        .splitn(6, |token| *token == Token::Char(':'))
        .collect();
    if wanted.len() == 1 && wanted[0] == [Token::Any] {
        return true;
    }
    parts.len() == 6
        && wanted.len() == 6
        && wanted
            .iter()
            .zip(parts)
            .all(|(wanted, part)| glob(wanted, part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;

    #[test]
    fn patterns_match_as_iam_says() {
        let facts = Context::default()
            .with("aws:username", "a*n")
            .with("aws:PrincipalTag/team", "red");
        let table = [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "x", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*c", "ac", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*/rates", "arn:svc/x/rates", true),
            ("**", "x", true),
            ("Äé?", "Äéß", true),
            ("home/${aws:username}/*", "home/a*n/x", true),
            ("home/${aws:username}/*", "home/aXn/x", false),
            ("${aws:PrincipalTag/Team}", "red", true),
            ("${aws:unknown}", "", false),
            ("${aws:unknown, 'blue'}", "blue", true),
            ("a${*}b", "a*b", true),
            ("a${*}b", "axb", false),
            ("a${?}${$}", "a?$", true),
        ];
        for (pattern, text, want) in table {
            let got = Pattern::new(pattern, true).unwrap().matches(text, &facts);
            assert_eq!(got, want, "{pattern} {text}");
        }
        for broken in ["${", "x${aws:username", "${}", "${a, b}", "${a${b}}"] {
            assert!(Pattern::new(broken, true).is_err(), "{broken}");
        }
        assert!(Pattern::new("${", false).is_ok());
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = Pattern::new(&"*a".repeat(2000), true).unwrap();
        assert!(!pattern.matches(&"a".repeat(1999), &Context::default()));
    }

    #[test]
    fn arns_match_part_by_part() {
        let table = [
            (
                "arn:aws:ec2:*:123456789012:vpc/*",
                "arn:aws:ec2:us-east-1:123456789012:vpc/v",
                true,
            ),
            (
                "arn:aws:ec2:*:vpc/*",
                "arn:aws:ec2:us-east-1:123456789012:vpc/v",
                false,
            ),
            ("arn:*", "arn:aws:ec2:us-east-1:123456789012:vpc/v", false),
            ("*", "arn:aws:ec2:us-east-1:123456789012:vpc/v", true),
            ("arn:aws:sns:a:1:t*", "arn:aws:sns:a:1:topic:sub", true),
            ("arn:aws:ec2:*:*:*", "no arn", false),
        ];
        for (pattern, value, want) in table {
            let pattern = Pattern::new(pattern, true).unwrap();
            let tokens = pattern.tokens(&Context::default()).unwrap();
            assert_eq!(arn_glob(&tokens, value), want, "{pattern:?} {value}");
        }
    }
}
