//! Writes what the published models say of requests' values as tables, one for each service, and holds the tables to the
//! models.

mod passed_over;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, bail};
use lath_oracle::constraint_table;
use serde_json::Value;

use passed_over::PASSED_OVER;

/// Where the table of each model stands.
const TABLES: [(&str, &str); 15] = [
    ("acm", "crates/acm/src/bounds.rs"),
    ("acm-pca", "crates/acm/src/pca/bounds.rs"),
    ("cloudformation", "crates/cloudformation/src/bounds.rs"),
    ("cloudwatch", "crates/cloudwatch/src/monitoring/bounds.rs"),
    ("ec2", "crates/ec2/src/bounds.rs"),
    ("ecr", "crates/ecr/src/bounds.rs"),
    ("eks", "crates/eks/src/bounds.rs"),
    ("eks-auth", "crates/sts/src/bounds/eks_auth.rs"),
    ("iam", "crates/iam/src/bounds.rs"),
    ("lambda", "crates/lambda/src/bounds.rs"),
    ("logs", "crates/cloudwatch/src/logs/bounds.rs"),
    ("route53", "crates/route53/src/bounds.rs"),
    ("secretsmanager", "crates/secrets/src/bounds.rs"),
    ("sts", "crates/sts/src/bounds/sts.rs"),
    ("vpc-lattice", "crates/lattice/src/bounds.rs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes every table.
pub(crate) fn write() -> anyhow::Result<()> {
    let Some(tables) = tables()? else {
        bail!("LATH_MODELS is not set: tests/model/dump.py writes the models (see ./x)");
    };
    for (path, source) in tables {
        let place = root().join(path);
        // What is as it was is not compiled again.
        if fs::read_to_string(&place).is_ok_and(|stored| stored == source) {
            continue;
        }
        fs::write(place, source).with_context(|| format!("{path} is not written"))?;
    }
    Ok(())
}

/// The tables as they should be, by their paths; `None` without models.
fn tables() -> anyhow::Result<Option<Vec<(&'static str, String)>>> {
    let Some(models) = env::var_os("LATH_MODELS") else {
        return Ok(None);
    };
    let models: Value = serde_json::from_slice(&fs::read(models)?)?;
    let text = fs::read_to_string(root().join("docs/compatibility.md"))?;
    let served = served(&text);
    let mut tables = Vec::new();
    for (model, path) in TABLES {
        let operations = served.get(model).map(Vec::as_slice).unwrap_or_default();
        let table = constraint_table(&models, model, operations, PASSED_OVER);
        tables.push((path, table.map_err(anyhow::Error::msg)?));
    }
    Ok(Some(tables))
}

/// The operations that the compatibility table has as served, by model. The registry wrote it.
fn served(table: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut served: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut model = "";
    for line in table.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            model = name;
        }
        let mut cells = line.split('|').map(str::trim).skip(1);
        if let (Some(operation), Some("yes")) = (cells.next(), cells.next()) {
            served.entry(model).or_default().push(operation);
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length, range and pattern of what is served is in a table or in [`PASSED_OVER`].
    #[test]
    fn the_tables_are_those_of_the_models() {
        for (path, source) in tables().unwrap().unwrap_or_default() {
            let stored = fs::read_to_string(root().join(path)).unwrap_or_default();
            assert!(
                stored == source,
                "{path} is stale: run `cargo xtask constraints`"
            );
        }
    }

    #[test]
    fn every_served_model_has_a_table() {
        let text = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
        let served = served(&text);
        let known = TABLES.map(|(model, _)| model);
        let strange: Vec<_> = served.keys().filter(|it| !known.contains(it)).collect();
        assert!(strange.is_empty(), "{strange:?} have no table");
        assert!(served.values().all(|it| !it.is_empty()) && served.len() == known.len());
    }

    #[test]
    fn what_is_passed_over_has_a_reason() {
        for it in PASSED_OVER {
            assert!(it.reason.len() > 20, "{it:?}");
        }
    }
}
