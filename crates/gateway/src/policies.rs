//! Policies of AWS's group that attach something to a Gateway's service network or to a route's service.

use kube::ResourceExt as _;
use serde_json::json;

use crate::attach::controller_of;
use crate::condition::{Verdict, merged};
use crate::controller::{App, Undone};
use crate::desired::{MANAGED_BY, Tags, key, tags};
use crate::kinds::{Policy, PolicyKind, RouteKind};
use crate::lattice::{Fault, id_of};
use crate::settings::Settings;
use crate::world::{Name, World};

/// What a policy is for.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A service network, by its name.
    Network(String),
    /// A service, by its id.
    Service(String),
}

/// What a policy's target is in Lattice, or why it has none.
fn target(
    world: &World,
    settings: &Settings,
    (kind, name, policy): (PolicyKind, &Name, &Policy),
) -> Result<Target, Verdict> {
    let reference = &policy.spec.target_ref;
    let at = Name::new(&name.namespace, &reference.name);
    let missing = || {
        Verdict::bad(
            "TargetNotFound",
            format!("there is no {} {at} of this controller", reference.kind),
        )
    };
    let found = match (reference.kind.as_str(), kind) {
        ("Gateway", _) => {
            let gateway = world
                .gateways
                .get(&at)
                .filter(|it| it.metadata.deletion_timestamp.is_none());
            let gateway = gateway.ok_or_else(missing)?;
            controller_of(world, settings, gateway).ok_or_else(missing)?;
            Target::Network(settings.network_of(&at.name).to_owned())
        }
        ("HTTPRoute" | "GRPCRoute", PolicyKind::Auth)
        | ("HTTPRoute" | "GRPCRoute" | "TLSRoute", PolicyKind::Log) => {
            let kinds = RouteKind::ALL.into_iter();
            let kind = kinds.into_iter().find(|it| it.kind() == reference.kind);
            let route = kind
                .and_then(|kind| world.route(kind, &at))
                .ok_or_else(missing)?;
            let arn = route
                .annotations()
                .get(&key("lattice-service-arn"))
                .ok_or_else(|| {
                    Verdict::bad(
                        "TargetNotFound",
                        format!("{} {at} has no service yet", reference.kind),
                    )
                })?;
            Target::Service(id_of(arn))
        }
        (other, _) => {
            return Err(Verdict::bad(
                "Invalid",
                format!("such a policy cannot be for a {other}"),
            ));
        }
    };
    // Of several, the oldest counts.
    let age = |name: &Name, policy: &Policy| (policy.creation_timestamp(), name.clone());
    let mine = age(name, policy);
    let rivals = world.policies.get(&kind).into_iter().flatten();
    let mut rivals = rivals.filter(|(other, it)| {
        let theirs = &it.spec.target_ref;
        other.namespace == name.namespace
            && it.metadata.deletion_timestamp.is_none()
            && (&theirs.kind, &theirs.name) == (&reference.kind, &reference.name)
            && age(other, it) < mine
    });
    match rivals.next() {
        Some((other, _)) => Err(Verdict::bad("Conflicted", format!("{other} is older"))),
        None => Ok(found),
    }
}

impl App {
    pub(crate) async fn policy(&self, kind: PolicyKind, name: &Name) -> Result<(), Undone> {
        let form = self.form(kind.resource());
        let (policy, target) = {
            let world = self.look();
            let Some(policy) = world
                .policies
                .get(&kind)
                .and_then(|it| it.get(name))
                .cloned()
            else {
                return Ok(());
            };
            let target = target(&world, &self.settings, (kind, name, &policy));
            (policy, target)
        };
        let held = policy.finalizers().iter().any(|it| it == kind.finalizer());
        let recorded = policy.annotations().get(&key(kind.record())).cloned();
        if policy.metadata.deletion_timestamp.is_some() {
            if held {
                if let Some(resource) = &recorded {
                    self.detach(kind, name, resource).await?;
                }
                self.finalizer(&form, &*policy, |all| {
                    all.retain(|it| it != kind.finalizer())
                })
                .await?;
            }
            return Ok(());
        }
        let resource = match target {
            Ok(Target::Service(id)) => Ok(id),
            Ok(Target::Network(network)) => match self.lattice.network(&network).await? {
                Some(network) => Ok(network.id),
                None => Err(Verdict::bad(
                    "TargetNotFound",
                    format!("there is no service network {network}"),
                )),
            },
            Err(verdict) => Err(verdict),
        };
        if let Some(before) = &recorded
            && resource.as_ref().ok() != Some(before)
        {
            self.detach(kind, name, before).await?;
            self.annotate(&form, &*policy, &[(kind.record(), None)])
                .await?;
            // The new state comes by the watch, and with it this work again.
            return Ok(());
        }
        let (verdict, undone) = match resource {
            Err(verdict) => (verdict, None),
            Ok(resource) => {
                if !held {
                    let finalizer = kind.finalizer().to_owned();
                    self.finalizer(&form, &*policy, |all| all.push(finalizer))
                        .await?;
                    return Ok(());
                }
                // Written down before it is done, so that it can be undone whatever happens in between.
                self.annotate(&form, &*policy, &[(kind.record(), Some(&resource))])
                    .await?;
                match self.attach(kind, name, &policy, &resource).await {
                    Ok(()) => (Verdict::good("Accepted"), None),
                    Err(fault @ Fault::Waits(_)) => (Verdict::good("Accepted"), Some(fault)),
                    Err(fault) => (Verdict::bad("Invalid", fault.to_string()), Some(fault)),
                }
            }
        };
        let waits = verdict.reason == "TargetNotFound";
        let message = verdict.message.clone();
        let generation = policy.metadata.generation.unwrap_or_default();
        let known = policy.status.clone().unwrap_or_default().conditions;
        let conditions = merged(
            &known,
            vec![verdict.condition("Accepted", generation)],
            &["Accepted"],
        );
        if conditions != known {
            // The annotations of just now made another version: this is of the same specification.
            let latest = self.api(name, &form).get(&policy.name_any()).await?;
            let latest: Policy = latest;
            self.set_status(&form, &latest, json!({"conditions": conditions}))
                .await?;
        }
        match undone {
            Some(fault) => Err(fault.into()),
            None if waits => Err(Fault::Waits(message).into()),
            None => Ok(()),
        }
    }

    /// The tags of a subscription that a policy has made.
    fn log_tags(&self, name: &Name) -> Tags {
        tags([
            (MANAGED_BY, &self.settings.managed_by()),
            ("AccessLogPolicy", &name.to_string()),
        ])
    }

    async fn attach(
        &self,
        kind: PolicyKind,
        name: &Name,
        policy: &Policy,
        resource: &str,
    ) -> Result<(), Fault> {
        let spec = &policy.spec;
        match kind {
            PolicyKind::Auth => {
                let document = spec.policy.as_deref().unwrap_or_default();
                self.lattice.attach_auth(resource, document).await
            }
            PolicyKind::Log => {
                let destination = spec.destination_arn.as_deref().unwrap_or_default();
                self.lattice
                    .attach_log(resource, destination, &self.log_tags(name))
                    .await
                    .map(drop)
            }
            PolicyKind::Vpc if spec.associate_with_vpc == Some(false) => {
                self.lattice.detach_vpc(resource).await
            }
            PolicyKind::Vpc => self
                .lattice
                .attach_vpc(resource, &spec.security_group_ids)
                .await
                .map(drop),
        }
    }

    async fn detach(&self, kind: PolicyKind, name: &Name, resource: &str) -> Result<(), Fault> {
        match kind {
            PolicyKind::Auth => self.lattice.detach_auth(resource).await,
            PolicyKind::Log => {
                self.lattice
                    .detach_log(resource, &self.log_tags(name))
                    .await
            }
            PolicyKind::Vpc => self.lattice.detach_vpc(resource).await,
        }
    }
}
