//! Request heads: what is refused at the door, and what a target gets to see. Response heads: what a client
//! gets to see.

mod host;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use lath_route::Head;

use crate::fields::{
    Field, imitates, imitates_request_id, is_hop_by_hop, remove_hop_by_hop, remove_those,
};
use crate::refusal::Refusal;

pub(crate) use host::host;

/// AWS's limit on all headers together.
const MAX_HEADER_BYTES: u64 = 60 * 1024;
/// AWS's limit on their number.
const MAX_HEADERS: usize = 100;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Who called, when that was proved.
pub(crate) const LATTICE_IDENTITY: HeaderName = HeaderName::from_static("x-amzn-lattice-identity");
/// The workload that called, where the service network takes identified ones only.
pub(crate) const SPIFFE_ID: HeaderName = HeaderName::from_static("x-amzn-mtls-spiffe-id");
/// Also set on every response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What rules see of a request.
pub(crate) struct Seen<'a, B>(pub(crate) &'a Request<B>);

impl<B> Head for Seen<'_, B> {
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> &str {
        self.0.uri().path()
    }

    fn query(&self) -> &str {
        self.0.uri().query().unwrap_or_default()
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
pub(crate) struct HeaderScan {
    /// As HTTP/1.1 would write the headers, with the empty line, in bytes.
    headers_size: u64,
    hosts: usize,
    cookies: usize,
    /// Some header belongs to this connection only.
    hop_by_hop: bool,
    /// Some header says what only Lattice may say.
    reserved: bool,
    transfer_encoding: bool,
    content_lengths: usize,
    /// Some value begins or ends with white space, which only HTTP/2 can carry.
    padded: bool,
    pub(crate) expect: bool,
    forwarded_for: bool,
    /// Some header is one that Lath says itself.
    provenance: bool,
    pub(crate) request_id: bool,
}

impl HeaderScan {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self {
            headers_size: 2,
            ..Self::default()
        };
        for (name, value) in headers {
            let name = name.as_str();
            seen.headers_size += (name.len() + value.len() + 4) as u64;
            seen.padded |= is_padded(value.as_bytes());
            match name {
                "host" => seen.hosts += 1,
                "cookie" => seen.cookies += 1,
                "content-length" => seen.content_lengths += 1,
                "expect" => seen.expect = true,
                "x-forwarded-for" => seen.forwarded_for = true,
                "x-amzn-requestid" => seen.request_id = true,
                "x-forwarded-port" | "x-forwarded-proto" | "x-amzn-source-vpc" => {
                    seen.provenance = true;
                }
                "transfer-encoding" => {
                    seen.transfer_encoding = true;
                    seen.hop_by_hop = true;
                }
                _ if is_hop_by_hop(name) => seen.hop_by_hop = true,
                _ if imitates(name) => seen.reserved = true,
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
pub(crate) fn check<B>(
    request: &Request<B>,
    scan: &HeaderScan,
    secure: bool,
) -> Result<(), Refusal> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Err(Refusal::bad_request("CONNECT is not supported\n"));
    }
    // It would show the client what only targets may see.
    if request.method() == Method::TRACE {
        return Err(Refusal::method_not_allowed());
    }
    check_target(request, secure)?;
    if request.version() == Version::HTTP_2 {
        check_http2_fields(scan)?;
    }
    // An authority alone is a target for CONNECT only (RFC 9112 section 3.2.3).
    if request.uri().path_and_query().is_none() {
        return Err(Refusal::bad_request("The request's target has no path\n"));
    }
    if headers.len() > MAX_HEADERS || scan.headers_size > MAX_HEADER_BYTES {
        return Err(Refusal::bad_request(
            "The request has too many or too large headers\n",
        ));
    }
    if scan.transfer_encoding
        && let Some(coding) = headers.get(header::TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refusal::bad_request(
            "The transfer coding is not supported\n",
        ));
    }
    Ok(())
}

/// RFC 9112 section 3.2.4: the asterisk is a target for OPTIONS only. In the clear, an HTTP/2 client behind something
/// that ended TLS for it says `https`.
fn check_target<B>(request: &Request<B>, secure: bool) -> Result<(), Refusal> {
    let uri = request.uri();
    if uri.path() == "*" && request.method() != Method::OPTIONS {
        return Err(Refusal::bad_request("The request's target is not a path\n"));
    }
    match uri.scheme_str() {
        None | Some("http") => Ok(()),
        Some("https") if secure || request.version() == Version::HTTP_2 => Ok(()),
        Some(_) => Err(Refusal::bad_request("The scheme is not http\n")),
    }
}

/// RFC 9113 sections 8.1.1 and 8.2.1, as far as h2 does not see to it. In HTTP/1.1 the first is the guard's to
/// find, and the second cannot be.
fn check_http2_fields(scan: &HeaderScan) -> Result<(), Refusal> {
    match () {
        () if scan.content_lengths > 1 => Err(Refusal::bad_request("Content-Length is repeated\n")),
        () if scan.padded => Err(Refusal::bad_request(
            "A header's value begins or ends with white space\n",
        )),
        () => Ok(()),
    }
}

fn is_padded(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

/// What Lath tells the target about where a request comes from.
pub(crate) struct Provenance<'a> {
    pub(crate) client: &'a Field,
    pub(crate) port: &'a Field,
    pub(crate) proto: &'a Field,
    pub(crate) network: &'a Field,
    pub(crate) vpc: &'a Field,
    pub(crate) target: &'a Field,
    pub(crate) request_id: &'a HeaderValue,
}

impl Provenance<'_> {
    /// Without the client where the request names others before it: then it is at the end of that chain.
    fn fields(&self, scan: &HeaderScan) -> impl Iterator<Item = &Field> {
        let client = (!scan.forwarded_for).then_some(self.client);
        let others = [self.port, self.proto, self.network, self.target, self.vpc];
        client.into_iter().chain(others)
    }

    /// Takes what another says of the same request out of a head.
    pub(crate) fn remove_from(&self, headers: &mut HeaderMap, scan: &HeaderScan) {
        for field in self.fields(scan) {
            headers.remove(&field.name);
        }
        headers.remove(REQUEST_ID);
    }

    /// Adds it to a head of HTTP/2.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap, scan: &HeaderScan) {
        headers.reserve(7);
        for field in self.fields(scan) {
            headers.insert(field.name.clone(), field.value.clone());
        }
        headers.insert(REQUEST_ID, self.request_id.clone());
    }

    /// Writes it as lines of HTTP/1.1, for a head that has none of it, see [`towards_target`].
    pub(crate) fn write_to(&self, lines: &mut Vec<u8>, scan: &HeaderScan) {
        for field in self.fields(scan) {
            lines.extend_from_slice(&field.line);
        }
        lines.extend_from_slice(b"x-amzn-requestid: ");
        lines.extend_from_slice(self.request_id.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
}

/// Turns the client's head into the target's, but for what [`Provenance`] says: nothing of that is left in it, except
/// a chain of `x-forwarded-for` with the client at its end.
pub(crate) fn towards_target(
    head: &mut http::request::Parts,
    client: &HeaderValue,
    to_http2: bool,
    scan: &HeaderScan,
) {
    // TE is one of those that belong to the connection.
    let trailers = to_http2 && scan.hop_by_hop && wants_trailers(&head.headers);
    if scan.hop_by_hop {
        remove_hop_by_hop(&mut head.headers);
    }
    if scan.reserved {
        remove_those(&mut head.headers, imitates);
    }
    if scan.expect && (to_http2 || head.version != Version::HTTP_11) {
        head.headers.remove(header::EXPECT);
    }
    if to_http2 {
        if trailers {
            head.headers
                .insert(header::TE, HeaderValue::from_static("trailers"));
        }
        name_authority(head);
    } else {
        name_host(head, scan.cookies);
    }
    if scan.forwarded_for {
        append_forwarded_for(&mut head.headers, client);
    }
    if scan.provenance || scan.request_id {
        for name in [
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-amzn-source-vpc",
            "x-amzn-requestid",
        ] {
            head.headers.remove(name);
        }
    }
}

/// Sees to it that a body reaches an HTTP/1.1 target: hyper leaves one of unknown length out for methods that
/// seldom have one.
pub(crate) fn frame_body<B: http_body::Body>(headers: &mut HeaderMap, body: &B, scan: &HeaderScan) {
    let is_empty = body.is_end_stream();
    if !is_empty && scan.content_lengths == 0 {
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(header::TRANSFER_ENCODING, chunked);
    }
    if is_empty && scan.expect {
        headers.remove(header::EXPECT);
    }
}

/// Whether the client waits for 100 (Continue) before it sends its body.
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Turns the target's response head into the client's.
pub(crate) fn towards_client(headers: &mut HeaderMap, status: StatusCode, id: &HeaderValue) {
    let unwanted = |name: &str| is_hop_by_hop(name) || imitates_request_id(name);
    if headers.keys().any(|name| unwanted(name.as_str())) {
        remove_hop_by_hop(headers);
        remove_those(headers, imitates_request_id);
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 section 8.6.
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.insert(REQUEST_ID, id.clone());
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|te| {
        te.as_bytes()
            .split(|b| *b == b',')
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
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

/// The scheme that the target is spoken to in (RFC 9113 section 8.3.1).
pub(crate) fn name_scheme(head: &mut http::request::Parts, secure: bool) {
    if secure {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTPS);
        head.uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// Turns a target's head into another target's, which may speak another version of HTTP.
pub(crate) fn respeak(head: &mut http::request::Parts, to_http2: bool, secure: bool) {
    if to_http2 {
        name_authority(head);
        name_scheme(head, secure);
    } else {
        head.headers.remove(header::TE);
        name_host(head, 2);
    }
    head.headers.remove(header::EXPECT);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_fields_that_http1_could_not_carry_are_refused() {
        for (name, value, refused) in [
            ("x-a", "b", false),
            ("x-a", "", false),
            ("x-a", " b", true),
            ("x-a", "b\t", true),
            ("content-length", "0", true),
        ] {
            let request = Request::builder()
                .uri("http://a.example/")
                .version(Version::HTTP_2)
                .header("content-length", "0")
                .header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
                .body(())
                .unwrap();
            let scan = HeaderScan::of(request.headers());
            let got = check(&request, &scan, false).is_err();
            assert_eq!(got, refused, "{name}: {value:?}");
        }
    }
}
