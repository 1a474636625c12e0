//! `lath doctor`: what this machine lacks, and how to get it; or what a data directory holds.

mod data;

use std::process::{Command, ExitCode};

use serde::Serialize;

use crate::cli::{self, Output};
use crate::output;

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// Whether Lath cannot do without; otherwise something lesser does not work.
    needed: bool,
    how_to_fix: Option<String>,
}

/// Fails when something is lacking that Lath cannot do without.
pub(crate) fn main(flags: &cli::Doctor) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &flags.data_dir {
        return data::main(directory, flags);
    }
    let findings = look();
    let (lacking, weaker) = (count(&findings, true), count(&findings, false));
    let text = match flags.output {
        Output::Json => serde_json::to_string_pretty(&findings)? + "\n",
        Output::Text => {
            let lines: String = findings.iter().map(Finding::text).collect();
            let count = findings.len();
            format!("{lines}\n{count} looked at: {lacking} lacking, {weaker} weaker\n")
        }
    };
    output::print(&text)?;
    Ok(if lacking == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Finding {
    fn text(&self) -> String {
        let fix = self.how_to_fix.as_deref().filter(|_| !self.ok);
        let fix = fix.map_or(String::new(), |fix| format!("      {fix}\n"));
        format!("{}  {}\n{fix}", self.verdict(), self.what)
    }

    fn verdict(&self) -> &'static str {
        match (self.ok, self.needed) {
            (true, _) => "ok  ",
            (false, true) => "LACK",
            (false, false) => "weak",
        }
    }
}

fn count(findings: &[Finding], needed: bool) -> usize {
    findings
        .iter()
        .filter(|finding| !finding.ok && finding.needed == needed)
        .count()
}

/// As an ordinary user everything is tried where `lath serve` would be: in a user namespace.
fn look() -> Vec<Finding> {
    let mut findings = vec![];
    if let Err(error) = lath_fabric::enter_user_namespace() {
        let error = anyhow::Error::from(error);
        findings.push(Finding {
            what: "a user namespace, in which Lath is root though you are not".into(),
            ok: false,
            needed: true,
            how_to_fix: Some(format!("{error:#}; or run as root")),
        });
        // Without it every other trial fails for the same reason.
        return findings;
    }
    findings.extend(["bash", "curl", "python3"].map(tool));
    findings.extend(
        lath_fabric::doctor::probe()
            .into_iter()
            .map(|finding| Finding {
                what: finding.what.into(),
                ok: finding.ok,
                needed: finding.needed,
                how_to_fix: Some(finding.how_to_fix),
            }),
    );
    findings.extend(
        lath_instance::doctor::probe()
            .into_iter()
            .map(|finding| Finding {
                what: finding.what,
                ok: finding.ok,
                needed: finding.needed,
                how_to_fix: finding.how_to_fix,
            }),
    );
    findings
}

/// Instances are copies of this host: what it lacks, they lack.
fn tool(name: &str) -> Finding {
    let found = Command::new(name)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    Finding {
        what: format!("{name}, which user data of instances usually needs"),
        ok: found,
        needed: false,
        how_to_fix: Some(format!("apt-get install {name}")),
    }
}
