//! Filter patterns
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>): terms, JSON
//! selectors, space-delimited fields.

mod condition;
mod json;
mod space;
mod terms;

use std::str::FromStr;

/// A pattern's longest text.
const MAX_LENGTH: usize = 1024;
/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 16;

/// The text is not a filter pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {at}")]
pub struct PatternError {
    /// What is wrong.
    pub message: String,
    /// Where, counted from 0.
    pub at: usize,
}

/// A parsed filter pattern.
///
/// ```
/// use lath_cloudwatch::FilterPattern;
/// let pattern: FilterPattern = r#"{ $.responseCode >= 500 && $.serviceArn = "*svc-1" }"#.parse().unwrap();
/// assert!(pattern.matches(r#"{"responseCode":503,"serviceArn":"arn:svc-1"}"#));
/// assert!(!pattern.matches("not JSON"));
/// ```
#[derive(Debug)]
pub struct FilterPattern(Kind);

#[derive(Debug)]
enum Kind {
    Everything,
    Terms(terms::Terms),
    Json(json::Selector),
    Space(space::Fields),
}

impl FromStr for FilterPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            let message = format!("a pattern has at most {MAX_LENGTH} characters");
            return Err(PatternError {
                message,
                at: MAX_LENGTH,
            });
        }
        let mut scan = Scan::new(text);
        scan.blanks();
        let kind = match scan.peek() {
            None => Kind::Everything,
            Some('{') => Kind::Json(json::parse(&mut scan)?),
            Some('[') => Kind::Space(space::parse(&mut scan)?),
            Some(_) => Kind::Terms(terms::parse(&mut scan)?),
        };
        scan.blanks();
        if scan.peek().is_some() {
            return Err(scan.error("something follows the end of the pattern"));
        }
        Ok(Self(kind))
    }
}

impl FilterPattern {
    /// Whether a message matches.
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::Everything => true,
            Kind::Terms(terms) => terms.match_text(message),
            Kind::Json(selector) => {
                serde_json::from_str(message).is_ok_and(|json| selector.holds(&json))
            }
            Kind::Space(fields) => fields.hold(message),
        }
    }
}

/// A cursor over the pattern's characters.
struct Scan {
    chars: Vec<char>,
    at: usize,
}

impl Scan {
    fn new(text: &str) -> Self {
        Self {
            chars: text.chars().collect(),
            at: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn blanks(&mut self) {
        self.skip_while(char::is_whitespace);
    }

    fn skip_while(&mut self, holds: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&holds) {
            self.at += 1;
        }
    }

    /// Skips blanks, then takes `wanted` when it stands here.
    fn take(&mut self, wanted: &str) -> bool {
        self.blanks();
        let here = self.chars[self.at..].iter().copied();
        let found = here.take(wanted.chars().count()).eq(wanted.chars());
        if found {
            self.at += wanted.chars().count();
        }
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), PatternError> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.error(&format!("{wanted:?} is missing")))
        }
    }

    fn text_while(&mut self, holds: impl Fn(char) -> bool) -> String {
        let from = self.at;
        self.skip_while(holds);
        self.chars[from..self.at].iter().collect()
    }

    /// What stands between two `quote`s; a backslash takes the next character as it is.
    fn quoted(&mut self, quote: char) -> Result<String, PatternError> {
        let from = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') if quote == '"' => text.extend(self.next()),
                Some(c) => text.push(c),
                None => {
                    self.at = from;
                    return Err(self.error(&format!("the {quote} that begins here has no end")));
                }
            }
        }
    }

    /// `%regex%`, limited by size.
    fn regex(&mut self) -> Result<regex_lite::Regex, PatternError> {
        let from = self.at;
        let text = self.quoted('%')?;
        regex_lite::RegexBuilder::new(&text)
            .size_limit(1 << 16)
            .build()
            .map_err(|error| PatternError {
                message: format!("not a regular expression: {error}"),
                at: from,
            })
    }

    fn error(&self, message: &str) -> PatternError {
        PatternError {
            message: message.to_owned(),
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_messages() {
        let json = r#"{"a":{"b":[1,20]},"s":"hello world","n":1500,"t":true,"z":null,"ip":"10.1.2.3","odd key":1}"#;
        let space =
            r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
        for (pattern, message, want) in [
            ("", "anything", true),
            (" ", "anything", true),
            ("ERROR", "an ERROR here", true),
            ("ERROR", "an error here", false),
            ("ERROR timeout", "ERROR: timeout", true),
            ("ERROR timeout", "ERROR", false),
            ("\"svc-0123\"", "arn:service/svc-0123\"", true),
            ("?ERROR ?WARN", "a WARN", true),
            ("?ERROR ?WARN", "an INFO", false),
            ("ERROR -healthz", "ERROR /healthz", false),
            ("ERROR -healthz", "ERROR /", true),
            ("-healthz", "GET /", true),
            ("%5[0-9]{2}%", "status 503", true),
            ("%5[0-9]{2}%", "status 404", false),
            ("{ $.n = 1500 }", json, true),
            ("{ $.n = 1.5e3 }", json, true),
            ("{ $.n > 1500 }", json, false),
            ("{ $.n >= 1500 && $.t IS TRUE }", json, true),
            ("{ $.s = \"hello*\" }", json, true),
            ("{ $.s != \"hello*\" }", json, false),
            ("{ $.s = hello }", json, false),
            ("{ $.a.b[1] = 20 }", json, true),
            ("{ $.a.b[*] = 1 }", json, true),
            ("{ $.z IS NULL }", json, true),
            ("{ $.missing NOT EXISTS }", json, true),
            ("{ $.s NOT EXISTS }", json, false),
            ("{ $.ip = 10.* }", json, true),
            ("{ $.['odd key'] = 1 }", json, true),
            ("{ $.n = 1 || $.t IS TRUE && $.z IS NULL }", json, true),
            ("{ ($.n = 1 || $.t IS TRUE) && $.z IS TRUE }", json, false),
            ("{ $.s = %wor.d% }", json, true),
            ("{ $.n = 1500 }", "n=1500", false),
            (
                "[ip, id, user, ts, request, status=4*, bytes>1000]",
                space,
                true,
            ),
            (
                "[ip, id, user, ts, request, status=5*, bytes]",
                space,
                false,
            ),
            (
                "[ip, id, user, ts, request=\"GET*\", status=404 || status=500, bytes]",
                space,
                true,
            ),
            ("[..., status=404, bytes]", space, true),
            ("[ip, ..., bytes=1534]", space, true),
            ("[ip, id]", space, false),
            ("[a, b=x]", "] [x", false),
            ("[a, b=x]", "] [x]", true),
            ("[a, b, c]", "\"x y\" [z \"", true),
        ] {
            let parsed: FilterPattern =
                pattern.parse().unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(parsed.matches(message), want, "{pattern} on {message}");
        }
    }

    /// Looking for an end from each of them would take minutes.
    #[test]
    fn marks_that_never_end_are_words() {
        let pattern: FilterPattern = "[..., last]".parse().unwrap();
        assert!(pattern.matches(&"[ \" ".repeat(500_001)));
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for pattern in [
            "\"open",
            "{ $.a }",
            "{ $.a = 1",
            "{ a = 1 }",
            "%[%",
            "[a, b",
            "{ $.a = 1 } x",
            "a.b",
            "{ $.a IS 3 }",
        ] {
            assert!(pattern.parse::<FilterPattern>().is_err(), "{pattern}");
        }
        let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(400), ")".repeat(400));
        assert!(deep.parse::<FilterPattern>().is_err());
    }
}
