//! The image registry of a region: OCI clients on a port of the host, with the passwords of `GetAuthorizationToken`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_ecr::{Doorkeeper, Ecr, Login, Logins};
use lath_identity::Identity;
use lath_registry::{Access, Images};
use lath_wire::{Authorize, Caller};
use tokio::net::TcpListener;
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

/// A registry that has its port.
pub(crate) struct BoundRegistry {
    pub(crate) at: RegistryAt,
    pub(crate) listener: TcpListener,
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
        let directory = installation.join(lath_registry::DIRECTORY);
        let images = Images::open(&directory)
            .with_context(|| format!("cannot open the images in {}", directory.display()))?;
        let listen = listener.local_addr()?;
        Ok(BoundRegistry {
            at: Self { images, listen },
            listener,
        })
    }
}

/// Serves OCI clients until it is cancelled.
pub(crate) async fn serve(listener: TcpListener, ecr: Arc<Ecr>, stop: CancellationToken) {
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
pub(crate) struct RegistryLogins(pub(crate) Arc<Identity>);

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
