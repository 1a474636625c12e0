//! What a policy is for, which of several counts, and who may call what because of it.

use std::sync::Arc;

use kube::ResourceExt as _;

use crate::attach::{controller_of, has_class};
use crate::condition::ConditionState;
use crate::kinds::{self, GATEWAY_GROUP, Policy, PolicyKind, RouteKind};
use crate::settings::Settings;
use crate::world::{Name, World};

/// What a policy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The service network of this name, which Gateways stand for.
    Network(String),
    /// The service of a route.
    Route(RouteKind, Name),
    /// The service of a Service, which no policy is for.
    Exposed(Name),
}

/// What an IAMAuthPolicy wants of its target: that only those whom the document allows may call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) policy: Name,
    /// `None` when the policy has none, or it cannot be read: then every call is refused.
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
) -> Result<Target, ConditionState> {
    let invalid = |why: String| Err(ConditionState::bad("Invalid", why));
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
        ConditionState::bad(
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
        | ("HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute", PolicyKind::Log) => {
            let mut kinds = RouteKind::ALL.into_iter();
            let kind = kinds.find(|it| it.kind() == reference.kind);
            let kind = kind.filter(|kind| world.route(*kind, &at).is_some());
            Ok(Target::Route(kind.ok_or_else(missing)?, at))
        }
        (other, _) => invalid(format!("such a policy cannot be for a {other}")),
    }
}

/// Whether a policy may be for a network although its Gateway stands for none now: the Gateway goes, cannot be read, or its
/// class is not there, and what was made for it stays until more is known.
fn may_be_for(
    world: &World,
    settings: &Settings,
    (name, policy): (&Name, &Policy),
    of: &Target,
) -> bool {
    let reference = &policy.spec.target_ref;
    let is_own = reference.kind == "Gateway"
        && ["", GATEWAY_GROUP].contains(&reference.group.as_str())
        && reference
            .namespace
            .as_ref()
            .is_none_or(|it| *it == name.namespace);
    let network = settings.network_of(&reference.name).to_owned();
    if !is_own || *of != Target::Network(network) {
        return false;
    }
    let at = Name::new(&name.namespace, &reference.name);
    match world.gateways.get(&at) {
        Some(gateway) => {
            !has_class(world, gateway) || controller_of(world, settings, gateway).is_some()
        }
        None => {
            let plural = kinds::gateway().plural;
            !world.read.contains(&plural) || world.unreadable.contains(&(plural, at))
        }
    }
}

/// The oldest policy of a kind that is not deleted and fits.
fn oldest(
    world: &World,
    kind: PolicyKind,
    fits: impl Fn(&Name, &Policy) -> bool,
) -> Option<(&Name, &Arc<Policy>)> {
    let all = world.policies.get(&kind).into_iter().flatten();
    let fitting = all.filter(|(name, policy)| {
        policy.metadata.deletion_timestamp.is_none() && fits(name, policy)
    });
    fitting.min_by_key(|(name, policy)| (policy.creation_timestamp(), (*name).clone()))
}

/// The policy of a kind that counts for a target: of several, the oldest. One that is deleted counts no longer.
pub(crate) fn counting<'a>(
    world: &'a World,
    settings: &Settings,
    kind: PolicyKind,
    of: &Target,
) -> Option<(&'a Name, &'a Arc<Policy>)> {
    oldest(world, kind, |name, policy| {
        target(world, settings, (kind, name, policy)).as_ref() == Ok(of)
    })
}

/// What is to guard a target, if anything is.
pub(crate) fn guard(world: &World, settings: &Settings, of: &Target) -> Option<Guard> {
    counting(world, settings, PolicyKind::Auth, of).map(guard_of)
}

/// What is to guard a target when the policy that guarded it ends: also by a policy whose Gateway stands for nothing now.
/// Without that, its network would be open until the Gateway's class is back.
pub(crate) fn successor(world: &World, settings: &Settings, of: &Target) -> Option<Guard> {
    let kind = PolicyKind::Auth;
    let fits = |name: &Name, policy: &Policy| {
        target(world, settings, (kind, name, policy)).as_ref() == Ok(of)
            || may_be_for(world, settings, (name, policy), of)
    };
    oldest(world, kind, fits).map(guard_of)
}

fn guard_of((name, policy): (&Name, &Arc<Policy>)) -> Guard {
    let document = policy.spec.policy.clone();
    let mut finalizers = policy.finalizers().iter();
    Guard {
        policy: name.clone(),
        document: document.filter(|it| !it.trim().is_empty()),
        held: finalizers.any(|it| it == PolicyKind::Auth.finalizer()),
    }
}
