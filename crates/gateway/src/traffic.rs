//! What rules of routes ask for beside a backend, as a traffic policy of Lath's: filters, timeouts, retries, sessions. Only where the endpoint
//! is a Lath in extended mode: AWS's Lattice has no means for it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::desired::{GroupRef, Tags};
use crate::kinds::{BackendRef, Filter, RequestMirror, Rule};
use crate::long_tags;

/// The tag with a policy's text.
const TAG: &str = "lath:traffic-policy";

/// In each list of header edits.
const MOST_EDITS: usize = 16;

/// In milliseconds.
const LONGEST_TIMEOUT: u64 = 600_000;
const LONGEST_BACKOFF: u64 = 10_000;

/// In milliseconds.
const SESSIONS: std::ops::RangeInclusive<u64> = 1000..=604_800_000;

/// What a rule asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    policy: Map<String, Value>,
    /// Groups that get copies, and the share of requests in percent.
    pub(crate) mirrors: Vec<(GroupRef, i64)>,
    /// What is done to requests of one group and their answers, after what is done to all.
    pub(crate) groups: Vec<(GroupRef, Map<String, Value>)>,
}

/// What of a rule's backends is no group and weight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// The weight of backends that are not there, whose share of requests is answered 500.
    pub(crate) failing: i64,
    /// The filters of single backends.
    pub(crate) groups: Vec<(GroupRef, Map<String, Value>)>,
}

/// The filters of one backend. The error says what cannot be had.
pub(crate) fn of_backend(rule: &Rule, backend: &BackendRef) -> Result<Map<String, Value>, String> {
    let mut asked = Asked::default();
    for filter in &backend.filters {
        let fitting = [
            "RequestHeaderModifier",
            "ResponseHeaderModifier",
            "URLRewrite",
        ];
        if !fitting.contains(&filter.kind.as_str()) {
            return Err(format!("the filter {} of a backend", filter.kind));
        }
        asked.filter(rule, filter)?;
    }
    Ok(asked.policy)
}

/// What a rule asks for, with the backends of its mirrors.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    policy: Map<String, Value>,
    pub(crate) mirrors: Vec<(BackendRef, i64)>,
}

/// What the filters, timeouts, retries and session persistence of a rule ask for. `session` is what the cookie of the rule's
/// sessions is called where it has no name. The error says what cannot be had.
pub(crate) fn asked(rule: &Rule, session: &str) -> Result<Asked, String> {
    let mut asked = Asked::default();
    for filter in &rule.filters {
        asked.filter(rule, filter)?;
    }
    asked.timeouts(rule.timeouts.as_ref())?;
    asked.retry(rule.retry.as_ref())?;
    asked.session(rule.session_persistence.as_ref(), session)?;
    Ok(asked)
}

impl Asked {
    fn filter(&mut self, rule: &Rule, filter: &Filter) -> Result<(), String> {
        let kind = filter.kind.as_str();
        let unknown = || format!("filter {kind}");
        let (member, field) = match kind {
            "RequestHeaderModifier" => ("requestHeaders", "requestHeaderModifier"),
            "ResponseHeaderModifier" => ("responseHeaders", "responseHeaderModifier"),
            "RequestRedirect" => ("redirect", "requestRedirect"),
            "URLRewrite" => ("urlRewrite", "urlRewrite"),
            "CORS" => ("cors", "cors"),
            "RequestMirror" => {
                let mirror = filter.mirror.as_ref().ok_or_else(unknown)?;
                self.mirrors
                    .push((mirror.backend_ref.clone(), percent(mirror)));
                return Ok(());
            }
            _ => return Err(unknown()),
        };
        let given = filter.rest.get(field).ok_or_else(unknown)?;
        let value = match member {
            "requestHeaders" | "responseHeaders" if !changes_headers(given) => return Ok(()),
            "redirect" => url(rule, given, &["scheme", "hostname", "port", "statusCode"])?,
            "urlRewrite" => url(rule, given, &["hostname"])?,
            "cors" => cors(given)?,
            _ => headers(given)?,
        };
        match self.policy.insert(member.to_owned(), value) {
            Some(_) => Err(format!("second {}", unknown())),
            None => Ok(()),
        }
    }

    fn timeouts(&mut self, given: Option<&Value>) -> Result<(), String> {
        let mut timeouts = Map::new();
        for field in ["request", "backendRequest"] {
            let Some(text) = given.and_then(|it| it.get(field)?.as_str()) else {
                continue;
            };
            match millis(text) {
                // Zero is no timeout.
                Some(0) => {}
                Some(1..=LONGEST_TIMEOUT) => drop(timeouts.insert(field.to_owned(), json!(text))),
                _ => return Err(format!("timeout of {text}")),
            }
        }
        if !timeouts.is_empty() {
            self.policy.insert("timeouts".to_owned(), timeouts.into());
        }
        Ok(())
    }

    fn retry(&mut self, given: Option<&Value>) -> Result<(), String> {
        let Some(given) = given else { return Ok(()) };
        let attempts = given.get("attempts").and_then(Value::as_i64).unwrap_or(1);
        if attempts == 0 {
            return Ok(());
        }
        let codes = given.get("codes").cloned().unwrap_or_else(|| json!([]));
        let is_code = |it: &Value| it.as_i64().is_some_and(|it| (400..=599).contains(&it));
        let codes = codes
            .as_array()
            .filter(|it| it.iter().all(is_code) && it.len() <= 16);
        let codes = codes.ok_or("such codes to retry on")?;
        if !(1..=10).contains(&attempts) {
            return Err(format!("retry of {attempts} attempts"));
        }
        let mut retry = json!({"attempts": attempts, "codes": codes});
        if let Some(backoff) = given.get("backoff").and_then(Value::as_str) {
            if millis(backoff).is_none_or(|it| it > LONGEST_BACKOFF) {
                return Err(format!("retry with a backoff of {backoff}"));
            }
            retry["backoff"] = json!(backoff);
        }
        self.policy.insert("retry".to_owned(), retry);
        Ok(())
    }

    /// The Lath rules of one rule of a route have one session, so that it needs a name: by itself, each would have its own.
    fn session(&mut self, given: Option<&Value>, name: &str) -> Result<(), String> {
        let Some(given) = given else { return Ok(()) };
        let text = |member: &str| given.get(member).and_then(Value::as_str);
        let kind = text("type").unwrap_or("Cookie");
        if !matches!(kind, "Cookie" | "Header") {
            return Err(format!("sessionPersistence by {kind}"));
        }
        let name = text("sessionName").unwrap_or(name);
        let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_token);
        let lower = name.to_ascii_lowercase();
        let is_taken =
            || matches!(lower.as_str(), "cookie" | "set-cookie") || alterable(&lower).is_err();
        if !is_name || (kind == "Header" && is_taken()) {
            return Err(format!("sessionPersistence with the name {name:?}"));
        }
        let mut session = json!({"type": kind, "sessionName": name});
        for member in ["absoluteTimeout", "idleTimeout"] {
            let Some(timeout) = text(member) else {
                continue;
            };
            if !millis(timeout).is_some_and(|it| SESSIONS.contains(&it)) {
                return Err(format!("sessionPersistence with {member} of {timeout}"));
            }
            session[member] = json!(timeout);
        }
        let lifetime = given
            .get("cookieConfig")
            .and_then(|it| it.get("lifetimeType"));
        match lifetime.and_then(Value::as_str) {
            None | Some("Session") => {}
            Some("Permanent") if kind == "Cookie" && session.get("absoluteTimeout").is_some() => {
                session["cookieConfig"] = json!({"lifetimeType": "Permanent"});
            }
            Some(other) => {
                return Err(format!(
                    "such a sessionPersistence with the lifetime {other}"
                ));
            }
        }
        self.policy.insert("sessionPersistence".to_owned(), session);
        Ok(())
    }

    /// What of it has an effect where requests are forwarded or not; `mirrors` are the groups that were found. `None`: nothing.
    /// The error says what cannot be had.
    pub(crate) fn traffic(
        mut self,
        forwards: bool,
        mirrors: Vec<(GroupRef, i64)>,
        beside: Beside,
    ) -> Result<Option<Traffic>, String> {
        let forwards = forwards && !self.policy.contains_key("redirect");
        if !forwards {
            let answered = ["redirect", "responseHeaders", "cors"];
            self.policy
                .retain(|key, _| answered.contains(&key.as_str()));
        } else if beside.failing > 0 {
            let failure = json!({"weight": beside.failing, "statusCode": 500});
            self.policy.insert("failure".to_owned(), failure);
        }
        let traffic = Traffic {
            policy: self.policy,
            mirrors: if forwards { mirrors } else { Vec::new() },
            groups: if forwards { beside.groups } else { Vec::new() },
        };
        if traffic.mirrors.len() > 4 {
            return Err("more than 4 mirrors of a rule".to_owned());
        }
        // An id is no longer than this.
        let longest = GroupRef::Existing("tg-0123456789abcdef0".to_owned());
        let mut whole = traffic.clone();
        whole.groups_mut().for_each(|it| it.clone_from(&longest));
        if !long_tags::fits(&whole.text(), long_tags::FEW_PARTS) {
            return Err("filters of that size".to_owned());
        }
        let is_empty =
            traffic.policy.is_empty() && traffic.mirrors.is_empty() && traffic.groups.is_empty();
        Ok((!is_empty).then_some(traffic))
    }
}

impl Traffic {
    /// The groups that it names beside those of the rule's action.
    pub(crate) fn groups_mut(&mut self) -> impl Iterator<Item = &mut GroupRef> {
        let mirrors = self.mirrors.iter_mut().map(|(group, _)| group);
        mirrors.chain(self.groups.iter_mut().map(|(group, _)| group))
    }

    /// The policy's text. Its groups are known by their ids.
    pub(crate) fn text(&self) -> String {
        let id = |group: &GroupRef| {
            let (GroupRef::Existing(id) | GroupRef::Own(id)) = group;
            id.clone()
        };
        let mut policy = self.policy.clone();
        let mirrors = self.mirrors.iter().map(
            |(group, percent)| json!({"targetGroupIdentifier": id(group), "percent": percent}),
        );
        let mut groups = Vec::new();
        for (group, filters) in &self.groups {
            let mut filters = filters.clone();
            filters.insert("targetGroupIdentifier".to_owned(), id(group).into());
            groups.push(Value::from(filters));
        }
        if !groups.is_empty() {
            policy.insert("targetGroups".to_owned(), groups.into());
        }
        let mirrors: Vec<_> = mirrors.collect();
        if !mirrors.is_empty() {
            policy.insert("mirrors".to_owned(), mirrors.into());
        }
        Value::from(policy).to_string()
    }
}

/// The tags that hold a policy's text.
pub(crate) fn tags(text: &str) -> Tags {
    long_tags::tags(TAG, text)
}

/// The tag that all parts go with.
pub(crate) fn first_key() -> String {
    TAG.to_owned()
}

/// The text that a rule's tags hold.
pub(crate) fn text_of(tags: &Tags) -> Option<String> {
    long_tags::text_of(TAG, tags)
}

/// Whether header edits change anything: Lath refuses those that do not.
fn changes_headers(given: &Value) -> bool {
    let lists = ["set", "add", "remove"].into_iter();
    let mut lists = lists.filter_map(|it| given.get(it)?.as_array());
    lists.any(|it| !it.is_empty())
}

/// Header edits: lists of names and values become maps.
fn headers(given: &Value) -> Result<Value, String> {
    let mut edits = Map::new();
    let mut seen = BTreeSet::new();
    // Lath refuses a name in two lists, as it is not clear what is meant.
    let mut once = |name: &str| match seen.insert(name.to_owned()) {
        true => Ok(()),
        false => Err(format!("two changes of the header {name}")),
    };
    for list in ["set", "add"] {
        let mut fields = Map::new();
        for field in given
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |member: &str| {
                field
                    .get(member)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let name = text("name").to_ascii_lowercase();
            alterable(&name)?;
            if !is_value(text("value")) {
                return Err(format!("such a value of the header {name}"));
            }
            // Of two with one name, the first counts: so says the Gateway API.
            fields.entry(name).or_insert_with(|| json!(text("value")));
        }
        for name in fields.keys() {
            once(name)?;
        }
        if fields.len() > MOST_EDITS {
            return Err(format!("more than {MOST_EDITS} headers to {list}"));
        }
        if !fields.is_empty() {
            edits.insert(list.to_owned(), fields.into());
        }
    }
    let names = given.get("remove").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let names: BTreeSet<_> = names.map(str::to_ascii_lowercase).collect();
    for name in &names {
        alterable(name)?;
        once(name)?;
    }
    if names.len() > MOST_EDITS {
        return Err(format!("more than {MOST_EDITS} headers to remove"));
    }
    let names: Vec<_> = names.into_iter().collect();
    if !names.is_empty() {
        edits.insert("remove".to_owned(), names.into());
    }
    Ok(edits.into())
}

/// A CORS filter: its members have the same names.
fn cors(given: &Value) -> Result<Value, String> {
    let mut cors = Map::new();
    let members = [
        "allowOrigins",
        "allowMethods",
        "allowHeaders",
        "exposeHeaders",
        "allowCredentials",
        "maxAge",
    ];
    let given = given.as_object().ok_or("such a CORS filter")?;
    for (member, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        if !members.contains(&member.as_str()) {
            return Err(format!("CORS filter with {member}"));
        }
        cors.insert(member.clone(), value.clone());
    }
    Ok(cors.into())
}

/// Whether Lath takes it as a header's value.
fn is_value(text: &str) -> bool {
    let is_text = |it: u8| matches!(it, b' '..=b'~' | b'\t');
    text.len() <= 1024 && text.bytes().all(is_text) && text.trim_ascii() == text
}

/// Whether Lath takes it as a path.
fn is_path(text: &str) -> bool {
    let is_of_path = |it: u8| it.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&it);
    let mut escapes = text.split('%').skip(1);
    let is_escape = |it: &str| it.len() >= 2 && it.bytes().take(2).all(|it| it.is_ascii_hexdigit());
    let plain = text.to_ascii_lowercase().replace("%2e", ".");
    text.len() <= 1024
        && text.starts_with('/')
        && text.bytes().all(is_of_path)
        && escapes.all(is_escape)
        && !text.contains("//")
        && !plain.split('/').any(|it| matches!(it, "." | ".."))
}

/// Refuses what Lath refuses, so that a rule that asks for it does not keep the others from being made.
fn alterable(name: &str) -> Result<(), String> {
    let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if !matches!(name.len(), 1..=128) || !name.bytes().all(is_token) {
        return Err(format!("header with the name {name:?}"));
    }
    let folded = name.replace(|it: char| !it.is_ascii_alphanumeric(), "-");
    let own = [
        "host",
        "content-length",
        "transfer-encoding",
        "trailer",
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "expect",
        "forwarded",
        "http2-settings",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
    ];
    let is_own = own.contains(&folded.as_str())
        || (folded == "content-type" && name != "content-type")
        || folded.starts_with("x-amzn-")
        || folded.starts_with("x-forwarded-");
    match is_own {
        true => Err(format!("change of the header {name}")),
        false => Ok(()),
    }
}

/// A redirect or rewrite: these members as they are, and the path.
fn url(rule: &Rule, given: &Value, members: &[&str]) -> Result<Value, String> {
    let mut url = Map::new();
    for member in members {
        if let Some(value) = given.get(*member).filter(|it| !it.is_null()) {
            url.insert((*member).to_owned(), value.clone());
        }
    }
    let Some(path) = given.get("path").filter(|it| !it.is_null()) else {
        return Ok(url.into());
    };
    let text = |member: &str| path.get(member).and_then(Value::as_str);
    let change = match (
        text("type"),
        text("replaceFullPath"),
        text("replacePrefixMatch"),
    ) {
        (Some("ReplaceFullPath"), Some(whole), _) if is_path(whole) => {
            json!({"replaceFullPath": whole})
        }
        (Some("ReplacePrefixMatch"), _, Some(to)) if to.is_empty() || is_path(to) => {
            let from = prefix(rule)?;
            if !is_path(&from) {
                return Err(format!("replaced prefix {from}"));
            }
            json!({"prefix": from, "replacePrefixMatch": to})
        }
        _ => return Err("such change of a path".to_owned()),
    };
    url.insert("path".to_owned(), change);
    Ok(url.into())
}

/// The prefix of a rule's one match: with several, it would not be known which of them is to be replaced. So says the Gateway API.
fn prefix(rule: &Rule) -> Result<String, String> {
    let [one] = &rule.matches[..] else {
        return match rule.matches.is_empty() {
            true => Ok("/".to_owned()),
            false => Err("replaced prefix of several matches".to_owned()),
        };
    };
    let Some(path) = &one.path else {
        return Ok("/".to_owned());
    };
    match path.kind.as_deref().unwrap_or("PathPrefix") {
        "PathPrefix" => Ok(path.value.clone().unwrap_or_else(|| "/".to_owned())),
        _ => Err("replaced prefix of a match that is none".to_owned()),
    }
}

/// The share of requests that a mirror gets.
fn percent(mirror: &RequestMirror) -> i64 {
    if let Some(percent) = mirror.percent {
        return i64::from(percent.clamp(0, 100));
    }
    let Some(fraction) = &mirror.fraction else {
        return 100;
    };
    let whole = i64::from(fraction.denominator.unwrap_or(100).max(1));
    let part = i64::from(fraction.numerator).clamp(0, whole);
    // A share that is not zero stays one.
    (part * 100 / whole).max(i64::from(part > 0))
}

/// A duration of the Gateway API (<https://gateway-api.sigs.k8s.io/geps/gep-2257/>) in milliseconds.
fn millis(text: &str) -> Option<u64> {
    let (mut rest, mut sum) = (text, 0_u64);
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|it: char| it.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let unit = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}
