//! Request heads: what is refused at the door, and what a target gets to see.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri, Version};
use lath_route::Head;

use crate::refusal::Refusal;

/// AWS's limit on all headers together.
const MAX_HEADER_BYTES: u64 = 60 * 1024;
/// AWS's limit on their number.
const MAX_HEADERS: usize = 100;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const LATTICE_NETWORK: HeaderName = HeaderName::from_static("x-amzn-lattice-network");
/// Which service, network and group a request goes to.
pub(crate) const LATTICE_TARGET: HeaderName = HeaderName::from_static("x-amzn-lattice-target");
/// Who called, when that was proved.
pub(crate) const LATTICE_IDENTITY: HeaderName = HeaderName::from_static("x-amzn-lattice-identity");
const SOURCE_VPC: HeaderName = HeaderName::from_static("x-amzn-source-vpc");
/// Also set on every response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// Only Lattice says who called: what clients send in its name is removed.
const RESERVED: &str = "x-amzn-lattice-";

/// What rules see of a request.
pub(crate) struct Seen<'a, B>(pub(crate) &'a Request<B>);

impl<B> Head for Seen<'_, B> {
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> &str {
        self.0.uri().path()
    }

    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .headers()
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
    }
}

/// What one look over a request's headers finds out, so that nearly all later looks can be left out: each
/// look-up by name hashes the name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Survey {
    /// As HTTP/1.1 would write the headers, with the empty line, in bytes.
    headers_size: u64,
    hosts: usize,
    cookies: usize,
    /// Some header belongs to this connection only.
    hop_by_hop: bool,
    /// Some header says what only Lattice may say.
    reserved: bool,
    transfer_encoding: bool,
    expect: bool,
    forwarded_for: bool,
    pub(crate) request_id: bool,
}

impl Survey {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self {
            headers_size: 2,
            ..Self::default()
        };
        for (name, value) in headers {
            let name = name.as_str();
            seen.headers_size += (name.len() + value.len() + 4) as u64;
            match name {
                "host" => seen.hosts += 1,
                "cookie" => seen.cookies += 1,
                "expect" => seen.expect = true,
                "x-forwarded-for" => seen.forwarded_for = true,
                "x-amzn-requestid" => seen.request_id = true,
                "transfer-encoding" => {
                    seen.transfer_encoding = true;
                    seen.hop_by_hop = true;
                }
                _ if is_hop_by_hop(name) => seen.hop_by_hop = true,
                _ if name.starts_with(RESERVED) => seen.reserved = true,
                _ => {}
            }
        }
        seen
    }

    /// The size of the request's head as HTTP/1.1 would write it, in bytes.
    pub(crate) fn head_size<B>(&self, request: &Request<B>) -> u64 {
        let target = request
            .uri()
            .path_and_query()
            .map_or(1, |path| path.as_str().len());
        let line = request.method().as_str().len() + target + " HTTP/1.1\r\n".len() + 1;
        line as u64 + self.headers_size
    }
}

/// Refuses what is malformed, ambiguous or beyond a limit.
///
/// # Errors
/// The refusal, always a 400.
pub(crate) fn check<B>(request: &Request<B>, survey: &Survey) -> Result<(), Refusal> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Err(Refusal::bad_request("CONNECT is not supported\n"));
    }
    // An authority alone is a target for CONNECT only (RFC 9112 section 3.2.3).
    if request.uri().path_and_query().is_none() {
        return Err(Refusal::bad_request("The request's target has no path\n"));
    }
    if headers.len() > MAX_HEADERS || survey.headers_size > MAX_HEADER_BYTES {
        return Err(Refusal::bad_request(
            "The request has too many or too large headers\n",
        ));
    }
    if survey.transfer_encoding
        && let Some(coding) = headers.get(header::TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refusal::bad_request(
            "The transfer coding is not supported\n",
        ));
    }
    Ok(())
}

/// The host that the client names, without the port: `:authority` or the absolute form first, else the
/// one Host header.
///
/// # Errors
/// Host is absent, repeated, or contradicts the request's target.
pub(crate) fn host<'a, B>(request: &'a Request<B>, survey: &Survey) -> Result<&'a [u8], Refusal> {
    let header = match survey.hosts {
        0 => None,
        1 => request.headers().get(header::HOST),
        _ => return Err(Refusal::bad_request("Host is repeated\n")),
    };
    let header = header.map(HeaderValue::as_bytes);
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let named = match (authority, header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => {
            return Err(Refusal::bad_request(
                "Host contradicts the request's target\n",
            ));
        }
        (Some(authority), _) => authority,
        (None, Some(header)) => header,
        (None, None) => return Err(Refusal::bad_request("Host is missing\n")),
    };
    Ok(without_port(named))
}

fn without_port(host: &[u8]) -> &[u8] {
    let digits = host
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let name = host.len() - digits;
    let host = if name > 0 && host[name - 1] == b':' {
        &host[..name - 1]
    } else {
        host
    };
    host.strip_suffix(b".").unwrap_or(host)
}

/// What Lath tells the target about where a request comes from.
pub(crate) struct Provenance<'a> {
    pub(crate) client: &'a HeaderValue,
    pub(crate) port: &'a HeaderValue,
    pub(crate) network: &'a HeaderValue,
    pub(crate) vpc: &'a HeaderValue,
    pub(crate) target: &'a HeaderValue,
    pub(crate) request_id: &'a HeaderValue,
}

/// Turns the client's head into the target's.
pub(crate) fn towards_target(
    head: &mut http::request::Parts,
    from: &Provenance<'_>,
    to_http2: bool,
    survey: &Survey,
) {
    // TE is one of those that belong to the connection.
    let trailers = to_http2 && survey.hop_by_hop && wants_trailers(&head.headers);
    if survey.hop_by_hop {
        remove_hop_by_hop(&mut head.headers);
    }
    if survey.reserved {
        remove_those(&mut head.headers, |name| {
            name.as_str().starts_with(RESERVED)
        });
    }
    if survey.expect {
        head.headers.remove(header::EXPECT);
    }
    if to_http2 {
        if trailers {
            head.headers
                .insert(header::TE, HeaderValue::from_static("trailers"));
        }
        name_authority(head);
    } else {
        name_host(head, survey.cookies);
    }
    if survey.forwarded_for {
        append_forwarded_for(&mut head.headers, from.client);
    } else {
        head.headers.insert(FORWARDED_FOR, from.client.clone());
    }
    let headers = &mut head.headers;
    headers.insert(FORWARDED_PORT, from.port.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(LATTICE_NETWORK, from.network.clone());
    headers.insert(LATTICE_TARGET, from.target.clone());
    headers.insert(SOURCE_VPC, from.vpc.clone());
    headers.insert(REQUEST_ID, from.request_id.clone());
}

/// Turns the target's response head into the client's.
pub(crate) fn towards_client(headers: &mut HeaderMap, request_id: &HeaderValue) {
    if headers.keys().any(|name| is_hop_by_hop(name.as_str())) {
        remove_hop_by_hop(headers);
    }
    headers.insert(REQUEST_ID, request_id.clone());
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|te| {
        te.as_bytes()
            .split(|b| *b == b',')
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// RFC 9110 section 7.6.1: what belongs to one connection.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// Removes those and what `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    remove_those(headers, |name| is_hop_by_hop(name.as_str()));
}

fn remove_those(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name)).cloned() {
        headers.remove(name);
    }
}

/// The headers that `Connection` names, less those that frame or address the message.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect()
}

fn append_forwarded_for(headers: &mut HeaderMap, client: &HeaderValue) {
    if !headers.contains_key(FORWARDED_FOR) {
        headers.insert(FORWARDED_FOR, client.clone());
        return;
    }
    let mut chain: Vec<&[u8]> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    chain.push(client.as_bytes());
    let chain = HeaderValue::from_bytes(&chain.join(&b", "[..]));
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|_| client.clone()));
}

/// HTTP/1.1 wants the origin form, one Host and one Cookie.
fn name_host(head: &mut http::request::Parts, cookies: usize) {
    if let Some(authority) = head.uri.authority() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            head.headers.insert(header::HOST, host);
        }
        if let Some(path) = head.uri.path_and_query() {
            head.uri = Uri::from(path.clone());
        }
    }
    if head.version == Version::HTTP_2 && cookies > 1 {
        join_cookies(&mut head.headers);
    }
    head.version = Version::HTTP_11;
}

/// RFC 9113 section 8.2.3: crumbs are joined with `; ` outside HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let crumbs: Vec<&[u8]> = headers
            .get_all(header::COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// HTTP/2 wants scheme and authority in the target.
fn name_authority(head: &mut http::request::Parts) {
    let host = head.headers.remove(header::HOST);
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    if parts.authority.is_none() {
        parts.authority = host.and_then(|host| host.as_bytes().try_into().ok());
    }
    head.uri = Uri::from_parts(parts).unwrap_or_default();
    head.version = Version::HTTP_2;
}
