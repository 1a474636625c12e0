//! What browsers are told of pages of other origins (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use lath_model::traffic;

/// A rule's policy, compiled.
#[derive(Debug)]
pub(crate) struct Cors {
    source: traffic::Cors,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: HeaderValue,
}

/// What an answer says.
#[derive(Debug)]
pub(crate) struct Said(HeaderMap);

impl Cors {
    /// `None`: it could not have been written here.
    pub(crate) fn of(source: &traffic::Cors) -> Option<Self> {
        // All is said by name where pages may send credentials: an asterisk is one character then.
        let list = |names: &[String]| match names {
            [] => Some(None),
            names if names.iter().any(|it| it == "*") => match source.allow_credentials {
                true => Some(None),
                false => Some(Some(HeaderValue::from_static("*"))),
            },
            names => Some(Some(names.join(", ").parse().ok()?)),
        };
        Some(Self {
            methods: list(&source.allow_methods)?,
            headers: list(&source.allow_headers)?,
            exposed: list(&source.expose_headers)?,
            max_age: source.max_age.into(),
            source: source.clone(),
        })
    }

    /// What answers a browser that asks whether it may send a request. `None`: the request is no such question.
    pub(crate) fn preflight(&self, method: &Method, asked: &HeaderMap) -> Option<HeaderMap> {
        let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        let wanted =
            wanted.filter(|_| method == Method::OPTIONS && asked.contains_key(header::ORIGIN))?;
        let mut headers = HeaderMap::new();
        let is_allowed = self.allow(asked, &mut headers);
        for name in [
            "access-control-request-method",
            "access-control-request-headers",
        ] {
            headers.append(header::VARY, HeaderValue::from_static(name));
        }
        if !is_allowed {
            return Some(headers);
        }
        let is_all = |names: &[String]| names.iter().any(|it| it == "*");
        let own = self.methods.clone();
        let methods = own.or_else(|| is_all(&self.source.allow_methods).then(|| wanted.clone()));
        let own = self.headers.clone();
        let asked = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let names = own.or_else(|| {
            asked
                .filter(|_| is_all(&self.source.allow_headers))
                .cloned()
        });
        let allowed = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, names),
            (header::ACCESS_CONTROL_MAX_AGE, Some(self.max_age.clone())),
            // Browsers do not look for it here; the Gateway API's conformance tests do.
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone()),
        ];
        headers.extend(
            allowed
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        Some(headers)
    }

    /// What the answer to a request with these headers says.
    pub(crate) fn said(&self, asked: &HeaderMap) -> Said {
        let mut headers = HeaderMap::new();
        if self.allow(asked, &mut headers)
            && let Some(exposed) = &self.exposed
        {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
        Said(headers)
    }

    /// Says whether the origin is allowed.
    fn allow(&self, asked: &HeaderMap, headers: &mut HeaderMap) -> bool {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let mut origins = asked.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return false;
        };
        if !origin
            .to_str()
            .is_ok_and(|origin| self.source.allows(origin))
        {
            return false;
        }
        let is_all = self.source.allow_origins.iter().any(|it| it == "*");
        let allowed = match is_all && !self.source.allow_credentials {
            true => HeaderValue::from_static("*"),
            false => origin.clone(),
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.source.allow_credentials {
            let is_true = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, is_true);
        }
        true
    }
}

impl Said {
    /// The rule's word counts, and not the target's.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        const OWN: [HeaderName; 3] = [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ];
        for name in OWN {
            headers.remove(name);
        }
        for (name, value) in &self.0 {
            headers.append(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], any: bool, credentials: bool) -> Cors {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let all: Vec<String> = names(&["*"]);
        let source = traffic::Cors {
            allow_origins: names(origins),
            allow_methods: if any {
                all.clone()
            } else {
                names(&["PUT", "DELETE"])
            },
            allow_headers: if any { all } else { names(&["x-a"]) },
            expose_headers: names(&["x-b"]),
            allow_credentials: credentials,
            max_age: 7,
        };
        Cors::of(&source).unwrap()
    }

    fn asked(origin: &'static str) -> HeaderMap {
        let fields = [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-c"),
        ];
        let fields = fields.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        fields.into_iter().collect()
    }

    #[test]
    fn browsers_are_told_what_they_may_send() {
        let get = |headers: &HeaderMap, name: &str| {
            let value = headers.get(name).map(|it| it.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        for (cors, origin, want) in [
            (
                cors(&["https://a.test"], false, false),
                "https://a.test",
                ["https://a.test", "PUT, DELETE", "x-a", ""],
            ),
            (
                cors(&["https://a.test"], false, false),
                "https://b.test",
                ["", "", "", ""],
            ),
            (
                cors(&["*"], true, false),
                "https://b.test",
                ["*", "*", "*", ""],
            ),
            (
                cors(&["*"], true, true),
                "https://b.test",
                ["https://b.test", "PUT", "x-c", "true"],
            ),
        ] {
            let allowed = cors.preflight(&Method::OPTIONS, &asked(origin)).unwrap();
            let found = ["origin", "methods", "headers", "credentials"]
                .map(|name| get(&allowed, &format!("access-control-allow-{name}")));
            assert_eq!(found, want);
            let exposed = allowed.contains_key("access-control-expose-headers");
            assert_eq!(exposed, cors.exposed.is_some() && !want[0].is_empty());
            assert!(cors.preflight(&Method::GET, &asked(origin)).is_none());
            assert!(
                cors.preflight(&Method::OPTIONS, &HeaderMap::new())
                    .is_none()
            );
            let mut headers = asked("https://target.test");
            headers.insert(
                "access-control-allow-origin",
                HeaderValue::from_static("null"),
            );
            cors.said(&asked(origin)).add_to(&mut headers);
            assert_eq!(get(&headers, "access-control-allow-origin"), want[0]);
            let exposed = if want[0].is_empty() { "" } else { "x-b" };
            assert_eq!(get(&headers, "access-control-expose-headers"), exposed);
            assert_eq!(get(&headers, "vary"), "origin");
        }
    }
}
