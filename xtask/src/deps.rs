//! Which crate imports which.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Every crate, and whom of ours it imports: all of it, so that a new import is a decision that somebody reads here.
/// `bin/lath` may import everything.
const IMPORTS: [(&str, &[&str]); 30] = [
    // Values and pure functions: no runtime, socket or file.
    ("model", &[]),
    ("policy", &[]),
    ("route", &["model"]),
    ("session", &["model"]),
    ("sigv4", &[]),
    // Sockets in places.
    ("net", &["model"]),
    // The API: wire formats, state, what operations need permission for.
    ("wire", &["model", "net", "sigv4"]),
    ("store", &["wire"]),
    ("authz", &["model", "store", "wire"]),
    // The contract between the planes knows neither.
    ("feed", &["model"]),
    // The control plane and its services.
    ("control", &["feed", "model", "store", "wire"]),
    // What services are written with.
    ("service", &["authz", "control", "store", "wire"]),
    (
        "iam",
        &[
            "authz", "control", "feed", "model", "policy", "service", "sigv4", "store", "wire",
        ],
    ),
    (
        "identity",
        &[
            "authz", "control", "iam", "model", "policy", "service", "session", "sigv4", "store",
            "wire",
        ],
    ),
    (
        "ec2",
        &[
            "authz", "control", "feed", "iam", "model", "policy", "service", "session", "store",
            "wire",
        ],
    ),
    (
        "lattice",
        &[
            "authz", "control", "ec2", "feed", "model", "policy", "service", "store", "wire",
        ],
    ),
    (
        "route53",
        &[
            "authz", "control", "ec2", "feed", "model", "service", "store", "wire", "zones",
        ],
    ),
    (
        "observe",
        &[
            "authz", "control", "feed", "model", "service", "store", "wire",
        ],
    ),
    ("eks", &["authz", "model", "service", "store", "wire"]),
    // The data plane obeys the feed and lives without control.
    ("zones", &["feed", "model"]),
    ("health", &["feed", "model", "net"]),
    ("tunnel", &["feed", "model", "net"]),
    ("mesh", &["feed", "model", "net", "tunnel"]),
    (
        "checks",
        &["feed", "health", "mesh", "model", "net", "zones"],
    ),
    ("dns", &["feed", "health", "model", "net", "zones"]),
    ("fabric", &["feed", "model", "net"]),
    ("instance", &["feed", "model", "net"]),
    (
        "proxy",
        &["feed", "health", "model", "net", "policy", "route", "sigv4"],
    ),
    ("drill", &["model"]),
    (
        "node",
        &[
            "checks", "dns", "drill", "fabric", "feed", "health", "instance", "mesh", "model",
            "net", "policy", "proxy", "session", "sigv4", "tunnel",
        ],
    ),
];

/// What the planes must never share, whatever the table above says.
const NEVER: [(&str, &[&str], &str); 2] = [
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
    for (who, whom) in imports {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| name == who) else {
            found.push(format!("{who} is not in the table of xtask/src/deps.rs"));
            continue;
        };
        let new = whom.iter().filter(|it| !allowed.contains(&it.as_str()));
        found.extend(new.map(|it| format!("{who} imports {it}: the table does not have that")));
        let gone = allowed
            .iter()
            .filter(|it| !whom.iter().any(|import| import == *it));
        found.extend(
            gone.map(|it| format!("{who} does not import {it} any more: take it out of the table")),
        );
    }
    for (who, whom, why) in NEVER {
        let imports = imports.get(who).into_iter().flatten();
        let wrong = imports.filter(|it| whom.contains(&it.as_str()));
        found.extend(wrong.map(|it| format!("{who} imports {it}: {why}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_imports_what_the_table_says() {
        check().unwrap();
    }

    #[test]
    fn a_new_import_is_found_and_one_of_tests_is_not() {
        let manifest = "[dependencies]\nlath-model.workspace = true\nlath-store.workspace = true\n\n[dev-dependencies]\nlath-wire.workspace = true\n";
        let imports = BTreeMap::from([("drill".to_owned(), imported(manifest))]);
        assert_eq!(
            surprises(&imports),
            ["drill imports store: the table does not have that"]
        );
        let imports = BTreeMap::from([("novel".to_owned(), Vec::new())]);
        assert_eq!(
            surprises(&imports),
            ["novel is not in the table of xtask/src/deps.rs"]
        );
    }
}
