//! The Lease that says which of several controllers writes. It is that of AWS's controller, so that in one namespace the
//! two do not write at once.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;

/// The Lease's name.
const NAME: &str = "amazon-vpc-lattice.io";
/// How long a Lease is believed without a renewal.
const DURATION: Duration = Duration::from_secs(10);
/// How often it is renewed, and looked at.
const RENEW: Duration = Duration::from_secs(2);
/// After how long without a renewal its holder stops writing, before another may begin.
const DEADLINE: Duration = Duration::from_secs(8);

pub(crate) struct Election {
    api: Api<Lease>,
    identity: String,
    /// The version of another's Lease, and since when it is that one: clocks of others are not trusted.
    seen: Option<(String, Instant)>,
}

impl Election {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let since = since.unwrap_or_default().as_nanos();
        let pid = std::process::id();
        Self {
            api: Api::namespaced(client, namespace),
            identity: format!("{}_{pid}_{since}", host.trim()),
            seen: None,
        }
    }

    /// Takes part for as long as the process lives. Ends when the Lease was held, and is lost.
    pub(crate) async fn run(
        mut self,
        leads: &watch::Sender<bool>,
        stop: &mut watch::Receiver<bool>,
    ) {
        let mut renewed: Option<Instant> = None;
        loop {
            match tokio::time::timeout(RENEW * 2, self.attempt()).await {
                Ok(Ok(true)) => {
                    renewed = Some(Instant::now());
                    if !leads.send_replace(true) {
                        tracing::info!(identity = self.identity, "this controller leads");
                    }
                }
                Ok(Ok(false)) if renewed.is_some() => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be had"),
                Err(_) => tracing::warn!("the API server does not answer in time about the Lease"),
            }
            if renewed.is_some_and(|at| at.elapsed() > DEADLINE) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(RENEW) => {}
                _ = stop.wait_for(|stop| *stop) => {
                    if renewed.is_some() {
                        self.release().await;
                    }
                    return;
                }
            }
        }
    }

    fn held(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(k8s_openapi::jiff::Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
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
            let patience = patience.map_or(DURATION, Duration::from_secs);
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
