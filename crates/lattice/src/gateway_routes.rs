//! Services that are reached by entrances of others, as routes of the Gateway API are. An extension, asked for by a tag of a service.

use lath_control::{Cell, Mode};
use lath_feed as feed;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::ident::{Identifier, Kind};
use crate::long_tag::{LongTag, MANY_PARTS};
use crate::policy_text::Object;
use crate::record::{Listener, Service, Tags, key};
use crate::{gateway, region};

const NAME: &str = "lath:gateway-routes";

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: NAME,
    what: "what a service is attached to",
    parts: MANY_PARTS,
};

/// Of attachments of a service.
const MOST_ROUTES: usize = 64;
/// Of hosts of an attachment.
const MOST_HOSTS: usize = 64;
/// Of the text that services are ordered by, in characters.
const LONGEST_ORDER: usize = 640;

/// A gateway's listener that a service is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GatewayRoute {
    /// The ARN of Lattice's listener.
    pub(crate) listener: String,
    /// Which of its gateway's listeners.
    pub(crate) name: String,
    /// Hosts and wildcards, in small letters; none: all that the listener takes.
    pub(crate) hosts: Vec<String>,
    pub(crate) order: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listener: String,
    name: String,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    order: String,
}

/// Reads it. The listeners were not looked up.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(text: &str) -> Result<Vec<GatewayRoute>, String> {
    let written: Vec<Object<Written>> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    if written.is_empty() || written.len() > MOST_ROUTES {
        return Err(format!(
            "give 1 to {MOST_ROUTES} attachments, or remove the tag"
        ));
    }
    let mut routes: Vec<GatewayRoute> = Vec::new();
    for (index, Object(it)) in written.into_iter().enumerate() {
        if Identifier::parse_arn(&it.listener).is_none_or(|(kind, _)| kind != Kind::Listener) {
            let given = it.listener;
            return Err(format!(
                "{index}.listener: {given:?} is not the ARN of a listener"
            ));
        }
        if !gateway::is_name(&it.name) {
            return Err(format!(
                "{index}.name: give the name of one of the gateway's listeners"
            ));
        }
        if it.hosts.len() > MOST_HOSTS {
            return Err(format!("{index}.hosts: at most {MOST_HOSTS} are allowed"));
        }
        let mut hosts: Vec<String> = Vec::new();
        for (place, host) in it.hosts.iter().enumerate() {
            let host = gateway::host_of(host)
                .map_err(|error| format!("{index}.hosts.{place}: {error}"))?;
            if hosts.contains(&host) {
                return Err(format!(
                    "{index}.hosts.{place}: {host:?} stands there twice"
                ));
            }
            hosts.push(host);
        }
        if it.order.len() > LONGEST_ORDER || it.order.chars().any(char::is_control) {
            return Err(format!(
                "{index}.order: give up to {LONGEST_ORDER} characters"
            ));
        }
        let is_twin =
            |known: &GatewayRoute| (&known.listener, &known.name) == (&it.listener, &it.name);
        if routes.iter().any(is_twin) {
            return Err(format!(
                "{index}: the service is attached to listener {:?} of {} already",
                it.name, it.listener
            ));
        }
        routes.push(GatewayRoute {
            listener: it.listener,
            name: it.name,
            hosts,
            order: it.order,
        });
    }
    Ok(routes)
}

/// The listeners that tags attach to, for permissions; none where they are malformed, which is for [`of`] to say.
pub(crate) fn listeners(tags: &Tags) -> Vec<String> {
    let text = TAG.text(tags).ok().flatten();
    let routes = text.and_then(|text| read(&text).ok()).unwrap_or_default();
    routes.into_iter().map(|it| it.listener).collect()
}

/// What the tags of a service attach it to; `before` is what it was attached to. What was there before need not be there
/// any more.
///
/// # Errors
/// It is malformed, or names what is no gateway's listener.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    tags: &Tags,
    before: &[GatewayRoute],
) -> Result<Vec<GatewayRoute>, ApiError> {
    TAG.check_mode(cell, tags)?;
    let Some(text) = TAG.text(tags)? else {
        return Ok(Vec::new());
    };
    let routes = read(&text).map_err(|error| TAG.wrong(error))?;
    for (index, it) in routes.iter().enumerate() {
        let is_it =
            |known: &GatewayRoute| (&known.listener, &known.name) == (&it.listener, &it.name);
        if before.iter().any(is_it) {
            continue;
        }
        let Some(names) = names_at(cell, view, &it.listener) else {
            let message = format!("{index}.listener: {} is no gateway's listener", it.listener);
            return Err(TAG.wrong(message));
        };
        if !names.contains(&it.name) {
            let message = format!(
                "{index}.name: {} has no listener {:?}; it has {}",
                it.listener,
                it.name,
                names.join(", ")
            );
            return Err(TAG.wrong(message));
        }
    }
    Ok(routes)
}

/// The names of a gateway's listeners at one of Lattice, of whatever region. `None`: there is none.
fn names_at(cell: &Cell, view: &View, arn: &str) -> Option<Vec<String>> {
    let ident = Identifier::parse(Kind::Listener, arn)?;
    let service = ident.parents().first()?;
    if ident.is_of(cell) {
        let listener = view.get::<Listener>(&key(service, ident.id()))?;
        let gateway = listener.gateway.as_ref()?;
        return Some(gateway.listeners.iter().map(|it| it.name.clone()).collect());
    }
    let service = region::find_service(view, &service.parse().ok()?)?;
    let listener = service.listeners.get(&ident.id().parse().ok()?)?;
    let gateway = listener.gateway.as_ref().filter(|_| listener.arn == arn)?;
    Some(gateway.listeners.iter().map(|it| it.name.clone()).collect())
}

/// Refuses tags that are being set where they mean nothing, or that are a part of a text.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(kind: Kind, given: &Tags) -> Result<(), ApiError> {
    TAG.check_place(kind == Kind::Service, "services", given)
}

/// The tags of a resource are about to be these: a service is attached to what they say.
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
    let found = match kind {
        Kind::Service => tx.get::<Service>(place),
        _ => None,
    };
    let Some(found) = found.filter(|it| !TAG.is_same(&it.tags, tags)) else {
        return Ok(());
    };
    let routes = match cell.mode {
        Mode::Extended => of(cell, tx.view(), tags, &found.routes)?,
        // Only its removal comes so far.
        Mode::Strict => Vec::new(),
    };
    tx.put(Service {
        routes,
        ..Service::clone(&found)
    });
    Ok(())
}

/// What nodes get.
pub(crate) fn in_feed(cell: &Cell, record: &Service) -> Vec<feed::GatewayRoute> {
    let routes = record.routes.iter();
    let routes = routes.filter(|_| cell.mode == Mode::Extended);
    let routes = routes.filter_map(|it| {
        let (_, ident) = Identifier::parse_arn(&it.listener)?;
        Some(feed::GatewayRoute {
            listener: ident.id().parse().ok()?,
            name: it.name.clone(),
            hosts: it.hosts.clone(),
            order: it.order.clone(),
        })
    });
    routes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_told_with_their_place() {
        let arn = "arn:aws:vpc-lattice:us-east-1:000000000000:service/svc-0123456789abcdef0/listener/listener-0123456789abcdef0";
        let one = |rest: &str| format!(r#"[{{"listener":"{arn}","name":"web"{rest}}}]"#);
        let text = one(r#","hosts":["A.example.com","*.b.example.com"],"order":"1/ns/name""#);
        let routes = read(&text).unwrap();
        assert_eq!(routes[0].hosts, ["a.example.com", "*.b.example.com"]);
        let twice = one("").replace("}]", &format!("}},{}", &one("")[1..]));
        for (text, want) in [
            ("", "EOF"),
            ("{}", "expected a sequence"),
            ("[]", "give 1 to 64 attachments"),
            (r#"[["a","b"]]"#, "expected an object"),
            (
                r#"[{"listener":"a","name":"b"}]"#,
                "0.listener: \"a\" is not the ARN",
            ),
            (&one(r#","hosts":["*"]"#), "0.hosts.0"),
            (
                &one(r#","hosts":["a","A"]"#),
                "0.hosts.1: \"a\" stands there twice",
            ),
            (&one(r#","port":1"#), "unknown field `port`"),
            (&twice, "1: the service is attached"),
        ] {
            let got = read(text).expect_err(text);
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
