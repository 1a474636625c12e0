//! TargetGroupPolicies: for which Service or ServiceExport one is, which of several counts, and what its status says.

use std::sync::Arc;

use kube::ResourceExt as _;
use serde_json::json;

use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::kinds::{self, AWS_GROUP, Policy};
use crate::world::{Key, Name, World};

/// What such a policy can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Service,
    Export,
}

impl Of {
    fn kind(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Export => "ServiceExport",
        }
    }
}

/// What a policy is for, whether that is there or not.
fn target(name: &Name, policy: &Policy) -> Result<(Of, Name), ConditionState> {
    let invalid = |why: String| Err(ConditionState::bad("Invalid", why));
    let reference = &policy.spec.target_ref;
    let of = match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "Service") => Of::Service,
        ("" | AWS_GROUP, "ServiceExport") => Of::Export,
        (group, kind) => {
            return invalid(format!(
                "spec.targetRef: a TargetGroupPolicy is for a Service or a ServiceExport, not for {kind} of group \"{group}\""
            ));
        }
    };
    let namespace = reference.namespace.as_ref();
    if namespace.is_some_and(|it| *it != name.namespace) {
        return invalid(
            "spec.targetRef: a policy is for an object of its own namespace".to_owned(),
        );
    }
    Ok((of, Name::new(&name.namespace, &reference.name)))
}

impl World {
    /// The policies for a Service or an export, that are not deleted.
    fn group_policies_for<'a>(&'a self, of: Of, at: &Name) -> Vec<(&'a Name, &'a Arc<Policy>)> {
        let within = self.group_policies.range(Name::new(&at.namespace, "")..);
        let within = within.take_while(|(name, _)| name.namespace == at.namespace);
        let wanted = (of, at.clone());
        let fitting = within.filter(|(name, policy)| {
            policy.metadata.deletion_timestamp.is_none()
                && target(name, policy).as_ref() == Ok(&wanted)
        });
        fitting.collect()
    }

    /// The policy that counts for a Service's or an export's groups: of several, the oldest.
    pub(crate) fn group_policy<'a>(&'a self, of: Of, at: &Name) -> Option<(&'a Name, &'a Policy)> {
        let all = self.group_policies_for(of, at).into_iter();
        let oldest = all.min_by_key(|(name, policy)| (policy.creation_timestamp(), *name));
        oldest.map(|(name, policy)| (name, &**policy))
    }

    /// What a policy changes: what has groups by it, itself, and the others for the same.
    pub(crate) fn touched_by_group_policy(&self, name: &Name, policy: &Policy) -> Vec<Key> {
        let mut keys = vec![Key::GroupPolicy(name.clone())];
        let Ok((of, at)) = target(name, policy) else {
            return keys;
        };
        match of {
            Of::Service => keys.extend(self.touched_by_service(&at)),
            Of::Export => keys.extend(self.touched_by_export(&at)),
        }
        keys
    }

    /// What a Service changes.
    pub(crate) fn touched_by_service(&self, name: &Name) -> Vec<Key> {
        let mut keys = self.touched_by_backend(crate::world::BackendKind::Service, name);
        let policies = self.group_policies_for(Of::Service, name).into_iter();
        keys.extend(policies.map(|(name, _)| Key::GroupPolicy(name.clone())));
        keys.extend(self.tls_policies_of(name));
        let exposed = Key::Exposed(name.clone());
        if !keys.contains(&exposed) {
            keys.push(exposed);
        }
        keys
    }

    /// What an export changes.
    pub(crate) fn touched_by_export(&self, name: &Name) -> Vec<Key> {
        let policies = self.group_policies_for(Of::Export, name).into_iter();
        let mut keys: Vec<_> = policies
            .map(|(name, _)| Key::GroupPolicy(name.clone()))
            .collect();
        keys.push(Key::Export(name.clone()));
        keys
    }
}

/// What is to be said of a policy.
fn verdict(world: &World, name: &Name, policy: &Policy) -> ConditionState {
    let (of, at) = match target(name, policy) {
        Ok(target) => target,
        Err(verdict) => return verdict,
    };
    if let Some(field) = policy.spec.unread.first() {
        return ConditionState::bad("Invalid", format!("spec.{field}"));
    }
    for (field, value, known) in [
        ("protocol", &policy.spec.protocol, ["HTTP", "HTTPS", "TCP"]),
        (
            "protocolVersion",
            &policy.spec.protocol_version,
            ["HTTP1", "HTTP2", "GRPC"],
        ),
    ] {
        if let Some(value) = value
            && !known.contains(&value.as_str())
        {
            let known = known.join(", ");
            let why = format!("spec.{field}: {value} is none of {known}");
            return ConditionState::bad("Invalid", why);
        }
    }
    let there = match of {
        Of::Service => world.services.contains_key(&at),
        Of::Export => world.exports.contains_key(&at),
    };
    if !there {
        let why = format!("there is no {} {at}", of.kind());
        return ConditionState::bad("TargetNotFound", why);
    }
    match world.group_policy(of, &at) {
        Some((other, _)) if other != name => ConditionState::bad(
            "Conflicted",
            format!("{other} is for {} {at} too, and older", of.kind()),
        ),
        _ => ConditionState::good("Accepted"),
    }
}

impl App {
    /// Says what becomes of a policy. What it asks for is brought about with the groups that it is for.
    pub(crate) async fn group_policy(&self, name: &Name) -> Result<(), Undone> {
        let (policy, verdict) = {
            let world = self.look();
            let Some(policy) = world.group_policies.get(name).cloned() else {
                return Ok(());
            };
            let verdict = verdict(&world, name, &policy);
            (policy, verdict)
        };
        if policy.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let generation = policy.metadata.generation.unwrap_or_default();
        let known = policy.status.clone().unwrap_or_default().conditions;
        let new = vec![verdict.condition("Accepted", generation)];
        let conditions = merged(&self.settings.now(), &known, new, &["Accepted"]);
        if conditions != known {
            let form = self.form(kinds::target_group_policy());
            self.set_status(&form, &*policy, json!({"conditions": conditions}))
                .await?;
        }
        Ok(())
    }
}
