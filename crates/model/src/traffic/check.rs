//! What policies may say.

use std::time::Duration;

use super::{
    FailureShare, GroupFilters, HeaderEdits, MOST_LIMITS, Mirror, PathChange, Redirect, Retry,
    Rewrite, Timeouts, TrafficPolicy,
};

/// What is wrong with a policy: where, what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct PolicyError {
    /// The member, with its parents: `redirect.port`.
    pub at: String,
    /// A sentence.
    pub message: String,
}

pub(crate) fn wrong<T>(
    at: impl Into<String>,
    message: impl Into<String>,
) -> Result<T, PolicyError> {
    let (at, message) = (at.into(), message.into());
    Err(PolicyError { at, message })
}

/// In each list of header edits at most.
pub const MOST_EDITS: usize = 16;
/// Of a header's name, in characters.
pub const LONGEST_NAME: usize = 128;
/// Of a header's value, in characters.
pub const LONGEST_VALUE: usize = 1024;
/// Of a path, in characters.
pub const LONGEST_PATH: usize = 1024;
/// Of a timeout: longer than this no connection lives.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// Of a backoff.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// Of retries of a request.
pub const MOST_ATTEMPTS: u8 = 10;
/// Of statuses to retry on.
pub const MOST_CODES: usize = 16;
/// Of mirrors.
pub const MOST_MIRRORS: usize = 4;
/// Of groups with filters of their own: as many as an action has.
pub const MOST_GROUPS: usize = 10;
/// The statuses of redirects.
pub const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

impl HeaderEdits {
    fn check(&self, at: &str) -> Result<(), PolicyError> {
        let mut seen: Vec<String> = Vec::new();
        let mut once = |at: String, name: &str| {
            let name = name.to_ascii_lowercase();
            if seen.contains(&name) {
                let message = format!(
                    "{name:?} stands here more than once; name each header once, in one of the lists"
                );
                return wrong(at, message);
            }
            seen.push(name);
            Ok(())
        };
        for (list, fields) in [("set", &self.set), ("add", &self.add)] {
            let at = format!("{at}.{list}");
            few(&at, fields.len(), MOST_EDITS)?;
            for (name, value) in fields {
                check_name(&at, name)?;
                check_value(&format!("{at}.{name}"), value)?;
                once(at.clone(), name)?;
            }
        }
        let at = format!("{at}.remove");
        few(&at, self.remove.len(), MOST_EDITS)?;
        for name in &self.remove {
            check_name(&at, name)?;
            once(at.clone(), name)?;
        }
        Ok(())
    }
}

pub(crate) fn few(at: &str, count: usize, most: usize) -> Result<(), PolicyError> {
    match count > most {
        true => wrong(at, format!("{count} are too many; give at most {most}")),
        false => Ok(()),
    }
}

pub(crate) fn check_name(at: &str, name: &str) -> Result<(), PolicyError> {
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_token) {
        return wrong(
            at,
            format!(
                "{name:?} is no header name; give up to {LONGEST_NAME} letters, digits and characters of !#$%&'*+-.^_`|~"
            ),
        );
    }
    match unalterable(name) {
        Some(why) => wrong(at, format!("{name:?} cannot be changed: {why}")),
        None => Ok(()),
    }
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible ASCII, with spaces and tabs inside: nothing that could end a line.
fn check_value(at: &str, value: &str) -> Result<(), PolicyError> {
    let is_text = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    if value.len() > LONGEST_VALUE || !value.bytes().all(is_text) {
        return wrong(
            at,
            format!(
                "a header's value is up to {LONGEST_VALUE} characters of visible ASCII, spaces and tabs"
            ),
        );
    }
    if value.trim_ascii() != value {
        return wrong(at, "a header's value neither begins nor ends with a space");
    }
    Ok(())
}

/// Why no rule may change a header of this name; `None` if it may. Names that read alike where every character but
/// letters and digits becomes one, as in variables of CGI and WSGI, are as good as the name.
#[must_use]
pub fn unalterable(name: &str) -> Option<&'static str> {
    let fold = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte.to_ascii_lowercase()),
        false => '-',
    };
    let folded: String = name.bytes().map(fold).collect();
    let is_plain = name.eq_ignore_ascii_case(&folded);
    match folded.as_str() {
        "host" => Some("what targets see of the host is set with urlRewrite.hostname"),
        "content-length" | "transfer-encoding" | "trailer" => Some("it frames the message"),
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "upgrade"
        | "http2-settings"
        | "proxy-authenticate"
        | "proxy-authentication-info"
        | "proxy-authorization"
        | "expect" => Some("it belongs to one connection"),
        "forwarded" => Some("only the proxy says where a request comes from"),
        // The name itself may be set: a target may have to be told another type.
        "content-type" if !is_plain => Some("it reads like Content-Type"),
        it if it.starts_with("x-amzn-") || it.starts_with("x-forwarded-") => {
            Some("only the proxy says where a request comes from and who sent it")
        }
        _ => None,
    }
}

/// Whether a text is a host's name in small letters, without a port or a dot at its end.
#[must_use]
pub fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_of_label = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        matches!(label.len(), 1..=63)
            && label.bytes().all(is_of_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn check_hostname(at: &str, name: &str) -> Result<(), PolicyError> {
    if !is_hostname(name) {
        return wrong(
            at,
            format!(
                "{name:?} is no host name; give one in small letters, without a port or a dot at its end"
            ),
        );
    }
    Ok(())
}

/// What a path may consist of: RFC 3986 section 3.3, without segments that lead elsewhere.
fn check_path(at: &str, path: &str) -> Result<(), PolicyError> {
    let is_of_path =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    if path.len() > LONGEST_PATH || !path.starts_with('/') || !path.bytes().all(is_of_path) {
        return wrong(
            at,
            format!(
                "{path:?} is no path; it begins with a slash, has up to {LONGEST_PATH} characters, and everything but \
                 letters, digits and -._~!$&'()*+,;=:@ is written as %XX"
            ),
        );
    }
    let mut escapes = path.split('%').skip(1);
    let is_escape = |it: &str| it.len() >= 2 && it.bytes().take(2).all(|it| it.is_ascii_hexdigit());
    if !escapes.all(is_escape) {
        return wrong(
            at,
            format!("in {path:?}, two hexadecimal digits do not follow each %"),
        );
    }
    let plain = path.to_ascii_lowercase().replace("%2e", ".");
    if path.contains("//") || plain.split('/').any(|it| matches!(it, "." | "..")) {
        return wrong(
            at,
            format!("{path:?} has an empty segment or one of dots; write the path that is meant"),
        );
    }
    Ok(())
}

impl PathChange {
    fn check(&self, at: &str) -> Result<(), PolicyError> {
        match self {
            Self::Full(path) => check_path(&format!("{at}.replaceFullPath"), path),
            Self::Prefix { from, to } => {
                for (member, path) in [("prefix", from), ("replacePrefixMatch", to)] {
                    let at = format!("{at}.{member}");
                    if path.is_empty() {
                        continue;
                    }
                    check_path(&at, path)?;
                    if path.ends_with('/') {
                        return wrong(at, "a prefix is kept without a slash at its end");
                    }
                }
                Ok(())
            }
        }
    }
}

impl Timeouts {
    fn check(&self) -> Result<(), PolicyError> {
        let both = [
            ("timeouts.request", self.request),
            ("timeouts.backendRequest", self.backend_request),
        ];
        for (at, timeout) in both {
            let Some(timeout) = timeout else { continue };
            if timeout < Duration::from_millis(1) || timeout > LONGEST_TIMEOUT {
                return wrong(at, "give a duration from 1ms to 10m");
            }
        }
        match (self.request, self.backend_request) {
            (Some(all), Some(one)) if one > all => wrong(
                "timeouts.backendRequest",
                "it is longer than timeouts.request, which ends all tries",
            ),
            _ => Ok(()),
        }
    }
}

impl Retry {
    fn check(&self) -> Result<(), PolicyError> {
        if !(1..=MOST_ATTEMPTS).contains(&self.attempts) {
            return wrong("retry.attempts", format!("give 1 to {MOST_ATTEMPTS}"));
        }
        few("retry.codes", self.codes.len(), MOST_CODES)?;
        if let Some(code) = self.codes.iter().find(|code| !(400..=599).contains(*code)) {
            return wrong(
                "retry.codes",
                format!("{code} is no status of an error; give 400 to 599"),
            );
        }
        if self.backoff > LONGEST_BACKOFF {
            return wrong("retry.backoff", "give a duration up to 10s");
        }
        match self.budget_percent {
            1..=100 => Ok(()),
            given => wrong(
                "retry.budgetPercent",
                format!("{given} is no share of requests; give 1 to 100"),
            ),
        }
    }
}

fn percent(at: &str, given: u8) -> Result<(), PolicyError> {
    match given > 100 {
        true => wrong(at, format!("{given} is no share; give 0 to 100")),
        false => Ok(()),
    }
}

impl TrafficPolicy {
    /// Whether requests and responses may be treated so.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.request_headers.check("requestHeaders")?;
        self.response_headers.check("responseHeaders")?;
        if let Some(redirect) = &self.redirect {
            redirect.check()?;
            if self.concerns_targets() {
                let message = "a request that is redirected reaches no target; beside redirect, give responseHeaders and rateLimits only";
                return wrong("redirect", message);
            }
        }
        if let Some(rewrite) = &self.rewrite {
            rewrite.check("urlRewrite")?;
        }
        self.timeouts.check()?;
        if let Some(retry) = &self.retry {
            retry.check()?;
        }
        check_mirrors("mirrors", &self.mirrors)?;
        if let Some(session) = &self.session {
            session.check()?;
        }
        if let Some(failure) = &self.failure {
            failure.check()?;
        }
        few("targetGroups", self.groups.len(), MOST_GROUPS)?;
        for (index, filters) in self.groups.iter().enumerate() {
            let at = format!("targetGroups.{index}");
            if self.groups[..index]
                .iter()
                .any(|it| it.target_group == filters.target_group)
            {
                return wrong(
                    at,
                    "the group stands here more than once; give its filters once",
                );
            }
            filters.check(&at)?;
        }
        if let Some(cors) = &self.cors {
            cors.check()?;
        }
        few("rateLimits", self.limits.len(), MOST_LIMITS)?;
        for (index, limit) in self.limits.iter().enumerate() {
            limit.check(&format!("rateLimits.{index}"))?;
        }
        Ok(())
    }
}

impl Rewrite {
    fn check(&self, at: &str) -> Result<(), PolicyError> {
        if let Some(name) = &self.hostname {
            check_hostname(&format!("{at}.hostname"), name)?;
        }
        match &self.path {
            Some(path) => path.check(&format!("{at}.path")),
            None => Ok(()),
        }
    }
}

impl FailureShare {
    fn check(&self) -> Result<(), PolicyError> {
        if !(1..=999).contains(&self.weight) {
            return wrong("failure.weight", "give 1 to 999");
        }
        match self.status {
            400..=599 => Ok(()),
            given => wrong(
                "failure.statusCode",
                format!("{given} is no status of an error; give 400 to 599"),
            ),
        }
    }
}

impl GroupFilters {
    fn check(&self, at: &str) -> Result<(), PolicyError> {
        self.request_headers
            .check(&format!("{at}.requestHeaders"))?;
        self.response_headers
            .check(&format!("{at}.responseHeaders"))?;
        if let Some(rewrite) = &self.rewrite {
            rewrite.check(&format!("{at}.urlRewrite"))?;
        }
        check_mirrors(&format!("{at}.mirrors"), &self.mirrors)
    }
}

fn check_mirrors(at: &str, mirrors: &[Mirror]) -> Result<(), PolicyError> {
    few(at, mirrors.len(), MOST_MIRRORS)?;
    for (index, mirror) in mirrors.iter().enumerate() {
        percent(&format!("{at}.{index}.percent"), mirror.percent)?;
    }
    Ok(())
}

impl Redirect {
    fn check(&self) -> Result<(), PolicyError> {
        if let Some(name) = &self.hostname {
            check_hostname("redirect.hostname", name)?;
        }
        if self.port == Some(0) {
            return wrong("redirect.port", "give 1 to 65535");
        }
        if let Some(path) = &self.path {
            path.check("redirect.path")?;
        }
        match REDIRECTS.contains(&self.status) {
            true => Ok(()),
            false => wrong(
                "redirect.statusCode",
                format!(
                    "{} is no redirect; give 301, 302, 303, 307 or 308",
                    self.status
                ),
            ),
        }
    }
}
