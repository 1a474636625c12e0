//! What rules do beside choosing a target group: header edits, redirects, rewrites, timeouts, retries, mirrors. An
//! extension, asked for by tags of a rule, or of a listener for its default action.

mod written;

use lath_control::{Cell, Mode};
use lath_model::lattice::{Action, ListenerProtocol};
use lath_model::traffic::TrafficPolicy;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::action::{self, User};
use crate::fault;
use crate::ident::Kind;
use crate::long_tag::LongTag;
use crate::record::{Listener, Rule, Tags, key};
use written::Written;

const NAME: &str = "lath:traffic-policy";

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: NAME,
    what: "a traffic policy",
};

/// The policy that tags ask for.
///
/// # Errors
/// It is malformed, does not fit the action, or names a group that cannot be used.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    user: User<'_>,
    tags: &Tags,
    action: &Action,
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
    let invalid =
        |error: &dyn std::fmt::Display| fault::invalid("tags", format!("{NAME}: {error}"));
    let written = Written::read(&text).map_err(|error| invalid(&error))?;
    let groups = written
        .mirrored()
        .map(|it| action::usable_by(cell, view, user, it));
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    let policy = written.policy(groups).map_err(|error| invalid(&error))?;
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
            "{NAME}: a fixed response reaches no target: give redirect and responseHeaders only, or a forward action"
        );
        return Err(fault::invalid("tags", message));
    }
    Ok(())
}

/// Refuses tags that are being set where there is no policy, or that are a part of one. A part alone would go on with what is
/// there already, and who may send copies where is judged by what a request says.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(
    view: &View,
    kind: Kind,
    place: &str,
    given: &Tags,
) -> Result<(), ApiError> {
    if !TAG.is_asked(given.keys()) {
        return Ok(());
    }
    let is_default = |rule: &Rule| rule.priority.is_none();
    let message = match kind {
        Kind::Rule if view.get::<Rule>(place).is_some_and(|it| is_default(&it)) => {
            format!("The default rule's policy is its listener's: set {NAME} there")
        }
        Kind::Rule | Kind::Listener if given.contains_key(TAG.name) => return Ok(()),
        Kind::Rule | Kind::Listener => {
            format!("Part {NAME} is missing: set all parts of a policy in one request")
        }
        _ => format!("{NAME} is a tag of rules, and of listeners for their default actions"),
    };
    Err(fault::invalid("tags", message))
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
    let view = tx.view();
    let found = match kind {
        Kind::Rule => {
            let rule = view.get::<Rule>(place).filter(|it| it.priority.is_some());
            rule.map(|it| (it.tags.clone(), it))
        }
        Kind::Listener => view.get::<Listener>(place).and_then(|listener| {
            let rule = view.get::<Rule>(&key(&listener.id, &listener.default_rule))?;
            Some((listener.tags.clone(), rule))
        }),
        _ => None,
    };
    let Some((before, rule)) = found else {
        return Ok(());
    };
    // What is not changed is not judged again: a group may have gone meanwhile, and in strict mode what an earlier run left stays.
    if TAG.is_same(&before, tags) {
        return Ok(());
    }
    let listener = view.get::<Listener>(&key(&rule.service, &rule.listener));
    let user = User {
        service: &rule.service,
        protocol: listener.map_or(ListenerProtocol::Http, |it| it.protocol),
    };
    let traffic = of(cell, view, user, tags, &rule.action)?;
    let service = rule.service.clone();
    tx.put(Rule {
        traffic,
        ..Rule::clone(&rule)
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
    written.policy(groups).ok()
}
