//! Which crate imports which.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Every crate, and which of Lath's crates it imports: all of it, so that a new import is a decision that a reviewer reads here.
/// `bin/lath` may import everything.
const IMPORTS: [(&str, &[&str]); 55] = [
    // Values and pure functions: no runtime, socket or file.
    ("model", &[]),
    ("policy", &[]),
    ("route", &["model"]),
    ("session", &["model"]),
    ("sigv4", &[]),
    // The one crate that reads the machine's wall clock.
    ("clock", &["model"]),
    // Keys and certificates.
    ("ca", &["model", "session"]),
    // A program of its own inside nodes of clusters: the kernel, and nothing of Lath.
    ("cni", &[]),
    // Tokens of strangers, and the keys that prove them.
    ("oidc", &[]),
    // What `lath status` tells, for whatever shows it.
    ("status", &[]),
    // Tasks that end together.
    ("tasks", &[]),
    // Sockets in places.
    ("net", &["model"]),
    // Images for nodes of clusters.
    ("registry", &["clock", "net"]),
    // The API: wire formats, state, what operations need permission for.
    ("wire", &["model", "sigv4"]),
    ("door", &["clock", "model", "net", "sigv4", "wire"]),
    // The published models: tests and xtask hold services to them, nothing that runs reads one.
    ("oracle", &["wire"]),
    ("store", &["clock", "model"]),
    ("authz", &["model", "store", "wire"]),
    // The contract between the planes knows neither.
    ("feed", &["model"]),
    // Names and certificates of workloads.
    ("svid", &["ca", "feed", "model"]),
    // Clusters as data: keys, what they run, who a token names. Both planes read it.
    (
        "kubernetes",
        &["clock", "feed", "instance", "model", "net", "oidc", "sigv4"],
    ),
    // The control plane and its services.
    (
        "control",
        &["ca", "clock", "feed", "model", "store", "tasks", "wire"],
    ),
    // What services are written with.
    ("service", &["authz", "control", "store", "wire"]),
    (
        "iam",
        &[
            "authz", "control", "feed", "model", "policy", "service", "sigv4", "store", "wire",
        ],
    ),
    // The installation's secrets in files, who callers are and what they may do, sessions.
    (
        "secrets",
        &[
            "authz", "model", "service", "session", "sigv4", "store", "wire",
        ],
    ),
    (
        "judge",
        &[
            "authz", "clock", "control", "iam", "model", "policy", "secrets", "service", "session",
            "sigv4", "store", "wire",
        ],
    ),
    (
        "sts",
        &[
            "authz", "iam", "judge", "model", "oidc", "policy", "service", "session", "store",
            "wire",
        ],
    ),
    // What others read of EC2: no operation is handled there.
    (
        "ec2-records",
        &[
            "authz", "control", "feed", "model", "service", "store", "wire",
        ],
    ),
    // What EC2's operations are written with.
    (
        "ec2-kit",
        &[
            "authz",
            "control",
            "ec2-records",
            "model",
            "service",
            "store",
            "wire",
        ],
    ),
    (
        "ec2-network",
        &[
            "authz",
            "control",
            "ec2-kit",
            "ec2-records",
            "feed",
            "model",
            "service",
            "store",
            "wire",
        ],
    ),
    (
        "ec2-transit",
        &[
            "authz",
            "control",
            "ec2-kit",
            "ec2-network",
            "ec2-records",
            "feed",
            "model",
            "service",
            "store",
            "wire",
        ],
    ),
    (
        "ec2-compute",
        &[
            "authz",
            "control",
            "ec2-kit",
            "ec2-network",
            "ec2-records",
            "feed",
            "iam",
            "model",
            "service",
            "session",
            "store",
            "wire",
        ],
    ),
    // Puts them together.
    (
        "ec2",
        &[
            "authz",
            "control",
            "ec2-compute",
            "ec2-kit",
            "ec2-network",
            "ec2-records",
            "ec2-transit",
            "service",
            "store",
            "wire",
        ],
    ),
    (
        "lattice",
        &[
            "acm",
            "authz",
            "ca",
            "clock",
            "control",
            "ec2-records",
            "feed",
            "lambda",
            "model",
            "policy",
            "service",
            "session",
            "store",
            "wire",
        ],
    ),
    (
        "route53",
        &[
            "authz",
            "control",
            "ec2-records",
            "feed",
            "model",
            "service",
            "store",
            "wire",
            "zones",
        ],
    ),
    (
        "cloudwatch",
        &[
            "authz", "clock", "control", "feed", "model", "service", "store", "wire",
        ],
    ),
    (
        "acm",
        &[
            "authz", "ca", "control", "model", "service", "store", "wire",
        ],
    ),
    (
        "ecr",
        &[
            "authz", "control", "model", "policy", "registry", "service", "store", "wire",
        ],
    ),
    (
        "cloudformation",
        &[
            "authz", "control", "iam", "model", "service", "store", "wire",
        ],
    ),
    (
        "eks",
        &[
            "authz",
            "control",
            "ec2-compute",
            "ec2-records",
            "feed",
            "iam",
            "kubernetes",
            "model",
            "service",
            "store",
            "wire",
        ],
    ),
    // The data plane obeys the feed and lives without control.
    ("zones", &["feed", "model"]),
    ("health", &["clock", "feed", "model", "net"]),
    ("tunnel", &["clock", "feed", "model", "net"]),
    ("mesh", &["clock", "feed", "model", "net", "tunnel"]),
    (
        "health-checkers",
        &["clock", "feed", "health", "mesh", "model", "net", "zones"],
    ),
    ("dns", &["feed", "health", "model", "net", "zones"]),
    ("fabric", &["feed", "model", "net"]),
    ("instance", &["clock", "feed", "model", "net", "svid"]),
    (
        "proxy",
        &[
            "ca", "clock", "feed", "health", "model", "net", "policy", "route", "session", "sigv4",
            "svid",
        ],
    ),
    ("drill", &["clock", "model"]),
    // Both planes have a hand on archives of code.
    ("code", &[]),
    (
        "function",
        &["clock", "code", "feed", "instance", "model", "net"],
    ),
    (
        "lambda",
        &[
            "authz", "code", "control", "feed", "iam", "model", "policy", "service", "session",
            "store", "wire",
        ],
    ),
    // A client of two APIs like any other.
    ("gateway", &["clock"]),
    (
        "node",
        &[
            "clock",
            "dns",
            "drill",
            "fabric",
            "feed",
            "function",
            "health",
            "health-checkers",
            "instance",
            "kubernetes",
            "mesh",
            "model",
            "net",
            "policy",
            "proxy",
            "registry",
            "session",
            "sigv4",
            "svid",
            "tasks",
            "tunnel",
        ],
    ),
];

/// What the tests of a crate import beside it. A test that needs much of the house belongs to `conformance`.
const IMPORTS_OF_TESTS: [(&str, &[&str]); 16] = [
    ("acm", &["clock", "oracle"]),
    ("ca", &["clock"]),
    ("cloudformation", &["oracle"]),
    (
        "ec2",
        &[
            "clock", "door", "feed", "iam", "judge", "model", "oracle", "secrets", "sts",
        ],
    ),
    ("ec2-compute", &["clock"]),
    ("eks", &["clock", "ec2"]),
    ("feed", &["clock"]),
    ("iam", &["oracle"]),
    ("lambda", &["oracle"]),
    ("lattice", &["oracle"]),
    ("node", &["cni"]),
    ("oracle", &["model"]),
    ("proxy", &["mesh"]),
    ("route53", &["oracle"]),
    ("secrets", &["oracle"]),
    (
        "sts",
        &["clock", "control", "door", "oracle", "secrets", "sigv4"],
    ),
];

/// What the planes must never share, whatever the tables above say, in tests neither.
const NEVER: [(&str, &[&str], &str); 2] = [
    (
        "node",
        &[
            "control",
            "store",
            "wire",
            "ec2",
            "ec2-compute",
            "ec2-kit",
            "ec2-network",
            "ec2-records",
            "ec2-transit",
            "lattice",
            "cloudwatch",
        ],
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
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(&root)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let manifest = std::fs::read_to_string(path.join("Cargo.toml"))
            .with_context(|| format!("{} has no manifest", path.display()))?;
        all.insert(name, Imports::of(&manifest)?);
    }
    let surprises = surprises(&all);
    ensure!(surprises.is_empty(), "{}", surprises.join("\n"));
    Ok(())
}

/// Our own crates among a crate's dependencies.
#[derive(Debug, Default)]
struct Imports {
    /// Those of the crate and of its build script.
    own: Vec<String>,
    of_tests: Vec<String>,
}

impl Imports {
    /// Of whatever form and for whatever target.
    fn of(manifest: &str) -> anyhow::Result<Self> {
        let manifest: toml::Table = manifest.parse().context("a manifest is no TOML")?;
        let mut found = Self::default();
        found.add(&manifest);
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        for target in targets.into_iter().flat_map(toml::Table::values) {
            target.as_table().into_iter().for_each(|it| found.add(it));
        }
        Ok(found)
    }

    fn add(&mut self, table: &toml::Table) {
        let ours = |section: &str| {
            let names = table.get(section).and_then(toml::Value::as_table);
            let names = names.into_iter().flat_map(toml::Table::keys);
            names.filter_map(|name| name.strip_prefix("lath-").map(str::to_owned))
        };
        self.own.extend(ours("dependencies"));
        self.own.extend(ours("build-dependencies"));
        self.of_tests.extend(ours("dev-dependencies"));
    }
}

fn surprises(all: &BTreeMap<String, Imports>) -> Vec<String> {
    let mut found = Vec::new();
    for (who, imports) in all {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| name == who) else {
            found.push(format!("{who} is not in the table of xtask/src/deps.rs"));
            continue;
        };
        let of_tests = IMPORTS_OF_TESTS.iter().find(|(name, _)| name == who);
        let of_tests = of_tests.map_or(&[][..], |(_, allowed)| allowed);
        found.extend(differences(who, &imports.own, allowed));
        let tests = format!("a test of {who}");
        found.extend(differences(&tests, &imports.of_tests, of_tests));
    }
    for (who, whom, why) in NEVER {
        let imports = all.get(who);
        let imports = imports
            .into_iter()
            .flat_map(|it| it.own.iter().chain(&it.of_tests));
        let wrong = imports.filter(|it| whom.contains(&it.as_str()));
        found.extend(wrong.map(|it| format!("{who} imports {it}: {why}")));
    }
    found
}

fn differences(who: &str, whom: &[String], allowed: &[&str]) -> Vec<String> {
    let new = whom.iter().filter(|it| !allowed.contains(&it.as_str()));
    let new = new.map(|it| format!("{who} imports {it}: the table does not have that"));
    let gone = allowed
        .iter()
        .filter(|it| !whom.iter().any(|import| import == *it));
    let gone =
        gone.map(|it| format!("{who} does not import {it} any more: take it out of the table"));
    new.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_imports_what_the_table_says() {
        check().unwrap();
    }

    fn found(name: &str, manifest: &str) -> Vec<String> {
        let imports = Imports::of(manifest).unwrap();
        surprises(&BTreeMap::from([(name.to_owned(), imports)]))
    }

    #[test]
    fn a_new_import_is_found() {
        let own = "[dependencies]\nlath-clock.workspace = true\nlath-model.workspace = true\n";
        assert_eq!(found("drill", own), Vec::<String>::new());
        for more in [
            "lath-store.workspace = true",
            "[dependencies.lath-store]\npath = \"../store\"",
            "[build-dependencies]\nlath-store = { path = \"../store\" }",
            "[target.'cfg(unix)'.dependencies]\nlath-store.workspace = true",
        ] {
            assert_eq!(
                found("drill", &format!("{own}{more}\n")),
                ["drill imports store: the table does not have that"],
                "{more}"
            );
        }
        assert_eq!(
            found("novel", ""),
            ["novel is not in the table of xtask/src/deps.rs"]
        );
    }

    #[test]
    fn tests_have_a_table_too() {
        let own = "[dependencies]\nlath-clock.workspace = true\nlath-model.workspace = true\n";
        let more = "[dev-dependencies]\nlath-wire.workspace = true\n";
        assert_eq!(
            found("drill", &format!("{own}{more}")),
            ["a test of drill imports wire: the table does not have that"]
        );
        let control = "[dependencies]\nlath-ca.workspace = true\nlath-clock.workspace = true\n\
                       lath-feed.workspace = true\nlath-model.workspace = true\n\
                       lath-store.workspace = true\nlath-tasks.workspace = true\n\
                       lath-wire.workspace = true\n\
                       [dev-dependencies]\nlath-node.workspace = true\n";
        assert_eq!(
            found("control", control),
            [
                "a test of control imports node: the table does not have that",
                "control imports node: the planes meet in feed only"
            ]
        );
    }
}
