//! `lath doctor`: what this machine lacks, and how to get it.

use std::process::{Command, ExitCode};

use serde::Serialize;

use crate::cli::{self, Output};

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    how_to_fix: Option<String>,
}

/// Fails when something is lacking that Lath cannot do without.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(crate) fn main(flags: &cli::Doctor) -> anyhow::Result<ExitCode> {
    let findings = look();
    let lacking = findings.iter().filter(|finding| !finding.ok).count();
    match flags.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings)?),
        Output::Text => {
            for finding in &findings {
                println!(
                    "{}  {}",
                    if finding.ok { "ok  " } else { "LACK" },
                    finding.what
                );
                if let Some(fix) = finding.how_to_fix.as_deref().filter(|_| !finding.ok) {
                    println!("      {fix}");
                }
            }
            println!("\n{} looked at, {lacking} lacking", findings.len());
        }
    }
    Ok(if lacking == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn look() -> Vec<Finding> {
    let mut findings = vec![tool("bash"), tool("curl"), tool("python3")];
    findings.extend(
        lath_fabric::doctor::probe()
            .into_iter()
            .map(|finding| Finding {
                what: finding.what.into(),
                ok: finding.ok,
                how_to_fix: Some(finding.how_to_fix),
            }),
    );
    findings.extend(
        lath_instance::doctor::probe()
            .into_iter()
            .map(|finding| Finding {
                what: finding.what,
                ok: finding.ok,
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
        how_to_fix: Some(format!("apt-get install {name}")),
    }
}
