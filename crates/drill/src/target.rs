use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The target of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `http://NAME[:PORT][/PATH]`: a GET over a new connection; every request resolves the name again. A 2xx or 3xx
    /// status is a success.
    Http {
        /// A name or an IPv4 address.
        host: String,
        /// The port, by default 80.
        port: u16,
        /// Path and query.
        path: String,
    },
    /// `dns:NAME`: a query for A records to the resolver. During a fault only an answer other than the one
    /// before it is a success.
    Dns {
        /// Without the trailing dot.
        name: String,
    },
}

/// The text is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no target ({reason}): http://NAME[:PORT][/PATH] or dns:NAME")]
pub struct InvalidTarget {
    text: String,
    reason: &'static str,
}

impl Target {
    /// The name to resolve; `None` for an address.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Http { host, .. } => host.parse::<Ipv4Addr>().is_err().then_some(host.as_str()),
            Self::Dns { name } => Some(name),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let wrong = |reason| InvalidTarget {
            text: text.chars().take(128).collect(),
            reason,
        };
        if let Some(name) = text.strip_prefix("dns:") {
            let name = name.trim_end_matches('.');
            return if is_name(name) {
                Ok(Self::Dns { name: name.into() })
            } else {
                Err(wrong("the name is not valid"))
            };
        }
        if !text.starts_with("http://") {
            return Err(wrong("neither http:// nor dns:"));
        }
        let uri: http::Uri = text.parse().map_err(|_| wrong("the URL is not valid"))?;
        let host = uri.host().unwrap_or_default().trim_end_matches('.');
        if !is_name(host) {
            return Err(wrong("the host is neither a name nor an IPv4 address"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self::Http {
            host: host.into(),
            port: uri.port_u16().unwrap_or(80),
            path: path.into(),
        })
    }
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port, path } => write!(f, "http://{host}:{port}{path}"),
            Self::Dns { name } => write!(f, "dns:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_or_refused() {
        for (given, want) in [
            ("http://web.example", Some("http://web.example:80/")),
            (
                "http://10.0.0.1:8080/a?b=c",
                Some("http://10.0.0.1:8080/a?b=c"),
            ),
            ("dns:app.example.", Some("dns:app.example")),
            ("https://web.example", None),
            ("http://", None),
            ("dns:", None),
            ("dns:a..b", None),
            ("web.example", None),
        ] {
            let got = given.parse::<Target>().ok().map(|t| t.to_string());
            assert_eq!(got.as_deref(), want, "{given}");
        }
    }
}
