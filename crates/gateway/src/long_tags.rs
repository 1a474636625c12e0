//! Texts that are longer than a tag's value may be: they go on in the tags `NAME-2`, `NAME-3` and so on, as Lath has them.

use crate::desired::Tags;

/// A tag's value has as many characters at most.
pub(crate) const PART: usize = 256;

/// In as many tags at most: those of rules, and those of Gateways.
pub(crate) const FEW_PARTS: usize = 16;
pub(crate) const MANY_PARTS: usize = 40;

/// The name of the tag with a part of a text.
fn key(name: &str, at: usize) -> String {
    match at {
        0 => name.to_owned(),
        at => format!("{name}-{}", at + 1),
    }
}

/// Whether a text has room in so many tags.
pub(crate) fn fits(text: &str, parts: usize) -> bool {
    text.chars().count() <= PART * parts
}

/// The tags that hold a text.
pub(crate) fn tags(name: &str, text: &str) -> Tags {
    let letters: Vec<char> = text.chars().collect();
    let parts = letters.chunks(PART).enumerate();
    parts
        .map(|(at, part)| (key(name, at), part.iter().collect()))
        .collect()
}

/// The text that a resource's tags hold under a name. The first part replaces all parts of the text before.
pub(crate) fn text_of(name: &str, tags: &Tags) -> Option<String> {
    let parts = (0..MANY_PARTS).map_while(|at| tags.get(&key(name, at)));
    let text: String = parts.map(String::as_str).collect();
    (!text.is_empty()).then_some(text)
}
