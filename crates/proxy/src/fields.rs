//! Header and trailer fields that do not pass: those of one connection, and those that only Lath may say.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Only Lattice says who called, by a signature or by a certificate.
const IDENTITIES: [&str; 2] = ["x-amzn-lattice-", "x-amzn-mtls-"];

/// What else targets believe of the proxy before them, or what frames and routes a message.
const PROTECTED: [&str; 10] = [
    "x-amzn-source-vpc",
    REQUEST_ID,
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
];

const REQUEST_ID: &str = "x-amzn-requestid";

/// A field that Lath adds to requests, in both forms.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// For a map of headers.
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    /// As HTTP/1.1 writes it, with CR LF.
    pub(crate) line: Box<[u8]>,
}

impl Field {
    /// `value`: text without control characters; else the field is empty.
    pub(crate) fn new(name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
        Self {
            line: [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]
                .concat()
                .into(),
            name: HeaderName::from_static(name),
            value,
        }
    }

    pub(crate) fn forwarded_for(client: &str) -> Self {
        Self::new("x-forwarded-for", client)
    }

    pub(crate) fn forwarded_port(port: u16) -> Self {
        Self::new("x-forwarded-port", &port.to_string())
    }

    pub(crate) fn forwarded_proto(scheme: &str) -> Self {
        Self::new("x-forwarded-proto", scheme)
    }

    /// Which VPC a request comes from.
    pub(crate) fn source_vpc(id: &str) -> Self {
        Self::new("x-amzn-source-vpc", id)
    }

    pub(crate) fn lattice_network(text: &str) -> Self {
        Self::new("x-amzn-lattice-network", text)
    }

    /// Which service, network and group a request goes to.
    pub(crate) fn lattice_target(text: &str) -> Self {
        Self::new("x-amzn-lattice-target", text)
    }
}

/// Whether a client must not say this: it is one of the identity headers, or reads like a protected one where
/// names become variables. CGI and WSGI write `HTTP_X_AMZN_LATTICE_IDENTITY` for `X_Amzn_Lattice_Identity`
/// too, and some servers turn every other character into `_`.
pub(crate) fn imitates(name: &str) -> bool {
    if !may_imitate(name.as_bytes()) {
        return false;
    }
    if !name.bytes().any(is_odd) {
        return IDENTITIES.iter().any(|it| name.starts_with(it));
    }
    let begins_as = |identity: &str| {
        let begins = name.get(..identity.len());
        begins.is_some_and(|begin| reads_as(begin, identity))
    };
    IDENTITIES.into_iter().any(begins_as)
        || PROTECTED.iter().any(|protected| reads_as(name, protected))
}

/// A first look, which spares nearly all headers the second: a protected name keeps its letters and its length, and
/// one without `-` has nothing in it that could be written otherwise.
fn may_imitate(name: &[u8]) -> bool {
    match name {
        [b'x', _, b'a' | b'f', ..] => true,
        [b'c', ..] => matches!(name.len(), 12 | 14),
        [b't', ..] => name.len() == 17,
        _ => false,
    }
}

/// Whether a target must not say this.
pub(crate) fn imitates_request_id(name: &str) -> bool {
    name != REQUEST_ID && reads_as(name, REQUEST_ID)
}

fn is_odd(byte: u8) -> bool {
    byte != b'-' && !byte.is_ascii_alphanumeric()
}

/// The normal form is in small letters with `-` for everything but letters and digits.
fn reads_as(name: &str, normal: &str) -> bool {
    let fold = |byte: u8| match is_odd(byte) {
        true => b'-',
        false => byte.to_ascii_lowercase(),
    };
    name.len() == normal.len() && name.bytes().map(fold).eq(normal.bytes())
}

/// RFC 9110 section 7.6.1: what belongs to one connection. With `Trailer`, which Lath cannot vouch for, and
/// the credentials for a proxy, of which Lath is the last.
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "trailer"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "http2-settings"
    )
}

/// The same as a list.
#[cfg(test)]
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "http2-settings",
];

/// Removes those and what `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    remove_those(headers, is_hop_by_hop);
}

pub(crate) fn remove_those(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let is_unwanted = |name: &&HeaderName| unwanted(name.as_str());
    while let Some(name) = headers.keys().find(is_unwanted).cloned() {
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

/// RFC 9110 section 6.5.1: what frames, routes, authenticates or describes a message comes too late in its
/// trailers.
fn is_for_heads(name: &str) -> bool {
    is_hop_by_hop(name)
        || PROTECTED.contains(&name)
        || matches!(
            name,
            "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-range"
                | "cookie"
                | "expect"
                | "max-forwards"
                | "set-cookie"
        )
}

/// Removes what a client may not say in trailers: what it may not say in a head either, and [`is_for_heads`].
pub(crate) fn clean_request_trailers(trailers: &mut HeaderMap) {
    remove_those(trailers, |name| is_for_heads(name) || imitates(name));
}

/// Removes what a target may not say in trailers.
pub(crate) fn clean_response_trailers(trailers: &mut HeaderMap) {
    remove_those(trailers, |name| {
        is_for_heads(name) || imitates_request_id(name)
    });
}

/// Removes what a target may not say in an interim response.
pub(crate) fn clean_interim(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove_those(headers, |name| {
        name == "content-length" || reads_as(name, REQUEST_ID)
    });
}

/// What only Lath may say, and what belongs to one connection or frames a message.
#[cfg(test)]
pub(crate) fn own_names() -> impl Iterator<Item = &'static str> {
    let identity = [
        "x-amzn-lattice-identity",
        "x-amzn-lattice-network",
        "x-amzn-mtls-clientcert",
        "x-amzn-mtls-clientcert-subject",
    ];
    PROTECTED.into_iter().chain(identity).chain(HOP_BY_HOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_passes_over_no_protected_name() {
        for name in PROTECTED.into_iter().chain(IDENTITIES) {
            assert!(
                may_imitate(name.as_bytes()) || !name.contains('-'),
                "{name}"
            );
            let odd = name.replace('-', "_");
            assert_eq!(imitates(&odd), name.contains('-'), "{odd}");
        }
    }

    #[test]
    fn the_list_of_what_belongs_to_a_connection_is_what_is_removed() {
        assert!(HOP_BY_HOP.into_iter().all(is_hop_by_hop));
    }

    #[test]
    fn one_list_in_one_normal_form() {
        for (name, head, trailer) in [
            ("x-amzn-lattice-identity", false, false),
            ("x-amzn-lattice-identity-tags", false, false),
            ("x_amzn_lattice_identity", false, false),
            ("x-amzn_lattice-network", false, false),
            ("x.amzn.lattice.identity", false, false),
            ("x-amzn-mtls-clientcert", false, false),
            ("x-amzn-mtls-clientcert-subject", false, false),
            ("x_amzn_mtls_clientcert_leaf", false, false),
            ("x-amzn.mtls-clientcert", false, false),
            ("x_amzn_source_vpc", false, false),
            ("x-amzn-source-vpc", true, false),
            ("x_amzn_requestid", false, false),
            ("x_forwarded_for", false, false),
            ("x-forwarded_proto", false, false),
            ("x-forwarded-for", true, false),
            ("content_length", false, false),
            ("transfer_encoding", false, false),
            ("host", true, false),
            ("authorization", true, false),
            ("trailer", true, false),
            ("x_under", true, true),
            ("x-amzn-latticeidentity", true, true),
            ("x-amzn-trace-id", true, true),
            ("grpc-status", true, true),
            ("x-sum", true, true),
        ] {
            assert_eq!(!imitates(name), head, "{name} in a head");
            let mut trailers = HeaderMap::new();
            trailers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                "1".parse().unwrap(),
            );
            clean_request_trailers(&mut trailers);
            assert_eq!(!trailers.is_empty(), trailer, "{name} in trailers");
        }
    }
}
