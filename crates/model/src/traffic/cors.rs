//! Cross-Origin Resource Sharing (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use serde::{Deserialize, Serialize};

use super::check::{PolicyError, few, is_token, wrong};

/// Of origins, methods or headers.
pub const MOST_CORS: usize = 64;
/// Of an origin, in characters.
const LONGEST_ORIGIN: usize = 261;

/// Which pages of other origins browsers let read the answers, as the Gateway API says it. In each list `*` stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// `scheme://host` and perhaps a port, where an asterisk stands for one or more labels of the host.
    pub allow_origins: Vec<String>,
    /// Methods beside the simple ones.
    pub allow_methods: Vec<String>,
    /// Headers of requests.
    pub allow_headers: Vec<String>,
    /// Headers of answers.
    pub expose_headers: Vec<String>,
    /// Whether pages may ask with cookies and the like.
    pub allow_credentials: bool,
    /// How long browsers may remember this, in seconds.
    pub max_age: u32,
}

impl Cors {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if self.allow_origins.is_empty() {
            return wrong("cors.allowOrigins", "give at least one origin, or *");
        }
        few("cors.allowOrigins", self.allow_origins.len(), MOST_CORS)?;
        if let Some(origin) = self.allow_origins.iter().find(|it| !is_origin(it)) {
            let message = format!(
                "{origin:?} is no origin; give *, or such as https://a.example, https://*.example:8443"
            );
            return wrong("cors.allowOrigins", message);
        }
        for (at, names) in [
            ("cors.allowMethods", &self.allow_methods),
            ("cors.allowHeaders", &self.allow_headers),
            ("cors.exposeHeaders", &self.expose_headers),
        ] {
            few(at, names.len(), MOST_CORS)?;
            let is_name = |name: &&String| {
                !name.is_empty() && name.len() <= 256 && name.bytes().all(is_token)
            };
            if let Some(name) = names.iter().find(|it| !is_name(it)) {
                return wrong(at, format!("{name:?} is no name"));
            }
        }
        Ok(())
    }

    /// Whether pages of an origin may read answers.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        let mut all = self.allow_origins.iter();
        all.any(|own| own == "*" || is_of(origin, own))
    }
}

fn is_origin(text: &str) -> bool {
    let host = |host: &str| {
        let (name, port) = host.split_once(':').unwrap_or((host, "1"));
        let is_label = |it: &str| {
            it.bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
        };
        let mut labels = name.strip_prefix("*.").unwrap_or(name).split('.');
        let is_name = name == "*" || labels.all(|it| !it.is_empty() && is_label(it));
        is_name && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    let scheme = |it: &str| {
        !it.is_empty()
            && it
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
    };
    let parts = text.split_once("://");
    text == "*"
        || text.len() <= LONGEST_ORIGIN
            && parts.is_some_and(|(its, rest)| scheme(its) && host(rest))
}

/// Scheme and host are compared without case.
fn is_of(origin: &str, own: &str) -> bool {
    let Some((before, after)) = own.split_once('*') else {
        return origin.eq_ignore_ascii_case(own);
    };
    let Some(room) = origin.len().checked_sub(before.len() + after.len()) else {
        return false;
    };
    let (Some(begin), Some(labels), Some(end)) = (
        origin.get(..before.len()),
        origin.get(before.len()..before.len() + room),
        origin.get(before.len() + room..),
    ) else {
        return false;
    };
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    begin.eq_ignore_ascii_case(before)
        && end.eq_ignore_ascii_case(after)
        && !labels.is_empty()
        && labels.bytes().all(is_of_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_labels() {
        for (own, origin, want) in [
            ("https://a.example", "https://A.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://*.example", "https://b.a.example", true),
            ("https://*.example", "https://.example", false),
            ("https://*.example", "https://evil.test/.example", false),
            ("https://*.example:8443", "https://a.example:8443", true),
            ("https://*", "https://a.example", true),
            ("https://*", "https://a.example:1", false),
        ] {
            assert!(is_origin(own), "{own}");
            assert_eq!(is_of(origin, own), want, "{own} {origin}");
        }
        for text in [
            "",
            "a.example",
            "https://",
            "https://a/b",
            "https://a:0",
            "https://a.*.b",
            "://a",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
