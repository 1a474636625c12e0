//! One request and its answer: no I/O.

use std::net::IpAddr;

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SERVER};
use hyper::{Method, Response, StatusCode};
use lath_feed::{Instance, InstanceKind, Snapshot, Vpc};
use lath_model::Timestamp;
use lath_model::id::VpcId;
use lath_svid::Issuer;

use super::token::{TTL, Tokens};
use super::tree::{Leaf, Node, VERSIONS, root_of};
use super::workload;

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) vpc: &'a VpcId,
    pub(super) peer: IpAddr,
    pub(super) now: Timestamp,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// What an instance gets.
pub(super) fn answer(
    snapshot: &Snapshot,
    (tokens, issuer): (&Tokens, &Issuer),
    asked: &Asked<'_>,
) -> Response<Vec<u8>> {
    let Some((vpc, instance)) = find(snapshot, asked.vpc, asked.peer) else {
        return refusal(StatusCode::NOT_FOUND);
    };
    if !instance.metadata.enabled {
        return refusal(StatusCode::FORBIDDEN);
    }
    if asked.path == TOKEN_PATH {
        return token(tokens, instance, asked);
    }
    if let Some(status) = refused(tokens, instance, asked) {
        return refusal(status);
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return not_allowed("OPTIONS, GET, HEAD");
    }
    look_up(snapshot, (vpc, instance), issuer, asked).map_or_else(
        || refusal(StatusCode::NOT_FOUND),
        |leaf| plain(leaf.bytes, leaf.content_type),
    )
}

/// How many hops the answer may take, where that is limited: a token's as its instance says, and the private key of a cluster's node
/// one, because pods are further away and have keys of their own.
pub(super) fn hop_limit(snapshot: &Snapshot, asked: &Asked<'_>) -> Option<u8> {
    let is_token = asked.path == TOKEN_PATH && asked.method == Method::PUT;
    let (_, instance) = find(snapshot, asked.vpc, asked.peer)?;
    let is_node = instance.kind == InstanceKind::Node;
    match is_token {
        true => Some(instance.metadata.hop_limit),
        false => (is_node && is_about_identity(asked.path)).then_some(1),
    }
}

/// The workload that has this address in this VPC.
pub(super) fn find<'a>(
    snapshot: &'a Snapshot,
    vpc: &VpcId,
    address: IpAddr,
) -> Option<(&'a Vpc, &'a Instance)> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let interface = snapshot.interface_at(vpc, address)?;
    // Only instances have metadata: what a database or a control plane is, its service says.
    let instance = interface.attachment.as_ref()?.workload.instance()?;
    Some((snapshot.vpcs.get(vpc)?, snapshot.instances.get(instance)?))
}

/// A wrong token is refused even where none is demanded.
fn refused(tokens: &Tokens, instance: &Instance, asked: &Asked<'_>) -> Option<StatusCode> {
    let mut tokens_sent = asked.headers.get_all(TOKEN).iter();
    let good = match (tokens_sent.next(), tokens_sent.next()) {
        (Some(token), None) => tokens.is_good(token.as_bytes(), &instance.id, asked.now),
        (Some(_), Some(_)) => false,
        (None, _) => !instance.metadata.tokens_required && !is_about_identity(asked.path),
    };
    (!good).then_some(StatusCode::UNAUTHORIZED)
}

/// Whether a path leads to the instance's private key.
fn is_about_identity(path: &str) -> bool {
    let path = percent_decode(path).unwrap_or_default();
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    steps.get(1..).is_some_and(workload::is_asked)
}

fn token(tokens: &Tokens, instance: &Instance, asked: &Asked<'_>) -> Response<Vec<u8>> {
    if asked.method != Method::PUT {
        return not_allowed("OPTIONS, PUT");
    }
    // An open proxy in the instance adds it: who asks is somebody else then.
    if asked.headers.contains_key(FORWARDED) {
        return refusal(StatusCode::FORBIDDEN);
    }
    let Some(ttl) = lifetime(asked.headers).filter(|ttl| TTL.contains(ttl)) else {
        return refusal(StatusCode::BAD_REQUEST);
    };
    let token = tokens.make(&instance.id, asked.now, ttl);
    let mut response = plain(token.into_bytes(), "text/plain");
    response
        .headers_mut()
        .insert(TOKEN_TTL, HeaderValue::from(ttl));
    response
}

/// Seconds, in one header, as digits alone.
fn lifetime(headers: &HeaderMap) -> Option<u32> {
    let mut values = headers.get_all(TOKEN_TTL).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let text = value.to_str().ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn look_up(
    snapshot: &Snapshot,
    (vpc, instance): (&Vpc, &Instance),
    issuer: &Issuer,
    asked: &Asked<'_>,
) -> Option<Leaf> {
    let path = percent_decode(asked.path)?;
    let mut steps = path.split('/').filter(|step| !step.is_empty()).peekable();
    let Some(version) = steps.next() else {
        return Some(Leaf::text(VERSIONS.join("\n")));
    };
    if !VERSIONS.contains(&version) {
        return None;
    }
    let rest: Vec<&str> = steps.clone().collect();
    let mut node = match workload::is_asked(&rest) {
        // Made only for who asks: it is a key and a signature.
        true => {
            steps.nth(1);
            workload::open(snapshot, instance, issuer, asked.now)?.into_node()
        }
        false => root_of(snapshot, vpc, instance),
    };
    for step in steps {
        node = node.into_child(step)?;
    }
    Some(match node {
        Node::Leaf(leaf) => leaf,
        Node::Folder(entries) => {
            let names: Vec<String> = entries.iter().map(super::tree::Entry::listed).collect();
            Leaf::text(names.join("\n"))
        }
    })
}

/// Tag keys may hold what a path cannot.
fn percent_decode(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
            plain.push(u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?);
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(plain).ok()
}

fn plain(body: Vec<u8>, content_type: &'static str) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(SERVER, HeaderValue::from_static("EC2ws"));
    response
}

fn not_allowed(allowed: &'static str) -> Response<Vec<u8>> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The page that the service on AWS answers with.
fn refusal(status: StatusCode) -> Response<Vec<u8>> {
    let title = format!(
        "{} - {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error")
    );
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n\
         \t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n \
         <head>\n  <title>{title}</title>\n </head>\n \
         <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    );
    let mut response = plain(page.into_bytes(), "text/html");
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
