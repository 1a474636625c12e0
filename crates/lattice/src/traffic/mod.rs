//! What rules do beside choosing a target group: header edits, redirects, rewrites, timeouts, retries, mirrors. An
//! extension, asked for by tags of a rule, or of a listener for its default action.

mod written;

use std::sync::Arc;

use lath_control::{Cell, Mode};
use lath_model::lattice::{Action, ListenerProtocol};
use lath_model::traffic::{SessionKey, TrafficPolicy};
use lath_session::SealingKey;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::action::{self, User};
use crate::ident::Kind;
use crate::long_tag::{FEW_PARTS, LongTag};
use crate::record::{Listener, Rule, Tags, key};
use crate::{canary, fault};
use written::Written;

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: NAME,
    what: "a traffic policy",
    parts: FEW_PARTS,
};

const NAME: &str = "lath:traffic-policy";

/// The key that rules of the service have already: sessions of one name are the same in all of them.
fn key_of(view: &View, user: User<'_>) -> Option<SessionKey> {
    let prefix = format!("{}/", user.service);
    let rules_of = |listener: Arc<Listener>| -> Vec<Arc<Rule>> {
        let prefix = format!("{}/", listener.id);
        view.range::<Rule>(&prefix).collect()
    };
    let mut rules = view.range::<Listener>(&prefix).flat_map(rules_of);
    rules.find_map(|rule| Some(rule.traffic.as_ref()?.session.as_ref()?.key.clone()))
}

fn new_key() -> SessionKey {
    SessionKey(SealingKey::random().reveal().to_owned())
}

/// The policy that tags ask for; `before` is what the rule had.
///
/// # Errors
/// It is malformed, does not fit the action, or names a group that cannot be used.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    user: User<'_>,
    tags: &Tags,
    action: &Action,
    before: Option<&TrafficPolicy>,
) -> Result<Option<Box<TrafficPolicy>>, ApiError> {
    TAG.check_mode(cell, tags)?;
    // What an earlier run in extended mode left is not obeyed.
    if cell.mode == Mode::Strict {
        return Ok(None);
    }
    let Some(text) = TAG.text(tags)? else {
        return Ok(None);
    };
    if user.protocol == ListenerProtocol::TlsPassthrough {
        let message = format!(
            "{NAME}: a TLS_PASSTHROUGH listener sees no requests that a policy could be for"
        );
        return Err(fault::invalid("tags", message));
    }
    let written = Written::read(&text).map_err(|error| TAG.wrong(error))?;
    let groups = written
        .mirrored()
        .map(|it| action::usable_by(cell, view, user, it));
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    // Sessions outlive changes of the policy.
    let known = before.and_then(|it| it.session.as_ref());
    let known = known.map(|it| it.key.clone());
    let key = known.or_else(|| key_of(view, user)).unwrap_or_else(new_key);
    let policy = written
        .policy(groups, key)
        .map_err(|error| TAG.wrong(error))?;
    fits(cell, Some(&policy), action)?;
    Ok(Some(Box::new(policy)))
}

/// Refuses what would have no effect.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn fits(
    cell: &Cell,
    policy: Option<&TrafficPolicy>,
    action: &Action,
) -> Result<(), ApiError> {
    let is_fixed = matches!(action, Action::FixedResponse(_)) && cell.mode == Mode::Extended;
    if is_fixed && policy.is_some_and(TrafficPolicy::concerns_targets) {
        let message = format!(
            "{NAME}: a fixed response reaches no target: give redirect, responseHeaders and rateLimits only, or a forward action"
        );
        return Err(fault::invalid("tags", message));
    }
    Ok(())
}

/// Refuses tags that are being set where there is no policy, or that are a part of one.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(
    of: &LongTag,
    view: &View,
    kind: Kind,
    place: &str,
    given: &Tags,
) -> Result<(), ApiError> {
    let tag = of.name;
    if !of.is_asked(given.keys()) {
        return Ok(());
    }
    let message = match kind {
        Kind::Rule if is_default(view, kind, place) => {
            format!("The default rule's policy is its listener's: set {tag} there")
        }
        Kind::Rule | Kind::Listener => return of.check_whole(given),
        _ => format!("{tag} is a tag of rules, and of listeners for their default actions"),
    };
    Err(fault::invalid("tags", message))
}

/// Whether a resource is the default rule of a listener.
pub(crate) fn is_default(view: &View, kind: Kind, place: &str) -> bool {
    let rule = match kind {
        Kind::Rule => view.get::<Rule>(place),
        _ => None,
    };
    rule.is_some_and(|it| it.priority.is_none())
}

/// The rule whose policies a resource's tags are, and the tags as they are now: a rule's own, or its listener's for the
/// default rule.
pub(crate) fn tagged(view: &View, kind: Kind, place: &str) -> Option<(Tags, Arc<Rule>)> {
    match kind {
        Kind::Rule => {
            let rule = view.get::<Rule>(place).filter(|it| it.priority.is_some());
            rule.map(|it| (it.tags.clone(), it))
        }
        Kind::Listener => view.get::<Listener>(place).and_then(|listener| {
            let rule = view.get::<Rule>(&key(&listener.id, &listener.default_rule))?;
            Some((listener.tags.clone(), rule))
        }),
        _ => None,
    }
}

/// The tags of a rule or listener are about to be these: the rule has the policy that they ask for. Other resources have
/// none, and the default rule's is its listener's.
///
/// # Errors
/// As [`of`].
pub(crate) fn retag(
    cell: &Cell,
    tx: &mut Tx,
    kind: Kind,
    place: &str,
    tags: &Tags,
) -> Result<(), ApiError> {
    let Some((before, rule)) = tagged(tx.view(), kind, place) else {
        return Ok(());
    };
    canary::retag(cell, tx, &rule, &before, tags)?;
    // What is not changed is not judged again: a group may have gone meanwhile, and in strict mode what an earlier run left stays.
    if TAG.is_same(&before, tags) {
        return Ok(());
    }
    let view = tx.view();
    let listener = view.get::<Listener>(&key(&rule.service, &rule.listener));
    let user = User {
        service: &rule.service,
        protocol: listener.map_or(ListenerProtocol::Http, |it| it.protocol),
    };
    let traffic = of(
        cell,
        view,
        user,
        tags,
        &rule.action,
        rule.traffic.as_deref(),
    )?;
    let service = rule.service.clone();
    tx.update::<Rule>(&key(&rule.listener, &rule.id), |rule| {
        rule.traffic = traffic
    });
    action::check_quota(cell, tx.view(), &service)
}

/// The groups that get copies, as tags name them; none where they are malformed, which is for [`of`] to say.
pub(crate) fn mirrored(tags: &Tags) -> Vec<String> {
    let text = TAG.text(tags).ok().flatten();
    let written = text.and_then(|text| Written::read(&text).ok());
    let groups = written.iter().flat_map(Written::mirrored);
    groups.map(str::to_owned).collect()
}

/// A door for the target in `fuzz/`.
pub(crate) fn read(text: &str) -> Option<TrafficPolicy> {
    let written = Written::read(text).ok()?;
    let groups = written.mirrored().map(|it| it.parse().ok());
    let groups = groups.collect::<Option<Vec<_>>>()?;
    written.policy(groups, SessionKey("A".repeat(44))).ok()
}
