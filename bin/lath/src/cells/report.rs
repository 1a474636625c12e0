//! Status and metrics of an installation with several regions, merged from the regions' reports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use lath_status::{Process, Region, Status};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::front;
use super::layout::Layout;
use super::process::Role;
use super::process_supervisor::{Phase, State};
use crate::running::Running;

/// A supervised process and its state.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) cell: String,
    pub(crate) role: Role,
    pub(crate) state: watch::Receiver<State>,
}

/// Merges the regions' reports.
#[derive(Clone)]
pub(crate) struct Merger(Arc<Inner>);

struct Inner {
    layout: Layout,
    running: Running,
    mode: &'static str,
    processes: Vec<Watched>,
}

impl Merger {
    pub(crate) fn new(
        layout: &Layout,
        running: Running,
        extended: bool,
        processes: Vec<Watched>,
    ) -> Self {
        let mode = if extended { "extended" } else { "strict" };
        Self(Arc::new(Inner {
            layout: layout.clone(),
            running,
            mode,
            processes,
        }))
    }

    /// Every region's answer to an internal request; `None` for a region that does not answer.
    async fn ask(&self, path: &'static str) -> BTreeMap<String, Option<Bytes>> {
        let mut asked = JoinSet::new();
        for region in self.0.running.regions.clone() {
            let socket = self.0.layout.api_socket(&region);
            asked.spawn(async move { (region, front::ask(&socket, path).await.ok()) });
        }
        asked.join_all().await.into_iter().collect()
    }

    /// The status as JSON.
    pub(crate) async fn status(self) -> String {
        let running = &self.0.running;
        let mut whole = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: running.pid,
            endpoint: running.endpoint.clone(),
            region: running.region.clone(),
            account: running.account.clone(),
            dns: running.dns.clone(),
            mode: self.0.mode.into(),
            ..Status::default()
        };
        for (name, answer) in self.ask("/_lath/status").await {
            let status = answer.and_then(|bytes| serde_json::from_slice::<Status>(&bytes).ok());
            let mut region = Region {
                home: name == running.region,
                answers: status.is_some(),
                processes: self.processes(&name),
                name,
                ..Region::default()
            };
            whole.trouble.extend(self.refusal(&region.name));
            whole.trouble.extend(self.failures(&region.name));
            if let Some(mut status) = status {
                let trouble = std::mem::take(&mut status.trouble).into_iter();
                let trouble = trouble.map(|text| format!("{}: {text}", region.name));
                whole.trouble.extend(trouble);
                region.revision = status.revision;
                region.applied_revision = status.applied_revision;
                region.dns = status.dns.clone();
                region.links = status.links.clone();
                whole.add(status, region.home);
            }
            whole.regions.push(region);
        }
        let witness = self.processes(lath_feed::WITNESS);
        if !witness.is_empty() {
            whole.regions.push(Region {
                name: lath_feed::WITNESS.into(),
                answers: witness.iter().all(|process| process.pid.is_some()),
                processes: witness,
                ..Region::default()
            });
        }
        serde_json::to_string(&whole).unwrap_or_else(|error| format!("\"{error}\""))
    }

    /// Why a region's control plane does not start.
    fn refusal(&self, region: &str) -> Option<String> {
        let mut its = self.0.processes.iter().filter(|it| it.cell == region);
        its.find_map(|it| match &it.state.borrow().phase {
            Phase::Refused(reason) => Some(format!("{region}: {}", reason.text)),
            _ => None,
        })
    }

    /// The errors that ended a region's processes lately.
    fn failures(&self, region: &str) -> Vec<String> {
        let its = self.0.processes.iter().filter(|it| it.cell == region);
        its.filter_map(|it| {
            let state = it.state.borrow();
            let error = state.failure.as_ref()?;
            let refused = matches!(state.phase, Phase::Refused(_));
            (!refused).then(|| format!("{region}: {} ended: {error}", it.role.name()))
        })
        .collect()
    }

    fn processes(&self, cell: &str) -> Vec<Process> {
        let its = self.0.processes.iter().filter(|it| it.cell == cell);
        its.map(process).collect()
    }

    /// Prometheus text (version 0.0.4), each region's with a label.
    pub(crate) async fn metrics(self) -> String {
        let answers = self.ask("/_lath/metrics").await;
        let up = answers
            .iter()
            .map(|(region, answer)| (region.clone(), answer.is_some()));
        let mut text = self.own_metrics(up.collect());
        let mut families = Families::default();
        for (region, answer) in &answers {
            let answer = answer.as_deref().unwrap_or_default();
            families.add(region, &String::from_utf8_lossy(answer));
        }
        families.print(&mut text);
        text
    }

    fn own_metrics(&self, up: Vec<(String, bool)>) -> String {
        let mut text = String::from(
            "# HELP lath_region_up Whether a region's control plane answers.\n# TYPE lath_region_up gauge\n",
        );
        for (region, up) in up {
            let _infallible = writeln!(
                text,
                "lath_region_up{{region=\"{region}\"}} {}",
                u8::from(up)
            );
        }
        text.push_str(
            "# HELP lath_process_up Whether a process runs.\n# TYPE lath_process_up gauge\n",
        );
        let mut restarts = String::from(
            "# HELP lath_process_restarts_total Restarts of a process after it died.\n# TYPE lath_process_restarts_total counter\n",
        );
        for it in &self.0.processes {
            let labels = format!("region=\"{}\",role=\"{}\"", it.cell, it.role.name());
            let state = it.state.borrow();
            let up = u8::from(matches!(state.phase, Phase::Running { .. }));
            let _infallible = writeln!(text, "lath_process_up{{{labels}}} {up}");
            let count = state.restarts;
            let _infallible = writeln!(restarts, "lath_process_restarts_total{{{labels}}} {count}");
        }
        text + &restarts
    }
}

fn process(watched: &Watched) -> Process {
    let state = watched.state.borrow();
    let mut process = Process {
        role: watched.role.name().into(),
        restarts: state.restarts,
        ..Process::default()
    };
    process.state = match &state.phase {
        Phase::Starting => "starting",
        Phase::Suppressed => "held",
        Phase::Refused(_) => "refused",
        Phase::Stopped => "stopped",
        Phase::Running {
            pid,
            since,
            adopted,
        } => {
            process.pid = Some(*pid);
            process.since = Some(since.to_string());
            process.adopted = *adopted;
            "running"
        }
    }
    .into();
    process
}

/// Metrics of several sources, grouped by family under one description, as the text format requires.
#[derive(Default)]
struct Families(Vec<Family>);

#[derive(Default)]
struct Family {
    name: String,
    described: Vec<String>,
    samples: Vec<String>,
}

impl Families {
    fn add(&mut self, region: &str, text: &str) {
        let mut current = self.place("");
        for line in text.lines() {
            let description = line
                .strip_prefix("# HELP ")
                .or_else(|| line.strip_prefix("# TYPE "));
            if let Some(description) = description {
                current = self.place(description.split(' ').next().unwrap_or_default());
                let described = &mut self.0[current].described;
                if !described.iter().any(|known| known == line) {
                    described.push(line.to_owned());
                }
            } else if !line.is_empty() && !line.starts_with('#') {
                self.0[current].samples.push(labelled(line, region));
            }
        }
    }

    fn place(&mut self, name: &str) -> usize {
        let known = self.0.iter().position(|family| family.name == name);
        known.unwrap_or_else(|| {
            self.0.push(Family {
                name: name.to_owned(),
                ..Family::default()
            });
            self.0.len() - 1
        })
    }

    fn print(&self, text: &mut String) {
        let lines = |family: &Family| {
            let lines = family.described.iter().chain(&family.samples);
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        text.extend(self.0.iter().map(lines));
    }
}

/// Adds the label `region` to a sample such as `name{a="b"} 1` or `name 1`.
fn labelled(sample: &str, region: &str) -> String {
    let end = sample.find(['{', ' ']).unwrap_or(sample.len());
    let (name, rest) = sample.split_at(end);
    match rest.strip_prefix('{') {
        Some(rest) if rest.starts_with('}') => format!("{name}{{region=\"{region}\"{rest}"),
        Some(rest) => format!("{name}{{region=\"{region}\",{rest}"),
        None => format!("{name}{{region=\"{region}\"}}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_family_are_grouped_with_their_regions() {
        let of = |n| {
            format!(
                "# HELP a A.\n# TYPE a counter\na {n}\n# TYPE b gauge\nb{{x=\"{{y\"}} {n}\nb{{}} 0\n"
            )
        };
        let mut families = Families::default();
        families.add("us-east-1", &of(1));
        families.add("us-west-2", &of(2));
        let mut text = String::new();
        families.print(&mut text);
        let want = "# HELP a A.\n# TYPE a counter\na{region=\"us-east-1\"} 1\na{region=\"us-west-2\"} 2\n# TYPE b gauge\nb{region=\"us-east-1\",x=\"{y\"} 1\nb{region=\"us-east-1\"} 0\nb{region=\"us-west-2\",x=\"{y\"} 2\nb{region=\"us-west-2\"} 0\n";
        assert_eq!(text, want);
    }
}
