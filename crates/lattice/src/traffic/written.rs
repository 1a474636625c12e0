//! A traffic policy as users write it: JSON whose members are named as Kubernetes' Gateway API names them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use lath_model::id::TargetGroupId;
use lath_model::traffic::{
    HeaderEdits, Mirror, PathChange, PolicyError, Redirect, Retry, Rewrite, Scheme, Timeouts,
    TrafficPolicy,
};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
}

/// What is written as an object: serde reads a list of a struct's members in their order, too.
#[derive(Debug, Default)]
struct Object<T>(T);

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

/// A duration as <https://gateway-api.sigs.k8s.io/geps/gep-2257/> writes it: `1h30m`, `500ms`.
#[derive(Debug, Clone, Copy)]
struct Span(Duration);

/// Up to four numbers of up to five digits, each with its unit.
fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut sum, mut parts) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit())?;
        let (digits, after) = rest.split_at(end);
        if !(1..=5).contains(&digits.len()) || parts == 4 {
            return None;
        }
        let number: u64 = digits.parse().ok()?;
        let end = after.find(|it: char| it.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        sum += match unit {
            "h" => Duration::from_secs(3600 * number),
            "m" => Duration::from_secs(60 * number),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        (rest, parts) = (after, parts + 1);
    }
    (parts > 0).then_some(sum)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let message =
            || D::Error::custom(format!("{text:?} is no duration such as 500ms or 1m30s"));
        span(&text).map(Self).ok_or_else(message)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
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
        let written: Result<Object<Self>, _> = serde_json::from_str(text);
        let written = written.map_err(|error| error.to_string())?;
        Ok(written.0)
    }

    /// The groups that get copies, as they are named.
    pub(super) fn mirrored(&self) -> impl Iterator<Item = &str> {
        let mirrors = self.mirrors.iter();
        mirrors.map(|it| it.0.target_group_identifier.as_str())
    }

    /// As it is meant. `mirrored` are the groups that get copies, in their order.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn policy(self, mirrored: Vec<TargetGroupId>) -> Result<TrafficPolicy, PolicyError> {
        let redirect = self.redirect.map(|Object(it)| {
            Ok(Redirect {
                scheme: it.scheme,
                hostname: it.hostname,
                port: it.port,
                path: it.path.map(|it| it.0.change("redirect.path")).transpose()?,
                status: it.status_code.unwrap_or(302),
            })
        });
        let rewrite = self.url_rewrite.map(|Object(it)| {
            Ok(Rewrite {
                hostname: it.hostname,
                path: it
                    .path
                    .map(|it| it.0.change("urlRewrite.path"))
                    .transpose()?,
            })
        });
        let retry = self.retry.map(|Object(it)| Retry {
            attempts: it.attempts,
            codes: it.codes,
            backoff: it.backoff.map_or(BACKOFF, |it| it.0),
            budget_percent: it.budget_percent.unwrap_or(BUDGET),
        });
        let mirrors = self.mirrors.into_iter().zip(mirrored);
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
            mirrors: mirrors
                .map(|(Object(it), target_group)| Mirror {
                    target_group,
                    percent: it.percent.unwrap_or(100),
                })
                .collect(),
        };
        policy.check()?;
        if policy.is_empty() {
            return wrong(
                "{}",
                "it says nothing; remove the tag, or give requestHeaders, responseHeaders, redirect, urlRewrite, \
                 timeouts, retry or mirrors",
            );
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_gateway_api() {
        for (text, want) in [
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1m5s10ms", Some(65_010)),
            ("0s", Some(0)),
            ("99999h1ms", Some(99_999 * 3_600_000 + 1)),
            ("", None),
            ("5", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("ms", None),
            ("1 s", None),
        ] {
            let want = want.map(Duration::from_millis);
            assert_eq!(span(text), want, "{text}");
        }
    }

    #[test]
    fn all_members_are_read_and_have_defaults() {
        let text = r#"{
            "requestHeaders": {"set": {"x-a": "1"}, "add": {"x-b": "2"}, "remove": ["x-c"]},
            "responseHeaders": {"remove": ["server"]},
            "urlRewrite": {"hostname": "a.example", "path": {"prefix": "/a/", "replacePrefixMatch": "/"}},
            "timeouts": {"request": "10s", "backendRequest": "2s"},
            "retry": {"attempts": 2, "codes": [502, 503]},
            "mirrors": [{"targetGroupIdentifier": "tg-1"}]
        }"#;
        let written = Written::read(text).unwrap();
        assert_eq!(written.mirrored().collect::<Vec<_>>(), ["tg-1"]);
        let group = TargetGroupId::random();
        let policy = written.policy(vec![group.clone()]).unwrap();
        assert_eq!(policy.request_headers.set, [("x-a".into(), "1".into())]);
        assert_eq!(policy.request_headers.add, [("x-b".into(), "2".into())]);
        assert_eq!(policy.request_headers.remove, ["x-c"]);
        assert_eq!(policy.response_headers.remove, ["server"]);
        let rewrite = policy.rewrite.unwrap();
        assert_eq!(rewrite.hostname.as_deref(), Some("a.example"));
        let path = PathChange::Prefix {
            from: "/a".into(),
            to: String::new(),
        };
        assert_eq!(rewrite.path, Some(path));
        assert_eq!(
            policy.timeouts.backend_request,
            Some(Duration::from_secs(2))
        );
        let retry = policy.retry.unwrap();
        assert_eq!((retry.backoff, retry.budget_percent), (BACKOFF, BUDGET));
        let mirror = Mirror {
            target_group: group,
            percent: 100,
        };
        assert_eq!(policy.mirrors, [mirror]);
        let redirect = Written::read(r#"{"redirect":{"scheme":"https"}}"#).unwrap();
        let redirect = redirect.policy(Vec::new()).unwrap().redirect.unwrap();
        assert_eq!(
            (redirect.scheme, redirect.status),
            (Some(Scheme::Https), 302)
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place() {
        for (text, want) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[]", "expected an object"),
            ("{\"redirect\":[\"https\"]}", "expected an object"),
            (
                "{\"a\":1}",
                "unknown field `a`, expected one of `requestHeaders`",
            ),
            ("{\"timeouts\":{\"request\":5}}", "expected a string"),
            (
                "{\"timeouts\":{\"request\":\"5\"}}",
                "\"5\" is no duration such as 500ms",
            ),
            (
                "{\"timeouts\":{},\"timeouts\":{}}",
                "duplicate field `timeouts`",
            ),
            ("{\"retry\":{}}", "missing field `attempts`"),
            ("{\"redirect\":{\"port\":70000}}", "expected u16"),
            (
                "{\"redirect\":{\"scheme\":\"ftp\"}}",
                "unknown variant `ftp`, expected `http` or `https`",
            ),
            (
                "{\"requestHeaders\":{\"set\":[]}}",
                "headers as a map of names to values",
            ),
            ("{} {}", "trailing characters at line 1 column 4"),
        ] {
            let got = Written::read(text).expect_err(text);
            assert!(got.contains(want), "{text}: {got}");
        }
        for (text, want) in [
            ("{}", "{}: it says nothing"),
            (
                "{\"urlRewrite\":{\"path\":{}}}",
                "urlRewrite.path: give either replaceFullPath",
            ),
            (
                "{\"urlRewrite\":{\"path\":{\"prefix\":\"/a\"}}}",
                "urlRewrite.path: give either replaceFullPath",
            ),
            (
                "{\"requestHeaders\":{\"set\":{\"host\":\"a\"}}}",
                "urlRewrite.hostname",
            ),
            (
                "{\"requestHeaders\":{\"set\":{\"x-a\":\"1\",\"X-A\":\"2\"}}}",
                "requestHeaders.set: \"x-a\" stands here more than once",
            ),
        ] {
            let written = Written::read(text).expect(text);
            let got = written.policy(Vec::new()).expect_err(text).to_string();
            assert!(got.contains(want), "{text}: {got}");
        }
        let deep = "[".repeat(2000);
        assert!(Written::read(&deep).is_err());
        assert!(Written::read(&format!("{{\"mirrors\":{deep}")).is_err());
    }
}
