//! A traffic policy as users write it: JSON whose members are named as Kubernetes' Gateway API names them.

use std::fmt;
use std::time::Duration;

use lath_model::id::TargetGroupId;
use lath_model::traffic::{
    Cors, FailureShare, GroupFilters, HeaderEdits, Mirror, PathChange, PolicyError, RateKey,
    RateLimit, RateScope, Redirect, Retry, Rewrite, Scheme, SessionKey, SessionKind,
    SessionPersistence, Timeouts, TrafficPolicy,
};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::policy_text::{self, Object, Span};

/// Envoy's first wait before a retry.
const BACKOFF: Duration = Duration::from_millis(25);

/// Envoy's budget of retries, in percent of requests.
const BUDGET: u8 = 20;

/// The whole of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Written {
    request_headers: Object<WrittenEdits>,
    response_headers: Object<WrittenEdits>,
    redirect: Option<Object<WrittenRedirect>>,
    url_rewrite: Option<Object<WrittenRewrite>>,
    timeouts: Object<WrittenTimeouts>,
    retry: Option<Object<WrittenRetry>>,
    mirrors: Vec<Object<WrittenMirror>>,
    session_persistence: Option<Object<WrittenSession>>,
    rate_limits: Vec<Object<WrittenLimit>>,
    failure: Option<Object<WrittenFailure>>,
    target_groups: Vec<Object<WrittenGroup>>,
    cors: Option<Object<WrittenCors>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenFailure {
    weight: u32,
    status_code: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenGroup {
    target_group_identifier: String,
    #[serde(default)]
    request_headers: Object<WrittenEdits>,
    #[serde(default)]
    response_headers: Object<WrittenEdits>,
    url_rewrite: Option<Object<WrittenRewrite>>,
    #[serde(default)]
    mirrors: Vec<Object<WrittenMirror>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenCors {
    allow_origins: Vec<String>,
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    expose_headers: Vec<String>,
    allow_credentials: bool,
    max_age: Option<u32>,
}

/// The Gateway API's default.
const MAX_AGE: u32 = 5;

impl From<WrittenCors> for Cors {
    fn from(written: WrittenCors) -> Self {
        Self {
            allow_origins: written.allow_origins,
            allow_methods: written.allow_methods,
            allow_headers: written.allow_headers,
            expose_headers: written.expose_headers,
            allow_credentials: written.allow_credentials,
            max_age: written.max_age.unwrap_or(MAX_AGE),
        }
    }
}

impl WrittenRewrite {
    fn rewrite(self, at: &str) -> Result<Rewrite, PolicyError> {
        let path = self.path.map(|it| it.0.change(&format!("{at}.path")));
        Ok(Rewrite {
            hostname: self.hostname,
            path: path.transpose()?,
        })
    }
}

/// Mirrors, with the groups that they name looked up.
fn mirrors(
    written: Vec<Object<WrittenMirror>>,
    named: &mut impl Iterator<Item = TargetGroupId>,
) -> Vec<Mirror> {
    let mirrors = written.into_iter().zip(named);
    let mirrors = mirrors.map(|(Object(it), target_group)| Mirror {
        target_group,
        percent: it.percent.unwrap_or(100),
    });
    mirrors.collect()
}

impl WrittenGroup {
    fn filters(
        self,
        at: &str,
        named: &mut impl Iterator<Item = TargetGroupId>,
    ) -> Result<GroupFilters, PolicyError> {
        let Some(target_group) = named.next() else {
            return wrong(at, "the group was not looked up");
        };
        let rewrite = self
            .url_rewrite
            .map(|it| it.0.rewrite(&format!("{at}.urlRewrite")));
        Ok(GroupFilters {
            target_group,
            request_headers: self.request_headers.0.into(),
            response_headers: self.response_headers.0.into(),
            rewrite: rewrite.transpose()?,
            mirrors: mirrors(self.mirrors, named),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenEdits {
    set: Fields,
    add: Fields,
    remove: Vec<String>,
}

/// Headers by name, in their order: the same name twice is for the check to find.
#[derive(Debug, Default)]
struct Fields(Vec<(String, String)>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRedirect {
    scheme: Option<Scheme>,
    hostname: Option<String>,
    port: Option<u16>,
    path: Option<Object<WrittenPath>>,
    status_code: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRewrite {
    hostname: Option<String>,
    path: Option<Object<WrittenPath>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenPath {
    replace_full_path: Option<String>,
    prefix: Option<String>,
    replace_prefix_match: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenTimeouts {
    request: Option<Span>,
    backend_request: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRetry {
    attempts: u8,
    #[serde(default)]
    codes: Vec<u16>,
    backoff: Option<Span>,
    budget_percent: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMirror {
    target_group_identifier: String,
    percent: Option<u8>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers as a map of names to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenSession {
    #[serde(rename = "type")]
    kind: Option<WrittenKind>,
    session_name: Option<String>,
    absolute_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    cookie_config: Option<Object<WrittenCookie>>,
    target_group: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum WrittenKind {
    Cookie,
    Header,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenCookie {
    lifetime_type: Option<WrittenLifetime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum WrittenLifetime {
    Session,
    Permanent,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenLimit {
    name: Option<String>,
    requests: u32,
    per: Option<Span>,
    burst: Option<u32>,
    key: Option<WrittenKey>,
    header: Option<String>,
    scope: Option<WrittenScope>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenKey {
    SourceAddress,
    Principal,
    Header,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenScope {
    Local,
    Global,
}

impl WrittenSession {
    fn session(self, key: SessionKey) -> SessionPersistence {
        let cookie = self.cookie_config.and_then(|it| it.0.lifetime_type);
        SessionPersistence {
            kind: match self.kind {
                Some(WrittenKind::Header) => SessionKind::Header,
                Some(WrittenKind::Cookie) | None => SessionKind::Cookie,
            },
            name: self.session_name,
            absolute_timeout: self.absolute_timeout.map(|it| it.0),
            idle_timeout: self.idle_timeout.map(|it| it.0),
            permanent: cookie == Some(WrittenLifetime::Permanent),
            target_group: self.target_group.unwrap_or(true),
            key,
        }
    }
}

impl WrittenLimit {
    fn limit(self, at: &str) -> Result<RateLimit, PolicyError> {
        let key = match (self.key, self.header) {
            (None, None) => RateKey::All,
            (Some(WrittenKey::SourceAddress), None) => RateKey::SourceAddress,
            (Some(WrittenKey::Principal), None) => RateKey::Principal,
            (Some(WrittenKey::Header), Some(name)) => RateKey::Header(name),
            _ => {
                return wrong(
                    &format!("{at}.header"),
                    "give it with the key header, and with no other",
                );
            }
        };
        Ok(RateLimit {
            name: self.name,
            requests: self.requests,
            per: self.per.map_or(Duration::from_secs(1), |it| it.0),
            burst: self.burst.unwrap_or(self.requests),
            key,
            scope: match self.scope {
                Some(WrittenScope::Global) => RateScope::Global,
                Some(WrittenScope::Local) | None => RateScope::Local,
            },
        })
    }
}

fn wrong<T>(at: &str, message: &str) -> Result<T, PolicyError> {
    let (at, message) = (at.to_owned(), message.to_owned());
    Err(PolicyError { at, message })
}

impl From<WrittenEdits> for HeaderEdits {
    fn from(written: WrittenEdits) -> Self {
        Self {
            set: written.set.0,
            add: written.add.0,
            remove: written.remove,
        }
    }
}

impl WrittenPath {
    /// A slash at a prefix's end means nothing, as in the Gateway API.
    fn change(self, at: &str) -> Result<PathChange, PolicyError> {
        let stem = |prefix: String| prefix.strip_suffix('/').unwrap_or(&prefix).to_owned();
        match (
            self.replace_full_path,
            self.prefix,
            self.replace_prefix_match,
        ) {
            (Some(path), None, None) => Ok(PathChange::Full(path)),
            (None, Some(from), Some(to)) => Ok(PathChange::Prefix {
                from: stem(from),
                to: stem(to),
            }),
            _ => wrong(
                at,
                "give either replaceFullPath, or prefix and replacePrefixMatch",
            ),
        }
    }
}

impl Written {
    /// Out of a tag's text, which is short.
    ///
    /// # Errors
    /// What is wrong, and where in the text.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        policy_text::read(text)
    }

    /// The groups that it names, in their order: those that get copies, then those with filters, each with those that get copies
    /// of its own requests.
    pub(super) fn mirrored(&self) -> impl Iterator<Item = &str> {
        let groups = self.target_groups.iter().flat_map(|Object(it)| {
            let copies = it.mirrors.iter().map(|it| &it.0.target_group_identifier);
            [&it.target_group_identifier].into_iter().chain(copies)
        });
        let mirrors = self.mirrors.iter();
        let mirrors = mirrors.map(|it| &it.0.target_group_identifier);
        mirrors.chain(groups).map(String::as_str)
    }

    /// As it is meant. `mirrored` are the groups of [`Self::mirrored`]; `key` is the one of sessions.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn policy(
        self,
        mirrored: Vec<TargetGroupId>,
        key: SessionKey,
    ) -> Result<TrafficPolicy, PolicyError> {
        let limits = self.rate_limits.into_iter().enumerate();
        let limits = limits.map(|(index, it)| it.0.limit(&format!("rateLimits.{index}")));
        let redirect = self.redirect.map(|Object(it)| {
            Ok(Redirect {
                scheme: it.scheme,
                hostname: it.hostname,
                port: it.port,
                path: it.path.map(|it| it.0.change("redirect.path")).transpose()?,
                status: it.status_code.unwrap_or(302),
            })
        });
        let rewrite = self.url_rewrite.map(|it| it.0.rewrite("urlRewrite"));
        let retry = self.retry.map(|Object(it)| Retry {
            attempts: it.attempts,
            codes: it.codes,
            backoff: it.backoff.map_or(BACKOFF, |it| it.0),
            budget_percent: it.budget_percent.unwrap_or(BUDGET),
        });
        let mut named = mirrored.into_iter();
        let mirrors = mirrors(self.mirrors, &mut named);
        let groups = self.target_groups.into_iter().enumerate();
        let groups = groups.map(|(index, it)| {
            let at = format!("targetGroups.{index}");
            it.0.filters(&at, &mut named)
        });
        let groups = groups.collect::<Result<_, _>>()?;
        let policy = TrafficPolicy {
            request_headers: self.request_headers.0.into(),
            response_headers: self.response_headers.0.into(),
            redirect: redirect.transpose()?,
            rewrite: rewrite.transpose()?,
            timeouts: Timeouts {
                request: self.timeouts.0.request.map(|it| it.0),
                backend_request: self.timeouts.0.backend_request.map(|it| it.0),
            },
            retry,
            mirrors,
            groups,
            failure: self.failure.map(|Object(it)| FailureShare {
                weight: it.weight,
                status: it.status_code.unwrap_or(500),
            }),
            cors: self.cors.map(|it| it.0.into()),
            session: self.session_persistence.map(|it| it.0.session(key)),
            limits: limits.collect::<Result<_, _>>()?,
        };
        policy.check()?;
        if policy.is_empty() {
            return wrong(
                "{}",
                "it says nothing; remove the tag, or give requestHeaders, responseHeaders, redirect, urlRewrite, \
                 timeouts, retry, mirrors, sessionPersistence, rateLimits, failure, targetGroups or cors",
            );
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests;
