//! How large a YAML document becomes, known before it is built: aliases of aliases double at every line,
//! and deep nesting overflows the stack of the thread that builds or drops it.

use std::collections::HashMap;

use yaml_rust2::Event;
use yaml_rust2::parser::Parser;

/// Lists and mappings inside one another.
const DEEPEST: usize = 64;
/// What a document may take with its aliases written out, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;
/// What a value takes beside its text.
const VALUE: usize = 64;

/// Reads a document and keeps nothing of it.
///
/// # Errors
/// Words: it is no YAML, nested too deep or too large.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut parser = Parser::new_from_str(text);
    let mut extent = Extent::default();
    loop {
        let (event, _) = parser.next_token().map_err(|error| error.to_string())?;
        match event {
            Event::StreamEnd => return Ok(()),
            Event::Alias(anchor) => {
                extent.add(extent.anchored.get(&anchor).copied().unwrap_or(VALUE))?;
            }
            Event::Scalar(text, _, anchor, _) => {
                extent.add(VALUE + text.len())?;
                extent.anchor(anchor, VALUE + text.len())?;
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                extent.open(anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => extent.close()?,
            _ => {}
        }
    }
}

#[derive(Default)]
struct Extent {
    total: usize,
    /// The anchors of what is open, and the total before each.
    open: Vec<(usize, usize)>,
    anchored: HashMap<usize, usize>,
}

impl Extent {
    fn add(&mut self, bytes: usize) -> Result<(), String> {
        self.total = self.total.saturating_add(bytes);
        if self.total > LARGEST {
            return Err(format!("the document takes more than {LARGEST} bytes"));
        }
        Ok(())
    }

    /// What has an anchor is there twice: once more for its aliases.
    fn anchor(&mut self, anchor: usize, bytes: usize) -> Result<(), String> {
        if anchor == 0 {
            return Ok(());
        }
        self.anchored.insert(anchor, bytes);
        self.add(bytes)
    }

    fn open(&mut self, anchor: usize) -> Result<(), String> {
        self.open.push((anchor, self.total));
        if self.open.len() > DEEPEST {
            return Err(format!(
                "the document is nested deeper than {DEEPEST} levels"
            ));
        }
        self.add(VALUE)
    }

    fn close(&mut self) -> Result<(), String> {
        let Some((anchor, before)) = self.open.pop() else {
            return Ok(());
        };
        self.anchor(anchor, self.total - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_without_bound_is_refused() {
        let laughs = |levels: usize| {
            let mut text = "l0: &l0 [x, x, x, x, x, x, x, x]\n".to_owned();
            for level in 1..levels {
                let below = vec![format!("*l{}", level - 1); 8].join(", ");
                text.push_str(&format!("l{level}: &l{level} [{below}]\n"));
            }
            text
        };
        for (name, given, fine) in [
            ("few aliases", laughs(3), true),
            ("billion laughs", laughs(12), false),
            ("some levels", "- ".repeat(40) + "x", true),
            ("deep blocks", "- ".repeat(8_000) + "x", false),
            ("deep brackets", "[".repeat(8_000), false),
            ("deep mappings", "? ".repeat(8_000), false),
        ] {
            assert_eq!(check(&given).is_ok(), fine, "{name}");
        }
    }
}
