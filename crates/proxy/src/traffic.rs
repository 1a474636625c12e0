//! Traffic policies of rules, compiled: what becomes of heads, when a request is sent again, what is copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, InvalidUri, PathAndQuery, Uri};
use http::{StatusCode, request};
use lath_model::id::RuleId;
use lath_model::traffic::{
    self, GroupFilters, HeaderEdits, PathChange, Scheme, Timeouts, TrafficPolicy,
};
use rand::Rng;

use crate::cors::Cors;
use crate::rate::Limiter;
use crate::session::Sessions;

/// The rate limits of a rule.
pub(crate) type Limits = Box<[Arc<Limiter>]>;

/// What a rule does with the requests that it forwards.
#[derive(Debug)]
pub(crate) struct Traffic {
    heads: Heads,
    pub(crate) response: Edits,
    pub(crate) cors: Option<Cors>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Option<Retry>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) limits: Limits,
}

impl Traffic {
    /// `None`: the policy is none that could have been written here.
    pub(crate) fn of(
        policy: &TrafficPolicy,
        rule: &RuleId,
        limits: Limits,
        threads: usize,
    ) -> Option<Self> {
        policy.check().ok()?;
        Some(Self {
            heads: Heads::of(&policy.request_headers, policy.rewrite.as_ref())?,
            response: Edits::of(&policy.response_headers)?,
            cors: match &policy.cors {
                None => None,
                Some(cors) => Some(Cors::of(cors)?),
            },
            timeouts: policy.timeouts,
            retry: policy.retry.as_ref().map(|it| Retry::of(it, threads)),
            sessions: match &policy.session {
                None => None,
                Some(session) => Some(Sessions::of(session, rule)?),
            },
            limits,
        })
    }

    /// As of [`Heads::prepare`].
    ///
    /// # Errors
    /// As of that.
    pub(crate) fn prepare(&self, head: &mut request::Parts) -> Result<(), InvalidUri> {
        self.heads.prepare(head)
    }
}

/// What is done besides with requests to one of a rule's groups.
#[derive(Debug)]
pub(crate) struct Filters {
    pub(crate) heads: Heads,
    pub(crate) response: Edits,
}

impl Filters {
    /// `None`: as of [`Traffic::of`].
    pub(crate) fn of(filters: &GroupFilters) -> Option<Self> {
        Some(Self {
            heads: Heads::of(&filters.request_headers, filters.rewrite.as_ref())?,
            response: Edits::of(&filters.response_headers)?,
        })
    }
}

/// Changes of what targets see of requests.
#[derive(Debug)]
pub(crate) struct Heads {
    request: Edits,
    host: Option<(HeaderValue, Authority)>,
    path: Option<PathChange>,
}

impl Heads {
    fn of(edits: &HeaderEdits, rewrite: Option<&traffic::Rewrite>) -> Option<Self> {
        let host = rewrite.and_then(|it| it.hostname.as_deref());
        let host = match host {
            None => None,
            Some(host) => Some((host.parse().ok()?, host.parse().ok()?)),
        };
        Some(Self {
            request: Edits::of(edits)?,
            host,
            path: rewrite.and_then(|it| it.path.clone()),
        })
    }

    /// Makes the head of a request what targets see of it. It is in its form for the target already, but for what only
    /// Lath says, which comes after.
    ///
    /// # Errors
    /// The path gets too long. It is not left as it was: what it leads to then is not what the rule is for.
    pub(crate) fn prepare(&self, head: &mut request::Parts) -> Result<(), InvalidUri> {
        if let Some(change) = &self.path {
            change_path(&mut head.uri, change)?;
        }
        if let Some((value, authority)) = &self.host {
            match head.uri.authority() {
                None => drop(head.headers.insert(header::HOST, value.clone())),
                Some(_) => {
                    let mut parts = head.uri.clone().into_parts();
                    parts.authority = Some(authority.clone());
                    if let Ok(uri) = Uri::from_parts(parts) {
                        head.uri = uri;
                    }
                }
            }
        }
        self.request.apply(&mut head.headers);
        Ok(())
    }
}

/// `OPTIONS *` is about no path.
fn change_path(uri: &mut Uri, change: &PathChange) -> Result<(), InvalidUri> {
    let Some(path) = changed(uri, change) else {
        return Ok(());
    };
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole)?);
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
    Ok(())
}

fn changed(uri: &Uri, change: &PathChange) -> Option<String> {
    let path = uri.path();
    path.starts_with('/').then(|| change.of(path)).flatten()
}

/// Changes of a head.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    fn of(edits: &HeaderEdits) -> Option<Self> {
        let name = |name: &String| name.parse::<HeaderName>().ok();
        let field = |(key, value): &(String, String)| Some((name(key)?, value.parse().ok()?));
        Some(Self {
            remove: edits.remove.iter().map(name).collect::<Option<_>>()?,
            set: edits.set.iter().map(field).collect::<Option<_>>()?,
            add: edits.add.iter().map(field).collect::<Option<_>>()?,
        })
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// What a rule answers itself: a redirect or a fixed response, with headers of its own.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    redirect: Option<traffic::Redirect>,
    headers: Edits,
    pub(crate) limits: Limits,
}

impl Answer {
    /// Instead of the action, where the policy redirects, else `fixed`. `None`: as of [`Traffic::of`].
    pub(crate) fn of(
        policy: &TrafficPolicy,
        fixed: Option<StatusCode>,
        limits: Limits,
    ) -> Option<Self> {
        policy.check().ok()?;
        let redirect = policy.redirect.clone();
        let status = match &redirect {
            Some(redirect) => StatusCode::from_u16(redirect.status).ok()?,
            None => fixed?,
        };
        Some(Self {
            status,
            redirect,
            headers: Edits::of(&policy.response_headers)?,
            limits,
        })
    }

    /// The headers of the answer to a request for `uri` at `host`, which came to a listener of this scheme and port.
    pub(crate) fn headers(&self, uri: &Uri, host: &[u8], at: (Scheme, u16)) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let redirect = self.redirect.as_ref();
        if let Some(location) = redirect.and_then(|it| location(it, uri, host, at)) {
            headers.insert(header::LOCATION, location);
        }
        self.headers.apply(&mut headers);
        headers
    }
}

/// Where a client is sent: what the redirect does not say is as in the request
/// (<https://gateway-api.sigs.k8s.io/reference/spec/#httprequestredirectfilter>).
fn location(
    redirect: &traffic::Redirect,
    uri: &Uri,
    host: &[u8],
    (own, port): (Scheme, u16),
) -> Option<HeaderValue> {
    let scheme = redirect.scheme.unwrap_or(own);
    let port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(scheme)) => scheme.port(),
        (None, None) => port,
    };
    let host = match &redirect.hostname {
        Some(name) => name.as_bytes(),
        None => host,
    };
    let mut location = [scheme.as_str().as_bytes(), b"://", host].concat();
    if port != scheme.port() {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    let path = redirect.path.as_ref().and_then(|it| changed(uri, it));
    match path {
        Some(path) => location.extend_from_slice(path.as_bytes()),
        None if uri.path().starts_with('/') => location.extend_from_slice(uri.path().as_bytes()),
        None => location.push(b'/'),
    }
    if let Some(query) = uri.query() {
        location.push(b'?');
        location.extend_from_slice(query.as_bytes());
    }
    HeaderValue::from_bytes(&location).ok()
}

/// When requests are sent again.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) attempts: u8,
    codes: Vec<u16>,
    backoff: Duration,
    budget: Budget,
}

impl Retry {
    fn of(retry: &traffic::Retry, threads: usize) -> Self {
        Self {
            attempts: retry.attempts,
            codes: retry.codes.clone(),
            backoff: retry.backoff,
            budget: Budget::new(retry.budget_percent, threads),
        }
    }

    /// Whether an answer of this status is not the client's while a try is left.
    pub(crate) fn is_on(&self, status: StatusCode) -> bool {
        self.codes.contains(&status.as_u16())
    }

    /// How long it is waited before a retry, the first of which is the 0th: twice as long each time, up to ten times,
    /// and up to half as long again, so that those who failed together do not come back together.
    pub(crate) fn wait(&self, retry: u8) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << retry.min(4));
        let base = doubled
            .min(self.backoff.saturating_mul(10))
            .min(traffic::LONGEST_BACKOFF);
        let half = u64::try_from(base.as_micros() / 2).unwrap_or(0);
        base + Duration::from_micros(rand::rng().random_range(0..=half))
    }

    /// A request came that may be sent again.
    pub(crate) fn earn(&self, thread: usize) {
        self.budget.earn(thread);
    }

    /// Whether a retry may be made now, which is then made.
    pub(crate) fn spend(&self, thread: usize, now: Instant) -> bool {
        self.budget.spend(thread, now)
    }
}

/// What retries may add to requests: a share of them, and one in a second, so that a rule with few requests has
/// retries. When all targets fail, this is what keeps retries from multiplying the load that they fail under.
///
/// What requests earn is their thread's. The reserve is shared: a client whose requests come to one thread would have next
/// to none of it otherwise.
#[derive(Debug)]
struct Budget {
    percent: u64,
    since: Instant,
    threads: Box<[Purse]>,
    /// What a thread can save up.
    most: u64,
    /// When the reserve is whole again, in milliseconds since the beginning.
    whole: AtomicU64,
}

/// What a thread's requests have earned, in hundredths of a retry. Written by that thread only.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Purse(AtomicU64);

/// The price of a retry: as many requests earn it as one has percents.
const PRICE: u64 = 100;
/// Retries that may be made at once after a quiet time, of all threads together.
const RESERVE: u64 = 10;
/// Retries that requests may save up, of all threads together.
const SAVINGS: u64 = 100;
/// How long it takes until the reserve has another retry, in milliseconds.
const EVERY: u64 = 1000;

impl Budget {
    fn new(percent: u8, threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            percent: percent.into(),
            since: Instant::now(),
            threads: (0..threads).map(|_| Purse::default()).collect(),
            most: (SAVINGS / threads as u64).max(1) * PRICE,
            whole: 0.into(),
        }
    }

    fn earn(&self, thread: usize) {
        let Purse(left) = &self.threads[thread];
        let earned = left.load(Relaxed) + self.percent;
        left.store(earned.min(self.most), Relaxed);
    }

    fn spend(&self, thread: usize, now: Instant) -> bool {
        let Purse(left) = &self.threads[thread];
        if let Some(rest) = left.load(Relaxed).checked_sub(PRICE) {
            left.store(rest, Relaxed);
            return true;
        }
        let now = now.saturating_duration_since(self.since).as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let taken = |whole: u64| {
            let after = whole.max(now).saturating_add(EVERY);
            (after - now <= RESERVE * EVERY).then_some(after)
        };
        self.whole.fetch_update(Relaxed, Relaxed, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    #[test]
    fn no_rule_changes_what_only_lath_may_say() {
        for name in fields::own_names() {
            let may = traffic::unalterable(name).is_none();
            assert_eq!(may, name == "content-type", "{name}");
            let odd = name.replace('-', "_");
            assert!(traffic::unalterable(&odd).is_some(), "{odd}");
        }
    }

    #[test]
    fn a_budget_is_a_share_of_requests_and_a_little_with_time() {
        let budget = Budget::new(20, 1);
        let begin = budget.since;
        let spend = |at: Instant| (0..1000).filter(|_| budget.spend(0, at)).count();
        assert_eq!(spend(begin), 10, "the reserve");
        (0..50).for_each(|_| budget.earn(0));
        assert_eq!(spend(begin), 10, "a fifth of fifty");
        assert_eq!(spend(begin + Duration::from_secs(3)), 3, "one in a second");
        assert_eq!(
            spend(begin + Duration::from_secs(3600)),
            10,
            "not more than the reserve"
        );
        (0..100_000).for_each(|_| budget.earn(0));
        assert_eq!(
            spend(begin + Duration::from_secs(3600)),
            100,
            "savings have an end"
        );
    }

    #[test]
    fn one_of_many_threads_has_the_whole_reserve() {
        let budget = Budget::new(20, 64);
        let begin = budget.since;
        let spend = |thread| {
            let spent = (0..1000).filter(|_| budget.spend(thread, begin));
            spent.count()
        };
        assert_eq!(spend(3), 10);
        (0..5).for_each(|_| budget.earn(4));
        assert_eq!((spend(5), spend(4)), (0, 1));
    }

    #[test]
    fn a_path_that_gets_too_long_does_not_stay_as_it_was() {
        let change = PathChange::Prefix {
            from: String::new(),
            to: format!("/{}", "b".repeat(1000)),
        };
        for (length, fits) in [(60_000, true), (65_000, false)] {
            let before: Uri = format!("/{}", "a".repeat(length)).parse().unwrap();
            let mut uri = before.clone();
            let changed = change_path(&mut uri, &change);
            assert_eq!((changed.is_ok(), uri != before), (fits, fits), "{length}");
        }
    }

    #[test]
    fn waits_grow_and_have_an_end() {
        let retry = traffic::Retry {
            attempts: 9,
            codes: Vec::new(),
            backoff: Duration::from_millis(40),
            budget_percent: 20,
        };
        let retry = Retry::of(&retry, 1);
        for (number, least) in [(0, 40), (1, 80), (2, 160), (3, 320), (4, 400), (9, 400)] {
            let wait = retry.wait(number);
            let least = Duration::from_millis(least);
            assert!(least <= wait && wait <= least * 3 / 2, "{number}: {wait:?}");
        }
    }

    #[test]
    fn a_location_is_the_request_with_what_is_said() {
        let whole = traffic::Redirect {
            scheme: None,
            hostname: None,
            port: None,
            path: None,
            status: 302,
        };
        let prefix = PathChange::Prefix {
            from: "/a".into(),
            to: "/b".into(),
        };
        let here = (Scheme::Http, 8080);
        for (redirect, uri, at, want) in [
            (
                whole.clone(),
                "/a?q=1",
                here,
                "http://shop.example:8080/a?q=1",
            ),
            (
                traffic::Redirect {
                    scheme: Some(Scheme::Https),
                    ..whole.clone()
                },
                "http://shop.example/a",
                here,
                "https://shop.example/a",
            ),
            (
                traffic::Redirect {
                    hostname: Some("b.example".into()),
                    port: Some(443),
                    ..whole.clone()
                },
                "/",
                (Scheme::Https, 8443),
                "https://b.example/",
            ),
            (
                traffic::Redirect {
                    port: Some(80),
                    path: Some(prefix.clone()),
                    ..whole.clone()
                },
                "/a/c?d",
                here,
                "http://shop.example/b/c?d",
            ),
            (
                traffic::Redirect {
                    path: Some(PathChange::Full("/z".into())),
                    ..whole.clone()
                },
                "/a//c",
                (Scheme::Http, 80),
                "http://shop.example/z",
            ),
            (
                whole.clone(),
                "*",
                (Scheme::Http, 80),
                "http://shop.example/",
            ),
            (
                whole,
                "//evil.example/",
                (Scheme::Http, 80),
                "http://shop.example//evil.example/",
            ),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let got = location(&redirect, &uri, b"shop.example", at).unwrap();
            assert_eq!(got, want, "{uri}");
        }
    }
}
