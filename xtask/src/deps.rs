//! Which crates may not import which, and why.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Who, whom, why not.
const FORBIDDEN: [(&str, &[&str], &str); 7] = [
    ("model", &["*"], "values know nobody"),
    (
        "sigv4",
        &["*"],
        "signatures are pure: bytes in, a verdict out",
    ),
    (
        "route",
        &["feed", "net", "proxy"],
        "matching is a pure function over model",
    ),
    (
        "feed",
        &["control", "store", "wire", "node", "fabric", "proxy"],
        "the contract knows neither side",
    ),
    (
        "fabric",
        &["control", "store", "wire", "ec2", "lattice"],
        "the network obeys the feed, not the API",
    ),
    (
        "node",
        &["control", "store", "wire", "ec2", "lattice", "observe"],
        "the data plane must live without control",
    ),
    (
        "control",
        &["node", "fabric", "instance", "proxy", "dns", "health"],
        "the planes meet in feed only",
    ),
];

/// Fails with every import that should not be.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut imports = BTreeMap::new();
    for entry in std::fs::read_dir(&root)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let manifest = std::fs::read_to_string(path.join("Cargo.toml"))
            .with_context(|| format!("{} has no manifest", path.display()))?;
        imports.insert(name, imported(&manifest));
    }
    let surprises = surprises(&imports);
    ensure!(surprises.is_empty(), "{}", surprises.join("\n"));
    Ok(())
}

/// Our own crates among the dependencies (not those of tests).
fn imported(manifest: &str) -> Vec<String> {
    let (_, rest) = manifest.split_once("[dependencies]").unwrap_or_default();
    let section = rest.split("\n[").next().unwrap_or_default();
    let ours = section
        .lines()
        .filter_map(|line| line.strip_prefix("lath-"));
    ours.filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

fn surprises(imports: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (who, whom, why) in FORBIDDEN {
        for import in imports.get(who).into_iter().flatten() {
            if whom.contains(&"*") || whom.contains(&import.as_str()) {
                found.push(format!("{who} imports {import}: {why}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_imports_whom_it_should_not() {
        check().unwrap();
    }

    #[test]
    fn a_forbidden_import_is_found_and_one_of_tests_is_not() {
        let manifest = "[dependencies]\nlath-store.workspace = true\nserde = \"1\"\n\n[dev-dependencies]\nlath-wire.workspace = true\n";
        let imports = BTreeMap::from([("node".to_owned(), imported(manifest))]);
        assert_eq!(
            surprises(&imports),
            ["node imports store: the data plane must live without control"]
        );
    }
}
