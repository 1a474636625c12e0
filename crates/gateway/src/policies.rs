//! Policies of AWS's group that attach something to a Gateway's service network or to a route's service.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use serde_json::json;

use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::desired::{MANAGED_BY, Tags, key, tags};
use crate::guards::{self, Target};
use crate::kinds::{Policy, PolicyKind};
use crate::lattice::{Fault, Guarded};
use crate::world::Name;

impl App {
    /// The id of what a target is in Lattice, or why it is not there.
    async fn resource_of(&self, target: &Target) -> Result<Result<String, ConditionState>, Fault> {
        let missing = |why: String| ConditionState::bad("TargetNotFound", why);
        Ok(match target {
            Target::Network(network) => self
                .lattice
                .network(network)
                .await?
                .map(|it| it.id)
                .ok_or_else(|| missing(format!("there is no service network {network}"))),
            Target::Exposed(service) => {
                let (names, identity) = self.exposed_service(service);
                self.lattice
                    .own_service(&names, &identity)
                    .await?
                    .ok_or_else(|| missing(format!("Service {service} is not exposed")))
            }
            Target::Route(kind, route) => {
                // By its tags: an annotation of the route could name anybody's service.
                let (names, identity) = self.service_of(*kind, route);
                self.lattice
                    .own_service(&names, &identity)
                    .await?
                    .ok_or_else(|| missing(format!("{} {route} has no service yet", kind.kind())))
            }
        })
    }

    /// What a policy is for, or why it is for nothing.
    fn target_of(
        &self,
        kind: PolicyKind,
        name: &Name,
        policy: &Policy,
    ) -> Result<Target, ConditionState> {
        let world = self.look();
        let target = guards::target(&world, &self.settings, (kind, name, policy))?;
        match guards::counting(&world, &self.settings, kind, &target) {
            Some((other, _)) if other != name => Err(ConditionState::bad(
                "Conflicted",
                format!("{other} is older"),
            )),
            _ => Ok(target),
        }
    }

    pub(crate) async fn policy(&self, kind: PolicyKind, name: &Name) -> Result<(), Undone> {
        let form = self.form(kind.resource());
        let policy = {
            let world = self.look();
            let policies = world.policies.get(&kind);
            let Some(policy) = policies.and_then(|it| it.get(name)).cloned() else {
                return Ok(());
            };
            policy
        };
        let held = policy.finalizers().iter().any(|it| it == kind.finalizer());
        let recorded = recorded(kind, &policy);
        if policy.metadata.deletion_timestamp.is_some() {
            if held {
                self.end(kind, name, &policy, recorded).await?;
                self.finalizer(&form, &*policy, |all| {
                    all.retain(|it| it != kind.finalizer());
                })
                .await?;
            }
            return Ok(());
        }
        let target = self.target_of(kind, name, &policy);
        if target.is_ok() && !held {
            // Before anything is brought about, so that it ends with the policy. Even a service that is not made yet
            // waits for it. The new state comes by the watch, and with it this work again.
            let finalizer = kind.finalizer().to_owned();
            self.finalizer(&form, &*policy, |all| all.push(finalizer))
                .await?;
            return Ok(());
        }
        let (verdict, undone) = match target {
            Err(verdict) => (verdict, None),
            Ok(target) => match self.resource_of(&target).await? {
                Err(verdict) => {
                    // What makes it says nothing to this policy.
                    let waits = Fault::Waits(verdict.message.clone());
                    (verdict, Some(waits))
                }
                Ok(resource) => {
                    let result = self
                        .bring_about(kind, (name, &policy), &target, (&resource, recorded))
                        .await;
                    match result {
                        Ok(()) => (ConditionState::good("Accepted"), None),
                        Err(Undone::Lattice(fault @ Fault::Waits(_))) => {
                            (ConditionState::good("Accepted"), Some(fault))
                        }
                        Err(Undone::Lattice(fault @ Fault::Conflict(_))) => (
                            ConditionState::bad("Conflicted", fault.to_string()),
                            Some(fault),
                        ),
                        Err(Undone::Lattice(fault)) => (
                            ConditionState::bad("Invalid", fault.to_string()),
                            Some(fault),
                        ),
                        Err(undone) => return Err(undone),
                    }
                }
            },
        };
        let verdict = match policy.spec.unread.first() {
            Some(field) if verdict.good => ConditionState::bad("Invalid", format!("spec.{field}")),
            _ => verdict,
        };
        let generation = policy.metadata.generation.unwrap_or_default();
        let known = policy.status.clone().unwrap_or_default().conditions;
        let conditions = merged(
            &self.settings.now(),
            &known,
            vec![verdict.condition("Accepted", generation)],
            &["Accepted"],
        );
        if conditions != known {
            // The annotations of just now made another version. One of another specification comes by the watch.
            let latest: Policy = self.api(name, &form).get(&policy.name_any()).await?;
            if latest.metadata.generation == policy.metadata.generation {
                self.set_status(&form, &latest, json!({"conditions": conditions}))
                    .await?;
            }
        }
        undone.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Brings about what a policy says, and only then ends what it said of another target before.
    async fn bring_about(
        &self,
        kind: PolicyKind,
        (name, policy): (&Name, &Policy),
        target: &Target,
        (resource, recorded): (&str, BTreeSet<String>),
    ) -> Result<(), Undone> {
        let form = self.form(kind.resource());
        // Written down before it is done, so that it can be undone whatever happens in between.
        let mut all = recorded.clone();
        all.insert(resource.to_owned());
        self.record(&form, (kind, policy), &all).await?;
        self.attach(kind, (name, policy), target, resource).await?;
        for former in recorded.iter().filter(|it| *it != resource) {
            self.detach(kind, name, former).await?;
        }
        let now = BTreeSet::from([resource.to_owned()]);
        if all != now {
            let latest: Policy = self.api(name, &form).get(&policy.name_any()).await?;
            self.record(&form, (kind, &latest), &now).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        form: &kube::core::ApiResource,
        (kind, policy): (PolicyKind, &Policy),
        resources: &BTreeSet<String>,
    ) -> Result<(), kube::Error> {
        let all: Vec<&str> = resources.iter().map(String::as_str).collect();
        let all = all.join(",");
        self.annotate(form, policy, &[(kind.record(), Some(all.as_str()))])
            .await
    }

    /// Ends all that a policy has brought about.
    async fn end(
        &self,
        kind: PolicyKind,
        name: &Name,
        policy: &Policy,
        mut resources: BTreeSet<String>,
    ) -> Result<(), Fault> {
        // Its service may have been made shut for it before it could write that down.
        let target = guards::target(&self.look(), &self.settings, (kind, name, policy));
        if let Ok(target) = target {
            resources.extend(self.resource_of(&target).await?.ok());
        }
        for resource in &resources {
            self.detach(kind, name, resource).await?;
        }
        Ok(())
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
        (name, policy): (&Name, &Policy),
        target: &Target,
        resource: &str,
    ) -> Result<(), Fault> {
        let spec = &policy.spec;
        match kind {
            PolicyKind::Auth => {
                let guards = |target: &Target| self.guard(target);
                match self.lattice.guard(resource, (target, &guards)).await? {
                    Guarded::AsAsked | Guarded::Not => Ok(()),
                    Guarded::Shut(fault) => Err(fault),
                }
            }
            PolicyKind::Log => {
                let destination = spec.destination_arn.as_deref().unwrap_or_default();
                self.lattice
                    .attach_log(resource, destination, &self.log_tags(name))
                    .await
                    .map(drop)
            }
            PolicyKind::Vpc if spec.associate_with_vpc == Some(false) => {
                self.lattice.detach_vpc(resource, None).await
            }
            PolicyKind::Vpc => self
                .lattice
                .attach_vpc(resource, &name.namespace, &spec.security_group_ids)
                .await
                .map(drop),
        }
    }

    async fn detach(&self, kind: PolicyKind, name: &Name, resource: &str) -> Result<(), Fault> {
        match kind {
            PolicyKind::Auth => {
                let guards = |target: &Target| self.successor(target);
                self.lattice
                    .release(resource, &name.namespace, &guards)
                    .await
            }
            PolicyKind::Log => {
                self.lattice
                    .detach_log(resource, &self.log_tags(name))
                    .await
            }
            PolicyKind::Vpc => {
                let heir = self.heir(kind, resource).await?;
                match heir {
                    // The one that counts now says what becomes of it.
                    true => Ok(()),
                    false => {
                        self.lattice
                            .detach_vpc(resource, Some(&name.namespace))
                            .await
                    }
                }
            }
        }
    }

    /// Whether another policy counts for a network.
    async fn heir(&self, kind: PolicyKind, network: &str) -> Result<bool, Fault> {
        let Some(network) = self.lattice.network(network).await? else {
            return Ok(false);
        };
        let names = [network.name, network.id];
        let world = self.look();
        Ok(names.into_iter().any(|name| {
            let target = Target::Network(name);
            guards::counting(&world, &self.settings, kind, &target).is_some()
        }))
    }
}

/// What a policy is written down to be attached to: several while it moves.
fn recorded(kind: PolicyKind, policy: &Policy) -> BTreeSet<String> {
    let record = policy.annotations().get(&key(kind.record()));
    let all = record.iter().flat_map(|it| it.split(','));
    let all = all.map(str::trim).filter(|it| !it.is_empty());
    all.map(str::to_owned).collect()
}
