use super::{PatternError, Scan};

/// Words, quoted phrases and regular expressions.
#[derive(Debug, Default)]
pub(super) struct Terms {
    all: Vec<Term>,
    any: Vec<Term>,
    none: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(regex_lite::Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

impl Terms {
    pub(super) fn match_text(&self, message: &str) -> bool {
        // Optional terms count only when no plain term stands beside them.
        let wanted = if self.all.is_empty() && !self.any.is_empty() {
            self.any.iter().any(|term| term.is_in(message))
        } else {
            self.all.iter().all(|term| term.is_in(message))
        };
        wanted && !self.none.iter().any(|term| term.is_in(message))
    }
}

pub(super) fn parse(scan: &mut Scan) -> Result<Terms, PatternError> {
    let mut terms = Terms::default();
    loop {
        scan.blanks();
        let list = match scan.peek() {
            None => return Ok(terms),
            Some('?') => {
                scan.at += 1;
                &mut terms.any
            }
            Some('-') => {
                scan.at += 1;
                &mut terms.none
            }
            Some(_) => &mut terms.all,
        };
        list.push(term(scan)?);
    }
}

fn term(scan: &mut Scan) -> Result<Term, PatternError> {
    match scan.peek() {
        Some('"') => scan.quoted('"').map(Term::Text),
        Some('%') => scan.regex().map(Term::Regex),
        _ => {
            let word = scan.text_while(|c| c.is_alphanumeric() || c == '_');
            let ends = scan.peek().is_none_or(char::is_whitespace);
            if word.is_empty() || !ends {
                return Err(scan.error("special characters need double quotes around the term"));
            }
            Ok(Term::Text(word))
        }
    }
}
