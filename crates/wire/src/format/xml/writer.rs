//! Prints trees as XML elements.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Doc;
use crate::format::json::float_name;
use crate::moment::TimeFormat;

/// An element to print: its name, its namespace if it declares one, and its content.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// The element's name.
    pub name: &'a str,
    /// The value of `xmlns`, or empty.
    pub xmlns: &'a str,
    /// What is in it.
    pub content: &'a Doc,
}

/// Prints a whole document.
pub fn print(root: Element<'_>, times: TimeFormat) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    element(&mut out, root, times);
    out
}

fn element(out: &mut String, what: Element<'_>, times: TimeFormat) {
    out.push('<');
    out.push_str(what.name);
    if !what.xmlns.is_empty() {
        out.push_str(" xmlns=\"");
        escape(out, what.xmlns);
        out.push('"');
    }
    if is_blank(what.content) {
        out.push_str("/>");
        return;
    }
    out.push('>');
    content(out, what.content, times);
    out.push_str("</");
    out.push_str(what.name);
    out.push('>');
}

fn is_blank(doc: &Doc) -> bool {
    match doc {
        Doc::Null => true,
        Doc::Map(members) => members.is_empty(),
        Doc::List(items) => items.is_empty(),
        Doc::String(text) | Doc::Text(text) => text.is_empty(),
        _ => false,
    }
}

fn content(out: &mut String, doc: &Doc, times: TimeFormat) {
    match doc {
        Doc::Null => {}
        Doc::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Doc::Int(number) => out.push_str(&number.to_string()),
        Doc::Float(number) => {
            let text = float_name(*number).map_or_else(|| number.to_string(), str::to_owned);
            out.push_str(&text);
        }
        Doc::String(text) | Doc::Text(text) => escape(out, text),
        Doc::Blob(bytes) => out.push_str(&STANDARD.encode(bytes)),
        Doc::Timestamp(moment) => out.push_str(&times.print(*moment)),
        Doc::List(items) => items
            .iter()
            .for_each(|item| child(out, "member", item, times)),
        Doc::Map(members) => {
            for (name, member) in members {
                child(out, name, member, times);
            }
        }
    }
}

fn child(out: &mut String, name: &str, content: &Doc, times: TimeFormat) {
    let what = Element {
        name,
        xmlns: "",
        content,
    };
    element(out, what, times);
}

/// Escapes text. Characters that XML 1.0 cannot hold become U+FFFD.
fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\n' | '\t' => out.push(letter),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(letter),
        }
    }
}
