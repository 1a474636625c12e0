//! Add-ons: what EKS keeps in a cluster for the user.

pub(crate) mod catalogue;
mod configuration;

use std::sync::Arc;

use lath_control::Cell;
use lath_service::{Refuses, operations};
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::fault::{self, About as _};
use crate::record::{Addon, Cluster, Issue, PodIdentity, UpdateOf, key};
use crate::resource_types::{ADDON, CLUSTER, POD_IDENTITY, pairs};
use crate::roles::{self, EKS, PODS, Passing as _};
use crate::shape::*;
use crate::updates::{self, param};
use crate::{Eks, clusters, page, pod_identities, token};

operations! {
    for Eks as "eks";
    change CreateAddon: post "/clusters/{name}/addons" 200 -> OneAddon = create, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
            .tagged(|op, _| pairs(&op.tags))
            .passing(|op| op.service_account_role_arn.iter().cloned().collect(), |_| EKS.to_owned())
            .passing(|op| given_roles(op.pod_identity_associations.as_ref()), |_| PODS.to_owned())
        => refusing ["" CreateAddon];
    read DescribeAddon: get "/clusters/{name}/addons/{addonName}" 200 -> OneAddon = describe, checked, awaited
        => on(&ADDON, |op, _| key(&op.cluster_name, &op.addon_name));
    read ListAddons: get "/clusters/{name}/addons" 200 -> ListAddonsResponse = list, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    change UpdateAddon: post "/clusters/{name}/addons/{addonName}/update" 200 -> OneUpdate = update, checked
        => on(&ADDON, |op, _| key(&op.cluster_name, &op.addon_name))
            .on(&POD_IDENTITY, |op, at| associations(at.view, &op.cluster_name, &op.addon_name))
            .passing(|op| op.service_account_role_arn.iter().cloned().collect(), |_| EKS.to_owned())
            .passing(|op| given_roles(op.pod_identity_associations.as_ref()), |_| PODS.to_owned());
    change DeleteAddon: delete "/clusters/{name}/addons/{addonName}" 200 -> OneAddon = delete, checked
        => on(&ADDON, |op, _| key(&op.cluster_name, &op.addon_name))
            .on(&POD_IDENTITY, |op, at| associations(at.view, &op.cluster_name, &op.addon_name));
}

impl Refuses for CreateAddon {
    fn names() -> Vec<String> {
        vec!["namespaceConfig".to_owned()]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let namespace = self.namespace_config.as_ref();
        match namespace.and_then(|it| it.namespace.as_deref()) {
            None | Some("kube-system") => Ok(()),
            Some(_) => Err(fault::unsupported(
                "add-ons in another namespace than kube-system",
            )),
        }
    }
}

fn given_roles(given: Option<&Vec<AddonPodIdentityAssociations>>) -> Vec<String> {
    let given = given.into_iter().flatten().take(20);
    given.map(|it| it.role_arn.clone()).collect()
}

/// The associations that came with an add-on.
fn associations(view: &View, cluster: &str, name: &str) -> Vec<String> {
    let addon = view.get::<Addon>(&key(cluster, name));
    let ids = addon.map(|it| it.associations.clone()).unwrap_or_default();
    ids.iter().map(|id| key(cluster, id)).collect()
}

fn find(view: &View, cluster: &str, name: &str) -> Result<Arc<Addon>, ApiError> {
    fault::check_cluster(view, cluster)?;
    let addon = view.get::<Addon>(&key(cluster, name));
    addon.ok_or_else(|| fault::no_addon(cluster, name))
}

pub(crate) fn arn(cell: &Cell, it: &Addon) -> String {
    let resource = format!("addon/{}/{}/{}", it.cluster, it.name, it.uuid);
    cell.arn("eks", resource)
}

fn one(app: &Eks, it: &Addon) -> OneAddon {
    let cell = &app.cell;
    let issue = |it: &Issue| AddonIssue {
        code: it.code.clone(),
        message: it.message.clone(),
        resource_ids: it.resource_ids.clone(),
    };
    let associations = it.associations.iter();
    let associations: Vec<String> = associations
        .map(|id| pod_identities::arn(cell, &it.cluster, id))
        .collect();
    OneAddon {
        addon: Some(AddonItem {
            addon_name: Some(it.name.clone()),
            cluster_name: Some(it.cluster.clone()),
            status: Some(it.status),
            addon_version: Some(it.version.clone()),
            health: Some(AddonHealth {
                issues: it.issues.iter().map(issue).collect(),
            }),
            addon_arn: Some(arn(cell, it)),
            created_at: Some(it.created_at),
            modified_at: Some(it.modified_at),
            service_account_role_arn: it.role.clone(),
            tags: it.tags.clone(),
            publisher: Some("eks".into()),
            owner: Some(catalogue::owner(&it.name).into()),
            configuration_values: it.configuration.clone(),
            pod_identity_associations: (!associations.is_empty()).then_some(associations),
            namespace_config: Some(AddonNamespaceConfig {
                namespace: Some("kube-system".into()),
            }),
        }),
    }
}

fn create(app: &Eks, tx: &mut Tx, mut op: CreateAddon) -> Result<OneAddon, ApiError> {
    let client_token = op.client_request_token.take();
    let cluster = clusters::find(tx.view(), &op.cluster_name)?;
    let id = key(&op.cluster_name, &op.addon_name);
    let used = token::claim(tx, "CreateAddon", client_token.as_deref(), &op, &id)?;
    if let Some(known) = used.and_then(|id| tx.get::<Addon>(&id)) {
        return Ok(one(app, &known));
    }
    let about = |error: ApiError| {
        error
            .about_cluster(&op.cluster_name)
            .about_addon(&op.addon_name)
    };
    if !cluster.is_active() && cluster.status != ClusterStatus::Updating {
        return Err(fault::not_active(&op.cluster_name));
    }
    op.refuse()?;
    let wanted = op.addon_version.as_deref();
    let version = catalogue::version(app, &op.addon_name, wanted).map_err(about)?;
    if tx.get::<Addon>(&id).is_some() {
        return Err(about(fault::in_use("Addon already exists.")));
    }
    if let Some(text) = &op.configuration_values {
        catalogue::check_configuration(&op.addon_name, text).map_err(about)?;
    }
    check_role(app, tx.view(), op.service_account_role_arn.as_deref())?;
    let given = op.pod_identity_associations.as_deref().unwrap_or_default();
    let associations = associate(app, tx, &op.cluster_name, &op.addon_name, given)?;
    take_over(tx, &cluster, &op.addon_name);
    let now = tx.now();
    let addon = tx.put(Addon {
        cluster: op.cluster_name,
        name: op.addon_name,
        uuid: uuid::Uuid::new_v4().to_string(),
        version,
        role: op.service_account_role_arn,
        configuration: op.configuration_values,
        associations,
        preserve: false,
        status: AddonStatus::Creating,
        status_after: tx.view().revision(),
        issues: Vec::new(),
        tags: op.tags,
        created_at: now,
        modified_at: now,
    });
    Ok(one(app, &addon))
}

/// An add-on that the cluster had without EKS is EKS's from now on.
fn take_over(tx: &mut Tx, cluster: &Cluster, name: &str) {
    if cluster.self_managed_addons.contains_key(name) {
        tx.update::<Cluster>(&cluster.name, |it| {
            it.self_managed_addons.remove(name);
        });
    }
}

fn check_role(app: &Eks, view: &View, arn: Option<&str>) -> Result<(), ApiError> {
    let Some(arn) = arn else { return Ok(()) };
    if roles::find(&app.cell, view, arn).is_none() {
        return Err(fault::invalid_parameter(format!(
            "The role with ARN {arn} was not found."
        )));
    }
    Ok(())
}

/// Makes the associations that a request gives an add-on, in place of those that it has.
fn associate(
    app: &Eks,
    tx: &mut Tx,
    cluster: &str,
    name: &str,
    given: &[AddonPodIdentityAssociations],
) -> Result<Vec<String>, ApiError> {
    dissociate(tx, cluster, name);
    let owner = app.cell.arn("eks", format!("addon/{cluster}/{name}"));
    let mut ids = Vec::new();
    for one in given.iter().take(20) {
        catalogue::check_service_account(name, &one.service_account)?;
        roles::of_pods(&app.cell, tx.view(), &one.role_arn)?;
        let made = pod_identities::make(
            tx,
            cluster,
            "kube-system",
            &one.service_account,
            &one.role_arn,
            Some(owner.clone()),
        )?;
        ids.push(made.id.clone());
    }
    Ok(ids)
}

fn dissociate(tx: &mut Tx, cluster: &str, name: &str) {
    for id in associations(tx.view(), cluster, name) {
        tx.delete::<PodIdentity>(&id);
    }
}

fn describe(app: &Eks, view: &View, op: &DescribeAddon) -> Result<OneAddon, ApiError> {
    let addon = find(view, &op.cluster_name, &op.addon_name)?;
    Ok(one(app, &addon))
}

fn list(_app: &Eks, view: &View, op: &ListAddons) -> Result<ListAddonsResponse, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    let prefix = format!("{}/", op.cluster_name);
    let names = view.range::<Addon>(&prefix).map(|it| it.name.clone());
    let page = page(
        names,
        String::clone,
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListAddonsResponse {
        addons: page.items,
        next_token: page.next_token,
    })
}

fn update(app: &Eks, tx: &mut Tx, mut op: UpdateAddon) -> Result<OneUpdate, ApiError> {
    let client_token = op.client_request_token.take();
    let addon = find(tx.view(), &op.cluster_name, &op.addon_name)?;
    let (id, token) = (updates::new_id(), client_token.as_deref());
    let known = updates::claim(tx, "UpdateAddon", token, &op, &op.cluster_name, &id)?;
    if let Some(known) = known {
        return Ok(known);
    }
    let of = UpdateOf::Addon(addon.name.clone());
    if let Some(open) = updates::open(tx.view(), &addon.cluster, &of).first() {
        let text = format!(
            "Addon {} currently has update {} in progress",
            addon.name, open.id
        );
        return Err(fault::in_use(text).about_addon(&addon.name));
    }
    if addon.status == AddonStatus::Deleting {
        return Err(fault::invalid_request("Addon is being deleted.").about_addon(&addon.name));
    }
    let mut next = Addon::clone(&addon);
    let mut params = Vec::new();
    let wanted = op.addon_version.as_deref();
    next.version = catalogue::version(app, &addon.name, wanted)?;
    if let Some(wanted) = wanted {
        params.push(param("AddonVersion", wanted));
    }
    if let Some(text) = op.configuration_values {
        catalogue::check_configuration(&addon.name, &text)?;
        params.push(param("ConfigurationValues", text.clone()));
        next.configuration = Some(text).filter(|it| !it.trim().is_empty());
    }
    if let Some(arn) = op.service_account_role_arn {
        check_role(app, tx.view(), Some(&arn))?;
        params.push(param("ServiceAccountRoleArn", arn.clone()));
        next.role = Some(arn);
    }
    if let Some(given) = op.pod_identity_associations {
        next.associations = associate(app, tx, &addon.cluster, &addon.name, &given)?;
        let value = serde_json::to_string(&given).unwrap_or_default();
        params.push(param("PodIdentityAssociations", value));
    }
    if let Some(how) = op.resolve_conflicts {
        params.push(param("ResolveConflicts", how.as_str()));
    }
    next.status = AddonStatus::Updating;
    next.status_after = tx.view().revision();
    next.modified_at = tx.now();
    tx.put(next);
    let update = updates::begin(tx, id, &addon.cluster, of, UpdateType::Addon, params);
    Ok(updates::one(&update))
}

fn delete(app: &Eks, tx: &mut Tx, op: DeleteAddon) -> Result<OneAddon, ApiError> {
    let addon = find(tx.view(), &op.cluster_name, &op.addon_name)?;
    let preserve = op.preserve == Some(true);
    dissociate(tx, &addon.cluster, &addon.name);
    if preserve {
        // It stays in the cluster, without EKS.
        let kept = lath_feed::Addon {
            version: addon.version.clone(),
            configuration: addon.configuration.clone(),
        };
        tx.update::<Cluster>(&addon.cluster, |it| {
            it.self_managed_addons.insert(addon.name.clone(), kept);
        });
    }
    let mut next = Addon::clone(&addon);
    next.status = AddonStatus::Deleting;
    next.status_after = tx.view().revision();
    next.associations.clear();
    next.preserve = preserve;
    let of = UpdateOf::Addon(addon.name.clone());
    updates::end(tx, &addon.cluster, &of, UpdateStatus::Cancelled, None);
    Ok(one(app, &tx.put(next)))
}

/// Forgets an add-on of which nothing is left to manage.
pub(crate) fn forget(tx: &mut Tx, addon: &Addon) {
    tx.delete::<Addon>(&addon.id());
}
