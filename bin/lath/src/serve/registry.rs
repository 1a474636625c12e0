//! The image registry of a region: OCI clients on a port of the host, with the passwords of `GetAuthorizationToken`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_ecr::{Doorkeeper, Ecr, Login, Logins};
use lath_judge::Judge;
use lath_registry::{Access, Images};
use lath_wire::{Authorize, Caller};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How often the images of a repository whose deletion was interrupted are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Where the images are, and where OCI clients connect.
#[derive(Debug, Clone)]
pub(crate) struct RegistryAt {
    pub(crate) images: Images,
    pub(crate) listen: SocketAddr,
}

/// How often a port that another process has is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A registry, and its port.
pub(crate) struct BoundRegistry {
    pub(crate) at: RegistryAt,
    pub(crate) port: Port,
}

/// The port of a registry.
pub(crate) enum Port {
    Bound(TcpListener),
    /// Another process has it, as this error says.
    Taken(String),
}

impl RegistryAt {
    /// The URL for clients on this machine.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Takes the port that a region's configuration says, over the images of the installation.
    ///
    /// # Errors
    /// Another process has it, or the directory of images cannot be made.
    pub(crate) async fn bind(
        config: &Config,
        installation: &Path,
    ) -> anyhow::Result<BoundRegistry> {
        let listener = super::listen(config.registry_listen, "registry_listen").await?;
        let at = Self {
            images: images(installation)?,
            listen: listener.local_addr()?,
        };
        let port = Port::Bound(listener);
        Ok(BoundRegistry { at, port })
    }

    /// Like [`Self::bind`], for a control plane that comes back: when another process has the port meanwhile, the region
    /// answers all the same, and [`serve`] takes the port once it is free.
    ///
    /// # Errors
    /// The directory of images cannot be made.
    pub(crate) async fn bind_when_free(
        config: &Config,
        installation: &Path,
    ) -> anyhow::Result<BoundRegistry> {
        let port = match super::listen(config.registry_listen, "registry_listen").await {
            Ok(listener) => Port::Bound(listener),
            Err(error) => Port::Taken(format!("{error:#}")),
        };
        let at = Self {
            images: images(installation)?,
            listen: config.registry_listen,
        };
        Ok(BoundRegistry { at, port })
    }
}

fn images(installation: &Path) -> anyhow::Result<Images> {
    let directory = installation.join(lath_registry::DIRECTORY);
    Images::open(&directory)
        .with_context(|| format!("cannot open the images in {}", directory.display()))
}

/// Takes the port when it is free. Meanwhile `trouble_tx` has what is wrong.
async fn wait_for_port(
    port: Port,
    at: SocketAddr,
    trouble_tx: &watch::Sender<Option<String>>,
) -> TcpListener {
    let mut taken = match port {
        Port::Bound(listener) => return listener,
        Port::Taken(error) => Some(error),
    };
    loop {
        if *trouble_tx.borrow() != taken {
            tracing::warn!(error = taken, "the image registry waits for its port");
        }
        trouble_tx.send_replace(taken);
        tokio::time::sleep(AGAIN).await;
        match super::listen(at, "registry_listen").await {
            Ok(listener) => {
                trouble_tx.send_replace(None);
                return listener;
            }
            Err(error) => taken = Some(format!("{error:#}")),
        }
    }
}

/// Serves OCI clients until it is cancelled. `trouble_tx` has what keeps it from that.
pub(crate) async fn serve(
    (port, at): (Port, SocketAddr),
    ecr: Arc<Ecr>,
    trouble_tx: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let waiting = wait_for_port(port, at, &trouble_tx);
    let Some(listener) = stop.run_until_cancelled(waiting).await else {
        return;
    };
    let images = ecr.images.clone();
    let gate = Arc::new(Doorkeeper::new(Arc::clone(&ecr)));
    let serving = lath_registry::serve(listener, images, Access::Judged(gate), stop.clone());
    let sweeping = async {
        loop {
            if let Err(error) = lath_ecr::finish_removals(&ecr).await {
                tracing::warn!(%error, "images of a deleted repository are not removed yet");
            }
            tokio::time::sleep(SWEEP).await;
        }
    };
    tokio::select! {
        () = serving => {}
        _ = stop.run_until_cancelled(sweeping) => {}
    }
}

/// The identities of the account, as clients of the registry prove them.
pub(crate) struct RegistryLogins(pub(crate) Arc<Judge>);

impl Logins for RegistryLogins {
    fn login(&self, caller: &Caller, life: Duration) -> Option<Login> {
        let (password, expires) = self.0.registry_login(caller, life)?;
        Some(Login { password, expires })
    }

    fn caller(&self, password: &str, region: &str, source: Option<IpAddr>) -> Option<Caller> {
        self.0.registry_caller(password, region, source)
    }

    fn seal(&self, plain: &str) -> String {
        self.0.registry_seal(plain)
    }

    fn open(&self, sealed: &str) -> Option<String> {
        self.0.registry_open(sealed)
    }

    fn judge(&self) -> &dyn Authorize {
        &*self.0
    }
}
