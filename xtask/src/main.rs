//! Development tasks that need the workspace: `cargo xtask compat`, `cargo xtask constraints`,
//! `cargo xtask deps`, `cargo xtask instance-types`.

mod constraints;
mod deps;
mod instance_types;
#[cfg(test)]
mod log_fields;
#[cfg(test)]
mod specification;

use std::process::Command;

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("compat") => compat(),
        Some("constraints") => constraints::write(),
        Some("deps") => deps::check(),
        Some("instance-types") => instance_types::write(),
        _ => bail!(
            "cargo xtask compat   writes docs/compatibility.md from the registry\n       cargo xtask constraints   writes the tables of what the models say of requests' values\n       cargo xtask deps     checks which crates import which\n       cargo xtask instance-types   writes the table of EC2's instance types from published facts"
        ),
    }
}

/// The registry is compiled into the server, so its own test writes the table.
fn compat() -> anyhow::Result<()> {
    if std::env::var_os("LATH_MODELS").is_none() {
        bail!(
            "LATH_MODELS is not set: tests/model/dump.py writes the models ({})",
            "see ./x"
        );
    }
    let status = Command::new("cargo")
        .args(["test", "-p", "lath", "the_compatibility_table_is_fresh"])
        .env("LATH_WRITE_DOCS", "1")
        .status()
        .context("cargo cannot be run")?;
    if !status.success() {
        bail!("the table could not be written");
    }
    Ok(())
}
