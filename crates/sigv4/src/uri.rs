//! URI encoding by the rules of SigV4.

use std::fmt::Write as _;

/// Encodes every byte except `A-Z a-z 0-9 - _ . ~` and those in `keep`.
pub(crate) fn encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        let unreserved = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if unreserved || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// Replaces each `%XX` by its byte. Keeps a `%` without two hexadecimal digits.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match escaped(&bytes[at..]) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// The canonical path. For every service but S3 the path as sent is normalized and encoded once more; for S3 it is
/// decoded and encoded without normalization.
pub(crate) fn canonical_path(path: &str, normalize: bool) -> String {
    if normalize {
        encode(normalized(path).as_bytes(), b"/")
    } else {
        let decoded = percent_decode(path);
        let encoded = encode(&decoded, b"/");
        if encoded.is_empty() {
            "/".into()
        } else {
            encoded
        }
    }
}

/// Removes empty and dot segments (RFC 3986 section 5.2.4). Keeps a final slash.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let mut out = String::from("/");
    out.push_str(&kept.join("/"));
    if directory && !kept.is_empty() {
        out.push('/');
    }
    out
}

/// The canonical query: parameters decoded, strictly encoded and sorted, without `X-Amz-Signature`.
pub(crate) fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = pairs(query)
        .map(|(name, value)| (strict(name), strict(value)))
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    pairs.sort();
    let joined: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}

fn strict(text: &str) -> String {
    encode(&percent_decode(text), b"")
}

/// The raw pairs of a query string.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sent_escape_is_encoded_again() {
        // The path of DescribeAccessEntry as the AWS CLI signs it.
        let cases = [
            ("/", "/"),
            ("", "/"),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("//a//", "/a/"),
            ("/x/arn%3Aaws", "/x/arn%253Aaws"),
        ];
        for (given, want) in cases {
            assert_eq!(canonical_path(given, true), want, "{given}");
        }
        assert_eq!(canonical_path("/a//b/../%3A c", false), "/a//b/../%3A%20c");
    }

    #[test]
    fn queries_are_sorted_and_strict() {
        let cases = [
            ("b=2&a=1", "a=1&b=2"),
            ("flag", "flag="),
            ("a=%7e&a=*", "a=%2A&a=~"),
            ("X-Amz-Signature=1&a=%zz", "a=%25zz"),
        ];
        for (given, want) in cases {
            assert_eq!(canonical_query(given), want, "{given}");
        }
    }
}
