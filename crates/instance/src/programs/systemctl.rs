//! `systemctl` for the units that process 1 runs. Words and exit statuses are systemd's, as far as scripts and kubeadm
//! read them.

use std::io;
use std::time::{Duration, Instant};

use super::print;
use crate::units::door::{self, Known, Phase, Verb};

/// How long a unit may take to begin or to end until that is called a failure.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);
/// A unit that has begun and ended again by then counts as started: it will be begun once more, or is done.
const BEGUN: Duration = Duration::from_secs(2);

const FAILURE: u8 = 1;
const INACTIVE: u8 = 3;
const NO_UNIT: u8 = 4;

pub(super) fn run(words: &[String]) -> u8 {
    let now = words.iter().any(|it| it == "--now");
    let quiet = words.iter().any(|it| it == "-q" || it == "--quiet");
    let mut plain = words.iter().filter(|it| !it.starts_with('-'));
    let Some(verb) = plain.next() else {
        eprintln!(
            "usage: systemctl start|stop|restart|enable|disable|status|is-active|is-enabled UNIT..."
        );
        return FAILURE;
    };
    let units: Vec<&str> = plain
        .map(|it| it.strip_suffix(".service").unwrap_or(it))
        .collect();
    let each: fn(&str, bool, bool) -> Result<u8, Trouble> = match verb.as_str() {
        // Units come from the instance's setup, which nothing in the instance changes: there is nothing to read again.
        "daemon-reload" => return 0,
        "start" => |unit, _, _| start(unit),
        "stop" => |unit, _, _| stop(unit),
        "restart" => |unit, _, _| restart(unit),
        "enable" => |unit, now, _| enable(unit, now),
        "disable" => |unit, now, _| disable(unit, now),
        "status" => |unit, _, _| status(unit),
        "is-active" => |unit, _, quiet| is_active(unit, quiet),
        "is-enabled" => |unit, _, quiet| is_enabled(unit, quiet),
        other => {
            eprintln!("Unknown command verb '{other}': this systemctl is Lath's, and knows fewer.");
            return FAILURE;
        }
    };
    if units.is_empty() {
        eprintln!("Too few arguments.");
        return FAILURE;
    }
    let mut code = 0;
    for unit in units {
        let outcome = each(unit, now, quiet);
        let its = outcome.unwrap_or_else(|trouble| {
            let (its, words) = trouble.message(verb, unit);
            eprintln!("{words}");
            its
        });
        code = code.max(its);
    }
    code
}

#[derive(Debug)]
enum Trouble {
    NotFound,
    /// It is begun at each boot, whatever is asked for.
    Always,
    Late,
    Io(io::Error),
}

impl Trouble {
    fn message(&self, verb: &str, unit: &str) -> (u8, String) {
        match self {
            Self::NotFound if verb == "status" => {
                (NO_UNIT, format!("Unit {unit}.service could not be found."))
            }
            Self::NotFound if verb.ends_with("able") || verb == "is-enabled" => (
                FAILURE,
                format!("Failed to {verb} unit: Unit file {unit}.service does not exist."),
            ),
            Self::NotFound => (
                5,
                format!("Failed to {verb} {unit}.service: Unit {unit}.service not found."),
            ),
            Self::Always => (
                FAILURE,
                format!("Failed to {verb} unit: Lath begins {unit}.service at each boot."),
            ),
            Self::Late => (
                FAILURE,
                format!("Job for {unit}.service timed out; see /var/log/{unit}.log."),
            ),
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => (
                FAILURE,
                "Process 1 of this instance takes no orders: its image has no units on demand."
                    .to_owned(),
            ),
            Self::Io(error) => (FAILURE, format!("Failed to {verb} {unit}.service: {error}")),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn ask(verb: Verb, unit: &str) -> Result<Known, Trouble> {
    door::send(verb, unit)?.ok_or(Trouble::NotFound)
}

fn until(unit: &str, is_so: impl Fn(&Known, Duration) -> bool) -> Result<u8, Trouble> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if is_so(&ask(Verb::Status, unit)?, begun.elapsed()) {
            return Ok(0);
        }
        std::thread::sleep(LOOK);
    }
    Err(Trouble::Late)
}

fn start(unit: &str) -> Result<u8, Trouble> {
    ask(Verb::Start, unit)?;
    until(unit, has_begun)
}

fn stop(unit: &str) -> Result<u8, Trouble> {
    ask(Verb::Stop, unit)?;
    until(unit, |it, _| it.phase == Phase::Inactive)
}

fn restart(unit: &str) -> Result<u8, Trouble> {
    let before = ask(Verb::Status, unit)?.process;
    ask(Verb::Restart, unit)?;
    until(unit, |it, waited| {
        has_begun(it, waited) && (it.process.is_none() || it.process != before)
    })
}

fn has_begun(it: &Known, waited: Duration) -> bool {
    it.phase == Phase::Active || (it.phase != Phase::Deactivating && waited > BEGUN)
}

fn enable(unit: &str, now: bool) -> Result<u8, Trouble> {
    let known = ask(Verb::Status, unit)?;
    let link = door::link(unit);
    if known.on_demand && !door::is_enabled(unit) {
        std::fs::create_dir_all(door::WANTS)?;
        let of = format!("/usr/lib/systemd/system/{unit}.service");
        std::os::unix::fs::symlink(&of, &link)?;
        eprintln!("Created symlink {} → {of}.", link.display());
    }
    if now { start(unit) } else { Ok(0) }
}

fn disable(unit: &str, now: bool) -> Result<u8, Trouble> {
    if !ask(Verb::Status, unit)?.on_demand {
        return Err(Trouble::Always);
    }
    let link = door::link(unit);
    if door::is_enabled(unit) {
        std::fs::remove_file(&link)?;
        eprintln!("Removed {}.", link.display());
    }
    if now { stop(unit) } else { Ok(0) }
}

/// A unit that is begun at each boot is enabled as well.
fn in_words(unit: &str, known: &Known) -> &'static str {
    if known.on_demand && !door::is_enabled(unit) {
        "disabled"
    } else {
        "enabled"
    }
}

fn status(unit: &str) -> Result<u8, Trouble> {
    let known = ask(Verb::Status, unit)?;
    let what = match known.phase {
        Phase::Active => "active (running)",
        Phase::Activating => "activating (auto-restart)",
        Phase::Deactivating => "deactivating (stop-sigterm)",
        Phase::Inactive => "inactive (dead)",
    };
    print(&format!("● {unit}.service"));
    print(&format!(
        "     Loaded: loaded (/usr/lib/systemd/system/{unit}.service; {})",
        in_words(unit, &known)
    ));
    print(&format!("     Active: {what}"));
    if let Some(process) = known.process {
        print(&format!("   Main PID: {process}"));
    }
    print(&format!("        Log: /var/log/{unit}.log"));
    Ok(if known.phase == Phase::Active {
        0
    } else {
        INACTIVE
    })
}

fn is_active(unit: &str, quiet: bool) -> Result<u8, Trouble> {
    let phase = match ask(Verb::Status, unit) {
        Err(Trouble::NotFound) => Phase::Inactive,
        other => other?.phase,
    };
    if !quiet {
        print(phase.name());
    }
    Ok(if phase == Phase::Active { 0 } else { INACTIVE })
}

fn is_enabled(unit: &str, quiet: bool) -> Result<u8, Trouble> {
    let word = in_words(unit, &ask(Verb::Status, unit)?);
    if !quiet {
        print(word);
    }
    Ok(u8::from(word != "enabled"))
}
