//! The report as an HTML page without scripts, with a chart of each repetition's requests over time.

use std::fmt::{self, Write as _};

use crate::analysis::{Observation, Repetition};
use crate::report::{Report, millis};

/// Charts at most; the table has the figures of all repetitions.
const PICTURES: usize = 60;
/// Dots in one chart at most. Beyond it only every n-th good sample is drawn; bad ones always are.
const DOTS: usize = 2_000;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 22.0;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --dim: #667085; --line: #d0d5dd; --paper: #ffffff;
  --good: #1f7a5c; --late: #b7791f; --bad: #c0352b; --fault: #c0352b22; --mark: #2f5fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #3a4453; --paper: #14181f;
  --good: #4fc39a; --late: #e0a84a; --bad: #ff7a70; --fault: #ff7a7026; --mark: #82aaff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .dim { color: var(--dim); }
.passed { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--dim); } td:first-child, th:first-child { text-align: left; }
svg { width: 100%; height: auto; display: block; margin: .25rem 0 1rem; }
svg text { font: 11px system-ui, sans-serif; fill: var(--dim); }
.good { fill: var(--good); } .late { fill: var(--late); } .bad { fill: var(--bad); }
.axis { stroke: var(--line); } .mark { stroke: var(--mark); stroke-dasharray: 3 3; } .fault { fill: var(--fault); }
";

/// Renders the page.
pub fn page(report: &Report) -> String {
    let mut html = String::new();
    write_page(&mut html, report).expect("a String takes every write");
    html
}

fn write_page(html: &mut String, report: &Report) -> fmt::Result {
    let title = format!("{} of {}", report.scenario, report.victim);
    write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Drill: {title}</title><style>{STYLE}</style></head><body>",
        title = escaped(&title)
    )?;
    write!(
        html,
        "<h1>{}</h1><p class=\"dim\">{} requests per second to {}, {} times, {}</p>",
        escaped(&title),
        report.rate,
        escaped(&report.target),
        report.repetitions.len(),
        escaped(&report.at.to_string())
    )?;
    assess(html, report)?;
    spreads(html, report)?;
    repetitions(html, &report.repetitions)?;
    write!(html, "<h2>Requests over time</h2>{}", LEGEND)?;
    for (turn, (seen, figures)) in report
        .seen
        .iter()
        .zip(&report.repetitions)
        .enumerate()
        .take(PICTURES)
    {
        write!(html, "<p class=\"dim\">Repetition {}</p>", turn + 1)?;
        picture(html, report, seen, figures)?;
    }
    html.write_str("</body></html>\n")
}

const LEGEND: &str = "<p class=\"dim\">A dot is a request: when it was due, and how long it took (logarithmic). \
<span style=\"color:var(--good)\">good</span> · <span style=\"color:var(--late)\">late</span> · \
<span style=\"color:var(--bad)\">failed, or not the right answer</span>. The shade is the fault; the lines are \
detection (D) and recovery (R).</p>";

fn assess(html: &mut String, report: &Report) -> fmt::Result {
    let (class, word) = if report.verdict.passed {
        ("passed", "Passed")
    } else {
        ("missed", "Missed")
    };
    let wanted = escaped(&report.objectives.to_string());
    write!(
        html,
        "<p><span class=\"{class}\">{word}</span> <span class=\"dim\">wanted: {wanted}</span></p>"
    )?;
    for missed in &report.verdict.missed {
        write!(html, "<p>{}</p>", escaped(missed))?;
    }
    Ok(())
}

fn spreads(html: &mut String, report: &Report) -> fmt::Result {
    html.write_str("<h2>From the fault on</h2><div class=\"scroll\"><table><tr><th></th><th>p50</th><th>p99</th><th>max</th></tr>")?;
    for (name, spread) in [
        ("detection", report.detection_ns),
        ("recovery", report.recovery_ns),
    ] {
        match spread {
            Some(s) => write!(
                html,
                "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                millis(s.p50),
                millis(s.p99),
                millis(s.max)
            )?,
            None => write!(html, "<tr><td>{name}</td><td colspan=\"3\">never</td></tr>")?,
        }
    }
    html.write_str("</table></div>")
}

fn repetitions(html: &mut String, all: &[Repetition]) -> fmt::Result {
    html.write_str(
        "<h2>Repetitions</h2><div class=\"scroll\"><table><tr><th></th><th>detection</th><th>recovery</th>\
         <th>requests under it</th><th>failed from then on</th><th>late</th><th>of these after it</th>\
         </tr>",
    )?;
    let time = |ns: Option<u64>| ns.map_or_else(|| "never".into(), millis);
    for (turn, r) in all.iter().enumerate() {
        write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            turn + 1,
            time(r.detection_ns),
            time(r.recovery_ns),
            r.during,
            r.failed,
            r.late,
            r.bad_after
        )?;
    }
    html.write_str("</table></div>")
}

/// The layout of a chart.
struct Frame {
    begin_ns: u64,
    end_ns: u64,
    /// The lower end of the latency axis, in milliseconds.
    low: f64,
    high: f64,
}

impl Frame {
    fn of(seen: &Observation) -> Self {
        let first = seen.samples.first().map_or(seen.fault_ns, |s| s.at_ns);
        let last = seen.samples.last().map_or(seen.lifted_ns, |s| s.at_ns);
        let slowest = seen.samples.iter().map(|s| s.took_ns).max().unwrap_or(0);
        Self {
            begin_ns: first.min(seen.fault_ns),
            end_ns: last.max(seen.lifted_ns) + 1,
            low: 0.1,
            high: (slowest as f64 / 1e6).max(10.0) * 1.3,
        }
    }

    fn x(&self, at_ns: u64) -> f64 {
        let share =
            at_ns.saturating_sub(self.begin_ns) as f64 / (self.end_ns - self.begin_ns) as f64;
        LEFT + share.min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, took_ns: u64) -> f64 {
        let ms = (took_ns as f64 / 1e6).clamp(self.low, self.high);
        let share = (ms / self.low).ln() / (self.high / self.low).ln();
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

fn picture(
    html: &mut String,
    report: &Report,
    seen: &Observation,
    figures: &Repetition,
) -> fmt::Result {
    let frame = Frame::of(seen);
    write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"latency of requests over time\">"
    )?;
    let (from, to) = (frame.x(seen.fault_ns), frame.x(seen.lifted_ns));
    write!(
        html,
        "<rect class=\"fault\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        to - from,
        HEIGHT - TOP - BOTTOM
    )?;
    axes(html, &frame, seen)?;
    dots(html, report, &frame, seen)?;
    for (letter, ns) in [
        ("D", figures.detection_ns),
        ("R", figures.recovery_ns.filter(|ns| *ns > 0)),
    ] {
        if let Some(ns) = ns {
            let x = frame.x(seen.fault_ns + ns);
            write!(
                html,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{letter} {}</text>",
                HEIGHT - BOTTOM,
                if letter == "D" { TOP - 4.0 } else { TOP - 13.0 },
                millis(ns)
            )?;
        }
    }
    html.write_str("</svg>")
}

fn axes(html: &mut String, frame: &Frame, seen: &Observation) -> fmt::Result {
    for ms in [0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0] {
        if ms > frame.high {
            break;
        }
        let y = frame.y((ms * 1e6) as u64);
        write!(
            html,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
            WIDTH - RIGHT,
            LEFT - 4.0,
            y + 4.0
        )?;
    }
    let second = |ns: u64| (ns as f64 - seen.fault_ns as f64) / 1e9;
    let span = second(frame.end_ns) - second(frame.begin_ns);
    let step = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]
        .into_iter()
        .find(|s| span / s <= 14.0);
    let step = step.unwrap_or(120.0);
    let mut at = (second(frame.begin_ns) / step).ceil() * step;
    while at <= second(frame.end_ns) {
        let x = frame.x((seen.fault_ns as f64 + at * 1e9).max(0.0) as u64);
        write!(
            html,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at} s</text>",
            HEIGHT - 6.0
        )?;
        at += step;
    }
    Ok(())
}

fn dots(html: &mut String, report: &Report, frame: &Frame, seen: &Observation) -> fmt::Result {
    let stride = seen.samples.len() / DOTS + 1;
    for (turn, sample) in seen.samples.iter().enumerate() {
        let class = report.judge.class(seen, sample);
        if class == "good" && turn % stride != 0 {
            continue;
        }
        write!(
            html,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{}\"/>",
            frame.x(sample.at_ns),
            frame.y(sample.took_ns),
            if class == "good" { 1.4 } else { 2.2 }
        )?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use crate::analysis::Criteria;
    use crate::load::Sample;
    use crate::objective::Objectives;
    use crate::report::Subject;
    use lath_model::Timestamp;

    #[test]
    fn a_page_shows_every_failure_and_escapes_its_input() {
        let sample = |turn: u64| Sample {
            at_ns: turn * 10_000_000,
            took_ns: 1_000_000,
            error: (50..60).contains(&turn).then(|| "no".into()),
            answer: None,
        };
        let seen = Observation {
            fault_ns: 500_000_000,
            detected_ns: None,
            lifted_ns: 900_000_000,
            samples: (0..200).map(sample).collect(),
        };
        let subject = Subject {
            scenario: Scenario::KillRegion,
            victim: "<script>".into(),
            target: "http://a&b".into(),
            rate: 100,
        };
        let judge = Criteria {
            late_ns: 1_000_000_000,
            answer_must_change: false,
        };
        let report = Report::new(
            subject,
            judge,
            Objectives::default(),
            vec![seen],
            Timestamp::from_millis(0),
        );
        let html = page(&report);
        assert_eq!(html.matches("circle class=\"bad\"").count(), 10);
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        assert!(
            report.text().contains("recovery   p50 100 ms"),
            "{}",
            report.text()
        );
        assert!(
            report.text().contains("detection  never"),
            "{}",
            report.text()
        );
    }
}
