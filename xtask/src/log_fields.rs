//! The fields of log events and spans: one spelling for each, and `docs/log-fields.md` has all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

#[test]
fn the_fields_of_the_log_are_those_of_the_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(root.join("docs/log-fields.md")).unwrap();
    let documented: BTreeSet<&str> = document.lines().filter_map(documented).collect();
    let mut used: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in ["crates", "bin"] {
        for file in sources(&root.join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            used.extend(fields(&text).into_iter().map(|it| (it, file.clone())));
        }
    }
    let unknown: Vec<_> = used
        .iter()
        .filter(|(name, _)| !documented.contains(name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "not in docs/log-fields.md: use the spelling that it has, or add a row: {unknown:#?}"
    );
    let unused: Vec<_> = documented
        .iter()
        .filter(|name| !used.contains_key(**name))
        .collect();
    assert!(
        unused.is_empty(),
        "in docs/log-fields.md, but in no event or span: {unused:?}"
    );
}

/// The name in a row of a table.
fn documented(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split('`').next()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

/// The names of fields in all macros of `tracing` that a source calls by their path, as this repository does.
fn fields(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in source.match_indices("tracing::") {
        let rest = &source[at + "tracing::".len()..];
        let Some((name, rest)) = rest.split_once("!(") else {
            continue;
        };
        let is_span = name.ends_with("_span");
        if LEVELS.contains(&name.trim_end_matches("_span")) {
            found.extend(names(&arguments(rest), is_span));
        }
    }
    found
}

/// What stands between the commas, up to the closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    let mut characters = text.chars();
    let mut in_text = false;
    while let Some(it) = characters.next() {
        match it {
            '\\' if in_text => {
                part.push(it);
                part.extend(characters.next());
                continue;
            }
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' if !in_text && depth == 0 => break,
            ')' | ']' | '}' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(it);
    }
    parts.push(part);
    parts.iter().map(|it| it.trim().to_owned()).collect()
}

/// The fields among arguments: before the message of an event, after the name of a span.
fn names(arguments: &[String], is_span: bool) -> Vec<String> {
    let arguments = arguments.iter().skip(usize::from(is_span));
    arguments
        .take_while(|it| !it.starts_with('"'))
        .filter_map(|it| {
            let it = it.trim_start_matches(['%', '?']);
            let name = it.split('=').next().unwrap_or_default().trim();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn fields_are_found_in_events_and_spans() {
    let source = r#"
        tracing::info!("nothing");
        tracing::warn!(%error, vpc.id = f(a, "b, c)"), "said {x}", x = 1);
        let span = tracing::error_span!("pass", reconciler = name, operation = Empty);
        tracing::debug!(
            region,
            "told"
        );
    "#;
    let want = ["error", "operation", "reconciler", "region", "vpc.id"];
    assert!(fields(source).iter().eq(want));
}
