//! What nodes observe of resources becomes their states.

use std::collections::BTreeSet;
use std::sync::Arc;

use lath_feed::Observed;
use lath_model::Timestamp;
use lath_store::{Record, Tx, View};

use super::{ResourceAssociation, ResourceConfiguration, ResourceGateway, gateway};
use crate::reconcile::{SubjectState, gone, made, still};
use crate::record::{Failure, UNSETTLED, VpcAssociation};
use crate::shape::{ChangingStatus, ResourceAssociationStatus, ResourceConfigurationType};

/// A record that something may have to be done about.
#[derive(Clone)]
pub(crate) enum Subject {
    Gateway(Arc<ResourceGateway>),
    Configuration(Arc<ResourceConfiguration>),
    Association(Arc<ResourceAssociation>),
}

/// What is to be said of each of them.
pub(crate) fn judge_all(view: &View, observed: &Observed) -> Vec<(Subject, SubjectState)> {
    let gateways = view.by::<ResourceGateway>("state", UNSETTLED).map(|it| {
        let verdict = of_gateway(observed, &it);
        (Subject::Gateway(it), verdict)
    });
    let configurations = view
        .by::<ResourceConfiguration>("state", UNSETTLED)
        .map(|it| {
            let verdict = of_configuration(view, observed, &it);
            (Subject::Configuration(it), verdict)
        });
    let associations = view
        .by::<ResourceAssociation>("state", UNSETTLED)
        .map(|it| {
            let verdict = of_association(view, observed, &it);
            (Subject::Association(it), verdict)
        });
    gateways.chain(configurations).chain(associations).collect()
}

fn of_gateway(observed: &Observed, it: &ResourceGateway) -> SubjectState {
    use ChangingStatus::{CreateInProgress, DeleteInProgress, UpdateInProgress};
    let condition = observed.resource_gateways.get(&it.id);
    let after = it.status_after;
    match it.status {
        CreateInProgress | UpdateInProgress => made(condition, observed, after, false),
        DeleteInProgress => gone(condition.is_none() && observed.applied_version > after),
        _ => SubjectState::Pending,
    }
}

/// A configuration works when its gateway does, and a change of it when all who reach it have heard.
fn of_configuration(view: &View, observed: &Observed, it: &ResourceConfiguration) -> SubjectState {
    use ChangingStatus::{CreateInProgress, DeleteInProgress, UpdateInProgress};
    let mut associations = view.by::<ResourceAssociation>("configuration", it.id.as_str());
    let after = it.status_after;
    let obeyed = observed.applied_version > after;
    match it.status {
        CreateInProgress if !obeyed => SubjectState::Pending,
        CreateInProgress => match view.get::<ResourceGateway>(it.gateway.as_str()) {
            Some(gateway) if super::is_served(gateway.status) => SubjectState::Works,
            _ => SubjectState::Failed(Failure {
                code: "ResourceNotFoundException".to_owned(),
                message: format!("ResourceGateway {} not found", it.gateway),
            }),
        },
        UpdateInProgress => {
            if !obeyed {
                return SubjectState::Pending;
            }
            let conditions =
                associations.filter_map(|it| observed.resource_associations.get(&it.id));
            let verdicts = conditions.map(|it| made(Some(it), observed, after, false));
            // A lasting failure is reported; otherwise the last association is waited for.
            verdicts.fold(SubjectState::Works, |all, one| match (&all, &one) {
                (SubjectState::Broken(_), _) | (_, SubjectState::Works) => all,
                _ => one,
            })
        }
        DeleteInProgress => gone(obeyed && associations.next().is_none()),
        _ => SubjectState::Pending,
    }
}

fn of_association(view: &View, observed: &Observed, it: &ResourceAssociation) -> SubjectState {
    use ResourceAssociationStatus::{CreateInProgress, DeleteInProgress, Partial};
    let configuration = view.get::<ResourceConfiguration>(it.configuration.as_str());
    let kind = configuration.map(|it| it.kind);
    let after = it.status_after;
    let condition = observed.resource_associations.get(&it.id);
    match it.status {
        CreateInProgress | Partial if kind == Some(ResourceConfigurationType::Group) => {
            of_children(view, observed, it)
        }
        CreateInProgress => {
            let network = it.network.as_str();
            let idle = !view.has::<VpcAssociation>("network", network);
            made(condition, observed, after, idle)
        }
        DeleteInProgress => {
            let mut children = view.by::<ResourceAssociation>("parent", it.id.as_str());
            let left = condition.is_some() || children.next().is_some();
            gone(!left && observed.applied_version > after)
        }
        _ => SubjectState::Pending,
    }
}

/// A group's association is what those of its children are.
fn of_children(view: &View, observed: &Observed, it: &ResourceAssociation) -> SubjectState {
    use ResourceAssociationStatus::{CreateFailed, CreateInProgress};
    let children = view.by::<ResourceAssociation>("parent", it.id.as_str());
    let states: BTreeSet<&str> = children.map(|child| child.status.as_str()).collect();
    let has = |status: ResourceAssociationStatus| states.contains(status.as_str());
    if observed.applied_version <= it.status_after || has(CreateInProgress) {
        return SubjectState::Pending;
    }
    match (has(CreateFailed), it.status) {
        (false, _) => SubjectState::Works,
        (true, ResourceAssociationStatus::Partial) => SubjectState::Pending,
        (true, _) => SubjectState::Failed(Failure {
            code: "InternalFailure".to_owned(),
            message: "Some child resource configurations could not be associated".to_owned(),
        }),
    }
}

/// A changing thing's next state, by its present one; `None` when it goes.
fn next(was: ChangingStatus, verdict: SubjectState) -> Option<(ChangingStatus, Option<Failure>)> {
    use ChangingStatus::{Active, CreateFailed, UpdateFailed, UpdateInProgress};
    match verdict {
        SubjectState::Gone => None,
        SubjectState::Failed(failure) if was == UpdateInProgress => {
            Some((UpdateFailed, Some(failure)))
        }
        SubjectState::Failed(failure) => Some((CreateFailed, Some(failure))),
        SubjectState::Works | SubjectState::Pending | SubjectState::Broken(_) => {
            Some((Active, None))
        }
    }
}

impl Subject {
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Gateway(it) => it.id(),
            Self::Configuration(it) => it.id(),
            Self::Association(it) => it.id(),
        }
    }

    /// Carries a verdict out, unless the record changed since it was judged.
    pub(crate) fn settle(&self, tx: &mut Tx, verdict: SubjectState, now: Timestamp) {
        match self {
            Self::Gateway(it) => settle_gateway(tx, it, verdict, now),
            Self::Configuration(it) => settle_configuration(tx, it, verdict, now),
            Self::Association(it) => settle_association(tx, it, verdict, now),
        }
    }
}

fn settle_gateway(tx: &mut Tx, it: &ResourceGateway, verdict: SubjectState, now: Timestamp) {
    let same = |known: &ResourceGateway| {
        (known.status, known.status_after) == (it.status, it.status_after)
    };
    if !still(tx, it, same) {
        return;
    }
    let Some((status, failure)) = next(it.status, verdict) else {
        gateway::remove(tx, it);
        return;
    };
    tx.update::<ResourceGateway>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}

fn settle_configuration(
    tx: &mut Tx,
    it: &ResourceConfiguration,
    verdict: SubjectState,
    now: Timestamp,
) {
    let same = |known: &ResourceConfiguration| {
        (known.status, known.status_after) == (it.status, it.status_after)
    };
    if !still(tx, it, same) {
        return;
    }
    let Some((status, failure)) = next(it.status, verdict) else {
        tx.delete::<ResourceConfiguration>(it.id.as_str());
        return;
    };
    tx.update::<ResourceConfiguration>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}

fn settle_association(
    tx: &mut Tx,
    it: &ResourceAssociation,
    verdict: SubjectState,
    now: Timestamp,
) {
    use ResourceAssociationStatus::{Active, CreateFailed, Partial};
    let same = |known: &ResourceAssociation| {
        (known.status, known.status_after) == (it.status, it.status_after)
    };
    if !still(tx, it, same) {
        return;
    }
    let is_group = it.address.is_unspecified();
    let (status, failure) = match verdict {
        SubjectState::Gone => {
            tx.delete::<ResourceAssociation>(it.id.as_str());
            return;
        }
        SubjectState::Failed(failure) if is_group => (Partial, Some(failure)),
        SubjectState::Failed(failure) => (CreateFailed, Some(failure)),
        SubjectState::Works | SubjectState::Pending | SubjectState::Broken(_) => (Active, None),
    };
    tx.update::<ResourceAssociation>(it.id.as_str(), |record| {
        (record.status, record.failure, record.updated_at) = (status, failure, now);
    });
}
