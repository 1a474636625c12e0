//! The report of a drill, as text and as data.

use std::fmt::Write as _;

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Scenario;
use crate::analysis::{
    Assessment, Criteria, Observation, Repetition, Spread, assess, figures, spread,
};
use crate::objective::Objectives;

/// The report of a drill. New versions add members and never change existing ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The end of the drill.
    pub at: Timestamp,
    /// The kind of fault.
    pub scenario: Scenario,
    /// The affected region or instance.
    pub victim: String,
    /// The target of the load.
    pub target: String,
    /// Requests per second.
    pub rate: u32,
    /// The criteria for bad samples.
    pub judge: Criteria,
    /// The objectives.
    pub objectives: Objectives,
    /// Whether they were met.
    pub verdict: Assessment,
    /// From the fault until the system reported it, over the repetitions where it did, in nanoseconds.
    pub detection_ns: Option<Spread>,
    /// From the fault until requests succeeded again, over the repetitions where they did, in nanoseconds.
    pub recovery_ns: Option<Spread>,
    /// The figures of each repetition.
    pub repetitions: Vec<Repetition>,
    /// The observations from which the figures were computed.
    pub seen: Vec<Observation>,
}

/// A report's description of the drill.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The kind of fault.
    pub scenario: Scenario,
    /// The affected region or instance.
    pub victim: String,
    /// The target of the load.
    pub target: String,
    /// Requests per second.
    pub rate: u32,
}

impl Report {
    /// Computes the report, as of `at`.
    pub fn new(
        subject: Subject,
        judge: Criteria,
        objectives: Objectives,
        seen: Vec<Observation>,
        at: Timestamp,
    ) -> Self {
        let repetitions: Vec<Repetition> = seen.iter().map(|s| figures(s, &judge)).collect();
        Self {
            at,
            scenario: subject.scenario,
            victim: subject.victim,
            target: subject.target,
            rate: subject.rate,
            judge,
            verdict: assess(&repetitions, &objectives),
            objectives,
            detection_ns: spread(repetitions.iter().filter_map(|r| r.detection_ns)),
            recovery_ns: spread(repetitions.iter().filter_map(|r| r.recovery_ns)),
            repetitions,
            seen,
        }
    }

    /// The report as text for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.print(&mut text).expect("a String takes every write");
        text
    }

    fn print(&self, text: &mut String) -> std::fmt::Result {
        let times = self.repetitions.len();
        writeln!(
            text,
            "{} of {}, {times} times, under {} requests/s to {}",
            self.scenario, self.victim, self.rate, self.target
        )?;
        for (name, spread, of) in [
            (
                "detection",
                self.detection_ns,
                self.count(|r| r.detection_ns),
            ),
            ("recovery", self.recovery_ns, self.count(|r| r.recovery_ns)),
        ] {
            match spread {
                Some(s) => writeln!(
                    text,
                    "  {name:<10} p50 {} · p99 {} · max {}   ({of} of {times})",
                    millis(s.p50),
                    millis(s.p99),
                    millis(s.max)
                )?,
                None => writeln!(text, "  {name:<10} never   (0 of {times})")?,
            }
        }
        let sum = |of: fn(&Repetition) -> u64| self.repetitions.iter().map(of).sum::<u64>();
        let worst = |of: fn(&Repetition) -> u64| self.repetitions.iter().map(of).max().unwrap_or(0);
        writeln!(
            text,
            "  requests   {} under faults; from the faults on failed {} (worst {}), late {} (worst {}), {} of these after the faults",
            sum(|r| r.during),
            sum(|r| r.failed),
            worst(|r| r.failed),
            sum(|r| r.late),
            worst(|r| r.late),
            sum(|r| r.bad_after)
        )?;
        let word = if self.verdict.passed {
            "PASSED"
        } else {
            "MISSED"
        };
        writeln!(text, "verdict: {word} (wanted: {})", self.objectives)?;
        for missed in &self.verdict.missed {
            writeln!(text, "  {missed}")?;
        }
        Ok(())
    }

    fn count(&self, of: fn(&Repetition) -> Option<u64>) -> usize {
        self.repetitions.iter().filter(|r| of(r).is_some()).count()
    }
}

/// Formats nanoseconds as milliseconds.
pub(crate) fn millis(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}
