//! Conditions of rules that VPC Lattice has not: an extension.
//!
//! As with traffic policies, the control plane makes them out of what users write, and [`MoreMatch::check`] judges them; the
//! data plane asks again before it obeys.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::traffic::PolicyError;
use crate::traffic::check::{few, is_token, wrong};

/// Of conditions on headers, and on query parameters.
pub const MOST_CONDITIONS: usize = 16;
/// Of a path, a value or a regular expression, in characters.
pub const LONGEST_TEXT: usize = 1024;
/// Of a header's or query parameter's name, in characters.
pub const LONGEST_NAME: usize = 256;
/// Of a compiled regular expression, in bytes.
const LARGEST_PROGRAM: usize = 64 * 1024;
/// Of what a regular expression remembers while it looks, in bytes.
const LARGEST_CACHE: usize = 256 * 1024;

/// Conditions of a rule beside its [`Match`](crate::lattice::Match): all must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MoreMatch {
    /// On the path.
    pub path: Option<PathCondition>,
    /// On headers; names are compared without regard to case.
    pub headers: Vec<FieldCondition>,
    /// On query parameters; names are compared as they are.
    pub query_parameters: Vec<FieldCondition>,
}

/// A condition on the raw path, without the query. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathCondition {
    /// The whole path.
    Exact(String),
    /// Its first segments: `/a` holds for `/a`, `/a/` and `/a/b`, and not for `/ab`. Kept without a slash at its end.
    Prefix(String),
    /// A regular expression for the whole path.
    RegularExpression(String),
}

/// A condition on a header or a query parameter, which must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldCondition {
    /// The name.
    pub name: String,
    /// What its value must be.
    pub value: ValueCondition,
}

/// A condition on a value. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueCondition {
    /// The whole value.
    Exact(String),
    /// A regular expression for the whole value.
    RegularExpression(String),
}

/// A regular expression that whole texts match. Looking takes time in proportion to the text. Classes such as `\w` are ASCII's.
///
/// # Errors
/// It is none, or too large.
pub fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > LONGEST_TEXT {
        return Err(format!(
            "a regular expression has at most {LONGEST_TEXT} characters"
        ));
    }
    let built = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(LARGEST_PROGRAM);
        builder.dfa_size_limit(LARGEST_CACHE).nest_limit(32);
        builder.build()
    };
    // Asked alone first, or `a)(b` would be one between the brackets. A comment at the end of a verbose one ends with its line.
    let whole = built(text).and_then(|_| {
        built(&format!(r"\A(?:{text})\z")).or_else(|_| built(&format!("\\A(?:{text}\n)\\z")))
    });
    whole.map_err(|error| {
        let message = error.to_string();
        // The last line says what is wrong; those before it show where, which takes several lines.
        let last = message.lines().last().unwrap_or_default();
        format!("{text:?} is no regular expression that can be used: {last}")
    })
}

impl MoreMatch {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether requests may be judged so.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        if let Some(path) = &self.path {
            path.check()?;
        }
        few("headers", self.headers.len(), MOST_CONDITIONS)?;
        for (index, field) in self.headers.iter().enumerate() {
            let at = format!("headers.{index}");
            if field.name.is_empty() || !field.name.bytes().all(is_token) {
                let message = format!("{:?} is no header's name", field.name);
                return wrong(format!("{at}.name"), message);
            }
            let same = |it: &FieldCondition| it.name.eq_ignore_ascii_case(&field.name);
            field.check(&at, self.headers[..index].iter().any(same))?;
        }
        few(
            "queryParameters",
            self.query_parameters.len(),
            MOST_CONDITIONS,
        )?;
        for (index, field) in self.query_parameters.iter().enumerate() {
            let at = format!("queryParameters.{index}");
            let same = |it: &FieldCondition| it.name == field.name;
            field.check(&at, self.query_parameters[..index].iter().any(same))?;
        }
        Ok(())
    }
}

impl PathCondition {
    fn check(&self) -> Result<(), PolicyError> {
        let at = "path.value";
        match self {
            Self::RegularExpression(text) => checked(at, text),
            Self::Exact(path) => check_path(at, path),
            Self::Prefix(path) if path.is_empty() => Ok(()),
            Self::Prefix(path) => match path.ends_with('/') {
                true => wrong(at, "a prefix is kept without a slash at its end"),
                false => check_path(at, path),
            },
        }
    }
}

/// What a path may consist of: RFC 3986 section 3.3. As the data plane compares raw paths, a prefix or path with segments that
/// lead elsewhere may be given; it holds for requests that were written so.
fn check_path(at: &str, path: &str) -> Result<(), PolicyError> {
    let is_of_path =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    match path.len() <= LONGEST_TEXT && path.starts_with('/') && path.bytes().all(is_of_path) {
        true => Ok(()),
        false => wrong(
            at,
            format!(
                "{path:?} is no path; it begins with a slash, has up to {LONGEST_TEXT} characters, and everything but \
                 letters, digits and -._~!$&'()*+,;=:@ is written as %XX"
            ),
        ),
    }
}

fn checked(at: &str, text: &str) -> Result<(), PolicyError> {
    match pattern(text) {
        Ok(_) => Ok(()),
        Err(message) => wrong(at, message),
    }
}

impl FieldCondition {
    fn check(&self, at: &str, is_twice: bool) -> Result<(), PolicyError> {
        let name = &self.name;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return wrong(
                format!("{at}.name"),
                format!("give 1 to {LONGEST_NAME} characters"),
            );
        }
        if is_twice {
            let message = format!("{name:?} stands here more than once; name each once");
            return wrong(format!("{at}.name"), message);
        }
        let at = format!("{at}.value");
        match &self.value {
            ValueCondition::RegularExpression(text) => checked(&at, text),
            ValueCondition::Exact(text) if text.len() > LONGEST_TEXT => {
                wrong(at, format!("give at most {LONGEST_TEXT} characters"))
            }
            ValueCondition::Exact(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_texts_match_regular_expressions() {
        for (text, value, want) in [
            ("a+", "aa", true),
            ("a+", "baa", false),
            ("a+", "aab", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("(?i)v[0-9]", "V1", true),
            ("(?x) a # b", "a", true),
            (r"\w+", "é", false),
            ("", "", true),
            ("", "a", false),
            ("a$", "a", true),
            (".*", "a\nb", false),
        ] {
            let found = pattern(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found.is_match(value.as_bytes()), want, "{text:?} {value:?}");
        }
        let large = "(a{1000}){1000}".to_owned();
        let deep = "(".repeat(200) + &")".repeat(200);
        for text in ["(", "a)(b", "[a", r"\p{Greek}", &large, &deep] {
            assert!(pattern(text).is_err(), "{text}");
        }
        let error = pattern("a)(b").unwrap_err();
        assert!(error.contains("unopened group"), "{error}");
    }

    #[test]
    fn conditions_have_bounds() {
        let field = |name: &str, value: &str| FieldCondition {
            name: name.to_owned(),
            value: ValueCondition::Exact(value.to_owned()),
        };
        let path = |path: PathCondition| MoreMatch {
            path: Some(path),
            ..MoreMatch::default()
        };
        let headers = |headers: Vec<FieldCondition>| MoreMatch {
            headers,
            ..MoreMatch::default()
        };
        let query = |query_parameters: Vec<FieldCondition>| MoreMatch {
            query_parameters,
            ..MoreMatch::default()
        };
        for (given, wrong) in [
            (path(PathCondition::Exact("/a".into())), None),
            (path(PathCondition::Prefix(String::new())), None),
            (
                path(PathCondition::Prefix("/a/".into())),
                Some("path.value"),
            ),
            (path(PathCondition::Exact("a".into())), Some("path.value")),
            (
                path(PathCondition::RegularExpression("(".into())),
                Some("path.value"),
            ),
            (headers(vec![field("x-a", "1"), field("x-b", "1")]), None),
            (
                headers(vec![field("x-a", "1"), field("X-A", "1")]),
                Some("headers.1.name"),
            ),
            (headers(vec![field("x a", "1")]), Some("headers.0.name")),
            (
                headers(vec![field("x-a", &"1".repeat(1025))]),
                Some("headers.0.value"),
            ),
            (query(vec![field("q", "1"), field("Q", "1")]), None),
            (
                query(vec![field("q", "1"); 2]),
                Some("queryParameters.1.name"),
            ),
            (query(vec![field("q", "1"); 17]), Some("queryParameters")),
        ] {
            let found = given.check().err().map(|it| it.at);
            assert_eq!(found.as_deref(), wrong, "{given:?}");
        }
    }
}
