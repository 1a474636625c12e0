//! Reads XML into a tree: no namespaces, no attributes, no document types.

use std::collections::HashMap;

use crate::Doc;
use crate::limits::{Budget, Malformed};

/// Longest name of an element, in bytes.
const MAX_NAME: usize = 256;

/// Reads a document; the root's own name is dropped. Repeated children become lists.
///
/// # Errors
/// Malformed text, a document type declaration, an unknown entity, or more than the caps allow.
pub fn read(bytes: &[u8]) -> Result<Doc, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
    let mut reader = Reader {
        rest: text.trim_start_matches('\u{feff}'),
        open: Vec::new(),
        budget: Budget::new(),
    };
    reader.document()
}

fn bad(what: &str) -> Malformed {
    Malformed::new(format!("the body is not valid XML: {what}"))
}

/// An element that has begun and not ended.
struct Open {
    name: String,
    text: String,
    children: Vec<(String, Vec<Doc>)>,
    places: HashMap<String, usize>,
}

impl Open {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: String::new(),
            children: Vec::new(),
            places: HashMap::new(),
        }
    }

    fn add(&mut self, name: String, doc: Doc) {
        if let Some(place) = self.places.get(&name) {
            self.children[*place].1.push(doc);
        } else {
            self.places.insert(name.clone(), self.children.len());
            self.children.push((name, vec![doc]));
        }
    }

    fn close(self) -> Doc {
        if self.children.is_empty() {
            return Doc::Text(self.text);
        }
        let one_or_many = |mut docs: Vec<Doc>| match docs.len() {
            1 => docs.remove(0),
            _ => Doc::List(docs),
        };
        let members = self.children.into_iter();
        Doc::Map(
            members
                .map(|(name, docs)| (name, one_or_many(docs)))
                .collect(),
        )
    }
}

struct Reader<'a> {
    rest: &'a str,
    open: Vec<Open>,
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Doc, Malformed> {
        loop {
            let at = self.rest.find('<').unwrap_or(self.rest.len());
            let (text, markup) = self.rest.split_at(at);
            self.text(text)?;
            if markup.is_empty() {
                return Err(bad("it ends too early"));
            }
            self.rest = markup;
            if let Some(root) = self.markup()? {
                return self.finish(root);
            }
        }
    }

    fn finish(&mut self, root: Doc) -> Result<Doc, Malformed> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() {
                return Ok(root);
            }
            let skipped = self.skip("<!--", "-->")? || self.skip("<?", "?>")?;
            if !skipped {
                return Err(bad("something follows the root element"));
            }
        }
    }

    /// Takes one piece of markup; answers the root once that has ended.
    fn markup(&mut self) -> Result<Option<Doc>, Malformed> {
        if self.skip("<!--", "-->")? || self.skip("<?", "?>")? {
            return Ok(None);
        }
        if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
            let (data, rest) = rest
                .split_once("]]>")
                .ok_or_else(|| bad("CDATA does not end"))?;
            self.rest = rest;
            let open = self
                .open
                .last_mut()
                .ok_or_else(|| bad("CDATA outside the root"))?;
            open.text.push_str(data);
            return Ok(None);
        }
        if self.rest.starts_with("<!") {
            return Err(bad("document types are refused"));
        }
        match self.rest.strip_prefix("</") {
            Some(rest) => self.end(rest),
            None => self.start(),
        }
    }

    fn skip(&mut self, from: &str, to: &str) -> Result<bool, Malformed> {
        let Some(rest) = self.rest.strip_prefix(from) else {
            return Ok(false);
        };
        let (_, rest) = rest
            .split_once(to)
            .ok_or_else(|| bad("it ends too early"))?;
        self.rest = rest;
        Ok(true)
    }

    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        match self.open.last_mut() {
            Some(open) => unescape(text, &mut open.text),
            None if text.trim().is_empty() => Ok(()),
            None => Err(bad("text outside the root element")),
        }
    }

    fn start(&mut self) -> Result<Option<Doc>, Malformed> {
        let (name, empty) = self.start_tag()?;
        self.budget.take(self.open.len())?;
        self.open.push(Open::new(local(name)?));
        if empty { self.pop() } else { Ok(None) }
    }

    /// The name in a start tag, and whether the element ends at once. Attributes are passed over.
    fn start_tag(&mut self) -> Result<(&'a str, bool), Malformed> {
        let inner = &self.rest[1..];
        let mut quote = None;
        for (at, byte) in inner.bytes().enumerate() {
            match (quote, byte) {
                (Some(mark), _) if mark == byte => quote = None,
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'<') => return Err(bad("< inside a tag")),
                (None, b'>') => {
                    let tag = &inner[..at];
                    self.rest = &inner[at + 1..];
                    let empty = tag.ends_with('/');
                    let tag = tag.strip_suffix('/').unwrap_or(tag);
                    let name = tag.split_ascii_whitespace().next().unwrap_or_default();
                    return if tag.starts_with(|c: char| c.is_ascii_whitespace()) {
                        Err(bad("a tag without a name"))
                    } else {
                        Ok((name, empty))
                    };
                }
                _ => {}
            }
        }
        Err(bad("a tag does not end"))
    }

    fn end(&mut self, rest: &'a str) -> Result<Option<Doc>, Malformed> {
        let (name, rest) = rest
            .split_once('>')
            .ok_or_else(|| bad("a tag does not end"))?;
        self.rest = rest;
        let name = local(name.trim_end())?;
        match self.open.last() {
            Some(open) if open.name == name => self.pop(),
            _ => Err(bad("an end tag that does not match")),
        }
    }

    fn pop(&mut self) -> Result<Option<Doc>, Malformed> {
        let ended = self.open.pop().ok_or_else(|| bad("an end tag too many"))?;
        let name = ended.name.clone();
        let doc = ended.close();
        match self.open.last_mut() {
            Some(parent) => {
                parent.add(name, doc);
                Ok(None)
            }
            None => Ok(Some(doc)),
        }
    }
}

/// A name without its namespace prefix.
fn local(name: &str) -> Result<&str, Malformed> {
    let local = name.rsplit(':').next().unwrap_or(name);
    let sound = !local.is_empty()
        && local.len() <= MAX_NAME
        && !local.contains(|c: char| c.is_whitespace() || "<>&\"'/=".contains(c));
    if sound {
        Ok(local)
    } else {
        Err(bad("an element's name"))
    }
}

fn unescape(text: &str, out: &mut String) -> Result<(), Malformed> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, after) = after.split_once(';').ok_or_else(|| bad("a lone &"))?;
        out.push(entity_char(entity).ok_or_else(|| bad("an unknown entity"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(())
}

fn entity_char(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
