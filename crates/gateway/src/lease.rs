//! The Lease that says which of several controllers writes. It is that of AWS's controller, so that in one namespace the
//! two do not write at once.

use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use lath_clock::Clock;
use tokio::sync::watch;
use tokio::time::Instant;

/// The Lease's name.
const NAME: &str = "amazon-vpc-lattice.io";

/// How long a controller may write: as long as its Lease is its own for sure. What is sent looks here first, because
/// a process that was stopped for a while does not know that another has begun meanwhile.
#[derive(Debug)]
pub(crate) struct Term(Mutex<Option<Instant>>);

impl Term {
    /// One without end, for a controller that is alone.
    pub(crate) fn endless() -> Self {
        Self(Mutex::new(None))
    }

    /// One that is over until it is extended.
    pub(crate) fn over() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }

    fn set(&self, until: Instant) {
        let mut term = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *term = Some(until);
    }

    /// Ends it now.
    pub(crate) fn end(&self) {
        self.set(Instant::now());
    }

    pub(crate) fn lasts(&self) -> bool {
        let term = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        term.is_none_or(|until| Instant::now() < until)
    }
}

/// The times of an election.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// How long a Lease is believed without a renewal.
    duration: Duration,
    /// How often it is renewed, and looked at.
    renew: Duration,
    /// After how long without a renewal its holder stops writing, before another may begin.
    deadline: Duration,
}

const TIMES: Times = Times {
    duration: Duration::from_secs(10),
    renew: Duration::from_secs(2),
    deadline: Duration::from_secs(8),
};

pub(crate) struct Election {
    api: Api<Lease>,
    identity: String,
    clock: Clock,
    times: Times,
    /// The version of another's Lease, and since when it is that one: clocks of others are not trusted.
    seen: Option<(String, Instant)>,
}

impl Election {
    pub(crate) fn new(client: Client, namespace: &str, clock: Clock) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let since = clock.system_time();
        let since = since.duration_since(std::time::UNIX_EPOCH);
        let since = since.unwrap_or_default().as_nanos();
        let pid = std::process::id();
        Self {
            api: Api::namespaced(client, namespace),
            identity: format!("{}_{pid}_{since}", host.trim()),
            clock,
            times: TIMES,
            seen: None,
        }
    }

    /// Takes part for as long as the process lives. Ends when the Lease was held, and is lost.
    pub(crate) async fn run(
        mut self,
        term: &Term,
        leads: &watch::Sender<bool>,
        stop: &mut watch::Receiver<bool>,
    ) {
        let Times {
            renew, deadline, ..
        } = self.times;
        let mut until: Option<Instant> = None;
        loop {
            // The time of a renewal is that of its beginning: others may count from then on.
            let begun = Instant::now();
            let patience = until.map_or(begun + renew * 2, |until| until.min(begun + renew * 2));
            match tokio::time::timeout_at(patience, self.attempt()).await {
                Ok(Ok(true)) => {
                    until = Some(begun + deadline);
                    term.set(begun + deadline);
                    if !leads.send_replace(true) {
                        tracing::info!(identity = self.identity, "this controller leads");
                    }
                }
                Ok(Ok(false)) if until.is_some() => break,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be had"),
                Err(_) => tracing::warn!("the API server does not answer in time about the Lease"),
            }
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                break;
            }
            let next = until.map_or(now + renew, |until| until.min(now + renew));
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                _ = stop.wait_for(|stop| *stop) => {
                    term.end();
                    if until.is_some() {
                        self.release().await;
                    }
                    return;
                }
            }
        }
        term.end();
    }

    fn held(&self, transitions: i32) -> LeaseSpec {
        let now = self.clock.system_time();
        let now = MicroTime(now.try_into().unwrap_or_default());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.duration.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Takes or renews the Lease; says whether it is held now.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.held(0)),
            };
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let mut next = self.held(spec.lease_transitions.unwrap_or_default());
        if holder == self.identity {
            next.acquire_time = spec.acquire_time;
        } else if !holder.is_empty() {
            let patience = spec
                .lease_duration_seconds
                .and_then(|it| u64::try_from(it).ok());
            let patience = patience.map_or(self.times.duration, Duration::from_secs);
            match &self.seen {
                Some((known, since)) if *known == version => {
                    if since.elapsed() < patience {
                        return Ok(false);
                    }
                }
                _ => {
                    self.seen = Some((version, Instant::now()));
                    return Ok(false);
                }
            }
            next.lease_transitions = next.lease_transitions.map(|it| it.saturating_add(1));
        }
        lease.spec = Some(next);
        // The version in it makes the server refuse when another was faster.
        taken(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    /// Gives the Lease up, so that another need not wait.
    async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(NAME).await else {
            return;
        };
        if let Some(spec) = &mut lease.spec
            && spec.holder_identity.as_ref() == Some(&self.identity)
        {
            spec.holder_identity = None;
            if let Err(error) = self.api.replace(NAME, &PostParams::default(), &lease).await {
                tracing::warn!(%error, "the Lease is not given up");
            }
        }
    }
}

fn taken(result: Result<Lease, Error>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::*;
    use crate::tests::fake::{Answer, Server};
    use lath_clock::ManualClock;
    use std::time::UNIX_EPOCH;

    /// Far more than a busy machine stops for: so much later another may begin.
    const DURATION: Duration = Duration::from_secs(600);

    fn election(server: &Server, clock: &Clock) -> Election {
        let mut election = Election::new(server.kubernetes(), "default", clock.clone());
        election.times = Times {
            duration: DURATION,
            renew: Duration::from_millis(500),
            deadline: Duration::from_secs(2),
        };
        election
    }

    #[tokio::test]
    async fn a_holder_whose_renewals_get_no_answer_stops_before_another_may_begin() {
        let hangs = Arc::new(AtomicBool::new(false));
        let stuck = Arc::clone(&hangs);
        let renewed = Arc::new(Mutex::new(Instant::now()));
        let last = Arc::clone(&renewed);
        let server = Server::begin(move |request| {
            if stuck.load(Ordering::Acquire) {
                return Answer::Never;
            }
            *last.lock().unwrap() = Instant::now();
            match request.method.as_str() {
                "GET" => Answer::not_found(),
                _ => Answer::ok(request.body),
            }
        })
        .await;
        let term = Term::over();
        assert!(!term.lasts());
        let (leads, mut leading) = watch::channel(false);
        let (_stop, mut stopped) = watch::channel(false);
        let run = election(&server, &Clock::system()).run(&term, &leads, &mut stopped);
        let watched = async {
            leading.wait_for(|leads| *leads).await.unwrap();
            hangs.store(true, Ordering::Release);
        };
        tokio::join!(run, watched);
        assert!(!term.lasts());
        let another_may_begin = *renewed.lock().unwrap() + DURATION;
        assert!(Instant::now() < another_may_begin);
    }

    #[tokio::test]
    async fn a_holder_gives_the_lease_up_only_after_its_last_request() {
        let lease = Arc::new(Mutex::new(None::<serde_json::Value>));
        let kept = Arc::clone(&lease);
        let server = Server::begin(move |request| {
            let mut lease = kept.lock().unwrap();
            match (request.method.as_str(), &*lease) {
                ("GET", Some(lease)) => Answer::ok(lease.clone()),
                ("GET", None) => Answer::not_found(),
                _ => {
                    *lease = Some(request.body.clone());
                    Answer::ok(request.body)
                }
            }
        })
        .await;
        let term = Term::over();
        let (leads, mut leading) = watch::channel(false);
        let (stop, mut stopped) = watch::channel(false);
        let hands = ManualClock::at((UNIX_EPOCH + Duration::from_secs(1_767_225_600)).into());
        let run = election(&server, &hands.clock()).run(&term, &leads, &mut stopped);
        let stops = async {
            leading.wait_for(|leads| *leads).await.unwrap();
            stop.send_replace(true);
        };
        tokio::join!(run, stops);
        assert!(!term.lasts());
        let lease = lease.lock().unwrap().clone().unwrap();
        assert_eq!(lease["spec"].get("holderIdentity"), None, "{lease}");
        assert_eq!(
            lease["spec"]["renewTime"],
            json!("2026-01-01T00:00:00.000000Z")
        );
    }
}
