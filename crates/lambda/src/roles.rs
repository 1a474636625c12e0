//! The roles of functions, and the sessions that their processes get.

use std::sync::Arc;
use std::time::Duration;

use lath_authz::Access;
use lath_control::Cell;
use lath_feed::{Hidden, TemporaryKeys};
use lath_iam::records::Role;
use lath_iam::resource_types::ROLE;
use lath_iam::{trusts_service, unique};
use lath_model::Timestamp;
use lath_session::{Holder, SealingKey, Session};
use lath_store::View;
use lath_wire::{ApiError, Operation};

use crate::fault;
use crate::record::RoleSession;

/// Who assumes the roles of functions.
pub(crate) const LAMBDA: &str = "lambda.amazonaws.com";
/// How long a session lives.
const LIFE: Duration = Duration::from_secs(6 * 3600);
/// How old a session is when another replaces it.
const RENEWAL: Duration = Duration::from_secs(3600);

/// A role that Lambda may assume.
///
/// # Errors
/// `InvalidParameterValueException`.
pub(crate) fn of_function(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Role>, ApiError> {
    let role = lath_iam::pass_role(view, cell.owner(), arn).ok();
    let role = role.filter(|it| is_trusting(cell, it));
    role.ok_or_else(|| {
        fault::invalid("The role defined for the function cannot be assumed by Lambda.")
    })
}

fn is_trusting(cell: &Cell, role: &Role) -> bool {
    trusts_service(cell.owner(), role, LAMBDA, "sts:AssumeRole")
}

/// The session that a function has from now on; `None` where its role is gone or trusts Lambda no more, or this
/// installation seals no sessions.
pub(crate) fn session(
    cell: &Cell,
    view: &View,
    role: &str,
    function: &str,
    known: Option<&RoleSession>,
    now: Timestamp,
) -> Option<RoleSession> {
    let role = of_function(cell, view, role).ok()?;
    if let Some(known) = known
        && known.role_id == role.unique_id
        && now.since(known.issued) < RENEWAL
    {
        return Some(known.clone());
    }
    let sealing = &cell.keys.as_ref()?.sealing;
    let key = SealingKey::parse(sealing.0.as_bytes())?;
    let session = Session {
        key: unique::access_key_id("ASIA"),
        secret: unique::secret(),
        issued: now,
        expires: now.plus(LIFE),
        holder: Holder::Role {
            name: role.name.clone(),
            unique_id: role.unique_id.clone(),
            session: function.to_owned(),
        },
        policy: None,
        policy_arns: Vec::new(),
        tags: Default::default(),
        transitive: Vec::new(),
        source_identity: None,
        instance: None,
        federation: Default::default(),
    };
    Some(RoleSession {
        role_id: role.unique_id.clone(),
        issued: now,
        keys: TemporaryKeys {
            token: Hidden(session.seal(&key)),
            id: session.key,
            secret: Hidden(session.secret),
            expires: session.expires,
        },
    })
}

/// What passing a role needs permission for.
pub(crate) trait Passing<Op> {
    /// `iam:PassRole` on the role that a request names, to Lambda.
    fn passing(self, role: fn(&Op) -> Option<String>) -> Self;
}

impl<Op: Operation> Passing<Op> for Access<Op> {
    fn passing(self, role: fn(&Op) -> Option<String>) -> Self {
        self.also("iam:PassRole", &ROLE, move |op, _| role(op))
            .with("iam:PassedToService", |_, _| LAMBDA.to_owned())
    }
}
