//! Rules meet requests: lines of a rule's path, a header value to look for, the request's path and the
//! header's value. The choice and its explanation agree, and are what plain string functions say.

use lath_model::lattice::{HeaderKind, HeaderMatch, Match, PathKind, PathMatch};
use lath_route::{PlainHead, Router};

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let Some((&kinds, bytes)) = bytes.split_first() else {
        return;
    };
    let mut lines = text(bytes).split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (rule_path, rule_value, path, value) = (next(), next(), next(), next());
    let prefix = kinds & 1 != 0;
    let conditions = Match {
        method: None,
        path: Some(PathMatch {
            kind: if prefix {
                PathKind::Prefix
            } else {
                PathKind::Exact
            },
            value: rule_path.into(),
            case_sensitive: kinds & 2 != 0,
        }),
        headers: vec![HeaderMatch {
            name: "X-Kind".into(),
            kind: [HeaderKind::Exact, HeaderKind::Prefix, HeaderKind::Contains]
                [usize::from(kinds >> 4) % 3],
            value: rule_value.into(),
            case_sensitive: kinds & 4 != 0,
        }],
    };
    let router = Router::compile([(1, &conditions)]);
    let head = PlainHead::new("GET", path).with_header("x-kind", value);
    let chosen = router.choose(&head);
    assert_eq!(chosen, router.explain(&head).chosen);
    let fold = |text: &str, exact: bool| {
        if exact {
            text.to_owned()
        } else {
            text.to_ascii_lowercase()
        }
    };
    let (wanted, path) = (fold(rule_path, kinds & 2 != 0), fold(path, kinds & 2 != 0));
    let path_holds = if prefix {
        path.starts_with(&wanted)
    } else {
        path == wanted
    };
    let (wanted, value) = (
        fold(rule_value, kinds & 4 != 0),
        fold(value, kinds & 4 != 0),
    );
    let value_holds = match usize::from(kinds >> 4) % 3 {
        0 => value == wanted,
        1 => value.starts_with(&wanted),
        _ => value.contains(&wanted),
    };
    assert_eq!(chosen.is_some(), path_holds && value_holds);
}
