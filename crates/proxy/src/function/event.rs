//! Events: how a request is described to a function.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, header};
use lath_feed::EventVersion;
use serde_json::{Map, Value, json};

use crate::callers::Sender;

/// What an event is made of.
pub(super) struct Event<'a> {
    pub(super) parts: &'a http::request::Parts,
    pub(super) body: &'a Bytes,
    pub(super) network: &'a str,
    pub(super) service: &'a str,
    pub(super) group: &'a str,
    pub(super) source_vpc: &'a str,
    pub(super) sender: &'a Sender,
    /// When the request came.
    pub(super) at: SystemTime,
}

impl Event<'_> {
    /// As JSON, in the structure that the group asks for.
    pub(super) fn text(&self, version: EventVersion) -> String {
        match version {
            EventVersion::V1 => self.first(),
            EventVersion::V2 => self.second(),
        }
        .to_string()
    }

    fn path(&self) -> &str {
        let path = self.parts.uri.path_and_query();
        path.map_or("/", |it| it.as_str())
    }

    fn first(&self) -> Value {
        let headers = named(&self.parts.headers);
        let headers = headers.into_iter();
        let headers: Map<String, Value> = headers
            .map(|(name, values)| (name, values.join(",").into()))
            .collect();
        // The last value wins.
        let query: Map<String, Value> = self
            .query()
            .into_iter()
            .map(|(name, values)| (name, values.into_iter().next_back().into()))
            .collect();
        let (body, is_base64) = self.body();
        json!({
            "raw_path": self.path(),
            "method": self.parts.method.as_str(),
            "headers": headers,
            "query_string_parameters": query,
            "body": body,
            "is_base64_encoded": is_base64,
        })
    }

    fn second(&self) -> Value {
        let (body, is_base64) = self.body();
        let mut identity = json!({ "sourceVpcArn": self.source_vpc });
        if let Some(caller) = self.sender.proved() {
            let arn = caller.principal.arn();
            identity["type"] = "AWS_IAM".into();
            if let Some((_, session)) = session_of(&arn) {
                identity["sessionName"] = session.into();
            }
            identity["principal"] = arn.into();
        }
        let region = self.group.split(':').nth(3).unwrap_or_default();
        let micros = self.at.duration_since(UNIX_EPOCH);
        let micros = micros.unwrap_or_default().as_micros().to_string();
        json!({
            "version": "2.0",
            "path": self.path(),
            "method": self.parts.method.as_str(),
            "headers": named(&self.parts.headers),
            "queryStringParameters": self.query(),
            "body": body,
            "isBase64Encoded": is_base64,
            "requestContext": {
                "serviceNetworkArn": self.network,
                "serviceArn": self.service,
                "targetGroupArn": self.group,
                "identity": identity,
                "region": region,
                "timeEpoch": micros,
            },
        })
    }

    fn query(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::<String, Vec<String>>::new();
        let query = self.parts.uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(plain(name)).or_default().push(plain(value));
        }
        all
    }

    /// The body, and whether it is base64: all but the few types that AWS takes for text, and what is no text.
    fn body(&self) -> (String, bool) {
        if self.body.is_empty() {
            return (String::new(), false);
        }
        let kind = self.parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        let is_text = kind.starts_with("text/")
            || matches!(
                kind.as_str(),
                "application/json" | "application/xml" | "application/javascript"
            );
        match std::str::from_utf8(self.body) {
            Ok(text) if is_text => (text.to_owned(), false),
            _ => (STANDARD.encode(self.body), true),
        }
    }
}

/// `assumed-role/ROLE/SESSION`.
fn session_of(arn: &str) -> Option<(&str, &str)> {
    let resource = arn.splitn(6, ':').nth(5)?;
    let (role, session) = resource.strip_prefix("assumed-role/")?.rsplit_once('/')?;
    Some((role, session))
}

/// Headers by name, each with its values in their order.
fn named(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(name.as_str().to_owned()).or_default().push(value);
    }
    all
}

/// Without percent signs.
fn plain(text: &str) -> String {
    String::from_utf8_lossy(&lath_sigv4::percent_decode(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> http::request::Parts {
        let mut request = http::Request::builder().uri(uri).method("POST");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn event(uri: &str, headers: &[(&str, &str)], body: &'static [u8], to: EventVersion) -> Value {
        let text = Event {
            parts: &parts(uri, headers),
            body: &Bytes::from_static(body),
            network: "arn:network",
            service: "arn:service",
            group: "arn:aws:vpc-lattice:us-east-1:123456789012:targetgroup/tg-1",
            source_vpc: "arn:vpc",
            sender: &Sender::Unasked,
            at: UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_001),
        }
        .text(to);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_first_structure_is_flat() {
        let headers = [
            ("host", "a"),
            ("x-one", "1"),
            ("x-one", "2"),
            ("content-type", "text/plain; charset=utf-8"),
        ];
        let event = event("/a%20b?x=1&x=%32&y", &headers, b"hi", EventVersion::V1);
        let want = json!({
            "raw_path": "/a%20b?x=1&x=%32&y",
            "method": "POST",
            "headers": { "content-type": "text/plain; charset=utf-8", "host": "a", "x-one": "1,2" },
            "query_string_parameters": { "x": "2", "y": "" },
            "body": "hi",
            "is_base64_encoded": false,
        });
        assert_eq!(event, want);
    }

    #[test]
    fn the_second_structure_has_lists_and_a_context() {
        let headers = [("x-one", "1"), ("x-one", "2")];
        let event = event("/?x=1&x=2", &headers, b"\x00\xff", EventVersion::V2);
        assert_eq!(event["headers"], json!({ "x-one": ["1", "2"] }));
        assert_eq!(event["queryStringParameters"], json!({ "x": ["1", "2"] }));
        assert_eq!(event["body"], "AP8=");
        assert_eq!(event["isBase64Encoded"], true);
        let context = &event["requestContext"];
        assert_eq!(context["region"], "us-east-1");
        assert_eq!(context["identity"], json!({ "sourceVpcArn": "arn:vpc" }));
        assert!(
            context["timeEpoch"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .is_ok()
        );
    }

    #[test]
    fn only_text_is_text() {
        for (kind, body, want) in [
            ("application/json", b"{}".as_slice(), false),
            ("application/json", b"\xff", true),
            ("image/png", b"png", true),
            ("", b"x", true),
            ("image/png", b"", false),
        ] {
            let event = event("/", &[("content-type", kind)], body, EventVersion::V1);
            assert_eq!(event["is_base64_encoded"], want, "{kind}");
        }
    }
}
