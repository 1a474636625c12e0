//! `lath doctor`: checks what this machine lacks and how to get it, or whether a data directory is intact.

mod data;

use std::process::{Command, ExitCode};

use serde::Serialize;

use crate::cli::{self, Output};
use crate::output;

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// Whether Lath cannot run without it; otherwise only some features do not work.
    needed: bool,
    how_to_fix: Option<String>,
}

/// The exit code is a failure when something needed is missing.
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
            format!(
                "{lines}\n{count} checks: {lacking} needed but missing, {weaker} optional and missing\n"
            )
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
            (false, true) => "MISS",
            (false, false) => "opt ",
        }
    }
}

fn count(findings: &[Finding], needed: bool) -> usize {
    findings
        .iter()
        .filter(|finding| !finding.ok && finding.needed == needed)
        .count()
}

/// Runs all checks. Without root they run in a user namespace, as `lath serve` would.
fn look() -> Vec<Finding> {
    let mut findings = vec![];
    if let Err(error) = lath_fabric::enter_user_namespace() {
        let error = anyhow::Error::from(error);
        findings.push(Finding {
            what: "a user namespace, in which Lath is root although you are not".into(),
            ok: false,
            needed: true,
            how_to_fix: Some(format!("{error:#}; or run as root")),
        });
        // Without it every other check fails for the same reason.
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
    findings.extend(["containerd", "runc"].map(runtime));
    findings.push(nft());
    findings.push(kubernetes());
    findings
}

/// Nodes of clusters are copies of this host too.
fn runtime(name: &str) -> Finding {
    Finding {
        what: format!("{name}, which runs containers on nodes of clusters"),
        ok: lath_kubernetes::binaries::runtime_program(name).is_some(),
        needed: false,
        how_to_fix: Some(format!("apt-get install {name}")),
    }
}

/// kube-proxy runs it.
fn nft() -> Finding {
    Finding {
        ok: tool("nft").ok,
        what: "nft, by which nodes of clusters send packets for Services to pods".into(),
        needed: false,
        how_to_fix: Some("apt-get install nftables".into()),
    }
}

fn kubernetes() -> Finding {
    let found = lath_kubernetes::Binaries::find();
    let version = found.as_ref().map(|it| format!(" ({})", it.version));
    Finding {
        what: format!(
            "the programs of Kubernetes, for clusters{}",
            version.unwrap_or_default()
        ),
        ok: found.is_ok(),
        needed: false,
        how_to_fix: found.err().map(|error| error.to_string()),
    }
}

/// Instances are copies of this host, so a tool that it lacks is missing in them too.
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
