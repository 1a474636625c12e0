//! ECR: repositories of container images, over the store that nodes of clusters pull from.
//!
//! [`Ecr`] holds a region's cell and the installation's images, and handles every operation that [`service`] registers.
//! Repositories, their policies and tags are records; images are files of the store, under the name of the registry
//! `ACCOUNT.dkr.ecr.REGION.amazonaws.com`. [`Doorkeeper`] judges who pulls and pushes there by OCI distribution, with the same
//! permissions as the API's operations need.
//!
//! Not there: scanning, replication, signing, encryption with keys of KMS, archives. Requests for them are refused.

mod bounds;
mod doorkeeper;
mod fault;
mod images;
mod layers;
mod logins;
mod mutability;
mod policies;
mod record;
mod registry;
mod removal;
mod repositories;
mod resource_types;
mod shape;
mod tags;

use std::sync::Arc;

use lath_control::Cell;
use lath_registry::{Images, Repository, StoreError};
use lath_service::{App, Stateful};
use lath_store::{Db, View};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use doorkeeper::Doorkeeper;
pub use logins::{Login, Logins};
pub use policies::policy_of;
pub use record::kinds;
pub use removal::finish_removals;

/// The service of one region.
pub struct Ecr {
    /// The region.
    pub cell: Cell,
    /// The images of the installation.
    pub images: Images,
    /// Makes and reads the passwords of clients.
    pub logins: Arc<dyn Logins>,
    /// Where OCI clients of this region connect, such as `http://127.0.0.1:4568`.
    pub endpoint: String,
    /// Held while the images of a deleted repository are removed.
    removing: tokio::sync::Mutex<()>,
}

impl App for Ecr {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Ecr {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Ecr, |app| app.view(), app.cell.owner());

/// What identifies ECR on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "ecr",
    model: "ecr",
    version: "2015-09-21",
    xmlns: "",
    target_prefix: "AmazonEC2ContainerRegistry_V20150921",
    protocols: &[Protocol::Json11],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Ecr>) -> Service {
    let registers = [
        registry::register,
        repositories::register,
        images::register,
        layers::register,
        policies::register,
        tags::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}

impl Ecr {
    /// The service of a region, over the images of the installation.
    pub fn new(cell: Cell, images: Images, logins: Arc<dyn Logins>, endpoint: String) -> Self {
        Self {
            cell,
            images,
            logins,
            endpoint,
            removing: tokio::sync::Mutex::default(),
        }
    }

    /// `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, or what the partition's names end in.
    pub(crate) fn host(&self) -> String {
        let cell = &self.cell;
        let end = cell.partition().dns_suffix();
        format!("{}.dkr.ecr.{}.{end}", cell.account, cell.region)
    }

    /// The images of a repository.
    pub(crate) fn store(&self, name: &str) -> Result<Repository, ApiError> {
        self.images
            .repository(&self.host(), name)
            .map_err(|error| fault::invalid_parameter(error.to_string()))
    }
}

/// Runs file operations where they block no task.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)
}

pub(crate) fn of_store(error: StoreError) -> ApiError {
    ApiError::internal(error)
}
