//! The life of one environment: begun for an invocation, it runs one after another, until it fails or is not wanted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use lath_clock::Clock;
use lath_feed::function_limits::PAYLOAD;
use lath_feed::{Function, Invoked};
use lath_model::Timestamp;
use rand::Rng as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::failure::Failure;
use crate::house::{House, Shared};
use crate::log::Log;
use crate::runtime::Begin;
use crate::runtime_api::{Event, Word};
use crate::{Asked, not_ready};

/// How long a program may take to ask for its first event, beyond what an invocation may take
/// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
const INIT: Duration = Duration::from_secs(10);
/// How long lines wait to be handed over together.
const GATHER: Duration = Duration::from_millis(200);
/// What was written before an answer is on its way for no longer than this; and how long all of it is waited for.
const QUIET: Duration = Duration::from_millis(2);
const LONGEST_QUIET: Duration = Duration::from_millis(100);

/// What an environment reports to its supervisor.
#[derive(Debug)]
pub(crate) enum LaneEvent {
    /// It may have another invocation.
    Free,
    /// Its invocation is over, and it takes no other.
    Spent,
    /// It is no more, with the invocation that it did not begin.
    Gone(Option<Asked>),
}

/// Reports to the supervisor.
pub(crate) type Notify = Box<dyn Fn(LaneEvent) + Send + Sync>;

/// What an environment is made of.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) function: Arc<Function>,
    pub(crate) begin: Begin,
    /// Where the code is unpacked.
    pub(crate) code: PathBuf,
}

/// Makes an environment for a first invocation, and lives until its end.
pub(crate) async fn run(
    shared: Arc<Shared>,
    made: Made,
    first: Asked,
    mut jobs: mpsc::Receiver<Asked>,
    notify: Notify,
    stop: CancellationToken,
) {
    let Made {
        function,
        begin,
        code,
    } = made;
    let stream = stream_name(shared.clock.now());
    let opening = House::open(&shared, &function, &begin, &code, &stream);
    let opened = match stop.run_until_cancelled(opening).await {
        Some(opened) => opened,
        None => Err("the node is ending".to_owned()),
    };
    let house = match opened {
        Ok(house) => house,
        Err(reason) => {
            tracing::warn!(
                function = function.name,
                reason,
                "an environment was not made"
            );
            notify(LaneEvent::Gone(None));
            let _ = first.answer.send(not_ready(reason));
            return;
        }
    };
    let log = Log::new(
        Arc::clone(&shared.sink),
        function.log_group.clone(),
        stream,
        shared.clock.clone(),
    );
    let mut life = Life {
        begun: Instant::now(),
        clock: shared.clock.clone(),
        function,
        house,
        log,
        ready: None,
        init: None,
        waiting: Some((first, Instant::now())),
        current: None,
        has_begun: false,
        flush_at: None,
        notify,
    };
    life.live(&mut jobs, &stop).await;
    let left = life.waiting.take().map(|(asked, _)| asked);
    life.log.flush();
    let Life { house, notify, .. } = life;
    house.close().await;
    // One that came while it ended was not begun either.
    jobs.close();
    let left = left.or_else(|| jobs.try_recv().ok());
    notify(LaneEvent::Gone(left));
}

/// `2026/11/30/[$LATEST]` and 32 digits.
fn stream_name(now: Timestamp) -> String {
    let day = now.iso8601_millis();
    let day = day.get(..10).unwrap_or_default().replace('-', "/");
    format!("{day}/[$LATEST]{}", Uuid::new_v4().simple())
}

struct Life {
    begun: Instant,
    clock: Clock,
    function: Arc<Function>,
    house: House,
    log: Log,
    /// Where the program waits for its next event.
    ready: Option<oneshot::Sender<Event>>,
    /// How long it took to be ready at first.
    init: Option<Duration>,
    /// An invocation that the program has not seen, and since when.
    waiting: Option<(Asked, Instant)>,
    current: Option<Current>,
    /// Whether it ever saw an invocation.
    has_begun: bool,
    flush_at: Option<Instant>,
    notify: Notify,
}

/// The invocation that the program works on.
struct Current {
    asked: Asked,
    since: Instant,
    /// The first of this environment: then the report says what the beginning took.
    is_first: bool,
}

impl Current {
    fn id(&self) -> &str {
        &self.asked.invocation.request_id
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    Ends,
}

impl Life {
    async fn live(&mut self, jobs: &mut mpsc::Receiver<Asked>, stop: &CancellationToken) {
        loop {
            self.deliver();
            if self.log.waits() {
                self.flush_at.get_or_insert_with(|| Instant::now() + GATHER);
            } else {
                self.flush_at = None;
            }
            let is_free = self.current.is_none() && self.waiting.is_none();
            let (deadline, flush_at) = (self.deadline(), self.flush_at);
            tokio::select! {
                () = stop.cancelled() => return,
                lines = self.house.out.more() => self.write_all(lines),
                lines = self.house.err.more() => self.write_all(lines),
                word = self.house.words.recv() => {
                    let Some(word) = word else { return };
                    if self.hear(word).await == Then::Ends {
                        return;
                    }
                }
                job = jobs.recv(), if is_free => match job {
                    Some(asked) => self.waiting = Some((asked, Instant::now())),
                    None => return,
                },
                status = self.house.child.wait() => {
                    let status = status.ok().and_then(|it| it.code());
                    return self.exited(status).await;
                }
                () = until(deadline) => return self.late().await,
                () = until(flush_at) => {
                    self.flush_at = None;
                    self.log.flush();
                }
            }
        }
    }

    fn write_all(&mut self, lines: Vec<String>) {
        lines.into_iter().for_each(|line| self.log.write(line));
    }

    /// When it is too late for what is waited for.
    fn deadline(&self) -> Option<Instant> {
        let own = Duration::from_secs(self.function.timeout_seconds.into());
        if let Some(current) = &self.current {
            return Some(current.since + own);
        }
        let (_, since) = self.waiting.as_ref()?;
        Some((*since).max(self.begun) + INIT + own)
    }

    /// Gives the program the event that waits, if it waits for one.
    fn deliver(&mut self) {
        if self.ready.is_none() || self.waiting.is_none() {
            return;
        }
        let (Some(ready), Some((mut asked, since))) = (self.ready.take(), self.waiting.take())
        else {
            return;
        };
        let own = Duration::from_secs(self.function.timeout_seconds.into());
        let id = asked.invocation.request_id.clone();
        let event = Event {
            headers: self.headers(&asked, self.clock.now().plus(own)),
            body: std::mem::take(&mut asked.invocation.payload.0),
        };
        if let Err(event) = ready.send(event) {
            // Its connection broke: it asks again.
            asked.invocation.payload.0 = event.body;
            self.waiting = Some((asked, since));
            return;
        }
        self.log.begin();
        self.log
            .write(format!("START RequestId: {id} Version: $LATEST"));
        self.current = Some(Current {
            asked,
            since: Instant::now(),
            is_first: !std::mem::replace(&mut self.has_begun, true),
        });
    }

    fn headers(&self, asked: &Asked, deadline: Timestamp) -> Vec<(HeaderName, HeaderValue)> {
        let invocation = &asked.invocation;
        let mut headers = Vec::new();
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.push((HeaderName::from_static(name), value));
            }
        };
        put("lambda-runtime-aws-request-id", &invocation.request_id);
        let deadline = deadline.as_millis().to_string();
        put("lambda-runtime-deadline-ms", &deadline);
        put("lambda-runtime-invoked-function-arn", &self.function.arn);
        put("lambda-runtime-trace-id", &trace(self.clock.unix_seconds()));
        let context = invocation.client_context.as_deref();
        let context = context.and_then(|it| STANDARD.decode(it).ok());
        if let Some(context) = context.and_then(|it| String::from_utf8(it).ok()) {
            put("lambda-runtime-client-context", &context);
        }
        headers
    }

    async fn hear(&mut self, word: Word) -> Then {
        match word {
            Word::Next(ready) => {
                self.init.get_or_insert_with(|| self.begun.elapsed());
                self.ready = Some(ready);
                if let Some(current) = &self.current {
                    let failure = Failure::unanswered(current.id());
                    self.finish(Err(failure)).await;
                }
                Then::GoesOn
            }
            Word::Answer {
                request,
                body,
                known,
            } => {
                if !self.is_current(&request) {
                    let _ = known.send(false);
                    return Then::GoesOn;
                }
                let _ = known.send(true);
                let answer = match body {
                    None => Err(Failure::too_long(PAYLOAD)),
                    Some(body) => text(&body).ok_or_else(|| Failure::no_text(&request)),
                };
                self.finish(answer).await;
                Then::GoesOn
            }
            Word::Failed {
                request,
                body,
                known,
            } => {
                let is_current = self.is_current(&request);
                let _ = known.send(is_current);
                if is_current {
                    let reported = text(&body).map(Failure::reported);
                    let failure = reported.unwrap_or_else(|| Failure::no_text(&request));
                    self.finish(Err(failure)).await;
                }
                Then::GoesOn
            }
            Word::NotBegun(body) => {
                self.quiet().await;
                let Some((asked, _)) = self.waiting.take() else {
                    return Then::Ends;
                };
                let failure = match text(&body).filter(|it| !it.is_empty()) {
                    Some(reported) => Failure::reported(reported),
                    None => Failure::exit(&asked.invocation.request_id, None),
                };
                self.fail(asked, failure);
                Then::Ends
            }
        }
    }

    fn is_current(&self, request: &str) -> bool {
        self.current.as_ref().is_some_and(|it| it.id() == request)
    }

    /// The program is done with its invocation.
    async fn finish(&mut self, answer: Result<String, Failure>) {
        self.quiet().await;
        if let Some(current) = self.current.take() {
            self.report(&current);
            let log = self.tail_for(&current.asked);
            let invoked = match answer {
                Ok(payload) => Invoked::Answered {
                    payload,
                    failed: false,
                    log,
                },
                Err(failure) => failure.answer(log),
            };
            // Free before it is answered: who asks again at once finds it.
            (self.notify)(LaneEvent::Free);
            let _ = current.asked.answer.send(invoked);
        }
    }

    fn tail_for(&mut self, asked: &Asked) -> Option<Vec<u8>> {
        let tail = asked.invocation.wants_log.then(|| self.log.tail());
        self.log.flush();
        self.flush_at = None;
        tail
    }

    fn report(&mut self, current: &Current) {
        let id = current.id().to_owned();
        let milliseconds = current.since.elapsed().as_secs_f64() * 1000.0;
        let memory = self.function.memory_mib;
        let init = match self.init.filter(|_| current.is_first) {
            Some(init) => format!("Init Duration: {:.2} ms\t", init.as_secs_f64() * 1000.0),
            None => String::new(),
        };
        self.log.write(format!("END RequestId: {id}"));
        self.log.write(format!(
            "REPORT RequestId: {id}\tDuration: {milliseconds:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {memory} MB\t{init}",
            milliseconds.ceil(),
        ));
    }

    /// Takes what was written before.
    async fn quiet(&mut self) {
        let end = Instant::now() + LONGEST_QUIET;
        while Instant::now() < end {
            let house = &mut self.house;
            let more = async {
                tokio::select! {
                    lines = house.out.more() => lines,
                    lines = house.err.more() => lines,
                }
            };
            match timeout_at(Instant::now() + QUIET, more).await {
                Ok(lines) => self.write_all(lines),
                Err(_) => break,
            }
        }
    }

    /// The program ended by itself. One that never took an invocation would not take it in another environment either.
    async fn exited(&mut self, status: Option<i32>) {
        self.quiet().await;
        if let Some(current) = self.current.take() {
            let failure = Failure::exit(current.id(), status);
            self.log_failure(&failure);
            self.report(&current);
            self.answer(current.asked, failure);
        } else if !self.has_begun
            && let Some((asked, _)) = self.waiting.take()
        {
            let failure = Failure::exit(&asked.invocation.request_id, status);
            self.fail(asked, failure);
        }
    }

    /// The program took too long.
    async fn late(&mut self) {
        self.quiet().await;
        let seconds = self.function.timeout_seconds;
        if let Some(current) = self.current.take() {
            let failure = Failure::timeout(current.id(), seconds, self.clock.now());
            self.log_failure(&failure);
            self.report(&current);
            self.answer(current.asked, failure);
        } else if let Some((asked, _)) = self.waiting.take() {
            let failure = Failure::timeout(&asked.invocation.request_id, seconds, self.clock.now());
            self.fail(asked, failure);
        }
    }

    /// An invocation that the program never saw fails with it.
    fn fail(&mut self, asked: Asked, failure: Failure) {
        let id = &asked.invocation.request_id;
        self.log
            .write(format!("START RequestId: {id} Version: $LATEST"));
        self.log_failure(&failure);
        self.log.write(format!("END RequestId: {id}"));
        self.answer(asked, failure);
    }

    fn log_failure(&mut self, failure: &Failure) {
        if let Some(said) = &failure.said {
            self.log.write(said.clone());
        }
    }

    fn answer(&mut self, asked: Asked, failure: Failure) {
        let log = self.tail_for(&asked);
        // Before it is answered: who asks again at once is not refused because of this one.
        (self.notify)(LaneEvent::Spent);
        let _ = asked.answer.send(failure.answer(log));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn text(body: &Bytes) -> Option<String> {
    String::from_utf8(body.to_vec()).ok()
}

/// Of no trace: nothing is sampled (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html>).
fn trace(seconds: i64) -> String {
    let mut random = rand::rng();
    let (one, two): (u32, u64) = (random.random(), random.random());
    format!("Root=1-{seconds:08x}-{one:08x}{two:016x};Sampled=0")
}
