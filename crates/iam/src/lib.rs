//! IAM: roles, users, groups, policies, access keys, instance profiles and identity providers of the account, and
//! what they may do.
//!
//! Written in the home region only; [`SECTION`] carries everything, secrets included, to the other regions
//! over the encrypted channel, where the same records answer lookups and policy decisions without the home.
//!
//! Not here: who signed a request (`lath-judge`), how policies are judged (`lath-policy`), what a
//! provider's token proves (`lath-sts`).

mod aws_policies;
mod bounds;
mod check;
mod contribution;
mod directory;
mod errors;
mod groups;
mod holder;
mod keys;
mod last_used;
mod oidc_providers;
mod other_credentials;
mod page;
mod policies;
mod profiles;
pub mod records;
pub mod resource_types;
mod roles;
mod section;
mod service_linked;
mod simulate;
mod stated;
mod summary;
mod trust;
pub mod unique;
mod users;
mod versions;

use std::sync::Arc;

use lath_control::{Cell, Mode};
use lath_service::{App, Stateful, Way};
use lath_store::{Db, View};
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

pub use check::Tag;
pub use contribution::contribute;
pub use directory::{Directory, Held, pass_role, trusts_service};
pub use last_used::LastUsed;
pub use records::kinds;
pub use section::SECTION;
pub use trust::{pin_trust_policies, trust_in_force};

/// The service. In regions that are not the home, it only reads.
pub struct Iam {
    /// The region.
    pub cell: Cell,
    /// When keys were last used, as this process saw it.
    pub last_used: Arc<LastUsed>,
    statements: stated::Statements,
}

impl App for Iam {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }

    /// Other regions hold copies, which are replaced by what the home says next.
    fn admit(&self, way: Way) -> Result<(), ApiError> {
        let topology = &self.cell.topology;
        if way == Way::Read || topology.is_home() {
            return Ok(());
        }
        let (home, region) = (&topology.home, &topology.region);
        let text = format!("IAM changes only in its home region, {home}; {region} has a copy.");
        Err(ApiError::new("ServiceUnavailable", 503, text))
    }
}

impl Stateful for Iam {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Iam, |app| app.view(), app.cell.owner());

/// What identifies IAM on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "iam",
    model: "iam",
    version: "2010-05-08",
    xmlns: "https://iam.amazonaws.com/doc/2010-05-08/",
    target_prefix: "",
    protocols: &[Protocol::Query],
};

impl Iam {
    /// The service of a cell.
    pub fn new(cell: Cell, last_used: Arc<LastUsed>) -> Self {
        Self {
            cell,
            last_used,
            statements: stated::Statements::default(),
        }
    }

    /// Tells the simulator what the operations of these services need permission for: it then shows the condition
    /// keys that Lath cannot fill in, and decides by them as the front door does.
    pub fn learn(&self, services: &[Service]) {
        self.statements.learn(services);
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.cell.mode == Mode::Strict
    }
}

/// The operations, and who handles them.
pub fn service(app: &Arc<Iam>) -> Service {
    let registers = [
        roles::register,
        users::register,
        groups::register,
        keys::register,
        other_credentials::register,
        policies::register,
        versions::register,
        profiles::register,
        oidc_providers::register,
        service_linked::register,
        simulate::register,
        summary::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}
