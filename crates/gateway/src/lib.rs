//! The Gateway API controller: Gateways and routes of a cluster become services of VPC Lattice.
//!
//! It is a client of two APIs, that of Kubernetes and that of VPC Lattice, and of nothing else of Lath: with AWS's endpoint
//! it does the same as with Lath's. Watches keep a picture of the cluster (`world`), and put what a change touches into a
//! queue; for each object in it a plan is made (`plan`, values out of values), VPC Lattice is brought to it (`lattice`),
//! and the status says what came of it (`controller`).

mod attach;
mod authorities;
mod backend_tls;
mod condition;
mod controller;
mod desired;
mod dns_endpoints;
mod entrance;
mod expose;
mod features;
#[doc(hidden)]
pub mod fuzzing;
mod gates;
mod gateway;
mod group_policies;
mod guards;
mod imports;
mod kinds;
mod lattice;
mod lease;
mod listener_sets;
mod listeners;
mod long_tags;
mod matching;
mod mcs;
mod metrics;
mod plan;
mod policies;
mod probes;
mod queue;
pub mod report;
mod routes;
mod secrets;
mod service_networks;
mod settings;
mod shown;
#[cfg(test)]
mod tests;
mod traffic;
mod unserved;
mod watch;
mod webhook;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use kube::config::{Config, KubeConfigOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as channel;

use crate::controller::App;
use crate::expose::Records;
pub use crate::expose::selector;
use crate::lattice::Lattice;
use crate::lattice::shared::Shared;
use crate::lease::{Election, Term};
use crate::probes::Probes;
pub use crate::settings::{AWS_CONTROLLER, OWN_CONTROLLER, Settings};
use crate::webhook::Webhook;
use crate::webhook::certificate::{Renewer, Served};

/// How often everything is looked at again, for changes that others made in VPC Lattice.
const RESYNC: Duration = Duration::from_secs(600);

/// How long the webhook still answers when the controller ends.
const LINGER: Duration = Duration::from_secs(5);

async fn client(context: Option<&String>) -> anyhow::Result<Client> {
    let config = match context {
        Some(context) => {
            let options = KubeConfigOptions {
                context: Some(context.clone()),
                ..KubeConfigOptions::default()
            };
            Config::from_kubeconfig(&options)
                .await
                .context("the kubeconfig cannot be used")?
        }
        None => Config::infer()
            .await
            .context("there is no cluster to be a controller of")?,
    };
    Client::try_from(config).context("no client of the cluster can be made")
}

/// Is a controller until SIGTERM or SIGINT.
///
/// # Errors
/// When there is no cluster to reach, or another controller has taken over.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let listener = probes::listen(settings.metrics_address.as_deref()).await?;
    let webhook = match &settings.webhook_address {
        Some(address) => Some(webhook::listen(address).await?),
        None => None,
    };
    let client = client(settings.context.as_ref()).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, mut stopped) = channel::channel(false);
    let (leads, leading) = channel::channel(!settings.leader_elect);
    let term = Arc::new(match settings.leader_elect {
        true => Term::over(),
        false => Term::endless(),
    });
    let lattice = Lattice::new(&settings, Arc::clone(&term)).await;
    let election = settings.leader_elect.then(|| {
        Election::new(
            client.clone(),
            &settings.lease_namespace,
            settings.clock.clone(),
        )
    });
    tokio::spawn(unserved::report(client.clone()));
    let app = Arc::new(App::new(client, settings, lattice));
    if !app.settings.discover_zones.is_empty() {
        let metrics = app.lattice.metrics();
        let shared = Shared::new(&app.settings, Arc::clone(&term), metrics).await;
        app.records
            .get_or_init(|| Records::new(&shared, &app.settings));
    }
    let mut others = Vec::new();
    for region in &app.settings.cluster_set_regions {
        let settings = Settings {
            region: region.clone(),
            ..app.settings.clone()
        };
        let lattice = Lattice::new(&settings, Arc::clone(&term)).await;
        others.push((region.clone(), lattice));
    }
    // Also a controller that does not lead keeps the picture, so that it can take over at once.
    let unread = watch::begin(&app);
    let read = Arc::new(AtomicBool::new(false));
    let certified = webhook.map(|listener| serve_webhook(&app, &read, listener));
    let probes = Probes {
        app: Arc::clone(&app),
        read: Arc::clone(&read),
        leads: leading.clone(),
        certified,
    };
    let _probes = listener.map(|listener| tokio::spawn(probes.serve(listener)));
    let mut workers = {
        let (app, mut leading) = (Arc::clone(&app), leading);
        tokio::spawn(async move {
            unread.none_left().await;
            read.store(true, Ordering::Release);
            if leading.wait_for(|leads| *leads).await.is_ok() {
                tracing::info!("the cluster is read, the work begins");
                lead(&app, others).await;
            }
        })
    };
    let elections = async {
        match election {
            Some(election) => election.run(&term, &leads, &mut stopped).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(elections);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = &mut elections => {
            workers.abort();
            anyhow::bail!("the Lease is lost");
        }
        // One that leads and does not work would keep others from it.
        _ = &mut workers => anyhow::bail!("a worker is gone"),
    }
    tracing::info!("the controller ends");
    // What is under way is left where it is: the next controller goes on from what is there.
    workers.abort();
    let _ended = workers.await;
    // Not even what a worker had prepared already is sent after this.
    term.end();
    stop.send_replace(true);
    if app.settings.leader_elect {
        elections.await;
    }
    if app.settings.webhook_address.is_some() {
        // The API server asks for as long as it has this address, and pods that it cannot ask about are refused.
        tokio::time::sleep(LINGER).await;
    }
    Ok(())
}

/// Serves the webhook, in every replica; gives what it is served with.
fn serve_webhook(app: &Arc<App>, read: &Arc<AtomicBool>, listener: TcpListener) -> Arc<Served> {
    let served = Arc::<Served>::default();
    let name = app.settings.webhook_configuration.clone();
    let renewer = Renewer::new(Arc::clone(app), Arc::clone(&served), name);
    let webhook = Webhook::new(Arc::clone(app), Arc::clone(read), Arc::clone(&served));
    tokio::spawn(renewer.keep());
    tokio::spawn(webhook.serve(listener));
    served
}

async fn lead(app: &Arc<App>, others: Vec<(String, Lattice)>) {
    mcs::follow(app, others);
    let mut all = tokio::task::JoinSet::new();
    tokio::spawn(dns_endpoints::look_for(Arc::clone(app)));
    for _ in 0..app.settings.workers.max(1) {
        all.spawn(Arc::clone(app).work());
    }
    if let Some(network) = app.settings.default_service_network.clone() {
        let app = Arc::clone(app);
        all.spawn(async move {
            // The VPC's place in it is Lattice's business once it is asked for.
            let guards = |target: &guards::Target| app.guard(target);
            while let Err(fault) = app.lattice.ensure_network(&network, true, &guards).await {
                tracing::info!(service_network = network, error = %fault, "the default service network is not there yet");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            std::future::pending::<()>().await;
        });
    }
    let mut resync = tokio::time::interval(RESYNC);
    resync.tick().await;
    loop {
        tokio::select! {
            _ = resync.tick() => {
                app.lattice.forget().await;
                app.world().refused.clear();
                if let Some(records) = app.records.get() {
                    records.forget().await;
                }
                app.enqueue_all();
            }
            Some(ended) = all.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a worker is gone");
                    return;
                }
            }
        }
    }
}
