//! The regular expressions of the models, which are Java's, by an engine whose time is linear in the text.
//!
//! A value must be described as a whole. What the engine has no way to say is refused: look-around but at the beginning,
//! and back-references.

use regex::{Regex, RegexBuilder};

/// How large a compiled expression may be, in bytes.
const MOST_COMPILED: usize = 1 << 21;
/// How much an expression may remember while it is matched, in bytes.
const MOST_REMEMBERED: usize = 1 << 16;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Pattern {
    whole: Regex,
    /// What the text must not begin with: `(?!...)` at the beginning.
    never: Vec<Regex>,
}

impl Pattern {
    /// `None` for what cannot be expressed.
    pub(super) fn new(source: &str) -> Option<Self> {
        let mut rest = source;
        let mut never = Vec::new();
        while let Some((ahead, after)) = negative(rest) {
            never.push(compiled(&format!("^(?:{})", translated(ahead)))?);
            rest = after;
        }
        let whole = compiled(&format!("^(?:{})$", translated(rest)))?;
        Some(Self { whole, never })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.whole.is_match(text) && !self.never.iter().any(|it| it.is_match(text))
    }
}

fn compiled(source: &str) -> Option<Regex> {
    RegexBuilder::new(source)
        .dot_matches_new_line(true)
        .size_limit(MOST_COMPILED)
        .dfa_size_limit(MOST_REMEMBERED)
        .build()
        .ok()
}

/// The inside of `(?!...)` at the beginning, and what follows it. An anchor before it says nothing more.
fn negative(source: &str) -> Option<(&str, &str)> {
    let inside = source
        .strip_prefix('^')
        .unwrap_or(source)
        .strip_prefix("(?!")?;
    let (mut depth, mut is_class, mut is_escaped) = (0_usize, false, false);
    for (at, c) in inside.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ']' => is_class = false,
            '[' => is_class = true,
            _ if is_class => {}
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&inside[..at], &inside[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The same in the engine's words: Java's `\w`, `\d` and `\s` are of ASCII. A dot is any character, as texts of several
/// lines are taken where a pattern says `.*`.
fn translated(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars();
    let mut is_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                out.push_str(&of_escape(escaped, is_class));
            }
            '[' if is_class => out.push_str("\\["),
            '[' => {
                is_class = true;
                out.push('[');
            }
            ']' => {
                is_class = false;
                out.push(']');
            }
            c => out.push(c),
        }
    }
    out
}

fn of_escape(escaped: char, is_class: bool) -> String {
    let class = match escaped {
        'w' => "0-9A-Za-z_",
        'd' => "0-9",
        's' => r" \t\n\x0B\f\r",
        'W' if !is_class => return "[^0-9A-Za-z_]".to_owned(),
        'D' if !is_class => return "[^0-9]".to_owned(),
        'S' if !is_class => return r"[^ \t\n\x0B\f\r]".to_owned(),
        'b' if !is_class => return r"(?-u:\b)".to_owned(),
        other => return format!("\\{other}"),
    };
    match is_class {
        true => class.to_owned(),
        false => format!("[{class}]"),
    }
}
