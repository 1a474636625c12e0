//! The readings of a path: the ways in which servers may interpret it.
//!
//! A proxy forwards a path unchanged, and the target interprets it. RFC 3986 section 6.2.2 lets it remove dot
//! segments and decode unreserved characters. Real servers also merge slashes, decode `%2F`, treat `\` as `/`,
//! and cut parameters (`;a=b`) off a segment. A policy must allow every reading.

/// The readings of a path other than the path itself. Empty for plain paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readings {
    /// Readings that must be allowed, like the path itself.
    pub(crate) allowed: Vec<String>,
    /// Readings that must not be denied. They need no allow, because authors of policies do not write both
    /// forms, such as `caf%C3%A9` and `café`.
    pub(crate) not_denied: Vec<String>,
}

impl Readings {
    /// The readings of a path that begins with a slash; `*` has none.
    pub(crate) fn of(path: &str) -> Self {
        if !path.starts_with('/') || is_plain(path) {
            return Self::default();
        }
        let by_rfc = without_dots(&decoded(path, is_unreserved), false);
        let text = decoded(path, |byte| is_unreserved(byte) || b"/\\;%".contains(&byte));
        let loose = without_dots(&text.replace('\\', "/"), true);
        let whole = decoded(path, |_| true).replace('\\', "/");
        let bare = without_parameters(&without_dots(&whole, true));
        let mut allowed = vec![by_rfc, loose];
        allowed.dedup();
        allowed.retain(|reading| reading != path);
        let not_denied = Some(bare).filter(|bare| bare != path && !allowed.contains(bare));
        Self {
            allowed,
            not_denied: not_denied.into_iter().collect(),
        }
    }
}

fn is_plain(path: &str) -> bool {
    !path.contains(['%', '\\', ';']) && !path.contains("//") && !path.contains("/.")
}

/// Whether the character is unreserved (RFC 3986 section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Decodes the escapes of the wanted bytes, also those that decoding produces, such as `%252e`, because a chain of
/// servers decodes more than once. Linear in the length.
fn decoded(path: &str, wanted: impl Fn(u8) -> bool) -> String {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        out.push(byte);
        while let Some(value) = last_escape(&out).filter(|value| wanted(*value)) {
            out.truncate(out.len() - 3);
            out.push(value);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn last_escape(bytes: &[u8]) -> Option<u8> {
    let [.., b'%', high, low] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Removes dot segments (RFC 3986 section 5.2.4), also with parameters (`..;`); with `merge`, empty segments too.
fn without_dots(path: &str, merge: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        open = segment.is_empty() || name == "." || name == "..";
        match name {
            ".." => drop(kept.pop()),
            "." => {}
            "" if segment.is_empty() && merge => {}
            _ => kept.push(segment),
        }
    }
    // The last segment of `/a/` is empty. It was kept unless slashes are merged.
    let ends = open && (merge || kept.last().is_some_and(|last| !last.is_empty()));
    let tail = if ends && !kept.is_empty() { "/" } else { "" };
    format!("/{}{tail}", kept.join("/"))
}

fn without_parameters(path: &str) -> String {
    let bare = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    bare.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_have_one_reading() {
        for path in [
            "/",
            "/a",
            "/a/b.html",
            "/a/",
            "*",
            "",
            "/~me/(1)!*",
            "/a..b",
        ] {
            assert_eq!(Readings::of(path), Readings::default(), "{path}");
        }
    }

    #[test]
    fn other_paths_are_read_as_servers_read_them() {
        // The path, the readings that must be allowed, and those that must not be denied.
        let table: &[(&str, &[&str], &[&str])] = &[
            ("/ok/../no", &["/no"], &[]),
            ("/ok/%2e%2e/no", &["/no"], &[]),
            ("/ok/.%2E/no", &["/no"], &[]),
            ("/ok/%252e%252e/no", &["/no"], &[]),
            ("/ok/%25252e%2e/no", &["/ok/%25252e./no", "/no"], &[]),
            ("/ok/..%2fno", &["/no"], &[]),
            ("/ok/..%5cno", &["/no"], &[]),
            (r"/ok\..\no", &["/no"], &[]),
            ("/ok/..;/no", &["/no"], &[]),
            ("/ok/..;a=b/no", &["/no"], &[]),
            ("/ok/..%3b/no", &["/ok/..%3b/no", "/no"], &[]),
            ("/ok//../no", &["/ok/no", "/no"], &[]),
            ("/ok/x/..", &["/ok/"], &[]),
            ("/ok/.", &["/ok/"], &[]),
            ("/..", &["/"], &[]),
            ("/a//b", &["/a/b"], &[]),
            ("//a", &["/a"], &[]),
            ("/a//", &["/a/"], &[]),
            ("/%61dmin", &["/admin"], &[]),
            ("/admin;x=1/y", &[], &["/admin/y"]),
            ("/a%20b", &[], &["/a b"]),
            ("/caf%C3%A9", &[], &["/café"]),
            ("/a%zz", &[], &[]),
            ("/a%", &[], &[]),
        ];
        for (path, allowed, not_denied) in table {
            let found = Readings::of(path);
            let wanted: Vec<&&str> = allowed.iter().filter(|it| *it != path).collect();
            assert_eq!(found.allowed.iter().collect::<Vec<_>>(), wanted, "{path}");
            assert_eq!(found.not_denied, *not_denied, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_reading_is_read_once(path in r"/?([a./;%\\\\]|%2e|%2f|%5c|%25|2e|%C3){0,16}") {
            crate::fuzzing::read_path(&path);
        }
    }

    #[test]
    fn a_hostile_path_takes_linear_time() {
        let path = format!("/%{}2e", "25".repeat(500_000));
        assert_eq!(Readings::of(&path).allowed, ["/"]);
    }
}
