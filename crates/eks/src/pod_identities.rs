//! Pod identity associations: roles for the pods of service accounts.

use std::sync::Arc;

use lath_control::Cell;
use lath_service::{Quota, Refuses, operations};
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;
use rand::Rng as _;

use crate::record::{PodIdentity, key};
use crate::resource_types::{CLUSTER, POD_IDENTITY, pairs};
use crate::roles::{self, PODS, Passing as _};
use crate::shape::*;
use crate::{Eks, clusters, fault, page, token};

/// How many associations a cluster may have.
const ASSOCIATIONS: Quota<&str> = Quota::new("Pod identity association", "L-1000", 1000);

operations! {
    for Eks as "eks";
    change CreatePodIdentityAssociation: post "/clusters/{name}/pod-identity-associations" 200 -> OnePodIdentity = create, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
            .tagged(|op, _| pairs(&op.tags))
            .passing(|op| vec![op.role_arn.clone()], |_| PODS.to_owned())
        => refusing ["" CreatePodIdentityAssociation];
    read DescribePodIdentityAssociation: get "/clusters/{name}/pod-identity-associations/{associationId}" 200
        -> OnePodIdentity = describe, checked
        => on(&POD_IDENTITY, |op, _| key(&op.cluster_name, &op.association_id));
    read ListPodIdentityAssociations: get "/clusters/{name}/pod-identity-associations" 200
        -> ListPodIdentityAssociationsResponse = list, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    change UpdatePodIdentityAssociation: post "/clusters/{name}/pod-identity-associations/{associationId}" 200
        -> OnePodIdentity = update, checked
        => on(&POD_IDENTITY, |op, _| key(&op.cluster_name, &op.association_id))
            .passing(|op| op.role_arn.iter().cloned().collect(), |_| PODS.to_owned())
        => refusing ["" UpdatePodIdentityAssociation];
    change DeletePodIdentityAssociation: delete "/clusters/{name}/pod-identity-associations/{associationId}" 200
        -> OnePodIdentity = delete, checked
        => on(&POD_IDENTITY, |op, _| key(&op.cluster_name, &op.association_id));
}

macro_rules! refuses {
    ($($op:ident)*) => {$(
        impl Refuses for $op {
            fn names() -> Vec<String> {
                ["disableSessionTags: true", "targetRoleArn", "policy"].map(str::to_owned).into()
            }

            fn refuse(&self) -> Result<(), ApiError> {
                let refused = [
                    (self.disable_session_tags == Some(true), "disableSessionTags"),
                    (self.target_role_arn.is_some(), "targetRoleArn"),
                    (self.policy.is_some(), "policies of pod identity associations"),
                ];
                let first = refused.into_iter().find(|(is_set, _)| *is_set);
                first.map_or(Ok(()), |(_, what)| Err(fault::unsupported(what)))
            }
        }
    )*};
}

refuses! { CreatePodIdentityAssociation UpdatePodIdentityAssociation }

fn find(view: &View, cluster: &str, id: &str) -> Result<Arc<PodIdentity>, ApiError> {
    fault::check_cluster(view, cluster)?;
    view.get::<PodIdentity>(&key(cluster, id)).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        fault::not_found(format!("No pod identity association found for id: {shown}"))
    })
}

pub(crate) fn arn(cell: &Cell, cluster: &str, id: &str) -> String {
    cell.arn("eks", format!("podidentityassociation/{cluster}/{id}"))
}

fn one(app: &Eks, it: &PodIdentity) -> OnePodIdentity {
    OnePodIdentity {
        association: Some(PodIdentityItem {
            cluster_name: Some(it.cluster.clone()),
            namespace: Some(it.namespace.clone()),
            service_account: Some(it.service_account.clone()),
            role_arn: Some(it.role_arn.clone()),
            association_arn: Some(arn(&app.cell, &it.cluster, &it.id)),
            association_id: Some(it.id.clone()),
            tags: it.tags.clone(),
            created_at: Some(it.created_at),
            modified_at: Some(it.modified_at),
            owner_arn: it.owner.clone(),
            disable_session_tags: Some(false),
        }),
    }
}

/// `a-` and 17 lower-case letters and digits.
fn new_id() -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let tail = (0..17).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]));
    format!("a-{}", tail.collect::<String>())
}

/// Makes an association.
///
/// # Errors
/// `ResourceInUseException` where the service account has one.
pub(crate) fn make(
    tx: &mut Tx,
    cluster: &str,
    namespace: &str,
    service_account: &str,
    role_arn: &str,
    owner: Option<String>,
) -> Result<Arc<PodIdentity>, ApiError> {
    let prefix = format!("{cluster}/");
    let mut all = tx.view().range::<PodIdentity>(&prefix);
    let twin = all.find(|it| it.namespace == namespace && it.service_account == service_account);
    drop(all);
    if let Some(twin) = twin {
        return Err(fault::in_use(format!(
            "Association already exists: {}",
            twin.id
        )));
    }
    let now = tx.now();
    Ok(tx.put(PodIdentity {
        id: new_id(),
        cluster: cluster.to_owned(),
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        role_arn: role_arn.to_owned(),
        owner,
        tags: Default::default(),
        created_at: now,
        modified_at: now,
    }))
}

fn create(
    app: &Eks,
    tx: &mut Tx,
    mut op: CreatePodIdentityAssociation,
) -> Result<OnePodIdentity, ApiError> {
    let client_token = op.client_request_token.take();
    let cluster = clusters::find(tx.view(), &op.cluster_name)?;
    let scope = key(&op.namespace, &op.service_account);
    let used = token::claim(
        tx,
        "CreatePodIdentityAssociation",
        client_token.as_deref(),
        &op,
        &scope,
    )?;
    if used.is_some() {
        let prefix = format!("{}/", op.cluster_name);
        let mut all = tx.view().range::<PodIdentity>(&prefix);
        let known = all.find(|it| key(&it.namespace, &it.service_account) == scope);
        if let Some(known) = known {
            return Ok(one(app, &known));
        }
    }
    op.refuse()?;
    if !cluster.is_active() && cluster.status != ClusterStatus::Updating {
        return Err(fault::not_active(&op.cluster_name));
    }
    roles::of_pods(&app.cell, tx.view(), &op.role_arn)?;
    let prefix = format!("{}/", op.cluster_name);
    let count = tx.view().range::<PodIdentity>(&prefix).count() + 1;
    ASSOCIATIONS.check(&app.cell, count, |it| fault::too_many(it.kind, it.limit))?;
    let made = make(
        tx,
        &op.cluster_name,
        &op.namespace,
        &op.service_account,
        &op.role_arn,
        None,
    )?;
    let mut tagged = PodIdentity::clone(&made);
    tagged.tags = op.tags;
    Ok(one(app, &tx.put(tagged)))
}

fn describe(
    app: &Eks,
    view: &View,
    op: &DescribePodIdentityAssociation,
) -> Result<OnePodIdentity, ApiError> {
    Ok(one(
        app,
        &*find(view, &op.cluster_name, &op.association_id)?,
    ))
}

fn list(
    app: &Eks,
    view: &View,
    op: &ListPodIdentityAssociations,
) -> Result<ListPodIdentityAssociationsResponse, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    let is = |given: Option<&String>, own: &str| given.is_none_or(|it| it == own);
    let prefix = format!("{}/", op.cluster_name);
    let wanted = view.range::<PodIdentity>(&prefix).filter(|it| {
        is(op.namespace.as_ref(), &it.namespace)
            && is(op.service_account.as_ref(), &it.service_account)
    });
    let key = |it: &Arc<PodIdentity>| it.id.clone();
    let page = page(wanted, key, op.max_results, op.next_token.as_deref())?;
    let shown = |it: &Arc<PodIdentity>| PodIdentitySummary {
        cluster_name: Some(it.cluster.clone()),
        namespace: Some(it.namespace.clone()),
        service_account: Some(it.service_account.clone()),
        association_arn: Some(arn(&app.cell, &it.cluster, &it.id)),
        association_id: Some(it.id.clone()),
        owner_arn: it.owner.clone(),
    };
    Ok(ListPodIdentityAssociationsResponse {
        associations: page.items.iter().map(shown).collect(),
        next_token: page.next_token,
    })
}

fn update(
    app: &Eks,
    tx: &mut Tx,
    op: UpdatePodIdentityAssociation,
) -> Result<OnePodIdentity, ApiError> {
    let known = find(tx.view(), &op.cluster_name, &op.association_id)?;
    op.refuse()?;
    check_owner(&known)?;
    let mut next = PodIdentity::clone(&known);
    if let Some(role) = op.role_arn {
        roles::of_pods(&app.cell, tx.view(), &role)?;
        next.role_arn = role;
    }
    next.modified_at = tx.now();
    Ok(one(app, &tx.put(next)))
}

fn delete(
    app: &Eks,
    tx: &mut Tx,
    op: DeletePodIdentityAssociation,
) -> Result<OnePodIdentity, ApiError> {
    let known = find(tx.view(), &op.cluster_name, &op.association_id)?;
    check_owner(&known)?;
    tx.delete::<PodIdentity>(&known.id());
    Ok(one(app, &known))
}

/// One that came with an add-on changes with it.
fn check_owner(it: &PodIdentity) -> Result<(), ApiError> {
    match &it.owner {
        None => Ok(()),
        Some(owner) => Err(fault::invalid_request(format!(
            "The association is owned by {owner}, and can be changed only there."
        ))),
    }
}
