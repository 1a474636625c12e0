//! Programs that the first process runs until the instance ends.

pub(crate) mod door;
mod log;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::exec::DEFAULT_PATH;
use crate::init::println_console;
use crate::process::{become_standard, close_others, fork_child, unblock_signals};
use crate::setup::{Setup, Unit};
use door::{Door, Known, Order, Phase};
use log::Log;
pub(crate) use log::{LOGS, name_of};

/// The first pause before a program is begun again. Each one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A program that ran for this long gets the first pause again.
const STEADY: Duration = Duration::from_secs(30);
/// How often it is asked whether a unit is ready, and how long an answer may take: on a host that is slow or busy kubectl alone
/// needs more than ten seconds to begin, and one that is ended each time never answers.
const ASK: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_secs(60);

/// The units of an instance.
#[derive(Debug)]
pub(crate) struct Units<'a> {
    programs: Vec<Program<'a>>,
    /// Where the instance's `systemctl` asks.
    door: Option<Door>,
}

#[derive(Debug)]
struct Program<'a> {
    unit: &'a Unit,
    state: State,
    pause: Duration,
    /// Begun only when it is asked for.
    on_demand: bool,
    /// Since it was told to end: what becomes of it then, and when it is killed.
    ending: Option<Ending>,
    /// Once it was ready, or was begun and says nothing of that. Nothing waits for one on demand.
    ready: bool,
    question: Option<Question>,
    ask_at: Instant,
    log: Log,
    /// Of this run and of earlier ones, whose children may live.
    outputs: Vec<OwnedFd>,
}

#[derive(Debug, Clone, Copy)]
struct Ending {
    begins_again: bool,
    killed_at: Instant,
}

#[derive(Debug)]
enum State {
    /// Those before it are not ready.
    Waits,
    /// Until it is asked for.
    Rests,
    BeginsAt(Instant),
    Runs(Pid, Instant),
    Done,
}

#[derive(Debug)]
struct Question {
    asked: Pid,
    until: Instant,
}

impl<'a> Units<'a> {
    /// In the entered root: what the instance has enabled counts.
    pub(crate) fn new(setup: &'a Setup) -> Self {
        let program = |unit: &'a Unit| {
            let on_demand = setup.on_demand.contains(&unit.name);
            let rests = on_demand && !door::is_enabled(&unit.name);
            Program {
                unit,
                state: if rests { State::Rests } else { State::Waits },
                pause: FIRST_PAUSE,
                on_demand,
                ending: None,
                ready: on_demand,
                question: None,
                ask_at: Instant::now(),
                log: Log::of(unit),
                outputs: Vec::new(),
            }
        };
        let programs = setup.units.iter().map(program).collect();
        let opened = (!setup.on_demand.is_empty()).then(Door::open);
        let door = match opened {
            Some(Err(error)) => {
                println_console(&format!("systemctl will not work: {error}"));
                None
            }
            other => other.and_then(Result::ok),
        };
        Self { programs, door }
    }

    /// Obeys what `systemctl` has asked for since.
    pub(crate) fn obey(&mut self, now: Instant) {
        let Some(door) = self.door.take() else { return };
        while let Some((order, from)) = door.next() {
            let mut programs = self.programs.iter_mut();
            let named = programs.find(|it| it.unit.name == order.unit);
            let known = named.map(|it| {
                it.obey(&order, now);
                it.known()
            });
            door.answer(&from, known);
        }
        self.door = Some(door);
    }

    /// Whether each was ready once.
    pub(crate) fn are_ready(&self) -> bool {
        self.programs.iter().all(|it| it.ready)
    }

    /// Begins what is due and asks what is not known; says when to come again at the latest.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Instant> {
        let mut before_ready = true;
        let mut next: Option<Instant> = None;
        for program in &mut self.programs {
            if before_ready && matches!(program.state, State::Waits) {
                program.state = State::BeginsAt(now);
            }
            let due = program.advance(now);
            next = [next, due].into_iter().flatten().min();
            before_ready &= program.ready;
        }
        next
    }

    /// Takes note of a process that was waited for. `status` as shells give it.
    pub(crate) fn ended(&mut self, process: Pid, status: i32, now: Instant) {
        for program in &mut self.programs {
            program.ended(process, status, now);
        }
    }

    pub(crate) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let outputs = self.programs.iter().flat_map(|it| &it.outputs);
        let door = self.door.iter().map(AsFd::as_fd);
        outputs.map(AsFd::as_fd).chain(door)
    }

    /// Moves what the programs have written into their logs, as far as it is there.
    pub(crate) fn copy_outputs(&mut self) {
        for Program { outputs, log, .. } in &mut self.programs {
            outputs.retain(|output| log.copy(output));
        }
    }

    /// Asks the last one that runs to end; who that is, and until when it may. The others come after it.
    pub(crate) fn end_last(&mut self, now: Instant) -> Option<(Pid, Instant)> {
        for program in &mut self.programs {
            if let Some(question) = program.question.take() {
                let _ = kill(question.asked, Signal::SIGKILL);
            }
        }
        let runs = |it: &Program<'_>| match it.state {
            State::Runs(process, _) => Some((process, it.unit.stop_time())),
            _ => None,
        };
        let (process, patience) = self.programs.iter().rev().find_map(runs)?;
        let _ = kill(process, Signal::SIGTERM);
        // A stopped process sees no other signal.
        let _ = kill(process, Signal::SIGCONT);
        Some((process, now + patience))
    }

    /// Whether it is one of the programs that run.
    pub(crate) fn runs(&self, process: Pid) -> bool {
        let is = |it: &Program<'_>| matches!(it.state, State::Runs(its, _) if its == process);
        self.programs.iter().any(is)
    }

    /// No one is begun any more.
    pub(crate) fn close(&mut self) {
        for program in &mut self.programs {
            if !matches!(program.state, State::Runs(..)) {
                program.state = State::Done;
            }
        }
    }

    /// Gives up on one that does not end.
    pub(crate) fn forget(&mut self, process: Pid) {
        let _ = kill(process, Signal::SIGKILL);
        for program in &mut self.programs {
            if matches!(program.state, State::Runs(its, _) if its == process) {
                program.state = State::Done;
            }
        }
    }
}

impl Program<'_> {
    fn obey(&mut self, order: &Order, now: Instant) {
        let begins = match order.verb {
            door::Verb::Status => return,
            door::Verb::Start | door::Verb::Restart => true,
            door::Verb::Stop => false,
        };
        let State::Runs(process, _) = self.state else {
            self.pause = FIRST_PAUSE;
            self.state = if begins {
                State::BeginsAt(now)
            } else {
                State::Rests
            };
            return;
        };
        if let Some(ending) = &mut self.ending {
            ending.begins_again = begins;
        } else if order.verb != door::Verb::Start {
            let _ = kill(process, Signal::SIGTERM);
            let _ = kill(process, Signal::SIGCONT);
            self.ending = Some(Ending {
                begins_again: begins,
                killed_at: now + self.unit.stop_time(),
            });
        }
    }

    fn known(&self) -> Known {
        let (phase, process) = match self.state {
            State::Runs(process, _) if self.ending.is_some() => {
                (Phase::Deactivating, Some(process.as_raw()))
            }
            State::Runs(process, _) => (Phase::Active, Some(process.as_raw())),
            State::Waits | State::BeginsAt(_) => (Phase::Activating, None),
            State::Rests | State::Done => (Phase::Inactive, None),
        };
        Known {
            phase,
            process,
            on_demand: self.on_demand,
        }
    }

    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let killed = self.kill_when_late(now);
        let next = self.begin_or_ask(now);
        [killed, next].into_iter().flatten().min()
    }

    /// When one that was asked to end must be killed.
    fn kill_when_late(&mut self, now: Instant) -> Option<Instant> {
        let (State::Runs(process, _), Some(ending)) = (&self.state, &mut self.ending) else {
            return None;
        };
        if ending.killed_at <= now {
            let _ = kill(*process, Signal::SIGKILL);
            ending.killed_at = now + LONGEST_PAUSE;
        }
        Some(ending.killed_at)
    }

    fn begin_or_ask(&mut self, now: Instant) -> Option<Instant> {
        if let State::BeginsAt(at) = self.state {
            if at > now {
                return Some(at);
            }
            self.begin(now);
        }
        if self.ready || matches!(self.state, State::Waits | State::Rests) {
            return self.next();
        }
        match &self.question {
            Some(question) if question.until <= now => {
                let _ = kill(question.asked, Signal::SIGKILL);
                Some(now + ASK)
            }
            Some(question) => Some(question.until),
            None if self.ask_at <= now => {
                self.ask(now);
                Some(now + ASK)
            }
            None => [Some(self.ask_at), self.next()].into_iter().flatten().min(),
        }
    }

    fn next(&self) -> Option<Instant> {
        match self.state {
            State::BeginsAt(at) => Some(at),
            _ => None,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.state = match start(self.unit) {
            Ok((process, output)) => {
                self.outputs.push(output);
                State::Runs(process, now)
            }
            Err(error) => {
                println_console(&format!("unit {}: {error}", self.unit.name));
                State::BeginsAt(now + LONGEST_PAUSE)
            }
        };
        self.ready |= self.unit.ready.is_none() && matches!(self.state, State::Runs(..));
    }

    fn ask(&mut self, now: Instant) {
        self.ask_at = now + ASK;
        let Some(command) = &self.unit.ready else {
            return;
        };
        let unit = self.unit;
        let asked = fork_child(|| become_program(unit, command, None));
        self.question = asked.ok().map(|asked| Question {
            asked,
            until: now + ANSWER,
        });
    }

    fn ended(&mut self, process: Pid, status: i32, now: Instant) {
        if self.question.as_ref().is_some_and(|it| it.asked == process) {
            self.question = None;
            self.ask_at = now + ASK;
            self.ready |= status == 0;
        }
        let State::Runs(its, since) = self.state else {
            return;
        };
        if its != process {
            return;
        }
        if let Some(ending) = self.ending.take() {
            self.pause = FIRST_PAUSE;
            self.state = match ending.begins_again {
                true => State::BeginsAt(now),
                false => State::Rests,
            };
            return;
        }
        if self.unit.once && status == 0 {
            self.state = State::Done;
            return;
        }
        if now.duration_since(since) >= STEADY {
            self.pause = FIRST_PAUSE;
        }
        println_console(&format!(
            "unit {} ended with status {status}; it is begun again in {} s",
            self.unit.name,
            self.pause.as_secs()
        ));
        self.state = State::BeginsAt(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// The process, and the end of the pipe that has its output.
fn start(unit: &Unit) -> io::Result<(Pid, OwnedFd)> {
    let flags = nix::fcntl::OFlag::O_CLOEXEC;
    let (reader, writer) = nix::unistd::pipe2(flags)?;
    let flags = rustix::fs::fcntl_getfl(&reader)? | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&reader, flags)?;
    let process = fork_child(|| become_program(unit, &unit.command, Some(&writer)))?;
    Ok((process, reader))
}

/// In a child; gives the exit status when the program cannot be run.
fn become_program(unit: &Unit, command: &[String], output: Option<&OwnedFd>) -> i32 {
    let become_it = || -> io::Result<std::convert::Infallible> {
        nix::unistd::setsid()?;
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        become_standard(&null, 0)?;
        for number in [1, 2] {
            match output {
                Some(output) => become_standard(output, number)?,
                None => become_standard(&null, number)?,
            }
        }
        drop(null);
        close_others(&[])?;
        unblock_signals()?;
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
        let environment = unit.environment.iter().map(|(key, value)| (key, value));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs([
                ("PATH", DEFAULT_PATH),
                ("HOME", "/root"),
                ("LANG", "C.UTF-8"),
            ])
            .envs(environment)
            .current_dir("/");
        Err(command.exec())
    };
    match become_it() {
        Ok(never) => match never {},
        Err(error) => {
            // To its log.
            println_console(&format!("{}: {error}", command.join(" ")));
            127
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(once: bool, ready: bool) -> Unit {
        Unit {
            name: "u".into(),
            command: vec!["/bin/true".into()],
            environment: Vec::new(),
            ready: ready.then(|| vec!["/bin/true".into()]),
            once,
            stop_seconds: 1,
        }
    }

    fn setup(units: impl Into<Vec<Unit>>) -> Setup {
        Setup {
            units: units.into(),
            ..Setup::default()
        }
    }

    fn running(setup: &Setup) -> Units<'_> {
        let mut all = Units::new(setup);
        for (number, program) in all.programs.iter_mut().enumerate() {
            program.state =
                State::Runs(Pid::from_raw(1_000_000_000 + number as i32), Instant::now());
        }
        all
    }

    #[test]
    fn pauses_grow_to_the_longest_and_start_anew_after_a_long_run() {
        let units = setup([unit(false, false)]);
        let mut all = running(&units);
        let now = Instant::now();
        let process = Pid::from_raw(1_000_000_000);
        for (ran, want) in [
            (0, 1),
            (0, 2),
            (0, 4),
            (0, 8),
            (0, 10),
            (0, 10),
            (30, 1),
            (0, 2),
        ] {
            all.programs[0].state = State::Runs(process, now);
            let end = now + Duration::from_secs(ran);
            all.ended(process, 1, end);
            let State::BeginsAt(at) = all.programs[0].state else {
                panic!("{all:?}");
            };
            assert_eq!(at.duration_since(end).as_secs(), want);
        }
    }

    #[test]
    fn one_that_is_done_stays_so_and_a_failure_is_repeated() {
        let units = setup([unit(true, false), unit(true, false)]);
        let mut all = running(&units);
        for (number, status) in [(0, 0), (1, 1)] {
            let process = Pid::from_raw(1_000_000_000 + number);
            all.ended(process, status, Instant::now());
        }
        assert!(matches!(all.programs[0].state, State::Done));
        assert!(matches!(all.programs[1].state, State::BeginsAt(_)));
    }

    #[test]
    fn the_last_one_ends_first() {
        let units = setup([unit(false, false), unit(false, false)]);
        let mut all = running(&units);
        for number in [1, 0] {
            let (process, _) = all.end_last(Instant::now()).unwrap();
            assert_eq!(process.as_raw(), 1_000_000_000 + number);
            assert!(all.runs(process));
            all.forget(process);
        }
        assert!(all.end_last(Instant::now()).is_none());
    }

    #[test]
    fn one_that_was_told_to_end_stays_ended_and_may_be_begun_again() {
        let units = setup([unit(false, false)]);
        let mut all = running(&units);
        let (process, now) = (Pid::from_raw(1_000_000_000), Instant::now());
        let order = |verb| Order {
            verb,
            unit: "u".into(),
        };
        let program = &mut all.programs[0];
        program.obey(&order(door::Verb::Start), now);
        assert_eq!(program.known().phase, Phase::Active);
        program.obey(&order(door::Verb::Stop), now);
        assert_eq!(program.known().phase, Phase::Deactivating);
        program.ended(process, 0, now);
        assert_eq!(program.known().phase, Phase::Inactive);
        assert_eq!(program.advance(now), None);
        program.obey(&order(door::Verb::Start), now);
        assert_eq!(program.known().phase, Phase::Activating);
        program.state = State::Runs(process, now);
        program.obey(&order(door::Verb::Restart), now);
        program.ended(process, 143, now);
        assert!(matches!(program.state, State::BeginsAt(at) if at == now));
    }
}
