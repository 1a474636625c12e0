use super::condition::{Comparison, Condition};
use super::{PatternError, Scan};

/// `[ip, user, status=4*, ...]`.
#[derive(Debug)]
pub(super) struct Fields {
    before: Vec<Field>,
    /// The fields after `...`; `None` when there is no `...`.
    after: Option<Vec<Field>>,
}

/// A field: alternatives, each a list of conditions that all hold.
#[derive(Debug)]
struct Field(Vec<Vec<Condition>>);

pub(super) fn parse(scan: &mut Scan) -> Result<Fields, PatternError> {
    scan.expect("[")?;
    let mut fields = Fields {
        before: Vec::new(),
        after: None,
    };
    loop {
        if scan.take("...") {
            if fields.after.is_some() {
                return Err(scan.error("only one ... may be given"));
            }
            fields.after = Some(Vec::new());
        } else {
            let field = field(scan)?;
            fields
                .after
                .as_mut()
                .unwrap_or(&mut fields.before)
                .push(field);
        }
        if scan.take("]") {
            return Ok(fields);
        }
        scan.expect(",")?;
    }
}

fn field(scan: &mut Scan) -> Result<Field, PatternError> {
    let mut any = vec![Vec::new()];
    loop {
        name(scan)?;
        if let Some(comparison) = Comparison::parse(scan) {
            let ends = |c| matches!(c, ',' | ']' | '&' | '|');
            let condition = Condition::parse(scan, comparison, ends)?;
            if let Some(newest) = any.last_mut() {
                newest.push(condition);
            }
            if scan.take("&&") {
                continue;
            }
            if scan.take("||") {
                any.push(Vec::new());
                continue;
            }
        }
        return Ok(Field(any));
    }
}

fn name(scan: &mut Scan) -> Result<(), PatternError> {
    scan.blanks();
    let name = scan.text_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '@'));
    if name.is_empty() {
        Err(scan.error("a field name is missing"))
    } else {
        Ok(())
    }
}

impl Field {
    fn holds(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|all| all.iter().all(|condition| condition.of_text(text)))
    }
}

impl Fields {
    pub(super) fn hold(&self, message: &str) -> bool {
        let words = words(message);
        let fits = match &self.after {
            None => words.len() == self.before.len(),
            Some(after) => words.len() >= self.before.len() + after.len(),
        };
        let after = self.after.as_deref().unwrap_or_default();
        let tail = words.len().saturating_sub(after.len());
        let each = |fields: &[Field], words: &[&str]| {
            fields
                .iter()
                .zip(words)
                .all(|(field, word)| field.holds(word))
        };
        fits && each(&self.before, &words) && each(after, &words[tail..])
    }
}

/// Words divided by blanks; `[...]` and `"..."` are one word each, without the marks.
fn words(message: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = message.trim_start();
    // No mark is looked for beyond its last one: a message of opening brackets would take for ever.
    let last = [']', '"'].map(|mark| message.rfind(mark).unwrap_or(0));
    while !rest.is_empty() {
        let at = message.len() - rest.len();
        let close = match rest.as_bytes()[0] {
            b'[' if at < last[0] => Some(']'),
            b'"' if at < last[1] => Some('"'),
            _ => None,
        };
        let end = close.and_then(|close| rest[1..].find(close));
        let (word, next) = match end {
            Some(end) => (&rest[1..=end], &rest[end + 2..]),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word);
        rest = next.trim_start();
    }
    words
}
