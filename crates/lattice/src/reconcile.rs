//! What nodes observe becomes what callers see: things turn `ACTIVE` when they work, fail when they keep
//! failing, and go when nothing of them is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Group, spawn_reconciler};
use lath_ec2_records::Vpc;
use lath_feed::{Condition, Observed, TargetHealth, TargetKey};
use lath_model::Timestamp;
use lath_model::id::ServiceId;
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;
use tokio::sync::Mutex;

use crate::record::{
    Failure, Listener, Service, ServiceAssociation, Target, TargetGroup, UNSETTLED, VpcAssociation,
};
use crate::region::Exported;
use crate::resource::{endpoint as resource_endpoint, reconcile as resources, verification};
use crate::shape::{Status, VpcAssociationStatus};
use crate::{
    Lattice, action, canary, certificate, endpoint, region, target_group, vpc_association,
    workload_authority,
};

/// How often to look when nothing woke us: drain times end without an event.
const PERIOD: Duration = Duration::from_secs(2);

/// How long something may fail while it is being made before it counts as failed. Nodes keep trying, so a
/// passing fault must not end what can only be deleted and made again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a deregistered target may finish what is in flight: AWS's documented minute. It goes sooner
/// when the node says that nothing is left.
const DRAIN: Duration = Duration::from_secs(60);

/// Starts what turns observations into states.
pub fn reconcilers(app: &Arc<Lattice>, group: &mut Group) {
    let reconciler = Arc::new(Reconciler::new(Arc::clone(app)));
    let cell = app.cell.clone();
    let pass = move || {
        let reconciler = Arc::clone(&reconciler);
        async move { reconciler.pass().await }
    };
    spawn_reconciler(group, cell, "lattice", PERIOD, pass);
    canary::reconciler(app, group);
}

/// Compares what is recorded with what is observed.
pub(crate) struct Reconciler {
    app: Arc<Lattice>,
    /// Since when things that are being made have been failing. Lost with the process, which only gives
    /// them more time.
    failing: Mutex<BTreeMap<String, Timestamp>>,
}

/// A record that something may have to be done about. A step is done only while the record is still the
/// one that was judged.
#[derive(Clone)]
enum Subject {
    Service(Arc<Service>),
    Group(Arc<TargetGroup>),
    ServiceAssociation(Arc<ServiceAssociation>),
    VpcAssociation(Arc<VpcAssociation>),
    Target(Arc<Target>),
    Resource(resources::Subject),
}

/// What is to be said of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubjectState {
    /// Nothing is known yet.
    Pending,
    /// It works.
    Works,
    /// It does not, so far.
    Broken(String),
    /// It never will.
    Failed(Failure),
    /// Nothing of it is left.
    Gone,
}

impl Reconciler {
    pub(crate) fn new(app: Arc<Lattice>) -> Self {
        Self {
            app,
            failing: Mutex::default(),
        }
    }

    /// Does what is to be done now; doing it twice is the same as doing it once.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub(crate) async fn pass(&self) -> Result<(), ApiError> {
        let db = &self.app.cell.db;
        let observed = Arc::clone(&self.app.cell.observed.borrow());
        let now = self.app.cell.now();
        certificate::renew(&self.app.cell, now).await?;
        workload_authority::renew(&self.app.cell, now).await?;
        let judged = judge_all(&db.view(), &observed, now);
        let steps = self.ripe(judged, now).await;
        let verified = verification::judged(&self.app, &db.view(), now);
        let led = resource_endpoint::steps(&self.app.cell, &db.view());
        if steps.is_empty() && verified.is_empty() && led.is_empty() {
            return Ok(());
        }
        db.write(|tx| {
            for step in resource_endpoint::steps(&self.app.cell, tx.view()) {
                resource_endpoint::settle(tx, step);
            }
            for next in verified {
                verification::settle(tx, next);
            }
            for (subject, verdict) in steps {
                subject.settle(tx, verdict, now);
            }
            Ok(())
        })
        .await
    }

    /// The verdicts that can be carried out: what is broken has to be so for a while.
    async fn ripe(
        &self,
        judged: Vec<(Subject, SubjectState)>,
        now: Timestamp,
    ) -> Vec<(Subject, SubjectState)> {
        let mut failing = self.failing.lock().await;
        let mut still = BTreeMap::new();
        let mut steps = Vec::new();
        for (subject, verdict) in judged {
            match verdict {
                SubjectState::Pending => {}
                SubjectState::Broken(reason) => {
                    let id = subject.id();
                    let since = failing.get(&id).copied().unwrap_or(now);
                    still.insert(id, since);
                    if now.since(since) >= PATIENCE {
                        steps.push((subject, SubjectState::Failed(data_plane(reason))));
                    }
                }
                verdict => steps.push((subject, verdict)),
            }
        }
        *failing = still;
        steps
    }
}

fn data_plane(message: String) -> Failure {
    Failure {
        code: "InternalFailure".to_owned(),
        message,
    }
}

fn judge_all(view: &View, observed: &Observed, now: Timestamp) -> Vec<(Subject, SubjectState)> {
    // What is settled stays so: there is nothing to look at.
    let services = view.by::<Service>("state", UNSETTLED).map(|it| {
        (
            Subject::Service(Arc::clone(&it)),
            service(view, observed, &it),
        )
    });
    let groups = view
        .by::<TargetGroup>("state", UNSETTLED)
        .map(|it| (Subject::Group(Arc::clone(&it)), group(view, observed, &it)));
    let service_associations = view.by::<ServiceAssociation>("state", UNSETTLED).map(|it| {
        let verdict = service_association(view, observed, &it);
        (Subject::ServiceAssociation(it), verdict)
    });
    let vpc_associations = view.by::<VpcAssociation>("state", UNSETTLED).map(|it| {
        let verdict = association(view, observed, &it);
        (Subject::VpcAssociation(it), verdict)
    });
    let draining = view.by::<Target>("state", UNSETTLED).map(|it| {
        let verdict = target(view, observed, &it, now);
        (Subject::Target(it), verdict)
    });
    let resources = resources::judge_all(view, observed);
    let resources = resources
        .into_iter()
        .map(|(it, verdict)| (Subject::Resource(it), verdict));
    services
        .chain(groups)
        .chain(service_associations)
        .chain(vpc_associations)
        .chain(draining)
        .chain(resources)
        .collect()
}

/// What a condition says of a change made right after revision `after`. Where nodes have nothing to do
/// (`idle`), having obeyed the change is enough.
pub(crate) fn made(
    condition: Option<&Condition>,
    observed: &Observed,
    after: u64,
    idle: bool,
) -> SubjectState {
    let obeyed = observed.applied_version > after;
    match condition {
        Some(Condition::Ready { version }) if *version > after => SubjectState::Works,
        Some(Condition::Failed { reason }) if obeyed => SubjectState::Broken(reason.clone()),
        None if idle && obeyed => SubjectState::Works,
        _ => SubjectState::Pending,
    }
}

pub(crate) fn gone(is: bool) -> SubjectState {
    if is {
        SubjectState::Gone
    } else {
        SubjectState::Pending
    }
}

fn has_listeners(view: &View, service: &ServiceId) -> bool {
    if let Some(service) = region::find_service(view, service) {
        return !service.listeners.is_empty();
    }
    view.range::<Listener>(&format!("{service}/"))
        .next()
        .is_some()
}

fn service(view: &View, observed: &Observed, record: &Service) -> SubjectState {
    let (condition, after) = (observed.services.get(&record.id), record.status_after);
    match record.status {
        Status::CreateInProgress => {
            let idle = !has_listeners(view, &record.id);
            made(condition, observed, after, idle)
        }
        Status::DeleteInProgress => gone(condition.is_none() && observed.applied_version > after),
        _ => SubjectState::Pending,
    }
}

/// A group is nothing by itself: it works when its VPC is there, and one of a function at once.
fn group(view: &View, observed: &Observed, record: &TargetGroup) -> SubjectState {
    let missing = record.vpc.as_ref();
    let missing = missing.filter(|vpc| view.get::<Vpc>(vpc.as_str()).is_none());
    match (record.status, missing) {
        (Status::CreateInProgress, None) => SubjectState::Works,
        (Status::CreateInProgress, Some(vpc)) => SubjectState::Failed(Failure {
            code: "ResourceNotFoundException".to_owned(),
            message: format!("VPC {vpc} not found"),
        }),
        (Status::DeleteInProgress, _) => gone(!observed.targets.contains_key(&record.id)),
        _ => SubjectState::Pending,
    }
}

fn service_association(
    view: &View,
    observed: &Observed,
    record: &ServiceAssociation,
) -> SubjectState {
    let (condition, after) = (observed.services.get(&record.service), record.status_after);
    match record.status {
        Status::CreateInProgress | Status::Active if is_orphaned(view, record) => {
            withdrawn("service network or service")
        }
        Status::CreateInProgress => {
            let network = record.network.as_str();
            let idle = !has_listeners(view, &record.service)
                || !view.has::<VpcAssociation>("network", network);
            made(condition, observed, after, idle)
        }
        Status::DeleteInProgress => gone(match condition {
            Some(Condition::Ready { version }) => *version > after,
            Some(Condition::Failed { .. }) | None => observed.applied_version > after,
        }),
        _ => SubjectState::Pending,
    }
}

/// Whether another region deleted its side of an association.
fn is_orphaned(view: &View, record: &ServiceAssociation) -> bool {
    let network = |exported: &Exported| exported.networks.iter().any(|it| it.id == record.network);
    let service = |exported: &Exported| exported.services.iter().any(|it| it.id == record.service);
    region::is_withdrawn(view, record.foreign_network.as_deref(), network)
        || region::is_withdrawn(view, record.foreign_service.as_deref(), service)
}

fn withdrawn(what: &str) -> SubjectState {
    SubjectState::Failed(Failure {
        code: "ResourceNotFoundException".to_owned(),
        message: format!("The other region's {what} was deleted"),
    })
}

fn association(view: &View, observed: &Observed, record: &VpcAssociation) -> SubjectState {
    use VpcAssociationStatus::{Active, CreateInProgress, DeleteInProgress, UpdateInProgress};
    let network = |exported: &Exported| exported.networks.iter().any(|it| it.id == record.network);
    let in_use = matches!(record.status, CreateInProgress | Active | UpdateInProgress);
    if in_use && region::is_withdrawn(view, record.foreign_network.as_deref(), network) {
        return withdrawn("service network");
    }
    let condition = observed.vpc_associations.get(&record.id);
    let after = record.status_after;
    match record.status {
        CreateInProgress | UpdateInProgress => made(condition, observed, after, false),
        DeleteInProgress => gone(condition.is_none() && observed.applied_version > after),
        _ => SubjectState::Pending,
    }
}

/// A draining target goes when the node says that nothing is in flight, or when nothing can be because no
/// rule uses its group, and at the latest when the drain time is over.
fn target(view: &View, observed: &Observed, record: &Target, now: Timestamp) -> SubjectState {
    let Some(since) = record.draining_since else {
        return SubjectState::Pending;
    };
    let key = TargetKey {
        id: record.id.clone(),
        port: record.port,
    };
    let seen = observed.targets.get(&record.group);
    let idle = seen
        .and_then(|targets| targets.get(&key))
        .is_some_and(|it| match it.health {
            TargetHealth::Drained => it.since >= since,
            TargetHealth::Unused => action::users(view, &record.group).is_empty(),
            _ => false,
        });
    gone(idle || now.since(since) >= DRAIN)
}

/// Whether the state still holds the record that was judged.
pub(crate) fn still<R: Record>(tx: &Tx, record: &R, same: impl Fn(&R) -> bool) -> bool {
    tx.get::<R>(&record.id()).is_some_and(|now| same(&now))
}

/// The record's next state, by its present one; `None` when it goes.
fn next(verdict: SubjectState) -> Option<(Status, Option<Failure>)> {
    match verdict {
        SubjectState::Failed(failure) => Some((Status::CreateFailed, Some(failure))),
        SubjectState::Gone => None,
        SubjectState::Works | SubjectState::Pending | SubjectState::Broken(_) => {
            Some((Status::Active, None))
        }
    }
}

fn next_vpc(
    was: VpcAssociationStatus,
    verdict: SubjectState,
) -> Option<(VpcAssociationStatus, Option<Failure>)> {
    let updating = was == VpcAssociationStatus::UpdateInProgress;
    match next(verdict)? {
        (Status::CreateFailed, failure) if updating => {
            Some((VpcAssociationStatus::UpdateFailed, failure))
        }
        (Status::CreateFailed, failure) => Some((VpcAssociationStatus::CreateFailed, failure)),
        (_, failure) => Some((VpcAssociationStatus::Active, failure)),
    }
}

impl Subject {
    fn id(&self) -> String {
        match self {
            Self::Service(it) => it.id(),
            Self::Group(it) => it.id(),
            Self::ServiceAssociation(it) => it.id(),
            Self::VpcAssociation(it) => it.id(),
            Self::Target(it) => it.id(),
            Self::Resource(it) => it.id(),
        }
    }

    /// Carries a verdict out, unless the record changed since it was judged.
    fn settle(&self, tx: &mut Tx, verdict: SubjectState, now: Timestamp) {
        match self {
            Self::Service(it) => settle_service(tx, it, verdict, now),
            Self::Group(it) => settle_group(tx, it, verdict, now),
            Self::ServiceAssociation(it) => settle_service_association(tx, it, verdict, now),
            Self::VpcAssociation(it) => settle_vpc_association(tx, it, verdict, now),
            Self::Resource(it) => it.settle(tx, verdict, now),
            Self::Target(it) => {
                if still(tx, &**it, |known| known == &**it) {
                    tx.delete::<Target>(&it.id());
                }
            }
        }
    }
}

fn settle_service(tx: &mut Tx, it: &Service, verdict: SubjectState, now: Timestamp) {
    let same = |known: &Service| (known.status, known.status_after) == (it.status, it.status_after);
    if !still(tx, it, same) {
        return;
    }
    let Some((status, failure)) = next(verdict) else {
        tx.delete::<Service>(it.id.as_str());
        return;
    };
    tx.update::<Service>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}

fn settle_group(tx: &mut Tx, it: &TargetGroup, verdict: SubjectState, now: Timestamp) {
    if !still(tx, it, |known| known.status == it.status) {
        return;
    }
    let Some((status, failure)) = next(verdict) else {
        target_group::remove(tx, it);
        return;
    };
    tx.update::<TargetGroup>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}

fn settle_service_association(
    tx: &mut Tx,
    it: &ServiceAssociation,
    verdict: SubjectState,
    now: Timestamp,
) {
    let same = |known: &ServiceAssociation| {
        (known.status, known.status_after) == (it.status, it.status_after)
    };
    if !still(tx, it, same) {
        return;
    }
    let Some((status, failure)) = next(verdict) else {
        tx.delete::<ServiceAssociation>(it.id.as_str());
        return;
    };
    if failure.is_some() {
        endpoint::withdraw(tx, it);
    }
    tx.update::<ServiceAssociation>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}

fn settle_vpc_association(tx: &mut Tx, it: &VpcAssociation, verdict: SubjectState, now: Timestamp) {
    let same =
        |known: &VpcAssociation| (known.status, known.status_after) == (it.status, it.status_after);
    if !still(tx, it, same) {
        return;
    }
    let Some((status, failure)) = next_vpc(it.status, verdict) else {
        vpc_association::remove(tx, it);
        return;
    };
    tx.update::<VpcAssociation>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}
