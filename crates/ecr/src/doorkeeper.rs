//! Judges OCI clients: who sent a request, by its password, and whether the permissions of the API's operations let it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_authz::{Authorized, bounded_permissions};
use lath_model::Timestamp;
use lath_registry::{Asked, Deed, Gate, Refused};
use lath_service::Operation;
use lath_store::View;
use lath_wire::{Ask, Caller, Denied};

use crate::record::Repository;
use crate::registry::USER;
use crate::shape::*;
use crate::{Ecr, fault, logins, mutability};

/// The longest header `Authorization` that is read.
const LONGEST: usize = 48 << 10;

/// The gate of a region's registry.
pub struct Doorkeeper {
    app: Arc<Ecr>,
    host: String,
}

impl Doorkeeper {
    /// The gate of this region.
    pub fn new(app: Arc<Ecr>) -> Self {
        let host = app.host();
        Self { app, host }
    }

    fn unknown(&self, message: &str) -> Refused {
        Refused::Unknown {
            message: message.to_owned(),
            challenge: format!(
                "Basic realm=\"https://{}/\",service=\"ecr.amazonaws.com\"",
                self.host
            ),
        }
    }

    /// Whether a ticket allows just this.
    fn is_ticket(&self, asked: &Asked<'_>) -> bool {
        let reads = matches!(
            asked.deeds.as_slice(),
            [Deed::ReadLayer(_) | Deed::CheckLayer(_)]
        );
        let plain = asked.ticket.as_ref().filter(|_| reads);
        let plain = plain.and_then(|it| self.app.logins.open(it));
        plain.is_some_and(|it| {
            let parts = it.split_once(' ');
            parts.is_some_and(|(until, path)| {
                let until = until.parse().unwrap_or_default();
                path == asked.path && self.app.cell.now() < Timestamp::from_millis(until)
            })
        })
    }

    fn caller(&self, asked: &Asked<'_>) -> Result<Caller, Refused> {
        let Some(header) = asked.authorization else {
            return Err(self.unknown("Not Authorized"));
        };
        let login = password(header).and_then(|it| {
            let region = &self.app.cell.region;
            self.app.logins.caller(&it, region, asked.source)
        });
        login.ok_or_else(|| {
            self.unknown(
                "Your authorization token has expired or is invalid. Reauthenticate and try again.",
            )
        })
    }

    /// Asks the judge whether the caller may call this operation.
    fn may<Op: Authorized + Operation>(
        &self,
        view: &View,
        caller: &Caller,
        asked: &Asked<'_>,
        op: &Op,
    ) -> Result<(), Refused> {
        let owner = self.app.cell.owner();
        let permissions = bounded_permissions(view, owner, caller, op)
            .map_err(|_| Refused::Denied("The request names too much.".to_owned()))?;
        let ask = Ask {
            caller,
            user_agent: asked.user_agent,
            operation: Op::NAME,
            permissions: &permissions,
        };
        match self.app.logins.judge().authorize(&ask) {
            Ok(()) => Ok(()),
            Err(Denied::ByPolicy(refused)) => Err(Refused::Denied(refused.message)),
            Err(Denied::Credentials) => Err(self.unknown("Not Authorized")),
        }
    }

    fn judge(
        &self,
        view: &View,
        caller: &Caller,
        asked: &Asked<'_>,
        deed: &Deed,
    ) -> Result<(), Refused> {
        macro_rules! may {
            ($($op:ident $name:expr),+) => {{
                $(self.may(view, caller, asked, &$op {
                    repository_name: $name.clone(),
                    ..$op::default()
                })?;)+
                self.exists(view, deed)
            }};
        }
        match deed {
            // A login that counts is all that it takes.
            Deed::Enter => Ok(()),
            Deed::ListRepositories => {
                self.may(view, caller, asked, &DescribeRepositories::default())
            }
            Deed::ListTags(name) => may!(ListImages name),
            Deed::ReadManifest(name) => may!(BatchGetImage name),
            Deed::CheckLayer(name) => may!(BatchCheckLayerAvailability name),
            Deed::ReadLayer(name) => may!(GetDownloadUrlForLayer name),
            Deed::BeginUpload(name) => may!(InitiateLayerUpload name),
            Deed::Upload(name) => may!(UploadLayerPart name),
            Deed::FinishUpload(name) => may!(CompleteLayerUpload name),
            Deed::PutManifest(name) => may!(PutImage name),
            Deed::DeleteManifest(name) => may!(BatchDeleteImage name),
        }
    }

    fn exists(&self, view: &View, deed: &Deed) -> Result<(), Refused> {
        let Some(name) = repository(deed) else {
            return Ok(());
        };
        if view.get::<Repository>(name).is_some() {
            return Ok(());
        }
        if fault::check_name(name).is_err() {
            return Err(Refused::BadName(format!(
                "{name:?} is no repository's name"
            )));
        }
        let error = fault::no_repository(name, &self.app.cell.account);
        Err(Refused::NoRepository(error.message))
    }
}

fn repository(deed: &Deed) -> Option<&str> {
    match deed {
        Deed::Enter | Deed::ListRepositories => None,
        Deed::ListTags(name)
        | Deed::ReadManifest(name)
        | Deed::CheckLayer(name)
        | Deed::ReadLayer(name)
        | Deed::BeginUpload(name)
        | Deed::Upload(name)
        | Deed::FinishUpload(name)
        | Deed::PutManifest(name)
        | Deed::DeleteManifest(name) => Some(name),
    }
}

/// The password of a header `Authorization`.
pub(crate) fn password(header: &str) -> Option<String> {
    if header.len() > LONGEST {
        return None;
    }
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    (user == USER).then(|| password.to_owned())
}

impl Gate for Doorkeeper {
    fn registry(&self) -> &str {
        &self.host
    }

    fn admit(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        let view = self.app.cell.db.view();
        if self.is_ticket(asked) {
            let mut deeds = asked.deeds.iter();
            return deeds.try_for_each(|deed| self.exists(&view, deed));
        }
        let caller = self.caller(asked)?;
        let mut deeds = asked.deeds.iter();
        deeds.try_for_each(|deed| self.judge(&view, &caller, asked, deed))
    }

    fn client(&self, asked: &Asked<'_>) -> String {
        let caller = self.caller(asked);
        caller.map_or_else(|_| String::new(), |it| logins::client(&it))
    }

    fn moves(&self, repository: &str, tag: &str) -> Option<bool> {
        let view = self.app.cell.db.view();
        let repository = view.get::<Repository>(repository)?;
        Some(mutability::moves(&repository, tag))
    }

    fn repositories(&self) -> Vec<String> {
        let view = self.app.cell.db.view();
        view.list::<Repository>()
            .map(|it| it.name.clone())
            .collect()
    }
}
