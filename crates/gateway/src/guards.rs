//! What a policy is for, which of several counts, and who may call what because of it.

use std::sync::Arc;

use kube::ResourceExt as _;

use crate::attach::controller_of;
use crate::condition::Verdict;
use crate::kinds::{GATEWAY_GROUP, Policy, PolicyKind, RouteKind};
use crate::settings::Settings;
use crate::world::{Name, World};

/// What a policy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The service network of this name, which Gateways stand for.
    Network(String),
    /// The service of a route.
    Route(RouteKind, Name),
}

/// What an IAMAuthPolicy wants of its target: that nobody may call it but those whom the document lets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) policy: Name,
    /// `None` when the policy has none, or it cannot be read: then nobody may.
    pub(crate) document: Option<String>,
    /// Whether the policy's finalizer is there, so that what it brings about can be undone with it.
    pub(crate) held: bool,
}

/// Who has to be asked before something becomes reachable. The answer is of the moment, not of an earlier plan.
pub(crate) type Guards<'a> = &'a (dyn Fn(&Target) -> Option<Guard> + Send + Sync);

/// What a policy is for, or why it is for nothing.
pub(crate) fn target(
    world: &World,
    settings: &Settings,
    (kind, name, policy): (PolicyKind, &Name, &Policy),
) -> Result<Target, Verdict> {
    let invalid = |why: String| Err(Verdict::bad("Invalid", why));
    let reference = &policy.spec.target_ref;
    if !["", GATEWAY_GROUP].contains(&reference.group.as_str()) {
        return invalid(format!(
            "such a policy cannot be for a {} of {}",
            reference.kind, reference.group
        ));
    }
    let namespace = reference.namespace.as_ref();
    if namespace.is_some_and(|it| *it != name.namespace) {
        return invalid("a policy is for an object of its own namespace".to_owned());
    }
    let at = Name::new(&name.namespace, &reference.name);
    let missing = || {
        Verdict::bad(
            "TargetNotFound",
            format!("there is no {} {at} of this controller", reference.kind),
        )
    };
    match (reference.kind.as_str(), kind) {
        ("Gateway", _) => {
            let gateway = world
                .gateways
                .get(&at)
                .filter(|it| it.metadata.deletion_timestamp.is_none());
            let gateway = gateway.ok_or_else(missing)?;
            controller_of(world, settings, gateway).ok_or_else(missing)?;
            Ok(Target::Network(settings.network_of(&at.name).to_owned()))
        }
        ("HTTPRoute" | "GRPCRoute", PolicyKind::Auth)
        | ("HTTPRoute" | "GRPCRoute" | "TLSRoute", PolicyKind::Log) => {
            let mut kinds = RouteKind::ALL.into_iter();
            let kind = kinds.find(|it| it.kind() == reference.kind);
            let kind = kind.filter(|kind| world.route(*kind, &at).is_some());
            Ok(Target::Route(kind.ok_or_else(missing)?, at))
        }
        (other, _) => invalid(format!("such a policy cannot be for a {other}")),
    }
}

/// The policy of a kind that counts for a target: of several, the oldest. One that is deleted counts no longer.
pub(crate) fn counting<'a>(
    world: &'a World,
    settings: &Settings,
    kind: PolicyKind,
    of: &Target,
) -> Option<(&'a Name, &'a Arc<Policy>)> {
    let all = world.policies.get(&kind).into_iter().flatten();
    let fitting = all.filter(|(name, policy)| {
        policy.metadata.deletion_timestamp.is_none()
            && target(world, settings, (kind, name, policy)).as_ref() == Ok(of)
    });
    fitting.min_by_key(|(name, policy)| (policy.creation_timestamp(), (*name).clone()))
}

/// What is to guard a target, if anything is.
pub(crate) fn guard(world: &World, settings: &Settings, of: &Target) -> Option<Guard> {
    let (name, policy) = counting(world, settings, PolicyKind::Auth, of)?;
    let document = policy.spec.policy.clone();
    let mut finalizers = policy.finalizers().iter();
    Some(Guard {
        policy: name.clone(),
        document: document.filter(|it| !it.trim().is_empty()),
        held: finalizers.any(|it| it == PolicyKind::Auth.finalizer()),
    })
}
