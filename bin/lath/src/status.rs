//! `lath status`: resources, health and traffic. The server sends it on a socket that only its owner can open.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use lath_status::{Cluster, Region, Status, Target};

use crate::cli::{self, Output};
use crate::{config, output, running};

/// The largest status that is read, in bytes.
const MAX_ANSWER: u64 = 256 << 20;

/// Reads the status of the running server.
pub(crate) fn fetch(data_dir: &Path) -> anyhow::Result<Status> {
    let socket = crate::admin::socket(&running::run_dir(data_dir));
    let read = || -> std::io::Result<Vec<u8>> {
        let stream = UnixStream::connect(&socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = read().with_context(|| {
        format!(
            "no `lath serve` answers at {} (--data-dir?)",
            socket.display()
        )
    })?;
    serde_json::from_slice(&answer).context("the server's answer is not a status")
}

pub(crate) fn main(flags: &cli::Status) -> anyhow::Result<()> {
    let status = fetch(&config::data_dir(&flags.data_dir_flag))?;
    let text = match flags.output {
        Output::Json => serde_json::to_string_pretty(&status)? + "\n",
        Output::Text => print(&status)?,
    };
    output::print(&text)
}

fn dash(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("-")
}

fn print(status: &Status) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "Lath {} at {}: {} ({}), account {}, process {}",
        status.version, status.endpoint, status.region, status.mode, status.account, status.pid
    )?;
    for trouble in &status.trouble {
        writeln!(text, "DEGRADED: {}", parts(trouble).join("\n  "))?;
    }
    if status.applied_revision < status.revision {
        writeln!(
            text,
            "Revision applied by the network: {} of {}",
            status.applied_revision, status.revision
        )?;
    }
    if status.access_logs_dropped > 0 {
        writeln!(
            text,
            "Access log records dropped: {}",
            status.access_logs_dropped
        )?;
    }
    regions(&mut text, &status.regions)?;
    table(
        &mut text,
        [
            "VPC",
            "NAME",
            "CIDR",
            "SUBNETS",
            "INTERFACES",
            "SERVICE NETWORK",
            "STATE",
        ],
        status.vpcs.iter().map(|v| {
            [
                v.id.clone(),
                dash(&v.name).into(),
                v.cidrs.join(","),
                v.subnets.to_string(),
                v.interfaces.to_string(),
                dash(&v.service_network).into(),
                v.state.clone(),
            ]
        }),
    )?;
    table(
        &mut text,
        ["INSTANCE", "NAME", "VPC", "PRIVATE", "PUBLIC", "STATE"],
        status.instances.iter().map(|i| {
            [
                i.id.clone(),
                dash(&i.name).into(),
                i.vpc.clone(),
                dash(&i.private_address).into(),
                dash(&i.public_address).into(),
                i.state.clone(),
            ]
        }),
    )?;
    clusters(&mut text, &status.clusters)?;
    table(
        &mut text,
        ["SERVICE NETWORK", "NAME", "VPCS", "SERVICES"],
        status.service_networks.iter().map(|n| {
            [
                n.id.clone(),
                n.name.clone(),
                n.vpcs.to_string(),
                n.services.to_string(),
            ]
        }),
    )?;
    table(
        &mut text,
        [
            "SERVICE",
            "NAME",
            "ADDRESS",
            "LISTENERS",
            "REQUESTS",
            "5XX",
            "STATE",
            "DOMAIN NAME",
        ],
        status.services.iter().map(|s| {
            [
                s.id.clone(),
                s.name.clone(),
                s.address.clone(),
                s.listeners.join(","),
                s.requests.to_string(),
                s.errors_5xx.to_string(),
                s.state.clone(),
                s.domain_name.clone(),
            ]
        }),
    )?;
    let targets = status.target_groups.iter().flat_map(|group| {
        group.targets.iter().map(move |t| {
            [
                group.id.clone(),
                group.name.clone(),
                format!("{}:{}", t.id, t.port),
                t.health.clone(),
                reason(t),
            ]
        })
    });
    table(
        &mut text,
        ["TARGET GROUP", "NAME", "TARGET", "HEALTH", "REASON"],
        targets,
    )?;
    let canaries = status.canaries.iter().map(|canary| {
        let step = canary.step.zip(canary.steps);
        let step = step.map(|(step, steps)| format!(" ({step} of {steps})"));
        [
            canary.rule.clone(),
            canary.target_group.clone(),
            canary.phase.clone() + step.as_deref().unwrap_or_default(),
            canary.since.clone(),
            dash(&canary.reason).into(),
        ]
    });
    let head = ["CANARY OF", "TARGET GROUP", "PHASE", "SINCE", "REASON"];
    table(&mut text, head, canaries)?;
    Ok(text)
}

fn reason(target: &Target) -> String {
    match &target.ejection {
        None => dash(&target.reason).into(),
        Some(it) => {
            let ejected = format!("ejected from {} to {}: {}", it.since, it.until, it.reason);
            let reason = target.reason.iter().cloned();
            reason.chain([ejected]).collect::<Vec<_>>().join("\n")
        }
    }
}

fn clusters(text: &mut String, clusters: &[Cluster]) -> std::fmt::Result {
    let rows = clusters.iter().map(|cluster| {
        let ready = cluster.nodes.iter().filter(|node| node.ready).count();
        [
            cluster.name.clone(),
            cluster.region.clone(),
            dash(&cluster.version).into(),
            format!("{ready}/{}", cluster.nodes.len()),
            cluster.state.clone(),
        ]
    });
    let head = ["CLUSTER", "REGION", "VERSION", "NODES READY", "STATE"];
    table(text, head, rows)?;
    let nodes = clusters.iter().flat_map(|cluster| {
        cluster.nodes.iter().map(move |node| {
            let reason = node.reason.as_deref().unwrap_or("not ready");
            [
                node.name.clone(),
                cluster.name.clone(),
                node.instance.clone(),
                node.pods.to_string(),
                if node.ready { "ready" } else { reason }.into(),
            ]
        })
    });
    table(
        text,
        ["NODE", "CLUSTER", "INSTANCE", "PODS", "STATE"],
        nodes,
    )
}

fn regions(text: &mut String, regions: &[Region]) -> std::fmt::Result {
    let rows = regions.iter().flat_map(|region| {
        region.processes.iter().map(move |process| {
            [
                region.name.clone() + if region.home { " (home)" } else { "" },
                process.role.clone(),
                process.state.clone() + if process.adopted { " (adopted)" } else { "" },
                process
                    .pid
                    .map_or_else(|| "-".into(), |pid| pid.to_string()),
                dash(&process.since).into(),
                process.restarts.to_string(),
            ]
        })
    });
    table(
        text,
        ["REGION", "ROLE", "STATE", "PROCESS", "SINCE", "RESTARTS"],
        rows,
    )?;
    let links = regions.iter().flat_map(|region| {
        region.links.iter().map(move |(other, link)| {
            let state = if link.connected {
                "connected"
            } else {
                "cut off"
            };
            [
                region.name.clone(),
                other.clone(),
                state.into(),
                link.since.clone(),
            ]
        })
    });
    table(text, ["LINK FROM", "TO", "STATE", "SINCE"], links)
}

/// The lines of a text that a program may have said, as they are safe to print.
fn parts(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let plain = |line: &str| line.trim_end().replace(char::is_control, " ");
    lines.map(plain).collect()
}

/// A row as lines of a table: where a cell has several lines, the others follow below the first, indented.
fn folded<const N: usize>(row: [String; N]) -> Vec<[String; N]> {
    let cells = row.map(|cell| parts(&cell));
    let height = cells.iter().map(Vec::len).max().unwrap_or_default();
    let line = |at: usize| {
        std::array::from_fn(|column| {
            let part = cells[column].get(at).map_or("", String::as_str);
            match (at, part) {
                (0, _) | (_, "") => part.to_owned(),
                _ => format!("  {part}"),
            }
        })
    };
    (0..height.max(1)).map(line).collect()
}

/// Prints a table with columns as wide as their widest cell. Prints nothing if there are no rows.
fn table<const N: usize>(
    text: &mut String,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> std::fmt::Result {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.flat_map(folded));
    if lines.len() == 1 {
        return Ok(());
    }
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    writeln!(text)?;
    for line in &lines {
        let cells = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let mut text = String::new();
        table(
            &mut text,
            ["A", "LONG"],
            [["xyz".into(), "1".into()]].into_iter(),
        )
        .unwrap();
        assert_eq!(text, "\nA    LONG\nxyz  1\n");
        let mut folded = String::new();
        let state = "it fails: one\n\n\ttwo\u{1b}[0m\nthree\n";
        let rows = [["a".into(), state.into()], ["b".into(), "ready".into()]];
        table(&mut folded, ["A", "STATE"], rows.into_iter()).unwrap();
        let want = "\nA  STATE\na  it fails: one\n      two [0m\n     three\nb  ready\n";
        assert_eq!(folded, want);
        let mut none = String::new();
        table(&mut none, ["A"], std::iter::empty()).unwrap();
        assert_eq!(none, "");
    }
}
